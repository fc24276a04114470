/**
 * What the requests of SFTP mean for the files below a root. To the client the root is `/`, as in a chroot:
 * `..` ends there, and a symbolic link that leads out leads nowhere.
 *
 * A check of a path is worth nothing if somebody puts another folder in its place before the path is used, and
 * another client of ours could. So on Linux the folder is opened first, then it is looked where it is, and the
 * work is done through the open folder: /proc/self/fd/N/NAME is what openat(2) and its family do. Elsewhere the
 * path is checked and used, and only the programs of that machine must be trusted not to be so quick.
 */
import { constants, type Dir, type Stats } from "node:fs";
import {
  chmod,
  type FileHandle,
  lstat,
  mkdir,
  open,
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
import { basename, dirname, join, posix, relative, sep } from "node:path";
import process from "node:process";
import { explain, Failure } from "../../../lib/failure.ts";
import { renameToFree } from "../../../lib/files.ts";
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

/** How many files and folders a client may have open. */
const MOST_HANDLES = 100;

/** How many names of a folder are told at once. */
const MOST_NAMES = 100;

/** How many symbolic links a path may lead through (MAXSYMLINKS of Linux). */
const MOST_LINKS = 40;

const IS_LINUX = process.platform === "linux";

const { O_RDONLY, O_WRONLY, O_RDWR, O_APPEND, O_CREAT, O_TRUNC, O_EXCL } = constants;
const { O_NOFOLLOW = 0, O_NONBLOCK = 0, O_DIRECTORY = 0 } = constants;

/** Names a file or folder without opening it for anything (man 2 open); on Linux only, and not in node:fs. */
const O_PATH = IS_LINUX ? 0o10000000 : O_RDONLY;

type Handle = { path: string; file: FileHandle; folder?: Dir; writes: boolean; bytes: number };

/** Somewhere below the root: a path that holds as long as its folder is kept open. */
type Place = { path: string; [Symbol.asyncDispose]: () => Promise<void> };

/** The files of one session. Its requests are answered one after another, as they came. */
export class ServedFiles {
  readonly #root: string;
  readonly #readOnly: boolean;
  readonly #say: (what: string) => Promise<void>;
  readonly #handles = new Map<number, Handle>();
  readonly #data = new DataReply();
  #last = 0;

  /**
   * @param root the real path of a folder
   * @param readOnly whether everything that writes is refused
   * @param say told what is done: "fetched /LICENSE, 928 bytes"
   */
  constructor(root: string, readOnly: boolean, say: (what: string) => Promise<void>) {
    this.#root = root;
    this.#readOnly = readOnly;
    this.#say = say;
  }

  /**
   * Does what is asked for.
   * @returns the reply, which holds until the next request
   * @throws Failure EACCES for what leads out, EROFS for what writes where that is not allowed, EBADF, ...; the
   *   errors of the system
   */
  async answer(request: Request): Promise<Buffer> {
    const { id } = request;
    switch (request.kind) {
      case "init":
        return versionReply();
      case "limits":
        return limitsReply(id, MOST_HANDLES);
      case "open":
        return handleReply(id, await this.#open(request.path, request.flags, request.attributes));
      case "close":
        await this.#close(request.handle);
        return okReply(id);
      case "read": {
        const { file } = this.#handle(request.handle, "file");
        const length = Math.min(request.length, LONGEST_PIECE);
        const { bytesRead } = await file.read(this.#data.data, 0, length, request.place);
        this.#handle(request.handle).bytes += bytesRead;
        return bytesRead === 0 && length > 0 ? endReply(id) : this.#data.packet(id, bytesRead);
      }
      case "write": {
        const handle = this.#handle(request.handle, "file");
        const { bytes, place } = request;
        for (let done = 0; done < bytes.length;) { // one write(2) may take only some of them
          const { bytesWritten } = await handle.file.write(bytes, done, bytes.length - done, place + done);
          done += bytesWritten;
          handle.bytes += bytesWritten;
        }
        return okReply(id);
      }
      case "fsync":
        await this.#handle(request.handle).file.sync();
        return okReply(id);
      case "fstat":
        return attributesReply(id, await this.#handle(request.handle).file.stat());
      case "fsetstat":
        this.#mustWrite(request.attributes);
        await this.#change(request.attributes, this.#handle(request.handle).file);
        return okReply(id);
      case "lstat":
      case "stat": {
        await using place = await this.#find(request.path, request.kind === "stat");
        return attributesReply(id, await lstat(place.path));
      }
      case "setstat":
        await this.#setAttributes(request.path, request.attributes);
        return okReply(id);
      case "opendir":
        return handleReply(id, await this.#openFolder(request.path));
      case "readdir": {
        const entries = await this.#names(this.#handle(request.handle, "folder"));
        return entries.length > 0 ? namesReply(id, entries) : endReply(id);
      }
      case "realpath":
        return namesReply(id, [{ name: this.#told(await this.#resolve(request.path, true)) }]);
      case "readlink": {
        await using place = await this.#find(request.path, false);
        const target = await readlink(place.path);
        return namesReply(id, [{ name: target.startsWith(sep) ? this.#told(target) : target }]);
      }
      case "statvfs": {
        await using place = await this.#find(request.path, true);
        return statvfsReply(id, await statfs(place.path), this.#readOnly);
      }
      case "unknown":
        return unsupportedReply(id);
    }
    this.#mustWrite();
    await using place = await this.#find(request.path, false);
    const shown = shownAs(request.path);
    if (request.kind === "mkdir") {
      await mkdir(place.path, (request.attributes.mode ?? 0o777) & 0o777);
      await this.#say(`made the folder ${shown}`);
    } else if (request.kind === "remove") {
      if ((await lstat(place.path)).isDirectory()) throw new Failure("", "is a folder", "EISDIR"); // Deno would
      await unlink(place.path);
      await this.#say(`removed ${shown}`);
    } else if (request.kind === "rmdir") {
      await rmdir(place.path);
      await this.#say(`removed the folder ${shown}`);
    } else if (request.kind === "symlink") {
      await symlink(this.#target(request.target, request.path), place.path);
      await this.#say(`made the link ${shown}`);
    } else if (request.kind === "rename") {
      await using to = await this.#find(request.to, false);
      await (request.overwrites ? rename : renameToFree)(place.path, to.path);
      await this.#say(`renamed ${shown} to ${shownAs(request.to)}`);
    }
    return okReply(id);
  }

  /** Closes what the client has left open. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const number of [...this.#handles.keys()]) await this.#close(number, "a part of ").catch(() => {});
  }

  #mustWrite(attributes?: Attributes): void {
    if (this.#readOnly) throw new Failure("", "this server is read-only", "EROFS");
    if (attributes?.owner) throw new Failure("", "this server gives nothing away to other users", "EPERM");
    if ((attributes?.mode ?? 0) & 0o6000) {
      throw new Failure("", "this server sets no setuid or setgid", "EPERM");
    }
  }

  /**
   * Follows a path as the kernel does, link by link, and never looks outside the root.
   * @param followsLast whether a link at its end is followed too
   * @returns a path on this machine without links, which need not exist
   * @throws Failure EACCES, ELOOP, EINVAL
   */
  async #resolve(path: string, followsLast: boolean): Promise<string> {
    mustBeName(path);
    const ways = posix.normalize(`/${path}`).split("/").filter(Boolean);
    let real = this.#root;
    for (let links = 0; ways.length > 0;) {
      const name = `${ways.shift()}`;
      if (name === "..") { // of a link: those of the client are gone
        if (real === this.#root) throw outside(path);
        real = dirname(real);
        continue;
      }
      const next = join(real, name);
      // Whatever is wrong with it (not there, no folder) shows when it is used.
      const target = ways.length > 0 || followsLast ? await readlink(next).catch(() => undefined) : undefined;
      if (target === undefined) {
        real = next;
        continue;
      }
      if (++links > MOST_LINKS) throw new Failure(path, "too many symbolic links", "ELOOP");
      const isAbsolute = target.startsWith(sep);
      if (isAbsolute) real = this.#root;
      const way = isAbsolute ? relative(this.#root, target) : target; // with `..`, if it leads out
      ways.unshift(...way.split(sep).filter((part) => part !== "" && part !== "."));
    }
    return real;
  }

  #isInside(real: string): boolean {
    return real === this.#root || real.startsWith(this.#root.endsWith(sep) ? this.#root : this.#root + sep);
  }

  /** A path on this machine, as the client knows it. */
  #told(real: string): string {
    if (!this.#isInside(real)) throw outside("its target");
    return `/${relative(this.#root, real).split(sep).join("/")}`;
  }

  /** Opens the folder in which something is, or will be, and makes sure that it is where it should be. */
  async #find(path: string, followsLast: boolean): Promise<Place> {
    const real = await this.#resolve(path, followsLast);
    const isRoot = real === this.#root;
    const parent = isRoot ? real : dirname(real);
    const name = isRoot ? "." : basename(real);
    const folder = await open(parent, O_PATH | O_DIRECTORY | O_NOFOLLOW);
    const close = () => folder.close();
    if (!IS_LINUX) return { path: join(parent, name), [Symbol.asyncDispose]: close };
    const way = `/proc/self/fd/${folder.fd}`;
    if (await readlink(way).catch(() => undefined) !== parent) {
      await close();
      throw outside(path);
    }
    return { path: `${way}/${name}`, [Symbol.asyncDispose]: close };
  }

  #handle(number: number, kind?: "file" | "folder"): Handle {
    const handle = this.#handles.get(number);
    if (!handle || (kind && (kind === "folder") !== Boolean(handle.folder))) {
      throw new Failure("", "no such handle is open", "EBADF");
    }
    return handle;
  }

  #keep(handle: Handle): number {
    this.#last = (this.#last + 1) % 0xffffffff;
    this.#handles.set(this.#last, handle);
    return this.#last;
  }

  #mustHaveRoom(): void {
    if (this.#handles.size < MOST_HANDLES) return;
    throw new Failure("", `${MOST_HANDLES} files are open`, "EMFILE");
  }

  async #open(path: string, wish: number, attributes: Attributes): Promise<number> {
    this.#mustHaveRoom();
    const has = (flag: number) => (wish & flag) !== 0;
    const writes = has(OPEN.write) || has(OPEN.append);
    if (writes || has(OPEN.create) || has(OPEN.truncate)) this.#mustWrite({ mode: attributes.mode });
    const flags = (writes ? (has(OPEN.read) ? O_RDWR : O_WRONLY) : O_RDONLY) |
      (has(OPEN.append) ? O_APPEND : 0) |
      (has(OPEN.create) ? O_CREAT : 0) |
      (has(OPEN.truncate) && writes ? O_TRUNC : 0) |
      (has(OPEN.exclusive) ? O_EXCL : 0);
    await using place = await this.#find(path, !has(OPEN.exclusive));
    // O_NONBLOCK: opening a named pipe would wait for its other end.
    const file = await open(place.path, flags | O_NOFOLLOW | O_NONBLOCK, (attributes.mode ?? 0o666) & 0o777);
    const stats = await file.stat().catch(() => undefined);
    if (stats?.isFile()) return this.#keep({ path: shownAs(path), file, writes, bytes: 0 });
    await file.close(); // one that is forgotten ends the program when it is collected, on Bun and Node
    throw stats?.isDirectory()
      ? new Failure(path, "is a folder", "EISDIR")
      : new Failure(path, "is not a file", "EACCES");
  }

  async #openFolder(path: string): Promise<number> {
    this.#mustHaveRoom();
    await using place = await this.#find(path, true);
    const file = await open(place.path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    try {
      const folder = await opendir(IS_LINUX ? `/proc/self/fd/${file.fd}` : place.path);
      return this.#keep({ path: shownAs(path), file, folder, writes: false, bytes: 0 });
    } catch (error) {
      await file.close();
      throw error;
    }
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
    await folder?.close();
    await file.close();
    if (!folder) await this.#say(`${writes ? "stored" : "fetched"} ${part}${path}, ${bytes} bytes`);
  }

  async #setAttributes(path: string, attributes: Attributes): Promise<void> {
    this.#mustWrite(attributes);
    await using place = await this.#find(path, true);
    await using file = await open(place.path, O_PATH | O_NOFOLLOW);
    if ((await file.stat()).isSymbolicLink()) throw outside(path); // it has become one meanwhile
    await this.#change(attributes, IS_LINUX ? `/proc/self/fd/${file.fd}` : place.path);
    await this.#say(`changed ${shownAs(path)}`);
  }

  /** @param what an open file, or a path that leads through one */
  async #change({ size, mode, times }: Attributes, what: FileHandle | string): Promise<void> {
    const isPath = typeof what === "string";
    if (size !== undefined) await (isPath ? truncate(what, size) : what.truncate(size));
    if (mode !== undefined) await (isPath ? chmod(what, mode & 0o1777) : what.chmod(mode & 0o1777));
    if (!times) return;
    await (isPath ? utimes(what, times.atime, times.mtime) : what.utimes(times.atime, times.mtime));
  }

  /**
   * What a link of the client shall say. An absolute target is meant below the root, and is written as the way to
   * there from the link; and none may lead out, for other programs of this machine would follow it.
   */
  #target(target: string, path: string): string {
    mustBeName(target);
    const from = posix.dirname(posix.normalize(`/${path}`));
    const way = target.startsWith("/") ? posix.relative(from, posix.normalize(target)) || "." : target;
    const depth = from.split("/").filter(Boolean);
    for (const part of way.split("/")) {
      if (part === ".." && depth.pop() === undefined) throw outside(target);
      if (part !== ".." && part !== "." && part !== "") depth.push(part);
    }
    return way;
  }
}

const outside = (path: string) => new Failure(path, "leads out of the served folder", "EACCES");

/** @throws Failure EINVAL for a path that has a zero byte, is no UTF-8, or means something else on Windows */
function mustBeName(path: string): void {
  if (!/[\0\uFFFD]/.test(path) && (sep === "/" || !/[\\:]/.test(path))) return;
  throw new Failure(path, "is no name here", "EINVAL");
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
