/** What a scan has found, for people and for programs. */
import { endpoint } from "../../../lib/socket.ts";
import { Failure } from "../../../lib/failure.ts";
import { hint, print, visible } from "../../../lib/program.ts";
import { readServices } from "../../../lib/system.ts";

/** More filtered ports than these are counted, not listed, as in nmap. */
const LONGEST_LIST = 25;

/**
 * What an answer that is neither open nor closed is called in nmap, by the code of connect(2): Linux has one for each
 * code of "destination unreachable" (icmp_err_convert in net/ipv4/icmp.c).
 */
const FILTERED: Record<string, string> = {
  EACCES: "admin-prohibited", // a firewall said so, over IPv6
  EHOSTUNREACH: "host-unreach", // a router or a firewall said so
  ENETUNREACH: "net-unreach",
  ENOPROTOOPT: "proto-unreach",
  EHOSTDOWN: "dest-unreach",
  ENONET: "dest-unreach",
  EOPNOTSUPP: "dest-unreach",
  ENOTSUP: "dest-unreach", // the same code, as Node calls it
  EPROTO: "dest-unreach",
  ETIMEDOUT: "no-response", // nobody said anything: a firewall drops what comes
};

/** Errors of a connection that was accepted: the other side closed it before we could look. */
const ACCEPTED = ["", "ECONNRESET", "EPIPE"];

type State = "open" | "closed" | "filtered";

/** A port as --json shows it. Closed ones are only counted. */
type Found = {
  port: number;
  state: State;
  reason: string;
  service: string | null;
  banner?: string;
};

export class Results {
  readonly counts = { open: 0, closed: 0, filtered: 0 };
  readonly #host: string;
  readonly #address: string;
  readonly #asked: number;
  readonly #states: (State | undefined)[] = []; // by port
  readonly #found = new Map<number, Found>(); // those that are not closed
  readonly #services = new Map(
    readServices().filter(({ protocol }) => protocol === "tcp").reverse().map((
      { port, name },
    ) => [port, name]),
  );

  /** @param asked how many ports the scan is to ask */
  constructor(host: string, address: string, asked: number) {
    this.#host = host;
    this.#address = address;
    this.#asked = asked;
  }

  /**
   * Notes what a port has answered, in place of what is known of it.
   * @param code "" when it is open, else that of connect(2)
   * @returns whether that says something about the port, and not about this machine (EMFILE, say)
   */
  note(port: number, code: string): boolean {
    const state = stateOf(code);
    if (!state) return false;
    const before = this.#states[port];
    if (before) this.counts[before] -= 1;
    this.counts[state] += 1;
    this.#states[port] = state;
    if (state === "closed") {
      if (before) this.#found.delete(port);
      return true;
    }
    const service = this.#services.get(port) ?? null;
    this.#found.set(port, { port, state, reason: FILTERED[code] ?? "syn-ack", service });
    return true;
  }

  addBanner(port: number, banner: string): void {
    Object.assign(this.#found.get(port) ?? {}, { banner });
  }

  /** Prints all that is known so far. */
  async show(json: boolean): Promise<void> {
    const scanned = this.counts.open + this.counts.closed + this.counts.filtered;
    const ports = Array.from(this.#found.values()).sort((a, b) => a.port - b.port);
    if (json) {
      const { counts } = this;
      const all = { host: this.#host, address: this.#address, asked: this.#asked, scanned, counts, ports };
      return await print(escaped(JSON.stringify(all, null, 2)));
    }
    const isLong = this.counts.filtered > LONGEST_LIST;
    await this.#table(ports.filter(({ state }) => state === "open" || !isLong));
    const total = `${this.#asked} port${this.#asked === 1 ? "" : "s"}`;
    const { open, closed, filtered } = this.counts;
    await print(
      `${scanned < this.#asked ? `${scanned} of ` : ""}${total}: ${open} open, ${closed} closed, ` +
        `${filtered} filtered${isLong ? ", which --json lists" : ""}`,
    );
  }

  async #table(ports: Found[]): Promise<void> {
    const rows = ports.map(({ port, state, reason, service, banner }) => [
      endpoint(this.#address, port),
      state,
      service ?? "-",
      visible(banner ?? (state === "filtered" ? reason : "")),
    ]);
    const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column].length)));
    for (const row of rows) {
      await print(row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ").trimEnd());
    }
  }

  /** Says so when no port at all has answered. @throws Failure when there is no way to the machine */
  async judge(): Promise<void> {
    if (this.counts.open > 0 || this.counts.closed > 0) return;
    const reasons = new Set(this.#found.values().map(({ reason }) => reason));
    const code = Object.keys(FILTERED).find((code) => reasons.has(FILTERED[code])) ?? "";
    if (reasons.has("no-response")) await hint("the machine is off, or a firewall drops what comes");
    else throw new Failure(endpoint(this.#address), "cannot be reached", code);
  }
}

/** @param code "" when the port is open, else that of connect(2) */
function stateOf(code: string): State | undefined {
  if (ACCEPTED.includes(code)) return "open";
  if (code === "ECONNREFUSED") return "closed";
  return FILTERED[code] === undefined ? undefined : "filtered";
}

/** Makes visible, as JSON writes it, what could drive a terminal: the same text to a program. */
function escaped(json: string): string {
  return json.replace(
    /[\x7f-\x9f\p{Bidi_Control}\u2028\u2029]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
