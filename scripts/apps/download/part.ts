/**
 * The part of a file: the bytes that have arrived so far, in a file beside the place where the whole one will be.
 *
 *     NAME.STATE.OWNER.part        film.mkv.9f86d081884c7d65.1c3f-2s8-kq0d.part
 *
 * STATE  16 hexadecimal digits. The first ten say which file it is in which state: a hash of its path, size and time
 *        at the server. The last six are a hash of NAME and the ten, which a file that is not a part does not have.
 * OWNER  the process that writes it: its machine, its process id, and when it was started.
 *
 * A part has one writer at a time. A run makes a part of its own. It goes on with the part of another run only when
 * that process has ended, and takes it over by renaming it: if two try, one succeeds (rename(2) is atomic). There is
 * no lock, so a run that is killed leaves none behind.
 *
 * Looking at a file takes the system a few microseconds, a trip to the threads of node:fs/promises five times as long,
 * and a small file is looked at ten times: so the calls that only look wait for the system.
 */
import { createHash } from "node:crypto";
import {
  appendFileSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  type Stats,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { failAs, Failure } from "../../../lib/failure.ts";
import { renameToFree, taken } from "../../../lib/files.ts";
import { keepRights } from "../replace.ts";

const { O_RDWR, O_WRONLY, O_APPEND, O_CREAT, O_EXCL, O_NOFOLLOW = 0 } = constants;

/** A process of another machine is taken for ended when it has not written its part for so long, in milliseconds. */
const ABANDONED = 120_000;

/** So few bytes are written at once: copying them takes less time than the trip to another thread. */
export const SMALL = 16_384;

/** Up to this length a file name is NAME as it is, in UTF-16 units; a longer one is cut, and a hash is added. */
const LONGEST_STEM = 60;

const PART = /^(.+)\.([0-9a-f]{10})([0-9a-f]{6})\.([0-9a-f]{4}-[0-9a-z]+-[0-9a-z]+)\.part$/s;

const OWNER = `${machine()}-${process.pid.toString(36)}-${startOf(process.pid) ?? 0}`;

/** `isWhole`: it is a second name of the whole file. A run that was killed had given the file its own name already. */
type Left = { path: string; state: string; size: number; isWhole: boolean };

/** The parts that one run writes, and those that earlier runs have left in its folders. */
export class Parts {
  /** Folder -> NAME -> the parts that were there when the run first came to the folder. */
  readonly #folders = new Map<string, Map<string, RegExpExecArray[]>>();

  /**
   * Opens the part of a file, with the bytes that an earlier run has left there, if there are any. Parts of another
   * state of the file are removed.
   * @param target where the whole file will be
   * @param file its path, size and time at the server
   * @param replaced what is there now
   * @returns also whether a part of another state was removed
   * @throws Failure EEXIST for a part that is not ours; the errors of open(2)
   */
  async open(target: string, file: string, replaced?: Stats): Promise<{ part: Part; hadOther: boolean }> {
    const state = stateOf(target, file);
    const path = pathOf(target, state);
    const part = await Part.open(path, target, replaced);
    try {
      const lefts = this.#leftOf(target, part.uid);
      for (const left of lefts) {
        const isOfUse = left.state === state && !left.isWhole && part.size === 0;
        await (isOfUse ? part.takeOver(left.path) : rm(left.path, { force: true }));
      }
      return { part, hadOther: lefts.some((left) => left.state !== state && !left.isWhole) };
    } catch (error) {
      await part[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * Removes what other runs have left of a file that is here whole.
   * @param looksAgain whether to look for parts that have come since this run came to the folder
   */
  async remove(target: string, looksAgain: boolean): Promise<void> {
    if (looksAgain) this.#folders.delete(dirname(target));
    for (const { path } of this.#leftOf(target, process.getuid?.())) await rm(path, { force: true });
  }

  /** Whether a run that has ended has left a part of a file. */
  hasLeft(target: string): boolean {
    return this.#leftOf(target, process.getuid?.()).length > 0;
  }

  /** The parts of a file that no process writes any more, the largest first. */
  #leftOf(target: string, uid: number | undefined): Left[] {
    const folder = dirname(target);
    let parts = this.#folders.get(folder);
    if (!parts) {
      const found = readdirSync(folder).map((name) => PART.exec(name)).filter((part) => part !== null);
      parts = Map.groupBy(found, ([, stem]) => stem);
      this.#folders.set(folder, parts);
    }
    const found = parts.size === 0 ? undefined : parts.get(stemOf(target));
    if (!found) return [];
    const whole = lstatSync(target, { throwIfNoEntry: false });
    const lefts = found.map(([name, stem, digits, check, owner]) => {
      const path = join(folder, name);
      const stat = lstatSync(path, { throwIfNoEntry: false }); // it may have gone meanwhile
      if (!stat || check !== checkOf(stem, digits) || isAlive(owner, stat)) return [];
      // renameToFree is link(2), then unlink(2): a run that is killed between the two leaves both names.
      const isWhole = stat.nlink > 1 && stat.ino === whole?.ino && stat.dev === whole.dev;
      const isPart = isWhole ? stat.isFile() && stat.uid === (uid ?? stat.uid) : isOurs(stat, uid);
      return isPart ? [{ path, state: digits + check, size: stat.size, isWhole }] : [];
    });
    return lefts.flat().sort((one, other) => other.size - one.size);
  }
}

/** A part that this run writes. */
export class Part {
  readonly path: string;
  /** Where the whole file will be. */
  readonly target: string;
  readonly #replaced: Stats | undefined;
  #file: FileHandle;
  #stat: Stats;
  #size: number;
  #isDone = false;

  private constructor(
    path: string,
    target: string,
    replaced: Stats | undefined,
    file: FileHandle,
    stat: Stats,
  ) {
    this.path = path;
    this.target = target;
    this.#replaced = replaced;
    this.#file = file;
    this.#stat = stat;
    this.#size = stat.size;
  }

  /** Makes a new part, or opens the one that this run has left there. @throws Failure, as `open` of `Parts` */
  static async open(path: string, target: string, replaced: Stats | undefined): Promise<Part> {
    const stat = lstatSync(path, { throwIfNoEntry: false });
    const isHere = stat !== undefined && isOurs(stat, process.getuid?.());
    const file = await openPart(path, isHere ? 0 : NEW, replaced).catch(failAs(target));
    return new Part(path, target, replaced, file, fstatSync(file.fd));
  }

  /** How many bytes are there. */
  get size(): number {
    return this.#size;
  }

  /** Whose a file is that this run makes here: not on every file system is it the user of this process. */
  get uid(): number {
    return this.#stat.uid;
  }

  get file(): FileHandle {
    return this.#file;
  }

  /** Goes on with the part of a run that has ended, in the place of the new one, unless another run was faster. */
  async takeOver(left: string): Promise<void> {
    if (!await rename(left, this.path).then(() => true, () => false)) return;
    const file = await openPart(this.path, 0, this.#replaced).catch(failAs(this.target));
    const stat = fstatSync(file.fd);
    await this.#file.close();
    this.#file = file;
    if (!isOurs(stat, this.uid)) { // it has been replaced since it was looked at
      throw new Failure(this.path, "is not a part of ours", "EEXIST");
    }
    this.#stat = stat;
    this.#size = stat.size;
  }

  /** Adds bytes at the end. @throws Failure ENOSPC and its like */
  async append(bytes: Uint8Array): Promise<void> {
    const isSmall = bytes.length <= SMALL;
    const written = isSmall ? Promise.try(appendFileSync, this.file.fd, bytes) : this.file.appendFile(bytes);
    await written.catch(failAs(this.target));
    this.#size += bytes.length;
  }

  /** Starts with no bytes, in a new file: the bytes of the old one are of no use. */
  async restart(): Promise<void> {
    await this.discard();
    this.#file = await openPart(this.path, NEW, this.#replaced).catch(failAs(this.target));
    this.#stat = fstatSync(this.#file.fd);
  }

  async discard(): Promise<void> {
    await this.#file.close().catch(() => {}); // closed already
    await rm(this.path, { force: true });
    this.#size = 0;
  }

  /**
   * Gives the file its name, and its time.
   * @param time in milliseconds since 1970
   * @param overwrites whether it may replace a file
   * @throws Failure EBADMSG when the part is not what was written to it; EEXIST; the errors of rename(2)
   */
  async finish(time: number, overwrites: boolean): Promise<void> {
    const written = fstatSync(this.file.fd);
    const named = await Promise.try(() => lstatSync(this.path)).catch(failAs(this.target));
    if (
      !isOurs(written, this.uid) || written.size !== this.#size || written.ino !== named.ino ||
      written.dev !== named.dev
    ) {
      throw new Failure(this.target, "was changed by another program while it arrived", "EBADMSG");
    }
    if (this.#replaced) await keepRights(this.file, this.#replaced).catch(failAs(this.target));
    setTime(this.path, time);
    await this.file.close().catch(failAs(this.target));
    await (overwrites ? rename : renameToFree)(this.path, this.target).catch(async (error) => {
      if (error.code !== "EEXIST") failAs(this.target)(error);
      await this.discard(); // another run was faster
      throw taken(this.target);
    });
    this.#size = 0;
    this.#isDone = true;
  }

  /** Closes it; without bytes it is of no use. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isDone) return; // there is no part any more
    await this.file.close().catch(() => {}); // closed already
    if (this.#size === 0) await rm(this.path, { force: true });
  }
}

/**
 * The part of a small file: its bytes wait in memory until all are there, and are written then, at once. Opening a file
 * for them earlier, and closing it, would be two trips to another thread, each longer than all else.
 */
export class SmallPart {
  readonly #path: string;
  readonly #target: string;
  readonly #pieces: Buffer[] = [];
  size = 0;

  /** @param file as `open` of `Parts` */
  constructor(target: string, file: string) {
    this.#path = pathOf(target, stateOf(target, file));
    this.#target = target;
  }

  append(bytes: Uint8Array): Promise<void> {
    this.#pieces.push(Buffer.from(bytes));
    this.size += bytes.length;
    return Promise.resolve();
  }

  discard() {}

  /**
   * Writes the file, and gives it its name and its time.
   * @param time, overwrites as `finish` of `Part`
   * @throws Failure EEXIST; ENOSPC and its like
   */
  async finish(time: number, overwrites: boolean): Promise<void> {
    try {
      const file = openSync(this.#path, O_WRONLY | O_NOFOLLOW | NEW, 0o666);
      try {
        try {
          writeFileSync(file, Buffer.concat(this.#pieces));
        } finally {
          closeSync(file);
        }
        setTime(this.#path, time);
        await (overwrites ? rename : renameToFree)(this.#path, this.#target);
      } catch (error) {
        rmSync(this.#path, { force: true });
        throw error;
      }
    } catch (error) {
      failAs(this.#target)((error as { code?: string }).code === "EEXIST" ? taken(this.#target) : error);
    }
  }
}

const pathOf = (target: string, state: string) =>
  join(dirname(target), `${stemOf(target)}.${state}.${OWNER}.part`);

/** By its path: on Deno 2.9 an open file takes no time before 1970. A system may not be able to keep the time. */
function setTime(path: string, time: number): void {
  try {
    utimesSync(path, new Date(), new Date(time));
  } catch {
    // it has the time at which it came, then
  }
}

function hashOf(text: string, digits: number): string {
  return createHash("sha256").update(text).digest("hex").slice(0, digits);
}

function stemOf(target: string): string {
  const name = basename(target);
  return name.length <= LONGEST_STEM ? name : `${name.slice(0, 50).toWellFormed()}.${hashOf(name, 10)}`;
}

const checkOf = (stem: string, digits: string) => hashOf(`${stem}.${digits}`, 6);

function stateOf(target: string, file: string): string {
  const digits = hashOf(file, 10);
  return digits + checkOf(stemOf(target), digits);
}

const NEW = O_CREAT | O_EXCL;

/** Until a part gets the rights of what it replaces, nobody else may read it. */
async function openPart(path: string, how: number, replaced: Stats | undefined): Promise<FileHandle> {
  const file = await open(path, O_RDWR | O_APPEND | O_NOFOLLOW | how, replaced ? 0o600 : 0o666);
  if (replaced && how === 0) await file.chmod(0o600).catch(() => {}); // a file system without rights
  return file;
}

/** Whether it is a file that nobody else can write: no other name leads to it, and it is ours. */
function isOurs(stat: Stats, uid = stat.uid): boolean {
  return stat.isFile() && stat.nlink === 1 && stat.uid === uid;
}

/** This machine, or this container: whether a process id means anything here. */
function machine(): string {
  try {
    return hashOf(hostname() + readlinkSync("/proc/self/ns/pid"), 4);
  } catch {
    return hashOf(hostname(), 4);
  }
}

/** Whether the process that writes a part is still there. */
function isAlive(owner: string, { mtimeMs }: Stats): boolean {
  const [place, pid, start] = owner.split("-");
  if (place !== OWNER.slice(0, 4)) return Date.now() - mtimeMs < ABANDONED;
  return startOf(Number.parseInt(pid, 36)) === start; // this run itself, too
}

/**
 * When a process was started, in ticks since the system was (proc(5)); "0" where that is not told. Undefined for one
 * that has ended.
 */
function startOf(pid: number): string | undefined {
  try {
    if (process.platform !== "linux") return process.kill(pid, 0) ? "0" : undefined;
    // PID (NAME) STATE PARENT ...; the name may hold anything. Z and X: it has ended.
    const [state, ...fields] = readFileSync(`/proc/${pid}/stat`, "latin1").replace(/^.*\) /s, "").split(" ");
    return /[ZX]/.test(state) ? undefined : Number(fields[18]).toString(36);
  } catch (error) {
    return (error as { code?: string }).code === "EPERM" ? "0" : undefined;
  }
}
