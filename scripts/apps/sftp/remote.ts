/**
 * Files of another machine: the requests of SFTP, version 3 (draft-ietf-secsh-filexfer-02), as promises. What
 * the server answers is checked for what it claims to be, and its errors are put into words.
 */
import { posix } from "node:path";
import type { FileEntryWithStats, SFTPWrapper, Stats } from "ssh2";
import { explain, Failure } from "../../../lib/failure.ts";
import { type Entry, type Facts, facts, type File, type Side } from "./local.ts";

/** How many names a folder may have: a list has an end, whoever sends it. */
const LONGEST_LIST = 100_000;

/** The longest name of one file, in bytes: 255 characters (NAME_MAX of some systems) in UTF-8. */
const LONGEST_NAME = 765;

/** The status codes of SFTP as codes of errno(3). 4, "failure", is every error that has no number of its own. */
const CODES = ["", "EOF", "ENOENT", "EACCES", "EREMOTEIO", "EBADMSG", "ENOTCONN", "ECONNRESET", "EOPNOTSUPP"];

/** What servers say for 2 and 3 when they have nothing to add. */
const PLAIN = /^(no such file( or directory)?|permission denied)?$/i;

/** The files of a server. */
export class Remote implements Side {
  folder = ""; // where the server has put us: what "." means to it
  readonly #sftp: SFTPWrapper;
  readonly #server: string;
  readonly #gone: AbortSignal;
  /** What waits for an answer. */
  readonly #waiting = new Set<(reason: unknown) => void>();

  /** @param gone tells that no answer will come any more, and its reason is why */
  constructor(sftp: SFTPWrapper, server: string, gone: AbortSignal) {
    this.#sftp = sftp;
    this.#server = server;
    this.#gone = gone;
    gone.addEventListener("abort", () => {
      for (const reject of this.#waiting) reject(gone.reason);
    });
  }

  async enter(path: string): Promise<void> {
    if ((await this.stat(path)).kind !== "folder") throw new Failure(path, "not a folder", "ENOTDIR");
    this.folder = await this.realpath(path);
  }

  realpath(path: string): Promise<string> {
    const isPath = (answer: unknown) => typeof answer === "string" && answer.startsWith("/");
    return this.#ask(path, (done) => this.#sftp.realpath(this.#at(path), done), isPath);
  }

  async stat(path: string): Promise<Facts> {
    const stats = await this.#ask<Stats>(path, (done) => this.#sftp.stat(this.#at(path), done), isStats);
    return facts(stats, stats.mtime);
  }

  async mkdir(path: string): Promise<void> {
    await this.#ask(path, (done) => this.#sftp.mkdir(this.#at(path), done));
  }

  async needFolder(path: string): Promise<void> {
    await this.mkdir(path).catch(async (error) => {
      const { kind } = await this.stat(path).catch(() => ({ kind: "none" })); // "failure" says nothing
      if (kind !== "folder") throw error;
    });
  }

  async rmdir(path: string): Promise<void> {
    await this.#ask(path, (done) => this.#sftp.rmdir(this.#at(path), done));
  }

  async unlink(path: string): Promise<void> {
    await this.#ask(path, (done) => this.#sftp.unlink(this.#at(path), done));
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#ask(from, (done) => {
      try {
        this.#sftp.ext_openssh_rename(this.#at(from), this.#at(to), done); // as rename(2): replaces
      } catch { // this server has not announced it
        this.#sftp.rename(this.#at(from), this.#at(to), done);
      }
    });
  }

  /** @throws Failure EPROTO for what is no list of names */
  async list(path: string): Promise<Entry[]> {
    const folder = this.#at(path);
    const broken = (why: string) => new Failure(this.#server, why, "EPROTO");
    const handle = await this.#ask<Buffer>(path, (done) => this.#sftp.opendir(folder, done), Buffer.isBuffer);
    const entries: Entry[] = [];
    try {
      while (true) {
        const some = await this.#names(path, handle);
        if (some.length === 0) break;
        for (const { filename: name, attrs } of some) {
          if (name === "" || /[/\0]/.test(name) || Buffer.byteLength(name) > LONGEST_NAME) {
            throw broken("sent what is no name of a file");
          }
          if (entries.length === LONGEST_LIST) throw broken("sent a list without end");
          if (name !== "." && name !== "..") entries.push({ name, ...facts(attrs, attrs.mtime) });
        }
      }
    } finally {
      await this.#ask(path, (done) => this.#sftp.close(handle, done)).catch(() => {});
    }
    return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Some names of a folder; none at its end. */
  async #names(path: string, handle: Buffer): Promise<FileEntryWithStats[]> {
    try {
      return await this.#ask(path, (done) => this.#sftp.readdir(handle, done), Array.isArray);
    } catch (error) {
      if ((error as Failure).code === "EOF") return [];
      throw error;
    }
  }

  async open(path: string, flags: "r" | "wx", mode?: number): Promise<File> {
    const sftp = this.#sftp;
    const place = this.#at(path);
    const handle = await this.#ask<Buffer>(
      path,
      (done) => mode === undefined ? sftp.open(place, flags, done) : sftp.open(place, flags, mode, done),
      Buffer.isBuffer,
    );
    return {
      read: async (buffer, offset, length, position) => ({
        bytesRead: await this.#ask<number>(
          path,
          (done) => sftp.read(handle, buffer, offset, length, position, done),
          (count) => Number.isInteger(count) && Number(count) <= length,
        ),
      }),
      write: async (buffer, offset, length, position) => {
        await this.#ask(path, (done) => sftp.write(handle, buffer, offset, length, position, done));
        return { bytesWritten: length };
      },
      // A full disk may be told only now.
      [Symbol.asyncDispose]: () => this.#ask(path, (done) => sftp.close(handle, done)),
    };
  }

  /** Any name may be one there: the server decides. */
  check() {}

  /** A path as the server knows it. `..` is left to the server: where it leads, links have a say. */
  #at(path: string): string {
    return path.startsWith("/") || this.folder === "" ? path : posix.join(this.folder, "/") + path;
  }

  /**
   * Makes a request, and waits for the answer.
   * @param isRight whether it is of the kind that was asked for: any other ends the request
   * @throws Failure with the words of the server; the reason of `gone`
   */
  #ask<T>(
    what: string,
    request: (done: (error?: Error | null, answer?: T) => void) => void,
    isRight: (answer: unknown) => boolean = () => true,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#gone.aborted) return reject(this.#gone.reason);
      this.#waiting.add(reject);
      request((error, answer) => {
        this.#waiting.delete(reject);
        if (error) reject(this.#inWords(error, what));
        else if (isRight(answer)) resolve(answer as T);
        else reject(new Failure(this.#server, "answered something else than was asked", "EPROTO"));
      });
    });
  }

  #inWords(error: Error & { code?: unknown }, what: string): Failure {
    if (typeof error.code !== "number") {
      const isLost = error.message === "No response from server";
      return new Failure(this.#server, isLost ? "hung up" : error.message, isLost ? "EPIPE" : "EPROTO");
    }
    const code = CODES[error.code] ?? "EREMOTEIO";
    const isPlain = (error.code === 2 || error.code === 3) && PLAIN.test(error.message);
    const known = isPlain ? explain(Object.assign(error, { code }), what) : undefined;
    return known ?? new Failure(what, `the server says: ${error.message}`, code);
  }
}

/** Whether an answer is what ssh2 makes of attributes. */
const isStats = (answer: unknown) => typeof (answer as { isDirectory?: unknown })?.isDirectory === "function";
