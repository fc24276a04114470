/**
 * A list keeps the names of a folder until its caller has read them, and a caller may never do so. So few lists of one
 * source are under way at once, and the next ones wait. An ordinary list has ended before anybody notices.
 */
import type { Socket } from "node:net";
import { Failure } from "../../../lib/failure.ts";
import { breakOff } from "../../../lib/tcp.ts";
import { sourceOf } from "../source-of.ts";

/** How many lists of one source are under way at once. */
const SHARE = 8;

/** A list of which the caller has taken nothing for so long ends when another one waits, in milliseconds. */
const STALLED = 5_000;

/** How often those who wait look for such a list, in milliseconds. */
const LOOK = 1_000;

export class Lists {
  readonly #underWay = new Map<Socket, { source: string; moved: number }>();
  /** Those who wait, the first one first. */
  readonly #waiting = new Set<{ source: string; wake: () => void }>();

  /** Waits until there is a place for the list of a caller. The caller must `end` it. @throws Failure ECONNRESET */
  async begin(socket: Socket): Promise<void> {
    const source = sourceOf(socket.remoteAddress);
    while (!this.#hasRoom(source)) {
      await this.#changes(source);
      if (!socket.destroyed) continue;
      throw socket.errored ?? new Failure(source, "closed the connection too early", "ECONNRESET");
    }
    this.#underWay.set(socket, { source, moved: performance.now() });
  }

  end(socket: Socket): void {
    const source = this.#underWay.get(socket)?.source;
    if (!this.#underWay.delete(socket)) return; // it has given way
    for (const one of this.#waiting) if (one.source === source) return one.wake();
  }

  /** Notes that a caller has taken what was sent to it. */
  moved(socket: Socket): void {
    const list = this.#underWay.get(socket);
    if (list) list.moved = performance.now();
  }

  #hasRoom(source: string): boolean {
    const own = [...this.#underWay].filter(([, list]) => list.source === source);
    if (own.length < SHARE) return true;
    const unread = own.filter(([socket]) => socket.writableLength > 0); // others wait for the disk, say
    const [last] = unread.sort(([, one], [, other]) => one.moved - other.moved);
    if (!last || performance.now() - last[1].moved < STALLED) return false;
    this.#underWay.delete(last[0]);
    breakOff(last[0], new Failure(source, "gives way to another list: this one was not read", "EAGAIN"));
    return true;
  }

  /** Waits until a list of this source has ended, or one may have stalled. */
  async #changes(source: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const one = { source, wake: resolve };
    this.#waiting.add(one);
    const timer = setTimeout(resolve, LOOK);
    await promise;
    clearTimeout(timer);
    this.#waiting.delete(one);
  }
}
