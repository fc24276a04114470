/**
 * Lesson 4.5, the server: against OpenSSH's sftp and scp, curl, paramiko and sshfs, and against a client that does
 * what none of them does. Its packets are those of draft-ietf-secsh-filexfer-02, written by hand.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, lstatSync, readdirSync, readFileSync } from "node:fs";
import {
  appendFile,
  chmod,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import type { Socket } from "node:net";
import process from "node:process";
import ssh2, { type AuthenticationType, type Client, type ClientChannel } from "ssh2";
import { readHostKey } from "../../scripts/apps/sftp/keys.ts";
import {
  EVERYTHING,
  EVERYWHERE,
  type Options,
  type Program,
  type Runtime,
  script,
  start,
} from "../engine/program.ts";
import { call, HAS_IPV6, inTime, until } from "../engine/sockets.ts";
import { sha256OfFile, temporaryFolder } from "../engine/files.ts";

setDefaultTimeout(120_000); // what waits in a test says itself for what it waited too long

const needs = (...tools: string[]) => {
  const missing = tools.filter((tool) => !Bun.which(tool));
  return missing.length > 0 ? ` (needs ${missing.join(", ")})` : "";
};
const OPENSSH = needs("sftp", "ssh-keygen");
const IS_LINUX = process.platform === "linux";

/** Makes a key. One in 300 of ssh2 1.17 cannot be read, not even by itself. */
function makeKey(): { private: string; public: string } {
  const pair = ssh2.utils.generateKeyPairSync("ed25519", { comment: "anna" });
  return ssh2.utils.parseKey(pair.private) instanceof Error ? makeKey() : pair;
}

/** The key of the user. */
const KEY = makeKey();

/** A folder with a root in it, and the user's keys beside it. */
async function stage() {
  const folder = await temporaryFolder();
  const path = folder.at;
  await mkdir(path("root"));
  await writeFile(path("key"), KEY.private, { mode: 0o600 });
  await writeFile(path("key.pub"), `${KEY.public}\n`);
  return { path, root: path("root"), [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}
type Stage = Awaited<ReturnType<typeof stage>>;

/** Starts the server, for a user with a key. */
async function serve(at: Stage, words: string[] = [], options: Options & { runtime?: Runtime } = {}) {
  const keys = words.includes("--password") ? [] : ["--authorized-keys", at.path("key.pub")];
  const program = script("apps/sftp-server", [
    ...["--port", "0", "--root", at.root, "--user", "anna", ...keys, ...words],
  ], options);
  const port = await program.port();
  await program.next(); // the host key
  await program.next(); // the user
  return { program, port, [Symbol.asyncDispose]: () => program[Symbol.asyncDispose]() };
}

/** What every command of OpenSSH gets, so that nothing of this machine's user has a say. */
const PRIVATELY = (at: Stage, key: string | undefined = at.path("key")) => [
  ...["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes"],
  ...["-o", `UserKnownHostsFile=${at.path("known")}`, ...(key ? ["-i", key] : [])],
];

/** Runs commands in OpenSSH's sftp, which ends at the first one that fails. */
async function sftp(at: Stage, port: number, commands: string[], words: string[] = []) {
  await using program = start([
    "sftp",
    ...PRIVATELY(at),
    "-P",
    `${port}`,
    ...words,
    "-b",
    "-",
    "anna@127.0.0.1",
  ], {
    cwd: at.path(),
    env: { LC_ALL: "C.UTF-8" }, // else it shows 猫 as \347\214\253
    limit: 90_000,
  });
  program.type(commands.map((command) => `${command}\n`).join(""));
  program.endOfInput();
  return await program.result();
}

/** How much memory a program has had at most, in MiB. */
function peak(program: Program): number {
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${program.pid}/status`, "utf8"))?.[1]) / 1024;
}

describe("OpenSSH's sftp", () => {
  for (const runtime of EVERYWHERE) {
    test.skipIf(OPENSSH !== "")(`does all it can, on ${runtime}${OPENSSH}`, async () => {
      await using at = await stage();
      await mkdir(at.path("root", "photos", "old"), { recursive: true });
      await writeFile(at.path("root", "LICENSE"), "free\n");
      await utimes(at.path("root", "LICENSE"), 0, 86_400 * 365.25 * 30); // in 2000
      await chmod(at.path("root", "LICENSE"), 0o640);
      await writeFile(at.path("root", "photos", "猫.jpg"), "a cat");
      await writeFile(at.path("root", "photos", "old", "dog.jpg"), "a dog");
      const large = randomBytes(600_000);
      await writeFile(at.path("root", "large"), large);
      await mkdir(at.path("mine", "deep"), { recursive: true });
      await writeFile(at.path("mine", "one"), "1");
      await writeFile(at.path("mine", "deep", "two"), "22");
      await writeFile(at.path("mine", "empty"), "");
      await writeFile(at.path("half"), large.subarray(0, 300_000));
      await writeFile(at.path("copy"), large.subarray(0, 500_000));

      await using server = await serve(at, [], { runtime });
      const { code, stdout, stderr } = await sftp(at, server.port, [
        ...["pwd", "ls -1", "ls -l LICENSE", "cd photos", "pwd", "ls -1", "ls -1 *.jpg", "cd .."],
        ...[
          "get LICENSE got",
          "get -p LICENSE old",
          "get -r photos",
          "get photos/*.jpg first.jpg",
          "reget large copy",
        ],
        ...[
          "put half whole",
          "reput copy whole",
          "put -p old kept",
          "put -r mine",
          "mkdir made",
          "put mine/o* made/",
        ],
        ...["rename made/one made/eins", "chmod 600 made/eins", "ln -s eins made/link", "ls -1 made"],
        ...[
          "symlink /LICENSE made/up",
          "get made/up up",
          "rm made/link",
          "rename made/up made/on",
          "df",
          "bye",
        ],
      ]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      const seen = stdout.split("\n").filter((line) => !/^(sftp> |Retrieving |Entering )/.test(line));
      const [, avail] = seen.splice(seen.findIndex((line) => /Avail/.test(line)), 2).join(" ").split(
        "%Capacity",
      );
      expect(avail).toMatch(/^( +\d+){4} +\d+%$/);
      expect(seen[4]).toMatch(/^-rw-r----- +[1?] \d+ +\d+ +5 Jan {2}1 {2}2000 LICENSE$/);
      seen.splice(4, 1);
      expect(seen).toEqual([
        ...["Remote working directory: /", "LICENSE", "large", "photos"],
        ...["Remote working directory: /photos", "old", "猫.jpg", "猫.jpg", "made/eins", "made/link", ""],
      ]);
      const texts = [
        "got",
        "old",
        "photos/猫.jpg",
        "photos/old/dog.jpg",
        "first.jpg",
        "up",
        "root/mine/deep/two",
      ];
      expect(texts.map((name) => readFileSync(at.path(name), "utf8"))).toEqual(
        ["free\n", "free\n", "a cat", "a dog", "a cat", "free\n", "22"],
      );
      expect(sha256OfFile(at.path("copy"))).toBe(sha256OfFile(at.path("root", "large")));
      expect(sha256OfFile(at.path("root", "whole"))).toBe(sha256OfFile(at.path("root", "large")));
      const { size, mtimeMs, mode } = await stat(at.path("root", "kept"));
      expect({ size, mtimeMs, mode: mode & 0o777 }).toEqual({
        size: 5,
        mtimeMs: 946_728_000_000,
        mode: 0o640,
      });
      expect((await stat(at.path("root", "made", "eins"))).mode & 0o777).toBe(0o600);
      expect((await readdir(at.path("root", "mine"))).sort()).toEqual(["deep", "empty", "one"]);
      expect((await readdir(at.path("root", "made"))).sort()).toEqual(["eins", "on"]);
      expect(await readlink(at.path("root", "made", "on"))).toBe("../LICENSE"); // not of this machine's root

      const gone = await sftp(at, server.port, ["rm made/*", "rmdir made", "rm mine/*", "pwd"]);
      expect(gone).toMatchObject({ code: 1, stderr: "remote delete /mine/deep: Failure\r\n" });
      expect(gone.stdout).not.toContain("working directory");
      expect((await readdir(at.root)).sort()).toEqual([
        "LICENSE",
        "kept",
        "large",
        "mine",
        "photos",
        "whole",
      ]);

      server.program.signal("SIGTERM");
      const told = await server.program.result();
      expect({ code: told.code, stderr: told.stderr }).toEqual({ code: 0, stderr: "" });
      const lines = told.stdout.split("\n").slice(3, -1).map((line) =>
        line.replace(/^127\.0\.0\.1:\d+ /, "")
      );
      expect(lines.sort()).toEqual([ // a folder has its names in no order
        ...["logged in", "fetched /LICENSE, 5 bytes", "fetched /LICENSE, 5 bytes"],
        ...["fetched /photos/old/dog.jpg, 5 bytes", "fetched /photos/猫.jpg, 5 bytes"],
        ...["fetched /photos/猫.jpg, 5 bytes", "fetched /large, 100000 bytes"],
        ...["stored /whole, 300000 bytes", "stored /whole, 300000 bytes", "stored /kept, 5 bytes"],
        ...["made the folder /mine", "stored /mine/one, 1 bytes", "stored /mine/empty, 0 bytes"],
        ...["made the folder /mine/deep", "stored /mine/deep/two, 2 bytes", "made the folder /made"],
        ...["changed /mine/deep", "changed /mine"],
        ...["stored /made/one, 1 bytes", "renamed /made/one to /made/eins", "changed /made/eins"],
        ...["made the link /made/link", "made the link /made/up", "fetched /made/up, 5 bytes"],
        ...["removed /made/link", "renamed /made/up to /made/on"],
        ...["logged in", "removed /made/eins", "removed /made/on", "removed the folder /made"],
      ].sort());
    });
  }
});

describe("the host key", () => {
  test.skipIf(OPENSSH !== "")(
    `is made once, for its owner only, and OpenSSH reads it${OPENSSH}`,
    async () => {
      for (const runtime of EVERYWHERE) {
        await using at = await stage();
        const seen: string[] = [];
        for (let start = 0; start < 2; start++) {
          await using server = await serve(at, [], { runtime });
          seen.push(server.program.seen.stdout[1]);
          server.program.signal("SIGINT");
          expect(await server.program.ended()).toBe(0);
        }
        const file = at.path("root.host-key");
        expect((await stat(file)).mode & 0o777).toBe(0o600);
        await using told = start(["ssh-keygen", "-l", "-f", file]);
        const [, fingerprint, kind] =
          /^256 (SHA256:\S{43}) .*\((\w+)\)\n$/.exec((await told.result()).stdout) ?? [];
        expect({ kind, seen }).toEqual({
          kind: "ED25519",
          seen: Array(2).fill(`host key ${fingerprint} (ssh-ed25519)`),
        });
      }
    },
  );

  test("is not used if others can read it, if it is none, or if it would be served", async () => {
    await using at = await stage();
    await writeFile(at.path("open"), KEY.private, { mode: 0o644 });
    await writeFile(at.path("none"), "nothing", { mode: 0o600 });
    await symlink(at.path("root"), at.path("to-root"));
    await writeFile(at.path("root", "key"), KEY.private, { mode: 0o600 });
    await symlink(at.path("root", "key"), at.path("to-key"));
    await mkdir(at.path("folder"), { mode: 0o700 });
    await writeFile(at.path("nobody"), "# nobody\n");
    const used = (name: string) => ["--host-key", at.path(name)];
    const inside = (name: string, flag: string) => `${flag} ${name}: is inside the served folder (EINVAL)`;
    for (
      const [words, code, error] of [
        [used("open"), 1, `${at.path("open")}: others can read this private key, so it is not used (EACCES)`],
        [used("folder"), 1, `${at.path("folder")}: is a folder (EISDIR)`],
        [
          ["--authorized-keys", at.path("nobody")],
          1,
          `${at.path("nobody")}: has no key: nobody could log in (EINVAL)`,
        ],
        [used("none"), 1, `${at.path("none")}: is no private key, or has a passphrase (EINVAL)`],
        [used("root/new"), 2, inside(at.path("root/new"), "--host-key")],
        [used("to-root/new"), 2, inside(at.path("to-root/new"), "--host-key")],
        [used("to-key"), 2, inside(at.path("to-key"), "--host-key")],
        [["--root", "/"], 2, inside("/.host-key", "--host-key")],
        [["--authorized-keys", at.path("root/key")], 2, inside(at.path("root/key"), "--authorized-keys")],
        [used("missing/key"), 1, `${at.path("missing/key")}: no such file or folder (ENOENT)`],
        [["--root", at.path("missing")], 1, `${at.path("missing")}: no such file or folder (ENOENT)`],
        [["--root", at.path("key")], 1, `${at.path("key")}: not a folder (ENOTDIR)`],
      ] as const
    ) {
      await using program = script("apps/sftp-server", ["--port", "0", "--root", at.root, ...words]);
      const result = await program.result();
      expect({ ...result, stderr: result.stderr.split("\n")[0] }).toEqual({
        code,
        stdout: "",
        stderr: `error: ${error}`,
      });
    }
    expect((await readdir(at.root)).sort()).toEqual(["key"]);
    expect(existsSync("/.host-key")).toBe(false);
  });
});

/** Logs in as a client of ssh2 does, and counts what it tries until the server has had enough. */
function knock(port: number, tries: { password?: string; key?: string }[], username = "anna") {
  const client = new ssh2.Client();
  const started = performance.now();
  const answers: number[] = [];
  let tried = -1; // the first one asks what there is
  const done = Promise.withResolvers<
    { isIn: boolean; tried: number; answers: number[]; methods?: unknown }
  >();
  let methods: unknown;
  const end = (isIn: boolean) => done.resolve({ isIn, tried, answers, methods });
  client.on("ready", () => end(true)).on("error", () => {}).on("close", () => end(false));
  client.connect({
    host: "127.0.0.1",
    port,
    username,
    readyTimeout: 60_000,
    authHandler: (left: AuthenticationType[], _: boolean, next: (method: unknown) => void) => {
      if (left) methods = left;
      if (tried >= 0) answers.push(performance.now() - started);
      const wish = tries[tried];
      tried++;
      if (tried === 0) return next({ type: "none", username });
      const { password, key } = tries[tried - 1] ?? {};
      if (password !== undefined) return next({ type: "password", username, password });
      if (key !== undefined) return next({ type: "publickey", username, key });
      next(false);
      return wish;
    },
  } as never);
  return { client, done: inTime(done.promise, "a login"), [Symbol.dispose]: () => void client.end() };
}

test("a new host key can always be read", async () => {
  await using at = await stage();
  for (let index = 0; index < (EVERYTHING ? 3000 : 100); index++) {
    const file = at.path(`new${index}`);
    const { fingerprint } = await readHostKey(file); // made, and read back
    if (index % 500 > 0 || needs("ssh-keygen")) continue;
    await using told = start(["ssh-keygen", "-y", "-f", file]); // the public half, as OpenSSH finds it
    const [type, half, ...comment] = (await told.result()).stdout.trimEnd().split(" ");
    const hash = createHash("sha256").update(Buffer.from(half, "base64")).digest("base64").slice(0, 43);
    expect(fingerprint).toBe(`SHA256:${hash} (${type})`);
    expect(comment.join(" ")).toBe("sockets by example");
  }
});

describe("a login", () => {
  test.skipIf(OPENSSH !== "")(`with the password that is made up and printed${OPENSSH}`, async () => {
    await using at = await stage();
    await using server = script("apps/sftp-server", ["--port", "0", "--root", at.root, "--user", "anna"]);
    const port = await server.port();
    await server.next();
    const [, password] = /^user anna, password ([\w-]{16})$/.exec(`${await server.next()}`) ?? [];
    await writeFile(at.path("ask"), `#!/bin/sh\necho '${password}'\n`, { mode: 0o700 });
    const env = { SSH_ASKPASS: at.path("ask"), SSH_ASKPASS_REQUIRE: "force" };
    const words = [...PRIVATELY(at, ""), "-o", "BatchMode=no", "-P", `${port}`, "-b", "-", "anna@127.0.0.1"];
    await using program = start(["sftp", ...words], { env });
    program.type("pwd\n");
    program.endOfInput();
    expect(await program.result()).toEqual({
      code: 0,
      stdout: "sftp> pwd\nRemote working directory: /\n",
      stderr: "",
    });
  });

  for (const runtime of EVERYWHERE) {
    test.concurrent(`with wrong passwords is slower each time, over all connections of an address, on ${runtime}`, async () => {
      await using at = await stage();
      await using server = await serve(at, ["--password", "right"], { runtime });
      using first = knock(server.port, [{ password: "wrong" }, { password: "" }]);
      const { isIn, answers, methods } = await first.done;
      expect({ isIn, methods }).toEqual({ isIn: false, methods: ["password"] });
      expect(answers[1] - answers[0]).toBeGreaterThan(490);
      expect(answers[2] - answers[1]).toBeGreaterThan(990);
      const started = performance.now();
      using second = knock(server.port, [{ password: "right" }]);
      expect(await second.done).toMatchObject({ isIn: true });
      expect(performance.now() - started).toBeGreaterThan(990); // a right one waits as long as the last wrong one
      using nobody = knock(server.port, [{ password: "right" }], "berta");
      expect(await nobody.done).toMatchObject({ isIn: false });
      expect(server.program.seen.stderr.map((line) => line.replace(/:\d+/, ""))).toEqual([
        "hint: all users of this machine can see a password on a command line",
        ...["anna", "anna", "berta"].map((name) => `error: 127.0.0.1 as ${name}: wrong password (EACCES)`),
      ]);
    });

    test.concurrent(`must not take long, on ${runtime}`, async () => {
      await using at = await stage();
      await using server = await serve(at, ["--login-time", "2"], { runtime });
      using friend = knock(server.port, [{ key: KEY.private }]);
      expect(await friend.done).toMatchObject({ isIn: true });
      let isThere = true;
      friend.client.once("close", () => isThere = false);
      using silent = await call(server.port);
      using greeted = await call(server.port);
      await greeted.send("SSH-2.0-slow\r\n");
      using garbage = await call(server.port);
      await garbage.send("GET / HTTP/1.1\r\n\r\n");
      for (const line of [silent, greeted, garbage]) {
        expect(`${await line.rest()}`).toStartWith("SSH-2.0-"); // and then its end
        line.hangUp();
      }
      expect(isThere).toBe(true); // who came before them, and logged in
      for (const { name } of [silent, greeted]) {
        const line = `error: ${name}: did not log in within 2 seconds (ETIMEDOUT)`;
        await until(() => server.program.seen.stderr.includes(line), line);
      }
    });
  }

  test("ends after six tries", async () => {
    await using at = await stage();
    await using server = await serve(at);
    const keys = Array.from(
      { length: 8 },
      () => ({ key: makeKey().private }),
    );
    using wrong = knock(server.port, keys);
    expect(await wrong.done).toMatchObject({ isIn: false, tried: 6, methods: ["publickey"] });
    using right = knock(server.port, [...keys.slice(0, 5), { key: KEY.private }]);
    expect(await right.done).toMatchObject({ isIn: true });
    expect(await server.program.next("stderr")).toMatch(
      /^error: 127\.0\.0\.1:\d+: failed to log in 6 times \(EACCES\)$/,
    );
  });

  test.skipIf(OPENSSH !== "")(`with keys of all kinds, and with no other${OPENSSH}`, async () => {
    await using at = await stage();
    const kinds = [["ed25519"], ["ecdsa", "-b", "256"], ["ecdsa", "-b", "521"], ["rsa", "-b", "2048"]];
    const lines = ["# who may come", "", `${KEY.public} anna`];
    for (const [index, [type, ...more]] of kinds.entries()) {
      const words = ["-q", "-t", type, ...more, "-N", "", "-f", at.path(`key${index}`)];
      expect((await start(["ssh-keygen", ...words]).result()).code).toBe(0);
      lines.push(await readFile(at.path(`key${index}.pub`), "utf8"));
    }
    await writeFile(at.path("keys"), lines.join("\n"));
    await using server = await serve(at, ["--authorized-keys", at.path("keys")]);
    for (const index of kinds.keys()) {
      const words = [
        ...PRIVATELY(at, at.path(`key${index}`)),
        "-P",
        `${server.port}`,
        "-b",
        "-",
        "anna@127.0.0.1",
      ];
      await using program = start(["sftp", ...words]);
      program.endOfInput();
      expect(await program.result()).toEqual({ code: 0, stdout: "", stderr: "" });
    }
    const sha1 = [
      "-o",
      "PubkeyAcceptedAlgorithms=ssh-rsa",
      "-P",
      `${server.port}`,
      "-b",
      "-",
      "anna@127.0.0.1",
    ];
    await using old = start(["sftp", ...PRIVATELY(at, at.path("key3")), ...sha1]);
    old.endOfInput();
    expect(await old.result()).toMatchObject({
      code: 255,
      stderr: expect.stringContaining("Permission denied"),
    });
    const other = makeKey().private;
    using stranger = knock(server.port, [{ key: other }]);
    expect(await stranger.done).toMatchObject({ isIn: false });
    using berta = knock(server.port, [{ key: KEY.private }], "berta");
    expect(await berta.done).toMatchObject({ isIn: false });
    using password = knock(server.port, [{ password: "" }, { password: "undefined" }]);
    expect(await password.done).toMatchObject({ isIn: false, methods: ["publickey"] });
  });

  test("with a key, but a signature of another one", async () => {
    await using at = await stage();
    await using server = await serve(at);
    const key = ssh2.utils.parseKey(KEY.private) as ssh2.ParsedKey;
    const other = ssh2.utils.parseKey(makeKey().private) as ssh2.ParsedKey;
    key.sign = (data) => other.sign(data);
    using forger = knock(server.port, [{ key: key as never }]);
    expect(await forger.done).toMatchObject({ isIn: false });
  });

  test("with keys that have options is not offered", async () => {
    await using at = await stage();
    for (
      const line of [
        `restrict ${KEY.public}`,
        'command="ls" ' + KEY.public,
        "nonsense",
        KEY.private.split("\n")[1],
      ]
    ) {
      await writeFile(at.path("keys"), `${KEY.public}\n${line}\n`);
      await using program = script("apps/sftp-server", [
        ...["--port", "0", "--root", at.root, "--authorized-keys", at.path("keys")],
      ]);
      const { code, stdout, stderr } = await program.result();
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toStartWith(`error: ${at.path("keys")}, line 2: is no key of ssh-ed25519, `);
    }
  });

  test("is for a hundred at once", async () => {
    await using at = await stage();
    await using server = await serve(at);
    const lines = await Promise.all(Array.from({ length: 100 }, () => call(server.port)));
    for (const line of lines) await line.expect("SSH-2.0-");
    const rest = await call(server.port).then((last) => last.rest()).catch(({ code }) => code);
    expect(`${rest}`).toMatch(/^(ECONNRESET)?$/);
    for (const line of lines) line[Symbol.dispose]();
    for (let isIn = false; !isIn;) {
      using friend = knock(server.port, [{ key: KEY.private }]);
      ({ isIn } = await friend.done);
    }
  });
});

/** Fields of a packet: a number in 4 bytes, one in 8, a string behind its length, bytes as they are. */
type Field = number | bigint | string | Buffer;

const number = (value: number) =>
  Buffer.from([value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]);

function bytesOf(field: Field): Buffer {
  if (typeof field === "number") return number(field);
  if (typeof field === "bigint") {
    return Buffer.concat([number(Number(field >> 32n)), number(Number(field & 0xffffffffn))]);
  }
  if (typeof field === "string") return Buffer.concat([number(Buffer.byteLength(field)), Buffer.from(field)]);
  return field;
}

function packet(type: number, ...fields: Field[]): Buffer {
  const payload = Buffer.concat([Buffer.of(type), ...fields.map(bytesOf)]);
  return Buffer.concat([number(payload.length), payload]);
}

const INIT = packet(1, 3);
const READ = 1;
const WRITE = 2;
const CREATE = 8;
const NOTHING = 0; // no attributes

/** A client that can send anything. */
async function dial(port: number, tweak: (client: Client) => void = () => {}, first = INIT) {
  const client = new ssh2.Client();
  client.on("error", () => {});
  client.connect({ host: "127.0.0.1", port, username: "anna", privateKey: KEY.private });
  await inTime(once(client, "ready"), "a login");
  tweak(client);
  const channel = await new Promise<ClientChannel>((resolve, reject) => {
    client.subsys("sftp", (error, channel) => (error ? reject(error) : resolve(channel)));
  });
  let bytes: Buffer = Buffer.alloc(0);
  let wake = () => {};
  let isOpen = true;
  channel.on("data", (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    wake();
  });
  for (const end of [channel, client]) {
    end.on("close", () => {
      isOpen = false;
      wake();
    });
  }
  const missing = () => (bytes.length < 4 ? 4 : 4 + bytes.readUInt32BE()) - bytes.length;
  let id = 100;
  const self = {
    client,
    channel,
    /** The next packet, or undefined at the end. */
    async next(): Promise<{ type: number; id: number; rest: Buffer } | undefined> {
      while (missing() > 0 && isOpen) {
        await inTime(new Promise<void>((resolve) => (wake = resolve)), "a packet");
      }
      if (missing() > 0) return undefined;
      const whole = bytes.subarray(4, 4 + bytes.readUInt32BE());
      bytes = bytes.subarray(4 + whole.length);
      return { type: whole[0], id: whole.readUInt32BE(1), rest: whole.subarray(5) };
    },
    /** Sends a request, and gives its reply; of a status also its code. */
    async ask(type: number, ...fields: Field[]) {
      channel.write(packet(type, ++id, ...fields));
      const reply = await self.next();
      if (reply?.id !== id) throw new Error(`a reply to ${reply?.id}, not to ${id}`);
      return { ...reply, code: reply.type === 101 ? reply.rest.readUInt32BE() : undefined };
    },
    /** Opens a file or, with 11, a folder, and gives its handle. */
    async open(path: string, flags = READ) {
      const { rest, code } = await self.ask(3, path, flags, NOTHING);
      return code === undefined ? rest : code;
    },
    /** The text of a file from its beginning, or why it cannot be read. */
    async read(path: string): Promise<string | number> {
      const handle = await self.open(path);
      if (typeof handle === "number") return handle;
      const { code, rest } = await self.ask(5, handle, 0n, 100);
      await self.ask(4, handle);
      return code ?? `${rest.subarray(4)}`;
    },
    [Symbol.dispose]: () => void client.end(),
  };
  channel.write(first);
  return self;
}

/** As `dial`, with the greetings exchanged. */
async function meet(port: number) {
  const client = await dial(port);
  expect(await client.next()).toMatchObject({ type: 2, id: 3 });
  return client;
}

const OK = 0;
const EOF = 1;
const NO_SUCH_FILE = 2;
const DENIED = 3;
const FAILED = 4;
const BAD = 5;
const UNSUPPORTED = 8;

describe("the root", () => {
  for (const runtime of EVERYWHERE) {
    test(`is all there is, on ${runtime}`, async () => {
      await using at = await stage();
      await mkdir(at.path("root", "a", "b"), { recursive: true });
      await mkdir(at.path("out", "b"), { recursive: true });
      await writeFile(at.path("root", "in"), "inside");
      await writeFile(at.path("root", "a", "b", "file"), "deep");
      await writeFile(at.path("secret"), "outside");
      await writeFile(at.path("out", "b", "file"), "outside");
      await mkdir(at.path("root-too")); // a name that begins as that of the root
      await writeFile(at.path("root-too", "file"), "outside");
      const links: Record<string, string> = {
        "leads/in": "../in",
        "leads/absolutely-in": at.path("root", "in"),
        "leads/folder": "../a/b",
        "leads/round": "folder/../../in", // through a link, and back from where it leads
        "leads/out": "../../secret",
        "leads/absolutely-out": at.path("secret"),
        "leads/beside": "../../root-too",
        "leads/absolutely-beside": at.path("root-too"),
        "leads/folder-out": "../../out",
        "leads/far-out": "/etc",
        "leads/loop": "loop",
        "leads/nowhere": "nothing",
        "leads/nowhere-out": "../../nothing",
      };
      await mkdir(at.path("root", "leads"));
      for (const [name, target] of Object.entries(links)) await symlink(target, at.path("root", name));

      await using server = await serve(at, [], { runtime });
      using client = await meet(server.port);
      const seen: Record<string, string | number> = {};
      const paths = [
        ...["in", "/in", "../in", "/../../in", "a/../in", "a/b/file", ...Object.keys(links)],
        ...["leads/folder/file", "leads/folder-out/b/file", "leads/far-out/passwd", "leads/beside/file"],
        ...["/etc/passwd", "../secret", "leads/../../secret", at.path("root", "in"), "in/", "in/x", "a\\0b"],
      ];
      for (const path of paths) seen[path] = await client.read(path.replace("\\0", "\0"));
      expect(seen).toEqual({
        ...{ in: "inside", "/in": "inside", "../in": "inside", "/../../in": "inside", "a/../in": "inside" },
        ...{
          "a/b/file": "deep",
          "leads/in": "inside",
          "leads/absolutely-in": "inside",
          "leads/folder": FAILED,
        },
        ...{ "leads/round": "inside", "leads/folder/file": "deep", "leads/loop": NO_SUCH_FILE },
        ...{ "leads/nowhere": NO_SUCH_FILE, "leads/out": DENIED, "leads/absolutely-out": DENIED },
        ...{
          "leads/absolutely-beside": DENIED,
          "leads/beside": DENIED,
          "leads/folder-out": DENIED,
          "leads/far-out": DENIED,
          "leads/nowhere-out": DENIED,
        },
        ...{ "leads/folder-out/b/file": DENIED, "leads/far-out/passwd": DENIED, "leads/beside/file": DENIED },
        ...{ "/etc/passwd": NO_SUCH_FILE, "../secret": NO_SUCH_FILE, "leads/../../secret": NO_SUCH_FILE },
        ...{ [at.path("root", "in")]: NO_SUCH_FILE, "in/": "inside", "in/x": NO_SUCH_FILE, "a\\0b": BAD },
      });

      // All that takes a path, with a folder in it that leads out: nothing is told, made, changed or removed there.
      const out = "leads/folder-out/b";
      const asked: [number, ...Field[]][] = [
        ...([7, 17, 11, 13, 15, 16, 19] as const).map((type): [number, string] => [type, `${out}/file`]),
        [3, `${out}/new`, WRITE | CREATE, NOTHING],
        [3, "leads/nowhere-out", WRITE | CREATE, NOTHING],
        [3, `${out}/file`, WRITE | 16, NOTHING],
        [9, `${out}/file`, 4, 0o777],
        [9, "leads/out", 4, 0o777],
        [14, `${out}/new`, NOTHING],
        [18, `${out}/file`, "stolen"],
        [18, "in", `${out}/in`],
        [20, "in", `${out}/link`],
        [200, "posix-rename@openssh.com", `${out}/file`, "stolen"],
        [200, "posix-rename@openssh.com", "in", `${out}/file`],
        [200, "statvfs@openssh.com", out],
        [17, "leads/out"],
        [19, "leads/absolutely-out"],
        [19, "leads/absolutely-beside"],
      ];
      for (const words of asked) expect([words, (await client.ask(...words)).code]).toEqual([words, DENIED]);
      expect(await readdir(at.path("out", "b"))).toEqual(["file"]);
      expect(await readFile(at.path("out", "b", "file"), "utf8")).toBe("outside");
      expect((await stat(at.path("secret"))).mode & 0o777).toBe(0o644);
      expect(existsSync(at.path("nothing"))).toBe(false);

      // A link may not be made to lead out, and one that is moved so that it does leads nowhere.
      for (const target of ["../secret", "/../../secret", "a/../../secret", "../root/in"]) {
        const { code } = await client.ask(20, target, "made");
        expect([target, code]).toEqual([target, target.startsWith("/") ? OK : DENIED]);
      }
      expect(await readlink(at.path("root", "made"))).toBe("secret");
      expect((await client.ask(20, "../../in", "a/b/up")).code).toBe(OK);
      expect(await client.read("a/b/up")).toBe("inside");
      expect((await client.ask(18, "a/b/up", "up")).code).toBe(OK);
      expect(await client.read("up")).toBe(DENIED);
      const names = async (type: number, path: string) => {
        const { rest } = await client.ask(type, path);
        return `${rest.subarray(8, 8 + rest.readUInt32BE(4))}`;
      };
      expect(await names(19, "leads/absolutely-in")).toBe("/in");
      expect(await names(19, "leads/in")).toBe("../in");
      expect(await names(16, "leads/round")).toBe("/in");
      expect(await names(16, "../../..")).toBe("/");
      expect(await names(16, "not/there")).toBe("/not/there");

      // The root itself cannot be taken away.
      for (const words of [[15, "/"], [13, "/"], [18, "/", "x"], [18, "in", "/"]] as [number, ...Field[]][]) {
        expect([OK, undefined]).not.toContain((await client.ask(...words)).code);
      }
      expect(await client.read("in")).toBe("inside");
      expect(server.program.seen.stderr).toContain(
        "error: leads/out: leads out of the served folder (EACCES)",
      );
      expect(`${server.program.seen.stderr}`).not.toContain(at.path());
    });
  }

  test.skipIf(!IS_LINUX)(
    "is not left through a folder that is swapped for a link meanwhile (needs Linux)",
    async () => {
      await using at = await stage();
      await mkdir(at.path("root", "d", "sub"), { recursive: true });
      await mkdir(at.path("out", "sub"), { recursive: true });
      await writeFile(at.path("root", "d", "sub", "file"), "inside");
      await writeFile(at.path("out", "sub", "file"), "outside");
      await symlink(at.path("out"), at.path("root", "link"));
      await using server = await serve(at);
      using thief = await meet(server.port);
      using swapper = await meet(server.port);
      let isOver = false;
      const move = (from: string, to: string) => swapper.ask(200, "posix-rename@openssh.com", from, to);
      const swapping = (async () => {
        while (!isOver) {
          await move("d", "away");
          await move("link", "d");
          await move("d", "link");
          await move("away", "d");
        }
      })();
      const seen = new Map<string | number, number>();
      for (let round = 0; round < (EVERYTHING ? 3000 : 150); round++) {
        const text = await thief.read("d/sub/file");
        seen.set(text, (seen.get(text) ?? 0) + 1);
        const { code } = await thief.ask(3, `d/sub/new`, WRITE | CREATE, NOTHING);
        if (code === undefined) await thief.ask(4, number(4), number(round));
      }
      isOver = true;
      await swapping;
      expect(seen.get("inside")).toBeGreaterThan(0);
      expect(seen.get(DENIED)).toBeGreaterThan(0);
      expect(seen.has("outside")).toBe(false);
      expect(await readdir(at.path("out", "sub"))).toEqual(["file"]);
    },
  );
});

describe("requests", () => {
  test("that write are refused with --read-only, all of them", async () => {
    for (const runtime of EVERYWHERE) {
      await using at = await stage();
      await mkdir(at.path("root", "folder"));
      await writeFile(at.path("root", "file"), "as it was");
      const state = () => {
        const { mode, size, mtimeMs, ctimeMs } = lstatSync(at.path("root", "file"));
        return { mode, size, mtimeMs, ctimeMs };
      };
      const before = state();
      await using server = await serve(at, ["--read-only"], { runtime });
      using client = await meet(server.port);
      const handle = await client.open("file");
      if (typeof handle === "number") throw new Error(`status ${handle}`);
      const writing: [number, ...Field[]][] = [
        ...[WRITE, READ | WRITE, WRITE | CREATE, 4, READ | CREATE, READ | 16, WRITE | CREATE | 32].map((
          flags,
        ): [number, ...Field[]] => [3, "file", flags, NOTHING]),
        [9, "file", 1, 0n],
        [9, "file", 4, 0o600],
        [9, "file", 8, 1, 1],
        [10, handle, 4, 0o600],
        [10, handle, 1, 0n],
        [13, "file"],
        [14, "new", NOTHING],
        [15, "folder"],
        [18, "file", "moved"],
        [20, "file", "link"],
        [200, "posix-rename@openssh.com", "file", "moved"],
      ];
      for (const words of writing) {
        expect([words, (await client.ask(...words)).code]).toEqual([words, DENIED]);
      }
      expect([OK, DENIED]).not.toContain((await client.ask(6, handle, 0n, "changed")).code); // opened to read
      expect(await client.read("file")).toBe("as it was");
      expect((await readdir(at.root)).sort()).toEqual(["file", "folder"]);
      expect(state()).toEqual(before);
      expect(server.program.seen.stderr[0]).toBe("error: file: this server is read-only (EROFS)");
    }
  });

  for (const runtime of EVERYWHERE) {
    test(`do what the draft says, on ${runtime}`, async () => {
      await using at = await stage();
      await writeFile(at.path("root", "a"), "aaa");
      await writeFile(at.path("root", "b"), "bbb");
      await mkdir(at.path("root", "folder"));
      await mkdir(at.path("root", "other"));
      await using server = await serve(at, [], { runtime });
      using client = await dial(server.port);
      const version = await client.next();
      const names = ["posix-rename@openssh.com", "1", "statvfs@openssh.com", "2", "fsync@openssh.com", "1"];
      expect(version?.rest).toEqual(Buffer.concat([...names, "limits@openssh.com", "1"].map(bytesOf)));
      const code = async (type: number, ...fields: Field[]) => (await client.ask(type, ...fields)).code;

      // A rename replaces nothing; that of POSIX does.
      expect(await code(18, "a", "b")).toBe(FAILED);
      expect(await code(18, "folder", "other")).toBe(FAILED);
      expect(await client.read("b")).toBe("bbb");
      expect(await code(18, "folder", "renamed")).toBe(OK);
      expect(await code(18, "renamed", "folder")).toBe(OK);
      expect(await code(200, "posix-rename@openssh.com", "a", "b")).toBe(OK);
      expect(await client.read("b")).toBe("aaa");
      expect(await code(18, "a", "c")).toBe(NO_SUCH_FILE);
      expect(await code(18, "folder", "folder/in/itself")).toBe(NO_SUCH_FILE);

      // Flags of an open.
      expect(await code(3, "new", WRITE, NOTHING)).toBe(NO_SUCH_FILE);
      expect(await code(3, "b", WRITE | CREATE | 32, NOTHING)).toBe(FAILED);
      expect(await code(3, "folder", READ, NOTHING)).toBe(FAILED);
      const { rest: made } = await client.ask(3, "new", READ | WRITE | CREATE, 4, 0o600);
      expect(await code(6, made, 2n, "xyz")).toBe(OK);
      expect((await client.ask(5, made, 0n, 100)).rest.subarray(4)).toEqual(Buffer.from("\0\0xyz"));
      expect(await code(5, made, 5n, 100)).toBe(EOF);
      expect(await code(6, made, 0n, Buffer.concat([number(250_000), Buffer.alloc(250_000)]))).toBe(OK);
      expect(await code(6, made, 250_000n, Buffer.concat([number(250_000), Buffer.alloc(250_000)]))).toBe(OK);
      expect((await client.ask(5, made, 0n, 0xffffffff)).rest.length).toBe(4 + 261_120);
      expect(await code(200, "fsync@openssh.com", made)).toBe(OK);
      expect(await code(10, made, 1, 3n)).toBe(OK); // its size
      expect((await client.ask(8, made)).rest.subarray(0, 12)).toEqual(
        Buffer.concat([number(15), bytesOf(3n)]),
      );
      expect(await code(4, made)).toBe(OK);
      expect(await code(4, made)).toBe(FAILED);
      expect(await code(5, made, 0n, 1)).toBe(FAILED);
      expect((await stat(at.path("root", "new"))).mode & 0o777).toBe(0o600);
      const { rest: appending } = await client.ask(3, "b", 4, NOTHING);
      expect(await code(6, appending, 0n, "+")).toBe(OK);
      expect(await code(4, appending)).toBe(OK);
      expect(await client.read("b")).toBe("aaa+");

      // Attributes, of a file and through a link; those that are not ours to give are refused.
      await symlink("b", at.path("root", "link"));
      expect(await code(9, "link", 1 | 4 | 8, 2n, 0o640, 1000, 2000)).toBe(OK);
      const { size, mode, mtimeMs } = await stat(at.path("root", "b"));
      expect({ size, mode: mode & 0o7777, mtimeMs }).toEqual({ size: 2, mode: 0o640, mtimeMs: 2_000_000 });
      expect((await lstat(at.path("root", "link"))).isSymbolicLink()).toBe(true);
      expect(await code(9, "b", 4, 0)).toBe(OK);
      expect(await code(9, "b", 4, 0o644)).toBe(OK); // the owner may, whatever it was
      expect(await code(9, "b", 4, 0o4755)).toBe(DENIED);
      expect(await code(9, "b", 2, 0, 0)).toBe(DENIED);
      expect((await client.ask(7, "link")).rest.readUInt32BE(20) & 0o170000).toBe(0o120000);
      expect(await code(20, "b", "link")).toBe(FAILED); // it is there already
      expect(await code(20, "a\0b", "zero")).toBe(BAD);
      expect(await code(20, Buffer.from([0, 0, 0, 1, 0xff]), "latin")).toBe(BAD);
      expect((await client.ask(17, "link")).rest.readUInt32BE(20)).toBe(0o100644);

      // What is not known, or not there.
      for (const type of [2, 21, 101, 199, 255]) {
        expect([type, await code(type)]).toEqual([type, UNSUPPORTED]);
      }
      expect(await code(200, "hardlink@openssh.com", "b", "c")).toBe(UNSUPPORTED);
      expect(await code(4, "no handle")).toBe(FAILED);
      expect(await code(12, number(4), number(77))).toBe(FAILED);
      expect(await code(15, "b")).toBe(NO_SUCH_FILE); // ENOTDIR
      expect(await code(13, "folder")).toBe(FAILED);
      expect(await code(6, appending, 2n ** 52n - 2n ** 19n, "far")).toBe(FAILED); // it is closed
      const { rest: far } = await client.ask(3, "far", WRITE | CREATE, NOTHING);
      expect(`${await code(6, far, 2n ** 52n - 2n ** 19n, "far")}`).toMatch(/[04]/); // EFBIG, on most file systems
      await writeFile(at.path("root", "folder", "x"), "");
      expect(await code(15, "folder")).toBe(FAILED);
      const { rest: limits } = await client.ask(200, "limits@openssh.com");
      expect(limits).toEqual(Buffer.concat([262_144n, 261_120n, 261_120n, 100n].map(bytesOf)));
      const { rest: disk } = await client.ask(200, "statvfs@openssh.com", "/");
      expect({ length: disk.length, names: disk.readBigUInt64BE(80) }).toEqual({ length: 88, names: 255n });
      const words = (await client.ask(15, "folder")).rest;
      expect(`${words.subarray(8, 8 + words.readUInt32BE(4))}`).not.toContain("/"); // no path of this machine
    });
  }

  test("open no more than a hundred files", async () => {
    await using at = await stage();
    await writeFile(at.path("root", "file"), "");
    await using server = await serve(at);
    using client = await meet(server.port);
    const handles = [];
    for (let index = 0; index < 50; index++) {
      handles.push((await client.ask(3, "file", READ, NOTHING)).rest, (await client.ask(11, "/")).rest);
    }
    expect(new Set(handles.map(String)).size).toBe(100);
    expect(await client.open("file")).toBe(FAILED);
    expect((await client.ask(11, "/")).code).toBe(FAILED);
    const open = () => IS_LINUX ? readdirSync(`/proc/${server.program.pid}/fd`).length : 0;
    const many = open();
    expect((await client.ask(4, handles[7])).code).toBe(OK);
    expect(await client.read("file")).toBe(EOF);
    client.client.end();
    await until(() => open() <= Math.max(0, many - 99), "its files to be closed");
  });

  test("list folders of any size, and names of any kind", async () => {
    await using at = await stage();
    const names = ["你好", "a b", "new\nline", "back\\slash", "-rf", "\x1b[2J", "x".repeat(255)];
    for (let index = 0; index < 1000; index++) names.push(`${index}`);
    for (const name of names) await writeFile(at.path("root", name), "");
    await using server = await serve(at);
    using client = await meet(server.port);
    const { rest: handle } = await client.ask(11, "/");
    const seen: string[] = [];
    for (let count = 1; count > 0;) {
      const { type, rest, code } = await client.ask(12, handle);
      count = type === 104 ? rest.readUInt32BE() : 0;
      expect(count > 0 || code === EOF).toBe(true);
      expect(count).toBeLessThanOrEqual(100);
      for (let at = 4, left = count; left > 0; left--) {
        const length = rest.readUInt32BE(at);
        seen.push(`${rest.subarray(at + 4, at + 4 + length)}`);
        at += 4 + length;
        at += 4 + rest.readUInt32BE(at) + 4 + 28; // the long name, and the attributes
      }
    }
    expect(seen.sort()).toEqual(names.sort());
    for (const name of names.slice(-7)) expect(await client.read(name)).toBe(EOF);
    expect((await client.ask(13, "\x1b[2J")).code).toBe(OK);
    await until(
      () => server.program.seen.stdout.some((line) => line.endsWith(" removed /\\x1b[2J")),
      "the line",
    );
  });

  test.skipIf(!Bun.which("mkfifo"))(
    `of what is no file are refused, and do not hang${needs("mkfifo")}`,
    async () => {
      await using at = await stage();
      await start(["mkfifo", at.path("root", "pipe")]).ended();
      await using server = await serve(at);
      using client = await meet(server.port);
      for (const flags of [READ, WRITE, READ | WRITE]) {
        expect(`${(await client.ask(3, "pipe", flags, NOTHING)).code}`).toMatch(/[34]/);
      }
    },
  );

  test("are answered in their order", async () => {
    await using at = await stage();
    await using server = await serve(at);
    using client = await meet(server.port);
    const handle = await client.open("file", READ | WRITE | CREATE);
    if (typeof handle === "number") throw new Error(`status ${handle}`);
    const count = 500;
    for (let id = 0; id < count; id++) {
      client.channel.write(packet(6, id, handle, 0n, `${id}`.padStart(4)));
      client.channel.write(packet(5, id + count, handle, 0n, 4));
    }
    for (let id = 0; id < count; id++) {
      expect(await client.next()).toMatchObject({ type: 101, id });
      expect(await client.next()).toEqual({ type: 103, id: id + count, rest: bytesOf(`${id}`.padStart(4)) });
    }
  });

  test("of many clients are answered side by side", async () => {
    await using at = await stage();
    await writeFile(at.path("root", "file"), "for all");
    await using server = await serve(at);
    const clients = await Promise.all(Array.from({ length: 20 }, () => meet(server.port)));
    const texts = await Promise.all(clients.map(async (client) => await client.read("file")));
    expect(texts).toEqual(Array(20).fill("for all"));
    for (const client of clients) client[Symbol.dispose]();
  });
});

for (const runtime of EVERYWHERE) {
  test(`who goes in the middle leaves no file open, on ${runtime}`, async () => {
    await using at = await stage();
    await writeFile(at.path("root", "large"), "");
    await truncate(at.path("root", "large"), 2 ** 24);
    await using server = await serve(at, [], { runtime });
    for (let round = 0; round < 20; round++) {
      using client = await meet(server.port);
      const handle = await client.open("large");
      if (typeof handle === "number") throw new Error(`status ${handle}`);
      for (let id = 0; id < 100; id++) client.channel.write(packet(5, id, handle, 0n, 2 ** 18));
      for (let reads = 0; reads < round; reads++) await client.next();
      inside(client.client)._sock.resetAndDestroy();
    }
    const parts = () =>
      server.program.seen.stdout.filter((line) => line.includes(" fetched a part of /large, "));
    await until(() => parts().length === 20, "their ends");
    expect(
      server.program.seen.stderr.filter((line) => !/connection reset by peer|connection closed/.test(line)),
    )
      .toEqual([]);
  });
}

describe("who breaks the rules", () => {
  test("of SFTP loses the session, and nobody else", async () => {
    for (const runtime of EVERYWHERE) {
      await using at = await stage();
      await writeFile(at.path("root", "file"), "here");
      await using server = await serve(at, [], { runtime });
      using friend = await meet(server.port);
      const wrong: Record<string, Buffer> = {
        "a packet of 0 bytes": number(0),
        "a packet of 262145 bytes": number(262_145),
        "a packet of 4294967295 bytes": number(0xffffffff),
        "a packet that ends too early": packet(5, 7, "1234", 0n),
        "a packet that ends too early ": packet(17, 7, number(0xffffffff)),
        "a packet that ends too early  ": packet(3),
        "no init packet first": INIT,
        "a place beyond every file": packet(5, 7, "1234", 2n ** 63n, 1),
      };
      for (const [why, bytes] of Object.entries(wrong)) {
        using rogue = await meet(server.port);
        rogue.channel.write(bytes);
        expect([why, await rogue.next()]).toEqual([why, undefined]);
        const name = `error: 127.0.0.1:${(rogue.client as unknown as { _sock: Socket })._sock.localPort}`;
        await until(() => server.program.seen.stderr.length > 0, "the error");
        expect(server.program.seen.stderr.splice(0)).toEqual([
          `${name}: sent what is no SFTP: ${why.trim()} (EPROTO)`,
        ]);
      }
      using early = await dial(server.port, undefined, packet(17, 7, "/"));
      expect(await early.next()).toBe(undefined);
      expect(await friend.read("file")).toBe("here");
    }
  });

  test("of SSH gets no shell, no command and no way to elsewhere", async () => {
    await using at = await stage();
    await using server = await serve(at);
    using friend = await meet(server.port);
    const { client } = friend;
    const refused = (call: (done: (error?: Error) => void) => void) =>
      inTime(
        new Promise<string>((resolve) => call((error) => resolve(error ? "refused" : "granted"))),
        "an answer",
      );
    expect(await refused((done) => client.shell(done))).toBe("refused");
    expect(await refused((done) => client.exec("id", done))).toBe("refused");
    expect(await refused((done) => client.subsys("other", done))).toBe("refused");
    expect(await refused((done) => client.forwardOut("127.0.0.1", 1, "127.0.0.1", server.port, done))).toBe(
      "refused",
    );
    expect(await refused((done) => client.forwardIn("127.0.0.1", 0, (error) => done(error)))).toBe("refused");
    expect(await refused((done) => client.openssh_forwardOutStreamLocal("/run/x", done))).toBe("refused");
    expect(await friend.read("nothing")).toBe(NO_SUCH_FILE);
    // Twice on the same channel: the second one is refused, and the first one goes on.
    const { id } = (friend.channel as unknown as { outgoing: { id: number } }).outgoing;
    inside(client)._protocol.subsystem(id, "sftp", false);
    expect(await friend.read("nothing")).toBe(NO_SUCH_FILE);
    // Ten sessions at once, and no eleventh. Those that were opened for something else count.
    for (let session = 5; session <= 10; session++) {
      expect(await refused((done) => client.subsys("sftp", done))).toBe("granted");
    }
    expect(await refused((done) => client.subsys("sftp", done))).toBe("refused");
    friend.channel.end();
    await inTime(once(friend.channel, "close"), "its end");
    expect(await refused((done) => client.subsys("sftp", done))).toBe("granted");
    expect(server.program.seen.stderr).toEqual([]); // and no warning of the runtime
  });

  test("of SSH is sent away if it takes no bytes, or takes few at a time", async () => {
    for (const runtime of EVERYWHERE) {
      await using at = await stage();
      await using server = await serve(at, [], { runtime });
      using friend = await meet(server.port);
      for (const size of [0, 1]) {
        const client = new ssh2.Client();
        client.on("error", () => {});
        client.connect({ host: "127.0.0.1", port: server.port, username: "anna", privateKey: KEY.private });
        await inTime(once(client, "ready"), "a login");
        const protocol = inside(client)._protocol;
        const session = protocol.session.bind(protocol);
        protocol.session = (channel, window) => session(channel, window, size);
        client.subsys("sftp", (_, channel) => channel?.write(INIT));
        expect(await server.program.next("stderr")).toEndWith(
          `: takes only ${size} bytes at a time (EPROTO)`,
        );
      }
      expect(await friend.read("nothing")).toBe(NO_SUCH_FILE);
    }
  });

  test("of SSH by closing no session gets no more of them", async () => {
    await using at = await stage();
    await using server = await serve(at);
    using rude = await dial(server.port);
    await rude.next();
    (rude.channel as unknown as { close: () => void }).close = () => {};
    rude.channel.write(number(0)); // no SFTP: the server ends the session
    for (let session = 2; session <= 10; session++) {
      const channel = await new Promise<ClientChannel>((resolve, reject) => {
        rude.client.subsys("sftp", (error, channel) => (error ? reject(error) : resolve(channel)));
      });
      (channel as unknown as { close: () => void }).close = () => {};
      channel.write(number(0));
    }
    await until(() => server.program.seen.stderr.length === 10, "their ends");
    const last = await new Promise((resolve) => rude.client.subsys("sftp", (error) => resolve(error)));
    expect(`${last}`).toContain("Channel open failure");
  });

  if (EVERYTHING) {
    test("of many requests that cost nothing does not keep the others waiting", async () => {
      for (const runtime of EVERYWHERE) {
        await using at = await stage();
        await using server = await serve(at, [], { runtime });
        using friend = await meet(server.port);
        using busy = await meet(server.port);
        const count = 220_000; // a window full
        let answered = 0; // in bytes
        busy.channel.removeAllListeners("data").on("data", (bytes: Buffer) => answered += bytes.length);
        busy.channel.write(Buffer.concat(Array.from({ length: count }, (_, id) => packet(99, id))));
        await until(() => answered > 0, "the first answer");
        for (let round = 0; round < 5; round++) expect(await friend.read("nothing")).toBe(NO_SUCH_FILE);
        expect(answered).toBeLessThan(count * 34); // a status has 34 bytes: these were not all
      }
    });
  }
});

/** What the test reaches into ssh2 for: a client that keeps to no rule is not made by its methods. */
type Inside = {
  _sock: Socket;
  _protocol: {
    session: (channel: number, window: number, packet: number) => void;
    subsystem: (channel: number, name: string, wantsReply: boolean) => void;
    rekey: () => void;
    ping: () => void;
    channelData: (channel: number, bytes: Buffer) => void;
  };
};
const inside = (client: Client) => client as unknown as Inside;

/** Lets the server send 4 GiB without being asked to stop. */
function openWide(client: Client) {
  const protocol = inside(client)._protocol;
  const session = protocol.session.bind(protocol);
  protocol.session = (channel) => session(channel, 0xffffffff, 32_768);
}

describe("a client that takes nothing costs little memory", () => {
  for (const runtime of EVERYWHERE) {
    test.skipIf(!IS_LINUX)(`on ${runtime} (needs Linux)`, async () => {
      await using at = await stage();
      await writeFile(at.path("root", "file"), "here");
      await writeFile(at.path("root", "large"), "");
      await truncate(at.path("root", "large"), 2 ** 27);
      await using server = await serve(at, [], { runtime });
      using friend = await meet(server.port);

      /** Asks for a gigabyte at once, and reads nothing of it. */
      async function glutton(then: (client: Client) => void = () => {}) {
        const client = await dial(server.port, openWide);
        await client.next();
        const handle = await client.open("large");
        if (typeof handle === "number") throw new Error(`status ${handle}`);
        inside(client.client)._sock.pause();
        const reads = Array.from({ length: 4096 }, (_, id) => packet(5, id, handle, 0n, 2 ** 18));
        client.channel.write(Buffer.concat(reads));
        then(client.client);
        return client;
      }
      using silent = await glutton();
      using stalled = await glutton((client) => inside(client)._protocol.rekey());
      await Bun.sleep(1500); // what would grow has grown
      expect(await friend.read("file")).toBe("here");
      expect(peak(server.program)).toBeLessThan(300);

      // One that sends on although the window is shut is sent away.
      const { outgoing } = silent.channel as unknown as { outgoing: { window: number; packetSize: number } };
      outgoing.window = Infinity;
      outgoing.packetSize = 32_767; // ssh2 notes a window that is shut, but not one that is less than shut
      for (let piece = 0; piece < 20; piece++) silent.channel.write(Buffer.alloc(999_983));
      const name = `127.0.0.1:${inside(silent.client)._sock.localPort}`;
      const error = `error: ${name}: sends more than it may, or reads no answers (ENOBUFS)`;
      await until(() => server.program.seen.stderr.includes(error), "its end");
      expect(await friend.read("file")).toBe("here");
      expect(peak(server.program)).toBeLessThan(300);
      inside(stalled.client)._sock.destroy();
      await until(
        () => server.program.seen.stdout.some((line) => line.includes("fetched a part of /large")),
        "its end",
      );
      expect(await friend.read("file")).toBe("here");
    });
  }

  if (EVERYTHING) {
    test.skipIf(!IS_LINUX)(
      "nor does one that sends byte by byte what is not read yet (needs Linux)",
      async () => {
        for (const runtime of EVERYWHERE) {
          await using at = await stage();
          await using server = await serve(at, [], { runtime });
          const client = new ssh2.Client();
          client.on("error", () => {});
          client.connect({ host: "127.0.0.1", port: server.port, username: "anna", privateKey: KEY.private });
          await inTime(once(client, "ready"), "a login");
          const { _sock: socket, _protocol: protocol } = inside(client);
          const name = `127.0.0.1:${socket.localPort}`;
          const session = protocol.session.bind(protocol);
          protocol.session = (channel) => session(channel, 0, 32_768); // the greeting of the server waits
          const channel = await new Promise<ClientChannel>((resolve) => {
            client.subsys("sftp", (_, channel) => resolve(channel));
          });
          channel.write(INIT);
          const { id } = (channel as unknown as { outgoing: { id: number } }).outgoing;
          for (let sent = 0; sent < 1_000_000 && server.program.seen.stderr.length === 0; sent++) {
            protocol.channelData(id, Buffer.of(0));
            if (sent % 1000 === 0) await new Promise((resolve) => setImmediate(resolve));
          }
          expect(server.program.seen.stderr).toEqual([
            `error: ${name}: sends more than it may, or reads no answers (ENOBUFS)`,
          ]);
          expect(peak(server.program)).toBeLessThan(300);
          socket.destroy();
        }
      },
    );
  }

  if (EVERYTHING) {
    test("and answers that nobody reads are not kept", async () => {
      await using at = await stage();
      await using server = await serve(at);
      using rude = await meet(server.port);
      const { _sock: socket, _protocol: protocol } = inside(rude.client);
      socket.pause();
      const name = `127.0.0.1:${socket.localPort}`;
      for (let asked = 0; asked < 2_000_000 && server.program.seen.stderr.length === 0; asked++) {
        protocol.ping();
        if (asked % 1000 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      expect(server.program.seen.stderr).toEqual([
        `error: ${name}: sends more than it may, or reads no answers (ENOBUFS)`,
      ]);
    });
  }
});

/** The Python of the system, which has its packages. */
const PYTHON = existsSync("/usr/bin/python3") ? "/usr/bin/python3" : "python3";
const PARAMIKO = Bun.which(PYTHON) && Bun.spawnSync([PYTHON, "-c", "import paramiko"]).success
  ? ""
  : " (needs python3-paramiko)";
const CURL = Bun.which("curl") && /\bsftp\b/.test(`${Bun.spawnSync(["curl", "-V"]).stdout}`)
  ? ""
  : " (needs curl with SFTP)";
const SSHFS = existsSync("/dev/fuse") && Bun.which("sshfs") ? "" : " (needs sshfs and /dev/fuse)";

describe("other clients", () => {
  for (const runtime of EVERYWHERE) {
    test.skipIf(needs("scp") !== "")(`scp, which speaks SFTP now, on ${runtime}${needs("scp")}`, async () => {
      await using at = await stage();
      await mkdir(at.path("mine", "deep"), { recursive: true });
      await writeFile(at.path("mine", "deep", "file"), "deep");
      await writeFile(at.path("mine", "run"), "run", { mode: 0o755 });
      await using server = await serve(at, [], { runtime });
      for (
        const words of [["-r", "-p", at.path("mine"), "anna@127.0.0.1:/"], [
          "-r",
          "anna@127.0.0.1:/mine",
          at.path("back"),
        ]]
      ) {
        await using program = start(["scp", "-q", ...PRIVATELY(at), "-P", `${server.port}`, ...words]);
        expect(await program.result()).toEqual({ code: 0, stdout: "", stderr: "" });
      }
      expect(await readFile(at.path("back", "deep", "file"), "utf8")).toBe("deep");
      expect((await stat(at.path("root", "mine", "run"))).mode & 0o777).toBe(0o755);
    });

    test.skipIf(CURL !== "")(`curl, on ${runtime}${CURL}`, async () => {
      await using at = await stage();
      await mkdir(at.path("root", "folder"));
      await writeFile(at.path("mine"), randomBytes(300_000));
      await using server = await serve(at, ["--password", "right"], { runtime });
      const url = (path: string) => `sftp://127.0.0.1:${server.port}/${path}`;
      const log = ["-sS", "--insecure", "-u", "anna:right"];
      for (
        const words of [
          ["-T", at.path("mine"), url("folder/theirs")],
          [url("folder/theirs"), "-o", at.path("back")],
          ["-r", "100000-199999", url("folder/theirs"), "-o", at.path("middle")],
          ["-Q", "rename /folder/theirs /moved", "-Q", "rmdir /folder", url(""), "-o", at.path("list")],
        ]
      ) {
        await using program = start(["curl", ...log, ...words]);
        expect(await program.result()).toEqual({ code: 0, stdout: "", stderr: "" });
      }
      const mine = await readFile(at.path("mine"));
      expect(mine.equals(await readFile(at.path("back")))).toBe(true);
      expect(mine.subarray(100_000, 200_000).equals(await readFile(at.path("middle")))).toBe(true);
      expect(await readFile(at.path("list"), "utf8")).toMatch(/^-rw-r--r--.* 300000 .* moved\n$/);
    });

    if (EVERYTHING) {
      test.skipIf(PARAMIKO !== "")(`Python's paramiko, on ${runtime}${PARAMIKO}`, async () => {
        await using at = await stage();
        await using server = await serve(at, [], { runtime });
        await writeFile(
          at.path("talk.py"),
          `
import paramiko, stat, sys
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect("127.0.0.1", ${server.port}, "anna", key_filename="${
            at.path("key")
          }", look_for_keys=False, allow_agent=False)
sftp = client.open_sftp()
sftp.mkdir("folder")
sftp.chdir("folder")
assert sftp.getcwd() == "/folder"
with sftp.open("file", "w+") as file:
    file.set_pipelined(True)
    for line in range(20000): file.write(f"line {line}\\n")
    file.flush(); file.seek(10); file.truncate(500); assert file.stat().st_size == 500
with sftp.open("file", "a") as file: file.write("end")
with sftp.open("file", "r") as file:
    file.prefetch()
    text = file.read()
assert len(text) == 503 and text.endswith(b"end"), text
sftp.chmod("file", 0o600); sftp.utime("file", (1, 2)); sftp.symlink("file", "link")
assert sftp.readlink("link") == "file" and stat.S_ISLNK(sftp.lstat("link").st_mode)
assert sftp.stat("link").st_mtime == 2 and stat.S_IMODE(sftp.stat("link").st_mode) == 0o600
try: sftp.open("nothing"); raise SystemExit("opened")
except FileNotFoundError: pass
try: sftp.rename("file", "link"); raise SystemExit("renamed")
except IOError: pass
sftp.posix_rename("file", "link")
assert sftp.listdir() == ["link"] and sftp.normalize("..") == "/"
sftp.remove("link"); sftp.chdir("/"); sftp.rmdir("folder")
assert sftp.listdir() == []
client.close()
`,
        );
        await using program = start([PYTHON, "-W", "ignore", at.path("talk.py")]);
        expect(await program.result()).toEqual({ code: 0, stdout: "", stderr: "" });
      });
    }
  }

  if (EVERYTHING) {
    test.skipIf(SSHFS !== "")(`sshfs, which makes a folder of it${SSHFS}`, async () => {
      await using at = await stage();
      await mkdir(at.path("mount"));
      await using server = await serve(at);
      const options = [
        `IdentityFile=${at.path("key")}`,
        `UserKnownHostsFile=${at.path("known")}`,
        "StrictHostKeyChecking=no",
      ];
      const words = ["anna@127.0.0.1:/", at.path("mount"), "-f", "-p", `${server.port}`];
      await using mounted = start(["sshfs", ...words, ...options.flatMap((option) => ["-o", option])]);
      const here = (path: string) => at.path("mount", path);
      await until(
        () => mounted.code !== undefined || lstatSync(at.path("mount")).dev !== lstatSync(at.path()).dev,
        "sshfs",
      );
      expect(mounted.seen.stderr).toEqual([]);
      await using work = start([
        "sh",
        "-ec",
        `
      cd "${at.path("mount")}"; mkdir -p a/b; seq 100000 >a/b/numbers; cp a/b/numbers copy; mv copy a/copy
      cmp a/copy a/b/numbers; echo more >>a/copy; tail -1 a/copy; ln -s copy a/link; cat a/link | wc -l
      truncate -s 5 a/copy; cat a/copy | wc -c; chmod 600 a/copy; rm -r a/b; ls a; df . | wc -l`,
      ]);
      expect(await work.result()).toEqual({
        code: 0,
        stdout: "more\n100001\n5\ncopy\nlink\n2\n",
        stderr: "",
      });
      expect((await stat(here("a/copy"))).mode & 0o777).toBe(0o600);
      await start(["fusermount", "-u", at.path("mount")]).ended();
    });
  }
});

test.skipIf(needs("sftp") !== "")(`new keys in the middle of files${needs("sftp")}`, async () => {
  for (const runtime of EVERYWHERE) {
    await using at = await stage();
    await writeFile(at.path("root", "file"), randomBytes(2 ** 23));
    await using server = await serve(at, [], { runtime });
    const result = await sftp(at, server.port, ["get file", "put file back"], ["-q", "-o", "RekeyLimit=1M"]);
    expect(result).toEqual({ code: 0, stdout: "sftp> get file\nsftp> put file back\n", stderr: "" });
    expect(sha256OfFile(at.path("root", "back"))).toBe(sha256OfFile(at.path("root", "file")));
  }
});

test.skipIf(!HAS_IPV6 || needs("sftp") !== "")(
  `over IPv6${needs("sftp")}${HAS_IPV6 ? "" : " (needs IPv6)"}`,
  async () => {
    await using at = await stage();
    await using server = await serve(at, ["--host", "::1"]);
    await using program = start(["sftp", ...PRIVATELY(at), "-P", `${server.port}`, "-b", "-", "anna@[::1]"]);
    program.type("mkdir made\n");
    program.endOfInput();
    expect(await program.result()).toMatchObject({ code: 0, stderr: "" });
    expect(await server.program.next()).toMatch(/^\[::1\]:\d+ logged in$/);
  },
);

if (EVERYTHING) {
  test.skipIf(!IS_LINUX || needs("sftp") !== "")(
    `1 GiB there and back${needs("sftp")}`,
    async () => {
      for (const runtime of EVERYWHERE) {
        await using at = await stage();
        for (let piece = 0; piece < 16; piece++) await appendFile(at.path("file"), randomBytes(2 ** 26));
        await using server = await serve(at, [], { runtime });
        expect(await sftp(at, server.port, ["put file there", "get there back"])).toMatchObject({
          code: 0,
          stderr: "",
        });
        await using same = start(["cmp", at.path("file"), at.path("back")], { limit: 60_000 });
        expect(await same.result()).toEqual({ code: 0, stdout: "", stderr: "" });
        expect((await stat(at.path("root", "there"))).size).toBe(2 ** 30);
        console.log(`1 GiB on ${runtime}: at most ${peak(server.program).toFixed()} MiB of memory`);
        expect(peak(server.program)).toBeLessThan(600);
      }
    },
    300_000,
  );
}
