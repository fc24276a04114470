/**
 * Who is known to the server of lesson 4.4, and what waits for each one: a message stays here until its receiver
 * confirms it, so that it can be given once more to a client that comes back. In memory only, and bounded.
 */
import type { Socket } from "node:net";
import { Failure } from "../../../lib/failure.ts";
import { type Bucket, type Endpoint, MOST_NAMES, type ToClient } from "./protocol.ts";

/** How many messages wait for somebody who is away, and for somebody who is on line and confirms none. */
const KEPT = 100;
const MOST_UNCONFIRMED = 1000;

export type Client = {
  socket: Socket;
  instance: string;
  token: Buffer;
  /** When it was heard of, in milliseconds. */
  heard: number;
  /** What it may still send, and how much more until it is hung up on. */
  bucket: Bucket;
  patience: number;
  /** Its UDP endpoint as its letters show it, and as its own card has it. */
  seen?: Endpoint;
  own?: Endpoint;
  /** Whether it knows that somebody registers in its name. */
  isWarned: boolean;
};

export type Message = Extract<ToClient, { type: "message" }>;

/** Who has a name. Somebody without a client is away. */
export type Person = { name: string; client?: Client; waiting: Message[] };

export class People {
  /** Those who went longest ago first. */
  readonly #people = new Map<string, Person>();
  readonly #post: (client: Client, message: ToClient) => void;

  constructor(post: (client: Client, message: ToClient) => void) {
    this.#post = post;
  }

  get(name: string): Person | undefined {
    return this.#people.get(name);
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

  /** Finds the place of a name, or makes one: if need be, that of the one who has been away the longest. */
  place(name: string): Person {
    const known = this.#people.get(name);
    if (known) return known;
    const oldest = this.#people.values().find(({ client }) => !client);
    if (oldest && this.#people.size >= MOST_NAMES) {
      this.#people.delete(oldest.name);
      this.#lose(oldest, oldest.waiting.length);
    }
    const person = { name, waiting: [] };
    this.#people.set(name, person);
    return person;
  }

  /** Somebody's client has gone, with a goodbye or without. */
  leave(person: Person): void {
    person.client = undefined;
    this.#people.delete(person.name);
    this.#people.set(person.name, person); // now the last one to go
    this.#lose(person, person.waiting.length - KEPT);
    this.tell({ type: "away", name: person.name });
  }

  /** Tells something to all who are on line. */
  tell(message: ToClient, except?: string): void {
    for (const { name, client } of this.#people.values()) {
      if (client && name !== except) this.#post(client, message);
    }
  }

  /** Keeps a message until its receiver confirms it, and sends it if that one is on line. */
  deliver(message: Message, name: string): void {
    const person = this.place(name);
    const { client, waiting } = person;
    if (waiting.some(({ id, instance }) => id === message.id && instance === message.instance)) return;
    waiting.push(message);
    if (!client) this.#lose(person, waiting.length - KEPT);
    else if (waiting.length <= MOST_UNCONFIRMED) this.#post(client, message);
    else client.socket.destroy(new Failure(name, "does not confirm what it gets", "ENOBUFS"));
  }

  /**
   * A client has shown a message. Its sender learns it, if that one is on line; else it asks when it is back.
   * @returns whether there was such a message
   */
  confirm(
    { name, waiting }: Person,
    { id, instance, from }: Pick<Message, "id" | "instance" | "from">,
  ): boolean {
    const at = waiting.findIndex((message) => message.id === id && message.instance === instance);
    if (at < 0) return false;
    waiting.splice(at, 1);
    this.#tellSender({ from, instance }, { type: "had", id, name });
    return true;
  }

  /** Drops the oldest messages that wait, and tells their senders. */
  #lose({ name, waiting }: Person, count: number): void {
    const why = `more than ${KEPT} messages wait there, and an old one of yours was dropped`;
    for (const { id, ...sender } of waiting.splice(0, Math.max(0, count))) {
      this.#tellSender(sender, { type: "sorry", id, name, why, code: "ENOBUFS" });
    }
  }

  #tellSender({ from, instance }: Pick<Message, "from" | "instance">, message: ToClient): void {
    const client = this.#people.get(from)?.client;
    if (client?.instance === instance) this.#post(client, message);
  }
}
