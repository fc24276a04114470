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
 *   $ bun scripts/udp/lossy-link.ts --to 127.0.0.1:7791 --loss 30 --duplicate 10 --reorder 20 --corrupt 1 --seed 27
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
 *          0 sent again early, when ACKs told of three later ones
 *          3 ACKs came back
 *          0 damaged: the checksum was wrong
 *          1 came twice: dropped
 *          1 came early: kept until their turn
 *          2 on the way at once, at most: the window
 *      19.56 ms for a round trip, on average
 *       0.18 s in all
 *          5 kB/s: the goodput
 *
 * Python     struct.pack("!IIIHH", ...)          ->  encodePacket(...) of lib/reliable.ts, which draws a packet
 *            s.settimeout(seconds); s.recvfrom() ->  Promise.race([letter, timer])
 * Watch out  Congestion control is missing: TCP also sends less when packets get lost (RFC 5681), because a
 *            network that is too full loses them. This sender goes on at full speed: never on the Internet.
 *            The rest is TCP's: checksum, numbers, acknowledgements (RFC 9293, section 3.4; RFC 2018),
 *            timeouts (RFC 6298), window (RFC 9293, section 3.8.6). lib/reliable.ts has the whole table.
 * Try        Send ten megabytes with each rate in turn, and see which line answers to which.
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
} from "../../lib/reliable.ts";
import { run } from "../../lib/run.ts";
import { datagrams, sendTo, sourceName } from "../../lib/udp.ts";

/** A packet on its way: sent, and not acknowledged yet. */
type Flight = {
  bytes: Buffer;
  /** When it was sent last, and as which transmission of all. */
  sentAt: number;
  order: number;
  isRepeat: boolean;
  /** How many ACKs have told of packets that were sent later. */
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
  const counts = { sent: 0, timeout: 0, fast: 0, acks: 0, damaged: 0, atOnce: 0 };
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
        const bytes = encodePacket({ ...upcoming.value, connection, number });
        const flight = { bytes, sentAt: 0, order: 0, isRepeat: false, overtaken: 0 };
        flights.set(number, flight);
        await transmit(flight);
        number++;
        upcoming = await packets.next();
      }
      counts.atOnce = Math.max(counts.atOnce, flights.size);

      // Old ones again: those that three ACKs have passed over, and those whose time is up.
      const now = performance.now();
      let next = heard + timeout;
      if (next <= now) throw silence();
      for (const flight of flights.values()) {
        const isLate = deadline(flight) <= now;
        if (isLate || flight.overtaken >= 3) {
          if (isLate) counts.timeout++;
          else counts.fast++;
          flight.isRepeat = true;
          await transmit(flight);
        }
        next = Math.min(next, deadline(flight));
      }

      const packet = await receive(Math.max(0, next - performance.now()));
      if (!packet) continue;
      heard = performance.now();
      if (packet.type === "RST") {
        isOver = true;
        const { code, why } = decodeReason(packet.payload);
        throw new Failure(receiver, why, code);
      } else if (packet.type === "ACK") {
        acknowledge(packet);
      } else if (packet.type === "SAVED" && upcoming.done && packet.number === number) {
        isOver = true;
        await tell(packet);
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
    flight.order = counts.sent++;
    flight.overtaken = 0;
    await sendTo(socket, flight.bytes, port, host);
  }

  /**
   * When a packet is taken for lost. The longer nothing at all was heard, the longer the wait: it doubles
   * each time, so that many who wait do not drown a network that is too slow (RFC 6298, section 5.5).
   */
  function deadline({ sentAt }: Flight): number {
    return sentAt + Math.min(Math.max(clock.timeout, sentAt - heard), LONGEST_WAIT);
  }

  /** Waits for a packet of the receiver that belongs to this transfer, but no longer than so many ms. */
  async function receive(ms: number) {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    wake = () => resolve(undefined);
    const timer = setTimeout(wake, ms);
    const got = await Promise.race([letter, promise]);
    clearTimeout(timer);
    stop.throwIfAborted();
    if (!got) return;
    letter = inbox.next();
    const [datagram, { address, port }] = got.value;
    if (endpoint(address, port) !== receiver) return; // anybody can write to us
    const packet = decodePacket(datagram);
    if (!packet) counts.damaged++;
    else if (packet.connection === connection) return packet;
  }

  function acknowledge(ack: Required<Packet>) {
    counts.acks++;
    if (ack.number < unacknowledged || ack.number > number) return; // overtaken by a newer one, or nonsense
    unacknowledged = ack.number;
    window = Math.min(Math.max(ack.window, 1), LARGEST_WINDOW);
    let latest = -1;
    for (const [one, flight] of flights) {
      if (!hasArrived(ack, one)) continue;
      flights.delete(one);
      if (flight.isRepeat) continue; // which of the two is acknowledged? Nobody knows (RFC 6298, section 3)
      clock.measure(heard - flight.sentAt);
      latest = Math.max(latest, flight.order);
    }
    for (const flight of flights.values()) if (flight.order < latest) flight.overtaken++;
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
      [counts.fast, "sent again early, when ACKs told of three later ones"],
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
  const buffer = Buffer.alloc(64 * PAYLOAD);
  for (let at = 0; at < size;) {
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

/** No wait is longer, in milliseconds. TCP's may be: a minute or more (RFC 6298, section 2.5). */
const LONGEST_WAIT = 500;

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
