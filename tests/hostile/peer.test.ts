/** The hostile peer: what it says that it does to a connection or to a datagram is seen to happen at the other end. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { createServer, type Socket } from "node:net";
import { temporaryFolder } from "../engine/files.ts";
import { call, inTime, letterbox, listen, settled, until } from "../engine/sockets.ts";
import { endless, MB } from "./faults.ts";
import {
  breakOff,
  DatagramRelay,
  dial,
  FORGED,
  pieces,
  put,
  Relay,
  type Trouble,
  type Ways,
} from "./peer.ts";

setDefaultTimeout(60_000); // what waits in a test says itself for what it waited too long

const TEXT = Buffer.from("a line\nand more, in Chinese: 你好，世界");

/** Both ends of a connection through a relay. The reads of the server are kept as they came. */
async function through(ways: Ways, path?: string) {
  const sockets: Socket[] = [];
  const reads: Buffer[] = [];
  const times: number[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on("error", () => {}).on("data", (bytes) => {
      reads.push(Buffer.from(bytes));
      times.push(performance.now());
    });
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(path ? { path } : { port: 0, host: "127.0.0.1" }, resolve);
  await promise;
  const address = server.address();
  const place = typeof address === "object" && address ? { port: address.port } : { path: path as string };
  const relay = await Relay.to(place, ways, path ? { path: `${path}-relay` } : {});
  const caller = await dial(relay.place);
  return {
    ...{ relay, caller, reads, times },
    get server() {
      return sockets[0];
    },
    get received() {
      return Buffer.concat(reads);
    },
    /** The server has been called. */
    called: () => until(() => sockets.length > 0, "the call"),
    async [Symbol.asyncDispose]() {
      caller.destroy();
      await relay[Symbol.asyncDispose]();
      sockets.forEach((socket) => socket.destroy());
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** How a socket ended. */
const end = (socket: Socket) =>
  inTime(
    new Promise<string>((resolve) => {
      const told = () => resolve((socket.errored as { code?: string } | null)?.code ?? "closed");
      if (socket.destroyed) told();
      else socket.resume().once("close", told).once("end", () => resolve("end"));
    }),
    "its end",
  );

test("a cut loses nothing, and is where it says", () => {
  const whole = Buffer.from(Array.from({ length: 1000 }, (_, at) => at & 255));
  for (const cut of ["bytes", "anywhere", "quarters", "once", undefined] as const) {
    expect(Buffer.concat(pieces(whole, cut))).toEqual(whole);
  }
  const lengths = (cut: "bytes" | "anywhere" | "quarters" | "once") =>
    pieces(whole, cut).map(({ length }) => length);
  expect(lengths("bytes")).toEqual([...Array(100).fill(1), 900]);
  expect(lengths("quarters")).toEqual([250, 250, 250, 250]);
  expect(lengths("once")).toEqual([1000]);
  expect(new Set(lengths("anywhere")).size).toBeGreaterThan(2);
});

test("without a fault, all passes both ways, and the ends too", async () => {
  await using pair = await through({});
  await put(pair.caller, TEXT);
  pair.caller.end();
  await until(() => pair.received.equals(TEXT), "the text");
  const heard: Buffer[] = [];
  pair.caller.on("data", (bytes: Buffer) => heard.push(bytes));
  pair.server.end(TEXT);
  expect(await end(pair.caller)).toBe("end");
  expect(Buffer.concat(heard)).toEqual(TEXT);
  expect(pair.relay.seen).toEqual({
    connections: 1,
    pieces: 2,
    cuts: 0,
    bytes: 2 * TEXT.length,
    resets: 0,
    ends: 0,
  });
});

test("byte by byte: the other end reads many times", async () => {
  await using pair = await through({ up: { cut: "bytes" } });
  await put(pair.caller, TEXT);
  await until(() => pair.received.equals(TEXT), "the text");
  expect(pair.relay.seen.pieces).toBe(TEXT.length);
  expect(pair.reads.length).toBeGreaterThan(3); // a busy machine finds some together
});

test("all at once: what was written apart is one piece", async () => {
  await using pair = await through({ up: { cut: "once" } });
  const both = [put(pair.caller, TEXT), put(pair.caller, TEXT)];
  await Promise.all(both);
  await until(() => pair.received.length === 2 * TEXT.length, "both texts");
  expect(pair.relay.seen.pieces).toBe(1);
});

test("slow: the pieces come with pauses", async () => {
  await using pair = await through({ up: { cut: "quarters", pause: 50 } });
  await put(pair.caller, TEXT);
  await until(() => pair.received.equals(TEXT), "the text");
  expect(pair.relay.seen.pieces).toBe(4);
  expect((pair.times.at(-1) ?? 0) - pair.times[0]).toBeGreaterThan(95); // of 150, less what the first read came late
});

test("a greeting is not cut, and what follows is", async () => {
  await using pair = await through({ up: { cut: "bytes", greets: true } });
  for (const byte of TEXT) await put(pair.caller, Buffer.of(byte));
  await until(() => pair.received.equals(TEXT), "the text");
  expect(String(pair.reads[0])).toStartWith("a line\n");
});

test("half-closed: behind the first piece comes the end, and the reply comes all the same", async () => {
  await using pair = await through({ up: { ends: true } });
  await put(pair.caller, TEXT);
  await pair.called();
  await until(() => pair.server.readableEnded, "the end");
  expect(pair.received).toEqual(TEXT);
  const heard: Buffer[] = [];
  pair.caller.on("data", (bytes: Buffer) => heard.push(bytes));
  pair.server.write("reply");
  await until(() => String(Buffer.concat(heard)) === "reply", "the reply");
  expect(pair.relay.seen.ends).toBe(1);
});

test("deaf: the system's buffers fill up, and the caller's writes stand still", async () => {
  await using pair = await through({ up: { deaf: true } });
  let taken = 0;
  const flood = async () => {
    while (taken < 64 * MB && await put(pair.caller, Buffer.alloc(MB))) taken += MB;
  };
  flood();
  expect(await settled(() => taken)).toBeLessThan(64 * MB);
  expect(pair.reads).toEqual([]);
});

test("quiet: all is read, and goes nowhere", async () => {
  await using pair = await through({ up: { mute: true } });
  for (let count = 0; count < 16; count++) expect(await put(pair.caller, Buffer.alloc(MB))).toBe(true);
  await pair.called();
  expect([pair.reads, pair.caller.destroyed]).toEqual([[], false]);
});

test("a reset at once, after some bytes, and when it is quiet: at both ends", async () => {
  {
    await using pair = await through({ up: { resetAfter: 0 } });
    expect(await end(pair.caller)).toBe("ECONNRESET");
    expect(pair.server).toBeUndefined();
  }
  for (const [way, received] of [[{ resetAfter: 3 }, "a l"], [{ resetsWhenQuiet: true }, ""]] as const) {
    await using pair = await through({ up: way });
    await pair.called();
    const both = [end(pair.server), end(pair.caller)];
    await put(pair.caller, TEXT);
    expect(await Promise.all(both)).toEqual(["ECONNRESET", "ECONNRESET"]);
    expect(String(pair.received)).toBe(received);
    expect(pair.relay.seen.resets).toBe(1);
  }
});

test("a reset of one end reaches the other", async () => {
  await using pair = await through({});
  await pair.called();
  const other = end(pair.server);
  breakOff(pair.caller);
  expect(await other).toBe("ECONNRESET");
});

test("10 MB without a line end, in place of what the other end says", async () => {
  await using pair = await through({ up: { instead: endless } });
  await until(() => pair.received.length === 10 * MB, "10 MB");
  expect(pair.received.includes("\n")).toBe(false);
  await until(() => pair.server.readableEnded, "the end");
});

test("inside one machine, the connection is closed instead of reset", async () => {
  await using folder = temporaryFolder();
  await using pair = await through({ up: { resetAfter: 1 } }, folder.at("s"));
  await pair.called();
  const both = [end(pair.server), end(pair.caller)];
  await put(pair.caller, TEXT);
  expect(await Promise.all(both)).toEqual(["end", "end"]);
  expect(String(pair.received)).toBe("a");
});

test("a caller of a test's own reads nothing before it is told to", async () => {
  await using listener = await listen();
  const socket = await dial({ port: listener.port });
  using line = await listener.accept();
  let taken = 0;
  const flood = async () => {
    for (; taken < 64 * MB; taken += MB) await line.send(Buffer.alloc(MB));
  };
  flood().catch(() => {});
  expect(await settled(() => taken)).toBeLessThan(64 * MB);
  breakOff(socket);
  await expect(line.rest()).rejects.toThrow("ECONNRESET");
  using _other = await call(listener.port);
});

const TROUBLES: [Trouble | undefined, string[]][] = [
  [undefined, ["one!", "two!", "three"]],
  ["lost", ["two!", "three"]],
  ["doubled", ["one!", "one!", "two!", "three"]],
  ["swapped", ["two!", "one!", "three"]],
  ["cut", ["on", "two!", "three"]],
  ["forged", [String(FORGED), "one!", "two!", "three"]],
];
for (const [trouble, wanted] of TROUBLES) {
  test(`datagrams, ${trouble ?? "untroubled"}: on the way there, and on the way back`, async () => {
    await using server = await letterbox();
    await using client = await letterbox();
    await using relay = await DatagramRelay.to(server, trouble);
    for (const text of ["one!", "two!", "three"]) await client.send(text, relay.port);
    const seen = [];
    while (seen.length < wanted.length) seen.push(await server.next());
    expect(seen.map(([data]) => `${data}`)).toEqual(wanted);
    const [, { port }] = seen.at(-1) as (typeof seen)[number];
    const [, stranger] = seen[0];
    expect(stranger.port === port).toBe(trouble !== "forged");
    for (const text of ["one!", "two!", "three"]) await server.send(text, port);
    const back = [];
    while (back.length < wanted.length) back.push(await client.text());
    expect(back).toEqual(wanted);
    expect(relay.seen.troubled).toBe(trouble ? 2 : 0);
  });
}
