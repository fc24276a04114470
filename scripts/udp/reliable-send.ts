#!/usr/bin/env bun
/**
 * 2.6 Send a file reliably: UDP loses, repeats, reorders and damages datagrams;
 * TCP's mechanisms, rebuilt here, put that right.
 * 中文 可靠地发送文件：UDP 会丢包、重复、乱序、出错，这里用 TCP 的机制逐一纠正。
 *
 * terminal 1
 *   $ bun scripts/udp/reliable-receive.ts --out scripts
 *   listening on 127.0.0.1:7791
 *   127.0.0.1:50002 > LICENSE, 928 bytes
 *   saved LICENSE, 928 bytes, from 127.0.0.1:50002
 *   ^C
 * terminal 2
 *   $ bun scripts/udp/lossy-link.ts --to 127.0.0.1:7791 --loss 30 --reorder 20
 *   listening on 127.0.0.1:7792
 *   127.0.0.1:50001 goes out as 127.0.0.1:50002
 *   ^C
 *          9 datagrams came, in both directions
 *          3 got lost
 *          0 went on twice
 *          2 were held back, for the next one to overtake
 *          0 went on with a wrong bit
 * terminal 3
 *   $ bun scripts/udp/reliable-send.ts LICENSE --port 7792
 *   sent LICENSE, 928 bytes, from 127.0.0.1:50001 to 127.0.0.1:7792
 *          3 packets: SYN, data, FIN
 *          2 sent again after a timeout
 *          0 sent again early: three sent later had come
 *          3 ACKs came back
 *          0 damaged: the checksum was wrong
 *          1 came twice: dropped
 *          1 came early: kept until their turn
 *          2 on the way at once, at most: the window
 *      19.56 ms for a round trip, on average
 *       0.18 s in all
 *          5 kB/s: the goodput
 *
 * Python     struct.pack("!IIIHHI", ...) + payload; zlib.crc32(data)
 *                ->  encodePacket(packet), which wraps crc32(data) of node:zlib
 *            s.sendto(data, (host, port))
 *                ->  this.#socket.send(bytes, this.#port, this.#host)
 *            s.settimeout(seconds); data, sender = s.recvfrom(65535)
 *                ->  Promise.race([this.#coming, timer])
 * Watch out  The mechanisms, and where TCP's are described:
 *            checksum             damaged is as good as lost       RFC 9293, 3.1
 *            connection           no data before SYN is answered   RFC 9293, 3.5
 *            own numbers          each end chooses one (SCTP)      RFC 9260, 8.5
 *            ordering, no copies  each packet has a number         RFC 9293, 3.4
 *            acknowledgement      all before this, and these later RFC 2018, 3
 *            retransmission       no answer within the timeout     RFC 6298
 *            fast retransmission  three later packets have come    RFC 5681, 3.2
 *            flow control         no more than there is room for   RFC 9293, 3.8.6
 *            end                  FIN, answered when it is saved   RFC 9293, 3.6
 *            reset, giving up     RST, and silence for too long    RFC 9293, 3.8.3
 *            congestion control   none! A network that is too full loses packets.
 *            TCP then sends less (RFC 5681, 3.1), this does not: use it in your
 *            own networks only. reliable-packet.ts draws a packet.
 * Try        Send ten megabytes with one fault of the link at a time: which
 *            rows count it?
 * 注意       各种机制，以及 TCP 的相应机制在哪里说明：
 *            校验和          坏了的包当作丢了                 RFC 9293, 3.1
 *            连接            SYN 得到回答之前不发数据         RFC 9293, 3.5
 *            连接号          每个包写上对方选的号（同 SCTP）  RFC 9260, 8.5
 *            顺序、去重      每个包都有编号                   RFC 9293, 3.4
 *            确认            这之前的都到了，后面这几个也到了 RFC 2018, 3
 *            重传            限时之内没有回答                 RFC 6298
 *            快速重传        后发的已经到了三个               RFC 5681, 3.2
 *            流量控制        不超过对方还放得下的             RFC 9293, 3.8.6
 *            结束            FIN，文件存好了才回答            RFC 9293, 3.6
 *            复位、放弃      RST，以及太久没有动静            RFC 9293, 3.8.3
 *            拥塞控制        没有！网络太满就会丢包。
 *            TCP 会因此少发（RFC 5681, 3.1），这里不会：只在自己的网络里用。
 *            包的格式见 reliable-packet.ts。
 * 试试       发一个 10 MB 的文件，每次只用线路的一种毛病，看哪一行与它对应。
 */
import { createHash } from "node:crypto";
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import type { FileHandle } from "node:fs/promises";
import { basename } from "node:path";
import { readArguments } from "../../lib/arguments.ts";
import { explain, Failure } from "../../lib/failure.ts";
import { openFile } from "../../lib/files.ts";
import { hint, print, run, visible } from "../../lib/program.ts";
import { endpoint, sent } from "../../lib/socket.ts";
import { datagrams } from "../../lib/udp.ts";
import {
  type Counts,
  decodeCounts,
  decodeNumber,
  decodePacket,
  decodeReason,
  encodeFile,
  encodePacket,
  encodeReason,
  hasArrived,
  LARGEST_FILE,
  LARGEST_WINDOW,
  type Packet,
  PAYLOAD,
} from "./reliable-packet.ts";
import { isSameAddress } from "./same-address.ts";
import { isPassing } from "./send-errors.ts";
import { sourceName } from "./source-name.ts";

async function main(stop: AbortSignal) {
  const { host, family, port, timeout, words: [path] } = await readArguments(import.meta, {
    port: 7791,
    words: "FILE",
    flags: {
      timeout: {
        kind: "number",
        min: 100,
        max: 3_600_000,
        default: 10_000,
        help: "ms of silence, to give up | 多少毫秒没有动静就放弃",
      },
    },
  });
  await using file = await openFile(path);
  const { size } = await file.stat();
  const name = basename(path);
  if (size > LARGEST_FILE) throw new Failure(path, "too large for packet numbers of 32 bits", "EFBIG");

  // Unbound: the first send gives it a port, to which the answers come. No `signal: stop`: it sends an RST first.
  await using socket = createSocket(`udp${family}`);
  const transfer = new Transfer(socket, host, port, timeout, stop);
  const there = await transfer.send(packetsOf(file, path, name, size));

  const to = endpoint(host, port);
  await print(`sent ${visible(name)}, ${size} bytes, from ${sourceName(socket, host)} to ${to}`);
  for (const [figure, what] of transfer.figures(size, there)) {
    await print(`${figure}`.padStart(8) + ` ${what}`);
  }
}

/** Cuts a file into packets, read in pieces of 64: a file of any size takes no more memory. */
async function* packetsOf(
  file: FileHandle,
  path: string,
  name: string,
  size: number,
): AsyncGenerator<Pick<Packet, "type" | "payload">> {
  yield { type: "SYN", payload: encodeFile({ name, size }) };
  const hash = createHash("sha256");
  for (let at = 0; at < size;) {
    const buffer = Buffer.alloc(64 * PAYLOAD); // a new one: packets on their way still have the last one
    const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, size - at), at);
    if (bytesRead === 0) throw new Failure(path, "became shorter while it was sent", "EIO");
    const piece = buffer.subarray(0, bytesRead);
    hash.update(piece);
    for (let i = 0; i < bytesRead; i += PAYLOAD) {
      yield { type: "DATA", payload: piece.subarray(i, i + PAYLOAD) };
    }
    at += bytesRead;
  }
  yield { type: "FIN", payload: hash.digest() };
}

/** One file's way to the receiver, from SYN to SAVED: what is sent when, and what each answer means. */
class Transfer {
  readonly #socket: Socket;
  readonly #host: string;
  readonly #port: number;
  readonly #receiver: string;
  readonly #timeout: number;
  readonly #inbox: Inbox;
  /** The number that our packets bear after SYN, once the receiver has told it: it proves that we are here. */
  #theirNumber: number | undefined;
  /** The number that its answers bear: nobody else knows it. */
  readonly #ownNumber = crypto.getRandomValues(new Uint32Array(1))[0];
  readonly #window = new SendWindow();
  readonly #clock = new RoundTripClock();
  readonly #counts = { timeout: 0, early: 0, acks: 0, damaged: 0 };
  readonly #started = performance.now();
  /** When the receiver was heard last. */
  #heard = this.#started;
  /** Where its answers come from: a machine with several addresses may answer from another one. */
  #answersFrom: string;
  /** Why the last packet could not be sent. */
  #trouble: Failure | undefined;

  constructor(socket: Socket, host: string, port: number, timeout: number, stop: AbortSignal) {
    this.#socket = socket;
    this.#host = host;
    this.#port = port;
    this.#receiver = endpoint(host, port);
    this.#answersFrom = host;
    this.#timeout = timeout;
    this.#inbox = new Inbox(socket, stop);
  }

  /**
   * Sends all the packets, each as often as it takes.
   * @returns what the receiver counted
   * @throws Failure: the receiver's own (RST), or ETIMEDOUT
   */
  async send(packets: AsyncIterator<Pick<Packet, "type" | "payload">>): Promise<Counts> {
    let upcoming = await packets.next();
    let isOver = false;
    try {
      while (true) {
        while (!upcoming.done && this.#window.hasRoom) { // flow control
          const connection = this.#theirNumber ?? this.#ownNumber;
          await this.#transmit(this.#window.add({ ...upcoming.value, connection }));
          upcoming = await packets.next();
        }
        const packet = await this.#receive();
        if (packet === undefined) {
          if (this.#isSilent()) throw this.#silence(upcoming.done);
          await this.#repeatOverdue();
        } else if (packet.type === "SYNACK") {
          this.#theirNumber ??= decodeNumber(packet.payload);
          if (this.#theirNumber !== undefined) this.#acknowledge({ ...packet, payload: Buffer.alloc(0) });
        } else if (packet.type === "ACK" && this.#theirNumber !== undefined) {
          this.#acknowledge(packet);
          await this.#repeatOvertaken();
        } else if (packet.type === "SAVED" && upcoming.done && packet.number === this.#window.next) {
          isOver = true;
          return decodeCounts(packet.payload);
        } else if (packet.type === "RST") {
          isOver = true;
          const { code, why } = decodeReason(packet.payload);
          throw new Failure(this.#receiver, why, code);
        }
      }
    } finally {
      if (!isOver) await this.#reset(); // Ctrl-C, an unreadable file
    }
  }

  async #transmit(flight: Flight): Promise<void> {
    flight.sentAt = performance.now();
    flight.overtaken = 0;
    this.#trouble = undefined;
    try {
      await this.#write({ ...flight.packet, timestamp: microseconds(flight.sentAt) });
    } catch (error) {
      // As TCP does: what fails before the connection is there ends it, afterwards it is one more lost packet.
      if (!this.#window.isOpen || !isPassing(error as Error)) throw error;
      this.#trouble = explain(error);
    }
  }

  /** Hands a packet to the system: from here on it may get lost, and nothing says so. */
  #write(packet: Packet): Promise<void> {
    return sent((done) => this.#socket.send(encodePacket(packet), this.#port, this.#host, done));
  }

  /** Waits for a packet of this transfer, until a packet of ours is overdue. */
  async #receive(): Promise<Required<Packet> | undefined> {
    const overdue = Math.min(...Array.from(this.#window.flights, (flight) => this.#deadline(flight)));
    const arrival = await this.#inbox.next(Math.min(this.#heard + this.#timeout, overdue));
    if (!arrival) return;
    const [datagram, { address, port }] = arrival;
    if (port !== this.#port) return; // anybody can send to us
    const packet = decodePacket(datagram);
    if (!packet) this.#counts.damaged++;
    // The connection number tells an answer, and not the address: only who got our packets knows it.
    const isAnswer = packet?.connection === this.#ownNumber ||
      (packet?.type === "RST" && packet.connection === this.#theirNumber); // it knows nothing of this transfer
    if (!packet || !isAnswer) return;
    this.#heard = performance.now();
    if (this.#answersFrom === this.#host && !isSameAddress(address, this.#host)) {
      this.#answersFrom = address;
      await hint(`${this.#receiver} answers from ${endpoint(address, port)}`);
    }
    return packet;
  }

  /**
   * When a packet is taken for lost. The longer nothing at all was heard, the longer the wait: it doubles
   * each time, so that many senders do not drown a network that is too slow (RFC 6298, section 5.5).
   */
  #deadline({ sentAt }: Flight): number {
    return sentAt + Math.max(this.#clock.timeout, Math.min(sentAt - this.#heard, LONGEST_PAUSE));
  }

  /** Retransmission: no acknowledgement has come in time. */
  async #repeatOverdue(): Promise<void> {
    for (const flight of this.#window.flights) {
      if (this.#deadline(flight) > performance.now()) continue;
      this.#counts.timeout++;
      await this.#transmit(flight);
    }
  }

  /** Fast retransmission: three later packets have come. Fewer may be by chance, since the network reorders. */
  async #repeatOvertaken(): Promise<void> {
    for (const flight of this.#window.flights) {
      if (flight.overtaken < 3) continue;
      this.#counts.early++;
      await this.#transmit(flight);
    }
  }

  #acknowledge(ack: Required<Packet>): void {
    this.#counts.acks++;
    const arrived = this.#window.acknowledge(ack);
    if (arrived === undefined) return;
    const roundTrip = ((microseconds(this.#heard) - ack.timestamp) >>> 0) / 1000;
    if (roundTrip > this.#heard - this.#started) return; // not a timestamp of ours
    this.#clock.measure(roundTrip);
    if (arrived > 0) this.#window.countOvertaken(this.#heard - roundTrip); // and not for each copy of a packet
  }

  /** Tells the receiver that no more will come, so that it need not wait for its timeout. */
  async #reset(): Promise<void> {
    if (this.#theirNumber === undefined) return; // it keeps nothing yet
    const payload = encodeReason({ code: "ECANCELED", why: "the sender gave up" });
    const reset: Packet = { type: "RST", connection: this.#theirNumber, number: 0, payload };
    for (let n = 0; n < 3; n++) await this.#write(reset).catch(() => {}); // three, as no ACK will come
  }

  #isSilent(): boolean {
    return this.#heard + this.#timeout <= performance.now();
  }

  #silence(isAllSent = false): Failure {
    const trouble = this.#trouble && `the last packet could not be sent: ${this.#trouble.message}`;
    return new Failure(this.#receiver, `nothing heard for ${this.#timeout} ms`, "ETIMEDOUT", {
      hint: trouble ??
        (isAllSent
          ? "the file may have been saved all the same: the answer to the last packet may be lost"
          : "is the receiver running? A datagram to a port that nobody has is lost without an error"),
    });
  }

  /** What each mechanism did, in the rows of the head. */
  figures(size: number, there: Counts): [figure: number | string, what: string][] {
    const seconds = (performance.now() - this.#started) / 1000;
    return [
      [this.#window.next, "packets: SYN, data, FIN"],
      [this.#counts.timeout, "sent again after a timeout"],
      [this.#counts.early, "sent again early: three sent later had come"],
      [this.#counts.acks, "ACKs came back"],
      [this.#counts.damaged + there.damaged, "damaged: the checksum was wrong"],
      [there.duplicate, "came twice: dropped"],
      [there.early, "came early: kept until their turn"],
      [this.#window.mostAtOnce, "on the way at once, at most: the window"],
      [this.#clock.roundTrip.toFixed(2), "ms for a round trip, on average"],
      [seconds.toFixed(2), "s in all"],
      [(size / 1000 / seconds).toFixed(0), "kB/s: the goodput"],
    ];
  }
}

/** A packet that was sent, and is not acknowledged yet. */
type Flight = {
  packet: Packet;
  /** When it was sent last, as performance.now() counts. */
  sentAt: number;
  /** How many packets that were sent later have come before it. */
  overtaken: number;
};

/** The packets on their way: never more than the receiver has room for (RFC 9293, section 3.8.6). */
class SendWindow {
  readonly #flights = new Map<number, Flight>();
  /** The number of the next new packet. */
  next = 0;
  mostAtOnce = 0;
  #firstUnacknowledged = 0;
  /** SYN goes alone: only its answer tells how much room the receiver has. */
  #size = 1;

  /** Whether SYN was answered. */
  get isOpen(): boolean {
    return this.#firstUnacknowledged > 0;
  }

  get hasRoom(): boolean {
    return this.next < this.#firstUnacknowledged + this.#size;
  }

  get flights(): Iterable<Flight> {
    return this.#flights.values();
  }

  /** Gives the next packet its number. */
  add(packet: Omit<Packet, "number">): Flight {
    const flight = { packet: { ...packet, number: this.next }, sentAt: 0, overtaken: 0 };
    this.#flights.set(this.next++, flight);
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#flights.size);
    return flight;
  }

  /** Takes out what has arrived, and counts it; undefined for an acknowledgement of packets that were never sent. */
  acknowledge(ack: Required<Packet>): number | undefined {
    if (ack.number > this.next) return undefined;
    const before = this.#flights.size;
    for (const number of this.#flights.keys()) if (hasArrived(ack, number)) this.#flights.delete(number);
    if (ack.number >= this.#firstUnacknowledged) { // not an old one that newer ones have overtaken
      this.#firstUnacknowledged = ack.number;
      this.#size = Math.min(Math.max(ack.window, 1), LARGEST_WINDOW);
    }
    return before - this.#flights.size;
  }

  /** A packet that was sent at `time` has arrived: those that were sent before it, and have not, it has overtaken. */
  countOvertaken(time: number): void {
    for (const flight of this.#flights.values()) if (flight.sentAt < time - 0.001) flight.overtaken++;
  }
}

type Datagram = [data: Buffer, sender: RemoteInfo];

/** What comes in, one datagram at a time. */
class Inbox {
  readonly #datagrams: AsyncIterator<Datagram>;
  #coming: Promise<IteratorResult<Datagram>>;
  readonly #stop: AbortSignal;
  #wake = () => {};

  constructor(socket: Socket, stop: AbortSignal) {
    this.#datagrams = datagrams(socket)[Symbol.asyncIterator]();
    this.#coming = this.#datagrams.next();
    this.#stop = stop;
    stop.addEventListener("abort", () => this.#wake());
  }

  /** Waits for the next datagram, until a time of performance.now(). @throws AbortError */
  async next(until: number): Promise<Datagram | undefined> {
    const { promise: timer, resolve } = Promise.withResolvers<undefined>();
    this.#wake = () => resolve(undefined);
    const timeout = setTimeout(this.#wake, Math.max(0, until - performance.now()));
    const arrival = await Promise.race([this.#coming, timer]);
    clearTimeout(timeout);
    this.#stop.throwIfAborted();
    if (!arrival) return;
    this.#coming = this.#datagrams.next();
    return arrival.value;
  }
}

/** The longest pause between two tries, in milliseconds, however long the silence. TCP's is a minute or more. */
const LONGEST_PAUSE = 500;

/**
 * How long to wait for an acknowledgement: the average round trip and four times its variation (RFC 6298,
 * section 2). Before the first measurement 200 ms, and then at least 10 ms more than a round trip, where
 * TCP takes a second for both: on one machine that would be an age.
 */
class RoundTripClock {
  /** In milliseconds. */
  timeout = 200;
  /** The average, in milliseconds. */
  roundTrip = 0;
  #variation = 0;

  measure(ms: number): void {
    if (this.roundTrip === 0) {
      this.roundTrip = ms;
      this.#variation = ms / 2;
    } else {
      this.#variation += (Math.abs(this.roundTrip - ms) - this.#variation) / 4;
      this.roundTrip += (ms - this.roundTrip) / 8;
    }
    this.timeout = this.roundTrip + Math.max(10, 4 * this.#variation);
  }
}

/** Microseconds in 32 bits: they wrap round after 71 minutes, and a difference is right all the same. */
function microseconds(ms: number): number {
  return Math.round(ms * 1000) >>> 0;
}

if (import.meta.main) run("client", main);
