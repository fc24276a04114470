/**
 * The session of a client of lesson 4.4: it stays logged in at the server. Whenever the connection breaks, the
 * client connects and logs in again.
 */
import { once } from "node:events";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { explain, failAs, Failure } from "../../../lib/failure.ts";
import type { Encoding } from "../../../lib/text.ts";
import { Rounds } from "./limits.ts";
import {
  messageFrame,
  messages,
  PING,
  SILENCE,
  TO_CLIENT,
  type ToClient,
  type ToServer,
  VERSION,
} from "./protocol.ts";

/** The pause before the next connection grows from the first to the last, in milliseconds. */
const FIRST_PAUSE = 500;
const LAST_PAUSE = 15_000;

/** What may help, by the code of the server's refusal. */
const HINTS: Record<string, string> = {
  EEXIST: "choose another; that of a vanished client is free in half a minute",
  EILSEQ: "both ends need the same --encoding",
};

/** What a session needs from its client. */
type Owner = {
  name: string;
  secret: string;
  /** The server, as errors name it. */
  server: string;
  encoding: Encoding;
  /** Begins a connection to the server. */
  connect(): Socket;
  handle(message: ToClient, socket: Socket): Promise<void>;
  /** The connection broke that was logged in. */
  broken(): Promise<void>;
};

export class Session {
  readonly #owner: Owner;
  readonly #first = Promise.withResolvers<void>();
  #socket: Socket | undefined;
  #isOpen = false;
  #wasOpen = false;
  #isLeaving = false;
  #goneAt = Infinity;
  /** Why the server does not let us in, where it makes no sense to ask again. */
  #refusal: Failure | undefined;

  constructor(owner: Owner) {
    this.#owner = owner;
  }

  /** Whether this client is logged in; whether it has been before. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  get wasOpen(): boolean {
    return this.#wasOpen;
  }

  /** Until the first login. */
  get begun(): Promise<void> {
    return this.#first.promise;
  }

  /** How long the server has been gone, in milliseconds. */
  get goneFor(): number {
    return Math.max(0, performance.now() - this.#goneAt);
  }

  /** The server has said welcome, and all that belongs to that is done. */
  open(): void {
    this.#isOpen = this.#wasOpen = true;
    this.#goneAt = Infinity;
    this.#first.resolve();
  }

  /**
   * Stays connected, until it leaves. The pauses between two connections grow, and differ for each client.
   * @throws Failure where the first connection fails, or the server refuses the login
   */
  async stay(stop: AbortSignal): Promise<void> {
    for (let pause = FIRST_PAUSE; !this.#isLeaving;) {
      const begin = performance.now();
      try {
        await this.#connection(stop);
      } catch (error) {
        const isFinal = !this.#wasOpen || error === this.#refusal || !explain(error);
        if (stop.aborted || isFinal) throw error;
      }
      if (this.#isOpen && !this.#isLeaving) {
        this.#goneAt = performance.now();
        this.#isOpen = false;
        await this.#owner.broken();
      }
      if (performance.now() - begin > LAST_PAUSE) pause = FIRST_PAUSE;
      if (!this.#isLeaving) await sleep(pause * (0.5 + Math.random() / 2), undefined, { signal: stop });
      pause = Math.min(2 * pause, LAST_PAUSE);
    }
  }

  /** One connection, from the login to the end. */
  async #connection(stop: AbortSignal): Promise<void> {
    const { name, secret, server, encoding } = this.#owner;
    await using socket = this.#socket = this.#owner.connect();
    let heard = performance.now();
    const rounds = new Rounds();
    const timer = setInterval(() => {
      const mayJudge = rounds.begin();
      if (!mayJudge || performance.now() - heard <= SILENCE) return this.post({ type: "ping" });
      socket.destroy(new Failure(server, `silent for ${SILENCE / 1000} seconds`, "ETIMEDOUT"));
    }, PING);
    try {
      await once(socket, "connect", { signal: stop });
      socket.write(messageFrame({ type: "login", version: VERSION, name, secret }, encoding));
      await this.#receive(socket, () => (heard = performance.now())).catch(failAs(server));
      if (!this.#isLeaving) throw new Failure(server, "closed the connection", "ECONNRESET");
    } finally {
      clearInterval(timer);
    }
  }

  async #receive(socket: Socket, heard: () => void): Promise<void> {
    for await (const message of messages(socket, this.#owner.encoding, TO_CLIENT, this.#owner.server)) {
      heard();
      if (message.type === "refused") throw this.#refused(message);
      await this.#owner.handle(message, socket);
    }
  }

  #refused({ why, code }: Extract<ToClient, { type: "refused" }>): Failure {
    const failure = new Failure(this.#owner.name, why, code, { hint: HINTS[code] });
    if (code !== "EBUSY") this.#refusal = failure;
    return failure;
  }

  /** Sends a message, if there is a connection. */
  post(message: ToServer): void {
    if (this.#isOpen) this.#socket?.write(messageFrame(message, this.#owner.encoding));
  }

  /** Leaves: closes the connection, and waits until the server has closed it, too. */
  async leave(stop: AbortSignal): Promise<void> {
    this.#isLeaving = true;
    this.#socket?.end();
    if (this.#isOpen) await sleep(1000, undefined, { signal: stop });
  }
}
