#!/usr/bin/env bun
/**
 * 2.6 A link that loses datagrams: it stands between two ends, and does to the
 * datagrams that pass what a bad network does.
 * 中文 会丢包的线路：夹在两端之间，像糟糕的网络那样对待经过的数据报。
 *
 * terminal 1
 *   $ bun scripts/udp/echo-server.ts
 *   listening on 127.0.0.1:8080
 *   127.0.0.1:50002 > 在吗？
 *   127.0.0.1:50002 > 在吗？
 *   ^C
 * terminal 2
 *   $ bun scripts/udp/lossy-link.ts --to 127.0.0.1:8080 --loss 50 --seed 55
 *   listening on 127.0.0.1:7792
 *   127.0.0.1:50001 goes out as 127.0.0.1:50002
 *   ^C
 *          4 datagrams came, in both directions
 *          1 got lost
 *          0 went on twice
 *          0 were held back, for the next one to overtake
 *          0 went on with a wrong bit
 * terminal 3
 *   $ bun scripts/udp/echo-client.ts --port 7792 --timeout 200
 *   > 在吗？
 *   no reply within 200 ms
 *   在吗？
 *   ^D
 *
 * Python     data, sender = s.recvfrom(65535)
 *                ->  datagrams(socket), which wraps socket.on("message")
 *            outside.sendto(data, (host, port))
 *                ->  outside.send(datagram, port, host)
 *            random.Random(seed).random()
 *                ->  createHash("sha256"): Math.random() takes no seed
 * Watch out  The client cannot know what got lost: here it was the reply, and
 *            the server got the question twice. To notice that, datagrams need
 *            numbers: reliable-send.ts gives them some.
 * Try        Another seed, or --corrupt 100: a wrong bit changes the text, and
 *            nobody notices. Then --loss 0 --delay 500: no reply is lost, and
 *            yet the client gives up.
 * 注意       客户端无从知道丢的是哪一个：这里丢的是回复，服务器收到了两遍问题。要
 *            能分辨，数据报就得有编号：reliable-send.ts 就给它们编了号。
 * 试试       换一个 --seed，或者 --corrupt 100：一个比特错了，文字就变了，却没有人
 *            发现。再试 --loss 0 --delay 500：回复一个也没丢，客户端还是放弃了。
 */
import { createHash } from "node:crypto";
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import { networkInterfaces } from "node:os";
import { readArguments } from "../../lib/arguments.ts";
import { explain, Failure } from "../../lib/failure.ts";
import { hint, print, ready, report, run } from "../../lib/program.ts";
import { endpoint, isEveryAddress, isLoopback, sent } from "../../lib/socket.ts";
import { closed, datagrams } from "../../lib/udp.ts";
import { readEndpoint, type Target } from "./endpoint-flag.ts";
import { isSameAddress } from "./same-address.ts";
import { isPassing } from "./send-errors.ts";
import { sourceName } from "./source-name.ts";
import { bound } from "./bound.ts";

/** How many senders are served; for one more, the oldest is forgotten. */
const MOST_SENDERS = 64;

/** How many delayed datagrams are kept; further ones are lost, as on a link that is full. */
const MOST_UNDER_WAY = 4096;

/** How long a datagram waits to be overtaken by the next one, in milliseconds. */
const LONGEST_HOLD = 5;

const percent = { kind: "number", min: 0, max: 100, default: 0 } as const;

async function main(stop: AbortSignal) {
  const options = await readArguments(import.meta, {
    port: 7792,
    flags: {
      to: {
        kind: "text",
        default: "127.0.0.1:7791",
        help: "HOST:PORT where the datagrams go on to | 数据报转发到的 HOST:PORT",
      },
      loss: { ...percent, help: "percent that get lost | 丢失的百分比" },
      duplicate: { ...percent, help: "percent that arrive twice | 重复到达的百分比" },
      reorder: { ...percent, help: "percent that the next one overtakes | 被下一个超过的百分比" },
      corrupt: { ...percent, help: "percent that arrive with a wrong bit | 错一个比特的百分比" },
      delay: {
        kind: "number",
        min: 0,
        max: 10_000,
        default: 0,
        help: "ms under way, in each direction | 每个方向的延迟，毫秒",
      },
      seed: {
        kind: "number",
        min: 0,
        max: 0xffff_ffff,
        default: 1,
        help: "the same seed, the same fate | 种子相同，命运相同",
      },
    },
  });
  const { host, family, port } = options;
  const to = await readEndpoint("--to", options.to);

  // Takes the port that the senders send to; `signal: stop` closes the socket on Ctrl-C, which ends the loop.
  await using socket = createSocket({ type: `udp${family}`, signal: stop });
  const inbox = datagrams(socket);
  socket.bind(port, host);
  await bound(socket, port, stop);
  if (isItself(to, socket.address())) {
    const what = `--to ${endpoint(to.host, to.port)}`;
    throw new Failure(what, "is this link itself: nothing would come out", "EINVAL", { exitCode: 2 });
  }
  await ready(socket.address());

  const link = new Link(socket, to, options, stop);
  for await (const [datagram, sender] of inbox) await link.forward(datagram, sender);
  link.close();
  for (const [figure, what] of link.figures()) await print(`${figure}`.padStart(8) + ` ${what}`);
}

/** Whether a datagram to `to` reaches a socket that is bound to `own`: it would go round for ever. */
function isItself(to: Target, own: { address: string; port: number }): boolean {
  if (to.port !== own.port) return false;
  if (to.family === 6 && !own.address.includes(":")) return false; // not the other way round: "::" hears IPv4, too
  if (!isEveryAddress(own.address)) return isSameAddress(own.address, to.host);
  const cards = Object.values(networkInterfaces()).flatMap((card) => card ?? []);
  return isLoopback(to.host) || cards.some((card) => isSameAddress(card.address, to.host));
}

/** What the link does to each datagram: percent of them, milliseconds, and the seed of the fates. */
type Rates = {
  loss: number;
  duplicate: number;
  reorder: number;
  corrupt: number;
  delay: number;
  seed: number;
};

/** What all directions of a link have in common: what passed, and how much is under way. */
type Traffic = {
  came: number;
  lost: number;
  twice: number;
  heldBack: number;
  damaged: number;
  underWay: number;
  /** Whether the user knows that the network is down. */
  isTold: boolean;
};

/** The way between the senders and `to`, there and back. */
class Link {
  readonly #socket: Socket;
  readonly #to: Target;
  readonly #rates: Rates;
  readonly #stop: AbortSignal;
  readonly #traffic: Traffic = {
    came: 0,
    lost: 0,
    twice: 0,
    heldBack: 0,
    damaged: 0,
    underWay: 0,
    isTold: false,
  };
  /** By the endpoint of the sender: the oldest is the first. */
  readonly #senders = new Map<string, { outside: Socket; forth: Direction }>();
  #answersFrom: string;

  constructor(socket: Socket, to: Target, rates: Rates, stop: AbortSignal) {
    this.#socket = socket;
    this.#to = to;
    this.#rates = rates;
    this.#stop = stop;
    this.#answersFrom = to.host;
  }

  /** Passes on a datagram, if it is not its fate to get lost. */
  async forward(datagram: Buffer, sender: RemoteInfo): Promise<void> {
    const name = endpoint(sender.address, sender.port);
    const { forth } = this.#senders.get(name) ?? await this.#welcome(name, sender);
    forth.pass(datagram);
  }

  /**
   * Opens a socket for a new sender, so that the answers find the way back. A home router does the same for
   * all the machines behind its one address (NAT, RFC 4787).
   */
  async #welcome(name: string, { address, port }: RemoteInfo) {
    const { host, port: toPort } = this.#to;
    const outside = createSocket(`udp${this.#to.family}`);
    const { seed } = this.#rates;
    const forth = new Direction(
      this.#rates,
      `${seed} forth`,
      this.#traffic,
      (datagram) => sent((done) => outside.send(datagram, toPort, host, done)),
    );
    const back = new Direction(
      this.#rates,
      `${seed} back`,
      this.#traffic,
      (datagram) => sent((done) => this.#socket.send(datagram, port, address, done)),
    );
    outside.on("message", (datagram, from) => { // an answer to what this sender has sent
      if (from.port !== toPort) return; // anybody can send to us
      if (this.#answersFrom === host && !isSameAddress(from.address, host)) { // another one of its addresses
        this.#answersFrom = from.address;
        hint(`${endpoint(host, toPort)} answers from ${endpoint(from.address, from.port)}`);
      }
      back.pass(datagram);
    });
    closed(outside); // its errors (nobody is at --to) are lost datagrams, which a link does not tell
    outside.bind(); // any free port: --to sees it as this sender's
    await once(outside, "listening", { signal: this.#stop });
    const entry = { outside, forth };
    this.#senders.set(name, entry);
    if (this.#senders.size > MOST_SENDERS) this.#forget([...this.#senders.keys()][0]);
    await print(`${name} goes out as ${sourceName(outside, host)}`);
    return entry;
  }

  #forget(name: string): void {
    this.#senders.get(name)?.outside.close();
    this.#senders.delete(name);
  }

  close(): void {
    for (const name of this.#senders.keys()) this.#forget(name);
  }

  /** The rows of the head. */
  figures(): [figure: number, what: string][] {
    return [
      [this.#traffic.came, "datagrams came, in both directions"],
      [this.#traffic.lost, "got lost"],
      [this.#traffic.twice, "went on twice"],
      [this.#traffic.heldBack, "were held back, for the next one to overtake"],
      [this.#traffic.damaged, "went on with a wrong bit"],
    ];
  }
}

/** One direction. With the same seed and rates, the n-th datagram has the same fate each time. */
class Direction {
  readonly #rates: Rates;
  readonly #seed: string;
  /** Of the next datagram. */
  #number = 0;
  readonly #traffic: Traffic;
  readonly #send: (datagram: Buffer) => Promise<void>;
  /** What waits to be overtaken. */
  #held: Buffer[] = [];
  #timer: NodeJS.Timeout | undefined;
  /** The end of the last send: those that did not wait for each other could leave in any order. */
  #last = Promise.resolve();

  constructor(rates: Rates, seed: string, traffic: Traffic, send: (datagram: Buffer) => Promise<void>) {
    this.#rates = rates;
    this.#seed = seed;
    this.#traffic = traffic;
    this.#send = send;
  }

  pass(datagram: Buffer): void {
    // A hash of the seed and the datagram's number decides its fate: it looks random, and is the same each time.
    const hash = createHash("sha256").update(`${this.#seed} ${this.#number++}`).digest();
    const chance = (index: number) => hash.readUInt32BE(4 * index) / 2 ** 32;
    const isLost = chance(0) * 100 < this.#rates.loss;
    const isTwice = chance(1) * 100 < this.#rates.duplicate;
    const isHeldBack = chance(2) * 100 < this.#rates.reorder;
    const isDamaged = chance(3) * 100 < this.#rates.corrupt;
    const bit = Math.floor(chance(4) * 8 * datagram.length);
    const traffic = this.#traffic;
    traffic.came++;
    if (isLost) {
      traffic.lost++;
      return;
    }
    if (isTwice) traffic.twice++;
    if (isDamaged && datagram.length > 0) {
      traffic.damaged++;
      datagram[bit >> 3] ^= 1 << (bit & 7);
    }
    const copies = isTwice ? [datagram, datagram] : [datagram];
    if (isHeldBack) {
      traffic.heldBack++;
      if (this.#held.length === 0) this.#timer = setTimeout(() => this.#release(), LONGEST_HOLD);
      this.#held.push(...copies);
    } else {
      this.#depart(copies);
      this.#release();
    }
  }

  #release(): void {
    clearTimeout(this.#timer);
    this.#depart(this.#held);
    this.#held = [];
  }

  #depart(datagrams: Buffer[]): void {
    for (const datagram of datagrams) {
      if (this.#traffic.underWay === MOST_UNDER_WAY) this.#traffic.lost++;
      else {
        this.#traffic.underWay++;
        if (this.#rates.delay === 0) this.#arrive(datagram);
        else setTimeout(() => this.#arrive(datagram), this.#rates.delay);
      }
    }
  }

  #arrive(datagram: Buffer): void {
    this.#last = this.#last.then(() => this.#send(datagram)).catch(async (error) => {
      this.#traffic.lost++;
      if (isPassing(error) && this.#traffic.isTold) return; // the network is down: for each datagram, the same
      this.#traffic.isTold = isPassing(error);
      if (explain(error)) await report(error); // and not that a socket was closed meanwhile
    });
    this.#last.then(() => this.#traffic.underWay--);
  }
}

if (import.meta.main) run("server", main);
