/**
 * Whether a refusal is one. Bun 1.4 calls what a router or a firewall says ECONNREFUSED, too
 * (github.com/oven-sh/bun/pull/37093). Two other sources tell the truth. `fetch` connects once more, which costs. The
 * counters of Linux are cheap: where they know of as many refusals as we do, of no "destination unreachable" and of no
 * reset connection, each refusal was a RST in answer to our SYN.
 */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, isIPv6 } from "node:net";
import process from "node:process";
import { endpoint } from "../../../lib/socket.ts";

/** So many refusals wait at most until the counters are read. */
const MOST_WAITING = 500;

/** How many ports `fetch` asks at once. */
const AT_ONCE = 50;

/** What Linux has counted: connections that were refused; those that were reset, and "destination unreachable". */
type Counters = { refused: number; others: string };

export class Refusals {
  readonly #host: string;
  readonly #timeout: number;
  readonly #isTold: boolean;
  readonly #stop: AbortSignal;
  #waiting: number[] = [];
  #before: Counters | undefined;

  /**
   * @param timeout for `fetch`, in milliseconds
   * @param isTold whether this runtime tells a refusal from other failures
   * @param stop ends `settle`: what is not known then stays unknown
   */
  constructor(host: string, timeout: number, isTold: boolean, stop: AbortSignal) {
    this.#host = host;
    this.#timeout = timeout;
    this.#isTold = isTold;
    this.#stop = stop;
    if (!isTold) this.#before = readCounters(host);
  }

  /** Takes a refusal. @returns whether it is certainly one */
  add(port: number): boolean {
    if (!this.#isTold) this.#waiting.push(port);
    return this.#isTold;
  }

  get areWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  get areMany(): boolean {
    return this.#waiting.length >= MOST_WAITING;
  }

  /**
   * What the waiting refusals were in truth. To be called while no connection is under way: the counters may know of
   * one that we do not know of yet.
   */
  async settle(): Promise<{ port: number; code: string }[]> {
    const ports = this.#waiting;
    this.#waiting = [];
    const before = this.#before;
    const now = this.#before = readCounters(this.#host);
    if (before && now && now.refused - before.refused === ports.length && now.others === before.others) {
      return ports.map((port) => ({ port, code: "ECONNREFUSED" }));
    }
    const answers: { port: number; code: string }[] = [];
    for (let at = 0; at < ports.length && !this.#stop.aborted; at += AT_ONCE) {
      await Promise.all(
        ports.slice(at, at + AT_ONCE).map(async (port) => {
          const code = await this.#askAgain(port);
          if (code !== undefined) answers.push({ port, code });
        }),
      );
    }
    this.#before = readCounters(this.#host);
    return answers;
  }

  /** Lets `fetch` connect once more. @returns the code of connect(2); ECONNRESET where the port is open */
  async #askAgain(port: number): Promise<string | undefined> {
    process.env.no_proxy = process.env.NO_PROXY = "*"; // the answer of a proxy would not be the port's
    const url = `http://${endpoint(this.#host, port)}`;
    try {
      const signal = AbortSignal.any([AbortSignal.timeout(this.#timeout), this.#stop]);
      const { body } = await fetch(url, { signal, redirect: "manual" });
      await body?.cancel();
      return "ECONNRESET";
    } catch (error) {
      if (this.#stop.aborted) return undefined;
      const { name, code } = error as { name: string; code: string };
      if (name === "TimeoutError") return "ETIMEDOUT";
      return /^E[A-Z]+$/.test(code) ? code : "ECONNREFUSED"; // no code of connect(2): it has met itself
    }
  }
}

/**
 * Whether this runtime tells a refusal from other failures. A connection to a multicast address shows it: nobody is
 * there to refuse it.
 */
export async function tellsRefusals(): Promise<boolean> {
  const socket = connect({ host: "224.0.0.1", port: 1 });
  const timer = setTimeout(() => socket.destroy(), 1000);
  const { code } = await once(socket, "close").then(() => ({ code: "" }), (error) => error);
  clearTimeout(timer);
  return code !== "ECONNREFUSED";
}

/** Reads the counters (man 5 proc, /proc/net/snmp); undefined where the system has none. */
function readCounters(host: string): Counters | undefined {
  try {
    const rows = readFileSync("/proc/net/snmp", "latin1").split("\n").map((line) => line.split(" "));
    const count = (protocol: string, name: string) => {
      const [names, values] = rows.filter(([word]) => word === `${protocol}:`);
      return Number(values[names.indexOf(name)]);
    };
    const unreachable = isIPv6(host)
      ? Number(/^Icmp6InDestUnreachs\s+(\d+)/m.exec(readFileSync("/proc/net/snmp6", "latin1"))?.[1])
      : count("Icmp", "InDestUnreachs");
    return { refused: count("Tcp", "AttemptFails"), others: `${count("Tcp", "EstabResets")} ${unreachable}` };
  } catch {
    return undefined;
  }
}
