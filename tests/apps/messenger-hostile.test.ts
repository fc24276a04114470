/** Lesson 4.4 against hostile peers: what an attacker, or a peer that is dead, may cost. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { EVERYTHING, EVERYWHERE, script } from "../engine/program.ts";
import { call, listen, settled } from "../engine/sockets.ts";
import { ask, caller, dial, frame, logIn, RUNTIMES, SECRET, serve, until } from "./messenger-peers.ts";

setDefaultTimeout(60_000);

describe("too much", () => {
  test("a client that floods: told, then hung up on; the others hear nothing of the rest", async () => {
    for (const runtime of EVERYWHERE) {
      await using server = serve([], runtime);
      const port = await server.port();
      using good = await logIn(port, "good", "f".repeat(32));
      using flood = await logIn(port, "flood");
      const bytes = Array.from({ length: 500 }, (_, id) => frame({ ...ask, id, text: "x" }));
      await flood.line.send(Buffer.concat(bytes));
      expect(await flood.next("sorry")).toMatchObject({
        code: "EBUSY",
        why: "too fast: 50 at once, then 50 a second",
      });
      expect(await flood.next("refused")).toMatchObject({ code: "EBUSY" });
      expect(await flood.next("the end")).toBeUndefined();
      const heard = await good.until("away");
      expect(heard.filter(({ type }) => type === "message").length).toBeGreaterThanOrEqual(50);
      expect(heard.length).toBeLessThan(80);
      expect(await server.next("stderr")).toBe(
        "error: flood: too fast: 50 at once, then 50 a second (EBUSY)",
      );
    }
  });

  test("a client that confirms nothing costs bounded memory: it counts as away", async () => {
    await using server = serve();
    const port = await server.port();
    using mute = await logIn(port, "mute", "f".repeat(32));
    mute.line.socket.pause();
    const writers = [];
    for (let count = 0; count < 21; count++) {
      writers.push(await logIn(port, `writer${count}`, `${count}`.padStart(32, "0")));
    }
    for (const writer of writers) {
      const bytes = Array.from(
        { length: 49 },
        (_, id) => frame({ ...ask, id, to: "mute", text: "x".repeat(1000) }),
      );
      await writer.line.send(Buffer.concat(bytes));
    }
    expect(await server.next("stderr")).toBe("error: mute: does not confirm what it gets (ENOBUFS)");
    expect(await writers[0].next("away")).toMatchObject({ name: "mute" });
    using back = await logIn(port, "mute", "f".repeat(32));
    for (let count = 0; count < 100; count++) await back.next("message");
    await back.send({ type: "who" });
    expect((await back.next("people")).here).toHaveLength(22);
    for (const writer of writers) writer[Symbol.dispose]();
  });
});

test("strangers fill 100 connections and 200 names, and no more", async () => {
  await using server = serve();
  const port = await server.port();
  {
    using early = await logIn(port, "early");
    early.line.hangUp();
    await until(server, "early left");
  }
  using stays = await logIn(port, "stays", "f".repeat(32));
  for (let count = 0; count < 200; count++) {
    using stranger = await logIn(port, `stranger-${count}`, SECRET, `127.0.1.${count}`);
    stranger.line.hangUp();
    await until(server, `stranger-${count} left`);
  }
  await stays.send({ type: "who" });
  const { here, away } = await stays.next("people");
  expect(here).toEqual(["stays"]);
  expect(away).toHaveLength(199);
  expect(away).not.toContain("early");
  const callers = [];
  for (let count = 0; count < 99; count++) {
    callers.push(await logIn(port, `caller-${count}`, SECRET, `127.0.2.${count}`));
  }
  using tooMany = await dial(port);
  await tooMany.send({ type: "login", version: 1, name: "one-more", secret: SECRET }).catch(() => {});
  expect(await tooMany.next("welcome")).toBeUndefined();
  for (const peer of callers) peer[Symbol.dispose]();
});

if (EVERYTHING) {
  describe.concurrent("a peer that is dead without a word", () => {
    for (const runtime of RUNTIMES) {
      test(`the server notices, on ${runtime}`, async () => {
        await using server = script("apps/messenger-server", ["--port", "0"], { runtime, limit: 45_000 });
        const port = await server.port();
        using _silent = await call(port);
        expect(await server.next("stderr")).toMatch(/: no login within 5 seconds \(ETIMEDOUT\)$/);
        using _dead = await logIn(port, "dead");
        expect(await server.next("stderr")).toBe("error: dead: silent for 30 seconds (ETIMEDOUT)");
      });

      test(`the client notices, on ${runtime}`, async () => {
        await using listener = await listen();
        const words = ["--port", `${listener.port}`, "one"];
        await using program = script("apps/messenger-client", words, { runtime, limit: 45_000 });
        const peer = await caller(listener);
        await peer.send({ type: "welcome", token: SECRET, here: [] });
        await program.next();
        expect(await program.next()).toBe("the server is gone: trying again, with growing pauses");
      });
    }
  });
}

test.concurrent("a hostile server: what it sends is no message, or drives no terminal", async () => {
  await using listener = await listen();
  const start = () => script("apps/messenger-client", ["--port", `${listener.port}`, "one"]);
  for (const [message, code] of [[Buffer.from("{"), "EPROTO"], [{ type: "welcome" }, "EPROTO"]] as const) {
    await using program = start();
    const peer = await caller(listener);
    await peer.send(message);
    const { code: exit, stderr } = await program.result();
    expect(exit).toBe(1);
    expect(stderr).toMatch(RegExp(`^error: 127\\.0\\.0\\.1:\\d+: .*\\(${code}\\)\n$`));
  }
  await using program = start();
  const peer = await caller(listener);
  await peer.send({ type: "welcome", token: SECRET, here: ["\x1b[2J"] });
  await program.next();
  expect(await program.next()).toBe("on line: \\x1b[2J");
  const message = {
    type: "message",
    id: 1,
    from: "\x1b]0;",
    instance: "0".repeat(16),
    all: true,
    text: "a\rb",
    late: true,
  };
  await peer.send({ ...message, time: 0 });
  expect(await program.next()).toMatch(/^\\x1b\]0; \(19(70|69)-.*\) > a\\rb$/);
});

if (EVERYTHING) {
  test.concurrent("a server that names more people than it can know", async () => {
    await using listener = await listen();
    await using program = script("apps/messenger-client", ["--port", `${listener.port}`, "one"]);
    const first = await caller(listener);
    await first.send({ type: "welcome", token: SECRET, here: [] });
    for (let number = 0; number < 300; number++) {
      await first.send({ type: "back", name: `n${number}`, again: false });
    }
    await until(program, "n299 is here");
    first.line.hangUp();
    const second = await caller(listener);
    await second.send({ type: "welcome", token: SECRET, here: [] });
    await until(program, "connected again");
    program.type("hi\n");
    const { also } = await second.next("send");
    expect(also).toEqual(Array.from({ length: 200 }, (_, at) => `n${at + 100}`));
  });
}

test.concurrent("a server that reads no acknowledgements is read no more", async () => {
  await using listener = await listen();
  await using program = script("apps/messenger-client", ["--port", `${listener.port}`, "one"]);
  const peer = await caller(listener);
  await peer.send({ type: "welcome", token: SECRET, here: [] });
  await program.next(); // logged in
  const { socket } = peer.line;
  socket.pause();
  const message = {
    ...{ type: "message", id: 1, from: "x".repeat(60), instance: "0".repeat(16), all: true, text: "" },
    ...{ time: 0, late: false },
  };
  const piece = Buffer.concat(Array(1000).fill(frame(message)));
  let taken = 0;
  const flood = async () => {
    for (; taken < 64 << 20; taken += piece.length) {
      await new Promise((resolve) => socket.write(piece, resolve));
    }
  };
  flood();
  expect(await settled(() => taken)).toBeLessThan(32 << 20); // what the system's buffers may hold (tcp_rmem, tcp_wmem), both ways
});

test.concurrent("a server that names somebody with 30,000 letters", async () => {
  await using listener = await listen();
  await using program = script("apps/messenger-client", ["--port", `${listener.port}`, "one"]);
  const peer = await caller(listener);
  await peer.send({ type: "welcome", token: SECRET, here: [] });
  await program.next(); // logged in
  await peer.send({ type: "back", name: "x".repeat(30_000), again: false });
  expect(await program.next()).toBe("the server is gone: trying again, with growing pauses");
});

test("nobody reads what the server prints: those who come and go fill no memory", async () => {
  await using server = serve();
  const port = await server.port();
  server.stopReading();
  for (let count = 0; count < 5000; count++) {
    using peer = await dial(port, `127.1.${count >> 8}.${count & 255}`);
    await peer.send({ type: "login", version: 1, name: `${count}${"x".repeat(20)}`, secret: SECRET }).catch(
      () => {},
    );
    const welcome = await peer.next("welcome");
    if (!welcome) return; // no more callers
    expect(welcome.here.length).toBeLessThanOrEqual(100);
  }
  throw new Error("all were served");
});
