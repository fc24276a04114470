#!/usr/bin/env bun
/**
 * 2.6 Send a file reliably: what UDP loses, repeats, reorders and damages, TCP's mechanisms put right.
 * 中文 可靠地发送文件：UDP 会丢失、重复、乱序、损坏，TCP 的各种机制把它们一一补救回来。
 *
 * terminal 1
 *   $ bun scripts/udp/reliable-receive.ts --out scripts
 *   listening on 127.0.0.1:7791
 *   127.0.0.1:50002 > LICENSE, 928 bytes
 *   saved LICENSE, 928 bytes, from 127.0.0.1:50002
 *   ^C
 * terminal 2
 *   $ bun scripts/udp/lossy-link.ts --to 127.0.0.1:7791 --loss 30 --duplicate 10 --reorder 20 --seed 27
 *   listening on 127.0.0.1:7792
 *   127.0.0.1:50001 goes out as 127.0.0.1:50002
 *   ^C
 *          9 datagrams came, in both directions
 *          3 got lost
 *          2 went on twice
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
 * Python     struct.pack("!IIIHHI", ...) + payload  ->  encodePacket(...), of reliable-packet.ts
 *            zlib.crc32(data)                      ->  crc32(data), of node:zlib
 *            s.settimeout(seconds); s.recv(65535)  ->  Promise.race([letter, timer])
 * Watch out  A packet is  | checksum 4 | connection 4 | number 4 | type 2 | window 2 | timestamp 4 | payload 0-1200 |
 *            checksum              a damaged packet is as good as a lost one   RFC 9293, 3.1
 *            connection            no data before SYN was answered             RFC 9293, 3.5
 *            ordering, duplicates  each packet has a number                    RFC 9293, 3.4
 *            acknowledgement       all before this number, and these later     RFC 9293, 3.4; RFC 2018, 3
 *            retransmission        a timeout, measured from round trips        RFC 6298; RFC 7323, 4
 *            fast retransmission   three that were sent later have come        RFC 5681, 3.2; RFC 8985
 *            flow control          no more on the way than there is room for   RFC 9293, 3.8.6
 *            end                   FIN, answered when the file is saved        RFC 9293, 3.6
 *            reset, giving up      RST, and silence for too long               RFC 9293, 3.5.2 and 3.8.3
 *            congestion control    none! A network that is too full loses packets; TCP then sends less
 *                                  (RFC 5681, 3.1), this does not: keep it on networks of your own.
 * Try        Send ten megabytes with each rate of the link alone, and see which row answers to which.
 */
import { createHash } from "node:crypto";
import { createSocket } from "node:dgram";
import type { FileHandle } from "node:fs/promises";
import { basename } from "node:path";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint } from "../../lib/endpoint.ts";
import { Failure } from "../../lib/failure.ts";
import { openFile } from "../../lib/files.ts";
import { print, visible } from "../../lib/output.ts";
import {
  decodeCounts,
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
import { run } from "../../lib/run.ts";
import { datagrams, sendTo, sourceName } from "../../lib/udp.ts";

/** A packet on its way: sent, and not acknowledged yet. */
type Flight = {
  packet: Packet;
  /** When it was sent last. */
  sentAt: number;
  /** How many packets that were sent later have come before it. */
  overtaken: number;
};

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
        help: "ms of silence, to give up",
      },
    },
  });
  const receiver = endpoint(host, port);
  await using file = await openFile(path);
  const { size } = await file.stat();
  const name = basename(path);
  if (size > LARGEST_FILE) throw new Failure(path, "too large for packet numbers of 32 bits", "EFBIG");

  await using socket = createSocket(`udp${family}`);
  const inbox = datagrams(socket)[Symbol.asyncIterator]();
  let letter = inbox.next();
  let wake = () => {};
  stop.addEventListener("abort", () => wake());

  const connection = crypto.getRandomValues(new Uint32Array(1))[0];
  const flights = new Map<number, Flight>();
  const clock = new Clock();
  const counts = { timeout: 0, fast: 0, acks: 0, damaged: 0, atOnce: 0 };
  const packets = packetsOf(file, path, name, size);
  let upcoming = await packets.next();
  let number = 0; // of the upcoming one
  let unacknowledged = 0; // the first one that is
  let window = 1; // SYN goes alone: only its answer tells how much room the receiver has
  let isOver = false;
  const started = performance.now();
  let heard = started;

  try {
    while (!isOver) {
      // New packets, as many as the receiver has room for: flow control.
      while (!upcoming.done && number < unacknowledged + window) {
        const flight = { packet: { ...upcoming.value, connection, number }, sentAt: 0, overtaken: 0 };
        flights.set(number++, flight);
        await transmit(flight);
        upcoming = await packets.next();
      }
      counts.atOnce = Math.max(counts.atOnce, flights.size);

      const packet = await receive(Math.min(heard + timeout, ...Array.from(flights.values(), deadline)));
      if (!packet) {
        // Those whose time is up, once more.
        if (heard + timeout <= performance.now()) throw silence();
        for (const flight of flights.values()) {
          if (deadline(flight) > performance.now()) continue;
          counts.timeout++;
          await transmit(flight);
        }
      } else if (packet.type === "ACK") {
        acknowledge(packet);
        // Those that others have overtaken: three may be by chance, since the network reorders.
        for (const flight of flights.values()) {
          if (flight.overtaken < 3) continue;
          counts.fast++;
          await transmit(flight);
        }
      } else if (packet.type === "SAVED" && upcoming.done && packet.number === number) {
        isOver = true;
        await tell(packet);
      } else if (packet.type === "RST") {
        isOver = true;
        const { code, why } = decodeReason(packet.payload);
        throw new Failure(receiver, why, code);
      }
    }
  } finally {
    if (!isOver) { // Ctrl-C, an unreadable file: the receiver need not wait for its timeout
      const payload = encodeReason({ code: "ECANCELED", why: "the sender gave up" });
      const reset = encodePacket({ type: "RST", connection, number: 0, payload });
      for (let n = 0; n < 3; n++) await sendTo(socket, reset, port, host).catch(() => {}); // no ACK will come
    }
  }

  async function transmit(flight: Flight) {
    flight.sentAt = performance.now();
    flight.overtaken = 0;
    const bytes = encodePacket({ ...flight.packet, timestamp: microseconds(flight.sentAt) });
    await sendTo(socket, bytes, port, host);
  }

  /**
   * When a packet is taken for lost. The longer nothing at all was heard, the longer the wait: it doubles
   * each time, so that many who wait do not drown a network that is too slow (RFC 6298, section 5.5).
   */
  function deadline({ sentAt }: Flight): number {
    return sentAt + Math.max(clock.timeout, Math.min(sentAt - heard, LONGEST_PAUSE));
  }

  /** Waits for a packet of the receiver that belongs to this transfer, but not for ever. */
  async function receive(until: number) {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    wake = () => resolve(undefined);
    const timer = setTimeout(wake, Math.max(0, until - performance.now()));
    const got = await Promise.race([letter, promise]);
    clearTimeout(timer);
    stop.throwIfAborted();
    if (!got) return;
    letter = inbox.next();
    const [datagram, { address, port }] = got.value;
    if (endpoint(address, port) !== receiver) return; // anybody can write to us
    const packet = decodePacket(datagram);
    if (!packet) counts.damaged++;
    if (packet?.connection !== connection) return;
    heard = performance.now();
    return packet;
  }

  function acknowledge(ack: Required<Packet>) {
    counts.acks++;
    if (ack.number > number) return; // of what was never sent
    for (const one of flights.keys()) if (hasArrived(ack, one)) flights.delete(one);
    if (ack.number >= unacknowledged) { // and not an old one that newer ones have overtaken
      unacknowledged = ack.number;
      window = Math.min(Math.max(ack.window, 1), LARGEST_WINDOW);
    }
    const roundTrip = ((microseconds(heard) - ack.timestamp) >>> 0) / 1000;
    if (roundTrip > heard - started) return;
    clock.measure(roundTrip);
    for (const flight of flights.values()) if (flight.sentAt < heard - roundTrip - 0.001) flight.overtaken++;
  }

  function silence(): Failure {
    return new Failure(receiver, `nothing heard for ${timeout} ms`, "ETIMEDOUT", {
      hint: upcoming.done
        ? "the file may be there all the same: the last acknowledgement is the one that nobody acknowledges"
        : "is the receiver running? Datagrams to nobody are lost without a word",
    });
  }

  async function tell(saved: Required<Packet>) {
    const seconds = (performance.now() - started) / 1000;
    const there = decodeCounts(saved.payload);
    await print(`sent ${visible(name)}, ${size} bytes, from ${sourceName(socket, host)} to ${receiver}`);
    const rows: [number | string, string][] = [
      [number, "packets: SYN, data, FIN"],
      [counts.timeout, "sent again after a timeout"],
      [counts.fast, "sent again early: three sent later had come"],
      [counts.acks, "ACKs came back"],
      [counts.damaged + there.damaged, "damaged: the checksum was wrong"],
      [there.duplicate, "came twice: dropped"],
      [there.early, "came early: kept until their turn"],
      [counts.atOnce, "on the way at once, at most: the window"],
      [clock.roundTrip.toFixed(2), "ms for a round trip, on average"],
      [seconds.toFixed(2), "s in all"],
      [(size / 1000 / seconds).toFixed(0), "kB/s: the goodput"],
    ];
    for (const [figure, what] of rows) await print(`${figure}`.padStart(8) + ` ${what}`);
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

/** Microseconds in 32 bits: they wrap round after 71 minutes, and a difference is right all the same. */
function microseconds(ms: number): number {
  return Math.round(ms * 1000) >>> 0;
}

/** However long the silence, we try again after so many milliseconds. TCP pauses for a minute or more. */
const LONGEST_PAUSE = 500;

/**
 * How long to wait for an acknowledgement: the average round trip and four times its variation (RFC 6298,
 * section 2). Before the first measurement 200 ms, and then at least 10 ms more than a round trip, where
 * TCP takes a second for both: on one machine that would be an age.
 */
class Clock {
  timeout = 200;
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

if (import.meta.main) run("client", main);
