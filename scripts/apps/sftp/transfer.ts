/** get and put: a file, or a folder with all that is in it, passes from one side to the other. */
import { posix } from "node:path";
import { Failure, original } from "../../../lib/failure.ts";
import { hint, print, visible } from "../../../lib/program.ts";
import { Progress } from "../progress.ts";
import type { Entry, Facts, File, Side } from "./side.ts";

/** How many bytes are under way at once, which is all that a copy keeps in memory, and in how many requests at most. */
const WINDOW = 2 ** 21;
const MOST_REQUESTS = 64;

/** A file of a folder that has at most so many bytes does not wait for the end of the one before: so many at once. */
const SMALL = 2 ** 16;
const MOST_FILES = 16;

type Options = {
  /** Whether folders are taken too. */
  isDeep: boolean;
  /** How many names of a tree may wait while a folder below is transferred. */
  mostNames: number;
  /** Ctrl-C. */
  stop: AbortSignal;
  /** Ctrl-C, or the end of the connection. */
  end: AbortSignal;
  /** Does the work for each, and tells what goes wrong with one. @returns false where something did */
  each: (entries: Entry[], work: (entry: Entry) => Promise<unknown>) => Promise<boolean>;
};

/** Passes files from a side to the other. */
export class Transfer {
  readonly #from: Side;
  readonly #to: Side;
  readonly #options: Options;
  #names = 0; // that wait

  constructor(from: Side, to: Side, options: Options) {
    this.#from = from;
    this.#to = to;
    this.#options = options;
  }

  /**
   * @param isTold whether the other side has told the name of the target, which was not typed
   * @returns false when something went wrong, and was told
   */
  async pass(path: string, target: string, facts: Facts, isTold = false): Promise<unknown> {
    if (facts.kind === "file") return (await this.#passFile(path, target, facts, isTold))();
    if (facts.kind !== "folder") throw new Failure(path, "is not a file", "EACCES");
    if (this.#options.isDeep) return await this.#passFolder(path, target, facts);
    throw new Failure(path, "is a folder", "EISDIR", { hint: "-r takes folders too" });
  }

  /** A folder that is made gets the mode of its source, but only at the end: it must be written into until then. */
  async #passFolder(path: string, target: string, { mode }: Facts): Promise<boolean> {
    const isNew = await this.#to.needFolder(target, mode === undefined ? undefined : (mode & 0o777) | 0o300);
    let count = 0;
    try {
      const entries = await this.#from.list(path);
      this.#names += count = entries.length;
      if (this.#names > this.#options.mostNames) throw new Failure(path, "is a tree without end", "EPROTO");
      return await this.#passEntries(entries, path, target);
    } finally {
      this.#names -= count;
      if (isNew && mode !== undefined) await this.#to.finishFolder(target, mode & 0o1777).catch(() => {});
    }
  }

  /** Tells of one after another, but begins small files early: each takes five requests, which wait for each other. */
  async #passEntries(entries: Entry[], path: string, target: string): Promise<boolean> {
    const begun: Promise<() => Promise<unknown>>[] = []; // of entries[told], entries[told + 1], ...
    let told = 0;
    const begin = async (entry: Entry) => {
      this.#to.check(entry.name);
      const [source, goal] = [path, target].map((one) => `${one.replace(/\/$/, "")}/${entry.name}`);
      if (entry.kind === "file") return await this.#passFile(source, goal, entry, true);
      if (entry.kind === "folder") return () => this.pass(source, goal, entry, true);
      return () => hint(`${source} is neither file nor folder, and left out`);
    };
    const beginNext = () => {
      const next = begin(entries[told + begun.length]);
      next.catch(() => {}); // it is thrown when it is its turn
      begun.push(next);
    };
    const isSmall = (entry?: Entry) => entry?.kind === "file" && entry.size > 0 && entry.size <= SMALL;
    try {
      return await this.#options.each(entries, async (entry) => {
        if (begun.length === 0) beginNext();
        while (isSmall(entry) && begun.length < MOST_FILES && isSmall(entries[told + begun.length])) {
          beginNext();
        }
        told++;
        return await (await begun.shift())?.();
      });
    } finally {
      await Promise.allSettled(begun);
    }
  }

  /** @returns what tells of it, later */
  async #passFile(path: string, target: string, { mode = 0o666, size }: Facts, isTold: boolean) {
    await using source = await this.#from.open(path, "r");
    const { stop } = this.#options;
    const goal = await Goal.at(this.#to, target, mode & 0o777, isTold, this.#options);
    try {
      using progress = new Progress(path, size <= SMALL ? 0 : size);
      const step = (bytes: number) => {
        stop.throwIfAborted();
        progress.step(bytes);
      };
      const bytes = await goal.write((file) => copy(source, file, size, path, step));
      return () => print(`${visible(path)} -> ${visible(target)}  ${bytes} bytes`);
    } catch (error) {
      await goal.tidy(stop.aborted);
      throw goal.named(original(error));
    }
  }
}

/**
 * Where a file is stored. A new file, and one that replaces a regular file, is written as a part with a name of its
 * own, which it loses when all bytes are there. What cannot be replaced, or not with the same owner and permissions,
 * is written in place: a device, a pipe, a file with several names, a file in a folder that we may not write to.
 */
class Goal {
  readonly #side: Side;
  /** As it was typed. */
  readonly #target: string;
  /** The same, without a link at its end: the link stays, if it is followed. */
  readonly #path: string;
  readonly #part: string;
  readonly #old: Facts | undefined;
  /** Ctrl-C, or the end of the connection. */
  readonly #end: AbortSignal;
  #file: File | undefined;
  /** Whether the bytes go to the part. */
  #isApart = true;
  /** Whether all bytes are there. */
  #isWhole = false;
  /** Whether the part stays although something went wrong. */
  #isKept = false;

  private constructor(side: Side, target: string, path: string, old: Facts | undefined, end: AbortSignal) {
    this.#side = side;
    this.#target = target;
    this.#path = path;
    this.#old = old;
    this.#end = end;
    this.#part = posix.join(posix.dirname(path), `incoming-${crypto.randomUUID().slice(0, 8)}.part`);
  }

  /** Opens it. @param mode of a new file */
  static async at(side: Side, target: string, mode: number, isTold: boolean, { stop, end }: Options) {
    const there = await side.lstat(target).catch(ifNothing);
    const isLink = there?.kind === "link";
    const isReplaced = isLink && isTold && !side.followsLinks;
    const path = isLink && !isReplaced ? await side.realpath(target) : target;
    const old = isLink ? await side.stat(path).catch(ifNothing) : there;
    if (old?.kind === "folder") throw new Failure(target, "is a folder", "EISDIR");
    const goal = new Goal(side, target, path, isReplaced ? undefined : old, end);
    try {
      await goal.#open(mode);
    } catch (error) {
      if (end.aborted) await goal.tidy(stop.aborted); // it may be open, and we have not heard of it
      throw goal.named(error);
    }
    return goal;
  }

  async #open(mode: number): Promise<void> {
    if (!this.#old) this.#file = await this.#side.open(this.#part, "wx", mode);
    else if (this.#old.kind !== "file" || (this.#old.links ?? 1) > 1 || !await this.#openLike(this.#old)) {
      this.#isApart = false;
      this.#file = await this.#side.open(this.#path, this.#old.kind === "file" ? "w" : "a");
    }
  }

  /**
   * Opens a part with the owner and the permissions of the file that it will replace.
   * @returns false where it cannot have them
   */
  async #openLike({ mode, uid, gid }: Facts): Promise<boolean> {
    if (mode === undefined) return false;
    try {
      this.#file = await this.#side.open(this.#part, "wx", mode & 0o777);
    } catch (error) {
      if (!(error instanceof Failure)) throw error; // Ctrl-C
      if (["EACCES", "EPERM"].includes(error.code)) return false; // we may not write in this folder
      throw error; // the disk is full, say: what was emptied now could not be written again
    }
    try {
      const made = await this.#side.lstat(this.#part);
      const isOurs = made.uid === uid && made.gid === gid;
      if (!isOurs) await this.#side.setRights(this.#part, { mode, uid, gid });
      else if (made.mode !== mode) await this.#side.setRights(this.#part, { mode });
      return true;
    } catch (error) {
      await Promise.resolve(this.#file[Symbol.asyncDispose]()).catch(() => {});
      if (!(error instanceof Failure)) throw error;
      await this.#side.unlink(this.#part);
      return false;
    }
  }

  /** Lets the bytes be written, and gives the part its name. @returns what `fill` returns */
  async write<T>(fill: (file: File) => Promise<T>): Promise<T> {
    let filled: T;
    {
      await using file = this.#file as File; // closing it may tell of a full disk
      filled = await fill(file);
    }
    this.#isWhole = true;
    if (this.#isApart) await this.#rename();
    return filled;
  }

  /**
   * Gives the part its name. Where a rename replaces nothing, the old file is moved aside first, and removed when the
   * new one has the name: at each moment, both are there.
   */
  async #rename(): Promise<void> {
    const side = this.#side;
    const aside = this.#part.replace(/\.part$/, ".old");
    try {
      return await side.rename(this.#part, this.#path);
    } catch (error) {
      if ((error as Failure).code !== "EREMOTEIO") throw error;
      await side.rename(this.#path, aside).catch(async (second) => {
        if (second.code === "ENOENT") throw error; // no file was in the way: it has failed for another reason
        if (this.#end.aborted) await this.#moveBack(aside, false); // it may have been moved, but we have not heard
        throw second;
      });
    }
    try {
      await side.rename(this.#part, this.#path);
    } catch (error) {
      await this.#moveBack(aside);
      throw error;
    }
    await side.unlink(aside).catch(() => hint(`the old file is still there, as ${aside}`));
  }

  /** Gives the old file its name again. @param isMoved whether it has certainly lost it */
  async #moveBack(aside: string, isMoved = true): Promise<void> {
    await this.#side.rename(aside, this.#path).catch((error) => {
      if (!isMoved && error.code === "ENOENT") return;
      this.#isKept = true;
      const is = this.#end.aborted ? "may be" : "is"; // Ctrl-C, or the end: nobody tells
      return hint(`the old file ${is} ${aside} now, and the new one, which is whole, ${this.#part}`);
    });
  }

  /** After something went wrong: removes the part, and says what is left. */
  async tidy(isInterrupted: boolean): Promise<void> {
    if (this.#isKept) return;
    if (!this.#isApart) {
      if (this.#old?.kind === "file" && !this.#isWhole) {
        await hint(`${this.#target} is not whole: it was written in place`);
      }
      return;
    }
    const code = await this.#side.unlink(this.#part).then(() => "", (error) => error.code);
    if (code && code !== "ENOENT") await hint(`a part of it may be left, as ${this.#part}`);
    else if (isInterrupted && code && this.#isWhole) {
      await hint(`${this.#target}: interrupted, but it is whole`);
    } else if (isInterrupted) await hint(`${this.#target}: interrupted, and its part is removed`);
  }

  /** An error with the name that was typed, in place of the part's. */
  named(error: unknown): unknown {
    if (!(error instanceof Failure)) return error;
    const names = [this.#part, this.#path].map((name) => new Failure(name, "", "").what);
    return names.includes(error.what)
      ? new Failure(this.#target, error.why, error.code, { hint: error.hint })
      : error;
  }
}

const ifNothing = (error: Failure) => {
  if (error.code !== "ENOENT") throw error;
  return undefined;
};

/**
 * Copies a file, with many requests under way at once: only the first should have to wait for the way there and
 * back. The bytes are written in ascending order, for a server that only appends, or a pipe.
 * @param size its bytes, as far as they are known, or 0. A file that has become longer is copied to its end, too
 * @param step hears how many bytes were copied; what it throws ends the copy
 * @returns its bytes
 * @throws Failure EIO when the file ends too early; what `from` and `to` throw
 */
export async function copy(
  from: File,
  to: File,
  size: number,
  name: string,
  step: (bytes: number) => void,
): Promise<number> {
  const piece = Math.min(from.piece, to.piece);
  const most = Math.max(1, Math.min(MOST_REQUESTS, Math.floor(WINDOW / piece)));
  const free: Buffer[] = [];
  const reads: Promise<Piece>[] = []; // in order
  const writes = new Set<Promise<void>>();
  const failed: unknown[] = []; // why a write has
  // One byte more than there should be: with the last of them, that costs no request.
  let [next, end, copied, isLonger] = [0, size ? size + 1 : Infinity, 0, false];

  async function read(place: number, length: number): Promise<Piece> {
    const buffer = free.pop() ?? Buffer.allocUnsafe(length);
    let count = 0;
    while (count < length && (count === 0 || place + count !== size)) {
      const more = await from.read(buffer, count, length - count, place + count);
      if (more === 0) break;
      count += more;
    }
    return { buffer, place, count, isLast: count < length };
  }

  async function write({ buffer, place, count }: Piece): Promise<void> {
    if (count > 0) await to.write(buffer.subarray(0, count), place);
    copied += count;
    step(count);
    if (buffer.length === piece) free.push(buffer);
  }

  try {
    while (next < end || reads.length + writes.size > 0) {
      if (failed.length > 0) throw failed[0];
      // What has been added is read piece by piece: more may be added meanwhile, behind an end that was read before.
      const places = (isLonger ? 1 : most) - reads.length - writes.size;
      for (let count = 0; count < places && next < end; count++) {
        const length = Math.min(piece, end - next);
        const begun = read(next, length);
        next += length;
        begun.catch(() => {}); // it is thrown where it is waited for
        reads.push(begun);
      }
      if (reads.length === 0) await Promise.race(writes);
      else {
        const read = await reads.shift() as Piece;
        if (read.isLast) end = Math.min(end, read.place + read.count);
        else if (size > 0 && read.place + read.count > size && !isLonger) [end, isLonger] = [Infinity, true];
        const written = write(read).then(() => void writes.delete(written));
        writes.add(written);
        written.catch((error) => failed.push(error));
      }
    }
  } finally {
    await Promise.allSettled([...reads, ...writes]); // none may go on after the files are closed
  }
  if (copied === end && copied >= size) return copied;
  throw new Failure(name, `ended after ${Math.min(copied, end)} of ${size} bytes`, "EIO");
}

type Piece = { buffer: Buffer; place: number; count: number; isLast: boolean };
