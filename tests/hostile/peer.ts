/** The hostile peer: a relay between any two ends, which does to what passes what a bad network or a bad peer does. */
import { createSocket, type Socket as Datagrams } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { inTime } from "../engine/sockets.ts";

/** Where a program listens: at a port of 127.0.0.1, or at a path. */
export type Place = { port: number; host?: string } | { path: string };

/** What happens to the bytes of one direction. */
export type Way = {
  /** How they are cut: each byte alone, all that comes together in one write, anywhere, or in four. */
  cut?: "bytes" | "once" | "anywhere" | "quarters";
  /** The first line is not cut; and of what follows, the four bytes alone where a packet has its length. */
  greets?: boolean;
  /** Milliseconds between two pieces. */
  pause?: number;
  /** So many bytes are read and passed on, then both ends are reset; 0: at once. */
  resetAfter?: number;
  /** They are read, and go nowhere. */
  mute?: boolean;
  /** They are read, and go nowhere; when no more come, both ends are reset. */
  resetsWhenQuiet?: boolean;
  /** They are not even read. */
  deaf?: boolean;
  /** Behind the first piece comes the end of this direction. */
  ends?: boolean;
  /** What is sent in their place, as soon as there is a connection. */
  instead?: () => Iterable<Uint8Array>;
};

export type Ways = { up?: Way; down?: Way };

/** What a relay did, so that nobody need believe it: how many pieces and cuts it made, for example. */
export type Seen = {
  connections: number;
  pieces: number;
  cuts: number;
  bytes: number;
  resets: number;
  ends: number;
};

/** After so many milliseconds of quiet, what came together has come. */
const QUIET = 40;

/** Ends a connection as a crash does: by a reset, or, inside one machine, where there is none, by a close. */
export function breakOff(socket: Socket): void {
  if (!socket.remoteAddress) socket.destroy();
  else socket.resetAndDestroy();
}

/** Connects to a program. The connection reads nothing before it is told to. */
export async function dial(place: Place): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", allowHalfOpen: true, ...place });
  socket.on("error", () => {});
  await inTime(once(socket, "connect"), `a connection to ${JSON.stringify(place)}`);
  if ("port" in place) socket.setNoDelay(true); // each write is a segment of its own
  return socket;
}

/** Writes, and tells when the system has taken it; false: it never will, the connection is over. */
export function put(socket: Socket, bytes: Uint8Array): Promise<boolean> {
  if (socket.destroyed || socket.writableEnded) return Promise.resolve(false);
  return new Promise((resolve) => {
    const closed = () => resolve(false);
    socket.once("close", closed);
    socket.write(bytes, (error) => {
      socket.off("close", closed);
      resolve(!error);
    });
  });
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** A relay in front of a TCP or AF_UNIX server. Use it as `await using relay = await Relay.to(place, ways)`. */
export class Relay {
  readonly #server: Server;
  readonly #target: Place;
  readonly #ways: Ways;
  readonly #sockets = new Set<Socket>();
  /** Of both directions, at the end that the fault is for. */
  readonly seen: Seen = { connections: 0, pieces: 0, cuts: 0, bytes: 0, resets: 0, ends: 0 };

  private constructor(server: Server, target: Place, ways: Ways) {
    this.#server = server;
    this.#target = target;
    this.#ways = ways;
    server.on("connection", (socket) => void this.#relay(socket));
  }

  /** @param at a path, where the relay is to be found at one */
  static async to(target: Place, ways: Ways, at: { path?: string; port?: number } = {}): Promise<Relay> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
    const relay = new Relay(server, target, ways);
    if (at.path) server.listen({ path: at.path });
    else server.listen({ port: at.port ?? 0, host: "127.0.0.1" });
    await inTime(once(server, "listening"), "the relay's own place");
    return relay;
  }

  get place(): Place {
    const address = this.#server.address() as AddressInfo | string;
    return typeof address === "string" ? { path: address } : { port: address.port };
  }

  async #relay(caller: Socket) {
    this.seen.connections++;
    this.#keep(caller);
    const { up = {}, down = {} } = this.#ways;
    if (up.resetAfter === 0 || down.resetAfter === 0) return this.#reset(caller);
    const target = await dial(this.#target).catch(() => undefined);
    if (!target) return caller.destroy();
    this.#keep(target);
    const reset = () => this.#reset(caller, target);
    this.#pass(caller, target, up, reset);
    this.#pass(target, caller, down, reset);
  }

  #keep(socket: Socket) {
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => this.#sockets.delete(socket));
    if (socket.remoteAddress) socket.setNoDelay(true);
  }

  #reset(...sockets: Socket[]) {
    this.seen.resets++;
    sockets.forEach(breakOff);
  }

  /** Passes on what one end says. */
  #pass(from: Socket, to: Socket, way: Way, reset: () => void) {
    from.once("close", () => {
      if (from.errored) to.destroyed || breakOff(to); // what one end does by itself passes, too
    });
    if (way.instead) {
      from.resume();
      return void this.#pour(to, way.instead());
    }
    if (way.deaf) return;
    let left = way.resetAfter ?? Infinity;
    let waiting = Buffer.alloc(0); // for what comes together with it
    let timer: NodeJS.Timeout | undefined;
    let work: Promise<unknown> = Promise.resolve();
    let isGreeting = way.greets;
    const flush = () => {
      const end = isGreeting ? waiting.indexOf("\n") + 1 : 0;
      if (isGreeting && end === 0) return; // the line is not whole yet
      if (isGreeting) {
        const line = waiting.subarray(0, end);
        work = work.then(() => this.#send(to, line, {}));
      }
      isGreeting = false;
      const bytes = waiting.subarray(end);
      waiting = Buffer.alloc(0);
      if (bytes.length > 0) work = work.then(() => this.#send(to, bytes, way));
    };
    from.on("data", (chunk: Buffer) => {
      if (way.resetsWhenQuiet) {
        clearTimeout(timer);
        timer = setTimeout(reset, QUIET);
      }
      if (way.mute || way.resetsWhenQuiet) return;
      const bytes = chunk.subarray(0, left);
      left -= bytes.length;
      waiting = Buffer.concat([waiting, bytes]);
      clearTimeout(timer);
      if (way.cut === "once") timer = setTimeout(flush, QUIET);
      else flush();
      if (left === 0) work = work.then(reset);
      else if (to.writableNeedDrain) {
        from.pause();
        to.once("drain", () => from.resume());
      }
    });
    from.on("end", () => {
      if (way.mute || way.resetsWhenQuiet) return;
      clearTimeout(timer);
      flush();
      work = work.then(() => to.end());
    });
    from.resume();
  }

  async #send(to: Socket, bytes: Buffer, way: Way) {
    const all = pieces(bytes, way.cut, way.greets ? 4 : ALONE);
    this.seen.cuts += all.length - 1;
    for (const [index, piece] of all.entries()) {
      // A reader that is slow finds two pieces in one read: so the first ones, where a parser begins, are far apart.
      if (this.seen.pieces > 0 && way.cut !== "once") {
        if (way.pause || index < 10) await sleep(way.pause ?? Number(way.cut !== undefined));
        else await new Promise(setImmediate);
      }
      if (!await put(to, piece)) return;
      this.seen.pieces++;
      this.seen.bytes += piece.length;
      if (!way.ends || this.seen.ends > 0) continue;
      this.seen.ends++;
      to.end();
    }
  }

  async #pour(to: Socket, chunks: Iterable<Uint8Array>) {
    for (const chunk of chunks) {
      if (!await put(to, chunk)) return;
      this.seen.pieces++;
      this.seen.bytes += chunk.length;
    }
    this.seen.ends++;
    to.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}

/** How many bytes come alone before the rest comes at once: where a parser could stumble, it has by then. */
const ALONE = 100;

/** Cuts bytes. Where they are cut "anywhere" is the same in every run. */
export function pieces(bytes: Buffer, cut: Way["cut"], alone = ALONE): Buffer[] {
  if (cut === undefined || cut === "once") return [bytes];
  const found: Buffer[] = [];
  for (let at = 0, state = 20261120; at < bytes.length;) {
    state = (state * 1103515245 + 12345) % 2 ** 31; // a linear congruential generator
    const quarter = Math.ceil(bytes.length / 4);
    const length = cut === "bytes"
      ? (at < alone ? 1 : Infinity)
      : cut === "quarters"
      ? quarter
      : 1 + (state >> 16) % (2 * quarter);
    found.push(bytes.subarray(at, at + length));
    at += length;
  }
  return found;
}

/** What happens to datagrams. */
export type Trouble = "lost" | "doubled" | "swapped" | "cut" | "forged";

/** A datagram that nobody asked for: control characters, and what is no text. */
export const FORGED = Buffer.concat([Buffer.from("\x1b[2J forged \r\n"), Buffer.from([0xe4, 0xbd, 0xff])]);

/** How many datagrams pass, and to how many of them something happens: to the first, and to each third after it. */
const EVERY = 3;

/** A relay for datagrams, on the way to a server and, if it is told so, on the way back. */
export class DatagramRelay {
  readonly #front: Datagrams;
  readonly #stranger: Datagrams;
  readonly #backs = new Map<number, Promise<Datagrams>>();
  readonly #to: { port: number; address: string };
  readonly #trouble: Trouble | undefined;
  readonly #where: "up" | "down" | "both";
  readonly #counts = { up: 0, down: 0 };
  #held: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** How many datagrams passed, and to how many something was done. */
  readonly seen = { passed: 0, troubled: 0 };

  private constructor(
    [front, stranger]: Datagrams[],
    to: { port: number; host?: string },
    trouble: Trouble | undefined,
    where: "up" | "down" | "both",
  ) {
    this.#front = front;
    this.#stranger = stranger;
    this.#to = { port: to.port, address: to.host ?? "127.0.0.1" };
    this.#trouble = trouble;
    this.#where = where;
    front.on("error", () => {});
    stranger.on("error", () => {});
    front.on("message", async (data, sender) => {
      const back = await this.#back(sender.port);
      this.#pass("up", data, back, this.#to);
    });
  }

  static async to(
    to: { port: number; host?: string },
    trouble?: Trouble,
    where: "up" | "down" | "both" = "both",
    port = 0,
  ): Promise<DatagramRelay> {
    const sockets = [await bound(port), await bound()];
    return new DatagramRelay(sockets, to, trouble, where);
  }

  get port(): number {
    return this.#front.address().port;
  }

  /** The socket that the server sees in place of a client. */
  #back(client: number): Promise<Datagrams> {
    const back = this.#backs.get(client) ?? this.#newBack(client);
    this.#backs.set(client, back); // at once: the next datagram may come before it is bound
    return back;
  }

  async #newBack(client: number): Promise<Datagrams> {
    const back = await bound();
    back.on("error", () => {});
    back.on(
      "message",
      (data) => this.#pass("down", data, this.#front, { port: client, address: "127.0.0.1" }),
    );
    return back;
  }

  #pass(way: "up" | "down", data: Buffer, from: Datagrams, to: { port: number; address: string }) {
    const send = (bytes: Uint8Array, socket = from) => {
      this.seen.passed++;
      socket.send(bytes, to.port, to.address, () => {}); // one that cannot be sent is lost
    };
    const release = () => {
      clearTimeout(this.#timer);
      this.#held?.();
      this.#held = undefined;
    };
    const isAffected = this.#where === "both" || this.#where === way;
    const isTurn = isAffected && this.#counts[way]++ % EVERY === 0;
    if (!this.#trouble || !isTurn) {
      send(data);
      return release();
    }
    this.seen.troubled++;
    if (this.#trouble === "lost") return;
    if (this.#trouble === "cut") return send(data.subarray(0, data.length >> 1));
    if (this.#trouble === "forged") send(FORGED, this.#stranger);
    if (this.#trouble === "doubled") send(data);
    if (this.#trouble !== "swapped") return send(data);
    release();
    this.#held = () => send(data);
    this.#timer = setTimeout(release, 200); // nothing comes to overtake it
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer);
    for (const socket of [this.#front, this.#stranger, ...await Promise.all(this.#backs.values())]) {
      socket.close();
      await once(socket, "close");
    }
  }
}

async function bound(port = 0): Promise<Datagrams> {
  const socket = createSocket("udp4");
  socket.bind(port, "127.0.0.1");
  await inTime(once(socket, "listening"), "a port for datagrams");
  socket.setBroadcast(true);
  socket.setMulticastInterface("127.0.0.1");
  return socket;
}
