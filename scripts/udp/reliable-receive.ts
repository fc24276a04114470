#!/usr/bin/env bun
/**
 * 2.6 Receive a file reliably: acknowledge, sort, drop what comes twice, and
 * keep only what is whole.
 * 中文 可靠地接收文件：确认、排序、丢弃重复的，只留下完整的文件。
 *
 * terminal 1
 *   $ bun scripts/udp/reliable-receive.ts --out scripts
 *   listening on 127.0.0.1:7791
 *   127.0.0.1:50001 > LICENSE, 928 bytes
 *   saved LICENSE, 928 bytes, from 127.0.0.1:50001
 *   error: 127.0.0.1:50002 > LICENSE: exists already, and is not overwritten (EEXIST)
 *   ^C
 * terminal 2
 *   $ bun scripts/udp/reliable-send.ts LICENSE
 *   sent LICENSE, 928 bytes, from 127.0.0.1:50001 to 127.0.0.1:7791
 *          3 packets: SYN, data, FIN
 *          0 sent again after a timeout
 *          0 sent again early: three sent later had come
 *          2 ACKs came back
 *          0 damaged: the checksum was wrong
 *          0 came twice: dropped
 *          0 came early: kept until their turn
 *          2 on the way at once, at most: the window
 *       0.61 ms for a round trip, on average
 *       0.01 s in all
 *        130 kB/s: the goodput
 *   $ bun scripts/udp/reliable-send.ts LICENSE
 *   error: 127.0.0.1:7791: exists already, and is not overwritten (EEXIST)
 *   [exit 1]
 *
 * Python     data, sender = s.recvfrom(65535)
 *                ->  datagrams(socket), which wraps socket.on("message")
 *            s.sendto(data, sender)
 *                ->  socket.send(encodePacket(packet), port, address)
 *            zlib.crc32(data)
 *                ->  decodePacket(datagram), which wraps crc32(data) of node:zlib
 * Watch out  The sender chooses the name of the file: it never leads out of
 *            --out, and never replaces a file. A checksum finds accidents only:
 *            an attacker who forges a packet forges its checksum too. Nor does
 *            a SYN prove where it comes from: so it takes no place here until
 *            its sender has used the number in our answer (RFC 4987).
 * Try        Ctrl-C one end in the middle of a large file, or kill -9 it, and
 *            see what the other end says. Then --window 1, and compare the
 *            goodput: each packet waits for the answer to the one before.
 * 注意       文件名由发送方定：它出不了 --out 这个文件夹，也不会覆盖已有的文件。校
 *            验和只能发现意外的差错：伪造数据报的人，校验和也会一起伪造。SYN 也证
 *            明不了它从哪里来：所以发送方用上我们回答里的编号之前，SYN 在这里不占
 *            位置（RFC 4987）。
 * 试试       传大文件时按 Ctrl-C 停掉一端，或者用 kill -9，看另一端怎么说。再用
 *            --window 1，比较有效吞吐量：每个包都要等前一个的回答。
 */
import { createHash, createHmac, randomBytes } from "node:crypto";
import { createSocket, type RemoteInfo } from "node:dgram";
import { access, constants } from "node:fs/promises";
import { readArguments } from "../../lib/arguments.ts";
import { explain, failAs, Failure } from "../../lib/failure.ts";
import { folderOf, saveInside } from "../../lib/files.ts";
import { print, ready, report, run, visible } from "../../lib/program.ts";
import { endpoint, sent } from "../../lib/socket.ts";
import { datagrams } from "../../lib/udp.ts";
import { sourceOf } from "../apps/source-of.ts";
import {
  decodeFile,
  decodePacket,
  decodeReason,
  encodeArrived,
  encodeCounts,
  encodeNumber,
  encodePacket,
  encodeReason,
  LARGEST_WINDOW,
  type Packet,
} from "./reliable-packet.ts";
import { bound } from "./bound.ts";

/** How many files may come at the same time. */
const MOST_TRANSFERS = 8;

/** How many SYNs are kept whose senders have not gone on; one more takes the place of the oldest. */
const MOST_SYNS = 1024;

/** How many answers to transfers that are over are kept. */
const MOST_LAST_WORDS = 64;

async function main(stop: AbortSignal) {
  const { host, family, port, out, window, timeout } = await readArguments(import.meta, {
    port: 7791,
    flags: {
      out: { kind: "text", required: true, help: "the folder where the files go | 存放文件的文件夹" },
      window: {
        kind: "number",
        min: 1,
        max: LARGEST_WINDOW,
        default: 64,
        help: "room for so many packets | 放得下多少个包",
      },
      timeout: {
        kind: "number",
        min: 100,
        max: 3_600_000,
        default: 10_000,
        help: "ms of silence, to give up | 多少毫秒没有动静就放弃",
      },
    },
  });
  await access(await folderOf(out), constants.W_OK).catch(failAs(out));

  // No `signal: stop` here: when it is stopped, it still has to tell the senders.
  await using socket = createSocket(`udp${family}`);
  const inbox = datagrams(socket);
  socket.bind(port, host); // takes the port, so that senders can find us
  await bound(socket, port, stop);
  await ready(socket.address());

  await using transfers = new Transfers(out, window, timeout);
  stop.addEventListener("abort", async () => {
    for (const { connection, sender } of transfers) {
      const last = reset(connection, "ECONNRESET", "the receiver was stopped");
      for (let n = 0; n < 3; n++) await answer(last, sender); // it may get lost
    }
    socket.close();
  });

  for await (const [datagram, sender] of inbox) {
    const packet = await transfers.receive(datagram, sender);
    if (packet) await answer(packet, sender);
  }

  /** One datagram goes back to where the last one came from. One that the system refuses is as good as lost. */
  function answer(packet: Packet, { address, port }: RemoteInfo): Promise<void> {
    return sent((done) => socket.send(encodePacket(packet), port, address, done)).catch(() => {});
  }
}

/** All the files that are on their way here, and what was said last to those that are over. */
class Transfers implements AsyncDisposable {
  readonly #out: string;
  readonly #window: number;
  readonly #timeout: number;
  readonly #handshakes = new Handshakes();
  /** By the sender's endpoint and the number that its packets bear, as all maps here. */
  readonly #transfers = new Map<string, Transfer>();
  readonly #lastWords = new Map<string, Packet>();

  constructor(out: string, window: number, timeout: number) {
    this.#out = out;
    this.#window = window;
    this.#timeout = timeout;
  }

  [Symbol.iterator](): Iterator<Transfer> {
    return this.#transfers.values();
  }

  /** Deals with a datagram, and gives the answer to it. */
  async receive(datagram: Buffer, sender: RemoteInfo): Promise<Packet | undefined> {
    const peer = endpoint(sender.address, sender.port);
    const packet = decodePacket(datagram);
    if (!packet) { // damaged: nothing in it can be trusted, only the address on it
      for (const transfer of this) if (transfer.peer === peer) transfer.counts.damaged++;
      return;
    }
    const { type, connection } = packet;
    if (type === "SYN" && packet.number === 0) return this.#greet(packet, peer);
    const key = `${peer} ${connection}`;
    const transfer = this.#transfers.get(key);
    const syn = transfer ? undefined : this.#handshakes.take(key);
    if (type === "ACK" || type === "SAVED" || type === "SYNACK") return; // our own words
    if (type === "RST" && !transfer) return; // the answer would be an RST too, and so on for ever
    if (this.#lastWords.has(key)) return this.#lastWords.get(key); // it got lost: once more
    if (transfer) return await this.#goOn(key, packet, transfer);
    if (syn) return await this.#begin(key, packet, syn, sender);
    return reset(connection, "ECONNRESET", "knows nothing of this transfer", packet.payload.length);
  }

  /** Answers a SYN. Its sender's address may be forged, so it takes no place and no file yet. */
  #greet(syn: Required<Packet>, peer: string): Packet | undefined {
    if (syn.payload.length < 8) return;
    const number = this.#handshakes.numberFor(peer, syn.connection);
    const key = `${peer} ${number}`;
    if (this.#lastWords.has(key)) return this.#lastWords.get(key); // a copy that comes late
    const transfer = this.#transfers.get(key);
    if (transfer) transfer.counts.duplicate++;
    else this.#handshakes.add(key, syn);
    const { connection, timestamp } = syn;
    const payload = encodeNumber(number);
    return { type: "SYNACK", connection, number: 1, window: this.#window, timestamp, payload };
  }

  /** The first packet after SYN, with the right number: its sender is where it says. */
  async #begin(key: string, packet: Required<Packet>, syn: Required<Packet>, sender: RemoteInfo) {
    const { connection } = syn;
    const peer = endpoint(sender.address, sender.port);
    await this.#makeRoom(sourceOf(sender.address));
    if (this.#transfers.size === MOST_TRANSFERS) return reset(connection, "EBUSY", "busy with other files");
    try {
      const file = decodeFile(syn.payload);
      if (!file) throw new Failure("a name", "is not UTF-8", "EILSEQ");
      const saving = await saveInside(this.#out, file.name);
      const transfer = new Transfer(saving, file, peer, sender, connection, this.#window);
      this.#transfers.set(key, transfer);
      await print(`${peer} > ${visible(file.name)}, ${file.size} bytes`);
      return await this.#goOn(key, packet, transfer);
    } catch (error) {
      return await this.#fail(key, peer, connection, error);
    }
  }

  /**
   * When all places are taken, a transfer of the source that has the most gives way: else one machine could keep all
   * others out for ever. Where the newcomer's source would then have more, only one that has stood still for as long as
   * silence may last does: of that source or, where it has none, of any. It is the one that has stood still longest.
   */
  async #makeRoom(source: string): Promise<void> {
    if (this.#transfers.size < MOST_TRANSFERS) return;
    const shares = Map.groupBy(this.#transfers, ([, { sender }]) => sourceOf(sender.address));
    const largest = shares.values().reduce((most, share) => share.length > most.length ? share : most);
    const own = shares.get(source) ?? [];
    const isFair = largest.length >= own.length + 2;
    const share = isFair ? largest : own.length > 0 ? own : [...this.#transfers];
    const [key, last] = share.reduce((last, one) => one[1].moved < last[1].moved ? one : last);
    if (!isFair && performance.now() - last.moved < this.#timeout) return;
    const failure = new Failure(last.name, "had to make room for another sender", "EBUSY");
    await this.#fail(key, last.peer, last.connection, failure);
  }

  async #goOn(key: string, packet: Required<Packet>, transfer: Transfer): Promise<Packet> {
    const { peer, connection } = transfer;
    clearTimeout(transfer.silence);
    try {
      await transfer.take(packet);
      if (!transfer.isSaved) {
        transfer.silence = setTimeout(() => this.#giveUp(key, transfer), this.#timeout);
        return { ...transfer.acknowledgement(), timestamp: packet.timestamp };
      }
      await print(`saved ${visible(transfer.name)}, ${transfer.size} bytes, from ${peer}`);
      await this.#forget(key);
      const payload = encodeCounts(transfer.counts);
      return this.#remember(key, { ...transfer.acknowledgement(), type: "SAVED", payload });
    } catch (error) {
      return await this.#fail(key, peer, connection, error);
    }
  }

  /** Tells here and there why a transfer is over. */
  async #fail(key: string, peer: string, connection: number, error: unknown): Promise<Packet> {
    const failure = explain(error);
    if (!failure) throw error;
    await this.#forget(key);
    await report(new Failure(`${peer} > ${failure.what}`, failure.why, failure.code));
    return this.#remember(key, reset(connection, failure.code, failure.why));
  }

  async #giveUp(key: string, { peer, name }: Transfer): Promise<void> {
    await this.#forget(key);
    await report(new Failure(`${peer} > ${name}`, `silent for ${this.#timeout} ms`, "ETIMEDOUT"));
  }

  async #forget(key: string): Promise<void> {
    const transfer = this.#transfers.get(key);
    this.#transfers.delete(key);
    clearTimeout(transfer?.silence);
    await transfer?.saving[Symbol.asyncDispose]();
  }

  /**
   * The last word of a transfer is kept: it can get lost, and then the sender asks again. TCP keeps it
   * for some minutes, in TIME-WAIT (RFC 9293, section 3.6); we keep the latest.
   */
  #remember(key: string, answer: Packet): Packet {
    this.#lastWords.set(key, answer);
    if (this.#lastWords.size > MOST_LAST_WORDS) this.#lastWords.delete([...this.#lastWords.keys()][0]);
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const key of this.#transfers.keys()) await this.#forget(key);
  }
}

function reset(connection: number, code: string, why: string, most?: number): Packet {
  return { type: "RST", connection, number: 0, payload: encodeReason({ code, why }, most) };
}

/** SYNs that were answered, and whose senders have not gone on yet (RFC 4987 describes the flood of them). */
class Handshakes {
  readonly #secret = randomBytes(32);
  /** The oldest is the first. */
  readonly #syns = new Map<string, Required<Packet>>();

  /** The number with which a sender goes on: only a peer that gets our answers can know it. */
  numberFor(peer: string, connection: number): number {
    return createHmac("sha256", this.#secret).update(`${peer} ${connection}`).digest().readUInt32BE();
  }

  add(key: string, syn: Required<Packet>): void {
    this.#syns.delete(key);
    this.#syns.set(key, { ...syn, payload: Buffer.from(syn.payload) }); // a copy, as short as it is
    if (this.#syns.size > MOST_SYNS) this.#syns.delete([...this.#syns.keys()][0]);
  }

  take(key: string): Required<Packet> | undefined {
    const syn = this.#syns.get(key);
    this.#syns.delete(key);
    return syn;
  }
}

/** A file that is on its way here. */
class Transfer {
  readonly saving: Awaited<ReturnType<typeof saveInside>>;
  readonly name: string;
  readonly size: number;
  readonly peer: string;
  readonly sender: RemoteInfo;
  readonly connection: number;
  readonly counts = { damaged: 0, duplicate: 0, early: 0 };
  silence: NodeJS.Timeout | undefined;
  /** When the last packet came that was new, as performance.now() counts. A copy is heard, but moves nothing. */
  moved = performance.now();
  isSaved = false;
  readonly #window: number;
  /** The first packet that has not come. SYN, number 0, has. */
  #next = 1;
  /** Packets that came before their turn: never more than the window. */
  readonly #early = new Map<number, Required<Packet>>();
  readonly #hash = createHash("sha256");
  #received = 0;

  constructor(
    saving: Transfer["saving"],
    file: { name: string; size: number },
    peer: string,
    sender: RemoteInfo,
    connection: number,
    window: number,
  ) {
    this.saving = saving;
    this.name = file.name;
    this.size = file.size;
    this.peer = peer;
    this.sender = sender;
    this.connection = connection;
    this.#window = window;
  }

  /** Takes a packet: at its turn, early, twice, or far outside of the window. */
  async take(packet: Required<Packet>): Promise<void> {
    const { number } = packet;
    if (packet.type === "RST") throw new Failure(this.name, decodeReason(packet.payload).why, "ECANCELED");
    if (number >= this.#next + this.#window) return; // no room
    if (number < this.#next || this.#early.has(number)) {
      this.counts.duplicate++;
      return;
    }
    this.moved = performance.now();
    if (number > this.#next) this.counts.early++;
    this.#early.set(number, packet);
    for (let one; !this.isSaved && (one = this.#early.get(this.#next));) { // after FIN comes nothing
      this.#early.delete(this.#next++);
      await this.#deliver(one);
    }
  }

  acknowledgement(): Packet {
    const { connection } = this;
    const payload = encodeArrived(this.#next, this.#early.keys());
    return { type: "ACK", connection, number: this.#next, window: this.#window, payload };
  }

  /** Here the packets come in order, each once. They are acknowledged when the file has them. */
  async #deliver({ type, payload }: Required<Packet>): Promise<void> {
    if (type === "DATA") {
      this.#received += payload.length;
      if (this.#received > this.size) throw new Failure(this.name, "more bytes than announced", "EPROTO");
      this.#hash.update(payload);
      await this.saving.write(payload);
    } else {
      if (type !== "FIN" || this.#received < this.size || !this.#hash.digest().equals(payload)) {
        throw new Failure(this.name, "not the bytes that were sent", "EBADMSG");
      }
      await this.saving.finish();
      this.isSaved = true;
    }
  }
}

if (import.meta.main) run("server", main);
