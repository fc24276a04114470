/** Lesson 4.5, the server: who may log in, and how often one may try. (thorough) */
import { describe, expect, setDefaultTimeout, setSystemTime, test } from "bun:test";
import { EventEmitter, once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import ssh2 from "ssh2";
import { WrongPasswords } from "../../../scripts/apps/sftp/authentication.ts";
import { Root } from "../../../scripts/apps/root.ts";
import { Sessions } from "../../../scripts/apps/sftp/sessions.ts";
import { type Caller, Callers } from "../../../scripts/apps/sftp/callers.ts";
import { sourceOf } from "../../../scripts/apps/source-of.ts";
import { EVERYWHERE, script, start } from "../../engine/program.ts";
import { call, inTime, settled, until } from "../../engine/sockets.ts";
import { inside, knock, meet } from "./packets.ts";
import { IS_LINUX, KEY, makeKey, OPENSSH, PRIVATELY, serve, stage } from "./server.ts";

setDefaultTimeout(120_000); // what waits in a test says itself for what it waited too long

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
      using tries = new DisposableStack();
      const knocks = () => tries.use(knock(server.port, [{ key: KEY.private }]));
      let friend = knocks();
      // Two seconds may be too little for the first login of a server, on a machine that stands still.
      for (let more = 9; more > 0 && !(await friend.done).isIn; more--) friend = knocks();
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
      expect(stderr).toStartWith(`error: ${at.path("keys")}, line 2: not a key of ssh-ed25519, `);
    }
  });

  test.skipIf(!IS_LINUX)("is not kept from others by silent callers (needs Linux)", async () => {
    for (const runtime of EVERYWHERE) {
      await using at = await stage();
      await using server = await serve(at, [], { runtime });
      const silent: Socket[] = [];
      const wait = async (address: string, count: number) => {
        for (let index = 0; index < count; index++) {
          const socket = connect({ port: server.port, host: "127.0.0.1", localAddress: address });
          silent.push(socket.on("error", () => {}));
          await inTime(Promise.race([once(socket, "data"), once(socket, "close")]), "a greeting or an end");
        }
      };
      const open = () => silent.filter((socket) => socket.readable).length;
      const enter = async (address: string) => {
        using friend = knock(server.port, [{ key: KEY.private }], "anna", address);
        return (await friend.done).isIn;
      };
      await wait("127.0.0.2", 25); // of one address, 20 may wait
      expect(open()).toBe(20);
      expect(await enter("127.0.0.2")).toBe(false);
      expect(await enter("127.0.0.3")).toBe(true);
      silent[0].destroy();
      await until(() => server.program.seen.stderr.length > 0 || open() < 20, "one less");
      for (let isIn = false; !isIn;) isIn = await enter("127.0.0.2");
      await wait("127.0.0.2", 1);
      for (let address = 10; address < 14; address++) await wait(`127.0.0.${address}`, 20);
      expect(open()).toBe(100); // all places are taken
      await wait("127.0.0.10", 5); // a source that has its share makes nobody give way
      expect(open()).toBe(100);
      const patient = connect({ port: server.port, host: "127.0.0.1", localAddress: "127.0.0.3" });
      await inTime(once(patient, "data"), "a greeting"); // one who waits already gave way
      for (let address = 20; address < 25; address++) await wait(`127.0.0.${address}`, 20); // but this one does not
      expect(patient.readable).toBe(true);
      expect(await settled(open)).toBe(99);
      patient.destroy();
      expect(await enter("127.0.0.3")).toBe(true);
      expect(server.program.seen.stderr[0]).toMatch(
        /^error: 127\.0\.0\.\d+:\d+: did not log in, and gives way to a new caller \(ETIMEDOUT\)$/,
      );
      for (const socket of silent) socket.destroy();
    }
  });

  test.skipIf(!IS_LINUX)("is possible while others hold all files that they may (needs Linux)", async () => {
    for (const runtime of EVERYWHERE) {
      await using at = await stage();
      await writeFile(at.path("root", "file"), "here");
      await using server = await serve(at, [], { runtime, openFiles: 320 });
      using first = await meet(server.port, "127.0.0.2");
      using second = await meet(server.port, "127.0.0.3");
      for (const greedy of [first, second]) {
        let opened = 0;
        while (typeof await greedy.open("file") !== "number" && opened < 200) opened++;
        expect(opened).toBeGreaterThan(10);
      }
      using friend = await meet(server.port, "127.0.0.4");
      expect(`${await friend.read("file")}`).toMatch(/^(here|4)$/); // an answer, at least
      expect((await friend.ask(17, "file")).type).toBe(105);
      first.client.end();
      await until(
        () => server.program.seen.stdout.some((line) => line.includes("127.0.0.2") && / part of /.test(line)),
        "its end",
      );
      expect(await friend.read("file")).toBe("here");
      expect(server.program.seen.stderr.filter((line) => /EMFILE|TypeError/.test(line))).toEqual([]);
    }
  });
});

for (const runtime of EVERYWHERE) {
  test(`wrong passwords whose connections have gone keep nobody waiting, on ${runtime}`, async () => {
    await using at = await stage();
    await using server = await serve(at, ["--password", "right", "--login-time", "15"], { runtime });
    for (let count = 1; count <= 8; count++) { // one after another they would take 27.5 s
      const { client } = knock(server.port, [{ password: "wrong" }]);
      const told = () => server.program.seen.stderr.filter((line) => line.includes("wrong password"));
      await until(() => told().length === count, "a wrong password");
      inside(client)._sock.destroy();
    }
    using friend = knock(server.port, [{ password: "right" }]);
    expect(await friend.done).toMatchObject({ isIn: true });
  });
}

/** A socket that is only what Callers and Caller touch. */
function dummy(remoteAddress: string) {
  const socket = Object.assign(new EventEmitter(), {
    remoteAddress,
    remotePort: 1,
    writable: true,
    destroyed: false,
    destroy() {
      if (socket.destroyed) return;
      socket.destroyed = true;
      socket.writable = false;
      setImmediate(() => socket.emit("close"));
    },
  });
  return socket as unknown as Socket & { destroyed: boolean };
}

describe("places", () => {
  const LIMITS = { limit: 1024, free: 1000 };

  test("one address gets half of them, and one who is idle gives way", () => {
    const callers = new Callers(30, LIMITS);
    try {
      setSystemTime(new Date("2026-01-01T00:00:00Z"));
      const enter = (address: string) => {
        const socket = dummy(address);
        const caller = callers.admit(socket);
        caller?.loggedIn();
        return caller && Object.assign(socket, { caller });
      };
      const first = enter("192.0.2.1");
      const active = enter("192.0.2.1");
      for (let index = 2; index < 50; index++) expect(enter("192.0.2.1")).toBeDefined();
      expect(enter("192.0.2.1")).toBeUndefined();
      expect(enter("::ffff:192.0.2.1")).toBeUndefined(); // the same address
      for (let index = 0; index < 50; index++) expect(enter(`2001:db8::${index.toString(16)}`)).toBeDefined();
      expect(enter("192.0.2.7")).toBeUndefined(); // nobody is idle
      setSystemTime(new Date("2026-01-01T00:01:01Z"));
      active?.caller.moved();
      expect(enter("192.0.2.7")).toBeDefined();
      expect({ first: first?.destroyed, active: active?.destroyed }).toEqual({ first: true, active: false });
      expect(enter("192.0.2.1")).toBeDefined(); // the first has gone
      // All places of an address are taken, and not all of the server: one of its own that is idle gives way.
      const others = new Callers(30, LIMITS);
      const sockets = Array.from({ length: 50 }, () => dummy("192.0.2.9"));
      for (const socket of sockets) others.admit(socket)?.loggedIn();
      const neighbour = dummy("192.0.2.10");
      others.admit(neighbour)?.loggedIn();
      setSystemTime(new Date("2026-01-01T00:02:00Z"));
      expect(others.admit(dummy("192.0.2.9"))).toBeUndefined();
      setSystemTime(new Date("2026-01-01T00:02:01Z"));
      expect(others.admit(dummy("192.0.2.9"))).toBeDefined();
      expect([neighbour, ...sockets].map(({ destroyed }) => destroyed)).toEqual([
        false,
        true,
        ...Array(49).fill(false),
      ]);
    } finally {
      setSystemTime();
    }
  });

  test("there are fewer where the system has fewer descriptors, and all limits add up to less", () => {
    for (const limit of [256, 1024, 65_536]) {
      const callers = new Callers(30, { limit, free: limit - 50 });
      let [places, files] = [0, 0];
      for (let source = 0; source < 200; source++) {
        const caller = callers.admit(dummy(`192.0.2.${source}`));
        caller?.loggedIn();
        if (!caller) continue;
        places += 1;
        for (let opened = 0; opened < caller.most; opened++) {
          try {
            caller.take(1);
            files += 1;
          } catch {
            // no more
          }
        }
      }
      expect(places).toBe(Math.min(100, limit / 8));
      expect(files).toBeGreaterThan(50);
      expect(places + files).toBeLessThan(limit - 50 - 60); // a request at work needs some too
    }
  });

  test("a request counts, but not what only keeps the connection alive", async () => {
    await using at = await stage();
    let caller: Caller | undefined;
    const server = createServer((socket) => {
      caller = new Callers(30, LIMITS).admit(socket);
      const ssh = new ssh2.Server({ hostKeys: [KEY.private] }, (client) => {
        client.on("error", () => {}).on("authentication", (context) => context.accept());
        const sessions = new Sessions(client, caller as Caller, { root: new Root(at.root), readOnly: true });
        client.on("session", (accept, reject) => sessions.open(accept, reject));
      });
      ssh.injectSocket(socket);
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    try {
      using client = await meet((server.address() as AddressInfo).port);
      const idle = caller as unknown as Caller;
      idle.lastMoved = 0;
      const socket = inside(client.client)._sock;
      inside(client.client)._protocol.ping();
      await inTime(once(socket, "data"), "the answer");
      expect(idle.lastMoved).toBe(0);
      expect(await client.read("nothing")).toBe(2);
      expect(idle.lastMoved).toBeGreaterThan(0);
      socket.destroy();
    } finally {
      server.close();
    }
  });

  test("a network of IPv6 counts as one", () => {
    expect(sourceOf("2001:db8:1:2::7")).toBe(sourceOf("2001:db8:1:2:ffff::1"));
    expect(sourceOf("2001:db8:1:3::7")).not.toBe(sourceOf("2001:db8:1:2::7"));
    expect(sourceOf("fe80::1%eth0")).toBe("fe80::");
    expect(sourceOf("::ffff:192.0.2.1")).toBe("192.0.2.1");
  });
});

describe("WrongPasswords", () => {
  /** The connections stay. */
  const HERE = new AbortController().signal;
  const waits = (wrong: WrongPasswords, ...tries: [address: string, isRight: boolean][]) =>
    tries.map(([address, isRight]) => wrong.wait(address, isRight));

  test("each wrong one waits longer, up to five seconds, and a right one as long as the last", () => {
    const wrong = new WrongPasswords();
    const tries = Array.from({ length: 6 }, () => wrong.wait("192.0.2.1", false));
    expect(tries).toEqual([500, 1000, 2000, 4000, 5000, 5000]);
    expect(wrong.wait("192.0.2.1", true)).toBe(5000);
  });

  test("a right one counts until it is answered, and then all is forgotten; other addresses count for themselves", async () => {
    const [here, there] = ["192.0.2.1", "2001:db8::1"];
    const wrong = new WrongPasswords();
    expect(waits(wrong, [here, true], [here, false], [here, false], [there, false])).toEqual([
      0,
      1000,
      2000,
      500,
    ]);
    await wrong.turn(there, true, HERE);
    expect(waits(wrong, [there, true], [here, true])).toEqual([0, 2000]);
  });

  test("ten minutes of peace are enough; so is being one of the oldest of 10,000 addresses", () => {
    try {
      const wrong = new WrongPasswords();
      setSystemTime(new Date("2026-01-01T00:00:00Z"));
      expect(waits(wrong, ["192.0.2.1", false], ["192.0.2.2", false])).toEqual([500, 500]);
      setSystemTime(new Date("2026-01-01T00:09:59Z"));
      expect(wrong.wait("192.0.2.1", false)).toBe(1000);
      setSystemTime(new Date("2026-01-01T00:10:00Z"));
      expect(wrong.wait("192.0.2.2", false)).toBe(500);
      for (let last = 0; last < 9999; last++) wrong.wait(`2001:db8::${last}`, false);
      expect(wrong.wait("192.0.2.2", true)).toBe(500);
      expect(wrong.wait("192.0.2.1", true)).toBe(0);
    } finally {
      setSystemTime();
    }
  });

  test("one source gets one answer at a time, and all together ten in a second", async () => {
    const begin = performance.now();
    const wrong = new WrongPasswords();
    const answers: number[] = [];
    const guess = async (source: string) => {
      await wrong.turn(source, false, HERE);
      answers.push(performance.now() - begin);
    };
    await Promise.all([guess("192.0.2.1"), guess("192.0.2.1")]); // side by side: 0.5 s, and then 1 s
    expect(answers[1]).toBeGreaterThan(1480);
    const before = performance.now();
    await Promise.all(Array.from({ length: 10 }, (_, index) => guess(`192.0.2.${index + 2}`)));
    expect(performance.now() - before).toBeGreaterThan(500 + 9 * 95);
  });
});
