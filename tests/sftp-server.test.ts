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
