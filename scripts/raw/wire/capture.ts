/**
 * The file that Wireshark and tshark open: pcap (draft-ietf-opsawg-pcap). A head of 24 bytes: magic number 4, version
 * 2 + 2, zeros 8, the most bytes of a packet 4, link type 4. Then for each packet: seconds 4, nanoseconds 4, how many
 * bytes are here 4, how many there were 4, and the bytes.
 *
 * Link type LINUX_SLL2 (www.tcpdump.org/linktypes): the kernel has taken off the header of the card, and before each
 * packet stand 20 bytes: protocol 2, zeros 2, number of the card 4, its kind 2, direction 1, length of the sender's
 * hardware address 1, that address 8.
 */
import { openSync, writeSync } from "node:fs";
import { explain } from "../../../lib/failure.ts";
import { type Message, timespecOf } from "../libc.ts";

const NANOSECONDS = 0xa1b23c4d, LINUX_SLL2 = 276, LONGEST = 262_144;

export class Capture {
  readonly #path: string;
  readonly #file: number;
  #waiting: Buffer[] = [];

  /** @throws the error of open(2) or write(2), as the other calls do */
  constructor(path: string) {
    this.#path = path;
    this.#file = openSync(path, "w");
    const head = Buffer.alloc(24);
    head.writeUInt32LE(NANOSECONDS, 0);
    head.writeUInt16LE(2, 4);
    head.writeUInt16LE(4, 6);
    head.writeUInt32LE(LONGEST, 16);
    head.writeUInt32LE(LINUX_SLL2, 20);
    this.#waiting.push(head);
    this.flush();
  }

  /** Adds a message of a packet socket. */
  add(message: Message): void {
    const { data, from, length } = message; // from: see packetAddress
    const head = Buffer.alloc(36);
    const time = timespecOf(message); // seconds and nanoseconds, 8 bytes each
    time?.copy(head, 0, 0, 4);
    time?.copy(head, 4, 8, 12);
    head.writeUInt32LE(20 + data.length, 8);
    head.writeUInt32LE(20 + length, 12);
    from.copy(head, 16, 2, 4);
    head.writeUInt32BE(from.readUInt32LE(4), 20);
    head.writeUInt16BE(from.readUInt16LE(8), 24);
    from.copy(head, 26, 10, 20);
    this.#waiting.push(head, Buffer.from(data));
  }

  /** Writes what was added. */
  flush(): void {
    const bytes = Buffer.concat(this.#waiting);
    try {
      for (let at = 0; at < bytes.length;) at += writeSync(this.#file, bytes, at);
    } catch (error) {
      throw explain(error, `write ${this.#path}`) ?? error;
    }
    this.#waiting = [];
  }
}
