/**
 * The folder that a server serves: a name from a caller never leads out of it. Not by `..`, not as an absolute path,
 * and not through a symbolic link, even if somebody puts the link there while the name is being looked up.
 *
 * It is not enough to check a path and then to open it: in between, a folder of the path can be replaced by a link.
 * So the file is opened first, and then the system says where the open file is: /proc/self/fd/N on Linux (proc(5)).
 * Elsewhere the path is resolved once more and must lead to the same file, which leaves a gap of microseconds.
 */
import { constants, type Stats } from "node:fs";
import { type FileHandle, lstat, open, readdir, readlink, realpath } from "node:fs/promises";
import { isAbsolute, join, relative, sep } from "node:path";
import process from "node:process";
import { explain, failAs, Failure } from "../../lib/failure.ts";
import { folderOf } from "../../lib/files.ts";

/** The longest path of the usual systems, in bytes (PATH_MAX, limits.h). */
export const LONGEST_PATH = 4096;

/** How many files of a folder are looked at side by side. */
const SIDE_BY_SIDE = 100;

const IS_LINUX = process.platform === "linux";
const IS_WINDOWS = process.platform === "win32";
const { O_RDONLY, O_NONBLOCK = 0, O_NOFOLLOW = 0 } = constants;

/**
 * A file below the folder, or a folder, whose name ends in `/`; the time of its last change in milliseconds since 1970.
 * A folder that cannot be listed comes with the reason.
 */
export type Entry = { name: string; size: number; time: number; failure?: Failure };

type Opened = { file: FileHandle; stat: Stats };

export class ServedFolder {
  readonly #root: string;

  private constructor(root: string) {
    this.#root = root;
  }

  /** @throws Failure ENOENT, ENOTDIR; the errors of realpath(3) */
  static async at(path: string): Promise<ServedFolder> {
    return new ServedFolder(await folderOf(path));
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
   * Lists what is at a path: a file itself, or what a folder holds, by name. With `recursive`, all the files below
   * a folder instead: first those in it, then those in its folders. Left out are symbolic links that lead out of the
   * served folder, names that are not UTF-8, and what is neither file nor folder; links to folders are not followed.
   * @throws Failure EACCES, ENOENT; the errors of readdir(3), for the path itself: a folder below it that cannot be
   *   read is listed with its failure
   */
  async *list(path: string, recursive: boolean): AsyncGenerator<Entry> {
    const top = path.split(/[/\\]/).filter((part) => part !== "" && part !== ".").join("/");
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
    const path = await this.#resolve(name);
    // Windows opens no folder, so there it is only looked at.
    const { file, stat } = IS_WINDOWS ? { stat: await lstat(path) } : await this.#open(name);
    try {
      if (stat.isFile()) yield { name, size: stat.size, time: timeOf(stat) };
      if (!stat.isDirectory()) return;
      const way = IS_LINUX ? `/proc/self/fd/${file?.fd}` : path;
      const children = (await readdir(way).catch(failAs(name))).filter((child) => !child.includes("\uFFFD"))
        .sort();
      for (let at = 0; at < children.length; at += SIDE_BY_SIDE) {
        const some = children.slice(at, at + SIDE_BY_SIDE).map(async (child) => ({
          childName: name ? `${name}/${child}` : child,
          itself: await lstat(join(way, child)).catch(() => undefined), // it may have gone meanwhile
        }));
        for (const { childName, itself } of await Promise.all(some)) {
          const isLink = itself?.isSymbolicLink() ?? false;
          const stat = isLink ? await this.#statOf(childName) : itself;
          if (stat?.isFile()) yield { name: childName, size: stat.size, time: timeOf(stat) };
          if (stat?.isDirectory() && !inner) yield { name: `${childName}/`, size: 0, time: 0 };
          if (stat?.isDirectory() && !isLink) inner?.push(childName);
        }
      }
    } finally {
      await file?.close();
    }
  }

  /** What a link leads to; undefined where that is nothing that is served. */
  async #statOf(name: string): Promise<Stats | undefined> {
    try {
      const { file, stat } = await this.#open(name);
      await file.close();
      return stat;
    } catch {
      return undefined;
    }
  }

  async #open(name: string): Promise<Opened> {
    const path = await this.#resolve(name);
    // O_NONBLOCK: opening a named pipe would wait for its writer.
    const file = await open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW).catch(failAs(name));
    try {
      const stat = await file.stat();
      if (this.#isInside(await placeOf(file, path))) return { file, stat };
    } catch (error) {
      await file.close();
      throw error;
    }
    await file.close();
    throw outside(name);
  }

  /** The real path of what a name means now. */
  async #resolve(name: string): Promise<string> {
    if (Buffer.byteLength(name) > LONGEST_PATH) throw new Failure(name, "name too long", "ENAMETOOLONG");
    const parts = name.split(sep === "\\" ? /[/\\]/ : "/");
    if (name.includes("\0") || isAbsolute(name) || parts.includes("..")) throw outside(name);
    const path = await realpath(join(this.#root, name)).catch((error) => {
      throw new Failure(name, error.code === "ENAMETOOLONG" ? "name too long" : "no such file", error.code);
    });
    if (!this.#isInside(path)) throw outside(name);
    return path;
  }

  #isInside(path: string): boolean {
    const way = relative(this.#root, path);
    return path !== "" && way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way);
  }
}

const outside = (name: string) => new Failure(name, "not inside the served folder", "EACCES");

/** Where an open file is; "" where that is not the path that it was opened by any more. */
async function placeOf(file: FileHandle, path: string): Promise<string> {
  if (IS_LINUX) return await readlink(`/proc/self/fd/${file.fd}`);
  const [real, opened] = [await realpath(path), await file.stat()];
  const there = await lstat(real);
  return there.dev === opened.dev && there.ino === opened.ino ? real : "";
}

const timeOf = (stat: Stats) => Math.trunc(stat.mtimeMs);
