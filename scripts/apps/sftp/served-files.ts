/**
 * What the requests of SFTP mean for the files below a root. One session has its own open files; its requests are
 * answered one after another, in the order in which they came.
 */
import { constants, type Dir, type Stats } from "node:fs";
import {
  chmod,
  type FileHandle,
  lstat,
  mkdir,
  opendir,
  readlink,
  rename,
  rmdir,
  statfs,
  symlink,
  truncate,
  unlink,
  utimes,
} from "node:fs/promises";
import { posix } from "node:path";
import process from "node:process";
import { explain, Failure } from "../../../lib/failure.ts";
import { renameToFree, taken } from "../../../lib/files.ts";
import { checkPath, outside, type Root } from "../root.ts";
import {
  type Attributes,
  attributesReply,
  DataReply,
  endReply,
  handleReply,
  limitsReply,
  LONGEST_PIECE,
  namesReply,
  okReply,
  OPEN,
  type Request,
  statvfsReply,
  unsupportedReply,
  versionReply,
} from "./protocol.ts";

/** How many names of a folder one reply tells. */
const MOST_NAMES = 100;

const IS_LINUX = process.platform === "linux";

const { O_RDONLY, O_WRONLY, O_RDWR, O_APPEND, O_CREAT, O_TRUNC, O_EXCL, O_DIRECTORY = 0 } = constants;

/** An open file or folder. A folder takes two descriptors: one to read its names, one to look at what has them. */
type Handle = { path: string; file: FileHandle; folder?: Dir; writes: boolean; bytes: number };

/** What the sessions of a caller share: their open files have a limit, as descriptors (open_max) have one. */
export type Descriptors = {
  /** How many files and folders one caller may have open. */
  readonly most: number;
  /** @throws Failure EMFILE */
  take(count: number): void;
  give(count: number): void;
};

type Options = {
  root: Root;
  /** Whether everything that writes is refused. */
  readOnly: boolean;
  descriptors: Descriptors;
  /** Told what is done: "fetched /LICENSE, 928 bytes". */
  say: (what: string) => void;
};

export class ServedFiles {
  readonly #root: Root;
  readonly #readOnly: boolean;
  readonly #descriptors: Descriptors;
  readonly #say: (what: string) => void;
  readonly #handles = new Map<number, Handle>();
  readonly #data = new DataReply();
  #last = 0;

  constructor({ root, readOnly, descriptors, say }: Options) {
    this.#root = root;
    this.#readOnly = readOnly;
    this.#descriptors = descriptors;
    this.#say = say;
  }

  /**
   * Answers a request.
   * @returns the reply, which holds until the next request
   * @throws Failure EACCES for what leads out, EROFS for what writes where that is not allowed, EBADF, ...; the
   *   errors of the system
   */
  async answer(request: Request): Promise<Buffer> {
    if ("path" in request) checkPath(request.path); // before any work is done on it
    switch (request.kind) {
      case "init":
        return versionReply();
      case "limits":
        return limitsReply(request.id, this.#descriptors.most);
      case "unknown":
        return unsupportedReply(request.id);
      case "open":
        return handleReply(request.id, await this.#open(request.path, request.flags, request.attributes));
      case "opendir":
        return handleReply(request.id, await this.#openFolder(request.path));
      case "close":
        await this.#close(request.handle);
        return okReply(request.id);
      case "read":
        return await this.#read(request);
      case "readdir": {
        const entries = await this.#names(this.#handle(request.handle, "folder"));
        return entries.length > 0 ? namesReply(request.id, entries) : endReply(request.id);
      }
      case "fstat":
        return attributesReply(request.id, await this.#handle(request.handle).file.stat());
      case "lstat":
      case "stat":
      case "realpath":
      case "readlink":
      case "statvfs":
        return await this.#look(request);
      default:
        await this.#write(request);
        return okReply(request.id);
    }
  }

  /** Closes what the client has left open. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const number of [...this.#handles.keys()]) await this.#close(number, "a part of ").catch(() => {});
  }

  async #read({ id, handle, place, length }: Request & { kind: "read" }): Promise<Buffer> {
    const open = this.#handle(handle, "file");
    const most = Math.min(length, LONGEST_PIECE);
    const { bytesRead } = await open.file.read(this.#data.data, 0, most, place);
    open.bytes += bytesRead;
    return bytesRead === 0 && most > 0 ? endReply(id) : this.#data.packet(id, bytesRead);
  }

  /** Answers what is asked about a path. */
  async #look(
    { id, kind, path }: Request & { kind: "lstat" | "stat" | "realpath" | "readlink" | "statvfs" },
  ): Promise<Buffer> {
    if (kind === "realpath") {
      return namesReply(id, [{ name: `/${this.#root.resolve(path, true).join("/")}` }]);
    }
    using place = this.#root.find(path, kind === "stat" || kind === "statvfs");
    if (kind === "statvfs") return statvfsReply(id, await statfs(place.path), this.#readOnly);
    if (kind !== "readlink") return attributesReply(id, await lstat(place.path));
    return namesReply(id, [{ name: this.#root.toldTarget(await readlink(place.path), place.folder) }]);
  }

  /** Does what changes something. */
  async #write(request: Request): Promise<void> {
    switch (request.kind) {
      case "write":
        return await this.#writeBytes(this.#handle(request.handle, "file"), request.place, request.bytes);
      case "fsync":
        return await this.#handle(request.handle).file.sync();
      case "setstat":
        return await this.#setAttributes(request.path, request.attributes);
      case "fsetstat":
        this.#mustWrite(request.attributes);
        return await this.#change(request.attributes, this.#handle(request.handle).file);
      case "mkdir":
      case "remove":
      case "rmdir":
        return await this.#makeOrRemove(request);
      case "symlink":
        this.#mustWrite();
        await this.#root.link(request.path, request.target, symlink);
        return this.#say(`made the link ${shownAs(request.path)}`);
      case "rename":
        this.#mustWrite();
        checkPath(request.to);
        await this.#root.move(request.path, request.to, request.overwrites ? rename : moveToFree);
        return this.#say(`renamed ${shownAs(request.path)} to ${shownAs(request.to)}`);
    }
  }

  async #makeOrRemove(request: Request & { kind: "mkdir" | "remove" | "rmdir" }): Promise<void> {
    this.#mustWrite();
    using place = this.#root.find(request.path, false);
    const shown = shownAs(request.path);
    if (request.kind === "mkdir") {
      await mkdir(place.path, (request.attributes.mode ?? 0o777) & 0o777);
      this.#say(`made the folder ${shown}`);
    } else if (request.kind === "rmdir") {
      await rmdir(place.path);
      this.#say(`removed the folder ${shown}`);
    } else {
      if ((await lstat(place.path)).isDirectory()) throw new Failure("", "is a folder", "EISDIR"); // Deno would
      await unlink(place.path);
      this.#say(`removed ${shown}`);
    }
  }

  async #writeBytes(handle: Handle, place: number, bytes: Buffer): Promise<void> {
    for (let done = 0; done < bytes.length;) { // one write(2) may take only some of them
      const { bytesWritten } = await handle.file.write(bytes, done, bytes.length - done, place + done);
      done += bytesWritten;
      handle.bytes += bytesWritten;
    }
    collect(bytes.length);
  }

  #mustWrite(attributes?: Attributes): void {
    if (this.#readOnly) throw new Failure("", "this server is read-only", "EROFS");
    if (attributes?.owner) throw new Failure("", "this server does not change owners", "EPERM");
    if ((attributes?.mode ?? 0) & 0o6000) {
      throw new Failure("", "this server sets no setuid or setgid", "EPERM");
    }
  }

  #handle(number: number, kind?: "file" | "folder"): Handle {
    const handle = this.#handles.get(number);
    if (!handle || (kind && (kind === "folder") !== Boolean(handle.folder))) {
      throw new Failure("", "no such handle is open", "EBADF");
    }
    return handle;
  }

  /** Opens something, within the limits, and gives it a number. */
  async #keep(count: number, open: () => Promise<Handle>): Promise<number> {
    this.#descriptors.take(count);
    try {
      const handle = await open();
      this.#last = (this.#last + 1) % 0xffffffff;
      this.#handles.set(this.#last, handle);
      return this.#last;
    } catch (error) {
      this.#descriptors.give(count);
      throw error;
    }
  }

  #open(path: string, wish: number, attributes: Attributes): Promise<number> {
    const has = (flag: number) => (wish & flag) !== 0;
    const writes = has(OPEN.write) || has(OPEN.append);
    if (writes || has(OPEN.create) || has(OPEN.truncate)) this.#mustWrite({ mode: attributes.mode });
    const flags = (writes ? (has(OPEN.read) ? O_RDWR : O_WRONLY) : O_RDONLY) |
      (has(OPEN.append) ? O_APPEND : 0) |
      (has(OPEN.create) ? O_CREAT : 0) |
      (has(OPEN.truncate) && writes ? O_TRUNC : 0) |
      (has(OPEN.exclusive) ? O_EXCL : 0);
    return this.#keep(1, async () => {
      const mode = (attributes.mode ?? 0o666) & 0o777;
      const file = await this.#root.open(path, flags, mode, !has(OPEN.exclusive));
      const stats = await file.stat().catch(() => undefined);
      if (stats?.isFile()) return { path: shownAs(path), file, writes, bytes: 0 };
      await file.close(); // one that is forgotten ends the program when it is collected, on Bun and Node
      throw stats?.isDirectory()
        ? new Failure(path, "is a folder", "EISDIR")
        : new Failure(path, "is not a file", "EACCES");
    });
  }

  #openFolder(path: string): Promise<number> {
    return this.#keep(2, async () => {
      using place = this.#root.find(path, true);
      const file = await this.#root.open(path, O_RDONLY | O_DIRECTORY);
      try {
        const folder = await opendir(IS_LINUX ? `/proc/self/fd/${file.fd}` : place.path);
        return { path: shownAs(path), file, folder, writes: false, bytes: 0 };
      } catch (error) {
        await file.close();
        throw error;
      }
    });
  }

  /** The next names in a folder. A name that is no UTF-8 cannot be asked for, and is left out. */
  async #names({ file, folder }: Handle): Promise<{ name: string; stats?: Stats }[]> {
    const names: string[] = [];
    while (names.length < MOST_NAMES) {
      const entry = await folder?.read();
      if (!entry) break;
      if (!entry.name.includes("\uFFFD")) names.push(entry.name);
    }
    const way = IS_LINUX ? `/proc/self/fd/${file.fd}` : `${folder?.path}`;
    return Promise.all(
      names.map(async (name) => ({ name, stats: await lstat(`${way}/${name}`).catch(() => undefined) })),
    );
  }

  async #close(number: number, part = ""): Promise<void> {
    const { path, file, folder, writes, bytes } = this.#handle(number);
    this.#handles.delete(number);
    try {
      await folder?.close();
      await file.close();
    } finally {
      this.#descriptors.give(folder ? 2 : 1);
    }
    if (!folder) this.#say(`${writes ? "stored" : "fetched"} ${part}${path}, ${bytes} bytes`);
  }

  async #setAttributes(path: string, attributes: Attributes): Promise<void> {
    this.#mustWrite(attributes);
    await using file = await this.#root.openPath(path);
    if ((await file.stat()).isSymbolicLink()) throw outside(path); // it has become one meanwhile
    using place = this.#root.find(path, true);
    await this.#change(attributes, IS_LINUX ? `/proc/self/fd/${file.fd}` : place.path);
    this.#say(`changed ${shownAs(path)}`);
  }

  /** @param what an open file, or a path that leads through one */
  async #change({ size, mode, times }: Attributes, what: FileHandle | string): Promise<void> {
    const isPath = typeof what === "string";
    if (size !== undefined) await (isPath ? truncate(what, size) : what.truncate(size));
    if (mode !== undefined) await (isPath ? chmod(what, mode & 0o1777) : what.chmod(mode & 0o1777));
    if (!times) return;
    await (isPath ? utimes(what, times.atime, times.mtime) : what.utimes(times.atime, times.mtime));
  }
}

/** After how many stored bytes Bun looks for what it no longer needs. */
const COLLECT_EACH = 2 ** 26;
let uncollected = 0;

/**
 * Bun 1.4 collects late what stored bytes leave behind: each quick collection keeps the packets that wait just then, and
 * Bun looks at those again only when its memory has become three times what it needs. Made to look after each 64 MiB, it
 * stores 1 GiB in 170 MB of memory, not in 220 to 320, for 5 % more processor time. Node takes 185 MB and Deno 215.
 */
function collect(stored: number): void {
  uncollected += stored;
  if (uncollected < COLLECT_EACH) return;
  uncollected = 0;
  globalThis.Bun?.gc(true);
}

/** Renames, but replaces nothing. On macOS link(2) would not link a symbolic link, but what it leads to. */
async function moveToFree(from: string, to: string): Promise<void> {
  const isFollowed = process.platform === "darwin" && (await lstat(from)).isSymbolicLink();
  if (!isFollowed) return await renameToFree(from, to);
  if (await lstat(to).then(() => true, () => false)) throw taken(to);
  await rename(from, to);
}

/** /a/b for a/b, /a/./b and /a/c/../b */
const shownAs = (path: string) => posix.normalize(`/${path}`);

/**
 * Puts an error of the file system into words, under the name that the client knows: the paths of this machine
 * are not told to it.
 */
export function explainFile(error: unknown, path: string): Failure | undefined {
  const { code = "EIO", message = "" } = error as Partial<NodeJS.ErrnoException>;
  // Deno tells of some calls only a sentence: "File exists (os error 17): symlink 'a' -> 'b'".
  const why = explain(error, path)?.why ?? /^(.*?) \(os error \d+\)/.exec(message)?.[1];
  return why === undefined ? undefined : new Failure(path, why.replace(/^E\w+: ([^,]*),.*$/s, "$1"), code);
}
