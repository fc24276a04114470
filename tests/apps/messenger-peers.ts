/** Peers for lesson 4.4: clients of the test's own, which speak its bytes without code of ours. */
import { once } from "node:events";
import { connect } from "node:net";
import { type Program, type Runtime, script } from "../engine/program.ts";
import { inTime, type Letterbox, Line, type Listener } from "../engine/sockets.ts";

export const RUNTIMES: Runtime[] = ["bun", "node", "deno"];

export const serve = (words: string[] = [], runtime: Runtime = "bun") =>
  script("apps/messenger-server", ["--port", "0", ...words], { runtime });

/**
 * Starts a client, and waits until it is logged in. It asks the server by UDP for a second: where the server stood
 * still for so long, the client is started once more.
 */
export async function client(
  name: string,
  port: number,
  { words = [], runtime = "bun", limit }: { words?: string[]; runtime?: Runtime; limit?: number } = {},
): Promise<Program> {
  for (let tries = 2;; tries--) {
    const program = script("apps/messenger-client", ["--port", `${port}`, ...words, name], {
      runtime,
      limit,
    });
    const line = await program.next();
    if (line?.startsWith(`logged in as ${name}, seen at `)) return program;
    await program[Symbol.asyncDispose]();
    if (line === `logged in as ${name}, but not seen by UDP` && tries > 1) continue;
    throw new Error(`${name}: ${line} ${program.seen.stderr}`);
  }
}

/** Reads lines until one is this. */
export async function until(program: Program, wanted: string): Promise<void> {
  for (let line = await program.next(); line !== wanted; line = await program.next()) {
    if (line === undefined) throw new Error(`never: ${wanted}\n${program.seen.stdout.join("\n")}`);
  }
}

/** The next lines, as many as are wanted. */
export async function lines(program: Program, count: number, stream: "stdout" | "stderr" = "stdout") {
  const found = [];
  for (let at = 0; at < count; at++) found.push(await program.next(stream));
  return found;
}

// deno-lint-ignore no-explicit-any
export type Message = any;

/** The frame of the figure in messenger/protocol.ts, written by hand. */
export function frame(message: unknown, length?: number): Buffer {
  const payload = Buffer.isBuffer(message) ? message : Buffer.from(JSON.stringify(message));
  const count = length ?? payload.length;
  return Buffer.concat([
    Buffer.from([count >>> 24, (count >>> 16) & 255, (count >>> 8) & 255, count & 255]),
    payload,
  ]);
}

/** A client of the test's own. */
export class Peer {
  readonly line: Line;
  #bytes = Buffer.alloc(0);
  #messages: Message[] = [];
  #wake = () => {};
  isOver = false;

  constructor(line: Line) {
    this.line = line;
    line.socket.on("data", (chunk) => {
      this.#bytes = Buffer.concat([this.#bytes, Buffer.from(chunk)]);
      while (this.#bytes.length >= 4 && this.#bytes.length >= 4 + this.#bytes.readUInt32BE()) {
        const end = 4 + this.#bytes.readUInt32BE();
        this.#messages.push(JSON.parse(String(this.#bytes.subarray(4, end))));
        this.#bytes = this.#bytes.subarray(end);
      }
      this.#wake();
    });
    const over = () => {
      this.isOver = true;
      this.#wake();
    };
    line.socket.on("end", over).on("close", over);
  }

  send(message: unknown): Promise<void> {
    return this.line.send(frame(message));
  }

  /** The next message of a type; undefined when the connection is over. */
  async next(type?: string): Promise<Message> {
    const end = performance.now() + 30_000;
    while (true) {
      while (this.#messages.length > 0) {
        const message = this.#messages.shift();
        if (!type || message.type === type) return message;
      }
      if (this.isOver) return undefined;
      if (performance.now() > end) throw new Error(`waited 30 s for ${type}`);
      await Promise.race([
        new Promise<void>((resolve) => (this.#wake = resolve)),
        new Promise((resolve) => setTimeout(resolve, 100)),
      ]);
    }
  }

  /** All messages up to one of a type. */
  async until(type: string): Promise<Message[]> {
    const found: Message[] = [];
    while (true) {
      const message = await this.next();
      if (message === undefined) throw new Error(`the end, before ${type}`);
      found.push(message);
      if (message.type === type) return found;
    }
  }

  [Symbol.dispose](): void {
    this.line.socket.destroy();
  }
}

/** The next caller that logs in: others scan the ports of this machine, too. */
export async function caller(listener: Listener): Promise<Peer> {
  while (true) {
    const peer = new Peer(await listener.accept());
    if (await peer.next("login")) return peer;
  }
}

export const SECRET = "0123456789abcdef0123456789abcdef";

/** Calls the server. @param from the loopback address to call from: a server counts callers by their address */
export async function dial(port: number, from = "127.0.0.1"): Promise<Peer> {
  const socket = connect({ port, host: "127.0.0.1", localAddress: from, allowHalfOpen: true });
  await inTime(once(socket, "connect"), `a connection to port ${port}`);
  return new Peer(new Line(socket));
}

/** Logs in with a client of the test's own. */
export async function logIn(port: number, name: string, secret = SECRET, from?: string) {
  const peer = await dial(port, from);
  await peer.send({ type: "login", version: 1, name, secret });
  const welcome = await peer.next("welcome");
  return Object.assign(peer, { welcome });
}

/** REGISTER of the figure in messenger/registration.ts, written by hand. */
export function registration(
  token: string,
  name: string,
  { own = [127, 0, 0, 1], cookie = "00".repeat(8) }: { own?: readonly number[]; cookie?: string } = {},
): Buffer {
  const card = Buffer.concat([Buffer.of(0x12, 0x34), Buffer.alloc(10), Buffer.of(255, 255, ...own)]);
  return Buffer.concat([
    Buffer.from("SbE\x01\x01"),
    Buffer.from(token + cookie, "hex"),
    card,
    Buffer.from(name),
  ]);
}

/** Registers, as the server demands: with the cookie of its first answer. @returns both of its answers */
export async function register(
  letters: Letterbox,
  port: number,
  token: string,
  name: string,
  own?: readonly number[],
): Promise<[Buffer, Buffer]> {
  await letters.send(registration(token, name, { own }), port);
  const [first] = await letters.next();
  const cookie = first.toString("hex", 21, 29);
  await letters.send(registration(token, name, { own, cookie }), port);
  const [second] = await letters.next();
  return [first, second];
}

/** A message to all, without its id and text. */
export const ask = { type: "send", to: null, also: [] };
