/** The registry of the server of lesson 4.4: it learns by UDP where each client is. */
import { timingSafeEqual } from "node:crypto";
import { endpoint } from "../../../lib/socket.ts";
import { Failure } from "../../../lib/failure.ts";
import { print, report } from "../../../lib/program.ts";
import { Bucket } from "./limits.ts";
import type { ToClient } from "./protocol.ts";
import {
  addressNumber,
  addressOf,
  Cookies,
  decodeRegistration,
  encodeSeen,
  type UdpEndpoint,
} from "./registration.ts";
import type { Client, Roster } from "./roster.ts";

export class Registry {
  readonly #roster: Roster;
  readonly #post: (client: Client, message: ToClient) => void;
  readonly #cookies = new Cookies();
  /** How often a forgery is reported. */
  readonly #reports = new Bucket(3, 0.2);

  constructor(roster: Roster, post: (client: Client, message: ToClient) => void) {
    this.#roster = roster;
    this.#post = post;
  }

  /** Takes any datagram from the network. @returns the answer to a registration; a stranger gets none */
  async take(datagram: Buffer, sender: UdpEndpoint): Promise<Buffer | undefined> {
    const registration = decodeRegistration(datagram);
    const client = registration && this.#roster.get(registration.name)?.client;
    if (!client) return undefined;
    const { name, token, cookie } = registration;
    if (!timingSafeEqual(token, client.token)) {
      await this.#warn(client, name, sender);
      return undefined;
    }
    const seen = plain(sender);
    const right = this.#cookies.for(token, seen);
    if (timingSafeEqual(cookie, right)) {
      const isNew = client.seen?.address !== seen.address || client.seen.port !== seen.port;
      Object.assign(client, { seen, own: registration.own });
      if (isNew && client.moves.take()) {
        await print(`${name} is at ${endpoint(seen.address, seen.port)} by UDP`);
      }
    }
    return encodeSeen(token, { cookie: right, seen });
  }

  /** Somebody registers in the name of a client: the client is told once. */
  async #warn(client: Client, name: string, sender: UdpEndpoint): Promise<void> {
    const why = `registers as ${name}, with a wrong token`;
    if (!client.isWarned) this.#post(client, { type: "warning", why: `somebody ${why}`, code: "EACCES" });
    client.isWarned = true;
    if (!this.#reports.take()) return;
    const { address, port } = plain(sender);
    await report(new Failure(endpoint(address, port), why, "EACCES"));
  }
}

/** An endpoint without a zone. An IPv6 socket writes an IPv4 address as ::ffff:a.b.c.d. */
function plain({ address, port }: UdpEndpoint): UdpEndpoint {
  return { address: addressOf(addressNumber(address)), port };
}
