/** The order of a scan: which port is asked when, how often, and when its silence is believed. */
import type { Socket } from "node:net";
import { setImmediate } from "node:timers/promises";
import { Pace } from "./pace.ts";
import { Refusals } from "./refusals.ts";

/** Ports that many machines have: the first answer tells how long to wait for the others. */
const COMMON = [22, 80, 443, 21, 23, 25, 53, 110, 135, 139, 143, 445, 3306, 3389, 8080];

/** How often the scan looks whose time is up, in milliseconds. */
const TICK = 10;

/** So many ports are asked in one go; then timers, the keyboard and the progress bar have their turn. */
const MOST_IN_ONE_GO = 1000;

/**
 * A refusal is an answer here, and needs no stack trace. For 65,535 of them, to write none takes the processor time of a
 * loop of `connect` on Node from 3.1 to 2.5 s, on Deno from 7.5 to 3.7 s.
 */
const STACK = 0;

/** How many control ports are kept, which take turns: a service that is slow to accept has a short queue. */
const CONTROLS = 10;

/** How often a port is asked again at most, where asking again helps; as in nmap. */
const MOST_ROUNDS = 10;

/** After so many unanswered controls in a row, at the slowest pace, no more are made to ports of this kind. */
const LOST_CONTROLS = 3;

/** What a port has answered: "" when it is open, else the code of connect(2); ETIMEDOUT is none. */
export type Answer = { port: number; code: string; socket?: Socket };

/** What a connection calls back: with the first answer, perhaps at once; and when its file is closed. */
export type Listener = { answered(code: string, socket?: Socket): void; closed(): void };

/** A connection that can be given up. */
export type Connection = { destroy(): void };

export type ScanOptions = {
  host: string;
  /** Connections at once. */
  width: number;
  /** The longest wait for an answer, in milliseconds. */
  timeout: number;
  /** How often a silent port is asked again, although that has brought no answer. */
  retries: number;
  /** Whether `ask` tells a refusal from other failures. */
  tellsRefusals: boolean;
  /** Connects to a port. */
  ask(port: number, listener: Listener): Connection;
  /** Takes what a port has answered; a silent one that is asked again may come again. */
  take(answer: Answer): void;
  /** Is told how many ports are asked now: first all of them, then the silent ones again. */
  begin(count: number): void;
  /** Is told once when answers get lost, and when a machine that has answered does so no longer. */
  warn(what: "lost" | "gone"): void;
};

/** A connection that is under way. */
type Call = { port: number; begun: number; batch: Batch; isControl: boolean; connection?: Connection };

/** Ports that are asked one after another, and judged together. */
type Batch = {
  size: number;
  begun: number; // its last connection
  waiting: number; // for answers; and one while it is being filled
  silent: number[];
  control: "none" | "asked" | "answered" | "lost";
};

/**
 * A port that does not answer is filtered, or its answer got lost, perhaps because we ask too fast. To know which, each
 * batch that follows a silent port ends with a control: a connection to a port that has answered before. Where the
 * control is answered, the silence of its batch is believed. Where it is not, the pace is halved, and the silent ports
 * of the batch are asked again.
 */
export class Scan {
  readonly #options: ScanOptions;
  readonly #stop: AbortSignal;
  readonly #pace: Pace;
  readonly #calls = new Set<Call>(); // the oldest first
  #queue: number[] = [];
  #next = 0; // in the queue: shift() would move all that come after it
  #silent: number[] = []; // those that are believed
  #batch: Batch | undefined; // the one that is being filled
  #open = 0; // sockets that are not closed yet
  #patience: number | undefined;
  #controls: Record<"closed" | "open", number[] | "gone"> = { closed: [], open: [] };
  #turn = 0;
  #lostControls = 0;
  #isWary = false;
  #isWarned = false;
  #clock = 0;
  #wake = () => {};

  constructor(options: ScanOptions, stop: AbortSignal) {
    this.#options = options;
    this.#stop = stop;
    this.#pace = new Pace(options.timeout);
  }

  /**
   * Asks all ports, and the silent ones again, and once more as long as some of them answer then. Where nobody at all
   * has answered, a long list is not asked again: each connection has waited as long as it may.
   */
  async run(ports: number[]): Promise<void> {
    const { host, retries, width, timeout } = this.#options;
    const refusals = new Refusals(host, timeout, this.#options.tellsRefusals, this.#stop);
    const wake = () => this.#wake();
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = STACK;
    let last = performance.now();
    const ticker = setInterval(() => {
      // While this program itself stands still, no time passes: answers that have come meanwhile are heard first.
      const now = performance.now();
      this.#clock += Math.min(now - last, 2 * TICK);
      last = now;
      this.#giveUp();
      wake();
    }, TICK);
    this.#stop.addEventListener("abort", wake);
    try {
      let left = COMMON.filter((port) => ports.includes(port));
      left = left.concat(ports.filter((port) => !COMMON.includes(port)));
      let inVain = 0; // rounds that have changed nothing
      for (let round = 0; round <= MOST_ROUNDS && inVain <= retries && left.length > 0; round++) {
        const areFew = left.length <= width;
        if (round > 0 && this.#control === undefined && !areFew) break;
        // The last ones, if they are few, get all the time there is.
        this.#patience = inVain === retries && areFew ? timeout : undefined;
        const before = left.length;
        left = await this.#sweep(left, refusals);
        // A silent port that has answered after all shows that answers get lost: the others are asked again, too.
        inVain = round > 0 && left.length < before ? 1 : inVain + 1;
      }
    } finally {
      clearInterval(ticker);
      Error.stackTraceLimit = stackTraceLimit;
      this.#stop.removeEventListener("abort", wake);
      for (const { connection } of this.#calls) connection?.destroy();
    }
  }

  /** Asks each port until it answers or its silence is believed. @returns the silent ones */
  async #sweep(ports: number[], refusals: Refusals): Promise<number[]> {
    this.#options.begin(ports.length);
    this.#queue = ports;
    this.#next = 0;
    this.#silent = [];
    while (!this.#stop.aborted) {
      if (this.#calls.size === 0 && refusals.areWaiting) await this.#settle(refusals);
      if (!refusals.areMany && this.#askNext(refusals)) {
        await setImmediate();
        continue;
      }
      if (this.#calls.size === 0 && this.#next === this.#queue.length && !refusals.areWaiting) break;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return this.#silent;
  }

  /** Makes as many connections as may be made now. @returns whether more may be made at once */
  #askNext(refusals: Refusals): boolean {
    for (let count = 0; count < MOST_IN_ONE_GO; count++) {
      const isDone = this.#next === this.#queue.length || refusals.areMany;
      if (isDone || this.#open >= this.#options.width || !this.#pace.mayGo(this.#clock)) return false;
      const batch = this.#batch ??= { size: 0, begun: 0, waiting: 1, silent: [], control: "none" };
      batch.size += 1;
      this.#ask(this.#queue[this.#next++], batch, refusals);
      if (batch.size < this.#pace.batch && this.#next < this.#queue.length) continue;
      this.#batch = undefined;
      const control = this.#control;
      if (this.#isWary && control !== undefined) {
        batch.control = "asked";
        this.#turn += 1;
        this.#ask(control, batch, refusals, true);
      }
      this.#leave(batch);
    }
    return true;
  }

  #ask(port: number, batch: Batch, refusals: Refusals, isControl = false): void {
    this.#open += 1;
    batch.waiting += 1;
    batch.begun = this.#clock;
    const call: Call = { port, begun: this.#clock, batch, isControl };
    this.#calls.add(call);
    call.connection = this.#options.ask(port, {
      answered: (code, socket) => this.#answered(call, code, socket, refusals),
      closed: () => {
        this.#open -= 1;
        this.#wake();
      },
    });
  }

  /** Heeds the first answer of a connection. */
  #answered(call: Call, code: string, socket: Socket | undefined, refusals: Refusals): void {
    if (!this.#calls.delete(call)) return;
    const { port, begun, batch, isControl } = call;
    const isRefused = code === "ECONNREFUSED";
    this.#pace.answered(this.#clock - begun, isControl ? batch.size : 1);
    if (code === "" || isRefused) this.#remember(isRefused ? "closed" : "open", port);
    if (isControl) {
      batch.control = "answered";
      socket?.destroy();
    } else if (!isRefused || refusals.add(port)) this.#options.take({ port, code, socket });
    this.#leave(batch);
  }

  /** Gives up the connections whose time is up. */
  #giveUp(): void {
    const patience = this.#patience ?? this.#pace.patience;
    for (const call of this.#calls) {
      if (this.#clock - call.begun < patience) break;
      this.#calls.delete(call);
      call.connection?.destroy();
      if (call.isControl) call.batch.control = "lost";
      else call.batch.silent.push(call.port);
      this.#leave(call.batch);
    }
  }

  #leave(batch: Batch): void {
    batch.waiting -= 1;
    if (batch.waiting === 0) this.#judge(batch);
    if (this.#calls.size === 0) this.#wake();
  }

  /** All of a batch have answered, or had time to. */
  #judge({ silent, control, begun }: Batch): void {
    if (control === "answered") this.#lostControls = 0;
    if (control === "lost") this.#slowDown(begun);
    const isInDoubt = control !== "answered" && this.#control !== undefined;
    if (isInDoubt) this.#queue.push(...silent);
    else silent.forEach((port) => this.#believe(port));
    if (silent.length > 0) this.#isWary = true;
    else if (control === "answered") this.#isWary = false;
  }

  /** A port was silent, and nothing says that its answer got lost. */
  #believe(port: number): void {
    this.#silent.push(port);
    this.#options.take({ port, code: "ETIMEDOUT" });
  }

  /** A control was not answered: the pace is too fast or, where it is the slowest already, the control port is silent. */
  #slowDown(begun: number): void {
    const pace = this.#pace.lost(begun, this.#clock);
    if (pace === "slower" && !this.#isWarned) {
      this.#isWarned = true;
      this.#options.warn("lost");
    }
    if (pace !== "slowest" || ++this.#lostControls < LOST_CONTROLS) return;
    this.#controls[this.#controlKind] = "gone";
    this.#lostControls = 0;
    this.#pace.reset();
    if (this.#control === undefined) this.#options.warn("gone");
  }

  /** Ports that refuse are rather taken than open ones: a control disturbs no service there. */
  get #controlKind(): "closed" | "open" {
    return this.#controls.closed === "gone" || this.#controls.closed.length === 0 ? "open" : "closed";
  }

  /** The port of the next control, if one is known. */
  get #control(): number | undefined {
    const ports = this.#controls[this.#controlKind];
    return ports === "gone" ? undefined : ports[this.#turn % ports.length];
  }

  #remember(kind: "closed" | "open", port: number): void {
    const ports = this.#controls[kind];
    if (ports !== "gone" && ports.length < CONTROLS && !ports.includes(port)) ports.push(port);
  }

  /** Takes the refusals that have waited. */
  async #settle(refusals: Refusals): Promise<void> {
    for (const { port, code } of await refusals.settle()) {
      if (code === "ETIMEDOUT") this.#believe(port);
      else this.#options.take({ port, code });
    }
  }
}
