/** Lessons 4.1 and 4.2: the rules that need no network: frames, waiting, parts, places, callers. */
import { afterEach, beforeEach, describe, expect, jest, type Mock, spyOn, test } from "bun:test";
import { createHash } from "node:crypto";
import { EventEmitter } from "node:events";
import {
  link,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  stat,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import type { Socket } from "node:net";
import { basename } from "node:path";
import process from "node:process";
import type { Failure } from "../../lib/failure.ts";
import { Callers } from "../../scripts/apps/download/callers.ts";
import { Comparisons } from "../../scripts/apps/download/comparisons.ts";
import { Lists } from "../../scripts/apps/download/lists.ts";
import { Memory } from "../../scripts/apps/download/memory.ts";
import { type Part, Parts, SmallPart } from "../../scripts/apps/download/part.ts";
import { byteCount, FrameStream, milliseconds, throwError } from "../../scripts/apps/download/protocol.ts";
import { makeWay, placeOf } from "../../scripts/apps/download/way.ts";
import { replaceable } from "../../scripts/apps/replace.ts";
import { folder, frame, message } from "./download-peers.ts";

const code = (error: unknown) => (error as Failure).code;

/** The clock, in milliseconds: it stands still unless a test moves it. */
let clock = 0;
let now: Mock<() => number>;
beforeEach(() => {
  clock = 0;
  now = spyOn(performance, "now").mockImplementation(() => clock);
});
afterEach(() => now.mockRestore());

/** A stream of frames that comes in these reads, and what is written to its other end. */
function streamOf(
  reads: Iterable<Uint8Array>,
  more: { longestFrame?: number; longestWrite?: number; moved?: () => void } = {},
) {
  const sent: unknown[] = [];
  const socket = {
    destroyed: false,
    errored: undefined as unknown,
    writableLength: 0,
    destroy(error: unknown) {
      Object.assign(socket, { destroyed: true, errored: error });
    },
    write(bytes: Buffer, done: () => void) {
      sent.push(JSON.parse(bytes.toString("utf8", 5)));
      done();
    },
  };
  const chunks = (async function* () {
    for (const read of reads) yield Buffer.from(read);
  })();
  return { frames: new FrameStream(socket as unknown as Socket, "peer", { chunks, ...more }), socket, sent };
}

describe("frames", () => {
  const wrong: [what: string, bytes: Buffer, code: string][] = [
    ["a length beyond the limit, as soon as it is there", frame(0, "", 131_073).subarray(0, 4), "EMSGSIZE"],
    ["no kind", Buffer.alloc(4), "EPROTO"],
    ["an unknown kind", frame(2, "x"), "EPROTO"],
    ["an empty message", frame(0, ""), "EPROTO"],
    ["no JSON", frame(0, "hello"), "EPROTO"],
    ...["null", "[]", "7", '"text"'].map((
      json,
    ): [string, Buffer, string] => [json, frame(0, json), "EPROTO"]),
    ["an end inside a length", frame(0, "{}").subarray(0, 3), "EPROTO"],
    ["an end inside a message", frame(0, "{}").subarray(0, 6), "EPROTO"],
    ["an end inside a piece", frame(1, "abc").subarray(0, 4), "EPROTO"],
  ];
  test.each(wrong)("%s", async (_, bytes, expected) => {
    const { frames } = streamOf([message({ one: 1 }), bytes]);
    expect(await frames.receive()).toEqual({ kind: "message", message: { one: 1 } });
    expect(await frames.receive().catch(code)).toBe(expected);
  });

  test("of exactly the limit are taken, and each is noted", async () => {
    let moved = 0;
    const { frames } = streamOf([frame(1, "x".repeat(131_071)), message({ end: true })], {
      moved: () => moved++,
    });
    expect(await frames.receive()).toMatchObject({ kind: "piece" });
    expect(await frames.expect("end")).toEqual({ end: true });
    expect(await frames.receive()).toBeUndefined();
    expect(moved).toBe(2);
  });

  test("one that is expected: another one, an error, the end", async () => {
    const asked = async (...reads: Buffer[]) =>
      await streamOf(reads).frames.expect("from", "cancel").catch((error) => error);
    expect(await asked(message({ cancel: true }))).toEqual({ cancel: true });
    expect(await asked(message({ file: {} }))).toMatchObject({ code: "EPROTO", why: "sent no from" });
    expect(await asked(frame(1, "x"))).toMatchObject({ code: "EPROTO" });
    expect(await asked()).toMatchObject({ code: "ECONNRESET" });
    expect(await asked(message({ error: "no such file", code: "ENOENT" }))).toMatchObject({
      code: "ENOENT",
      why: "no such file",
    });
    for (const code of ["", "x", "E", "E1", "ENOENT\n", `E${"A".repeat(31)}`]) {
      expect(await asked(message({ error: "why", code }))).toMatchObject({ code: "EPROTO", why: "why" });
    }
    expect(() => throwError({ error: 7, code: "EIO" }, "peer")).toThrow("sent a broken error");
    expect(throwError({ code: "EIO" }, "peer")).toBeUndefined();
  });

  test("numbers of bytes, and times", () => {
    for (const right of [0, 1, Number.MAX_SAFE_INTEGER]) expect(byteCount(right, "peer")).toBe(right);
    for (const wrong of [-1, 0.5, 2 ** 53, Infinity, NaN, "1", null, undefined, 1n]) {
      expect(() => byteCount(wrong, "peer")).toThrow("not a number of bytes");
      if (wrong !== -1) expect(() => milliseconds(wrong, "peer")).toThrow("not a time");
    }
    expect(milliseconds(-86_400_000, "peer")).toBe(-86_400_000); // before 1970
  });
});

test("frames are held back until there are 64 KB, or for 100 ms, and leave in one write", async () => {
  let moved = 0;
  const { frames, socket } = streamOf([], { moved: () => moved++ });
  const writes: string[] = [];
  Object.assign(socket, {
    write: (bytes: Buffer, done: (error?: unknown) => void) => {
      writes.push(bytes.toString("latin1"));
      done(socket.destroyed ? new Error("a closed socket") : undefined);
    },
  });
  await frames.flush();
  expect([writes, moved]).toEqual([[], 0]);
  clock = 1000;
  expect(frames.hold({ one: 1 })).toBe(false);
  clock = 1099;
  expect(frames.hold({ two: 2 })).toBe(false);
  clock = 1100;
  expect(frames.hold({ three: 3 })).toBe(true); // since the first
  const piece = Buffer.from("-----bytes");
  frames.holdPiece(piece);
  await frames.send({ end: true });
  const json = (text: string) => `\0\0\0${String.fromCharCode(text.length + 1)}\0${text}`;
  expect([writes.splice(0), moved]).toEqual([[
    `${['{"one":1}', '{"two":2}', '{"three":3}'].map(json).join("")}\0\0\0\x06\x01bytes${
      json('{"end":true}')
    }`,
  ], 1]);
  clock = 1199;
  expect(frames.hold({})).toBe(false); // begins anew
  const empty = json("{}").length;
  frames.holdPiece(Buffer.alloc(65_536 - 2 * empty - 1));
  expect(frames.hold({})).toBe(false);
  expect(frames.hold({})).toBe(true);
  await frames.flush();
  expect(writes.splice(0).map(({ length }) => length)).toEqual([65_536 - 1 + empty]);
  expect(frames.hold({})).toBe(false);
  socket.destroy(Object.assign(new Error("reset"), { code: "ECONNRESET", syscall: "read" }));
  expect(await frames.flush().catch(code)).toBe("ECONNRESET"); // why it was closed
});

describe("waiting", () => {
  test("the time of a frame begins when it is waited for, and again when the other end says to wait", async () => {
    const drops = function* () {
      for (let count = 0; count < 3; count++) {
        clock += 900;
        yield message({ wait: true });
      }
      clock += 900;
      yield message({ end: true });
      yield message({ end: true });
    };
    const { frames } = streamOf(drops(), { longestFrame: 1000 });
    frames.allowWait(0);
    expect(await frames.expect("end")).toEqual({ end: true });
    clock += 10_000; // no frame was waited for
    expect(await frames.expect("end")).toEqual({ end: true });
  });

  test("what came in time, while the program itself stood still, is in time", async () => {
    const late = function* () {
      clock += 5000;
      yield message({ wait: true });
      clock += 5000;
      yield message({ end: true });
    };
    const { frames } = streamOf(late(), { longestFrame: 1000 });
    frames.allowWait(0);
    expect(await frames.expect("end")).toEqual({ end: true });
  });

  test("a peer may say that it is reading for ten minutes, and a second for each 10 MB; not unasked", async () => {
    const wait = message({ wait: true });
    const { frames, socket } = streamOf([wait, wait, message({ end: true }), wait]);
    frames.allowWait(10_000_000);
    clock = 601_000;
    expect(await frames.expect("end")).toEqual({ end: true });
    clock = 601_001;
    expect(await frames.expect("end").catch(code)).toBe("ETIMEDOUT");
    expect(socket.destroyed).toBe(true);
    expect(await streamOf([wait]).frames.expect("end").catch(code)).toBe("ETIMEDOUT");
  });

  test("single bytes, now and then, are no frame", async () => {
    const bytes = message({ end: true });
    const drops = function* (pause: number) {
      for (const byte of bytes) {
        yield Buffer.of(byte);
        clock += pause;
      }
    };
    const limit = { longestFrame: 1000 };
    expect(await streamOf(drops(1000 / bytes.length), limit).frames.expect("end")).toEqual({ end: true });
    expect(await streamOf(drops(1100 / (bytes.length - 1)), limit).frames.expect("end").catch(code)).toBe(
      "ETIMEDOUT",
    );
  });

  test("who lets a peer wait says so each half a second, as long as the peer reads it and is there", async () => {
    jest.useFakeTimers();
    try {
      const { frames, socket, sent } = streamOf([]);
      const work = Promise.withResolvers<void>();
      const done = frames.keepWaiting(work.promise).then(() => "done", code);
      const pass = async (count: number) => {
        for (let half = 0; half < count; half++) {
          jest.advanceTimersByTime(500);
          for (let turn = 0; turn < 20; turn++) await Promise.resolve();
        }
        return sent.splice(0).length;
      };
      expect(await pass(3)).toBe(3);
      socket.writableLength = 1;
      expect(await pass(3)).toBe(0);
      socket.writableLength = 0;
      work.resolve();
      expect(await pass(1)).toBe(0);
      expect(await done).toBe("done");
      const inVain = frames.keepWaiting(new Promise(() => {})).catch(code);
      socket.destroyed = true;
      await pass(1);
      expect(await inVain).toBe("ECONNRESET");
    } finally {
      jest.useRealTimers();
    }
  });

  test("a file is hashed from its start, which is told while it takes long, and ends with the connection", async () => {
    await using here = await folder();
    await writeFile(here.at("file"), "x".repeat(300_000));
    await using file = await open(here.at("file"));
    const { frames, socket, sent } = streamOf([]);
    const digest = async (length: number) => (await frames.hashStart(file, length)).digest("hex");
    expect(await digest(0)).toBe(createHash("sha256").digest("hex"));
    expect(await digest(250_000)).toBe(createHash("sha256").update("x".repeat(250_000)).digest("hex"));
    expect(await digest(400_000)).toBe(createHash("sha256").update("x".repeat(300_000)).digest("hex")); // it is shorter
    expect(sent).toEqual([]);
    await truncate(here.at("file"), 10 * 131_071); // ten pieces
    now.mockImplementation(() => clock += 300);
    await digest(10 * 131_071);
    expect(sent).toEqual(Array(5).fill({ wait: true })); // each second time half a second has passed
    socket.destroy(undefined);
    expect(await digest(1).catch(code)).toBe("ECONNRESET");
  });

  test("a source gets one comparison at a time, and then rests: two minutes at most", async () => {
    now.mockRestore();
    jest.useFakeTimers();
    try {
      const comparisons = new Comparisons();
      const log: string[] = [];
      /** Lets the time pass, in steps of 50 ms, and gives what has happened meanwhile. */
      const pass = async (ms: number) => {
        for (let step = 0; step < ms; step += 50) {
          jest.advanceTimersByTime(50);
          for (let turn = 0; turn < 20; turn++) await Promise.resolve();
        }
        return log.splice(0);
      };
      const ask = (name: string, takes: number, isSame: boolean) => {
        const frames = {
          peer: "it",
          socket: { remoteAddress: "192.0.2.1" },
          keepWaiting: (work: Promise<unknown>) => work,
        };
        const hash = async () => {
          log.push(`${name} begins`);
          await new Promise((resolve) => setTimeout(resolve, takes));
          return createHash("sha256");
        };
        comparisons.compare(frames as never, hash, () => isSame).then(
          () => log.push(`${name} ends`),
          (error) => log.push(`${name}: ${error.why}`),
        );
      };
      ask("one", 1000, true);
      ask("two", 50, false);
      expect(await pass(1100)).toEqual(["one begins", "one ends"]);
      expect(await pass(2700)).toEqual([]); // three times as long as it took
      expect(await pass(400)).toEqual(["two begins", "two ends"]);
      ask("three", 10_000, false); // a suspect rests 99 times as long: nearly five seconds
      expect(await pass(4500)).toEqual([]);
      expect(await pass(600)).toEqual(["three begins"]);
      expect(await pass(10_000)).toEqual(["three ends"]);
      ask("four", 100, true);
      const [refused] = await pass(100);
      expect(refused).toMatch(
        /^four: too much was compared for your address: try again in 1(19|20) seconds$/,
      );
      await pass(120_000);
      ask("five", 100, true);
      expect(await pass(300)).toEqual(["five begins", "five ends"]);
    } finally {
      jest.useRealTimers();
    }
  });

  test("who has asked too often is remembered, and 10,000 sources at most", async () => {
    now.mockRestore();
    jest.useFakeTimers();
    try {
      const comparisons = new Comparisons();
      const ask = (remoteAddress: string, isSame: boolean, mayDiffer = false) => {
        const frames = {
          peer: "it",
          socket: { remoteAddress },
          keepWaiting: (work: Promise<unknown>) => work,
        };
        const hash = () => {
          if (!isSame) jest.advanceTimersByTime(100); // as long as it takes to read the file
          return Promise.resolve(createHash("sha256"));
        };
        return comparisons.compare(frames as never, hash, () => isSame, mayDiffer).then(
          () => "compared",
          code,
        );
      };
      expect(await ask("192.0.2.1", false)).toBe("compared");
      expect(await ask("192.0.2.1", false)).toBe("EAGAIN"); // it rests for 9.9 s
      for (let count = 0; count < 9999; count++) await ask(`10.0.${count >> 8}.${count & 255}`, true);
      expect(await ask("192.0.2.1", false)).toBe("EAGAIN");
      for (let count = 0; count < 9999; count++) await ask(`10.2.${count >> 8}.${count & 255}`, true);
      expect(await ask("192.0.2.1", false)).toBe("EAGAIN"); // it had asked again: others were older
      for (let count = 0; count < 10_000; count++) await ask(`10.1.${count >> 8}.${count & 255}`, true);
      expect(await ask("192.0.2.1", false)).toBe("compared"); // forgotten: memory is bounded
      jest.advanceTimersByTime(9900);
      expect(await ask("192.0.2.1", false)).toBe("compared"); // it has rested
    } finally {
      jest.useRealTimers();
    }
  });
});

describe("a part", () => {
  const begun = async (path: string, text: string, state = "state"): Promise<Part> => {
    const { part } = await new Parts().open(path, state, await replaceable(path));
    if (text) await part.append(Buffer.from(text));
    return part;
  };

  test("without bytes goes, with bytes stays and is gone on with, and another run's is not touched", async () => {
    await using here = await folder();
    await (await begun(here.at("a"), ""))[Symbol.asyncDispose]();
    expect(await readdir(here.path)).toEqual([]);
    await (await begun(here.at("a"), "1234"))[Symbol.asyncDispose]();
    const [name] = await readdir(here.path);
    expect(name).toMatch(/^a\..*\.part$/);
    const again = await begun(here.at("a"), "56");
    expect(again.size).toBe(6);
    await again.finish(1_000_000, false);
    expect(await readFile(here.at("a"), "utf8")).toBe("123456");
    expect((await stat(here.at("a"))).mtimeMs).toBe(1_000_000);
    expect(await readdir(here.path)).toEqual(["a"]);
    const restarted = await begun(here.at("b"), "1234");
    await restarted.restart();
    expect(restarted.size).toBe(0);
    await restarted[Symbol.asyncDispose]();
    expect(await readdir(here.path)).toEqual(["a"]);
  });

  test("of a run that has ended is gone on with, or removed if the file has changed", async () => {
    await using here = await folder();
    await (await begun(here.at("a"), "1234"))[Symbol.asyncDispose]();
    const [own] = await readdir(here.path);
    const of = (pid: number, start = "1") =>
      own.replace(/-\w+-\w+\.part$/, `-${pid.toString(36)}-${start}.part`);
    await writeFile(here.at(of(2 ** 22 + 1)), "123456"); // no process has such a number
    await writeFile(here.at(of(process.ppid)), "12345678"); // nor was that one started then
    await writeFile(here.at(of(1).replace("a.", "b.")), "123456789"); // of another file
    const parts = new Parts();
    expect(parts.hasLeft(here.at("a"))).toBe(true);
    const { part, hadOther } = await parts.open(here.at("a"), "state");
    expect([part.size, hadOther]).toEqual([4, false]); // its own; the others are of no use then
    expect((await readdir(here.path)).sort()).toEqual([own, of(1).replace("a.", "b.")].sort());
    await part.discard();
    await writeFile(here.at(of(2 ** 22 + 1)), "123456");
    const next = await new Parts().open(here.at("a"), "state");
    expect([next.part.size, next.hadOther]).toEqual([6, false]);
    await next.part.append(Buffer.from("78"));
    expect(await readFile(next.part.path, "utf8")).toBe("12345678");
    await next.part.discard();
    await writeFile(here.at(of(2 ** 22 + 1)), "123456");
    const other = await new Parts().open(here.at("a"), "another state");
    expect([other.part.size, other.hadOther]).toEqual([0, true]);
    await other.part[Symbol.asyncDispose]();
    expect(await readdir(here.path)).toEqual([of(1).replace("a.", "b.")]);
  });

  test("does not get a name that another file has got, nor one that was changed meanwhile; --force replaces", async () => {
    await using here = await folder();
    const late = await begun(here.at("a"), "new");
    await writeFile(here.at("a"), "mine");
    expect(await late.finish(0, false).catch(code)).toBe("EEXIST");
    expect(await readdir(here.path)).toEqual(["a"]);
    expect(await readFile(here.at("a"), "utf8")).toBe("mine");
    const meddled = await begun(here.at("b"), "1234");
    await truncate(meddled.path, 3);
    expect(await meddled.finish(0, true).catch(code)).toBe("EBADMSG");
    await meddled.discard();
    const file = await open(here.at("a"), "r+");
    await file.chmod(0o640);
    await file.close();
    const forced = await begun(here.at("a"), "new");
    expect((await stat(forced.path)).mode & 0o777).toBe(0o600); // nobody reads it before it has its rights
    await forced.finish(0, true);
    expect([await readFile(here.at("a"), "utf8"), (await stat(here.at("a"))).mode & 0o777]).toEqual([
      "new",
      0o640,
    ]);
    expect(await readdir(here.path)).toEqual(["a"]);
  });

  test("of another machine is taken over when it has not been written for two minutes", async () => {
    await using here = await folder();
    await (await begun(here.at("a"), "1234"))[Symbol.asyncDispose]();
    const [own] = await readdir(here.path);
    const elsewhere = own.replace(
      /(?<=\.)[0-9a-f](?=[0-9a-f]{3}-\w+-\w+\.part$)/,
      (digit) => digit === "0" ? "1" : "0",
    );
    expect(elsewhere).not.toBe(own);
    await rename(here.at(own), here.at(elsewhere));
    const past = (seconds: number) => new Date(Date.now() - 1000 * seconds);
    await utimes(here.at(elsewhere), past(115), past(115));
    expect(new Parts().hasLeft(here.at("a"))).toBe(false);
    await utimes(here.at(elsewhere), past(121), past(121));
    expect(new Parts().hasLeft(here.at("a"))).toBe(true);
  });

  test("has the name of its file, of which a long one is cut", async () => {
    await using here = await folder();
    const nameOf = async (name: string) => {
      await using part = await begun(here.at(name), "1");
      return /^(.*)\.[0-9a-f]{16}\.[^.]+\.part$/s.exec(basename(part.path))?.[1];
    };
    expect(await nameOf("n".repeat(60))).toBe("n".repeat(60));
    expect(await nameOf("n".repeat(61))).toMatch(/^n{50}\.[0-9a-f]{10}$/);
    expect(await nameOf(`${"n".repeat(49)}${"😀".repeat(50)}`)).toMatch(/^n{49}\ufffd\.[0-9a-f]{10}$/);
  });

  test("that has come since a folder was looked at is seen by who looks again", async () => {
    await using here = await folder();
    const parts = new Parts();
    expect(parts.hasLeft(here.at("a"))).toBe(false);
    await (await begun(here.at("a"), "1234"))[Symbol.asyncDispose]();
    const [own] = await readdir(here.path);
    const left = own.replace(/-\w+-\w+\.part$/, `-${(2 ** 22 + 1).toString(36)}-1.part`);
    await rename(here.at(own), here.at(left));
    expect(parts.hasLeft(here.at("a"))).toBe(false); // a folder is read once
    await parts.remove(here.at("a"), false);
    expect(await readdir(here.path)).toEqual([left]);
    await parts.remove(here.at("a"), true);
    expect(await readdir(here.path)).toEqual([]);
  });

  test("of a run that was killed when the file had got its name, is another name of it, and goes", async () => {
    await using here = await folder();
    await (await begun(here.at("a"), "1234"))[Symbol.asyncDispose]();
    const [own] = await readdir(here.path);
    const left = here.at(own.replace(/-\w+-\w+\.part$/, `-${(2 ** 22 + 1).toString(36)}-1.part`));
    await rename(here.at(own), here.at("a"));
    await link(here.at("a"), left);
    await new Parts().remove(here.at("a"), false);
    expect(await readdir(here.path)).toEqual(["a"]);
    await link(here.at("a"), left);
    const { part, hadOther } = await new Parts().open(here.at("a"), "state", await replaceable(here.at("a")));
    expect([part.size, hadOther]).toEqual([0, false]);
    await part[Symbol.asyncDispose]();
    expect(await readdir(here.path)).toEqual(["a"]);
    expect(await readFile(here.at("a"), "utf8")).toBe("1234");
    await link(here.at("a"), here.at("b")); // what is no name of the file is no part of it
    await rename(here.at("b"), left);
    await writeFile(here.at("b"), "");
    await rename(here.at("b"), here.at("a"));
    await link(left, here.at("other"));
    await new Parts().remove(here.at("a"), false);
    expect((await readdir(here.path)).length).toBe(3);
  });

  test("tells what went wrong, and is nobody else's to read where it replaces a file", async () => {
    await using here = await folder();
    const closed = await begun(here.at("closed"), "12");
    await closed.file.close();
    for (const length of [1, 20_000]) {
      expect(await closed.append(Buffer.alloc(length)).catch(() => "told")).toBe("told");
    }
    expect(closed.size).toBe(2);
    await using blocked = await begun(here.at("blocked"), "12");
    await mkdir(here.at("blocked"));
    expect(await blocked.finish(0, true).catch(code)).toBe("EISDIR");
    expect(await readFile(blocked.path, "utf8")).toBe("12"); // it is not lost
    await (await begun(here.at("a"), "12"))[Symbol.asyncDispose]();
    await writeFile(here.at("a"), "mine");
    await using again = await begun(here.at("a"), "");
    expect([again.size, (await stat(again.path)).mode & 0o777]).toEqual([2, 0o600]);
  });

  test.skipIf(process.platform !== "linux")("leaves no descriptor open, whatever becomes of it", async () => {
    await using here = await folder();
    const descriptors = async () => (await readdir("/proc/self/fd")).length;
    const before = await descriptors();
    await (await begun(here.at("a"), "12"))[Symbol.asyncDispose]();
    await (await begun(here.at("a"), "")).discard();
    const restarted = await begun(here.at("a"), "12");
    await restarted.restart();
    await restarted.finish(0, false);
    await (await begun(here.at("c"), "1234"))[Symbol.asyncDispose]();
    const [own] = (await readdir(here.path)).filter((name) => name.endsWith(".part"));
    await rename(
      here.at(own),
      here.at(own.replace(/-\w+-\w+\.part$/, `-${(2 ** 22 + 1).toString(36)}-1.part`)),
    );
    const taken = await new Parts().open(here.at("c"), "state");
    expect(taken.part.size).toBe(4);
    await taken.part.discard();
    const small = new SmallPart(here.at("b"), "state");
    await small.finish(0, false);
    expect(await small.finish(0, false).catch(code)).toBe("EEXIST");
    expect(await descriptors()).toBe(before);
  });

  test("of a small file is kept in memory, and leaves nothing where it cannot be saved", async () => {
    await using here = await folder();
    const small = async (overwrites: boolean) => {
      const part = new SmallPart(here.at("a"), "state");
      for (const text of ["12", "34"]) await part.append(Buffer.from(text));
      expect(part.size).toBe(4);
      return await part.finish(1_000_000, overwrites).then(() => "saved", code);
    };
    await writeFile(here.at("a"), "mine");
    expect([await small(false), await readFile(here.at("a"), "utf8")]).toEqual(["EEXIST", "mine"]);
    expect([await small(true), await readFile(here.at("a"), "utf8")]).toEqual(["saved", "1234"]);
    expect((await stat(here.at("a"))).mtimeMs).toBe(1_000_000);
    expect(await readdir(here.path)).toEqual(["a"]);
  });
});

test("where a file of a list goes: below its folder's last name, and nowhere else", async () => {
  expect(placeOf("a/b/c", "a/b", "server")).toBe("b/c");
  expect(placeOf("a/b", "./a//b/", "server")).toBe("b");
  expect(placeOf("a/b", ".", "server")).toBe("a/b");
  expect(placeOf("a/b/c", "a\\b", "a server on Windows")).toBe("b/c");
  expect(placeOf("a\\b/c", "a\\b", "server")).toBe("a\\b/c");
  for (const [path, asked] of [["a/c", "a/b"], ["x", "a"], ["ab", "a"], ["", "a"]]) {
    expect(() => placeOf(path, asked, "server")).toThrow("not asked for");
  }
  await using here = await folder();
  expect(makeWay(here.path, "a/b/c")).toBe(here.at("a/b/c"));
  expect(await readdir(here.at("a"))).toEqual(["b"]);
  await writeFile(here.at("file"), "");
  const wrong = { "file/x": "ENOTDIR", "a//b": "EINVAL", "../x": "EINVAL", "a/..": "EINVAL", "a/": "EINVAL" };
  for (const [path, expected] of Object.entries({ ...wrong, ["y/".repeat(2100) + "z"]: "ENAMETOOLONG" })) {
    expect([path, await Promise.try(makeWay, here.path, path).catch(code)]).toEqual([path, expected]);
  }
  expect((await readdir(here.path)).sort()).toEqual(["a", "file"]);
  expect(await Promise.try(makeWay, here.at("none"), "a/b").catch(({ message }) => message))
    .toBe(`${here.at("none/a")}: no such file or folder (ENOENT)`);
});

test("of many sources with one caller each only one who has stalled gives way; else the connection is reset", () => {
  const callers = new Callers({ limit: 64, free: 8 });
  const ends: string[] = [];
  const calls = (remoteAddress: string) => {
    const end = (how: string) => () => ends.push(`${remoteAddress} ${how}`);
    const socket = Object.assign(new EventEmitter(), {
      remoteAddress,
      destroy: end("ended"),
      resetAndDestroy: end("reset"),
    });
    return callers.admit(socket as unknown as Socket);
  };
  expect([calls("192.0.2.1"), calls("192.0.2.2"), calls("192.0.2.3")]).toEqual([true, true, false]);
  expect(ends).toEqual(["192.0.2.3 reset"]);
  clock = 9999;
  expect([calls("192.0.2.1"), ends.at(-1)]).toEqual([false, "192.0.2.1 reset"]);
  clock = 10_000;
  expect([calls("192.0.2.1"), ends.at(-1)]).toEqual([true, "192.0.2.1 ended"]); // its own, which has stalled
  expect([calls("192.0.2.3"), ends.at(-1)]).toEqual([true, "192.0.2.2 ended"]); // it has none: any that has stalled
  expect([calls("192.0.2.4"), ends.at(-1)]).toEqual([false, "192.0.2.4 reset"]);
});

test("a caller too many gets the place of one of the largest share, or of one that has stalled", () => {
  const callers = new Callers({ limit: 64, free: 19 });
  const gone: string[] = [];
  const sockets = new Map<string, EventEmitter>();
  const calls = (name: string, remoteAddress: string) => {
    const destroy = () => gone.push(name);
    const socket = Object.assign(new EventEmitter(), { remoteAddress, destroy, resetAndDestroy: () => {} });
    sockets.set(name, socket);
    return callers.admit(socket as unknown as Socket);
  };
  expect(callers.most).toBe(4); // each costs four files
  for (const name of ["a1", "a2", "a3", "a4"]) {
    clock += 10;
    expect(calls(name, "192.0.2.1")).toBe(true);
  }
  callers.moved(sockets.get("a1") as unknown as Socket);
  expect([calls("a5", "192.0.2.1"), gone]).toEqual([false, []]);
  expect([calls("b1", "192.0.2.2"), gone]).toEqual([true, ["a2"]]);
  expect([calls("c1", "192.0.2.3"), gone]).toEqual([true, ["a2", "a3"]]);
  expect([calls("b2", "192.0.2.2"), gone]).toEqual([false, ["a2", "a3"]]); // a, a, b, c: that is fair
  clock += 10_000;
  callers.moved(sockets.get("b1") as unknown as Socket);
  expect([calls("b2", "192.0.2.2"), calls("c2", "192.0.2.3"), gone]).toEqual([false, true, [
    "a2",
    "a3",
    "c1",
  ]]);
  sockets.get("b1")?.emit("close");
  expect([callers.count, calls("b3", "192.0.2.2"), callers.count]).toEqual([3, true, 4]);
  expect(new Callers({ limit: 1, free: 0 }).most).toBe(1);
  expect(new Callers({ limit: Infinity, free: Infinity }).most).toBe(1000);
});

test("who does not take what was sent has half an hour, whatever it sends meanwhile", async () => {
  jest.useFakeTimers();
  try {
    let moved = 0;
    const { frames, socket } = streamOf([], { longestWrite: 1_800_000, moved: () => moved++ });
    const pending: ((error?: unknown) => void)[] = [];
    Object.assign(socket, {
      write: (_: Buffer, done: (error?: unknown) => void) => void pending.push(done),
      destroy: (error: unknown) => {
        Object.assign(socket, { destroyed: true, errored: error });
        pending.pop()?.(new Error("the socket is closed"));
      },
    });
    const taken = frames.send({ one: 1 });
    jest.advanceTimersByTime(1_799_999);
    pending.pop()?.();
    await taken;
    jest.advanceTimersByTime(1_800_000); // nothing is under way
    expect([socket.destroyed, moved]).toEqual([false, 1]);
    const kept = frames.send({ two: 2 }).catch(({ message }) => message);
    jest.advanceTimersByTime(1_799_999);
    expect(socket.destroyed).toBe(false);
    jest.advanceTimersByTime(1);
    expect(await kept).toBe("peer: did not take what was sent in 1800 seconds (ETIMEDOUT)");
    expect(moved).toBe(1);
  } finally {
    jest.useRealTimers();
  }
});

test("a thousand files that nobody reads take 77 MB together; 85 at once have the longest pieces", () => {
  const memory = new Memory();
  const longest = 131_071;
  const files = Array.from({ length: 1000 }, () => memory.take(longest));
  const lengths = files.map(({ length }) => length);
  expect(lengths.slice(0, 85)).toEqual(Array(85).fill(longest));
  expect(lengths).toEqual(lengths.toSorted((one, other) => other - one));
  expect(lengths[85]).toBeGreaterThan(longest * 0.95); // it falls slowly
  expect(lengths.slice(400)).toEqual(Array(600).fill(4096));
  const bytes = 3 * lengths.reduce((sum, length) => sum + length, 0);
  expect(bytes).toBeLessThan(77_000_000); // 64 MB, and three pieces of 4 KB for each
  for (const file of files) file[Symbol.dispose]();
  expect(memory.take(longest).length).toBe(longest); // all of it is there again
  expect(memory.take(100).length).toBe(100);
});

describe("of a source", () => {
  /** The lists of callers, of whom each has a name; what is told of each is in the log. */
  function listing() {
    const lists = new Lists();
    const log: string[] = [];
    const callers = new Map<string, { remoteAddress: string; writableLength: number; destroyed?: boolean }>();
    const begin = (name: string, remoteAddress = "192.0.2.1") => {
      const destroy = ({ message }: Failure) => void log.push(`${name}: ${message}`);
      const socket = { remoteAddress, destroy, writableLength: 1 };
      callers.set(name, socket);
      lists.begin(socket as unknown as Socket)
        .then(() => log.push(`${name} begins`), ({ code }) => log.push(`${name}: ${code}`));
    };
    /** Lets the time pass, and gives what has happened meanwhile. */
    const pass = async (ms = 0) => {
      for (let step = 0; step <= ms; step += 100) {
        if (step > 0) clock += 100;
        jest.advanceTimersByTime(step > 0 ? 100 : 0);
        for (let turn = 0; turn < 20; turn++) await Promise.resolve();
      }
      return log.splice(0);
    };
    const of = (name: string) => callers.get(name) as unknown as Socket;
    return { lists, callers, begin, pass, of };
  }

  test("eight lists are under way at once; the next one waits, and others' lists do not", async () => {
    jest.useFakeTimers();
    try {
      const { lists, callers, begin, pass, of } = listing();
      for (const name of "abcdefgh") begin(name);
      expect(await pass()).toEqual([..."abcdefgh"].map((name) => `${name} begins`));
      for (const name of ["i", "j"]) begin(name);
      begin("other", "192.0.2.2");
      expect(await pass(4000)).toEqual(["other begins"]);
      lists.end(of("other"));
      expect(await pass()).toEqual([]);
      lists.end(of("c"));
      expect(await pass()).toEqual(["i begins"]); // at once, and the first one first
      lists.end(of("c")); // again
      expect(await pass()).toEqual([]);
      callers.get("j")!.destroyed = true; // one who has gone takes no place
      begin("k");
      lists.end(of("d"));
      expect(await pass(1100)).toEqual(["j: ECONNRESET", "k begins"]);
    } finally {
      jest.useRealTimers();
    }
  });

  test("a list that is not read for five seconds gives way, when another one waits", async () => {
    jest.useFakeTimers();
    try {
      const { lists, callers, begin, pass, of } = listing();
      for (const name of "abcdefgh") begin(name);
      callers.get("a")!.writableLength = 0; // it has read all that there is so far
      await pass(60_000);
      for (const name of "cdefgh") lists.moved(of(name));
      begin("i");
      const gone = "192.0.2.1: gives way to another list: this one was not read (EAGAIN)";
      expect(await pass()).toEqual([`b: ${gone}`, "i begins"]);
      lists.end(of("b")); // when its sending has failed: it makes no room again
      begin("j");
      expect(await pass(4000)).toEqual([]);
      for (const name of "cdefgh") lists.moved(of(name));
      expect(await pass(1900)).toEqual([`i: ${gone}`, "j begins"]);
    } finally {
      jest.useRealTimers();
    }
  });
});
