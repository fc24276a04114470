/**
 * The server's half of SFTP, version 3 (draft-ietf-secsh-filexfer-02), as OpenSSH speaks it (its file PROTOCOL,
 * section 4). Both ends send packets through one channel of an SSH connection: messages with their length in front,
 * as in lesson 3.6. All numbers are big-endian; a string is its length in 4 bytes, then its bytes.
 *
 *     0            4      5        9
 *     +------------+------+--------+----------- - -+
 *     | L, 1 to    | type | id     | fields        |     L: how many bytes follow the first four
 *     | 262,144    |      |        |               |     id: a reply has the id of its request
 *     +------------+------+--------+----------- - -+     (the first packet of each side has the version instead)
 *
 *     client                                              server
 *     1 init: version 3                                   2 version: 3, then extensions: name, data; name, data; ...
 *     3 open: path, flags, attributes; 11 opendir: path   102 handle: string
 *     5 read: handle, place (8 bytes), length             103 data: string; after the last byte a status, EOF
 *     6 write: handle, place, string                      101 status
 *     12 readdir: handle                                  104 names: count; name, long name, attributes; ... or EOF
 *     4 close: handle                                     101 status
 *     7 lstat, 17 stat: path; 8 fstat: handle             105 attributes
 *     9 setstat: path; 10 fsetstat: handle; attributes    101 status
 *     13 remove, 15 rmdir: path; 14 mkdir: path, attr.    101 status
 *     16 realpath, 19 readlink: path                      104 names, with one
 *     18 rename: path, path; 20 symlink: target, path     101 status
 *     200 extended: name, fields                          201 extended reply: fields, or 101 status
 *
 *     101 status: code (0 OK, 1 EOF, 2 no such file, 3 permission denied, 4 failure, 5 bad message, 8 unsupported),
 *     words, language
 *     attributes: flags that tell which fields follow: 1 size (8 bytes); 2 uid, gid; 4 mode; 8 atime, mtime;
 *     0x80000000 count, and pairs of strings
 *
 * The draft has the path of a symlink before its target. OpenSSH does the opposite, and all others follow it.
 *
 * ssh2 has a server mode of its own. It hands on every request as soon as it arrives, and keeps every reply until
 * the client takes it: a client that asked for 1 GiB and read none of it cost 879 MB of memory there, and costs
 * 73 MB here (ssh2 1.17, Bun 1.4.5), where the next request is read when the last reply is on its way. It also
 * refuses all extensions: posix-rename, statvfs, fsync, limits.
 */
import type { Stats } from "node:fs";
import { Failure } from "../../../lib/failure.ts";
import { rights, shownTime } from "./long-list.ts";

/** The longest packet, in bytes after its length: that of OpenSSH. */
const LONGEST = 262_144;

/** The most bytes that one read gives or one write takes: that of OpenSSH, a packet less 1024. */
export const LONGEST_PIECE = LONGEST - 1024;

/** The flags of an open. */
export const OPEN = { read: 1, write: 2, append: 4, create: 8, truncate: 16, exclusive: 32 };

/** The attributes of a file or folder, as far as they are told. Times are seconds since 1970. */
export type Attributes = {
  size?: number;
  owner?: { uid: number; gid: number };
  mode?: number;
  times?: { atime: number; mtime: number };
};

type Fields =
  | { kind: "init" | "limits" | "unknown" }
  | { kind: "open"; path: string; flags: number; attributes: Attributes }
  | { kind: "close" | "fstat" | "readdir" | "fsync"; handle: number }
  | { kind: "read"; handle: number; place: number; length: number }
  | { kind: "write"; handle: number; place: number; bytes: Buffer }
  | { kind: "lstat" | "stat" | "realpath" | "readlink" | "statvfs"; path: string }
  | { kind: "opendir"; path: string }
  | { kind: "remove" | "rmdir"; path: string }
  | { kind: "mkdir"; path: string; attributes: Attributes }
  | { kind: "setstat"; path: string; attributes: Attributes }
  | { kind: "fsetstat"; handle: number; attributes: Attributes }
  | { kind: "rename"; path: string; to: string; overwrites: boolean }
  | { kind: "symlink"; path: string; target: string };

/** A request. A handle that is not one of ours is -1. */
export type Request = Fields & { id: number };

/** The requests that OpenSSH added to the draft and that we answer too: name and version. */
const EXTENSIONS = [
  ["posix-rename@openssh.com", "1"],
  ["statvfs@openssh.com", "2"],
  ["fsync@openssh.com", "1"],
  ["limits@openssh.com", "1"],
];

/**
 * Finds the requests in what a client sends, until its end. A length is checked before memory is taken for it.
 * @throws Failure EPROTO for what is no SFTP, and what the channel throws
 */
export async function* requests(chunks: AsyncIterable<Buffer>, from: string): AsyncGenerator<Request> {
  const header = Buffer.alloc(4);
  let packet: Buffer | undefined;
  let filled = 0; // of the header, and then of the packet
  let isFirst = true;
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length;) {
      const part = packet ?? header;
      const taken = chunk.copy(part, filled, at);
      at += taken;
      filled += taken;
      if (filled < part.length) continue;
      filled = 0;
      if (packet === undefined) {
        const length = header.readUInt32BE();
        if (length < 1 || length > LONGEST) throw wrong(from, `a packet of ${length} bytes`);
        packet = Buffer.allocUnsafe(length);
      } else {
        const request = parse(new Reader(packet, from));
        if ((request.kind === "init") !== isFirst) throw wrong(from, "no init packet first");
        isFirst = false;
        packet = undefined;
        yield request;
      }
    }
  }
}

const wrong = (from: string, what: string) => new Failure(from, `does not speak SFTP: ${what}`, "EPROTO");

/** Reads the fields of a packet, one after the other. */
class Reader {
  readonly #packet: Buffer;
  readonly #from: string;
  #at = 0;

  constructor(packet: Buffer, from: string) {
    this.#packet = packet;
    this.#from = from;
  }

  #take(count: number): number {
    const at = this.#at;
    if (count > this.#packet.length - at) throw wrong(this.#from, "a packet that ends too early");
    this.#at += count;
    return at;
  }

  byte = () => this.#packet.readUInt8(this.#take(1));
  number = () => this.#packet.readUInt32BE(this.#take(4));

  /** A place in a file, or its size. Not all runtimes take numbers above 2^52, and no file is that long. */
  long(): number {
    const value = Number(this.#packet.readBigUInt64BE(this.#take(8)));
    if (value >= 2 ** 52 - LONGEST) throw wrong(this.#from, "a place beyond the end of any file");
    return value;
  }

  bytes(): Buffer {
    const length = this.number();
    const at = this.#take(length);
    return this.#packet.subarray(at, at + length);
  }

  text = () => this.bytes().toString();

  handle(): number {
    const bytes = this.bytes();
    return bytes.length === 4 ? bytes.readUInt32BE() : -1;
  }

  attributes(): Attributes {
    const flags = this.number();
    const attributes: Attributes = {};
    if (flags & 1) attributes.size = this.long();
    if (flags & 2) attributes.owner = { uid: this.number(), gid: this.number() };
    if (flags & 4) attributes.mode = this.number();
    if (flags & 8) attributes.times = { atime: this.number(), mtime: this.number() };
    return attributes; // pairs of strings may follow, which OpenSSH does not know either
  }
}

function parse(packet: Reader): Request {
  const type = packet.byte();
  const id = packet.number();
  return { ...fields(type, packet), id };
}

function fields(type: number, packet: Reader): Fields {
  const path = <K extends string>(kind: K) => ({ kind, path: packet.text() });
  const handle = <K extends string>(kind: K) => ({ kind, handle: packet.handle() });
  switch (type) {
    case 1:
      return { kind: "init" };
    case 3:
      return { ...path("open"), flags: packet.number(), attributes: packet.attributes() };
    case 4:
      return handle("close");
    case 5:
      return { ...handle("read"), place: packet.long(), length: packet.number() };
    case 6:
      return { ...handle("write"), place: packet.long(), bytes: packet.bytes() };
    case 7:
      return path("lstat");
    case 8:
      return handle("fstat");
    case 9:
      return { ...path("setstat"), attributes: packet.attributes() };
    case 10:
      return { ...handle("fsetstat"), attributes: packet.attributes() };
    case 11:
      return path("opendir");
    case 12:
      return handle("readdir");
    case 13:
      return path("remove");
    case 14:
      return { ...path("mkdir"), attributes: packet.attributes() };
    case 15:
      return path("rmdir");
    case 16:
      return path("realpath");
    case 17:
      return path("stat");
    case 18:
      return { ...path("rename"), to: packet.text(), overwrites: false };
    case 19:
      return path("readlink");
    case 20:
      return { kind: "symlink", target: packet.text(), path: packet.text() };
    case 200:
      return extended(packet.text(), packet);
    default:
      return { kind: "unknown" };
  }
}

function extended(name: string, packet: Reader): Fields {
  switch (name) {
    case "posix-rename@openssh.com":
      return { kind: "rename", path: packet.text(), to: packet.text(), overwrites: true };
    case "statvfs@openssh.com":
      return { kind: "statvfs", path: packet.text() };
    case "fsync@openssh.com":
      return { kind: "fsync", handle: packet.handle() };
    case "limits@openssh.com":
      return { kind: "limits" };
    default:
      return { kind: "unknown" };
  }
}

/** Puts a packet together. */
function packet(type: number, id: number, ...parts: Buffer[]): Buffer {
  const head = Buffer.alloc(9);
  const bytes = Buffer.concat([head, ...parts]);
  bytes.writeUInt32BE(bytes.length - 4, 0);
  bytes.writeUInt8(type, 4);
  bytes.writeUInt32BE(id, 5);
  return bytes;
}

function number(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(Math.min(Math.max(0, Math.floor(value)), 0xffffffff));
  return bytes;
}

/** Some file systems tell -1, or 2^64 - 1, for a number that they do not know; read as a float, that is 2^64. */
function long(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  const most = 2n ** 64n - 1n;
  bytes.writeBigUInt64BE(value < 0 || BigInt(value) > most ? most : BigInt(value));
  return bytes;
}

const text = (value: string) => Buffer.concat([number(Buffer.byteLength(value)), Buffer.from(value)]);

const attributes = ({ size, uid, gid, mode, atimeMs, mtimeMs }: Stats) =>
  Buffer.concat([
    number(1 | 2 | 4 | 8),
    long(size),
    ...[uid, gid, mode, shownTime(atimeMs) / 1000, shownTime(mtimeMs) / 1000].map(number),
  ]);

/** The first packet of the server: its version, and its extensions. */
export const versionReply = () => packet(2, 3, ...EXTENSIONS.flat().map(text));

export const okReply = (id: number) => packet(101, id, number(0), text(""), text(""));
export const endReply = (id: number) => packet(101, id, number(1), text("end of file"), text(""));
export const unsupportedReply = (id: number) => packet(101, id, number(8), text("not supported"), text(""));

/** The codes of errno(3) that have a status of their own, as in OpenSSH; all others are a failure. */
const STATUS: Record<string, number> = {
  ENOENT: 2,
  ENOTDIR: 2,
  ELOOP: 2,
  EACCES: 3,
  EPERM: 3,
  EROFS: 3,
  EINVAL: 5,
  ENAMETOOLONG: 5,
};

/** The status that tells a failure. */
export const failureReply = (id: number, { code, why }: Failure) =>
  packet(101, id, number(STATUS[code] ?? 4), text(why), text(""));

export const handleReply = (id: number, handle: number) => packet(102, id, number(4), number(handle));

export const attributesReply = (id: number, stats: Stats) => packet(105, id, attributes(stats));

/** The names in a folder, with their attributes where they are known, which `ls -l` shows as a long name. */
export const namesReply = (id: number, entries: { name: string; stats?: Stats }[]) =>
  packet(
    104,
    id,
    number(entries.length),
    ...entries.flatMap(({ name, stats }) => [
      text(name),
      text(stats ? longName(name, stats) : `?????????? ${name}`),
      stats ? attributes(stats) : number(0),
    ]),
  );

/** -rw-r--r--    1 1000     1000          928 Nov 20 22:12 LICENSE */
function longName(name: string, stats: Stats): string {
  const kind = stats.isDirectory() ? "d" : stats.isSymbolicLink() ? "l" : stats.isFile() ? "-" : "?";
  const time = shownTime(stats.mtimeMs);
  const [, month, day, year, clock] = `${new Date(time)}`.split(" ");
  const isRecent = Math.abs(Date.now() - time) < 182 * 86_400_000;
  const numbers = [`${stats.nlink}`.padStart(4), `${stats.uid}`.padEnd(8), `${stats.gid}`.padEnd(8)];
  const when = `${month} ${day} ${isRecent ? clock.slice(0, 5) : year.padStart(5)}`;
  return `${kind}${rights(stats.mode)} ${numbers.join(" ")} ${`${stats.size}`.padStart(8)} ${when} ${name}`;
}

/** The limits of this server: the longest packet, read and write, and how many handles. */
export const limitsReply = (id: number, handles: number) =>
  packet(201, id, ...[LONGEST, LONGEST_PIECE, LONGEST_PIECE, handles].map(long));

/** How full a file system is, as statvfs(3) tells it. */
export const statvfsReply = (
  id: number,
  disk: { bsize: number; blocks: number; bfree: number; bavail: number; files: number; ffree: number },
  isReadOnly: boolean,
) => {
  const { bsize, blocks, bfree, bavail, files, ffree } = disk;
  return packet(
    201,
    id,
    ...[bsize, bsize, blocks, bfree, bavail, files, ffree, ffree, 0, isReadOnly ? 1 : 0, 255].map(long),
  );
};

/** The reply to a read, with room for its bytes: they are read from the file to where they are sent from. */
export class DataReply {
  readonly #bytes = Buffer.allocUnsafe(13 + LONGEST_PIECE);

  /** Where the bytes of the file go. */
  readonly data = this.#bytes.subarray(13);

  /** The packet, with the first `length` bytes of `data`. It holds until the next one. */
  packet(id: number, length: number): Buffer {
    this.#bytes.writeUInt32BE(9 + length, 0);
    this.#bytes.writeUInt8(103, 4);
    this.#bytes.writeUInt32BE(id, 5);
    this.#bytes.writeUInt32BE(length, 9);
    return this.#bytes.subarray(0, 13 + length);
  }
}
