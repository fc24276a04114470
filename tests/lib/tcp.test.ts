/** What TCP sockets need beside the calls: back-pressure, goodbyes, and errors that end nobody. */
import { describe, expect, jest, test } from "bun:test";
import { EventEmitter, getEventListeners, once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { breakOff, closeOnStop, limitIdle, linger, peerName } from "../../lib/tcp.ts";
import { Failure } from "../../lib/failure.ts";
import { sent } from "../../lib/socket.ts";
import { until } from "../engine/sockets.ts";
import { accept } from "../../scripts/tcp/accept.ts";

const never = new AbortController().signal;

/** Two connected sockets of this program, each with a listener for its errors or, where that is tested, without. */
async function pair({ listens = true } = {}) {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const near = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1" });
  const [[far]] = await Promise.all([once(server, "connection"), once(near, "connect")]) as [
    [Socket],
    unknown,
  ];
  if (listens) { for (const socket of [near, far]) socket.on("error", () => {}); }
  const end = () => {
    near.destroy();
    far.destroy();
    server.close();
  };
  return { near, far, [Symbol.dispose]: end };
}

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function readAll(socket: Socket): Promise<string> {
  let text = "";
  for await (const chunk of socket) text += chunk;
  return text;
}

describe("sent", () => {
  test("resolves when the system has taken all, and not before the peer reads", async () => {
    using sockets = await pair();
    let isTaken = false;
    const sending = sent((done) => sockets.near.write(Buffer.alloc(32_000_000), done)).then(
      () => (isTaken = true),
    );
    await wait(200); // only time can show that it does not resolve
    expect(isTaken).toBe(false);
    let received = 0;
    sockets.far.on("data", (chunk) => (received += chunk.length)).resume();
    await sending;
    sockets.near.end();
    await once(sockets.far, "end");
    expect(received).toBe(32_000_000);
  });

  test("resolves though nobody reads, when the system has room for it", async () => {
    using sockets = await pair();
    await sent((done) => sockets.near.write("hello", done));
  });

  test("a connection that breaks meanwhile is an error", async () => {
    using sockets = await pair();
    const sending = sent((done) => sockets.near.write(Buffer.alloc(32_000_000), done));
    sockets.far.resetAndDestroy();
    const error = await sending.then(() => undefined, (error) => error);
    expect(error.code).toBeOneOf(["ECONNRESET", "EPIPE", "ECANCELED"]);
  });
});

/** A socket that is only what linger and limitIdle touch. */
function fake() {
  const calls: string[] = [];
  const socket = Object.assign(new EventEmitter(), {
    destroyed: false,
    bytesRead: 0,
    bytesWritten: 0,
    remoteAddress: "127.0.0.1",
    remotePort: 50001 as number | undefined,
    resume: () => calls.push("resume"),
    end: (taken: () => void) => void (socket.taken = taken),
    /** The system has taken our last bytes. */
    taken: () => {},
    resetAndDestroy: () => {
      calls.push("reset");
      socket.destroyed = true;
    },
    destroy: (error?: Error) => {
      calls.push(`destroy ${error?.message ?? ""}`.trim());
      socket.destroyed = true;
    },
  });
  return { calls, fields: socket, socket: socket as unknown as Socket };
}

test("a connection that is broken off says why; the peer gets a reset where something is missing", async () => {
  const cases = [["reset", "x", "ECONNRESET"], ["close", "x", "end"], ["reset", "", "end"]] as const;
  for (const [ending, text, heard] of cases) {
    using sockets = await pair();
    closeOnStop(sockets.near, never, ending);
    if (text) await sent((done) => sockets.near.write(text, done));
    const why = new Failure("the peer", "is too slow", "ETIMEDOUT");
    const read = readAll(sockets.far.resume()).then(() => "end", ({ code }) => code);
    breakOff(sockets.near, why);
    breakOff(sockets.near, new Failure("the peer", "gives way", "EAGAIN")); // its "close" has not come yet
    expect(sockets.near.errored).toBe(why);
    expect([ending, text, await read]).toEqual([ending, text, heard]);
  }
});

describe("linger", () => {
  test("a peer that never hangs up is left after 5 s", () => {
    jest.useFakeTimers();
    try {
      const { calls, fields, socket } = fake();
      linger(socket);
      jest.advanceTimersByTime(29_999); // it reads slowly, and we still have something for it
      fields.taken();
      jest.advanceTimersByTime(4999);
      expect(calls).toEqual(["resume"]);
      jest.advanceTimersByTime(1);
      expect(calls).toEqual(["resume", "destroy"]);
    } finally {
      jest.useRealTimers();
    }
  });

  test("a peer that does not take our last bytes is reset after 30 s: a close would say that it has all", () => {
    jest.useFakeTimers();
    try {
      for (const [remotePort, end] of [[50001, "reset"], [undefined, "destroy"]] as const) { // a Unix socket
        const { calls, fields, socket } = fake();
        fields.remotePort = remotePort;
        linger(socket);
        jest.advanceTimersByTime(29_999);
        expect(calls).toEqual(["resume"]);
        jest.advanceTimersByTime(1);
        expect(calls).toEqual(["resume", end]);
      }
    } finally {
      jest.useRealTimers();
    }
  });

  test("a peer that hangs up is not waited for", () => {
    jest.useFakeTimers();
    try {
      const { calls, fields, socket } = fake();
      linger(socket);
      fields.taken();
      socket.emit("close");
      expect(jest.getTimerCount()).toBe(0);
      jest.advanceTimersByTime(10_000);
      expect(calls).toEqual(["resume"]);
    } finally {
      jest.useRealTimers();
    }
  });

  test("a socket that is closed already is left alone", () => {
    const { calls, fields, socket } = fake();
    fields.destroyed = true;
    linger(socket);
    expect(calls).toEqual([]);
  });

  test("the last words arrive, though bytes of the peer lie unread", async () => {
    using sockets = await pair();
    await sent((done) => sockets.near.write(Buffer.alloc(500_000), done));
    sockets.far.end("goodbye");
    linger(sockets.far);
    expect(await readAll(sockets.near)).toBe("goodbye");
  });
});

test("linger reads on where an iterator has stopped in the middle, so that the end arrives", async () => {
  using sockets = await pair();
  const reads = sockets.far.iterator({ destroyOnReturn: false });
  const sending = sent((done) => sockets.near.write(Buffer.alloc(32_000_000), done));
  await reads.next(); // the first of many; nobody asks for the next one
  sockets.far.end("goodbye");
  linger(sockets.far);
  await sending; // else it would stand still until the reset
  sockets.near.end();
  expect(await readAll(sockets.near)).toBe("goodbye");
});

describe("limitIdle", () => {
  test("a silent peer is hung up on, one that sends or takes a byte is not", () => {
    jest.useFakeTimers();
    try {
      const { calls, fields, socket } = fake();
      limitIdle(socket, 60_000);
      for (let step = 0; step < 10; step++) {
        jest.advanceTimersByTime(45_000);
        if (step % 2) fields.bytesRead++;
        else fields.bytesWritten++;
      }
      expect(calls).toEqual([]);
      jest.advanceTimersByTime(75_000);
      expect(calls[0]).toBe("destroy 127.0.0.1:50001: silent for 60 seconds (ETIMEDOUT)");
      socket.emit("close");
      expect(jest.getTimerCount()).toBe(0);
    } finally {
      jest.useRealTimers();
    }
  });
});

test("limitIdle: a peer whose turn it is not may be silent, and has its time afresh afterwards", () => {
  jest.useFakeTimers();
  try {
    const { calls, socket } = fake();
    let isOurTurn = true;
    limitIdle(socket, 60_000, () => isOurTurn);
    jest.advanceTimersByTime(600_000);
    isOurTurn = false;
    jest.advanceTimersByTime(59_000);
    expect(calls).toEqual([]);
    jest.advanceTimersByTime(16_000);
    expect(calls[0]).toBe("destroy 127.0.0.1:50001: silent for 60 seconds (ETIMEDOUT)");
    socket.emit("close");
  } finally {
    jest.useRealTimers();
  }
});

describe("closeOnStop", () => {
  test("a stop says goodbye, or resets, as the lesson wants it", async () => {
    for (const ending of ["close", "reset"] as const) {
      using sockets = await pair();
      const stop = new AbortController();
      closeOnStop(sockets.far, stop.signal, ending);
      const reading = readAll(sockets.near).then(() => "end", (error) => error.code);
      stop.abort();
      expect(await reading).toBe(ending === "reset" ? "ECONNRESET" : "end");
    }
  });

  test("where the stop has come before, nothing is sent: the socket is closed at once", async () => {
    for (const ending of ["close", "reset"] as const) {
      using sockets = await pair();
      const reading = readAll(sockets.near).then(() => "end", (error) => error.code);
      const stop = AbortSignal.abort();
      closeOnStop(sockets.far, stop, ending).write("late");
      expect(await reading).toBe(ending === "reset" ? "ECONNRESET" : "end");
      expect(sockets.far.destroyed).toBe(true);
      expect(getEventListeners(stop, "abort")).toEqual([]);
    }
  });

  test("an error ends nobody, and neither does the end of await using", async () => {
    using sockets = await pair({ listens: false });
    {
      await using socket = closeOnStop(sockets.near, never);
      expect(socket.listenerCount("error")).toBe(1); // ours: without it the error would end this very program
      const closed = new Promise((resolve) => socket.once("close", resolve)); // once() would listen for errors, too
      socket.destroy(new Error("broken"));
      await closed;
    }
    expect(sockets.near.errored?.message).toBe("broken");
  });

  test("one listener of the signal closes all of its sockets, each as it wants, and no others", async () => {
    using first = await pair();
    using second = await pair();
    using other = await pair();
    const stop = new AbortController();
    closeOnStop(other.far, never);
    closeOnStop(first.far, stop.signal);
    closeOnStop(second.far, stop.signal, "reset");
    expect(getEventListeners(stop.signal, "abort")).toHaveLength(1); // one for each would cost 1 KB a connection
    const readings = [first, second].map(({ near }) =>
      readAll(near).then(() => "end", (error) => error.code)
    );
    stop.abort();
    expect(await Promise.all(readings)).toEqual(["end", "ECONNRESET"]);
    expect(other.far.destroyed).toBe(false);
  });

  test("a closed socket is forgotten: a stop does not touch it", async () => {
    using sockets = await pair();
    const stop = new AbortController();
    closeOnStop(sockets.near, stop.signal);
    sockets.near.destroy();
    await once(sockets.near, "close");
    let touched = 0;
    sockets.near.destroy = () => {
      touched++;
      return sockets.near;
    };
    stop.abort();
    expect(touched).toBe(0);
  });

  test("the name of a peer is known after it has gone", async () => {
    using sockets = await pair();
    const { localPort } = sockets.near;
    closeOnStop(sockets.far, never); // asks for it
    sockets.far.resetAndDestroy();
    await once(sockets.far, "close");
    expect(peerName(sockets.far)).toBe(`127.0.0.1:${localPort}`);
    expect(peerName(connect({ port: 1, host: "127.0.0.1" }).on("error", () => {}))).toBe("a caller");
  });
});

describe("accept", () => {
  test("gives each connection with its peer, in order, and tells who waits", async () => {
    const stop = new AbortController();
    await using server = createServer();
    const waits: string[] = [];
    const accepted = accept(server, stop.signal, (peer) => waits.push(peer))[Symbol.asyncIterator]();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const callers: Socket[] = [];
    for (let n = 0; n < 3; n++) {
      const caller = connect(port, "127.0.0.1");
      callers.push(caller);
      await once(caller, "connect");
    }
    await until(() => waits.length === 2, "those who wait");
    const names = callers.map(({ localPort }) => `127.0.0.1:${localPort}`);
    for (const name of names) {
      const { value: [socket, peer] } = await accepted.next();
      expect([peer, peerName(socket)]).toEqual([name, name]);
    }
    expect(waits).toEqual(names.slice(1));
    stop.abort();
    await expect(accepted.next()).rejects.toThrow("abort");
    for (const caller of callers) caller.destroy();
  });
});
