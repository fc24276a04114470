/**
 * The callers of an SSH server: how many there may be at once, in all and from one source, and how many files they
 * may have open. All limits together stay below the number of descriptors that the process has.
 */
import type { Socket } from "node:net";
import { Failure } from "../../../lib/failure.ts";
import { report } from "../../../lib/program.ts";
import { linger, peerName } from "../../../lib/tcp.ts";
import { openFiles } from "../../../lib/system.ts";
import { sourceOf } from "../source-of.ts";
import type { Descriptors } from "./served-files.ts";

/** How many callers may be here at once: half of them from one source, a fifth of one source and not logged in. */
const MOST_CALLERS = 100;

/** After how long without a request a caller who has logged in gives way to a new one, in milliseconds. */
const IDLE = 60_000;

/** How many files and folders one caller may have open. */
const MOST_HANDLES = 100;

/** How many requests are worked on at once, and how many descriptors each of them takes for a moment. */
export const MOST_AT_WORK = 16;
const FOR_WORK = 4;

/** A thing of which there is only so much: in all, and for each source. */
class Shares {
  readonly #taken = new Map<string, number>();
  readonly #total: number;
  readonly #each: number;
  #all = 0;

  constructor(total: number, each: number) {
    this.#total = total;
    this.#each = each;
  }

  get isFull(): boolean {
    return this.#all >= this.#total;
  }

  /** How much a source has. */
  of(source: string): number {
    return this.#taken.get(source) ?? 0;
  }

  isFullFor(source: string): boolean {
    return this.of(source) >= this.#each;
  }

  take(source: string, count: number): boolean {
    const taken = this.of(source);
    if (taken + count > this.#each || this.#all + count > this.#total) return false;
    this.#taken.set(source, taken + count);
    this.#all += count;
    return true;
  }

  give(source: string, count: number): void {
    const left = this.of(source) - count;
    if (left > 0) this.#taken.set(source, left);
    else this.#taken.delete(source);
    this.#all -= count;
  }
}

export class Callers {
  readonly #all = new Set<Caller>();
  readonly #callers: Shares;
  readonly #strangers: Shares;
  readonly #descriptors: Shares;
  readonly #loginTime: number;

  /** @param loginTime how long a caller may take to log in, in seconds */
  constructor(loginTime: number, { limit, free } = openFiles()) {
    const most = Math.min(MOST_CALLERS, Math.floor(limit / 8));
    const files = Math.max(16, free - most - MOST_AT_WORK * FOR_WORK);
    this.#loginTime = loginTime;
    this.#callers = new Shares(most, Math.ceil(most / 2));
    this.#strangers = new Shares(most, Math.ceil(most / 5));
    this.#descriptors = new Shares(files, Math.ceil(files / 2));
  }

  /**
   * Lets a caller in. Where all places are taken, or all of this source, a silent one gives way: one who has not
   * logged in, of the source that has most of these, else the one who has been idle longest, for a minute at least.
   * (A caller whose machine has vanished stays here until then.)
   * @returns undefined where there is no place: the connection is closed then
   */
  admit(socket: Socket): Caller | undefined {
    const source = sourceOf(socket.remoteAddress);
    if (this.#strangers.isFullFor(source)) return void socket.destroy();
    if (this.#callers.isFullFor(source)) this.#makeRoom((caller) => caller.source === source);
    else if (this.#callers.isFull) this.#makeRoom();
    if (!this.#callers.take(source, 1)) return void socket.destroy();
    this.#strangers.take(source, 1);
    const caller: Caller = new Caller(socket, source, this.#descriptors, {
      loggedIn: () => {
        clearTimeout(timer);
        this.#strangers.give(source, 1);
      },
      left: () => {
        clearTimeout(timer);
        this.#all.delete(caller);
        if (!caller.isLoggedIn) this.#strangers.give(source, 1);
        this.#callers.give(source, 1);
      },
    });
    const timer = setTimeout(
      () => caller.leave(`did not log in within ${this.#loginTime} seconds`, "ETIMEDOUT"),
      this.#loginTime * 1000,
    );
    this.#all.add(caller);
    return caller;
  }

  #makeRoom(mayGiveWay: (caller: Caller) => boolean = () => true): void {
    const all = [...this.#all].filter(mayGiveWay); // in the order in which they came
    const many = (caller: Caller) => this.#strangers.of(caller.source);
    const [stranger] = all.filter((caller) => !caller.isLoggedIn).sort((a, b) => many(b) - many(a));
    const [idle] = all.sort((a, b) => a.lastMoved - b.lastMoved);
    if (stranger) stranger.giveWay("did not log in");
    else if (Date.now() - idle.lastMoved >= IDLE) idle.giveWay("is idle");
  }
}

type Events = { loggedIn: () => void; left: () => void };

/** One connection, from its first byte to its last. */
export class Caller implements Descriptors {
  readonly socket: Socket;
  readonly source: string;
  /** Its endpoint. */
  readonly name: string;
  isLoggedIn = false;
  /** When its last request came, or it itself. */
  lastMoved = Date.now();
  readonly most = MOST_HANDLES;
  readonly #end = new AbortController();
  /** Aborted when the connection has ended. */
  readonly gone = this.#end.signal;
  readonly #descriptors: Shares;
  readonly #on: Events;
  #handles = 0;
  #isHere = true;

  constructor(socket: Socket, source: string, descriptors: Shares, on: Events) {
    this.socket = socket;
    this.source = source;
    this.name = peerName(socket);
    this.#descriptors = descriptors;
    this.#on = on;
    socket.once("close", () => this.#gone());
  }

  /** Notes a request. That the connection is kept alive does not count. */
  moved(): void {
    this.lastMoved = Date.now();
  }

  loggedIn(): void {
    if (this.isLoggedIn || !this.#isHere) return;
    this.isLoggedIn = true;
    this.#on.loggedIn();
  }

  /** Says why, and ends the connection. */
  leave(why: string | Failure, code = "EPROTO"): void {
    const { socket } = this;
    if (socket.writable) report(typeof why === "string" ? new Failure(this.name, why, code) : why);
    socket.end();
    linger(socket);
  }

  /** Ends the connection at once: its place is needed. */
  giveWay(why: string): void {
    report(new Failure(this.name, `${why}, and gives way to a new caller`, "ETIMEDOUT"));
    this.socket.destroy();
    this.#gone();
  }

  /** @throws Failure EMFILE */
  take(count: number): void {
    if (this.#handles >= MOST_HANDLES) throw new Failure("", `${MOST_HANDLES} files are open`, "EMFILE");
    if (!this.#descriptors.take(this.source, count)) {
      throw new Failure("", "too many files are open", "EMFILE");
    }
    this.#handles += 1;
  }

  give(count: number): void {
    this.#descriptors.give(this.source, count);
    this.#handles -= 1;
  }

  #gone(): void {
    if (this.#isHere) this.#on.left();
    this.#isHere = false;
    this.#end.abort();
  }
}
