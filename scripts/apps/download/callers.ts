/** The callers of a file server: how many there may be at once, and which of them gives way when all places are taken. */
import type { Socket } from "node:net";
import { Failure } from "../../../lib/failure.ts";
import { openFiles } from "../../../lib/system.ts";
import { breakOff } from "../../../lib/tcp.ts";
import { sourceOf } from "../source-of.ts";

/** How many callers there may be, however many files the process may open. */
const MOST = 1000;

/**
 * A caller needs its socket, the file or the folder that it gets, and a link that is looked at. One more is for a new
 * caller: until it is turned away it has a socket too, and at the limit of open files Deno 2.9 never accepts again. (It
 * accepts all who wait before it tells of the first: a flood of more than three quarters of the limit still stops it.)
 */
const FILES_OF_ONE = 4;

/** A caller who has achieved nothing for so long gives way to a new one of the same address, in milliseconds. */
const STALLED = 10_000;

type Caller = { socket: Socket; source: string; moved: number };

export class Callers {
  /** How many callers there may be, and how many more may wait to be accepted. */
  readonly most: number;
  readonly #callers = new Map<Socket, Caller>();

  constructor({ free } = openFiles()) {
    this.most = Math.max(1, Math.min(MOST, Math.floor(free / FILES_OF_ONE)));
  }

  /** How many there are. */
  get count(): number {
    return this.#callers.size;
  }

  /**
   * Lets a caller in. When all places are taken, somebody gives way: of the source with the most callers, the one
   * who has achieved nothing for the longest time. Where that would not be fair, only one who has stalled does: of
   * the caller's own source or, where that has none, of any.
   * @returns whether there is a place; if not, the connection is reset
   */
  admit(socket: Socket): boolean {
    const source = sourceOf(socket.remoteAddress);
    if (this.#callers.size >= this.most && !this.#makeRoom(source)) {
      socket.resetAndDestroy();
      return false;
    }
    this.#callers.set(socket, { socket, source, moved: performance.now() });
    socket.once("close", () => this.#callers.delete(socket));
    return true;
  }

  /** Notes that a caller has achieved something: a whole request, or a piece of a file. A single byte is nothing. */
  moved(socket: Socket): void {
    const caller = this.#callers.get(socket);
    if (caller) caller.moved = performance.now();
  }

  #makeRoom(source: string): boolean {
    const shares = Map.groupBy(this.#callers.values(), (caller) => caller.source);
    const largest = shares.values().reduce((most, share) => share.length > most.length ? share : most);
    const own = shares.get(source) ?? [];
    const isFair = largest.length >= own.length + 2;
    const share = isFair ? largest : own.length > 0 ? own : [...this.#callers.values()];
    const last = share.reduce((last, caller) => caller.moved < last.moved ? caller : last);
    if (!isFair && performance.now() - last.moved < STALLED) return false;
    this.#callers.delete(last.socket);
    const why = "gives way to a new caller: all places are taken";
    breakOff(last.socket, new Failure(last.source, why, "EAGAIN"));
    return true;
  }
}
