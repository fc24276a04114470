/** The parts of lesson 4.4 that need no network: registrations, names, limits. */
import { expect, mock, spyOn, test } from "bun:test";
import { Duplex } from "node:stream";
import type { Socket } from "node:net";
import { Failure } from "../../lib/failure.ts";
import { Bucket, Rounds, Shown } from "../../scripts/apps/messenger/limits.ts";
import { checkName, looks } from "../../scripts/apps/messenger/names.ts";
import { Outbox } from "../../scripts/apps/messenger/outbox.ts";
import {
  decodeRegistration,
  decodeSeen,
  encodeRegistration,
  encodeSeen,
  NO_COOKIE,
  readEndpoint,
} from "../../scripts/apps/messenger/registration.ts";
import { messageFrame, messages, PING, TO_SERVER } from "../../scripts/apps/messenger/protocol.ts";
import { Session } from "../../scripts/apps/messenger/session.ts";
import { Rates } from "../../scripts/apps/messenger/shares.ts";

test("a registration and its answer", () => {
  const token = Buffer.alloc(16, 7);
  for (const own of [{ address: "192.168.1.2", port: 50_001 }, { address: "2001:db8::1", port: 1 }]) {
    const registration = { token, cookie: Buffer.alloc(8, 9), own, name: "张三" };
    expect(decodeRegistration(encodeRegistration(registration))).toEqual(registration);
    const answer = { cookie: Buffer.alloc(8, 9), seen: own };
    expect(decodeSeen(encodeSeen(token, answer), token)).toEqual(answer);
    expect(decodeSeen(encodeSeen(token, answer), Buffer.alloc(16))).toBeUndefined();
    expect(encodeSeen(token, answer).length).toBeLessThan(encodeRegistration(registration).length);
  }
  const own = { address: "127.0.0.1", port: 1 };
  const good = encodeRegistration({ token, cookie: NO_COOKIE, own, name: "a" });
  for (let length = 0; length < good.length; length++) {
    expect(decodeRegistration(good.subarray(0, length))).toBeUndefined();
  }
  expect(decodeRegistration(Buffer.concat([good, Buffer.alloc(200)]))).toBeUndefined();
});

test("an endpoint from the network is read with care", () => {
  expect(readEndpoint("127.0.0.1:50001")).toEqual({ address: "127.0.0.1", port: 50_001 });
  expect(readEndpoint("[2001:db8::1]:1")).toEqual({ address: "2001:db8::1", port: 1 });
  for (
    const bad of [
      "",
      "a:1",
      "1.2.3.4",
      "1.2.3.4:0",
      "1.2.3.4:65536",
      "1.2.3:4",
      "::1:1",
      "[1.2.3.4]:1",
      "x\n1.2.3.4:1",
    ]
  ) {
    expect(readEndpoint(bad)).toBeUndefined();
  }
});

test("names are composed, and what cannot be seen is no name", () => {
  expect(checkName("e\u0301")).toBe("\u00e9");
  for (const good of ["张三", "a", "x".repeat(32), "O'Neil-2", "😀"]) expect(checkName(good)).toBe(good);
  for (
    const bad of [
      "",
      " ",
      "a b",
      "x".repeat(33),
      "a\u0000",
      "a\u200d",
      "\u202ea",
      "\ufeff",
      "\u3164",
      "\u0301",
      "\ud800",
      "\ue000",
    ]
  ) {
    expect(() => checkName(bad)).toThrow("a name ");
  }
});

test("a name has letters of one kind, and no name looks like another", () => {
  for (
    const good of ["Łukasz", "Ngọc", "Иван", "Γιώργος", "محمد", "דוד", "राजेश", "สมชาย", "김철수", "山田太郎"]
      .concat(["ヤマダ", "王Tom", "约翰·史密斯", "writer2"])
  ) expect(checkName(good)).toBe(good);
  expect(checkName("ａｎｎａ１")).toBe("anna1");
  const mixed = ["\u0430nna", "ann\u03b1", "ann\u0251", "Иvan", "王Иван", "a\u0663", "Τom", "n\u01c3"];
  for (const bad of mixed) expect(() => checkName(bad)).toThrow("one script");
  const signs = [
    "a\u2800",
    "a(b)",
    "a,b",
    "a>b",
    "/a",
    "a\u0301\u0301\u0301\u0301",
    "\u2764\ufe0f",
    "\u00bd",
  ];
  for (const bad of signs) expect(() => checkName(bad)).toThrow("letters, digits");
  const alike = [["l1", "II"], ["O0", "OO"], ["corn", "com"], ["paypa", "\u0440\u0430\u0443\u0440\u0430"], [
    "\u53e3",
    "\u30ed",
  ], ["oi", "\u03bf\u03b9"]];
  for (const [one, other] of alike) expect(looks(one)).toBe(looks(other));
  const unlike = ["anna", "Anna", "ana", "änna", "王五", "玉五", "o", "O", "tim", "trn"];
  expect(new Set(unlike.map(looks)).size).toBe(unlike.length);
});

test("what was shown is remembered for a while", () => {
  const shown = new Shown();
  expect([shown.add("a", 1), shown.add("a", 1), shown.add("b", 1)]).toEqual([true, false, true]);
  for (let id = 2; id <= 1000; id++) shown.add("a", id);
  expect(shown.add("a", 1)).toBe(false);
  shown.add("a", 1001);
  expect(shown.add("a", 1)).toBe(true); // forgotten: memory is bounded
  for (let sender = 0; sender < 199; sender++) shown.add(`${sender}`, 1);
  expect(shown.add("b", 1)).toBe(true); // forgotten, too
  expect(shown.add("1", 1)).toBe(false); // now the youngest
  for (let sender = 200; sender < 399; sender++) shown.add(`${sender}`, 1);
  expect(shown.add("1", 1)).toBe(false);
});

test("rates are counted for 1,000 addresses, and those that were silent longest are forgotten", () => {
  const rates = new Rates(1, 0); // once, and never again
  expect([rates.take("first"), rates.take("first")]).toEqual([true, false]);
  for (let count = 0; count < 999; count++) expect(rates.take(`${count}`)).toBe(true);
  expect(rates.take("first")).toBe(false); // known, and now the youngest
  for (let count = 0; count < 999; count++) rates.take(`more ${count}`);
  expect(rates.take("first")).toBe(false);
  for (let count = 0; count < 1000; count++) rates.take(`other ${count}`);
  expect(rates.take("first")).toBe(true);
});

test("500 messages are kept while nobody confirms them; for one more the oldest goes, which is told", () => {
  const outbox = new Outbox({ direct: () => undefined, canRelay: () => false, relay() {} });
  const add = (id: number) => outbox.add(null, `text ${id}`, Buffer.from("x"), ["two"]);
  for (let id = 1; id <= 500; id++) add(id);
  expect(() => add(501)).toThrow("text 1: not acknowledged, and too old to be kept (ENOBUFS)");
  expect(() => add(502)).toThrow("text 2: ");
  expect(outbox.unconfirmed("the server")).toEqual(new Map([["the server", 500]]));
});

test("a bucket gives its tokens, and then no more than come back", () => {
  let clock = 0;
  using _clock = spyOn(performance, "now").mockImplementation(() => clock);
  const bucket = new Bucket(5, 20);
  const take = () => {
    let count = 0;
    while (bucket.take()) count++;
    return count;
  };
  expect(take()).toBe(5);
  clock += 110;
  expect(take()).toBe(2);
  clock += 39; // and ten were left over
  expect(take()).toBe(0);
  clock += 1;
  expect(take()).toBe(1);
  clock += 3_600_000;
  expect(take()).toBe(5);
});

test("a round that comes much too late judges nobody's silence, and the next one does", () => {
  let clock = 0;
  using _clock = spyOn(performance, "now").mockImplementation(() => clock);
  const rounds = new Rounds();
  const judged = [PING, PING + 4000, 2 * PING, PING, 10 * PING, PING].map((gap) => {
    clock += gap;
    return rounds.begin();
  });
  expect(judged).toEqual([true, true, false, true, false, true]);
});

test("of a peer that has been disconnected, the rest of a chunk does not count", async () => {
  const ping = messageFrame({ type: "ping" }, "utf-8");
  const socket = new Duplex({ read() {}, write() {} }) as Socket;
  socket.on("error", () => {});
  socket.push(Buffer.concat([ping, ping, ping]));
  const failure = new Failure("one", "does not read what it gets", "ENOBUFS");
  let count = 0;
  const receive = async () => {
    for await (const _ of messages(socket, "utf-8", TO_SERVER, "one")) {
      if (++count === 2) socket.destroy(failure);
    }
  };
  expect(await receive().catch((error) => error)).toBe(failure);
  expect(count).toBe(2);
});

/** The pauses, in milliseconds, that a client makes whose connections fail. @param takes how long each one takes */
async function pausesOfSession(count: number, takes: number): Promise<number[]> {
  const pauses: number[] = [];
  const stop = new AbortController();
  const real = { ...await import("node:timers/promises") };
  let clock = 0;
  const now = spyOn(performance, "now").mockImplementation(() => clock);
  const random = spyOn(Math, "random").mockReturnValue(1); // the longest that may be
  mock.module("node:timers/promises", () => ({
    ...real,
    setTimeout: (ms: number) => {
      if (pauses.push(ms) === count) stop.abort();
      return Promise.resolve();
    },
  }));
  try {
    const session: Session = new Session({
      ...{ name: "one", secret: "", server: "127.0.0.1:1", encoding: "utf-8" },
      connect: () => {
        session.open(); // as after a welcome
        clock += takes;
        throw new Failure("127.0.0.1:1", "refused", "ECONNREFUSED");
      },
      handle: () => Promise.resolve(),
      broken: () => Promise.resolve(),
    });
    session.open();
    await session.stay(stop.signal).catch(() => {});
  } finally {
    for (const one of [now, random]) one.mockRestore();
    mock.module("node:timers/promises", () => real);
  }
  return pauses;
}

test("a client whose server is gone waits longer each time, 15 s at most, and less after a good connection", async () => {
  expect(await pausesOfSession(8, 10)).toEqual([500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000]);
  expect(await pausesOfSession(3, 20_000)).toEqual([500, 500, 500]);
});
