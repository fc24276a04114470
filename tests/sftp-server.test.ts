/**
 * Lesson 4.5, the server: against OpenSSH's sftp and scp, curl, paramiko and sshfs, and against a client that does
 * what none of them does. Its packets are those of draft-ietf-secsh-filexfer-02, written by hand.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, lstatSync, readFileSync } from "node:fs";
import {
  chmod,
  lstat,
  mkdir,
  mkdtempDisposable,
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
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import ssh2, { type AuthenticationType, type Client, type ClientChannel } from "ssh2";
import {
  EVERYTHING,
  EVERYWHERE,
  type Options,
  type Program,
  type Runtime,
  script,
  start,
} from "./program.ts";
import { call, HAS_IPV6, inTime, until } from "./sockets.ts";

setDefaultTimeout(120_000); // what waits in a test says itself for what it waited too long

const needs = (...tools: string[]) => {
  const missing = tools.filter((tool) => !Bun.which(tool));
  return missing.length > 0 ? ` (needs ${missing.join(", ")})` : "";
};
const OPENSSH = needs("sftp", "ssh-keygen");
const IS_LINUX = process.platform === "linux";

/** The key of the user, made once. */
const KEY = ssh2.utils.generateKeyPairSync("ed25519", { comment: "anna" });

/** A folder with a root in it, and the user's keys beside it. */
async function stage() {
  const folder = await mkdtempDisposable(join(tmpdir(), "sftp-"));
  const path = (...parts: string[]) => join(folder.path, ...parts);
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
    limit: 90_000,
  });
  program.type(commands.map((command) => `${command}\n`).join(""));
  program.endOfInput();
  return await program.result();
}

const sha256 = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");

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
      expect(seen[4]).toMatch(/^-rw-r----- +[1?] \d+ +\d+ +5 Jan  1  2000 LICENSE$/);
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
      expect(sha256(at.path("copy"))).toBe(sha256(at.path("root", "large")));
      expect(sha256(at.path("root", "whole"))).toBe(sha256(at.path("root", "large")));
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
    const used = (name: string) => ["--host-key", at.path(name)];
    const inside = (name: string, flag: string) => `${flag} ${name}: is inside the served folder (EINVAL)`;
    for (
      const [words, code, error] of [
        [used("open"), 1, `${at.path("open")}: others can read this private key, so it is not used (EACCES)`],
        [used("none"), 1, `${at.path("none")}: is no private key, or has a passphrase (EINVAL)`],
        [used("root/new"), 2, inside(at.path("root/new"), "--host-key")],
        [used("to-root/new"), 2, inside(at.path("to-root/new"), "--host-key")],
        [used("to-key"), 2, inside(at.path("to-key"), "--host-key")],
        [["--root", "/"], 2, inside("/.host-key", "--host-key")],
        [["--authorized-keys", at.path("root/key")], 2, inside(at.path("root/key"), "--authorized-keys")],
        [used("missing/key"), 1, `${at.path("missing/key")}: no such file or folder (ENOENT)`],
        [["--root", at.path("missing")], 1, `${at.path("missing")}: no such file or folder (ENOENT)`],
        [["--root", at.path("key")], 1, `${at.path("key")}: is no folder (ENOTDIR)`],
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
    test(`with wrong passwords is slower each time, over all connections of an address, on ${runtime}`, async () => {
      await using at = await stage();
      await using server = await serve(at, ["--password", "right"], { runtime });
      using first = knock(server.port, [{ password: "wrong" }, { password: "" }]);
      const { isIn, answers, methods } = await first.done;
      expect({ isIn, methods }).toEqual({ isIn: false, methods: ["password"] });
      expect(answers[1] - answers[0]).toBeWithin(490, 900);
      expect(answers[2] - answers[1]).toBeWithin(990, 1500);
      const started = performance.now();
      using second = knock(server.port, [{ password: "right" }]);
      expect(await second.done).toMatchObject({ isIn: true });
      expect(performance.now() - started).toBeWithin(990, 1900); // a right one waits as long as the last wrong one
      using third = knock(server.port, [{ password: "right" }]);
      const again = performance.now();
      expect(await third.done).toMatchObject({ isIn: true });
      expect(performance.now() - again).toBeLessThan(900); // and then all is forgotten
      using nobody = knock(server.port, [{ password: "right" }], "berta");
      expect(await nobody.done).toMatchObject({ isIn: false });
      expect(server.program.seen.stderr.map((line) => line.replace(/:\d+/, ""))).toEqual([
        "hint: all users of this machine can see a password on a command line",
        ...["anna", "anna", "berta"].map((name) => `error: 127.0.0.1 as ${name}: wrong password (EACCES)`),
      ]);
    });
  }

  test("ends after six tries", async () => {
    await using at = await stage();
    await using server = await serve(at);
    const keys = Array.from(
      { length: 8 },
      () => ({ key: ssh2.utils.generateKeyPairSync("ed25519").private }),
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
    const other = ssh2.utils.generateKeyPairSync("ed25519").private;
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
    const other = ssh2.utils.parseKey(ssh2.utils.generateKeyPairSync("ed25519").private) as ssh2.ParsedKey;
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

  for (const runtime of EVERYWHERE) {
    test(`must not take long, on ${runtime}`, async () => {
      await using at = await stage();
      await using server = await serve(at, ["--login-time", "1"], { runtime });
      using silent = await call(server.port);
      using greeted = await call(server.port);
      await greeted.send("SSH-2.0-slow\r\n");
      using garbage = await call(server.port);
      await garbage.send("GET / HTTP/1.1\r\n\r\n");
      for (const line of [silent, greeted, garbage]) {
        expect(`${await line.rest()}`).toStartWith("SSH-2.0-"); // and then its end
        line.hangUp();
      }
      using friend = knock(server.port, [{ key: KEY.private }]);
      expect(await friend.done).toMatchObject({ isIn: true });
      await Bun.sleep(1200);
      const ended = once(friend.client, "close").then(() => "ended");
      expect(await Promise.race([ended, Bun.sleep(50).then(() => "still there")])).toBe("still there");
      const { stderr } = server.program.seen;
      expect(stderr).toContain(`error: ${silent.name}: did not log in within 1 seconds (ETIMEDOUT)`);
      expect(stderr).toContain(`error: ${greeted.name}: did not log in within 1 seconds (ETIMEDOUT)`);
    });
  }

  test("is for a hundred at once", async () => {
    await using at = await stage();
    await using server = await serve(at);
    const lines = await Promise.all(Array.from({ length: 100 }, () => call(server.port)));
    for (const line of lines) await line.expect("SSH-2.0-");
    using last = await call(server.port);
    expect(`${await last.rest().catch((error) => error.code)}`).toMatch(/^(ECONNRESET)?$/);
    for (const line of lines) line[Symbol.dispose]();
    await until(() => true, "room");
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
async function dial(port: number, tweak: (client: Client) => void = () => {}) {
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
  channel.write(INIT);
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
      for (let round = 0; round < (EVERYTHING ? 3000 : 300); round++) {
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
