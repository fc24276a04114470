/** The mailbox of a person of lesson 4.4: the messages that wait until that person's client confirms them. */
import type { ToClient } from "./protocol.ts";

export type Message = Extract<ToClient, { type: "message" }>;

/** What names a message, beside its text and the rest. */
type Id = Pick<Message, "id" | "instance">;

export class Mailbox {
  /** By their keys, in the order in which they came, each with the source of its sender. */
  readonly #messages = new Map<string, { message: Message; source: string }>();
  /** Their keys, by source and by the sender's name there: to find the largest share, no message is looked at. */
  readonly #shares = new Map<string, Map<string, Set<string>>>();

  get size(): number {
    return this.#messages.size;
  }

  /** In the order in which they came. */
  get messages(): Message[] {
    return [...this.#messages.values()].map(({ message }) => message);
  }

  /** @returns whether the message is new */
  add(message: Message, source: string): boolean {
    const key = keyOf(message);
    if (this.#messages.has(key)) return false;
    this.#messages.set(key, { message, source });
    const names = this.#shares.get(source) ?? new Map<string, Set<string>>();
    const keys = names.get(message.from) ?? new Set();
    this.#shares.set(source, names.set(message.from, keys.add(key)));
    return true;
  }

  /** @returns whether there was such a message */
  remove(id: Id): boolean {
    const key = keyOf(id);
    const found = this.#messages.get(key);
    if (!found) return false;
    const { message, source } = found;
    const names = this.#shares.get(source);
    const keys = names?.get(message.from);
    this.#messages.delete(key);
    keys?.delete(key);
    if (keys?.size === 0) names?.delete(message.from);
    if (names?.size === 0) this.#shares.delete(source);
    return true;
  }

  /** The message that has to go first: the oldest one of the name with the most, at the source with the most. */
  get excess(): Message | undefined {
    const names = largest(this.#shares.values(), (names) => {
      let size = 0;
      for (const keys of names.values()) size += keys.size;
      return size;
    });
    const [key] = largest(names?.values() ?? [], ({ size }) => size) ?? [];
    return this.#messages.get(`${key}`)?.message;
  }
}

const keyOf = ({ id, instance }: Id) => `${id} ${instance}`;

/** The first one of the largest. */
function largest<T>(things: Iterable<T>, sizeOf: (thing: T) => number): T | undefined {
  let [found, most]: [T | undefined, number] = [undefined, 0];
  for (const thing of things) {
    const size = sizeOf(thing);
    if (size > most) [found, most] = [thing, size];
  }
  return found;
}
