/** The requests of the clients of lesson 4.4: what the server does with each message. */
import { createHash, randomBytes, randomInt } from "node:crypto";
import type { Socket } from "node:net";
import { endpoint } from "../../../lib/socket.ts";
import { Failure } from "../../../lib/failure.ts";
import { print } from "../../../lib/program.ts";
import { isPrivate } from "../private-address.ts";
import { Bucket } from "./limits.ts";
import type { Message } from "./mailbox.ts";
import { checkName } from "./names.ts";
import { BURST, MOST_NAMES, RATE, type ToClient, type ToServer } from "./protocol.ts";
import type { Client, Person, Roster } from "./roster.ts";
import { sourceOf } from "../source-of.ts";
import { Rates } from "./shares.ts";

/** The direct ways that a client may ask for, and those that others may ask it for: at once, and then each second. */
const ASKS = { burst: 3, rate: 0.2 };
const IS_ASKED = { burst: 10, rate: 0.5 };

/** For how many receivers a message takes one of the tokens of its address. */
const PER_TOKEN = 50;

/** How often the server prints that the UDP endpoint of a client has changed. */
const MOVES = { burst: 5, rate: 0.2 };

type Send = Extract<ToServer, { type: "send" }>;

export class Requests {
  readonly #roster: Roster;
  readonly #post: (client: Client, message: ToClient) => void;

  /** The messages of all clients of one address together. */
  readonly #rates = new Rates(40 * BURST, 2 * RATE);

  constructor(roster: Roster, post: (client: Client, message: ToClient) => void) {
    this.#roster = roster;
    this.#post = post;
  }

  /**
   * Lets a client in, and gives it the messages that wait for it.
   * @throws Failure for a message that is no login, and for a name that cannot be had
   */
  async logIn(message: ToServer, socket: Socket, caller: string): Promise<[Person, Client]> {
    if (message.type !== "login") throw new Failure(caller, "did not log in", "EPROTO");
    const roster = this.#roster;
    const name = checkName(message.name);
    const instance = createHash("sha256").update(message.secret).digest("hex").slice(0, 16);
    const before = roster.get(name)?.client;
    if (before && before.instance !== instance) throw new Failure(name, "this name is taken", "EEXIST");
    const lookalike = roster.lookalike(name);
    if (lookalike) throw new Failure(name, `looks like ${lookalike}, which is taken`, "EEXIST");
    before?.socket.destroy(); // the same client again: its old connection is dead, but TCP has not noticed yet
    const token = randomBytes(16);
    const client: Client = {
      ...{ socket, instance, token, heard: performance.now(), patience: BURST, isWarned: false },
      knows: new Set(),
      bucket: new Bucket(BURST, RATE),
      asks: new Bucket(ASKS.burst, ASKS.rate),
      isAsked: new Bucket(IS_ASKED.burst, IS_ASKED.rate),
      moves: new Bucket(MOVES.burst, MOVES.rate),
    };
    const person = roster.enter(name, client, sourceOf(socket.remoteAddress));
    const told = print(`${name} logged in from ${caller}`);
    this.#post(client, { type: "welcome", token: token.toString("hex"), here: roster.here(name) });
    for (const message of person.waiting.messages) this.#post(client, { ...message, late: true });
    await told; // not before the welcome: others may write to this client at any moment
    return [person, client];
  }

  /** @throws Failure for a client that has to be disconnected */
  async handle(message: ToServer, person: Person, client: Client): Promise<void> {
    client.heard = performance.now();
    // Others decide how many of these a client has to send, so they are not limited.
    if (message.type === "have" && this.#roster.confirm(person, message)) return;
    if (!client.bucket.take() || !this.#rates.take(person.source, this.#cost(message))) {
      const why = `too fast: ${BURST} at once, then ${RATE} a second`;
      if (--client.patience < 0) throw new Failure(person.name, why, "EBUSY");
      const id = message.type === "send" ? message.id : 0;
      return this.#post(client, { type: "sorry", id, name: "", why, code: "EBUSY" });
    }
    if (message.type === "login") throw new Failure(person.name, "logged in twice", "EPROTO");
    if (message.type === "ping") this.#post(client, { type: "pong" });
    if (message.type === "who") {
      this.#post(client, { type: "people", here: this.#roster.here(), away: this.#roster.away() });
    }
    if (message.type === "send") this.#relay(message, person, client);
    if (message.type === "direct") await this.#introduce(message.name, person, client);
  }

  /** How many tokens of its address a message takes: one that goes to many is more work. */
  #cost(message: ToServer): number {
    if (message.type !== "send") return 1;
    const { to, also } = message;
    const receivers = new Set([...also, ...(to === null ? this.#roster.names : [to])]);
    return Math.ceil(receivers.size / PER_TOKEN);
  }

  /** Passes a message on: to those on line at once; for the others it is kept. */
  #relay({ id, to, text, also }: Send, person: Person, client: Client): void {
    const roster = this.#roster;
    const receivers = new Set(to === null ? roster.names : roster.get(to) ? [to] : []);
    // The sender knows these from before: perhaps this server has been restarted, and they have yet to log in again.
    const expected = new Set(also.map(checkName));
    for (const name of expected) receivers.add(name);
    receivers.delete(person.name);
    const sorry = (name: string, why: string) =>
      this.#post(client, { type: "sorry", id, name, why, code: "ENOENT" });
    if (to !== null && receivers.size === 0) {
      return sorry(to, to === person.name ? "that is you" : "nobody of this name was here");
    }
    const isHere = (name: string) => roster.get(name)?.client !== undefined;
    const here = [...receivers].filter((name) => isHere(name) || expected.has(name));
    const away = [...receivers].filter((name) => !isHere(name));
    // Where there are more names than anybody can know, the last ones find no place below.
    const taken = { here: here.slice(0, MOST_NAMES), away: to === null ? [] : away };
    this.#post(client, { type: "taken", id, ...taken });
    const { instance } = client;
    const message: Message = {
      ...{ type: "message", id, from: person.name, instance, all: to === null, text, time: Date.now() },
      late: false,
    };
    for (const name of roster.deliver(message, person.source, receivers)) {
      sorry(name, "was never here, and too many such names are expected");
    }
  }

  /** Tells two clients where the other one is, and gives them a key of their own. */
  async #introduce(name: string, person: Person, client: Client): Promise<void> {
    const other = this.#roster.get(name)?.client;
    const sorry = (why: string, code = "ENOTCONN") =>
      this.#post(client, { type: "sorry", id: 0, name, why, code });
    if (other === client) return sorry("that is you");
    if (!other) return sorry("not on line");
    if (!client.seen || !other.seen) return sorry("the server has not seen both of you by UDP yet");
    if (client.seen.address.includes(":") !== other.seen.address.includes(":")) {
      return sorry("one of you two has IPv4, the other one IPv6");
    }
    if (!client.asks.take()) return sorry("you ask for too many direct ways", "EBUSY");
    if (!other.isAsked.take()) return sorry("is asked for too many direct ways", "EBUSY");
    await print(`${person.name} and ${name} try a direct way`);
    const pair = { type: "direct", way: randomInt(2 ** 32), key: randomBytes(32).toString("hex") } as const;
    const asking = { side: 1, name: person.name, instance: client.instance } as const;
    const asked = { side: 0, name, instance: other.instance } as const;
    // Only the client that asks tries the other one's own card, too: nobody is made to probe a private network.
    this.#post(other, { ...pair, ...asking, endpoints: endpointsOf(client) });
    this.#post(client, { ...pair, ...asked, endpoints: endpointsOf(other, client) });
  }
}

/** Where a client can be reached: as the server sees it; from behind the same NAT at its own card as well. */
function endpointsOf({ seen, own }: Client, other?: Client): string[] {
  const isNear = seen && own && seen.address === other?.seen?.address && isPrivate(own.address);
  const found = [seen, isNear ? own : undefined].filter((one) => one !== undefined);
  return [...new Set(found.map(({ address, port }) => endpoint(address, port)))];
}
