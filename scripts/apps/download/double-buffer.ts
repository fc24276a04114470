/**
 * Reads into the same two buffers, in turn, as Python's `s.recv_into(buffer)` does: while the bytes of one are used,
 * the next ones come into the other. A read with a buffer of its own leaves it behind, and before a runtime collects
 * them, 50 to 100 MB of such buffers lie about.
 */
import type { OnReadOpts, Socket } from "node:net";
import { Failure } from "../../../lib/failure.ts";

/** What one read brings at most, in bytes. */
const SIZE = 262_144;

export class DoubleBuffer {
  readonly #buffers = [0, 1].map(() => Buffer.allocUnsafeSlow(SIZE));
  #turn = 0;
  /** What has been read, and not been asked for yet. */
  #read: Buffer | undefined;
  #hasMoved = false;
  #wake = () => {};

  /** The option of `connect`. */
  readonly onread: OnReadOpts = {
    buffer: () => this.#buffers[this.#turn],
    callback: (count) => {
      this.#read = this.#buffers[this.#turn].subarray(0, count);
      this.#turn = 1 - this.#turn;
      this.#hasMoved = true;
      this.#wake();
      return false; // the next read waits until it is asked for: socket.resume()
    },
  };

  /** Whether anything has come since this was last asked. On Bun 1.4.5, `socket.bytesRead` stays 0 with `onread`. */
  hasMoved(): boolean {
    const hasMoved = this.#hasMoved;
    this.#hasMoved = false;
    return hasMoved;
  }

  /**
   * What each read brings, until the end of the stream. The bytes are overwritten when the next read but one is asked
   * for.
   * @throws the error of the socket
   */
  async *reads(socket: Socket): AsyncGenerator<Buffer> {
    let hasEnded = false;
    socket.once("end", () => {
      hasEnded = true;
      this.#wake();
    });
    socket.once("close", () => this.#wake());
    while (true) {
      while (!this.#read) {
        if (hasEnded) return;
        if (socket.destroyed) {
          throw socket.errored ?? new Failure("the connection", "was closed", "ECONNRESET");
        }
        const { promise, resolve } = Promise.withResolvers<void>();
        this.#wake = resolve;
        socket.resume();
        await promise;
      }
      const read = this.#read;
      this.#read = undefined;
      yield read;
    }
  }
}
