/** The protocol of lesson 4.4, in bytes: logins, messages, registrations by UDP. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { hasNamespaces } from "../engine/network.ts";
import { EVERYTHING, EVERYWHERE, script, start } from "../engine/program.ts";
import { letterbox } from "../engine/sockets.ts";
import {
  ask,
  client,
  dial,
  frame,
  lines,
  logIn,
  register,
  registration,
  SECRET,
  serve,
} from "./messenger-peers.ts";

setDefaultTimeout(60_000);

describe("refused, and told", () => {
  test("a name that is taken", async () => {
    await using server = serve();
    const port = await server.port();
    await using one = await client("é", port);
    for (const runtime of EVERYWHERE) {
      const words = ["--port", `${port}`, "e\u0301"]; // the same letter, typed in two pieces
      await using other = script("apps/messenger-client", words, { runtime });
      expect(await other.result()).toEqual({
        code: 1,
        stdout: "",
        stderr: "error: é: this name is taken (EEXIST)\n" +
          "hint: choose another; that of a vanished client is free in half a minute\n",
      });
    }
    one.type("/who\n");
    expect(await one.next()).toBe("on line: é");
  });

  test("an encoding that the server does not speak", async () => {
    await using server = serve();
    const words = ["--port", `${await server.port()}`, "--encoding", "gbk", "张三"];
    await using program = script("apps/messenger-client", words);
    expect(await program.result()).toEqual({
      code: 1,
      stdout: "",
      stderr:
        "error: 张三: bytes that are not valid utf-8 (EILSEQ)\nhint: both ends need the same --encoding\n",
    });
  });

  test("a name that is none, by the client and by the server", async () => {
    await using server = serve();
    const port = await server.port();
    const names = [
      "",
      "a b",
      "x".repeat(33),
      "bell\x07",
      "esc\x1b[2J",
      "rtl\u202egpj",
      "zero\u200bwidth",
      "\u3164",
      "\u0301a",
      "new\nline",
      "no\u00a0break",
    ];
    for (const name of names) {
      using peer = await dial(port);
      await peer.send({ type: "login", version: 1, name, secret: SECRET });
      expect(await peer.next("refused")).toMatchObject({ code: "EINVAL" });
      await peer.next("the end");
    }
    for (const name of ["a b", "esc\x1b[2J"]) {
      await using program = script("apps/messenger-client", ["--port", `${port}`, name]);
      expect(await program.result()).toEqual({
        code: 2,
        stdout: "",
        stderr: `error: ${
          name.replace("\x1b", "\\x1b")
        }: a name has letters, digits and . _ ' - only (EINVAL)\n`,
      });
    }
    for (const name of ["x".repeat(32), "张三", "O'Neil-2"]) {
      expect((await logIn(port, name)).welcome).toBeDefined();
    }
  });

  const LOGIN = { type: "login", version: 1, name: "bad", secret: SECRET };
  const BAD: [name: string, bytes: Buffer, code: string][] = [
    ["garbage", Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "EMSGSIZE"],
    ["a length of 4 GB", frame(Buffer.alloc(0), 0xffff_ffff), "EMSGSIZE"],
    ["a name of 100 KB", frame({ ...LOGIN, name: "x".repeat(100_000) }), "EMSGSIZE"],
    ["no JSON", frame(Buffer.from("{nope")), "EPROTO"],
    ["bytes that are no text", frame(Buffer.from([0x22, 0xff, 0x22])), "EILSEQ"],
    ["null", frame(null), "EPROTO"],
    ["a list", frame([LOGIN]), "EPROTO"],
    ["__proto__", frame({ ...LOGIN, type: "__proto__" }), "EPROTO"],
    ["version 2", frame({ ...LOGIN, version: 2 }), "EPROTO"],
    ["a version that is an object", frame({ ...LOGIN, version: { toString: 1, valueOf: 1 } }), "EPROTO"],
    ["no secret", frame({ ...LOGIN, secret: undefined }), "EPROTO"],
    ["a secret that is a number", frame({ ...LOGIN, secret: 5 }), "EPROTO"],
    ["a name that is a list", frame({ ...LOGIN, name: ["a"] }), "EPROTO"],
    ["no login", frame({ type: "who" }), "EPROTO"],
    ["two logins", Buffer.concat([frame(LOGIN), frame(LOGIN)]), "EPROTO"],
    ["half a character", Buffer.concat([frame(LOGIN), frame({ ...ask, id: 1, text: "\ud83d" })]), "EPROTO"],
    [
      "a text of 1,025 bytes",
      Buffer.concat([frame(LOGIN), frame({ ...ask, id: 1, text: "x".repeat(1025) })]),
      "EPROTO",
    ],
    ["an id below 0", Buffer.concat([frame(LOGIN), frame({ ...ask, id: -1, text: "x" })]), "EPROTO"],
    ["an id of 2^53", Buffer.concat([frame(LOGIN), frame({ ...ask, id: 2 ** 53, text: "x" })]), "EPROTO"],
    [
      "a receiver that is an object",
      Buffer.concat([frame(LOGIN), frame({ ...ask, id: 1, to: {}, text: "x" })]),
      "EPROTO",
    ],
  ];
  for (const runtime of EVERYWHERE) {
    test(`what is no message: told, hung up, and the others go on, on ${runtime}`, async () => {
      await using server = serve([], runtime);
      const port = await server.port();
      using good = await logIn(port, "good", "f".repeat(32));
      for (const [what, bytes, code] of BAD) {
        using peer = await dial(port);
        await peer.line.send(bytes);
        expect([what, (await peer.next("refused"))?.code]).toEqual([what, code]);
        await peer.next("the end");
        expect(await server.next("stderr")).toEndWith(`(${code})`);
      }
      using half = await dial(port);
      await half.line.send(frame(LOGIN).subarray(0, 9));
      half.line.hangUp();
      expect(await server.next("stderr")).toEndWith("closed the connection inside a message (EPROTO)");
      using reset = await logIn(port, "reset");
      reset.line.reset();
      expect(await server.next("stderr")).toStartWith("error: reset: ");
      await good.send({ type: "who" });
      expect((await good.next("people")).here).toEqual(["good"]);
      server.signal("SIGINT");
      expect((await server.result()).code).toBe(0);
      expect(server.seen.stderr.filter((line) => !/^(error|hint): /.test(line))).toEqual([]);
    });
  }

  test("a caller whose version the encoding cannot say ends nobody", async () => {
    for (const runtime of EVERYWHERE) {
      await using server = serve(["--encoding", "gbk"], runtime);
      const port = await server.port();
      using peer = await dial(port);
      await peer.send(
        Buffer.from(String.raw`{"type":"login","version":"\u20ac","name":"a","secret":"${SECRET}"}`),
      );
      expect(await peer.next("refused")).toMatchObject({ code: "EPROTO" });
      expect((await logIn(port, "good")).welcome).toBeDefined();
      server.signal("SIGINT");
      expect((await server.result()).code).toBe(0);
    }
  });

  test("the same client again takes the place of its dead connection; another secret does not", async () => {
    await using server = serve();
    const port = await server.port();
    using first = await logIn(port, "one");
    using stranger = await dial(port);
    await stranger.send({ ...LOGIN, name: "one", secret: "f".repeat(32) });
    expect(await stranger.next("refused")).toMatchObject({ code: "EEXIST" });
    using watcher = await logIn(port, "watcher", "e".repeat(32));
    using second = await logIn(port, "one");
    expect(await first.next("the end")).toBeUndefined();
    await second.send({ type: "who" });
    expect((await second.next("people")).here.sort()).toEqual(["one", "watcher"]);
    await second.send({ ...ask, id: 1, text: "I am it" });
    expect(await watcher.next("message")).toMatchObject({ from: "one", text: "I am it" });
    server.signal("SIGINT");
    const { stderr } = await server.result();
    expect(stderr).toBe("error: one: this name is taken (EEXIST)\n");
  });

  test("a name that is none, typed: told, and the client goes on", async () => {
    await using server = serve();
    await using program = await client("one", await server.port());
    const long = "x".repeat(70);
    program.type(`/to ${long} hi\n/direct ${long}\n/to a\u200bb hi\n/who\nexit\n`);
    const { code, stdout, stderr } = await program.result();
    expect(code).toBe(1);
    expect(stdout).toEndWith("on line: one\n");
    expect(stderr).toBe(
      `error: ${long}: a name has 1 to 32 characters (EINVAL)\n`.repeat(2) +
        "error: a\\u200bb: a name has letters, digits and . _ ' - only (EINVAL)\n",
    );
  });

  test("a text that is too long, at the sender", async () => {
    await using server = serve();
    const port = await server.port();
    using good = await logIn(port, "good");
    await using program = await client("one", port);
    program.type(`${"好".repeat(342)}\n${"好".repeat(341)}x\n`);
    program.type("exit\n");
    expect((await good.next("message")).text).toBe(`${"好".repeat(341)}x`);
    await good.send({ type: "have", id: 1, from: "one", instance: "0".repeat(16) });
    expect(await program.next("stderr")).toBe(
      "error: the message: has 1026 bytes; the limit is 1024, so that it fits into one datagram (EMSGSIZE)",
    );
  });
});

describe("one number for TCP and UDP", () => {
  test("that is taken for UDP: an error, and TCP is not served either", async () => {
    const tryOne = async () => {
      await using letters = await letterbox();
      await using server = script("apps/messenger-server", ["--port", `${letters.port}`]);
      return await server.result();
    };
    let { code, stdout, stderr } = await tryOne();
    // A number that is free for UDP may be taken for TCP, by a call of another test that is not forgotten yet.
    for (let tries = 1; stderr.startsWith("error: listen on") && tries < 20; tries++) {
      ({ code, stdout, stderr } = await tryOne());
    }
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    // Bun does not tell the port to whom a UDP bind failed.
    expect(stderr).toMatch(/^error: bind 127\.0\.0\.1:\d+: address already in use \(EADDRINUSE\)\nhint: /);
  });

  test.skipIf(!hasNamespaces)(
    "--port 0 takes the next one when it is not free for both (needs unshare and ip)",
    async () => {
      const shell = `ip link set lo up
      echo 40000 40001 >/proc/sys/net/ipv4/ip_local_port_range
      bun scripts/udp/receive.ts --port 40000 |
        { read ready; echo "$ready"; exec bun scripts/apps/messenger-server.ts --port 0; }`;
      for (let runs = 0; runs < (EVERYTHING ? 5 : 1); runs++) {
        await using server = start(["unshare", "-Urn", "sh", "-c", shell]);
        const ready = [await server.next(), await server.next()];
        expect(ready.sort()).toEqual(["listening on 127.0.0.1:40000", "listening on 127.0.0.1:40001"]);
      }
    },
  );
});

describe("registrations by UDP", () => {
  for (const runtime of EVERYWHERE) {
    test(`a forged one: no answer, told once on each side, on ${runtime}`, async () => {
      await using server = serve([], runtime);
      const port = await server.port();
      using one = await logIn(port, "张三");
      await using letters = await letterbox();
      const [first, second] = await register(letters, port, one.welcome.token, "张三");
      const cookie = first.toString("hex", 21, 29);
      const right = registration(one.welcome.token, "张三", { cookie });
      expect(first.length).toBeLessThanOrEqual(right.length);
      expect(second).toEqual(first);
      expect(first.toString("hex")).toBe(
        `53624501` + `02${one.welcome.token}${cookie}` + letters.port.toString(16).padStart(4, "0") +
          "00000000000000000000ffff7f000001",
      );
      expect(await lines(server, 2)).toEqual([
        `张三 logged in from ${one.line.name}`,
        `张三 is at 127.0.0.1:${letters.port} by UDP`,
      ]);
      await using forger = await letterbox();
      for (let count = 0; count < 20; count++) await forger.send(registration("ab".repeat(16), "张三"), port);
      for (const bad of ["", "SbE", "SbE\x01\x01", "x".repeat(2000)]) await forger.send(bad, port);
      await forger.send(registration(one.welcome.token, "nobody"), port);
      expect(await one.next("warning")).toMatchObject({ code: "EACCES" });
      await one.send({ type: "who" });
      await one.next("people");
      await letters.send(right, port); // it is still where it was, and the server is well
      await letters.next();
      const forged = `error: 127.0.0.1:${forger.port}: registers as 张三, with a wrong token (EACCES)`;
      expect(await server.next("stderr")).toBe(forged);
      server.signal("SIGINT");
      const { stdout, stderr } = await server.result();
      expect(stderr.split("\n")).toHaveLength(3 + 1); // three at once, then one in five seconds
      expect(stdout).not.toContain(`:${forger.port} by UDP`);
      expect(await Promise.race([forger.next(), new Promise((resolve) => setTimeout(resolve, 50))]))
        .toBeUndefined();
    });
  }

  test("who is told where somebody is: a card's own address only if it is private, and the other is near", async () => {
    await using server = serve();
    const port = await server.port();
    using one = await logIn(port, "one");
    using two = await logIn(port, "two");
    await using letters = await letterbox();
    await using others = await letterbox();
    for (const [address, own] of [[[10, 0, 0, 5], ["10.0.0.5:4660"]], [[8, 8, 8, 8], []]] as const) {
      await register(letters, port, one.welcome.token, "one", address);
      await register(others, port, two.welcome.token, "two");
      await two.send({ type: "direct", name: "one" });
      const [first, second] = [await one.next("direct"), await two.next("direct")];
      expect(first).toMatchObject({ name: "two", side: 1, endpoints: [`127.0.0.1:${others.port}`] });
      expect(second).toMatchObject({
        name: "one",
        side: 0,
        endpoints: [`127.0.0.1:${letters.port}`, ...own],
      });
      expect([first.key, first.way]).toEqual([second.key, second.way]);
    }
    await two.send({ type: "direct", name: "two" });
    expect(await two.next("sorry")).toMatchObject({ name: "two", why: "that is you" });
    using three = await logIn(port, "three");
    await three.send({ type: "direct", name: "one" });
    expect(await three.next("sorry")).toMatchObject({ code: "ENOTCONN" });
  });

  test("the client hears of it", async () => {
    await using server = serve();
    const port = await server.port();
    await using one = await client("one", port);
    await using forger = await letterbox();
    for (let count = 0; count < 3; count++) await forger.send(registration("ab".repeat(16), "one"), port);
    expect(await one.next("stderr")).toBe(
      "error: one: somebody registers as one, with a wrong token (EACCES)",
    );
    one.endOfInput();
    expect((await one.result()).stderr.split("\n")).toHaveLength(2);
  });
});
