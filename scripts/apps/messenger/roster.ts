/**
 * The roster of the server of lesson 4.4: everybody it knows, and the messages that wait for each one. A message
 * stays here until its receiver confirms it, so that a client that comes back gets it once more. All of it is in
 * memory, and bounded.
 */
import type { Socket } from "node:net";
import { Failure } from "../../../lib/failure.ts";
import { Bucket } from "./limits.ts";
import { Mailbox, type Message } from "./mailbox.ts";
import { looks } from "./names.ts";
import { MOST_NAMES, type ToClient } from "./protocol.ts";
import type { UdpEndpoint } from "./registration.ts";
import { largestShare } from "./shares.ts";

/** How many messages wait for somebody who is away, and for somebody who is on line and confirms none. */
const KEPT = 100;
const MOST_UNCONFIRMED = 1000;
const TOO_MANY = `more than ${KEPT} messages wait there, and an old one of yours was dropped`;

/** How many names the server knows from messages only: it has been restarted, and they have not come back yet. */
const MOST_EXPECTED = 100;

/** How often all are told that somebody has come or gone: so many times at once, and then each second. */
const NEWS_BURST = 50;
const NEWS_RATE = 5;

/** A client that is logged in. */
export type Client = {
  socket: Socket;
  instance: string;
  token: Buffer;
  /** When it was last heard, as performance.now() gives it. */
  heard: number;
  /** The messages that it may still send; and how many too many, until it is disconnected. */
  bucket: Bucket;
  patience: number;
  /** The direct ways that it may ask for, and those that others may ask it for. */
  asks: Bucket;
  isAsked: Bucket;
  /** How often it is told that its UDP endpoint has changed. */
  moves: Bucket;
  /** Its UDP endpoint as its datagrams show it, and the one of its own card. */
  seen?: UdpEndpoint;
  own?: UdpEndpoint;
  /** Whether it knows that somebody registers in its name. */
  isWarned: boolean;
  /** Who is on line, as it knows from its welcome and from the news. */
  knows: Set<string>;
};

/** Somebody with a name. A person without a client is away; an expected one has never logged in here. */
export type Person = {
  name: string;
  /** The source of the last login; of an expected person, that of the first message, and who sent it. */
  source: string;
  expectedBy: string;
  client?: Client;
  waiting: Mailbox;
};

export class Roster {
  /** In the order in which they left; those who are on line stand anywhere. */
  readonly #people = new Map<string, Person>();
  /** Those who have never logged in here. */
  readonly #expected = new Set<Person>();
  readonly #post: (client: Client, message: ToClient) => void;
  /** Who has come or gone, and not all know it yet; whether that name was known before. */
  readonly #untold = new Map<string, boolean>();
  readonly #news = new Bucket(NEWS_BURST, NEWS_RATE);

  constructor(post: (client: Client, message: ToClient) => void) {
    this.#post = post;
  }

  get(name: string): Person | undefined {
    return this.#people.get(name);
  }

  /** Somebody who is on line, and whose name looks the same, but is another one. */
  lookalike(name: string): string | undefined {
    const mine = looks(name);
    return this.here(name).find((other) => looks(other) === mine);
  }

  get names(): string[] {
    return [...this.#people.keys()];
  }

  here(except?: string): string[] {
    return this.names.filter((name) => this.get(name)?.client && name !== except);
  }

  away(): string[] {
    return this.names.filter((name) => !this.get(name)?.client);
  }

  /** Somebody has logged in, from a source: finds the place of that name, or makes one. */
  enter(name: string, client: Client, source: string): Person {
    const known = this.get(name);
    if (!known && this.#people.size >= MOST_NAMES) {
      this.#forget(this.#expected) || this.#forget(this.#people.values().filter((person) => !person.client));
    }
    const person: Person = known ?? { name, source, expectedBy: "", waiting: new Mailbox() };
    this.#people.set(name, person);
    Object.assign(person, { client, source, expectedBy: "" });
    this.#expected.delete(person);
    client.knows = new Set(this.here());
    this.#changed(name, known !== undefined);
    return person;
  }

  /** Somebody's client has gone. */
  leave(person: Person): void {
    person.client = undefined;
    this.#people.delete(person.name);
    this.#people.set(person.name, person); // now the last one to go
    this.#lose(person, person.waiting.size - KEPT);
    this.#changed(person.name, true);
  }

  /**
   * Keeps a message until its receivers confirm it, and sends it to those on line. A name that has never been here
   * gets a place only among those that are expected.
   * @param source of the sender
   * @returns the names without a place
   */
  deliver(message: Message, source: string, receivers: Set<string>): string[] {
    const refused: string[] = [];
    for (const name of receivers) {
      // Where one has found no place, the next one finds none either.
      const isFull = refused.length > 0;
      const person = this.get(name) ??
        (isFull ? undefined : this.#expect(name, message.from, source, receivers));
      if (person) this.#give(person, message, source);
      else refused.push(name);
    }
    return refused;
  }

  #give(person: Person, message: Message, source: string): void {
    const { name, client, waiting } = person;
    if (!waiting.add(message, source)) return;
    if (!client) this.#lose(person, waiting.size - KEPT);
    else if (waiting.size <= MOST_UNCONFIRMED) this.#post(client, message);
    else client.socket.destroy(new Failure(name, "does not confirm what it gets", "ENOBUFS"));
  }

  /**
   * A client has shown a message. The sender is told, if it is on line; otherwise it asks when it is back.
   * @returns whether there was such a message
   */
  confirm(
    { name, waiting }: Person,
    { id, instance, from }: Pick<Message, "id" | "instance" | "from">,
  ): boolean {
    if (!waiting.remove({ id, instance })) return false;
    this.#tellSender({ from, instance }, { type: "had", id, name });
    return true;
  }

  /**
   * Makes a place for somebody who has never been here. Only another one who has not gives up a place for it, and
   * none to whom the same message goes.
   */
  #expect(name: string, sender: string, source: string, receivers: Set<string>): Person | undefined {
    const isFull = this.#people.size >= MOST_NAMES || this.#expected.size >= MOST_EXPECTED;
    if (isFull && !this.#forget(this.#expected, receivers)) return undefined;
    const person = { name, source, expectedBy: sender, waiting: new Mailbox() };
    this.#people.set(name, person);
    this.#expected.add(person);
    return person;
  }

  /** Forgets one of some people: where there are most, one without messages, or the first; but none of those spared. */
  #forget(people: Iterable<Person>, spared = new Set<string>()): boolean {
    const largest = largestShare(people, ({ source }) => source);
    const share = largestShare(largest, ({ expectedBy }) => expectedBy).filter(({ name }) =>
      !spared.has(name)
    );
    const person = share.find(({ waiting }) => waiting.size === 0) ?? share[0];
    if (!person) return false;
    this.#people.delete(person.name);
    this.#expected.delete(person);
    this.#lose(
      person,
      person.waiting.size,
      `more than ${MOST_NAMES} names are known, and this one was dropped`,
    );
    return true;
  }

  /** Drops messages that wait, each time the oldest one of whoever sent the most, and tells the senders. */
  #lose({ name, waiting }: Person, count: number, why = TOO_MANY): void {
    for (; count > 0; count--) {
      const message = waiting.excess;
      if (!message) return;
      waiting.remove(message);
      this.#tellSender(message, { type: "sorry", id: message.id, name, why, code: "ENOBUFS" });
    }
  }

  #tellSender({ from, instance }: Pick<Message, "from" | "instance">, message: ToClient): void {
    const client = this.get(from)?.client;
    if (client?.instance === instance) this.#post(client, message);
  }

  #changed(name: string, isKnown: boolean): void {
    if (!this.#untold.has(name)) this.#untold.set(name, isKnown);
    if (this.#untold.size === 1) this.tellNews(); // the others are told in their turn
  }

  /**
   * Tells who has come or gone to those who do not know it, at a limited rate. Somebody who came and went again is no
   * news: nobody knows of it but those who logged in between.
   */
  tellNews(): void {
    const clients = [...this.#people.values()].flatMap(({ client }) => client ?? []);
    for (const [name, isKnown] of this.#untold) {
      const isHere = this.get(name)?.client !== undefined;
      const unaware = clients.filter(({ knows }) => knows.has(name) !== isHere);
      if (unaware.length > 0 && !this.#news.take()) continue;
      this.#untold.delete(name);
      for (const client of unaware) {
        if (isHere) client.knows.add(name);
        else client.knows.delete(name);
        this.#post(client, isHere ? { type: "back", name, again: isKnown } : { type: "away", name });
      }
    }
  }
}
