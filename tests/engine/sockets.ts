/** Sockets of the test's own: the other end of a lesson, which sees bytes. */
import { createSocket, type RemoteInfo, type Socket as Datagrams } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import process from "node:process";
import { endpoint } from "../../lib/socket.ts";
import { Late } from "./program.ts";

/** How long a test waits for anything, in milliseconds. */
const LIMIT = 20_000;

/** Whether this machine has ::1. */
export const HAS_IPV6 = Object.values(networkInterfaces()).flat().some((card) => card?.address === "::1");

/** Waits, but not for ever. @throws Late */
export async function inTime<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Late(`waited ${LIMIT} ms for ${what}`)), LIMIT);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits until `done` is true, which nothing tells. @throws Late */
export async function until(done: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + LIMIT;
  while (!await done()) {
    if (performance.now() > end) throw new Late(`waited ${LIMIT} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/**
 * Waits until a number has not changed for a while, in ms: in so many looks that a pause of the machine, which is one
 * of them, does not pass for quiet.
 * @returns it @throws Late
 */
export async function settled(value: () => number, quiet = 250): Promise<number> {
  const end = performance.now() + 2 * LIMIT;
  let last = value();
  for (let looks = 0; looks < quiet / 50;) {
    if (performance.now() > end) {
      throw new Late(`waited ${2 * LIMIT} ms for a number that still changes: ${last}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
    const now = value();
    looks = now === last ? looks + 1 : 0;
    last = now;
  }
  return last;
}

/** One end of a TCP connection. It reads all the time. */
export class Line {
  readonly socket: Socket;
  /** This end, as the other side shows it. */
  readonly name: string;
  #received: Buffer = Buffer.alloc(0);
  #end: "end" | Error | undefined;
  #wake = () => {};

  constructor(socket: Socket) {
    this.socket = socket;
    this.name = endpoint(`${socket.localAddress}`, socket.localPort); // a socket that is closed no longer knows
    socket.setNoDelay(true); // each write is a segment of its own
    socket.on("data", (chunk) => {
      this.#received = Buffer.concat([this.#received, Buffer.from(chunk)]);
      this.#wake();
    });
    const ended = (how: "end" | Error) => {
      this.#end ??= how;
      this.#wake();
    };
    socket.on("end", () => ended("end"));
    socket.on("error", ended);
    socket.on("close", () => ended(socket.errored ?? new Error("closed")));
  }

  /**
   * Reads until `text` has come, and takes it away.
   * @throws Error when the connection ends before, or something else comes
   */
  async expect(text: string | Uint8Array): Promise<void> {
    const bytes = typeof text === "string" ? Buffer.from(text) : text;
    while (this.#received.length < bytes.length && !this.#end) await this.#more(`${text}`);
    const found = this.#received.subarray(0, bytes.length);
    this.#received = this.#received.subarray(bytes.length);
    if (!found.equals(bytes)) throw new Error(`expected ${text}, but received: ${found} ${this.#end ?? ""}`);
  }

  /** Reads until the other side hangs up, and gives what came. @throws the error of a reset */
  async rest(): Promise<Buffer> {
    while (!this.#end) await this.#more("the hang-up");
    if (this.#end !== "end") throw this.#end;
    return this.#received;
  }

  #more(what: string): Promise<void> {
    return inTime(new Promise<void>((resolve) => (this.#wake = resolve)), what);
  }

  send(data: string | Uint8Array): Promise<void> {
    return new Promise((resolve, reject) =>
      this.socket.write(data, (error) => (error ? reject(error) : resolve()))
    );
  }

  /** Hangs up for this direction; the other one may go on. */
  hangUp(): void {
    this.socket.end();
  }

  /** Breaks off: the other side gets a RST. */
  reset(): void {
    this.socket.resetAndDestroy();
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}

/** Waits until no bytes wait in the receive queue of a socket, as Linux tells (proc_net(5)); elsewhere for a moment. */
async function isEmpty(table: "tcp" | "udp", ends: RegExp): Promise<void> {
  if (process.platform !== "linux") return await new Promise((resolve) => setTimeout(resolve, 50));
  const row = RegExp(`${ends.source} \\w+ \\w+:(\\w+)`);
  const bytes = () => Number.parseInt(row.exec(readFileSync(`/proc/net/${table}`, "latin1"))?.[1] ?? "0", 16);
  await until(() => bytes() === 0, "what was sent to be read");
}
const hex = (port?: number) => Number(port).toString(16).toUpperCase().padStart(4, "0");

/**
 * Waits until the program at the other end, on this machine and over IPv4, has read all that was sent: the next bytes
 * are another read of it.
 */
export const isRead = ({ socket }: Pick<Line, "socket">): Promise<void> =>
  isEmpty("tcp", RegExp(`:${hex(socket.remotePort)} \\w+:${hex(socket.localPort)}`));

/** Waits until a program of this machine has received all datagrams to its port: then no more of them get lost. */
export const isReceived = (port: number): Promise<void> => isEmpty("udp", RegExp(`:${hex(port)} \\w+:\\w+`));

/** Calls a server. Use it as `using line = await call(port)`. */
export async function call(port: number, host = "127.0.0.1"): Promise<Line> {
  const socket = connect({ port, host, allowHalfOpen: true });
  socket.on("error", () => {}); // a reset may come before Line listens, which finds it in socket.errored
  await inTime(once(socket, "connect"), `a connection to port ${port}`);
  return new Line(socket);
}

/** A listening socket. Use it as `await using listener = await listen()`. */
export class Listener {
  readonly #server: Server;
  readonly #waiting: Line[] = [];
  readonly #all: Line[] = [];
  #wake = () => {};

  constructor(server: Server) {
    this.#server = server;
    server.on("connection", (socket) => {
      const line = new Line(socket);
      this.#all.push(line);
      this.#waiting.push(line);
      this.#wake();
    });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The next caller. */
  async accept(): Promise<Line> {
    while (this.#waiting.length === 0) {
      await inTime(new Promise<void>((resolve) => (this.#wake = resolve)), "a caller");
    }
    return this.#waiting.shift() as Line;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { socket } of this.#all) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}

/** Listens. @throws EADDRINUSE, when the port does not get free */
export function listen(port = 0, host = "127.0.0.1"): Promise<Listener> {
  return insist(async () => {
    const server = createServer({ allowHalfOpen: true });
    const listener = new Listener(server);
    server.listen({ port, host });
    await inTime(once(server, "listening"), "its own port");
    return listener;
  });
}

/**
 * Opens a port, again and again for up to 5 s while it is taken. A port that a program has just left may
 * be given to a caller of another test at once; one that it did not leave stays taken for much longer.
 */
async function insist<T>(open: () => Promise<T>): Promise<T> {
  for (const end = performance.now() + 5000;;) {
    try {
      return await open();
    } catch (error) {
      if ((error as { code?: string }).code !== "EADDRINUSE" || performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** A bound UDP socket. Use it as `await using letters = await letterbox()`. */
export class Letterbox {
  readonly #socket: Datagrams;
  readonly #waiting: [Buffer, RemoteInfo][] = [];
  #wake = () => {};
  #isClosed = false;

  constructor(socket: Datagrams) {
    this.#socket = socket;
    socket.on("error", () => {}); // on Bun: a program that was written to has ended meanwhile
    socket.on("message", (data, sender) => {
      this.#waiting.push([data, sender]);
      this.#wake();
    });
  }

  get port(): number {
    return this.#socket.address().port;
  }

  /** This end, as the other side shows it. */
  get name(): string {
    return endpoint(this.#socket.address().address, this.port);
  }

  /** The next datagram, and its sender. @throws Late, or Error when it is closed meanwhile */
  async next(): Promise<[data: Buffer, sender: RemoteInfo]> {
    while (this.#waiting.length === 0) {
      if (this.#isClosed) throw new Error("the letterbox is closed");
      await inTime(new Promise<void>((resolve) => (this.#wake = resolve)), "a datagram");
    }
    return this.#waiting.shift() as [Buffer, RemoteInfo];
  }

  /** The next datagram as text. */
  async text(): Promise<string> {
    return `${(await this.next())[0]}`;
  }

  send(data: string | Uint8Array, port: number, host = this.#socket.address().address): Promise<void> {
    return new Promise((resolve, reject) =>
      this.#socket.send(data, port, host, (error) => (error ? reject(error) : resolve()))
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#wake();
    this.#socket.close();
    await once(this.#socket, "close");
  }
}

/** Binds a UDP socket. @throws EADDRINUSE, when the port does not get free */
export function letterbox(port = 0, host = "127.0.0.1"): Promise<Letterbox> {
  return insist(async () => {
    const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
    const letters = new Letterbox(socket);
    socket.bind(port, host);
    await inTime(once(socket, "listening"), "its own port");
    return letters;
  });
}

/** Keeps a UDP port of 127.0.0.1 from others, unless somebody has it. What comes there is discarded. */
export async function keepPort(port: number): Promise<AsyncDisposable> {
  const socket = createSocket("udp4").on("message", () => {});
  await new Promise<void>((resolve) => {
    socket.on("listening", resolve).on("error", () => resolve());
    socket.bind(port, "127.0.0.1");
  });
  return { [Symbol.asyncDispose]: () => new Promise((resolve) => socket.close(resolve)) };
}

/** So many ports at once belong to one process: a first one, which it holds until it ends, and those behind it. */
const BLOCK = 100;
let block: Promise<number> | undefined;
let given = 0;

/** Holds the first port of a block that no other process has. @returns it */
async function claimBlock(): Promise<number> {
  while (true) {
    const first = 20_000 + BLOCK * Math.floor(Math.random() * 100);
    const server = createServer((caller) => caller.on("error", () => {}).destroy()); // a scan, perhaps
    const isOurs = await new Promise((resolve) => {
      server.once("error", () => resolve(false));
      server.listen({ port: first, host: "127.0.0.1" }, () => resolve(true));
    });
    if (!isOurs) continue;
    server.unref(); // the process may end
    return first;
  }
}

/**
 * A port that is free now, for a program whose port must be known before it is started. It lies below those that a
 * system gives to programs that ask for any (Linux: from 32768 on), in a block that no other process takes ports from,
 * and comes again only when all others of the block have: no other test gets it meanwhile.
 * @param kind for what it is free; without it, for TCP and UDP
 */
export async function freePort(kind?: "tcp" | "udp"): Promise<number> {
  const first = await (block ??= claimBlock());
  while (true) {
    const port = first + 1 + given++ % (BLOCK - 1);
    try {
      if (kind !== "udp") await (await listen(port))[Symbol.asyncDispose]();
      if (kind !== "tcp") await (await letterbox(port))[Symbol.asyncDispose]();
      return port;
    } catch (error) {
      if ((error as { code?: string }).code !== "EADDRINUSE") throw error;
    }
  }
}
