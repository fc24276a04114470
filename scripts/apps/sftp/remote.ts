/**
 * The files of a server: the requests of SFTP, version 3 (draft-ietf-secsh-filexfer-02), as promises. Every answer
 * is checked for being what it claims to be, and errors are put into words.
 */
import type { Socket } from "node:net";
import { posix } from "node:path";
import type { FileEntryWithStats, SFTPWrapper, Stats } from "ssh2";
import { explain, Failure } from "../../../lib/failure.ts";
import {
  type Entry,
  type Facts,
  type File,
  type Flags,
  type Kind,
  kindOf,
  PIECE,
  type Side,
} from "./side.ts";

/** How many names a list may have, with `.` and `..`, however often these come: no list goes on for ever. */
const LONGEST_LIST = 100_000;

/** The longest name of one file, in bytes: 255 characters (NAME_MAX of some systems) in UTF-8. */
const LONGEST_NAME = 765;

/** The bytes of one request where ssh2 does not tell how many the server takes. */
const SAFE_PIECE = 16_384;

/** The status codes of SFTP as codes of errno(3). 4, "failure", is every error that has no number of its own. */
const CODES = ["", "EOF", "ENOENT", "EACCES", "EREMOTEIO", "EBADMSG", "ENOTCONN", "ECONNRESET", "EOPNOTSUPP"];

/** What servers say for 2 and 3 when they have nothing to add. */
const PLAIN = /^(no such file( or directory)?|permission denied)?$/i;

/** How long a request waits for its answer after Ctrl-C, in milliseconds: the program ends within a second. */
const TIDYING = 350;

type Done = (error?: Error | null, answer?: unknown) => void;

/** What the types of ssh2 do not tell. */
type FullList = { readdir(handle: Buffer, options: { full: true }, done: Done): void };

export class Remote implements Side {
  folder = ""; // where the server has put us: what "." means to it
  readonly #sftp: SFTPWrapper;
  readonly #socket: Socket;
  readonly #server: string;
  readonly #gone: AbortSignal;
  readonly #stop: AbortSignal;
  /** Ends the wait of a request. */
  readonly #waiting = new Set<(reason: unknown) => void>();

  /**
   * @param socket that of the connection
   * @param gone no answer will come any more, for its reason
   * @param stop ends what waits now; later requests, which tidy up, get little time
   */
  constructor(sftp: SFTPWrapper, socket: Socket, server: string, gone: AbortSignal, stop: AbortSignal) {
    this.#sftp = sftp;
    this.#socket = socket;
    this.#server = server;
    this.#gone = gone;
    this.#stop = stop;
    for (const signal of [gone, stop]) {
      signal.addEventListener("abort", () => {
        for (const reject of this.#waiting) reject(signal.reason);
      });
    }
  }

  /** Whether a request waits for its answer now. */
  get isAsking(): boolean {
    return this.#waiting.size > 0;
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
    return this.#facts(path, await this.#ask(path, (done) => this.#sftp.stat(this.#at(path), done), isStats));
  }

  async lstat(path: string): Promise<Facts> {
    const stats = this.#ask<Stats>(path, (done) => this.#sftp.lstat(this.#at(path), done), isStats);
    return this.#facts(path, await stats);
  }

  /** Attributes are optional in the draft: what is not told to be a folder is one if it opens as one. */
  async #facts(path: string, stats: Stats): Promise<Facts> {
    const isOpened = () =>
      this.#openFolder(path).then((handle) => this.#close(path, handle)).then(() => true);
    const kind = kindOf(stats.mode) ?? (await isOpened().catch(() => false) ? "folder" : "file");
    return facts(kind, stats);
  }

  async mkdir(path: string, mode?: number): Promise<void> {
    const attributes = mode === undefined ? {} : { mode };
    await this.#ask(path, (done) => this.#sftp.mkdir(this.#at(path), attributes, done));
  }

  async needFolder(path: string, mode?: number): Promise<boolean> {
    try {
      await this.mkdir(path, mode);
      return true;
    } catch (error) {
      const { kind } = await this.stat(path).catch(() => ({ kind: "none" })); // "failure" says nothing
      if (kind !== "folder") throw error;
      return false;
    }
  }

  finishFolder = (path: string, mode: number) => this.setRights(path, { mode });

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

  async setRights(path: string, { mode, uid, gid }: Pick<Facts, "mode" | "uid" | "gid">): Promise<void> {
    const owner = uid === undefined || gid === undefined ? {} : { uid, gid };
    const attributes = { ...owner, ...(mode === undefined ? {} : { mode }) };
    if (Object.keys(attributes).length === 0) return;
    await this.#ask(path, (done) => this.#sftp.setstat(this.#at(path), attributes, done));
  }

  /** @throws Failure EPROTO for an answer that is not a list of names */
  async list(path: string): Promise<Entry[]> {
    const broken = (why: string) => new Failure(this.#server, why, "EPROTO");
    const handle = await this.#openFolder(path);
    const entries: Entry[] = [];
    let count = 0;
    try {
      while (true) {
        const some = await this.#names(path, handle);
        if (some.length === 0) break;
        for (const { filename: name, longname, attrs } of some) {
          if (name === "" || /[/\0]/.test(name) || Buffer.byteLength(name) > LONGEST_NAME) {
            throw broken("sent a name that no file can have");
          }
          if (++count > LONGEST_LIST) throw broken("sent a list without end");
          if (name !== "." && name !== "..") entries.push({ name, ...facts(kindIn(longname), attrs) });
        }
      }
    } finally {
      await this.#close(path, handle).catch(() => {});
    }
    return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  #openFolder(path: string): Promise<Buffer> {
    return this.#ask(path, (done) => this.#sftp.opendir(this.#at(path), done), Buffer.isBuffer);
  }

  #close(path: string, handle: Buffer): Promise<void> {
    return this.#ask(path, (done) => this.#sftp.close(handle, done));
  }

  /** Some names of a folder, with the dots: a list without them may be empty long before its end. */
  async #names(path: string, handle: Buffer): Promise<FileEntryWithStats[]> {
    try {
      return await this.#ask(path, (done) => {
        (this.#sftp as unknown as FullList).readdir(handle, { full: true }, done);
      }, Array.isArray);
    } catch (error) {
      if ((error as Failure).code === "EOF") return [];
      throw error;
    }
  }

  async open(path: string, flags: Flags, mode?: number): Promise<File> {
    const sftp = this.#sftp;
    const handle = await this.#ask<Buffer>(
      path,
      (done) => sftp.open(this.#at(path), flags, mode === undefined ? {} : { mode }, done),
      Buffer.isBuffer,
    );
    return {
      piece: pieceOf(sftp),
      read: (buffer, offset, length, place) =>
        this.#ask<number>(
          path,
          (done) => sftp.read(handle, buffer, offset, length, place, done),
          (count) => Number.isInteger(count) && Number(count) <= length,
        ),
      write: (bytes, place) =>
        this.#ask(path, (done) => sftp.write(handle, bytes, 0, bytes.length, place, done)),
      [Symbol.asyncDispose]: async () => {
        const closed = this.#close(path, handle); // a full disk may be told only now
        if (this.#stop.aborted) closed.catch(() => {});
        else await closed;
      },
    };
  }

  /** Any name may be one there: the server decides. */
  check() {}
  readonly followsLinks = true;

  /** A path as the server knows it. `..` is left to the server: where it leads depends on links. */
  #at(path: string): string {
    return path.startsWith("/") || this.folder === "" ? path : posix.join(this.folder, "/") + path;
  }

  /**
   * Makes a request, and waits for the answer.
   * @param isRight whether the answer is of the kind that was asked for: any other ends the request
   * @throws Failure with the words of the server; the reason of `gone` or `stop`
   */
  #ask<T>(
    what: string,
    request: (done: Done) => void,
    isRight: (answer: unknown) => boolean = () => true,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#gone.aborted) return reject(this.#gone.reason);
      this.#waiting.add(reject);
      if (this.#stop.aborted) setTimeout(() => reject(this.#stop.reason), TIDYING);
      this.#socket.cork(); // ssh2 writes a packet in three pieces: they go together, which saves a fifth of the time
      request((error, answer) => {
        this.#waiting.delete(reject);
        if (error) reject(this.#inWords(error, what));
        else if (isRight(answer)) resolve(answer as T);
        else reject(new Failure(this.#server, "sent an answer to another question", "EPROTO"));
      });
      this.#socket.uncork();
    });
  }

  #inWords(error: Error & { code?: unknown }, what: string): Failure {
    if (typeof error.code !== "number") {
      if (error.message === "No response from server") return closed(this.#server);
      return new Failure(this.#server, error.message, "EPROTO");
    }
    const code = CODES[error.code] ?? "EREMOTEIO";
    const isPlain = (error.code === 2 || error.code === 3) && PLAIN.test(error.message);
    const known = isPlain ? explain(Object.assign(error, { code }), what) : undefined;
    return known ?? new Failure(what, `the server says: ${error.message}`, code);
  }
}

/** The connection to a server has ended. */
export const closed = (server: string) => new Failure(server, "connection closed by peer", "EPIPE");

/** What attributes tell. All of them are optional. */
function facts(kind: Kind, { mode, size = 0, mtime = 0, uid, gid }: Partial<Stats>): Facts {
  return { kind: kindOf(mode) ?? kind, mode: mode && mode & 0o7777, size, time: mtime, uid, gid };
}

/** The kind that a long name shows, as `ls -l` does, where the attributes do not tell it. */
function kindIn(longname: string): Kind {
  const kinds: Record<string, Kind> = { d: "folder", l: "link", "-": "file" };
  return kinds[/^[dl-](?=[-rwxsStT?]{9})/.exec(longname)?.[0] ?? ""] ?? "file";
}

/**
 * How many bytes one request may move. ssh2 cuts a longer write, and sends what is left only when the first piece is
 * answered, behind the pieces that follow: not every server can seek.
 */
function pieceOf(sftp: SFTPWrapper): number {
  const { _maxReadLen = SAFE_PIECE, _maxWriteLen = SAFE_PIECE } = sftp as {
    _maxReadLen?: number;
    _maxWriteLen?: number;
  };
  return Math.max(1, Math.min(PIECE, _maxReadLen, _maxWriteLen));
}

/** Whether an answer is what ssh2 makes of attributes. */
const isStats = (answer: unknown) => typeof (answer as { isDirectory?: unknown })?.isDirectory === "function";
