/** Lesson 4.4 against hostile peers: what an attacker, or a peer that is dead, may cost. (thorough) */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { once } from "node:events";
import { connect } from "node:net";
import process from "node:process";
import { setTimeout } from "node:timers/promises";
import { EVERYTHING, EVERYWHERE, hurried, script } from "../engine/program.ts";
import { call, freePort, letterbox, listen, settled, until } from "../engine/sockets.ts";
import {
  ask,
  caller,
  client,
  dial,
  frame,
  logIn,
  type Peer,
  register,
  registration,
  SECRET,
  serve,
  until as untilLine,
} from "./messenger-peers.ts";
import { peak } from "./sftp/server.ts";

setDefaultTimeout(60_000);

describe("too much", () => {
  test("a client that floods: told, then hung up on; the others hear nothing of the rest", async () => {
    for (const runtime of EVERYWHERE) {
      await using server = serve([], runtime);
      const port = await server.port();
      using good = await logIn(port, "good", "f".repeat(32));
      using flood = await logIn(port, "flood");
      const begin = performance.now();
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
      expect(heard.length).toBeLessThan(80 + 50 * (performance.now() - begin) / 1000);
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
    await untilLine(server, "early left");
  }
  using stays = await logIn(port, "stays", "f".repeat(32));
  for (let count = 0; count < 200; count++) {
    using stranger = await logIn(port, `stranger-${count}`, SECRET, `127.0.1.${count}`);
    stranger.line.hangUp();
    await untilLine(server, `stranger-${count} left`);
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

describe("what an attacker may cost", () => {
  /** Logs in and leaves, as often as it can, until 600 logins were tried. @returns how many were let in */
  async function flood(port: number, from: (count: number) => string): Promise<number> {
    let letIn = 0;
    await Promise.all(Array.from({ length: 20 }, async (_, worker) => {
      for (let count = worker; count < 600; count += 20) {
        using peer = await dial(port, from(count));
        const login = { type: "login", version: 1, name: `flood${count}`, secret: SECRET };
        await peer.send(login).catch(() => {}); // it may have been turned away already
        if (await peer.next("welcome").catch(() => undefined)) letIn++;
      }
    }));
    return letIn;
  }

  for (const runtime of EVERYWHERE) {
    test(`logins without end: 100 from one address, then 5 a second, on ${runtime}`, async () => {
      await using server = serve([], runtime);
      const port = await server.port();
      const begin = performance.now();
      using watcher = await logIn(port, "watcher", SECRET, "127.0.0.9");
      const letIn = await flood(port, () => "127.0.0.1");
      const seconds = Math.ceil((performance.now() - begin) / 1000);
      expect(letIn).toBeWithin(90, 100 + 5 * seconds + 1);
      expect(server.seen.stdout.length).toBeLessThanOrEqual(2 * (letIn + 2));
      using late = await logIn(port, "late", "1".repeat(32), "127.0.0.8");
      expect(late.welcome.here).toContain("watcher");
      await watcher.send({ type: "who" });
      const news = (await watcher.until("people")).filter(({ type }) => type === "back" || type === "away");
      expect(news.length).toBeLessThanOrEqual(50 + 5 * seconds);
    });

    test(`logins from many addresses: 50 lines on the screens of the others, then 5 a second, on ${runtime}`, async () => {
      await using server = serve([], runtime);
      const port = await server.port();
      await using watcher = await client("watcher", port, { words: ["--host", "127.0.0.1"] });
      const begin = performance.now();
      expect(await flood(port, (count) => `127.3.${count >> 8}.${count & 255}`)).toBe(600);
      using late = await logIn(port, "late", "1".repeat(32), "127.0.0.8");
      expect(late.welcome.here).toContain("watcher");
      await untilLine(watcher, "late is here"); // it is told all the same
      const seconds = Math.ceil((performance.now() - begin) / 1000);
      expect(watcher.seen.stdout.length).toBeLessThanOrEqual(1 + 50 + 5 * seconds);
    });
  }

  test("100 idle clients of one address shut nobody else out", async () => {
    await using server = serve();
    const port = await server.port();
    const idle = [];
    for (let count = 0; count < 100; count++) idle.push(await logIn(port, `idle${count}`));
    using honest = await logIn(port, "honest", "1".repeat(32), "127.0.0.2");
    expect(honest.welcome.here).toHaveLength(99); // the newest one made room
    expect(await idle[99].next("the end")).toBeUndefined();
    expect(await server.next("stderr")).toBe(
      `error: ${idle[99].line.name}: too many connections from 127.0.0.1 (EBUSY)`,
    );
    using again = await dial(port); // and that address gets no place in exchange
    await again.send({ type: "login", version: 1, name: "idle99", secret: SECRET }).catch(() => {});
    expect(await again.next("welcome")).toBeUndefined();
    await honest.send({ type: "who" });
    expect((await honest.next("people")).here).toContain("honest");
    for (const peer of idle) peer[Symbol.dispose]();
  });

  for (const runtime of EVERYWHERE) {
    test(`a client that was refused, and does not hang up, has its place until the server does, on ${runtime}`, async () => {
      await using server = serve([], runtime);
      const port = await server.port();
      const refused: Peer[] = [];
      for (let count = 0; count < 100; count++) {
        refused.push(await logIn(port, `gone${count}`, SECRET, `127.0.0.${1 + count % 2}`));
      }
      for (const peer of refused) await peer.send({ type: "login", version: 1, name: "x", secret: SECRET });
      for (const peer of refused) expect(await peer.next("the end")).toBeUndefined(); // and we do not hang up
      using more = await dial(port, "127.0.0.1"); // half of the places are this address's already
      await more.send({ type: "login", version: 1, name: "more", secret: SECRET }).catch(() => {});
      expect(await more.next("welcome")).toBeUndefined();
      using other = await logIn(port, "other", SECRET, "127.0.0.3"); // one of them makes room
      expect(other.welcome.here).toEqual([]);
      for (const peer of refused) peer[Symbol.dispose]();
      await until(async () => {
        using again = await dial(port, "127.0.0.2");
        await again.send({ type: "login", version: 1, name: "again", secret: SECRET }).catch(() => {});
        return await again.next("welcome") !== undefined;
      }, "a place");
    });
  }

  test("all clients of one address together: 2,000 messages, then 100 a second", async () => {
    await using server = serve();
    const port = await server.port();
    const begin = performance.now();
    const crowd = [];
    for (let count = 0; count < 45; count++) {
      crowd.push(await logIn(port, `crowd${count}`, `${count}`.padStart(32, "0")));
    }
    const messages = Array.from({ length: 49 }, (_, id) => frame({ ...ask, id, to: "nobody", text: "x" }));
    let passed = 0;
    for (const peer of crowd) {
      await peer.line.send(Buffer.concat(messages));
      for (let count = 0; count < 49; count++) if ((await peer.next("sorry")).code === "ENOENT") passed++;
    }
    const seconds = Math.ceil((performance.now() - begin) / 1000);
    expect(passed).toBeWithin(2000, 2000 + 100 * seconds + 1);
    using other = await logIn(port, "other", SECRET, "127.0.0.2"); // another address has its own
    await other.send({ ...ask, id: 1, to: "nobody", text: "x" });
    expect(await other.next("sorry")).toMatchObject({ code: "ENOENT" });
    for (const peer of crowd) peer[Symbol.dispose]();
  });

  test("invented names drop nothing that is kept for somebody real", async () => {
    await using server = serve();
    const port = await server.port();
    const away = Array.from({ length: 30 }, (_, count) => `away${count}`);
    for (const name of away) {
      using gone = await logIn(port, name);
      gone.line.hangUp();
      await untilLine(server, `${name} left`);
    }
    using honest = await logIn(port, "honest", "1".repeat(32));
    for (const [at, to] of away.entries()) await honest.send({ ...ask, id: at + 1, to, text: "kept" });
    using attacker = await logIn(port, "attacker", "2".repeat(32));
    for (let round = 0; round < 3; round++) {
      const also = Array.from({ length: 200 }, (_, count) => `invented${round}-${count}`);
      await attacker.send({ ...ask, id: round + 1, text: "x", also });
    }
    await attacker.send({ type: "who" });
    const { away: listed } = await attacker.next("people");
    expect(listed.length).toBeLessThanOrEqual(130); // of the invented ones, 100
    expect(listed).toEqual(expect.arrayContaining(away));
    for (const [at, name] of away.entries()) {
      using back = await logIn(port, name);
      expect(await back.next("message")).toMatchObject({ id: at + 1, from: "honest", text: "kept" });
    }
  });

  test("a flood of messages for somebody who is away does not drop those of others", async () => {
    await using server = serve();
    const port = await server.port();
    {
      using gone = await logIn(port, "gone");
      gone.line.hangUp();
      await untilLine(server, "gone left");
    }
    using honest = await logIn(port, "honest", "1".repeat(32));
    await honest.send({ ...ask, id: 1, to: "gone", text: "kept" });
    await honest.next("taken");
    for (let number = 0; number < 5; number++) {
      using attacker = await logIn(port, `attacker${number}`, `${number}`.repeat(32));
      for (let id = 1; id <= 48; id++) await attacker.send({ ...ask, id, to: "gone", text: "x" });
      await attacker.send({ type: "who" });
      await attacker.next("people");
    }
    using back = await logIn(port, "gone");
    const first = await back.next("message");
    expect(first).toMatchObject({ id: 1, from: "honest", text: "kept" });
  });

  test("names that look alike, or like nothing, are refused", async () => {
    await using server = serve();
    const port = await server.port();
    using _anna = await logIn(port, "anna");
    using _lisa = await logIn(port, "Iisa", "1".repeat(32));
    using _coco = await logIn(port, "coco", "2".repeat(32));
    const wrong = [
      "\u2800",
      "anna\u2800",
      "anna\u2800(direct)",
      "anna(direct)",
      "\u0430nna",
      "ann\u0251",
      "a,b",
    ];
    for (const name of wrong) {
      using peer = await dial(port);
      await peer.send({ type: "login", version: 1, name, secret: "3".repeat(32) });
      expect([name, (await peer.next("refused"))?.code]).toEqual([name, "EINVAL"]);
    }
    const taken = { "ａｎｎａ": "", "lisa": "Iisa", "1isa": "Iisa", "\u0441\u043e\u0441\u043e": "coco" };
    for (const [name, other] of Object.entries(taken)) {
      using peer = await dial(port);
      await peer.send({ type: "login", version: 1, name, secret: "3".repeat(32) });
      const why = other === "" ? "this name is taken" : `looks like ${other}, which is taken`;
      expect(await peer.next("refused")).toMatchObject({ code: "EEXIST", why });
    }
    // An invented name keeps nobody out, nor does one that has left.
    using attacker = await logIn(port, "attacker", "4".repeat(32));
    await attacker.send({ ...ask, id: 1, text: "x", also: ["b0b"] });
    await attacker.next("taken");
    expect((await logIn(port, "bOb", "5".repeat(32))).welcome).toBeDefined();
    using first = await logIn(port, "tim1", "6".repeat(32));
    first.line.hangUp();
    await untilLine(server, "tim1 left");
    expect((await logIn(port, "timl", "7".repeat(32))).welcome).toBeDefined();
  });

  test("an endpoint counts when its datagrams arrive: a forged sender is not introduced to anybody", async () => {
    await using server = serve();
    const port = await server.port();
    using attacker = await logIn(port, "attacker");
    using victim = await logIn(port, "victim", "1".repeat(32));
    await using letters = await letterbox();
    await register(letters, port, victim.welcome.token, "victim");
    // What a forger gets of the answer, which goes to the forged sender: nothing. So it can only guess the cookie.
    await using forged = await letterbox();
    for (const cookie of ["00".repeat(8), "ff".repeat(8)]) {
      await forged.send(registration(attacker.welcome.token, "attacker", { cookie }), port);
      expect((await forged.next())[0]).toHaveLength(47); // 62 bytes asked for it
    }
    await attacker.send({ type: "direct", name: "victim" });
    expect(await attacker.next("sorry")).toMatchObject({ name: "victim", code: "ENOTCONN" });
    // Nor does a cookie count for another endpoint.
    await using own = await letterbox();
    const [answer] = await register(own, port, attacker.welcome.token, "attacker");
    const cookie = answer.toString("hex", 21, 29);
    await forged.send(registration(attacker.welcome.token, "attacker", { cookie }), port);
    expect((await forged.next())[0].toString("hex", 21, 29)).not.toBe(cookie);
    await attacker.send({ type: "direct", name: "victim" });
    expect(await victim.next("direct")).toMatchObject({ side: 1, endpoints: [`127.0.0.1:${own.port}`] });
    // And nobody is asked for direct ways without end.
    for (let count = 0; count < 20; count++) await attacker.send({ type: "direct", name: "victim" });
    await attacker.send({ type: "who" });
    const told = await attacker.until("people");
    expect(told.filter(({ type }) => type === "direct").length).toBeLessThanOrEqual(1 + 2);
    expect(told.filter(({ code }) => code === "EBUSY").length).toBeGreaterThanOrEqual(18);
  });
});

describe.concurrent("a peer that is dead without a word", () => {
  for (const runtime of EVERYWHERE) {
    test(`the server notices a caller who does not log in, on ${runtime}`, async () => {
      await using server = hurried(60, "apps/messenger-server", ["--port", "0"], { runtime });
      using _silent = await call(await server.port());
      expect(await server.next("stderr")).toMatch(/: no login within 5 seconds \(ETIMEDOUT\)$/);
    });

    test(`the server notices a client that is silent, on ${runtime}`, async () => {
      await using server = hurried(20, "apps/messenger-server", ["--port", "0"], { runtime });
      const port = await server.port();
      server.signal("SIGSTOP"); // so that the login is there when it accepts
      const dead = connect(port, "127.0.0.1").on("error", () => {});
      dead.write(frame({ type: "login", version: 1, name: "dead", secret: SECRET }));
      await once(dead, "connect");
      await until(() => dead.bytesWritten > 0 && dead.writableLength === 0, "the login to be on its way");
      server.signal("SIGCONT");
      expect(await server.next()).toStartWith("dead logged in from 127.0.0.1:");
      expect(await server.next("stderr")).toBe("error: dead: silent for 30 seconds (ETIMEDOUT)");
      dead.destroy();
    });

    test(`nobody is silent to a server, or a client, that stood still itself for 40 seconds, on ${runtime}`, async () => {
      const options = { runtime };
      await using server = hurried(20, "apps/messenger-server", ["--port", "0"], options);
      const port = await server.port();
      await using listener = await listen(await freePort());
      await using program = hurried(
        20,
        "apps/messenger-client",
        ["--port", `${listener.port}`, "one"],
        options,
      );
      const peer = await caller(listener);
      await peer.send({ type: "welcome", token: SECRET, here: [] });
      expect(await program.next()).toBe("logged in as one, but not seen by UDP");
      using logins = new DisposableStack();
      const logsIn = async () => logins.use(await logIn(port, "honest"));
      let honest = await logsIn();
      for (let more = 9; more > 0 && !honest.welcome; more--) honest = await logsIn(); // it has 250 ms, on a busy machine
      const before = server.seen.stderr.length;
      const talk = setInterval(() => {
        for (const [one, type] of [[honest, "ping"], [peer, "pong"]] as const) {
          one.send({ type }).catch(() => {});
        }
      }, 100);
      try {
        for (const one of [server, program]) one.signal("SIGSTOP");
        await setTimeout(2000);
        for (const one of [server, program]) one.signal("SIGCONT");
        await setTimeout(1200); // two more rounds
        await honest.send({ type: "who" });
        expect((await honest.next("people"))?.here).toEqual(["honest"]);
        expect(server.seen.stderr.slice(before)).toEqual([]);
        expect([program.seen.stderr, program.seen.stdout.slice(1)]).toEqual([[], []]);
      } finally {
        clearInterval(talk);
      }
    });

    test(`the client notices, on ${runtime}`, async () => {
      await using listener = await listen(await freePort());
      const words = ["--port", `${listener.port}`, "one"];
      await using program = hurried(10, "apps/messenger-client", words, { runtime });
      const peer = await caller(listener);
      await peer.send({ type: "welcome", token: SECRET, here: [] });
      expect(await program.next()).toBe("logged in as one, but not seen by UDP");
      expect(await program.next()).toBe("the server is gone: trying again, with growing pauses");
    });
  }

  test("the client registers again and again, so that no NAT forgets it", async () => {
    const port = await freePort();
    await using letters = await letterbox(port);
    await using listener = await listen(port);
    await using _program = hurried(30, "apps/messenger-client", ["--port", `${port}`, "one"], {
      runtime: "node",
    });
    const peer = await caller(listener);
    await peer.send({ type: "welcome", token: SECRET, here: [] });
    const seen = Buffer.from("0001" + "00".repeat(10) + "ffff7f000001", "hex");
    const pongs = setInterval(() => peer.send({ type: "pong" }).catch(() => {}), 50); // the session goes on
    for (let count = 0; count < 6;) { // up to four are its login
      const [data, from] = await letters.next();
      if (data.length === 0) continue; // it only opens the client's port
      count++;
      const answer = [Buffer.from("SbE\x01\x02"), Buffer.from(SECRET, "hex"), data.subarray(21, 29), seen];
      await letters.send(Buffer.concat(answer), from.port);
    }
    clearInterval(pongs);
  });

  test("the pauses of a client whose server is gone grow", async () => {
    await using listener = await listen(await freePort());
    const words = ["--port", `${listener.port}`, "one"];
    await using program = hurried(20, "apps/messenger-client", words, { runtime: "node" });
    const peer = await caller(listener);
    await peer.send({ type: "welcome", token: SECRET, here: [] });
    expect(await program.next()).toStartWith("logged in as one");
    peer.line.hangUp();
    const times: number[] = [];
    while (times.length < 7) {
      const again = await listener.accept();
      times.push(performance.now());
      again.hangUp();
    }
    // 1, 2, 4, 8, 15 and 15 s, or half as long: at least 22.5 s, a twentieth of which has passed. Always half a
    // second, it would be 3 s at most.
    expect(times[6] - times[0]).toBeGreaterThan(600);
  });

  test("a client that asks, and reads nothing, is disconnected", async () => {
    await using server = hurried(5, "apps/messenger-server", ["--port", "0"]); // 250 requests a second
    const port = await server.port();
    for (let count = 0; count < 90; count++) { // long names, in a list of them all
      const name = `${"猫".repeat(29)}${count + 100}`;
      using peer = await logIn(port, name, `${count}`.padStart(32, "0"), `127.2.0.${count + 1}`);
      expect(peer.welcome).toBeDefined();
    }
    using deaf = await logIn(port, "deaf");
    deaf.line.socket.pause();
    const asking = setInterval(() => deaf.send({ type: "who" }).catch(() => {}), 5);
    const told = `error: ${deaf.line.name}: does not read what it gets (ENOBUFS)`;
    await until(() => server.seen.stderr.includes(told), told).finally(() => clearInterval(asking));
  });
});

test.concurrent("a hostile server: what it sends is no message, or drives no terminal", async () => {
  await using listener = await listen(await freePort());
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

test.concurrent("a server that names endpoints: a client that did not ask sends 4 datagrams to one of them", async () => {
  await using listener = await listen(await freePort());
  await using program = script("apps/messenger-client", ["--port", `${listener.port}`, "one"]);
  const peer = await caller(listener);
  await peer.send({ type: "welcome", token: SECRET, here: [] });
  await program.next(); // logged in
  const boxes = [await letterbox(), await letterbox(), await letterbox()];
  try {
    const came = [0, 0, 0];
    const bytes = [0, 0, 0];
    const count = async (at: number) => {
      for (let data = await boxes[at].next(); data; data = await boxes[at].next()) {
        came[at]++;
        bytes[at] += data[0].length;
      }
    };
    for (const at of [0, 1, 2]) count(at).catch(() => {}); // it waits for one more until the test is over
    const direct = {
      type: "direct",
      name: "two",
      instance: "0".repeat(16),
      way: 7,
      side: 0,
      key: "0".repeat(64),
    };
    await peer.send({ ...direct, endpoints: [boxes[0].name, boxes[1].name, boxes[2].name] });
    expect(await program.next()).toBe("no direct way to two: the relay carries on");
    await settled(() => came[0]);
    expect([came, bytes]).toEqual([[4, 0, 0], [4 * 34, 0, 0]]);
    if (!EVERYTHING) return;
    // The user asks: two endpoints are tried, and no more.
    program.type("/direct two\n");
    await peer.next("direct");
    await peer.send({ ...direct, endpoints: [boxes[0].name, boxes[1].name, boxes[2].name] });
    expect(await program.next()).toBe("no direct way to two: the relay carries on");
    expect(came).toEqual([8, 4, 0]);
    // Without end: ten ways at once, and then one every two seconds.
    for (let way = 0; way < 50; way++) {
      await peer.send({ ...direct, name: `n${way}`, way, endpoints: [boxes[2].name] });
    }
    for (let way = 0; way < 9; way++) {
      expect(await program.next()).toMatch(/^no direct way to n\d: the relay carries on$/);
    }
    expect(came[2]).toBeLessThanOrEqual(4 * (9 + 4));
  } finally {
    for (const box of boxes) await box[Symbol.asyncDispose]();
  }
});

test.concurrent("a server that changes its cookie without end gets four answers at once", async () => {
  const port = await freePort();
  await using letters = await letterbox(port);
  await using listener = await listen(port);
  await using program = script("apps/messenger-client", ["--port", `${port}`, "one"]);
  const peer = await caller(listener);
  await peer.send({ type: "welcome", token: SECRET, here: [] });
  let registrations = 0;
  const answerAll = async () => {
    while (true) {
      const [data, { port }] = await letters.next();
      if (data.length === 0) continue; // it only opens the client's port
      registrations++;
      const cookie = Buffer.alloc(8, registrations);
      const seen = Buffer.from("0001" + "00".repeat(10) + "ffff7f000001", "hex");
      await letters.send(
        Buffer.concat([Buffer.from("SbE\x01\x02"), Buffer.from(SECRET, "hex"), cookie, seen]),
        port,
      );
    }
  };
  answerAll().catch(() => {}); // it waits for one more until the test is over
  expect(await program.next()).toBe("logged in as one, but not seen by UDP");
  expect(registrations).toBeLessThanOrEqual(4 + 4); // its own four, and one for each of the first four answers
});

if (EVERYTHING) {
  test.concurrent("a server that names more people than it can know", async () => {
    await using listener = await listen(await freePort());
    await using program = script("apps/messenger-client", ["--port", `${listener.port}`, "one"]);
    const first = await caller(listener);
    await first.send({ type: "welcome", token: SECRET, here: [] });
    for (let number = 0; number < 300; number++) {
      await first.send({ type: "back", name: `n${number}`, again: false });
    }
    await untilLine(program, "n299 is here");
    first.line.hangUp();
    const second = await caller(listener);
    await second.send({ type: "welcome", token: SECRET, here: [] });
    await untilLine(program, "connected again");
    program.type("hi\n");
    const { also } = await second.next("send");
    expect(also).toEqual(Array.from({ length: 200 }, (_, at) => `n${at + 100}`));
  });
}

test.concurrent("a server that reads no acknowledgements is read no more", async () => {
  await using listener = await listen(await freePort());
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
  await using listener = await listen(await freePort());
  await using program = script("apps/messenger-client", ["--port", `${listener.port}`, "one"]);
  const peer = await caller(listener);
  await peer.send({ type: "welcome", token: SECRET, here: [] });
  await program.next(); // logged in
  await peer.send({ type: "back", name: "x".repeat(30_000), again: false });
  expect(await program.next()).toBe("the server is gone: trying again, with growing pauses");
});

test.skipIf(process.platform !== "linux")(
  "nobody reads what the server prints: those who come and go fill no memory (needs Linux)",
  async () => {
    await using server = serve();
    const port = await server.port();
    const before = peak(server);
    server.stopReading();
    let served = 0;
    for (; served < 5000; served++) {
      using peer = await dial(port, `127.1.${served >> 8}.${served & 255}`);
      const login = { type: "login", version: 1, name: `${served}${"x".repeat(20)}`, secret: SECRET };
      await peer.send(login).catch(() => {});
      const welcome = await peer.next("welcome");
      if (!welcome) break; // all places are taken by callers who wait for their line
      expect(welcome.here.length).toBeLessThanOrEqual(100);
    }
    expect(served).toBeWithin(500, 5000); // 2,000 lines wait, two for each
    expect(peak(server) - before).toBeLessThan(100); // MiB
    server.startReading();
    // A client that hangs up while the server sends to it resets the connection: then an error stands for "left".
    const over = [/ left$/, /^error: \d+x{20}: /];
    const lines = () => [...server.seen.stdout, ...server.seen.stderr];
    await until(
      () => lines().filter((line) => over.some((end) => end.test(line))).length >= served,
      "all lines",
    );
    using late = await logIn(port, "late", "f".repeat(32));
    expect(late.welcome).toBeDefined();
  },
);
