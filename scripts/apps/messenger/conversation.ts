/** The conversation of a client of lesson 4.4: what it knows of the others, what it shows, and what it sends. */
import process from "node:process";
import { endpoint, isEveryAddress, isLoopback } from "../../../lib/socket.ts";
import { Failure } from "../../../lib/failure.ts";
import { hint, print, report, visible } from "../../../lib/program.ts";
import { Decoder, encode, type Encoding } from "../../../lib/text.ts";
import { isPrivate } from "../private-address.ts";
import { DirectWays } from "./hole-punching.ts";
import { Bucket, dropOldest, Shown } from "./limits.ts";
import { type Kept, Outbox, PATIENCE } from "./outbox.ts";
import { checkText, MOST_NAMES, type ToClient, type ToServer } from "./protocol.ts";
import { readEndpoint, type UdpEndpoint } from "./registration.ts";

/** How many messages may be under way: further typed lines wait. */
const MOST_UNDER_WAY = 50;

/** How many direct ways others may ask for, at once and then each second. */
const ASKED_BURST = 10;
const ASKED_RATE = 0.5;

/** What a conversation needs from its client. */
type Owner = {
  /** The server: as errors name it, and its address. */
  server: string;
  host: string;
  encoding: Encoding;
  post(message: ToServer): void;
  canPost(): boolean;
  sendDatagram(data: Buffer, to: UdpEndpoint): Promise<void>;
};

export class Conversation {
  readonly #owner: Owner;
  readonly #decoder: Decoder;
  readonly #shown = new Shown();
  readonly #ways: DirectWays;
  readonly #outbox: Outbox;
  /** Those who are on line; and those who were when the connection broke, and have not come back yet. */
  readonly #online = new Set<string>();
  readonly #absent = new Set<string>();
  /** Those to whom the user has asked for a direct way. */
  readonly #wanted = new Set<string>();
  readonly #asked = new Bucket(ASKED_BURST, ASKED_RATE);
  /** The last line about a direct way: a server that opens them without end waits until it has been read. */
  #told = Promise.resolve();

  constructor(owner: Owner) {
    this.#owner = owner;
    this.#decoder = new Decoder(owner.encoding);
    this.#outbox = new Outbox({
      direct: (to) => this.#ways.to(to),
      canRelay: owner.canPost,
      relay: (message) => this.#relay(message),
    });
    this.#ways = new DirectWays({
      send: owner.sendDatagram,
      opened: (name, to) => this.#opened(name, to),
      message: (name, instance, id, bytes) => this.#directMessage(name, instance, id, bytes),
      acknowledged: (name, id) => this.#outbox.confirmed(id, name),
      ended: (name, hasLeft) => this.#ended(name, hasLeft),
    });
  }

  /** Takes a message of the server, but for those about the session itself. */
  async handle(message: ToClient): Promise<void> {
    if (message.type === "message") await this.#message(message);
    if (message.type === "taken") await this.#taken(message);
    if (message.type === "had") this.#outbox.confirmed(message.id, message.name);
    if (message.type === "sorry") await this.#sorry(message);
    if (message.type === "people") {
      const away = message.away.length > 0 ? `; away: ${message.away.join(", ")}` : "";
      await say(`on line: ${message.here.join(", ")}${away}`);
    }
    if (message.type === "back") {
      const isBack = message.again || this.#absent.has(message.name);
      this.#isHere(message.name);
      await say(`${message.name} is ${isBack ? "back" : "here"}`);
    }
    if (message.type === "away") {
      this.#online.delete(message.name);
      await say(`${message.name} is away`);
    }
    if (message.type === "direct") await this.#direct(message);
  }

  /** Takes any datagram from the network. */
  receive(datagram: Buffer, from: UdpEndpoint): Promise<void> {
    return this.#ways.receive(datagram, from);
  }

  /** The client is logged in: these are on line. */
  async begin(here: string[]): Promise<void> {
    for (const name of here) this.#isHere(name);
    if (here.length > 0) await say(`on line: ${here.join(", ")}`);
  }

  /** Sends what waits. */
  pump(): void {
    this.#outbox.pump();
  }

  /** The connection to the server broke. What the server has taken may be lost with it, so it goes once more. */
  async broken(): Promise<void> {
    await say("the server is gone: trying again, with growing pauses");
    for (const name of this.#online) this.#absent.add(name);
    dropOldest(this.#absent, MOST_NAMES);
    this.#online.clear();
    this.#outbox.again(({ state }) => state !== "direct");
  }

  /** @throws Failure for a text that is too long, or that the encoding does not have */
  send(to: string | null, text: string): void {
    const bytes = encode(text, this.#owner.encoding);
    checkText(bytes);
    this.#outbox.add(to, text, bytes, to === null ? [...this.#online, ...this.#absent] : [to]);
  }

  async who(): Promise<void> {
    await this.#outbox.turn();
    this.#owner.post({ type: "who" });
  }

  async askForDirectWay(name: string): Promise<void> {
    this.#wanted.add(name);
    dropOldest(this.#wanted, MOST_NAMES);
    await this.#outbox.turn();
    this.#owner.post({ type: "direct", name });
  }

  /** Waits until one more message may go under way. @returns false when that has no hope */
  hasRoom(isHopeless: () => boolean): Promise<boolean> {
    return this.#outbox.below(MOST_UNDER_WAY, this.#online, isHopeless);
  }

  /** Waits for acknowledgements, but not for ever, and tells which are missing, unless Ctrl-C has ended the wait. */
  async finish(isHopeless: () => boolean, over: AbortSignal): Promise<void> {
    const end = performance.now() + PATIENCE;
    await this.#outbox.below(1, this.#online, () => isHopeless() || performance.now() > end);
    if (over.aborted) return;
    const { server, canPost } = this.#owner;
    for (const [name, count] of this.#outbox.unconfirmed(server)) {
      const messages = count === 1 ? "1 message" : `${count} messages`;
      if (canPost() && name !== server && !this.#online.has(name)) {
        await hint(`${name} is away: the server keeps ${messages} of yours`);
        continue;
      }
      process.exitCode = 1;
      await report(new Failure(name, `has not acknowledged ${messages}`, "ETIMEDOUT"));
    }
  }

  async close(): Promise<void> {
    await this.#ways.close();
  }

  #isHere(name: string): void {
    this.#online.add(name);
    dropOldest(this.#online, MOST_NAMES);
    this.#absent.delete(name);
  }

  #relay({ id, to, text, missing, isAgain }: Kept): void {
    const also = [...missing].filter((one) => isAgain || this.#absent.has(one)).slice(0, MOST_NAMES);
    this.#owner.post({ type: "send", id, to, text, also });
  }

  async #message({ id, from, instance, text, all, late, time }: Extract<ToClient, { type: "message" }>) {
    const marks = [...(all ? [] : ["to you"]), ...(late ? [localTime(time)] : [])];
    if (this.#shown.add(instance, id)) await show(from, text, marks);
  }

  async #taken({ id, here, away }: Extract<ToClient, { type: "taken" }>) {
    const message = this.#outbox.taken(id, here);
    if (!message?.to || message.isTold || away.length === 0) return;
    message.isTold = true;
    await say(`${message.to} is away: the server keeps it`);
  }

  async #sorry({ id, name, why, code }: Extract<ToClient, { type: "sorry" }>) {
    process.exitCode = 1;
    if (name === "") this.#outbox.drop(id);
    else this.#outbox.confirmed(id, name); // there is nothing more to wait for
    if (code === "ENOENT") this.#absent.delete(name); // the server has forgotten that name
    await report(new Failure(name || this.#owner.server, why, code));
  }

  /** Looks for a direct way. Others can ask for one, so what is sent then goes to few endpoints, and not too often. */
  async #direct({ name, instance, way, side, key, endpoints }: Extract<ToClient, { type: "direct" }>) {
    const isWanted = this.#wanted.delete(name);
    if (!isWanted && !this.#asked.take()) return;
    const found = endpoints.map(readEndpoint).filter((one) => one !== undefined)
      .filter(({ address }) => this.#mayTry(address, isWanted)).map((one) => this.#onLink(one));
    await this.#told;
    const mine = isWanted ? found : found.slice(0, 1);
    await this.#ways.look(name, { instance, way, side, key: Buffer.from(key, "hex"), endpoints: mine });
  }

  /** A server elsewhere does not make this client send into its own network, unless the user asked for that. */
  #mayTry(address: string, isWanted: boolean): boolean {
    const { host } = this.#owner;
    const isHere = isLoopback(host) || isEveryAddress(host);
    if (isLoopback(address) || isEveryAddress(address)) return isHere;
    return !isPrivate(address) || isWanted || isHere || isPrivate(host);
  }

  /** A link-local address means something only together with the card to the server's link. */
  #onLink({ address, port }: UdpEndpoint): UdpEndpoint {
    const [zone = ""] = /%.*/.exec(this.#owner.host) ?? [];
    return { address: /^fe[89ab]/i.test(address) ? address + zone : address, port };
  }

  #opened(name: string, { address, port }: UdpEndpoint): void {
    this.#told = say(`direct way to ${name}: ${endpoint(address, port)}`);
    this.#outbox.pump();
  }

  async #directMessage(name: string, instance: string, id: number, bytes: Buffer): Promise<void> {
    if (this.#shown.add(instance, id)) await show(name, this.#decoder.decode(bytes, name), ["direct"]);
  }

  #ended(name: string, hasLeft: boolean): void {
    if (!hasLeft) this.#told = say(`no direct way to ${name}: the relay carries on`);
    this.#outbox.again(({ to, state }) => to === name && state === "direct");
  }
}

/** Prints a line of which a peer may have written a part. */
export async function say(text: string): Promise<void> {
  await print(visible(text));
}

async function show(from: string, text: string, marks: string[]): Promise<void> {
  await say(`${from}${marks.length > 0 ? ` (${marks.join(", ")})` : ""} > ${text}`);
}

/** 2026-11-20 22:15 */
function localTime(time: number): string {
  const zone = new Date(time).getTimezoneOffset() * 60_000;
  return new Date(time - zone).toISOString().slice(0, 16).replace("T", " ");
}
