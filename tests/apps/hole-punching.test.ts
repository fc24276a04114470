/** Lesson 4.4: the datagrams of the direct way, against bytes that Python's struct and hmac have made, and two ends of one. */
import { describe, expect, jest, test } from "bun:test";
import {
  decodeDirect,
  type DirectDatagram,
  encodeDirect,
  wayOf,
} from "../../scripts/apps/messenger/direct-datagram.ts";
import { DirectWays } from "../../scripts/apps/messenger/hole-punching.ts";
import { until } from "../engine/sockets.ts";

const KEY = Buffer.from(Array.from({ length: 32 }, (_, index) => index));

/** `head = b"SbE\1" + struct.pack("!BBII", type, side, way, number) + payload`, and `hmac.new(key, head, "sha256").digest()[:16]` */
const KNOWN: [hex: string, datagram: DirectDatagram][] = [
  [
    "536245010300deadbeef0000000100000000b87cb58b341bd8b1b98aeb65d51c7659",
    { type: "PROBE", side: 0, way: 0xdeadbeef, number: 1, payload: Buffer.alloc(4) },
  ],
  [
    "536245010401000000010000000200000001336543724a66f19629b1e1ea5e3c9f09",
    { type: "ANSWER", side: 1, way: 1, number: 2, payload: Buffer.from([0, 0, 0, 1]) },
  ],
  [
    "536245010500deadbeef0000000700000003e4bda0e5a5bd23c76ca58cbaa9e032eb0ee9d9a6710c",
    {
      type: "MESSAGE",
      side: 0,
      way: 0xdeadbeef,
      number: 7,
      payload: Buffer.from([0, 0, 0, 3, 0xe4, 0xbd, 0xa0, 0xe5, 0xa5, 0xbd]),
    },
  ],
  [
    "536245010601ffffffffffffffff0000000341b08f27554162526870a00ecf707b9d",
    { type: "ACK", side: 1, way: 0xffff_ffff, number: 0xffff_ffff, payload: Buffer.from([0, 0, 0, 3]) },
  ],
  [
    "53624501070100000000000000090155d5380e0070b9189c2bc39c71091a6d",
    { type: "BYE", side: 1, way: 0, number: 9, payload: Buffer.of(1) },
  ],
];

describe("a datagram has the bytes of the figure", () => {
  for (const [hex, datagram] of KNOWN) {
    test(datagram.type, () => {
      expect(encodeDirect(datagram, KEY).toString("hex")).toBe(hex);
      expect(decodeDirect(Buffer.from(hex, "hex"), KEY)).toEqual(datagram);
      expect(wayOf(Buffer.from(hex, "hex"))).toBe(datagram.way);
    });
  }
});

test("no answer is longer than what it answers: nobody is an amplifier", () => {
  const lengths = Object.fromEntries(KNOWN.map(([hex, { type }]) => [type, hex.length]));
  expect(lengths.ANSWER).toBeLessThanOrEqual(lengths.PROBE);
  expect(lengths.ACK).toBeLessThanOrEqual(lengths.MESSAGE);
});

test("one wrong bit, another key, a byte less or more, and it is none", () => {
  for (const [hex] of KNOWN) {
    const good = Buffer.from(hex, "hex");
    for (let bit = 0; bit < good.length * 8; bit++) {
      const damaged = Buffer.from(good);
      damaged[bit >> 3] ^= 1 << (bit & 7);
      expect(decodeDirect(damaged, KEY)).toBeUndefined();
    }
    expect(decodeDirect(good, Buffer.alloc(32))).toBeUndefined();
    for (let length = 0; length < good.length; length++) {
      expect(decodeDirect(good.subarray(0, length), KEY)).toBeUndefined();
    }
    expect(decodeDirect(Buffer.concat([good, Buffer.alloc(1)]), KEY)).toBeUndefined();
  }
  // Rightly proved, but of an unknown type, and too long.
  const unknown = Buffer.from("536245010801000000000000000901b23e3f790a0469a725c24e8e6ac0ca80", "hex");
  expect(decodeDirect(unknown, KEY)).toBeUndefined();
  const [, datagram] = KNOWN[2];
  const long = (payload: number) => encodeDirect({ ...datagram, payload: Buffer.alloc(payload) }, KEY);
  expect(decodeDirect(long(1028), KEY)?.payload).toHaveLength(1028);
  expect(decodeDirect(long(1029), KEY)).toBeUndefined();
  expect(long(1028).length + 8 + 40).toBeLessThanOrEqual(1280); // one datagram of IPv6
});

type Sent = { data: Buffer; from: number };

/** Two clients and the network between them: `pass` sees each datagram, and says how often it arrives. */
function pair(pass: (datagram: Sent) => number = () => 1) {
  const seen: Sent[] = [];
  const ends = [0, 1].map((index) => {
    const log: string[] = [];
    const ways: DirectWays = new DirectWays({
      send(data) {
        const datagram = { data, from: index };
        seen.push(datagram);
        for (let count = pass(datagram); count > 0; count--) {
          setTimeout(() => ends[1 - index].ways.receive(data, { address: "192.0.2.1", port: 1 + index }), 0);
        }
        return Promise.resolve();
      },
      opened: (name) => void log.push(`opened ${name}`),
      message(_name, _instance, id, bytes) {
        log.push(`${id} ${bytes}`);
        return Promise.resolve();
      },
      acknowledged: (_name, id) => void log.push(`has ${id}`),
      ended: (name, hasLeft) => void log.push(`${hasLeft ? "left" : "lost"} ${name}`),
    });
    return { ways, log };
  });
  const look = () =>
    ends.forEach(({ ways }, index) =>
      ways.look("other", {
        instance: "0".repeat(16),
        way: 5,
        side: index as 0 | 1,
        key: KEY,
        endpoints: [{ address: "192.0.2.1", port: 2 - index }],
      })
    );
  return {
    ...{ ends, seen, look },
    async [Symbol.asyncDispose]() {
      for (const { ways } of ends) await ways.close();
    },
  };
}

describe("two ends", () => {
  test("show no message before their way is open: it comes again", async () => {
    let isLate = false;
    await using scene = pair(({ data, from }) =>
      Number(isLate || from === 1 || decodeDirect(data, KEY)?.type !== "ANSWER")
    );
    const [one, two] = scene.ends;
    const messages = () => scene.seen.filter(({ data }) => decodeDirect(data, KEY)?.type === "MESSAGE");
    scene.look();
    await until(() => one.ways.to("other") !== undefined, "the way of one of them");
    one.ways.to("other")?.send(1, Buffer.from("early"));
    await until(() => messages().length === 2, "the message again");
    expect([one.log, two.log]).toEqual([["opened other"], []]);
    isLate = true;
    await until(() => one.log.includes("has 1"), "the acknowledgement");
    expect(two.log).toEqual(["opened other", "1 early"]);
  });

  test("find each other; each message once, in order, though a third is lost and a third comes twice", async () => {
    let count = 0;
    await using scene = pair(() => ++count % 3);
    const [one, two] = scene.ends;
    scene.look();
    await until(() => Boolean(one.ways.to("other") && two.ways.to("other")), "the way");
    for (let id = 1; id <= 5; id++) one.ways.to("other")?.send(id, Buffer.from(`text ${id}`));
    await until(() => one.log.includes("has 5"), "the last acknowledgement");
    const shown = two.log.filter((line) => / text /.test(line));
    expect([...new Set(shown)]).toEqual([1, 2, 3, 4, 5].map((id) => `${id} text ${id}`));
    expect(one.log).toEqual(["opened other", ...[1, 2, 3, 4, 5].map((id) => `has ${id}`)]);
  });

  test("what a third repeats, turns back, or makes up changes nothing", async () => {
    await using scene = pair();
    const [one, two] = scene.ends;
    scene.look();
    await until(() => Boolean(one.ways.to("other") && two.ways.to("other")), "the way");
    one.ways.to("other")?.send(1, Buffer.from("once"));
    await until(() => one.log.includes("has 1"), "the acknowledgement");
    await Bun.sleep(20); // what waited for its ACK too long was sent twice, and is still on its way
    const before = scene.seen.length;
    const logs = [one.log, two.log].map((log) => [...log]);
    expect(logs.map((log) => new Set(log))).toEqual([
      new Set(["opened other", "has 1"]),
      new Set(["opened other", "1 once"]),
    ]);
    const third = { address: "198.51.100.7", port: 7 };
    for (const { data, from } of scene.seen.slice()) {
      await scene.ends[1 - from].ways.receive(data, third); // once more
      await scene.ends[from].ways.receive(data, third); // back to its sender
    }
    for (const data of [Buffer.alloc(0), Buffer.alloc(3000), Buffer.from("SbE\x01"), Buffer.alloc(30, 1)]) {
      await two.ways.receive(data, third);
    }
    await two.ways.receive(
      encodeDirect({ ...KNOWN[4][1], side: 0, way: 5, number: 99 }, Buffer.alloc(32)),
      third,
    );
    const own = encodeDirect(
      { type: "PROBE", side: 0, way: 5, number: 10_000, payload: Buffer.alloc(4) },
      KEY,
    );
    await one.ways.receive(own, third); // back to its sender, which has sent more than it has received
    expect(scene.seen.length).toBe(before); // and nothing is answered
    expect([one.log, two.log]).toEqual(logs);
  });

  test("a way leads where the PROBE went, whatever sender the ANSWER bears", async () => {
    const went: string[] = [];
    const ways = new DirectWays({
      send(_, { address, port }) {
        went.push(`${address}:${port}`);
        return Promise.resolve();
      },
      opened: (_, { address, port }) => void went.push(`opened ${address}:${port}`),
      message: () => Promise.resolve(),
      acknowledged() {},
      ended() {},
    });
    const endpoints = [{ address: "192.0.2.1", port: 1 }];
    await ways.look("other", { instance: "0".repeat(16), way: 5, side: 0, key: KEY, endpoints });
    const answer = (number: number, asked: number) =>
      encodeDirect({ type: "ANSWER", side: 1, way: 5, number, payload: Buffer.of(0, 0, 0, asked) }, KEY);
    await ways.receive(answer(1, 9), { address: "198.51.100.7", port: 7 }); // to a PROBE that was never sent
    expect(ways.to("other")).toBeUndefined();
    await ways.receive(answer(2, 1), { address: "198.51.100.7", port: 7 });
    expect(went).toEqual(["192.0.2.1:1", "opened 192.0.2.1:1"]);
    await ways.close();
  });

  test("PROBEs with forged senders: one ANSWER each, and four PROBEs in all", async () => {
    let bytes = 0;
    const ways = new DirectWays({
      send(data, { address }) {
        if (address !== "192.0.2.1") bytes += data.length;
        return Promise.resolve();
      },
      opened() {},
      message: () => Promise.resolve(),
      acknowledged() {},
      ended() {},
    });
    const endpoints = [{ address: "192.0.2.1", port: 1 }];
    await ways.look("other", { instance: "0".repeat(16), way: 5, side: 0, key: KEY, endpoints });
    for (let number = 1; number <= 100; number++) {
      const probe = encodeDirect(
        { type: "PROBE", side: 1, way: 5, number, payload: Buffer.alloc(4) },
        KEY,
      );
      await ways.receive(probe, { address: "198.51.100.7", port: number });
    }
    expect(bytes).toBe((100 + 4) * 34);
    await ways.close();
  });

  test("a client that leaves says so", async () => {
    await using scene = pair();
    scene.look();
    await until(() => Boolean(scene.ends[1].ways.to("other")), "the way");
    await scene.ends[0].ways.close();
    await until(() => scene.ends[1].log.includes("left other"), "the goodbye");
    expect(scene.ends[1].ways.to("other")).toBeUndefined();
  });
});

/** One end, whose time is the test's: what it sends, and what it hears of the other end. */
function aloneInTime(work: (end: ReturnType<typeof alone>) => void | Promise<void>) {
  return async () => {
    jest.useFakeTimers();
    try {
      await work(alone());
    } finally {
      jest.useRealTimers();
    }
  };
}

function alone() {
  const begin = performance.now();
  const log: [ms: number, what: string][] = [];
  const note = (what: string) => void log.push([Math.round(performance.now() - begin), what]);
  const types = ["PROBE", "ANSWER", "MESSAGE", "ACK", "BYE"]; // from 3 on
  const ways = new DirectWays({
    send(data) {
      note(types[data[4] - 3]);
      return Promise.resolve();
    },
    opened: () => note("opened"),
    message: () => Promise.resolve(),
    acknowledged: () => note("acknowledged"),
    ended: () => note("ended"),
  });
  const endpoints = [{ address: "192.0.2.1", port: 1 }];
  ways.look("other", { instance: "0".repeat(16), way: 5, side: 0, key: KEY, endpoints });
  let number = 0;
  const receive = (type: DirectDatagram["type"], about: number) =>
    ways.receive(
      encodeDirect({ type, side: 1, way: 5, number: ++number, payload: Buffer.of(0, 0, 0, about) }, KEY),
      endpoints[0],
    );
  const times = (what: string) => log.filter(([, one]) => one === what).map(([ms]) => ms);
  return { ways, log, receive, times };
}

describe("how often, and how long", () => {
  test(
    "four PROBEs, at growing distances; after 3 s without an answer the way is given up",
    aloneInTime(({ log }) => {
      jest.advanceTimersByTime(60_000);
      expect(log).toEqual([
        ...[0, 200, 600, 1400].map((ms): [number, string] => [ms, "PROBE"]),
        [3050, "ended"], // and no goodbye: that machine was never heard
      ]);
    }),
  );

  test(
    "a MESSAGE goes again after twice as long each time; after 4 s without an ACK the way is given up",
    aloneInTime(async ({ ways, receive, times }) => {
      await receive("ANSWER", 1);
      ways.to("other")?.send(7, Buffer.from("hello"));
      jest.advanceTimersByTime(30_000);
      const sent = times("MESSAGE");
      expect(sent.length).toBe(4);
      const pauses = [...sent.slice(1), ...times("ended")].map((time, index) => time - sent[index]);
      for (const [index, pause] of pauses.entries()) {
        expect(pause).toBeWithin(270 * 2 ** index, 270 * 2 ** index + 51);
      }
      expect(pauses.length).toBe(4);
      expect(times("BYE").length).toBe(1);
    }),
  );

  test(
    "an ACK ends that, and the next message begins afresh",
    aloneInTime(async ({ ways, receive, times }) => {
      await receive("ANSWER", 1);
      for (const id of [7, 8]) ways.to("other")?.send(id, Buffer.from("hello"));
      jest.advanceTimersByTime(300);
      expect(times("MESSAGE")).toEqual([0, 300]);
      await receive("ACK", 8); // which is not under way yet
      await receive("ACK", 7);
      expect(times("acknowledged")).toEqual([300]);
      jest.advanceTimersByTime(300);
      expect(times("MESSAGE")).toEqual([0, 300, 300, 600]);
      await receive("ACK", 8);
      jest.advanceTimersByTime(10_000);
      expect(times("MESSAGE").length).toBe(4);
      await ways.close();
    }),
  );

  test(
    "an open way is kept open by a PROBE every 15 s; after 40 s of silence it is given up",
    aloneInTime(async ({ receive, times }) => {
      await receive("ANSWER", 1);
      jest.advanceTimersByTime(15_000);
      await receive("ANSWER", 2); // heard once more
      jest.advanceTimersByTime(105_000);
      expect(times("PROBE")).toEqual([0, 15_000, 30_000, 45_000]);
      expect(times("ended")).toEqual([55_050]);
      expect(times("BYE")).toEqual([55_050]);
    }),
  );
});
