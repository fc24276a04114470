/** The registrar of a client of lesson 4.4: it keeps the client registered with the server by UDP. */
import { EventEmitter, once } from "node:events";
import { endpoint } from "../../../lib/socket.ts";
import { Bucket } from "./limits.ts";
import { decodeSeen, encodeRegistration, NO_COOKIE, type UdpEndpoint } from "./registration.ts";

/** How often a datagram may get lost at the login; and how long an answer is waited for, in milliseconds. */
const TRIES = 4;
const PATIENCE = 250;

export class Registrar {
  /** Where the server sees this client, as text; undefined until it does. */
  seen: string | undefined;
  readonly #name: string;
  readonly #send: (datagram: Buffer) => Promise<void>;
  readonly #changes = new EventEmitter();
  #registration: { token: Buffer; own: UdpEndpoint } | undefined;
  #cookie = NO_COOKIE;
  /** How many were sent without a cookie, and are not answered yet: their answers look like those to the right cookie. */
  #blind = 0;
  #answers = new Bucket(TRIES, 0.2);

  constructor(name: string, send: (datagram: Buffer) => Promise<void>) {
    this.#name = name;
    this.#send = send;
  }

  /** Begins anew with the token of a login: registers until the server sees this client, or four times in vain. */
  async begin(token: Buffer, own: UdpEndpoint, stop: AbortSignal): Promise<void> {
    this.#registration = { token, own };
    this.#cookie = NO_COOKIE;
    this.#blind = 0;
    this.#answers = new Bucket(TRIES, 0.2);
    this.seen = undefined;
    for (let tries = 0; tries < TRIES && !this.seen; tries++) {
      const signal = AbortSignal.any([stop, AbortSignal.timeout(PATIENCE)]);
      const answer = once(this.#changes, "seen", { signal }).catch(() => {});
      await this.register();
      await answer;
    }
  }

  /** Registers once more, so that no NAT on the way forgets this client. */
  async register(): Promise<void> {
    if (!this.#registration) return;
    if (this.#cookie === NO_COOKIE) this.#blind++;
    await this.#send(encodeRegistration({ ...this.#registration, cookie: this.#cookie, name: this.#name }));
  }

  /** The login is over. */
  end(): void {
    this.#registration = undefined;
  }

  /** Takes any datagram from the network: it may be the server's answer, which bears the token. */
  async receive(datagram: Buffer): Promise<void> {
    const answer = this.#registration && decodeSeen(datagram, this.#registration.token);
    if (!answer) return;
    const isBlind = this.#blind > 0;
    if (isBlind) this.#blind--;
    const isKnown = answer.cookie.equals(this.#cookie);
    if (isKnown) {
      this.seen = endpoint(answer.seen.address, answer.seen.port);
      this.#changes.emit("seen");
    }
    // A NAT has changed the endpoint, or this is the first answer; or it may answer one that had no cookie, while the one
    // that has it got lost.
    if ((!isKnown || isBlind) && this.#answers.take()) {
      this.#cookie = Buffer.from(answer.cookie);
      await this.register();
    }
  }
}
