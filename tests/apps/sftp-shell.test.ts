/** Lesson 4.5, the shell: against OpenSSH's sshd, beside OpenSSH's ssh-keygen, and against servers that lie. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import process from "node:process";
import ssh2 from "ssh2";
import * as knownHosts from "../../scripts/apps/sftp/known-hosts.ts";
import { expand, quoteLike, splitWords, unfinishedWords } from "../../scripts/apps/sftp/shell-words.ts";
import { limitIdle, survive } from "../../lib/tcp.ts";
import {
  EVERYTHING,
  EVERYWHERE,
  type Program,
  ROOT,
  type Runtime,
  RUNTIMES,
  script,
  start,
} from "../engine/program.ts";
import { freePort, until } from "../engine/sockets.ts";
import { type Person, terminal } from "../engine/terminal.ts";
import { type Folder as Temporary, sha256OfFile, temporaryFolder } from "../engine/files.ts";

const SSHD = "/usr/sbin/sshd";
const HAS_KEYGEN = Bun.which("ssh-keygen") !== null;
const HAS_SSHD = HAS_KEYGEN && existsSync(SSHD);
const needsKeygen = HAS_KEYGEN ? "" : " (needs OpenSSH's client)";
const needsSshd = HAS_SSHD ? "" : " (needs OpenSSH's sshd)";

/** The first of the rows; all of them where everything is tested. */
const some = <T>(count: number, rows: T[]) => (EVERYTHING ? rows : rows.slice(0, count));

/** The keys of the tests, made once: of hosts (by type) and of a user. */
let folderOfKeys: Temporary;
let keys: string;
const USER = process.platform === "win32" ? "user" : execFileSync("id", ["-un"]).toString().trim();

beforeAll(async () => {
  folderOfKeys = await temporaryFolder();
  keys = folderOfKeys.path;
  for (const name of ["host", "other", "user"]) {
    let made: { private: string; public: string };
    do made = ssh2.utils.generateKeyPairSync("ed25519"); // now and then it makes one that nobody can read
     while (ssh2.utils.parseKey(made.private) instanceof Error);
    writeFileSync(join(keys, name), made.private, { mode: 0o600 });
    writeFileSync(join(keys, `${name}.pub`), `${made.public}\n`);
  }
  if (!HAS_KEYGEN) return;
  for (const type of ["rsa", "ecdsa"]) keygen("-q", "-t", type, "-N", "", "-f", join(keys, type));
  keygen("-q", "-t", "ed25519", "-N", "open sesame", "-a", "1", "-f", join(keys, "locked"));
});
afterAll(() => folderOfKeys[Symbol.asyncDispose]());

function keygen(...words: string[]): string {
  return execFileSync("ssh-keygen", words, { stdio: ["ignore", "pipe", "ignore"] }).toString();
}

/** The bytes of a public key, as a host shows them. */
const blob = (name: string) =>
  Buffer.from(readFileSync(join(keys, `${name}.pub`), "utf8").split(" ")[1], "base64");
const line = (hosts: string, name: string) => `${hosts} ${readFileSync(join(keys, `${name}.pub`), "utf8")}`;

/** A folder of its own, with a `home`, a `here` and a `there`, that is removed at the end. */
async function folder() {
  const { path, at, [Symbol.asyncDispose]: remove } = await temporaryFolder();
  for (const name of ["home", "here", "there"]) await mkdir(join(path, name));
  return {
    path,
    at,
    here: (...names: string[]) => join(path, "here", ...names),
    there: (...names: string[]) => join(path, "there", ...names),
    knownHosts: join(path, "home", ".ssh", "known_hosts"),
    [Symbol.asyncDispose]: remove,
  };
}
type Folder = Awaited<ReturnType<typeof folder>>;

/** Starts OpenSSH's server, with its own configuration, on a free port. */
async function sshd(box: Folder, hostKeys = ["host"], more: string[] = []) {
  if (process.getuid?.() === 0) mkdirSync("/run/sshd", { recursive: true }); // where it locks its own parts up
  writeFileSync(
    box.at("authorized_keys"),
    ["user", ...(HAS_KEYGEN ? ["locked"] : [])].map((name) => readFileSync(join(keys, `${name}.pub`))).join(
      "",
    ),
  );
  while (true) {
    const port = await freePort();
    writeFileSync(
      box.at("sshd_config"),
      [
        `ListenAddress 127.0.0.1:${port}`,
        ...hostKeys.map((name) => `HostKey ${join(keys, name)}`),
        `AuthorizedKeysFile ${box.at("authorized_keys")}`,
        "StrictModes no",
        "UsePAM no",
        "PidFile none",
        "PasswordAuthentication no",
        "PermitRootLogin yes",
        `Subsystem sftp internal-sftp -d ${box.there()}`,
        ...more,
        "",
      ].join("\n"),
    );
    const program = start([SSHD, "-D", "-e", "-f", box.at("sshd_config")]);
    const ready = await program.next("stderr").catch(() => "nothing");
    if (ready?.startsWith("Server listening")) {
      return { port, program, [Symbol.asyncDispose]: () => program[Symbol.asyncDispose]() };
    }
    await program[Symbol.asyncDispose]();
    if (!/Address already in use/.test(ready ?? "")) {
      throw new Error(`sshd: ${ready}\n${program.seen.stderr.join("\n")}`);
    }
  }
}

/** OpenSSH's client, whose known hosts are those of the folder. */
function openSsh(box: Folder, port: number, settings: string[] = []) {
  const options = [`UserKnownHostsFile=${box.knownHosts}`, "GlobalKnownHostsFile=none", ...settings];
  const words = ["-F", "none", "-q", "-b", "-", "-P", `${port}`, "-i", join(keys, "user")];
  return start(["sftp", ...words, ...options.flatMap((one) => ["-o", one]), `${USER}@127.0.0.1`], {
    cwd: box.here(),
    env: { SSH_AUTH_SOCK: "" },
  });
}

/** A person at our shell. */
const atTerminal = (box: Folder, port: number, runtime: Runtime = "bun") =>
  terminal(
    [...RUNTIMES[runtime], join(ROOT, "scripts/apps/sftp.ts"), "me@127.0.0.1", "--port", `${port}`],
    { cwd: box.here(), env: { HOME: box.at("home"), SSH_AUTH_SOCK: "" } },
  );

/** Logs in at a terminal. */
async function logIn(person: Person) {
  await person.until("password of");
  person.type("s3cret");
  person.press("Enter");
  await person.until("sftp> ");
}

/** A line to a server that can be cut. */
async function relay(to: number) {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (from) => {
    const onward = connect(to, "127.0.0.1");
    for (const socket of [from, onward]) sockets.add(socket.on("error", () => {}));
    from.pipe(onward, { end: false });
    onward.pipe(from, { end: false });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const cut = () => sockets.forEach((socket) => socket.resetAndDestroy());
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    /** Sends what is no SSH to all. */
    spoil: () => sockets.forEach((socket) => socket.write(randomBytes(100_000))),
    async [Symbol.asyncDispose]() {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

type Options = { runtime?: Runtime; words?: string[]; limit?: number; env?: Record<string, string> };

/** Starts the shell in `here`, with a home of its own. */
function shell(box: Folder, port: number, { runtime, words, limit, env }: Options = {}): Program {
  return script("apps/sftp", [
    `${USER}@127.0.0.1`,
    "--port",
    `${port}`,
    ...(words ?? ["--identity", join(keys, "user")]),
  ], {
    runtime,
    limit,
    cwd: box.here(),
    env: { HOME: box.at("home"), SSH_AUTH_SOCK: "", ...env },
  });
}

/** Types all the lines, ends the input, and gives what came of it. */
async function session(program: Program, lines: string[]) {
  program.type(lines.map((line) => `${line}\n`).join(""));
  program.endOfInput();
  return await program.result();
}

/** Trusts a host before it is called. */
async function trust(box: Folder, port: number, key = "host") {
  await knownHosts.remember(box.knownHosts, `[127.0.0.1]:${port}`, blob(key));
}

setDefaultTimeout(60_000); // what waits in a test says itself for what it waited too long

describe("known hosts", () => {
  const NAME = "[127.0.0.1]:2022";
  const known = (text: string, name = NAME) => knownHosts.knownKeys(text, name);

  test("names, fingerprints and types", () => {
    expect(knownHosts.hostName("Server.Example", 22)).toBe("server.example");
    expect(knownHosts.hostName("::1", 2022)).toBe("[::1]:2022");
    expect(knownHosts.keyType(blob("host"))).toBe("ssh-ed25519");
    expect(knownHosts.keyType(Buffer.from("ffffffff", "hex"))).toBe("");
    expect(knownHosts.keyType(Buffer.alloc(2))).toBe("");
    const names = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"].map(knownHosts.typeName);
    expect(names).toEqual(["ED25519", "ECDSA", "RSA"]);
  });

  const meant: [hosts: string, name: string, isMeant: boolean][] = [
    [NAME, NAME, true],
    ["127.0.0.1", NAME, false], // that is port 22
    ["server.example", "server.example", true],
    ["SERVER.Example", "server.example", true],
    ["serverxexample", "server.example", false],
    ["a,server.example,b", "server.example", true],
    ["*.example", "server.example", true],
    ["*.example", "server.example.org", false],
    ["server.e?ample", "server.example", true],
    ["*.example,!server.example", "server.example", false],
    ["!server.example,*.example", "server.example", false],
    ["!server.example", "other.example", false], // a negation alone means nobody
    ["*.example,!server.*", "other.example", true],
    ["[*]:2022", NAME, true], // no set of characters
    ["|1|broken", NAME, false],
    ["|2|c2FsdA==|aGFzaA==", NAME, false],
  ];
  test.each(meant)("%s means %s: %p", (hosts, name, isMeant) => {
    expect(known(line(hosts, "host"), name)).toHaveLength(isMeant ? 1 : 0);
  });

  test("what is not understood is passed over, and lines are counted", () => {
    const good = line(NAME, "host").trim();
    const text = [
      "# comment",
      "",
      `@cert-authority ${good}`,
      `@unknown ${good}`,
      `${NAME} ssh-ed25519`,
      `${NAME} ssh-rsa ${blob("host").toString("base64")}`, // the key says another type
      `${NAME} ssh-ed25519 !!!!`,
      `#${good}`,
      ` \t${good}\r`,
    ].join("\n");
    expect(known(text)).toEqual([{ line: 9, isRevoked: false, type: "ssh-ed25519", key: blob("host") }]);
  });

  test("known, changed, revoked, unknown", () => {
    const [host, other] = [line(NAME, "host"), line(NAME, "other")];
    const verdict = (text: string) => knownHosts.judge(known(text), blob("host"));
    expect(verdict("")).toEqual({ kind: "unknown", line: 0 });
    expect(verdict(host)).toEqual({ kind: "known", line: 1 });
    expect(verdict(other)).toEqual({ kind: "changed", line: 1 });
    expect(verdict(other + host)).toEqual({ kind: "known", line: 2 }); // a host may have several
    expect(verdict(`${host}@revoked ${host}`)).toEqual({ kind: "revoked", line: 2 });
    expect(verdict(`@revoked ${host.replace(NAME, "*")}`)).toEqual({ kind: "revoked", line: 1 });
    expect(verdict(`@revoked ${other}`)).toEqual({ kind: "unknown", line: 0 });
  });

  test("the types that are known are asked for first", () => {
    const types = (text: string) => knownHosts.algorithms(known(text));
    expect(types("").slice(0, 2)).toEqual(["ssh-ed25519", "ecdsa-sha2-nistp256"]);
    expect(types("")).not.toContain("ssh-rsa"); // RSA with SHA-1
    const key = Buffer.concat([Buffer.from([0, 0, 0, 7]), Buffer.from("ssh-rsa"), randomBytes(20)]);
    const rsa = `${NAME} ssh-rsa ${key.toString("base64")}\n`;
    expect(types(rsa).slice(0, 3)).toEqual(["rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519"]);
    expect(types(rsa)).toHaveLength(types("").length);
    expect(types(`@revoked ${rsa}`)[0]).toBe("ssh-ed25519");
  });

  test("a new key is added: folder 700, file 600, and a last line without its end is ended", async () => {
    await using box = await folder();
    await knownHosts.remember(box.knownHosts, NAME, blob("host"));
    expect(await readFile(box.knownHosts, "utf8")).toBe(
      `${NAME} ssh-ed25519 ${blob("host").toString("base64")}\n`,
    );
    expect(statSync(box.at("home", ".ssh")).mode & 0o777).toBe(0o700);
    expect(statSync(box.knownHosts).mode & 0o777).toBe(0o600);
    await writeFile(box.knownHosts, "# no end");
    await knownHosts.remember(box.knownHosts, NAME, blob("host"));
    expect((await readFile(box.knownHosts, "utf8")).split("\n")[0]).toBe("# no end");
    expect(known(await readFile(box.knownHosts, "utf8"))[0].line).toBe(2);
  });

  test.skipIf(!HAS_KEYGEN)(
    `ssh-keygen finds what was added, and hashes what is read${needsKeygen}`,
    async () => {
      await using box = await folder();
      for (const name of ["host", "rsa", "ecdsa"]) {
        await knownHosts.remember(box.knownHosts, NAME, blob(name));
        expect(keygen("-lf", join(keys, `${name}.pub`)).split(" ")[1]).toBe(
          knownHosts.fingerprint(blob(name)),
        );
      }
      expect(keygen("-f", box.knownHosts, "-F", NAME).split("\n").filter((one) => one.startsWith(NAME)))
        .toHaveLength(3);
      keygen("-f", box.knownHosts, "-H");
      const text = await readFile(box.knownHosts, "utf8");
      expect(text).not.toContain("127.0.0.1");
      expect(known(text).map(({ type }) => type)).toEqual(["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256"]);
      expect(known(text, "[127.0.0.1]:2023")).toEqual([]);
    },
  );
});

describe("words", () => {
  const cut: [line: string, words: string[]][] = [
    ["", []],
    ["  get  a b ", ["get", "a", "b"]],
    ["# a comment", []],
    ["ls a # b", ["ls", "a"]],
    ["ls a#b", ["ls", "a#b"]],
    ["get 'a b' \"c d\"", ["get", "a b", "c d"]],
    ["get a\\ b", ["get", "a b"]],
    [`get "a\\"b" 'a\\b'`, ["get", 'a"b', "a\\b"]],
    [`get "a\\b"`, ["get", "a\\b"]],
    ["get a'b c'd", ["get", "ab cd"]],
    ["get '' \"\"", ["get", "", ""]],
    ["put 你好 a\\", ["put", "你好", "a\\"]],
  ];
  test.each(cut)("%j", (line, words) => expect(splitWords(line).map(({ text }) => text)).toEqual(words));

  test("a quotation without its end", () => {
    expect(() => splitWords("get 'a")).toThrow("get 'a: ' without its partner (EINVAL)");
    expect(unfinishedWords("get 'a b").map(({ text }) => text)).toEqual(["get", "a b"]);
    expect(unfinishedWords("get ").map(({ text }) => text)).toEqual(["get", ""]);
  });

  const NAMES = ["a", "b", "a b", "*", "'q'", '"', "#x", "-r", "\\", "[x]", "你"];
  for (const typed of ["", "'", '"']) {
    test.each(NAMES)(`%j is one word after ${typed || "nothing"}`, (name) => {
      if (typed === "'" && name.includes("'")) return; // which cannot be written so
      const [word] = splitWords(quoteLike(typed, name) + typed);
      expect(word.text).toBe(name);
      expect(unfinishedWords(quoteLike(typed, name)).at(-1)?.text).toBe(name);
    });
  }

  const TREE: Record<string, string[]> = {
    ".": ["a.txt", "b.txt", "c.md", ".hidden", "sub", "*"],
    "./": ["a.txt", "b.txt"],
    "/": ["etc"],
    "sub/": ["one", "two"],
    "/etc/": ["hosts"],
  };
  const found: [line: string, paths: string[]][] = [
    ["a.txt", ["a.txt"]],
    ["nothing", ["nothing"]],
    ["*", ["*", "a.txt", "b.txt", "c.md", "sub"]],
    ["'*'", ["*"]],
    ["\\*", ["*"]],
    ["*.txt", ["a.txt", "b.txt"]],
    ["?.txt", ["a.txt", "b.txt"]],
    ["[bc].*", ["b.txt", "c.md"]],
    ["[!b]*t", ["a.txt"]],
    ["[a-b].txt", ["a.txt", "b.txt"]],
    ["[x", ["[x"]],
    [".*", [".hidden"]],
    ["./*", ["./a.txt", "./b.txt"]],
    ["s*/o*", ["sub/one"]],
    ["s*/one", ["sub/one"]],
    ["s*/none", []],
    ["/e*/h*", ["/etc/hosts"]],
    ["/etc/hosts", ["/etc/hosts"]],
    ["*z", []],
    ["a.t*t", ["a.txt"]],
    ["a*(x", []],
  ];
  test.each(found)("%s means %j", async (line, paths) => {
    const [word] = splitWords(line);
    expect(await expand(word.pattern, (folder) => Promise.resolve(TREE[folder] ?? []))).toEqual(paths);
  });

  test("a range that is none", async () => {
    await expect(expand("[z-a]", () => Promise.resolve(["b"]))).rejects.toThrow("[z-a]: no pattern (EINVAL)");
  });
});

/** What a first contact says. */
const contact = (port: number, key = "host", type = "ED25519") =>
  `[127.0.0.1]:${port} is unknown; its ${type} key is ${knownHosts.fingerprint(blob(key))}\n` +
  "is this the right key? yes, or the fingerprint itself, goes on\n";

const FILES = {
  "a.txt": "one\n",
  "two words.txt": "two\n",
  "it's": "",
  "[x].md": "四\n",
  ".hidden": "five\n",
};

async function fill(path: string) {
  await mkdir(join(path, "sub", "deep", "empty"), { recursive: true });
  for (const [name, text] of Object.entries(FILES)) await writeFile(join(path, name), text);
  await writeFile(join(path, "sub", "deep", "six"), "6".repeat(300_000));
}

/** All that is in a folder: names, and hashes of files. */
async function tree(path: string): Promise<Record<string, string>> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  const rows = entries.map((entry) => {
    const file = join(entry.parentPath, entry.name);
    return [
      file.slice(path.length + 1),
      entry.isFile() ? sha256OfFile(file) : entry.isDirectory() ? "folder" : "other",
    ];
  });
  return Object.fromEntries(rows.sort());
}

describe.skipIf(!HAS_SSHD)(`OpenSSH's sshd${needsSshd}`, () => {
  for (const runtime of EVERYWHERE) {
    test.concurrent(`every command on ${runtime}`, async () => {
      await using box = await folder();
      await using server = await sshd(box);
      await fill(box.there());
      const { code, stdout, stderr } = await session(
        shell(box, server.port, {
          runtime,
          words: ["--identity", join(keys, "user"), "--known-hosts", box.at("known")],
        }),
        [
          "yes",
          "# a comment, and an empty line",
          "",
          "pwd",
          "lpwd",
          "ls",
          "ls -a sub",
          "ls *.txt",
          "lmkdir new",
          "lcd new",
          "lpwd",
          "mkdir made",
          "cd made",
          "pwd",
          "cd",
          "get 'two words.txt'",
          "get a.txt copy",
          "get a.txt copy",
          'get "it\'s" .',
          "get -r sub",
          "lls",
          "put copy made",
          "put copy made/other",
          "put copy made/other",
          "put -r sub made/tree",
          "ls made",
          "rename made/other made/renamed",
          "rm made/renamed",
          "rm made/c*",
          "-rmdir made",
          "-get [x].md",
          "get \\[x].md",
          "cd sub/deep",
          "rmdir empty",
          "ls",
          "help",
          "exit",
          "rm never",
        ],
      );
      const there = box.there();
      const here = box.here("new");
      expect(stdout.split("pwd                ")[0]).toBe(
        contact(server.port) +
          [
            there,
            box.here(),
            "[x].md",
            "a.txt",
            "it's",
            "sub",
            "two words.txt",
            "deep",
            "a.txt",
            "two words.txt",
            here,
            `${there}/made`,
            "two words.txt -> two words.txt  4 bytes",
            "a.txt -> copy  4 bytes",
            "a.txt -> copy  4 bytes",
            "it's -> it's  0 bytes",
            "sub/deep/six -> sub/deep/six  300000 bytes",
            "copy",
            "it's",
            "sub",
            "two words.txt",
            "copy -> made/copy  4 bytes",
            "copy -> made/other  4 bytes",
            "copy -> made/other  4 bytes",
            "sub/deep/six -> made/tree/deep/six  300000 bytes",
            "copy",
            "other",
            "tree",
            "[x].md -> [x].md  4 bytes",
            "six",
            "",
          ].join("\n"),
      );
      expect(stdout.split("\n").filter((one) => /^\w+ .* {2}\w|^\w+ {5,}\w/.test(one)).length)
        .toBeGreaterThan(10);
      expect({ code, stderr }).toEqual({
        code: 0,
        stderr: "error: made: the server says: Failure (EREMOTEIO)\n" +
          "error: [x].md: nothing has such a name (ENOENT)\n",
      });
      const six = sha256OfFile(box.there("sub/deep/six"));
      expect(await tree(here)).toEqual({
        "[x].md": sha256OfFile(box.there("[x].md")),
        "copy": sha256OfFile(box.there("a.txt")),
        "it's": sha256OfFile(box.there("it's")),
        "sub": "folder",
        "sub/deep": "folder",
        "sub/deep/empty": "folder",
        "sub/deep/six": six,
        "two words.txt": sha256OfFile(box.there("two words.txt")),
      });
      expect(await tree(box.there("made"))).toEqual({
        "tree": "folder",
        "tree/deep": "folder",
        "tree/deep/empty": "folder",
        "tree/deep/six": six,
      });
    });
  }

  test.concurrent("get ./* . and put ./* .: files yes, folders with -r", async () => {
    await using box = await folder();
    await using server = await sshd(box);
    await trust(box, server.port);
    await fill(box.there());
    const files = Object.keys(FILES).filter((name) => !name.startsWith("."));
    const flat = await session(shell(box, server.port), ["get ./* .", "pwd"]);
    expect({ code: flat.code, stderr: flat.stderr }).toEqual({
      code: 1, // and what follows is not done
      stderr: "error: ./sub: is a folder (EISDIR)\nhint: -r takes folders too\n",
    });
    expect(flat.stdout).not.toContain(`${box.there()}\n`);
    expect(await readdir(box.here())).toEqual(expect.arrayContaining(files));
    expect(await readdir(box.here())).toHaveLength(files.length);

    const deep = await session(shell(box, server.port), [
      "get -r ./* .",
      "mkdir back",
      "cd back",
      "put -r ./* .",
    ]);
    expect({ code: deep.code, stderr: deep.stderr }).toEqual({ code: 0, stderr: "" });
    const all = await tree(box.here());
    expect(Object.keys(all)).toEqual(expect.arrayContaining([...files, "sub/deep/six", "sub/deep/empty"]));
    expect(await tree(box.there("back"))).toEqual(all);
  });

  test.concurrent("symbolic links: the one that is named is followed, others are left out", async () => {
    await using box = await folder();
    await using server = await sshd(box);
    await trust(box, server.port);
    for (const side of [box.here(), box.there()]) {
      await mkdir(join(side, "sub"));
      await writeFile(join(side, "sub", "file"), "1");
      await symlink("..", join(side, "sub", "loop"));
      await symlink("file", join(side, "sub", "link"));
      await symlink("sub/file", join(side, "top"));
    }
    const commands = ["get -r sub got", "get top top2", "put -r sub stored", "put top top2"];
    const { code, stdout, stderr } = await session(shell(box, server.port), commands);
    expect(code).toBe(0);
    expect(stderr.match(/hint: sub\/(loop|link) is neither file nor folder, and left out\n/g)).toHaveLength(
      4,
    );
    expect(stdout.split("\n")).toHaveLength(5);
    expect(await readdir(box.here("got"))).toEqual(["file"]);
    expect(await readdir(box.there("stored"))).toEqual(["file"]);
    expect(await readFile(box.there("top2"), "utf8")).toBe("1");
    // A link that waits here for a folder of the server is not followed.
    await symlink(box.at("home"), box.here("trap"));
    await mkdir(box.there("deep", "trap"), { recursive: true });
    await writeFile(box.there("deep", "trap", "x"), "x");
    await mkdir(box.here("deep"));
    await symlink(box.at("home"), box.here("deep", "trap"));
    const trapped = await session(shell(box, server.port), ["get -r deep"]);
    expect({ code: trapped.code, stderr: trapped.stderr }).toEqual({
      code: 1,
      stderr: "error: deep/trap: is in the way of a folder (ENOTDIR)\n",
    });
    expect(await readdir(box.at("home"))).not.toContain("x");
  });

  test.concurrent("errors are told in words; the first one ends a batch, a - before it does not", async () => {
    await using box = await folder();
    await using server = await sshd(box);
    await trust(box, server.port);
    await mkdir(box.there("sub"));
    await writeFile(box.there("file"), "1");
    const wrong: [line: string, error: string][] = [
      ["nope", "error: nope: unknown command (EINVAL)\nhint: help shows what there is"],
      ["constructor", "error: constructor: unknown command (EINVAL)\nhint: help shows what there is"],
      ["get", "error: get: it is get [-r] PATH [LOCAL] (EINVAL)"],
      ["ls -x", "error: ls -x: it is ls [-al] [PATH] (EINVAL)"],
      ["pwd now", "error: pwd now: it is pwd (EINVAL)"],
      ["ls 'a", "error: ls 'a: ' without its partner (EINVAL)"],
      ["cd none", "error: none: no such file or folder (ENOENT)"],
      ["cd file", "error: file: not a folder (ENOTDIR)"],
      ["lcd none", "error: none: no such file or folder (ENOENT)"],
      ["ls none", "error: none: no such file or folder (ENOENT)"],
      ["ls n*", "error: n*: nothing has such a name (ENOENT)"],
      ["lls none", "error: none: no such file or folder (ENOENT)"],
      ["get none", "error: none: no such file or folder (ENOENT)"],
      ["get file none/x", "error: none/x: no such file or folder (ENOENT)"],
      ["get sub", "error: sub: is a folder (EISDIR)\nhint: -r takes folders too"],
      ["put none", "error: none: no such file or folder (ENOENT)"],
      ["rm none", "error: none: no such file or folder (ENOENT)"],
      ["rmdir none", "error: none: no such file or folder (ENOENT)"],
      ["mkdir sub", "error: sub: the server says: Failure (EREMOTEIO)"],
      ["rename none other", "error: none: no such file or folder (ENOENT)"],
      ["lmkdir none/x", "error: none/x: no such file or folder (ENOENT)"],
    ];
    const all = await session(shell(box, server.port), wrong.map(([line]) => `-${line}`));
    expect(all).toEqual({ code: 0, stdout: "", stderr: wrong.map(([, error]) => `${error}\n`).join("") });
    const first = await session(shell(box, server.port), ["cd none", "rm file"]);
    expect(first).toEqual({ code: 1, stdout: "", stderr: `${wrong[6][1]}\n` });
    expect(existsSync(box.there("file"))).toBe(true);
    await using silent = shell(box, server.port);
    expect(await session(silent, [])).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  test.concurrent("the key of a host: asked about once; only yes or the fingerprint goes on", async () => {
    await using box = await folder();
    await using server = await sshd(box);
    const refused = {
      code: 1,
      stdout: contact(server.port),
      stderr: `error: [127.0.0.1]:${server.port}: its key is not trusted (EKEYREJECTED)\n`,
    };
    for (const answer of some(1, ["no", "", "y", knownHosts.fingerprint(blob("other"))])) {
      expect(await session(shell(box, server.port), [answer, "pwd"])).toEqual(refused);
    }
    await using silent = shell(box, server.port);
    expect(await session(silent, [])).toEqual(refused);
    expect(existsSync(box.knownHosts)).toBe(false);
    const first = await session(shell(box, server.port), [knownHosts.fingerprint(blob("host")), "pwd"]);
    expect(first).toEqual({ code: 0, stdout: `${contact(server.port)}${box.there()}\n`, stderr: "" });
    expect(keygen("-f", box.knownHosts, "-F", `[127.0.0.1]:${server.port}`)).toContain("line 1");
    expect(await session(shell(box, server.port), ["pwd"])).toEqual({
      code: 0,
      stdout: `${box.there()}\n`,
      stderr: "",
    });
    // OpenSSH's client believes it too.
    await using sftp = openSsh(box, server.port, ["StrictHostKeyChecking=yes"]);
    expect((await session(sftp, ["pwd"])).code).toBe(0);
  });

  test.concurrent("a changed key and a revoked one end all, and nothing is asked", async () => {
    await using box = await folder();
    await using server = await sshd(box);
    const name = `[127.0.0.1]:${server.port}`;
    await mkdir(box.at("home", ".ssh"));
    await writeFile(box.knownHosts, `# one\n${line(name, "other")}`);
    expect(await session(shell(box, server.port), ["yes", "pwd"])).toEqual({
      code: 1,
      stdout: "",
      stderr:
        `error: ${name}: its ED25519 key is now ${
          knownHosts.fingerprint(blob("host"))
        }, not the one in ${box.knownHosts}, line 2 (EKEYREJECTED)\n` +
        `hint: another machine may pretend to be it; if its key has really changed: ssh-keygen -f ${box.knownHosts} -R '${name}'\n`,
    });
    await writeFile(box.knownHosts, `@revoked ${line("*", "host")}${line(name, "host")}`);
    expect(await session(shell(box, server.port), ["yes", "pwd"])).toEqual({
      code: 1,
      stdout: "",
      stderr: `error: ${name}: its ED25519 key is revoked in ${box.knownHosts}, line 1 (EKEYREVOKED)\n`,
    });
    await writeFile(box.knownHosts, line(name, "rsa"));
    expect(await session(shell(box, server.port), ["no"])).toEqual({
      code: 1,
      stdout: contact(server.port),
      stderr:
        `hint: a key of another type is known, in ${box.knownHosts}, line 1: why is that one not shown?\n` +
        `error: ${name}: its key is not trusted (EKEYREJECTED)\n`,
    });
  });

  for (const runtime of EVERYTHING ? EVERYWHERE : []) {
    test.concurrent(`keys on ${runtime}: an encrypted one, the usual ones, those of the agent`, async () => {
      await using box = await folder();
      await using server = await sshd(box);
      await trust(box, server.port);
      const fine = { code: 0, stdout: `${box.there()}\n`, stderr: "" };
      const locked = ["--identity", join(keys, "locked")];
      expect(
        await session(shell(box, server.port, { runtime, words: locked }), ["wrong", "open sesame", "pwd"]),
      ).toEqual({
        ...fine,
        stderr: `error: ${join(keys, "locked")}: wrong passphrase (EACCES)\n`,
      });
      await writeFile(box.at("home", ".ssh", "id_ed25519"), readFileSync(join(keys, "user")), {
        mode: 0o600,
      });
      expect(await session(shell(box, server.port, { runtime, words: [] }), ["pwd"])).toEqual(fine);
      await rm(box.at("home", ".ssh", "id_ed25519"));
      const refused = {
        code: 1,
        stdout: "",
        stderr: `error: ${USER}@[127.0.0.1]:${server.port}: login refused (EACCES)\n`,
      };
      expect(await session(shell(box, server.port, { runtime, words: [] }), ["pwd"])).toEqual(refused);
      const SSH_AUTH_SOCK = box.at("agent");
      await using agent = start(["ssh-agent", "-D", "-a", SSH_AUTH_SOCK]);
      expect(await agent.next()).toContain("SSH_AUTH_SOCK");
      execFileSync("ssh-add", ["-q", join(keys, "user")], {
        env: { ...process.env, SSH_AUTH_SOCK },
        stdio: "ignore",
      });
      expect(await session(shell(box, server.port, { runtime, words: [], env: { SSH_AUTH_SOCK } }), ["pwd"]))
        .toEqual(fine);
      const nobody = { SSH_AUTH_SOCK: box.at("nobody") };
      expect(await session(shell(box, server.port, { runtime, words: [], env: nobody }), ["pwd"])).toEqual(
        refused,
      );
    });
  }

  for (const runtime of EVERYTHING ? EVERYWHERE : []) {
    test.concurrent(`the secret is changed in the middle of a file, on ${runtime}`, async () => {
      await using box = await folder();
      await using server = await sshd(box, ["host"], ["RekeyLimit 2M"]);
      await trust(box, server.port);
      await writeFile(box.there("file"), randomBytes(10_000_000));
      const { code, stderr } = await session(shell(box, server.port, { runtime }), [
        "get file",
        "put file back",
      ]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      const hash = sha256OfFile(box.there("file"));
      expect([sha256OfFile(box.here("file")), sha256OfFile(box.there("back"))]).toEqual([hash, hash]);
    });
  }

  test.concurrent("a key file that is none", async () => {
    await using box = await folder();
    for (
      const [file, why] of [["none", "no such file or folder (ENOENT)"], [
        join(keys, "user.pub"),
        "no private key (EINVAL)",
      ], [join(ROOT, "LICENSE"), "Unsupported key format (EINVAL)"]]
    ) {
      await using program = shell(box, 1, { words: ["--identity", file] });
      expect(await session(program, [])).toEqual({ code: 1, stdout: "", stderr: `error: ${file}: ${why}\n` });
    }
  });

  for (const runtime of EVERYTHING ? EVERYWHERE : []) {
    test.concurrent(`interrupted on ${runtime}: 130, and no half file`, async () => {
      await using box = await folder();
      await using server = await sshd(box);
      await trust(box, server.port);
      await writeFile(box.there("big"), "");
      truncateSync(box.there("big"), 400_000_000);
      await using program = shell(box, server.port, { runtime });
      program.type("get big\n");
      while (!(await readdir(box.here())).some((name) => name.endsWith(".part"))) await Bun.sleep(5);
      program.signal("SIGINT");
      expect(await program.result()).toEqual({ code: 130, stdout: "", stderr: "" });
      expect(await readdir(box.here())).toEqual([]);
    });

    test.concurrent(`a line that breaks on ${runtime}: told at once, in the middle and while it waits`, async () => {
      await using box = await folder();
      await using server = await sshd(box);
      await using line = await relay(server.port);
      await trust(box, line.port);
      await writeFile(box.here("big"), "");
      truncateSync(box.here("big"), 400_000_000);
      await using busy = shell(box, line.port, { runtime });
      await using waiting = shell(box, line.port, { runtime });
      waiting.type("pwd\n");
      expect(await waiting.next()).toBe(box.there());
      busy.type("put big\n");
      while (!(await readdir(box.there())).some((name) => name.endsWith(".part"))) await Bun.sleep(5);
      line.cut();
      for (const one of [busy, waiting]) {
        const { code, stderr } = await one.result();
        expect(stderr).toMatch(/^error: .*: (hung up|connection (reset|closed) by peer) \(\w+\)\n$/);
        expect(code).toBe(1);
      }
      expect(await readdir(box.there())).not.toContain("big");
    });
  }

  if (EVERYTHING) {
    test.concurrent("what it writes is what OpenSSH's sftp writes: modes by umask, over what there is", async () => {
      await using box = await folder();
      await using server = await sshd(box);
      await trust(box, server.port);
      await writeFile(box.here("run"), "#!/bin/sh\n", { mode: 0o755 });
      await writeFile(box.here("secret"), "s", { mode: 0o600 });
      const commands = [
        "put run x-run",
        "put secret x-secret",
        "get x-run y-run",
        "get x-secret y-secret",
        "mkdir x-folder",
      ];
      const { code, stderr } = await session(shell(box, server.port), commands);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      const ours = [
        box.there("x-run"),
        box.there("x-secret"),
        box.here("y-run"),
        box.here("y-secret"),
        box.there("x-folder"),
      ];
      await using sftp = openSsh(box, server.port);
      expect((await session(sftp, commands.map((command) => command.replaceAll(/\b([xy])-/g, "$1$1-")))).code)
        .toBe(0);
      for (const path of ours) {
        const theirs = path.replace(/([xy])(-[a-z]+)$/, "$1$1$2");
        expect({ path, mode: statSync(path).mode }).toEqual({ path, mode: statSync(theirs).mode });
      }
    });

    test.concurrent("a file that OpenSSH has written, with hashed names, is believed", async () => {
      await using box = await folder();
      await using server = await sshd(box, ["rsa", "ecdsa", "host"]);
      await mkdir(box.at("home", ".ssh"));
      for (const type of ["rsa-sha2-512", "ecdsa-sha2-nistp256"]) {
        await writeFile(box.knownHosts, "");
        const newcomer = ["UpdateHostKeys=no", "HashKnownHosts=yes", "StrictHostKeyChecking=accept-new"];
        await using sftp = openSsh(box, server.port, [`HostKeyAlgorithms=${type}`, ...newcomer]);
        expect((await session(sftp, ["pwd"])).code).toBe(0);
        expect(await readFile(box.knownHosts, "utf8")).toStartWith("|1|");
        // The server has three keys: it must show the one that is known.
        expect(await session(shell(box, server.port), ["pwd"])).toEqual({
          code: 0,
          stdout: `${box.there()}\n`,
          stderr: "",
        });
      }
    });

    for (const runtime of ["bun", "node", "deno"] as const) {
      test(`1 GiB both ways on ${runtime}, in bounded memory`, async () => {
        await using box = await folder();
        await using server = await sshd(box);
        await trust(box, server.port);
        execFileSync("sh", ["-c", `head -c 1073741824 /dev/urandom > ${box.there("big")}`]);
        const begin = performance.now();
        await using program = shell(box, server.port, { runtime, limit: 120_000 });
        program.type("get big\nput big back\n");
        expect(await program.next()).toBe("big -> big  1073741824 bytes");
        const middle = performance.now();
        expect(await program.next()).toBe("big -> back  1073741824 bytes");
        const end = performance.now();
        const most = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${program.pid}/status`, "utf8"))?.[1];
        program.endOfInput();
        expect(await program.ended()).toBe(0);
        const hash = sha256Big(box.there("big"));
        expect([sha256Big(box.here("big")), sha256Big(box.there("back"))]).toEqual([hash, hash]);
        console.log(
          `${runtime}: get ${Math.round(middle - begin)} ms, put ${
            Math.round(end - middle)
          } ms, at most ${most} kB`,
        );
        expect(Number(most)).toBeLessThan(400_000);
      }, 180_000);
    }
  }
});

const sha256Big = (file: string) => execFileSync("sha256sum", [file]).toString().split(" ")[0];

type Sftp = ssh2.SFTPWrapper;
/** What a server of the test answers: by the name of the request; what is missing is refused. */
type Answers = Record<string, (sftp: Sftp, id: number, ...fields: never[]) => void>;

const { STATUS_CODE } = ssh2.utils.sftp;
const FOLDER = { mode: 0o040755, uid: 0, gid: 0, size: 0, atime: 0, mtime: 0 };
const FILE = { ...FOLDER, mode: 0o100644, size: 5 };

/** A server of the test, made with ssh2: it takes a password, and answers as it is told. */
async function impostor(answers: Answers = {}, password = "s3cret") {
  const passwords: string[] = [];
  const clients = new Set<ssh2.Connection>();
  const server = new ssh2.Server({ hostKeys: [readFileSync(join(keys, "host"))] }, (client) => {
    clients.add(client);
    client.on("error", () => {});
    client.on("authentication", (context) => {
      if (context.method !== "password") return context.reject(["password"]);
      passwords.push(context.password);
      if (context.password === password) context.accept();
      else context.reject(["password"]);
    });
    client.on("session", (accept) => {
      accept().on("sftp", (accept) => {
        const sftp = accept() as Sftp;
        const all: Answers = {
          REALPATH: (sftp, id) => sftp.name(id, [{ filename: "/", longname: "/", attrs: FOLDER }]),
          STAT: (sftp, id) => sftp.attrs(id, FOLDER),
          OPENDIR: (sftp, id) => sftp.handle(id, Buffer.from("0")),
          CLOSE: (sftp, id) => sftp.status(id, STATUS_CODE.OK),
          ...answers,
        };
        for (
          const name of [
            "REALPATH",
            "STAT",
            "OPENDIR",
            "READDIR",
            "CLOSE",
            "OPEN",
            "READ",
            "WRITE",
            "REMOVE",
            "RENAME",
            "MKDIR",
          ]
        ) {
          const refuse = (sftp: Sftp, id: number) => sftp.status(id, STATUS_CODE.OP_UNSUPPORTED, "not here");
          sftp.on(
            name as "READ",
            (id: number, ...fields: unknown[]) => (all[name] ?? refuse)(sftp, id, ...fields as never[]),
          );
        }
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    passwords,
    hangUp: () => clients.forEach((client) => client.end()),
    async [Symbol.asyncDispose]() {
      clients.forEach((client) => client.end());
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** One list for each folder that is opened. */
function listing(names: string[], attrs: typeof FOLDER): Answers {
  let isFirst = true;
  return {
    OPENDIR: (sftp, id) => {
      isFirst = true;
      sftp.handle(id, Buffer.from("0"));
    },
    READDIR: (sftp, id) => {
      if (isFirst) sftp.name(id, names.map((filename) => ({ filename, longname: filename, attrs })));
      else sftp.status(id, STATUS_CODE.EOF);
      isFirst = false;
    },
  };
}

const PASSWORD = { words: [] };

describe("passwords", () => {
  for (const runtime of EVERYWHERE) {
    test(`piped in on ${runtime}: asked at most three times`, async () => {
      await using box = await folder();
      await using server = await impostor();
      const who = `${USER}@[127.0.0.1]:${server.port}`;
      const wrong = `error: ${who}: wrong password (EACCES)\n`;
      const first = await session(shell(box, server.port, { runtime, words: [] }), [
        "yes",
        "wrong",
        "s3cret",
        "pwd",
      ]);
      expect(first).toEqual({ code: 0, stdout: `${contact(server.port)}/\n`, stderr: wrong });
      const never = await session(shell(box, server.port, { runtime, words: [] }), ["1", "2", "3", "4", "5"]);
      expect(never).toEqual({
        code: 1,
        stdout: "",
        stderr: `${wrong}${wrong}error: ${who}: login refused (EACCES)\n`,
      });
      expect(server.passwords).toEqual(["wrong", "s3cret", "1", "2", "3"]);
      const silent = await session(shell(box, server.port, { runtime, words: [] }), []);
      expect(silent).toEqual({ code: 1, stdout: "", stderr: `error: ${who}: login refused (EACCES)\n` });
    });

    test(`typed at a terminal on ${runtime}: unseen, edited, and in no history`, async () => {
      await using box = await folder();
      await using server = await impostor({ READDIR: (sftp, id) => sftp.status(id, STATUS_CODE.EOF) });
      await using person = atTerminal(box, server.port, runtime);
      await person.until("goes on\n> ");
      person.type("yes\rahead\rmore"); // too quick to have seen what is asked next
      await person.until("password of me@[127.0.0.1]:");
      person.type("other");
      person.press("Ctrl-U");
      person.type("s3creX");
      person.press("Backspace");
      person.type("t");
      person.press("Up", "Down", "Enter");
      await person.until("sftp> ");
      person.press("Up");
      person.press("Up");
      person.type("pwd");
      person.press("Enter");
      await person.until("sftp> pwd\n/\nsftp> ");
      expect(server.passwords).toEqual(["s3cret"]);
      for (const secret of ["s3cre", "other", "ahead", "more"]) expect(person.written).not.toContain(secret);
      person.type("pwd\rpwd\rpw"); // typed ahead
      await person.until("sftp> pwd\n/\nsftp> pwd\n/\nsftp> pwd\n/\nsftp> pw");
      person.press("Ctrl-U");
      person.press("Ctrl-D");
      expect(await person.ended()).toBe(0);
      expect(person.isCooked).toBe(true);
      expect(person.screen).toEndWith("sftp> \n");

      // Ctrl-C in the middle of a password.
      await using other = atTerminal(box, server.port, runtime);
      await other.until("password of");
      other.type("secret");
      await Bun.sleep(50); // nothing shows that it was typed
      other.press("Ctrl-C");
      expect(await other.ended()).toBe(130);
      expect(other.isCooked).toBe(true);
      expect(other.written).not.toContain("secret");
    });
  }

  test("a server that hangs up while one types is told, and the terminal is as before", async () => {
    await using box = await folder();
    await using server = await impostor();
    await trust(box, server.port);
    for (const isIn of [false, true]) {
      await using person = atTerminal(box, server.port);
      if (!isIn) await person.until("password of");
      else {
        await logIn(person);
        person.type("ls");
        await person.until("sftp> ls");
      }
      server.hangUp();
      expect(await person.ended()).toBe(1);
      expect(person.screen).toEndWith(`\nerror: [127.0.0.1]:${server.port}: hung up (EPIPE)\n`);
      expect(person.isCooked).toBe(true);
    }
  });
});

describe("the Tab key", () => {
  const NAMES = ["alpha.txt", "alpine", "two words", 'a"quote', "it's", "evil\x1b[2J", "evil\u202etxt"];

  for (const runtime of EVERYWHERE) {
    test(`commands and names of both sides on ${runtime}`, async () => {
      await using box = await folder();
      await using server = await impostor(listing(NAMES, FILE));
      await trust(box, server.port);
      await mkdir(box.here("my folder"));
      await using person = atTerminal(box, server.port, runtime);
      await logIn(person);
      const rows: [typed: string, completed: string][] = [
        ["lp", "lpwd "],
        ["get alpi", "get alpine "],
        ["get alp", "get alp"],
        ["get tw", "get two\\ words "],
        ["get 'tw", "get 'two words' "],
        ['get "a\\"', 'get "a\\"quote" '],
        ["get it", "get it\\'s "],
        ["lcd m", "lcd my\\ folder/"],
        ["put m", "put my\\ folder/"],
        ["get -r it", "get -r it\\'s "],
        ["rename alpine it", "rename alpine it\\'s "],
        ["get ev", "get ev"],
        ["nope al", "nope al"],
      ];
      for (const [typed, completed] of rows) {
        person.type(typed);
        await person.until(`sftp> ${typed}`);
        person.type("\t");
        await Bun.sleep(100); // nothing shows that Tab was heard; one that comes with the next key in one piece is text
        person.type(`|`); // a mark behind what is there
        await person.until(`sftp> ${completed}|`);
        person.press("Ctrl-U");
        person.type("help");
        await person.until("sftp> help");
        person.press("Ctrl-U");
        await Bun.sleep(5);
      }
      expect(person.written).not.toContain("\x1b[2J");
      expect(person.written).not.toContain("\u202e");
      person.press("Ctrl-C");
      expect(await person.ended()).toBe(130);
      expect(person.isCooked).toBe(true);
    });
  }
});

describe("servers that lie", () => {
  const typed = ["s3cret"];

  test.each(some(3, ["../up", "", "x".repeat(800), "/etc/passwd", "a/../../b", "sub/x"]))(
    "the name %j in a list",
    async (name) => {
      await using box = await folder();
      await using server = await impostor(listing(["good", name], FILE));
      await trust(box, server.port);
      const { code, stdout, stderr } = await session(shell(box, server.port, PASSWORD), [
        ...typed,
        "-get -r / x",
        "-get *",
        "ls",
      ]);
      const error = `error: [127.0.0.1]:${server.port}: sent what is no name of a file (EPROTO)\n`;
      expect({ code, stdout, stderr }).toEqual({ code: 1, stdout: "", stderr: error.repeat(3) });
      expect(await tree(box.path)).toEqual(
        expect.not.objectContaining({ up: expect.anything(), b: expect.anything() }),
      );
      expect(await readdir(box.here())).toEqual(["x"]); // the folder that was asked for
      expect(await readdir(box.here("x"))).toEqual([]);
    },
  );

  test("names that drive a terminal are shown harmless, and no file gets them", async () => {
    await using box = await folder();
    const names = ["a\x1b[2Jb", "c\nd", "e\u202ef"];
    await using server = await impostor({
      ...listing(names, { ...FILE, size: 0 }),
      OPEN: (sftp, id) => sftp.handle(id, Buffer.from("1")),
      READ: (sftp, id) => sftp.status(id, STATUS_CODE.EOF),
    });
    await trust(box, server.port);
    const { code, stdout, stderr } = await session(shell(box, server.port, PASSWORD), [
      ...typed,
      "ls",
      "-get *",
      "get -r / x",
    ]);
    expect({ code, stdout }).toEqual({
      code: 1,
      stdout: "a\\x1b[2Jb\nc\\nd\ne\\u202ef\n",
    });
    const errors = stderr.trimEnd().split("\n");
    expect(errors.slice(3)).toEqual(errors.slice(0, 3)); // with -r as without
    expect(errors.slice(3).sort()).toEqual([
      "error: a\\x1b[2Jb: has control characters (EINVAL)",
      "error: c\\nd: has control characters (EINVAL)",
      "error: e\\u202ef: has control characters (EINVAL)",
    ]);
    expect(await readdir(box.here())).toEqual(["x"]);
    expect(await readdir(box.here("x"))).toEqual([]);
  });

  test("a list without end, and a tree without end", async () => {
    await using box = await folder();
    let count = 0;
    const many = {
      READDIR: (sftp: Sftp, id: number) =>
        sftp.name(
          id,
          Array.from({ length: 1000 }, () => ({ filename: `f${count++}`, longname: "", attrs: FILE })),
        ),
    };
    await using endless = await impostor(many);
    await trust(box, endless.port);
    expect(await session(shell(box, endless.port, PASSWORD), [...typed, "ls"])).toEqual({
      code: 1,
      stdout: "",
      stderr: `error: [127.0.0.1]:${endless.port}: sent a list without end (EPROTO)\n`,
    });
    await using deep = await impostor(listing(["d".repeat(200)], FOLDER));
    await trust(box, deep.port);
    const { code, stderr } = await session(shell(box, deep.port, PASSWORD), [...typed, "get -r / x"]);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/^error: .*: name too long \(ENAMETOOLONG\)\n$/),
    });
  });

  test("back from Ctrl-Z it goes on", async () => {
    await using box = await folder();
    await using server = await impostor();
    await trust(box, server.port);
    await using person = atTerminal(box, server.port);
    await logIn(person);
    person.type("pw\x1a");
    await until(() => person.isCooked, "the shell's terminal");
    process.kill(person.pid, "SIGCONT"); // fg
    await until(() => !person.isCooked, "our own again");
    person.type("d\r");
    await person.until("pwd\n/\n");
    person.press("Ctrl-C");
    expect(await person.ended()).toBe(130);
  });

  test("Ctrl-C ends it while Tab waits for names", async () => {
    await using box = await folder();
    const asked = Promise.withResolvers<void>();
    await using server = await impostor({ READDIR: () => asked.resolve() });
    await trust(box, server.port);
    await using person = atTerminal(box, server.port);
    await logIn(person);
    person.type("get a\t");
    await asked.promise;
    person.press("Ctrl-C");
    expect(await person.ended()).toBe(130);
    expect(person.isCooked).toBe(true);
  });

  test("a time that is not told, a link that leads nowhere, and exit with a comment", async () => {
    await using box = await folder();
    await using server = await impostor({
      ...listing(["link"], { mode: 0o120777, size: 3 } as typeof FILE),
      STAT: (sftp, id, path: string) =>
        path === "/link" ? sftp.status(id, STATUS_CODE.NO_SUCH_FILE) : sftp.attrs(id, FOLDER),
    });
    await trust(box, server.port);
    const lines = [...typed, "ls -l", "ls *", "exit # done", "pwd"];
    const { code, stdout, stderr } = await session(shell(box, server.port, PASSWORD), lines);
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^lrwxrwxrwx .* 3 {2}19(69|70)-\d\d-\d\d \d\d:\d\d {2}link\nlink\n$/),
      stderr: "",
    });
  });

  if (EVERYTHING) {
    test("a tree whose folders are all full", async () => {
      await using box = await folder();
      let count = 0; // of the replies to a list: 90 of names, the first of which is a folder, and then its end
      await using server = await impostor({
        READDIR: (sftp, id) => {
          const part = count++ % 91;
          if (part === 90) return sftp.status(id, STATUS_CODE.EOF);
          const names = Array.from({ length: 1000 }, (_, index) => `f${part}_${index}`);
          sftp.name(
            id,
            names.map((filename) => ({ filename, longname: "", attrs: filename === "f0_0" ? FOLDER : FILE })),
          );
        },
      });
      await trust(box, server.port);
      await using program = shell(box, server.port, { ...PASSWORD, limit: 50_000 });
      for (const line of [...typed, "get -r / x"]) program.type(`${line}\n`);
      expect(await program.next("stderr")).toBe(
        `error: [127.0.0.1]:${server.port}: sent a tree without end (EPROTO)`,
      );
      expect(await readdir(box.here("x", "f0_0"))).toContain("f0_0");
    }, 30_000);
  }

  test("a size that is not true: more, and less, than comes", async () => {
    await using box = await folder();
    const text = Buffer.from("0123456789");
    const file = (size: number): Answers => ({
      STAT: (sftp, id, path: string) => sftp.attrs(id, path === "/file" ? { ...FILE, size } : FOLDER),
      OPEN: (sftp, id) => sftp.handle(id, Buffer.from("1")),
      READ: (sftp, id, _: Buffer, place: number, length: number) =>
        place < text.length
          ? sftp.data(id, text.subarray(place, place + Math.min(3, length)))
          : sftp.status(id, STATUS_CODE.EOF),
    });
    for (
      const [size, saved] of [[0, "0123456789"], [4, "0123"], [10, "0123456789"], [11, undefined], [
        2 ** 52,
        undefined,
      ]] as const
    ) {
      await using server = await impostor(file(size));
      await trust(box, server.port);
      const { code, stdout, stderr } = await session(shell(box, server.port, PASSWORD), [
        ...typed,
        `get file ${size}`,
      ]);
      if (saved !== undefined) {
        expect({ code, stdout, stderr }).toEqual({
          code: 0,
          stdout: `file -> ${size}  ${saved.length} bytes\n`,
          stderr: "",
        });
        expect(await readFile(box.here(`${size}`), "utf8")).toBe(saved);
      } else {
        expect({ code, stdout, stderr }).toEqual({
          code: 1,
          stdout: "",
          stderr: `error: file: ended after 10 of ${size} bytes (EIO)\n`,
        });
      }
    }
    expect((await readdir(box.here())).sort()).toEqual(["0", "10", "4"]);
  });

  test("answers of another kind than was asked for", async () => {
    await using box = await folder();
    const ok = (sftp: Sftp, id: number) => sftp.status(id, STATUS_CODE.OK);
    const data = (sftp: Sftp, id: number) => sftp.data(id, Buffer.from("data"));
    const name = (sftp: Sftp, id: number) => sftp.name(id, [{ filename: "x", longname: "x", attrs: FILE }]);
    for (
      const [answers, line] of some(3, [
        [{
          STAT: (sftp, id, path: string) =>
            path === "." || path === "/" ? sftp.attrs(id, FOLDER) : ok(sftp, id),
        }, "cd x"],
        [
          { STAT: (sftp, id, path: string) => path === "." ? sftp.attrs(id, FOLDER) : data(sftp, id) },
          "cd x",
        ],
        [{ OPENDIR: ok }, "ls"],
        [{ OPENDIR: name }, "ls"],
        [{ READDIR: data }, "ls"],
        [
          { STAT: (sftp, id, path: string) => sftp.attrs(id, path === "/x" ? FILE : FOLDER), OPEN: ok },
          "get x",
        ],
      ] as [Answers, string][])
    ) {
      await using server = await impostor(answers);
      await trust(box, server.port);
      const { code, stdout, stderr } = await session(shell(box, server.port, PASSWORD), [...typed, line]);
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toBe(
        `error: [127.0.0.1]:${server.port}: answered something else than was asked (EPROTO)\n`,
      );
    }
    expect(await readdir(box.here())).toEqual([]);
  });

  test("a line on which somebody meddles in the middle", async () => {
    await using box = await folder();
    const asked = Promise.withResolvers<void>();
    await using server = await impostor({
      STAT: (sftp, id, path: string) => sftp.attrs(id, path === "/file" ? FILE : FOLDER),
      OPEN: (sftp, id) => sftp.handle(id, Buffer.from("1")),
      READ: () => asked.resolve(), // and no answer
    });
    await using line = await relay(server.port);
    await trust(box, line.port);
    await using program = shell(box, line.port, PASSWORD);
    program.type("s3cret\nget file\n");
    await asked.promise;
    line.spoil();
    const { code, stdout, stderr } = await program.result();
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^error: \[127\.0\.0\.1\]:\d+: .* \(EPROTO\)\n$/);
    expect(await readdir(box.here())).toEqual([]);
  });

  test("one that replaces nothing by a rename still gets the new file", async () => {
    await using box = await folder();
    await writeFile(box.here("new"), "new\n");
    const done: string[] = [];
    let isThere = true;
    await using server = await impostor({
      STAT: (sftp, id, path: string) =>
        path === "." || path === "/" ? sftp.attrs(id, FOLDER) : sftp.status(id, STATUS_CODE.NO_SUCH_FILE),
      OPEN: (sftp, id) => sftp.handle(id, Buffer.from("1")),
      WRITE: (sftp, id) => sftp.status(id, STATUS_CODE.OK),
      REMOVE: (sftp, id, path: string) => {
        done.push(`remove ${path}`);
        isThere = false;
        sftp.status(id, STATUS_CODE.OK);
      },
      RENAME: (sftp, id, _: string, to: string) => {
        done.push(`rename to ${to}`);
        sftp.status(id, isThere ? STATUS_CODE.FAILURE : STATUS_CODE.OK);
      },
    });
    await trust(box, server.port);
    const { code, stdout, stderr } = await session(shell(box, server.port, PASSWORD), [
      ...typed,
      "put new old",
    ]);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "new -> old  4 bytes\n", stderr: "" });
    expect(done).toEqual(["rename to /old", "remove /old", "rename to /old"]);
  });

  for (const runtime of EVERYWHERE) {
    test(`no SSH at all, and silence, on ${runtime}`, async () => {
      await using box = await folder();
      await using closed = shell(box, 1, { runtime, words: [] });
      expect(await session(closed, ["yes"])).toEqual({
        code: 1,
        stdout: "",
        stderr:
          "error: connect to 127.0.0.1:1: connection refused (ECONNREFUSED)\nhint: nobody listens there; start the server first\n",
      });
      for (
        const words of [
          "HTTP/1.1 400 Bad Request\r\n\r\n",
          "SSH-2.0-x\r\n\0\0\0\0garbage",
          "\x1b[2J".repeat(100_000),
          "",
        ]
      ) {
        const server = createServer((socket) => socket.on("error", () => {}).end(words));
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
        try {
          const { code, stdout, stderr } = await session(
            shell(box, (server.address() as AddressInfo).port, { runtime, words: [] }),
            ["yes"],
          );
          expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
          expect(stderr).toMatch(/^error: .*\n$/);
          expect(stderr).not.toContain("\x1b");
        } finally {
          server.close();
        }
      }
      const silent = createServer((socket) => socket.on("error", () => {}));
      await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
      const called = new Promise((resolve) => silent.once("connection", resolve));
      await using program = shell(box, (silent.address() as AddressInfo).port, { runtime, words: [] });
      await called;
      program.signal("SIGINT");
      expect(await program.result()).toEqual({ code: 130, stdout: "", stderr: "" });
      silent.close();
    });
  }

  test("hosts that are none", async () => {
    for (
      const [target, stderr] of [["me@", "error: me@: it is HOST or USER@HOST (EINVAL)\n"], [
        "",
        "error: : it is HOST or USER@HOST (EINVAL)\n",
      ]]
    ) {
      await using program = script("apps/sftp", [target]);
      expect(await session(program, [])).toEqual({ code: 2, stdout: "", stderr });
    }
    await using nobody = script("apps/sftp", ["me@no.such.invalid"]);
    expect(await session(nobody, [])).toEqual({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(/^error: look up no\.such\.invalid: /),
    });
    await using missing = script("apps/sftp");
    expect(await session(missing, [])).toEqual({
      code: 2,
      stdout: "",
      stderr: expect.stringMatching(/^error: \[USER@\]HOST: is needed \(EINVAL\)\n/),
    });
  });
});

test("a peer that is silent is left, but not while a person types", async () => {
  const server = createServer((socket) => socket.on("error", () => {}));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const dial = () => connect((server.address() as AddressInfo).port, "127.0.0.1");
  await using left = survive(dial(), new AbortController().signal);
  await using kept = survive(dial(), new AbortController().signal);
  limitIdle(kept, 40, () => true);
  limitIdle(left, 40);
  await new Promise((resolve) => left.once("close", resolve));
  expect(left.errored?.message).toMatch(/silent for 0.04 seconds \(ETIMEDOUT\)/);
  await new Promise((resolve) => setTimeout(resolve, 60));
  expect(kept.destroyed).toBe(false);
  server.close();
});
