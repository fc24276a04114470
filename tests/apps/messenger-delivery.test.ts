/** Lesson 4.4: each message arrives once, in order, and is acknowledged, whoever is away, and whatever is killed. (thorough) */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { EVERYTHING, EVERYWHERE, type Program, script } from "../engine/program.ts";
import { freePort, listen } from "../engine/sockets.ts";
import {
  ask,
  caller,
  client,
  lines,
  logIn,
  type Message,
  RUNTIMES,
  SECRET,
  serve,
  until,
} from "./messenger-peers.ts";

setDefaultTimeout(60_000);

describe("piped lines", () => {
  for (const count of EVERYTHING ? [500] : [80]) {
    test(`${count} arrive whole and in order, and are all acknowledged`, async () => {
      await using server = serve();
      const port = await server.port();
      await using reader = await client("reader", port, { limit: 40_000 });
      await using writer = await client("writer", port, { runtime: "node", limit: 40_000 });
      expect(await reader.next()).toBe("writer is here");
      const texts = Array.from({ length: count }, (_, index) => `第 ${index} 行`);
      writer.type(`${texts.join("\n")}\n`);
      writer.endOfInput();
      expect(await writer.result()).toMatchObject({ code: 0, stderr: "" });
      expect(await lines(reader, count)).toEqual(texts.map((text) => `writer > ${text}`));
      server.signal("SIGINT");
      expect((await server.result()).stderr).toBe("");
    });
  }
});

if (EVERYTHING) {
  test("lines that a server held back take together are not too fast: none is lost", async () => {
    await using server = serve();
    const port = await server.port();
    await using reader = await client("reader", port, { limit: 20_000 });
    await using writer = await client("writer", port, { limit: 20_000 });
    const texts = Array.from({ length: 120 }, (_, index) => `${index}`);
    server.signal("SIGSTOP");
    writer.type(texts.map((text) => `${text}\n`).join(""));
    writer.endOfInput();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    server.signal("SIGCONT");
    expect(await writer.result()).toMatchObject({ code: 0, stderr: "" });
    await until(reader, "writer is away");
    const shown = reader.seen.stdout.filter((line) => line.includes(" > "));
    expect(shown).toEqual(texts.map((text) => `writer > ${text}`));
  });
}

describe("away, and back", () => {
  test("100 are kept, the oldest go of the sender with the most, and that sender is told", async () => {
    await using server = serve();
    const port = await server.port();
    {
      using gone = await logIn(port, "gone");
      gone.line.hangUp();
      await until(server, "gone left");
    }
    const writers = [];
    let last: Message[] = [];
    for (const [index, name] of ["a", "b", "c"].entries()) { // each below the limit of the flood
      const writer = await logIn(port, name, `${index}`.repeat(32));
      writers.push(writer);
      for (let id = 1; id <= 35; id++) {
        await writer.send({ ...ask, id, to: id % 2 ? "gone" : null, text: `${name} ${id}` });
      }
      await writer.send({ type: "who" });
      last = await writer.until("people");
    }
    // The 101st comes when a and b have 35 each, and c has 31; the 105th when a and b have 33, and c has 35.
    const dropped: Record<string, number[]> = { a: [1, 2], b: [1, 2], c: [1] };
    for (const [at, ids] of Object.values(dropped).slice(0, 2).entries()) {
      for (const id of ids) {
        expect(await writers[at].next("sorry")).toMatchObject({ id, name: "gone", code: "ENOBUFS" });
      }
    }
    const sorry = last.filter(({ type }) => type === "sorry");
    expect(sorry).toMatchObject([{ id: 1, name: "gone", code: "ENOBUFS" }]);
    await using back = await client("gone", port);
    expect(await back.next()).toBe("on line: a, b, c");
    const history = await lines(back, 100);
    const time = String.raw`\d{4}-\d\d-\d\d \d\d:\d\d`;
    const kept = ["a", "b", "c"].flatMap((name) =>
      Array.from({ length: 35 }, (_, at) => ({ name, id: at + 1 }))
    );
    const left = kept.filter(({ name, id }) => !dropped[name].includes(id));
    for (const [index, { name, id }] of left.entries()) {
      const mark = id % 2 ? "to you, " : "";
      expect(history[index]).toMatch(RegExp(`^${name} \\(${mark}${time}\\) > ${name} ${id}$`));
    }
    for (let id = 2; id <= 35; id++) {
      expect(await writers[2].next("had")).toMatchObject({ id, name: "gone" });
    }
    for (const writer of writers) writer[Symbol.dispose]();
    back.endOfInput();
    expect(await back.result()).toMatchObject({ code: 0, stderr: "" });
  });

  test("a message to nobody, to oneself, and one that nobody confirmed, on leaving", async () => {
    await using server = serve();
    const port = await server.port();
    using _ = await logIn(port, "away");
    _.line.hangUp();
    await until(server, "away left");
    await using program = await client("one", port);
    program.type("/to nobody hi\n/to one hi\n/nonsense\n/to one\n/direct away\n/to away hello\n\nexit\n");
    const { code, stdout, stderr } = await program.result();
    expect(code).toBe(1);
    expect(stdout.split("\n").slice(1)).toEqual(["away is away: the server keeps it", ""]);
    expect(stderr.split("\n").sort()).toEqual([
      "",
      "error: /nonsense: no such command: /help shows what there is (EINVAL)",
      "error: /to one: no such command: /help shows what there is (EINVAL)",
      "error: away: not on line (ENOTCONN)",
      "error: nobody: nobody of this name was here (ENOENT)",
      "error: one: that is you (ENOENT)",
      "hint: away is away: the server keeps 1 message of yours",
    ]);
  });

  if (EVERYTHING) {
    test.concurrent("a server that does not come back: told after 10 s, exit code 1", async () => {
      await using server = serve();
      await using program = await client("one", await server.port(), { limit: 20_000 });
      server.signal("SIGKILL");
      expect(await program.next()).toBe("the server is gone: trying again, with growing pauses");
      program.type("hello\n");
      program.endOfInput();
      const { code, stderr } = await program.result();
      expect(code).toBe(1);
      expect(stderr).toMatch(/^error: 127\.0\.0\.1:\d+: has not acknowledged 1 message \(ETIMEDOUT\)\n$/);
    });

    test.concurrent("a pipe of more lines than may wait does not wait for such a server for ever", async () => {
      await using server = serve();
      await using program = await client("one", await server.port(), { limit: 20_000 });
      server.signal("SIGKILL");
      expect(await program.next()).toBe("the server is gone: trying again, with growing pauses");
      program.type("hello\n".repeat(80));
      program.endOfInput();
      const { code, stderr } = await program.result();
      expect(code).toBe(1);
      expect(stderr.replaceAll(/127\.0\.0\.1:\d+/g, "SERVER")).toBe(
        "error: SERVER: gone for 10 seconds: the rest of the input is not read (ETIMEDOUT)\n" +
          "error: SERVER: has not acknowledged 50 messages (ETIMEDOUT)\n",
      );
    });

    test.concurrent("a receiver that never confirms: told after 10 s, exit code 1", async () => {
      await using server = serve();
      const port = await server.port();
      using _mute = await logIn(port, "mute");
      await using program = await client("one", port, { limit: 20_000 });
      program.type("/to mute hello\nto all\n");
      program.endOfInput();
      expect(await program.result()).toMatchObject({
        code: 1,
        stderr: "error: mute: has not acknowledged 2 messages (ETIMEDOUT)\n",
      });
    });
  }
});

test("who has a message is told by the one who has it, never by the server; twice given is shown once", async () => {
  await using server = serve();
  const port = await server.port();
  using one = await logIn(port, "one");
  await using two = await client("two", port);
  await one.next("back");
  await one.send({ ...ask, id: 7, text: "once" });
  expect(await one.next("taken")).toEqual({ type: "taken", id: 7, here: ["two"], away: [] });
  expect(await one.next("had")).toEqual({ type: "had", id: 7, name: "two" });
  await one.send({ ...ask, id: 7, text: "once", also: ["two"] });
  expect(await one.next("had")).toEqual({ type: "had", id: 7, name: "two" }); // a double is confirmed, too
  await one.send({ ...ask, id: 8, to: "two", text: "last" });
  await one.next("had");
  expect(await lines(two, 3)).toEqual(["on line: one", "one > once", "one (to you) > last"]);
  // Somebody else cannot confirm in two's name, nor take one's messages off the server.
  using three = await logIn(port, "three");
  await one.send({ ...ask, id: 9, to: "three", text: "never confirmed" });
  const { instance } = await three.next("message");
  using four = await logIn(port, "four");
  await four.send({ type: "have", id: 9, from: "one", instance });
  await four.send({ type: "who" });
  await four.next("people");
  await one.send({ type: "who" });
  await one.next("taken");
  const seen = [];
  for (let message = await one.next("people"); message; message = undefined) seen.push(message.type);
  expect(seen).toEqual(["people"]);
  three.line.reset();
  await one.next("away");
  await one.send({ ...ask, id: 9, to: "three", text: "never confirmed" }); // handed in again: kept once
  await one.send({ ...ask, id: 10, to: "three", text: "the last" });
  await one.next("taken");
  await one.next("taken");
  using again = await logIn(port, "three");
  expect(await again.next("message")).toMatchObject({ id: 9, late: true });
  expect(await again.next("message")).toMatchObject({ id: 10, late: true });
});

describe("the server is killed and started again", () => {
  for (const runtime of EVERYWHERE) {
    test(`what is typed meanwhile arrives once, private and to all, on ${runtime}`, async () => {
      await using first = serve(["--port", `${await freePort()}`], runtime); // where another one comes
      const port = await first.port();
      await using one = await client("张三", port, { runtime });
      await using two = await client("李四", port, { runtime });
      await using three = await client("王五", port, { runtime });
      await until(one, "王五 is here");
      await until(two, "王五 is here");
      await until(three, "on line: 张三, 李四");
      one.type("before\n");
      expect(await two.next()).toBe("张三 > before");
      expect(await three.next()).toBe("张三 > before");
      first.signal("SIGKILL");
      const gone = "the server is gone: trying again, with growing pauses";
      for (const program of [one, two, three]) expect(await program.next()).toBe(gone);
      one.type("to all 1\n/to 李四 private 2\nto all 3\n");
      await using second = script("apps/messenger-server", ["--port", `${port}`], { runtime });
      await second.port();
      const heard = async (program: Program, wanted: string[]) => {
        const found: string[] = [];
        while (found.length < wanted.length) {
          const line = await program.next();
          if (line === undefined) break;
          if (line.includes(" > ")) found.push(line.replace(/, \d{4}-.*(?=\))| \(\d{4}-.*\)/, ""));
        }
        return found;
      };
      const wanted = ["张三 > to all 1", "张三 (to you) > private 2", "张三 > to all 3"];
      expect(await heard(two, wanted)).toEqual(wanted);
      expect(await heard(three, wanted.toSpliced(1, 1))).toEqual(wanted.toSpliced(1, 1));
      one.endOfInput();
      expect(await one.result()).toMatchObject({ code: 0, stderr: "" }); // all of it was acknowledged
      for (const program of [two, three]) {
        await until(program, "张三 is away");
        program.endOfInput();
        expect(await program.result()).toMatchObject({ code: 0, stderr: "" });
        expect(program.seen.stdout.filter((line) => line.includes(" > "))).toHaveLength(
          program === two ? 4 : 3,
        );
        expect(program.seen.stdout.filter((line) => line === "connected again")).toHaveLength(1);
      }
    });
  }

  test("in the middle of many: each arrives once, in order, and is acknowledged", async () => {
    await using first = serve(["--port", `${await freePort()}`]); // where another one comes
    const port = await first.port();
    await using reader = await client("reader", port, { limit: 30_000 });
    await using writer = await client("writer", port, { limit: 30_000 });
    const texts = Array.from({ length: EVERYTHING ? 140 : 90 }, (_, index) => `${index}`);
    writer.type(texts.map((text) => `${text}\n`).join(""));
    await until(reader, "writer > 45");
    first.signal("SIGKILL");
    await first.ended();
    await using second = script("apps/messenger-server", ["--port", `${port}`]);
    await second.port();
    writer.endOfInput();
    expect(await writer.result()).toMatchObject({ code: 0, stderr: "" });
    await until(reader, "writer is away");
    const shown = reader.seen.stdout.filter((line) => line.includes(" > "));
    expect(shown.map((line) => line.replace(/^.* > /, ""))).toEqual(texts);
  });

  test("whoever comes back late gets what was handed in before, and so does who was away", async () => {
    await using first = serve(["--port", `${await freePort()}`]); // where another one comes
    const port = await first.port();
    using gone = await logIn(port, "gone");
    gone.line.hangUp();
    await until(first, "gone left");
    await using one = await client("one", port);
    await using two = await client("two", port);
    await using three = await client("three", port);
    await until(one, "three is here");
    one.type("/to gone for later\n");
    expect(await one.next()).toBe("gone is away: the server keeps it");
    two.signal("SIGSTOP");
    three.signal("SIGSTOP");
    one.type("/to two taken, but not confirmed\n/who\n");
    expect(await one.next()).toBe("on line: one, two, three; away: gone");
    first.signal("SIGKILL");
    expect(await one.next()).toBe("the server is gone: trying again, with growing pauses");
    one.type("to all\n");
    await using second = script("apps/messenger-server", ["--port", `${port}`]);
    await second.port();
    expect(await one.next()).toBe("connected again");
    // Only now, so that one is back before two.
    expect(await one.next()).toBe("two is away: the server keeps it");
    two.signal("SIGCONT");
    const time = String.raw`\d{4}-\d\d-\d\d \d\d:\d\d`;
    for (let line = await two.next(); !line?.endsWith(" > to all"); line = await two.next()) {
      expect(line).toBeDefined();
    }
    // It may have had the first one in its receive buffer already: then this is the second time.
    expect(two.seen.stdout.filter((line) => line.endsWith(" > taken, but not confirmed"))).toHaveLength(1);
    expect(two.seen.stdout.at(-1)).toMatch(RegExp(`^one \\(${time}\\) > to all$`));
    three.signal("SIGCONT");
    await until(three, "connected again");
    expect(await three.next()).toBe("on line: one, two");
    expect(await three.next()).toMatch(RegExp(`^one \\(${time}\\) > to all$`));
    await using back = await client("gone", port);
    expect(await back.next()).toBe("on line: one, two, three");
    expect(await back.next()).toMatch(RegExp(`^one \\(to you, ${time}\\) > for later$`));
    await until(one, "gone is back");
    one.endOfInput();
    expect(await one.result()).toMatchObject({ code: 0, stderr: "" });
  });

  test("lines wait for a server that does not take them", async () => {
    await using listener = await listen(await freePort());
    await using program = script("apps/messenger-client", ["--port", `${listener.port}`, "one"]);
    const peer = await caller(listener);
    await peer.send({ type: "welcome", token: SECRET, here: ["two"] });
    expect(await program.next()).toBe("logged in as one, but not seen by UDP");
    program.type("line\n".repeat(600));
    for (let id = 1; id <= 20; id++) expect(await peer.next("send")).toMatchObject({ id });
    await peer.send({ type: "people", here: [], away: [] });
    expect(await lines(program, 2)).toEqual(["on line: two", "on line: "]);
    expect(program.seen.stderr).toEqual([]); // none was too old to be kept
  });

  for (const runtime of EVERYTHING ? RUNTIMES : []) {
    test.concurrent(`the pauses grow, and are not the same for all, on ${runtime}`, async () => {
      await using listener = await listen(await freePort());
      const words = ["--port", `${listener.port}`, "one"];
      await using program = script("apps/messenger-client", words, { runtime });
      const calls: number[] = [];
      while (calls.length < 4) {
        const peer = await caller(listener);
        calls.push(performance.now());
        if (calls.length === 1) {
          await peer.send({ type: "welcome", token: SECRET, here: [] });
          expect(await program.next()).toBe("logged in as one, but not seen by UDP");
        }
        peer.line.reset();
      }
      const pauses = calls.slice(1).map((time, index) => time - calls[index]);
      expect(pauses[1]).toBeGreaterThanOrEqual(490);
      expect(pauses[2]).toBeGreaterThanOrEqual(990);
    });
  }
});
