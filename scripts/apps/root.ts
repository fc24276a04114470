/**
 * The folder that a server serves. To a client it is `/`, as in a chroot: `..` ends there, and a symbolic link that
 * leads out leads nowhere.
 *
 * Checking a path and then using it is a race: another client of ours could swap a folder in between. So on Linux
 * the folder is opened first, then checked where it really is, and all work goes through the open folder:
 * /proc/self/fd/N/NAME is what openat(2) and its family do. Elsewhere the path is checked and used, and the other
 * programs of that machine must be trusted not to win the race.
 */
import { closeSync, constants, lstatSync, openSync, readlinkSync } from "node:fs";
import { type FileHandle, lstat, open, readdir, readlink } from "node:fs/promises";
import { join, posix, relative, sep } from "node:path";
import process from "node:process";
import { Failure } from "../../lib/failure.ts";
import { folderOf } from "../../lib/files.ts";

/** The longest path of a client, in bytes (PATH_MAX, limits.h): its parts are looked up one by one. */
export const LONGEST_PATH = 4096;

/** How many symbolic links a path may lead through (MAXSYMLINKS of Linux). */
const MOST_LINKS = 40;

/**
 * How many names may be looked up to find out where one path leads, in about 10 ms: the system looks up all names on
 * the way to each name. A path without links may have 300 names.
 */
const MOST_LOOKED_UP = 100_000;

/** How many names a folder may hold, at any depth, to be searched for links before it is moved upwards. */
const MOST_SEARCHED = 10_000;

const IS_LINUX = process.platform === "linux";

const { O_RDONLY, O_NOFOLLOW = 0, O_NONBLOCK = 0, O_DIRECTORY = 0 } = constants;

/** Names a file or folder without opening it for anything (man 2 open); on Linux only, and not in node:fs. */
const O_PATH = IS_LINUX ? 0o10000000 : O_RDONLY;

/**
 * Something below the root, which may or may not exist. `path`: for calls of node:fs, as long as the place is not
 * disposed of; `folder`: the names that lead from the root to the folder it is in, without links.
 */
export type Place = { path: string; folder: string[]; [Symbol.dispose]: () => void };

export class Root {
  readonly path: string;
  /** Links are made and moved one after another: else one could be moved while it is checked. */
  #last: Promise<unknown> = Promise.resolve();

  /** @param path the real path of a folder */
  constructor(path: string) {
    this.path = path;
  }

  /** @throws Failure ENOENT, ENOTDIR, and the errors of realpath(3) */
  static async of(folder: string): Promise<Root> {
    return new Root(await folderOf(folder));
  }

  /**
   * Opens the folder in which something is, or will be, and makes sure that the folder is below the root.
   *
   * Looking up names takes a few microseconds, a trip to the threads of node:fs/promises five times as long: so this
   * and `resolve` wait for the system, and what moves bytes does not.
   * @param followsLast whether a link at the end of the path is followed too
   * @throws Failure EACCES, ELOOP, EINVAL, ENAMETOOLONG; the errors of open(2)
   */
  find(path: string, followsLast: boolean): Place {
    const way = this.resolve(path, followsLast);
    const folder = way.slice(0, -1);
    const name = way.at(-1) ?? ".";
    const parent = this.#real(folder);
    const opened = openSync(parent, O_PATH | O_DIRECTORY | O_NOFOLLOW);
    const close = () => closeSync(opened);
    if (!IS_LINUX) return { path: join(parent, name), folder, [Symbol.dispose]: close };
    const through = `/proc/self/fd/${opened}`;
    if (targetOf(through) !== parent) {
      close();
      throw outside(path);
    }
    return { path: `${through}/${name}`, folder, [Symbol.dispose]: close };
  }

  /**
   * Opens a file or folder that is below the root, with O_NOFOLLOW: a link that was followed is resolved already.
   * @param flags of open(2). O_NONBLOCK is added: opening a named pipe would wait for its other end.
   */
  async open(path: string, flags: number, mode?: number, followsLast = true): Promise<FileHandle> {
    using place = this.find(path, followsLast);
    return await open(place.path, flags | O_NOFOLLOW | O_NONBLOCK, mode);
  }

  /** The same, at once. @returns a file descriptor */
  openNow(path: string, flags: number): number {
    using place = this.find(path, true);
    return openSync(place.path, flags | O_NOFOLLOW | O_NONBLOCK);
  }

  /** Names what is at a path without opening it, so that it can be changed through /proc/self/fd. */
  openPath(path: string): Promise<FileHandle> {
    return this.open(path, O_PATH);
  }

  /**
   * Follows a path as the kernel does, link by link, and never looks outside the root.
   * @returns the names that lead from the root to it, without links; the last ones need not exist
   * @throws Failure EACCES, ELOOP, EINVAL, ENAMETOOLONG
   */
  resolve(path: string, followsLast: boolean): string[] {
    checkPath(path);
    const left = partsOf(posix.normalize(`/${path}`)).reverse(); // the next one is the last
    const way: string[] = [];
    for (let links = 0, lookedUp = 0; left.length > 0;) {
      lookedUp += way.length + left.length; // those that are left are searched for `..`
      if (lookedUp > MOST_LOOKED_UP) throw new Failure(path, "name too long", "ENAMETOOLONG");
      const name = left.pop() as string;
      if (name === "..") { // of a link: those of the client are gone
        if (way.length === 0) throw outside(path);
        way.pop();
        continue;
      }
      way.push(name);
      if (left.length === 0 && !followsLast) break;
      const target = targetOf(this.#real(way));
      if (!target) {
        if (target === "" || left.includes("..")) continue; // what is wrong shows when it is used
        way.push(...left.reverse()); // nothing is there, so nothing is below
        break;
      }
      if (++links > MOST_LINKS) throw new Failure(path, "too many symbolic links", "ELOOP");
      way.pop();
      if (target.startsWith(sep)) way.length = 0;
      const onward = target.startsWith(sep) ? relative(this.path, target) : target; // with `..`, if it leads out
      left.push(...onward.split(sep).filter((part) => part !== "" && part !== ".").reverse());
    }
    return way;
  }

  /** What READLINK tells of a link: an absolute target as the client knows it. @throws Failure EACCES */
  toldTarget(target: string, folder: string[]): string {
    if (target.startsWith(sep)) {
      const way = relative(this.path, target).split(sep);
      if (way[0] === ".." || way[0] === target) throw outside("its target");
      return `/${way.join("/")}`;
    }
    if (highest(target) > folder.length) throw outside("its target");
    return target;
  }

  /**
   * Makes a link that does not lead out, now or later, for other programs of this machine would follow it. An
   * absolute target is meant below the root, and is written as the way from the link to it. All `..` come first:
   * after a name, which may be a link or become one, they could lead anywhere.
   * @throws Failure EACCES, and as `find`
   */
  link(path: string, target: string, make: (target: string, place: string) => Promise<void>): Promise<void> {
    return this.#alone(async () => {
      checkPath(target);
      using place = this.find(path, false);
      const from = `/${place.folder.join("/")}`;
      const onward = target.startsWith("/")
        ? posix.relative(from, posix.normalize(target)) || "."
        : posix.normalize(target);
      if (highest(onward) > place.folder.length) throw outside(target);
      await make(onward, place.path);
    });
  }

  /**
   * Moves a file, folder or link. A link whose `..` are right where it is would lead out when it, or a folder around
   * it, is moved upwards: that is refused.
   * @throws Failure EACCES, and as `find`
   */
  move(from: string, to: string, rename: (from: string, to: string) => Promise<void>): Promise<void> {
    return this.#alone(async () => {
      using source = this.find(from, false);
      using goal = this.find(to, false);
      if (goal.folder.length < source.folder.length) await checkLinks(source.path, goal.folder.length);
      await rename(source.path, goal.path);
    });
  }

  /** Works one after another, for all clients. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(work);
    this.#last = mine.catch(() => {});
    return mine;
  }

  /** The path on this machine of something below the root. */
  #real(way: string[]): string {
    return way.length === 0 ? this.path : join(this.path, ...way);
  }
}

/** Where a link leads; undefined where nothing is, and "" where something else is, or nobody can tell. */
function targetOf(path: string): string | undefined {
  try {
    const stat = lstatSync(path, { throwIfNoEntry: false });
    return stat && (stat.isSymbolicLink() ? readlinkSync(path) : "");
  } catch {
    return "";
  }
}

/** The names of a path. */
const partsOf = (path: string) => path.split("/").filter((part) => part !== "" && part !== ".");

export const outside = (path: string) => new Failure(path, "leads out of the served folder", "EACCES");

/**
 * Checks a path of a client before any work is done on it.
 * @throws Failure ENAMETOOLONG; EINVAL for one that has a zero byte, is no UTF-8, or means something else on Windows
 */
export function checkPath(path: string): void {
  if (path.length > LONGEST_PATH || Buffer.byteLength(path) > LONGEST_PATH) {
    throw new Failure(path, "name too long", "ENAMETOOLONG");
  }
  if (/[\0\uFFFD]/.test(path) || (sep !== "/" && /[\\:]/.test(path))) {
    throw new Failure(path, "is no name here", "EINVAL");
  }
}

/** How many folders up a relative path leads at its highest point. */
function highest(path: string): number {
  let depth = 0;
  let most = 0;
  for (const part of partsOf(path)) {
    depth += part === ".." ? 1 : -1;
    most = Math.max(most, depth);
  }
  return most;
}

/**
 * Makes sure that what is moved holds no link that would lead out.
 * @param depth how many folders are above it in its new place
 * @throws Failure EACCES
 */
async function checkLinks(top: string, depth: number): Promise<void> {
  const left: [path: string, depth: number][] = [[top, depth]];
  for (let searched = 0; left.length > 0; searched++) {
    if (searched > MOST_SEARCHED) {
      throw new Failure("", `moving more than ${MOST_SEARCHED} files upwards is not allowed here`, "EACCES");
    }
    const [path, above] = left.pop() as [string, number];
    const stats = await lstat(path).catch(({ code }) => {
      if (code !== "ENOENT") throw new Failure("", "it holds what cannot be searched for links", "EACCES");
    });
    if (stats?.isSymbolicLink()) {
      const target = await readlink(path);
      if (!target.startsWith(sep) && highest(target.split(sep).join("/")) > above) {
        throw new Failure("", "a link in it would lead out of the served folder", "EACCES");
      }
    } else if (stats?.isDirectory()) {
      for (const name of await readdir(path)) left.push([`${path}/${name}`, above + 1]);
    }
  }
}
