/**
 * The folder that a server of files serves, for reading: no name from a caller leads out of it. root.ts finds and opens
 * what a name means; here a name with `..` or an absolute one is refused instead of being bent.
 */
import { closeSync, constants, fstatSync, readSync, type Stats } from "node:fs";
import { type FileHandle, lstat, readdir } from "node:fs/promises";
import { isAbsolute, join, sep } from "node:path";
import process from "node:process";
import { explain, failAs, Failure } from "../../lib/failure.ts";
import { LONGEST_PATH, Root } from "./root.ts";

/** How many files of a folder are looked at side by side. */
const SIDE_BY_SIDE = 100;

const IS_LINUX = process.platform === "linux";

/**
 * A file below the folder, or a folder, whose name ends in `/`; the time of its last change in milliseconds since 1970.
 * A folder that cannot be listed comes with the reason.
 */
export type Entry = { name: string; size: number; time: number; failure?: Failure };

type Opened = { file: FileHandle; stat: Stats };

export class ServedFolder {
  readonly #root: Root;

  private constructor(root: Root) {
    this.#root = root;
  }

  /** @throws Failure ENOENT, ENOTDIR; the errors of realpath(3) */
  static async at(path: string): Promise<ServedFolder> {
    return new ServedFolder(await Root.of(path));
  }

  /**
   * Opens a regular file for reading.
   * @throws Failure EACCES, EISDIR, ENOENT, ENAMETOOLONG; the errors of open(2)
   */
  async open(name: string): Promise<FileHandle> {
    const { file, stat } = await this.#open(name);
    if (stat.isFile()) return file;
    await file.close();
    throw stat.isDirectory()
      ? new Failure(name, "is a folder", "EISDIR")
      : new Failure(name, "is not a file", "EACCES");
  }

  /**
   * Reads a small file at once: each trip to the threads of node:fs/promises, to open, read and close it, takes longer
   * than that.
   * @param most bytes, with `room` for others before them
   * @returns undefined for what is not a small file, or cannot be read now: `open` tells why
   */
  readSmall(name: string, most: number, room: number): { bytes: Buffer; stat: Stats } | undefined {
    let file: number | undefined;
    try {
      check(name);
      file = this.#root.openNow(name, constants.O_RDONLY);
      const stat = fstatSync(file);
      if (!stat.isFile() || isFolderName(name) || stat.size > most) return undefined;
      const bytes = Buffer.allocUnsafe(room + stat.size);
      const count = readSync(file, bytes, room, stat.size, 0);
      const now = fstatSync(file);
      return count === stat.size && now.size === count && now.mtimeMs === stat.mtimeMs
        ? { bytes, stat }
        : undefined;
    } catch {
      return undefined;
    } finally {
      if (file !== undefined) closeSync(file);
    }
  }

  /**
   * Lists what is at a path: a file itself, or what a folder holds, by name. With `recursive`, all the files below
   * a folder instead: first those in it, then those in its folders. Left out are symbolic links that lead out of the
   * served folder, names that are not UTF-8, and what is neither file nor folder; links to folders are not followed.
   * @throws Failure EACCES, ENOENT; the errors of readdir(3) and stat(2), for the path itself: a folder below it that
   *   cannot be read is listed with its failure
   */
  async *list(path: string, recursive: boolean): AsyncGenerator<Entry> {
    const top = partsOf(path).filter((part) => part !== "" && part !== ".").join("/");
    const folders = [top];
    for (let name = folders.pop(); name !== undefined; name = folders.pop()) {
      const inner: string[] = [];
      try {
        yield* this.#listOne(name, recursive ? inner : undefined);
      } catch (error) {
        const failure = explain(error, name);
        if (!failure || name === top) throw error;
        yield { name: `${name}/`, size: 0, time: 0, failure };
      }
      folders.push(...inner.reverse());
    }
  }

  /** @param inner where the folders in it are collected, instead of being listed */
  async *#listOne(name: string, inner?: string[]): AsyncGenerator<Entry> {
    const { file, stat } = await this.#open(name);
    try {
      if (stat.isFile()) yield { name, size: stat.size, time: timeOf(stat) };
      if (!stat.isDirectory()) return;
      const way = IS_LINUX
        ? `/proc/self/fd/${file.fd}`
        : join(this.#root.path, ...this.#root.resolve(name, true));
      const children = (await readdir(way).catch(failAs(name))).filter((child) => !child.includes("\uFFFD"))
        .sort();
      for (let at = 0; at < children.length; at += SIDE_BY_SIDE) {
        const some = children.slice(at, at + SIDE_BY_SIDE).map(async (child) => ({
          childName: name ? `${name}/${child}` : child,
          itself: await lstat(join(way, child)).catch(unlessGone(name)),
        }));
        for (const { childName, itself } of await Promise.all(some)) {
          const isLink = itself?.isSymbolicLink() ?? false;
          const stat = isLink ? await this.#statOf(childName) : itself;
          if (stat instanceof Failure) yield { name: childName, size: 0, time: 0, failure: stat };
          else if (stat?.isFile()) yield { name: childName, size: stat.size, time: timeOf(stat) };
          else if (stat?.isDirectory() && !inner) yield { name: `${childName}/`, size: 0, time: 0 };
          else if (stat?.isDirectory() && !isLink) inner?.push(childName);
        }
      }
    } finally {
      await file.close();
    }
  }

  /** What a link leads to; why that cannot be read; undefined where it is nothing that is served. */
  async #statOf(name: string): Promise<Stats | Failure | undefined> {
    try {
      const { file, stat } = await this.#open(name);
      await file.close();
      return stat;
    } catch (error) {
      const failure = explain(error, name);
      if (!failure) throw error;
      const isServed = failure.why !== OUTSIDE && !["ENXIO", ...MISSING].includes(failure.code); // ENXIO: a socket
      return isServed ? failure : undefined;
    }
  }

  /** What a name means now, opened first and then looked at. */
  async #open(name: string): Promise<Opened> {
    check(name);
    const file = await this.#root.open(name, constants.O_RDONLY).catch((error) => {
      if (error instanceof Failure && error.code === "EACCES") throw outside(name);
      if (MISSING.includes(error.code)) throw new Failure(name, "no such file", error.code);
      return failAs(name)(error);
    });
    const stat = fstatSync(file.fd); // at once: see root.ts
    if (!stat.isFile() || !isFolderName(name)) return { file, stat };
    await file.close(); // "a.txt/" would be a folder
    throw new Failure(name, "no such file", "ENOTDIR");
  }
}

/** @throws Failure ENAMETOOLONG, EACCES for a name that can mean nothing below the folder */
function check(name: string): void {
  if (Buffer.byteLength(name) > LONGEST_PATH) throw new Failure(name, "name too long", "ENAMETOOLONG");
  if (name.includes("\0") || isAbsolute(name) || partsOf(name).includes("..")) throw outside(name);
}

/** A backslash separates on Windows only: elsewhere it is part of a name like any other. */
const partsOf = (path: string) => path.split(sep === "\\" ? /[/\\]/ : "/");

/** A name may have gone since its folder was read. Another error is the folder's: it may not be searched, say. */
const unlessGone = (folder: string) => (error: NodeJS.ErrnoException) =>
  error.code === "ENOENT" ? undefined : failAs(folder)(error);

const isFolderName = (name: string) => /\/\.?$/.test(name);

/** What the system says of a name that means nothing. */
const MISSING = ["ENOENT", "ENOTDIR", "ELOOP"];

const OUTSIDE = "not inside the served folder";
const outside = (name: string) => new Failure(name, OUTSIDE, "EACCES");

const timeOf = (stat: Stats) => Math.trunc(stat.mtimeMs);
