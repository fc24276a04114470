/**
 * Compares what a lesson has put on the wire with what it must: the ladders of ladders.txt, which also says how to read
 * them, and by which rules they are compared.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Arrow } from "../../scripts/raw/wire/arrow.ts";
import { AGAIN } from "../../scripts/raw/wire/arrow.ts";
import { firstBytes } from "../../scripts/raw/wire/first-bytes.ts";
import type { Cell } from "./alone.ts";
import { ROOT } from "./environment.ts";
import type { Runtime } from "./program.ts";

type Direction = ">" | "<";

/** One step of a ladder: a segment with a flag, bytes, or a packet that carries none ("[join 239.255.0.1]"). */
export type Step = {
  direction: Direction;
  kind: "SYN" | "SYN ACK" | "ACK" | "FIN" | "RST" | "bytes" | "data" | "note";
  /** How many bytes; undefined where only their text is known to begin. */
  length: number;
  /** What the bytes are, or as many of them as are known; or the text of the note. */
  bytes: Buffer;
  isOptional: boolean;
};

/** Steps whose order between the two directions does not matter. */
type Block = Record<Direction, Step[]>;

/** One conversation. `name`: "tcp * > 7890". */
export type Conversation = { name: string; text: string; ways: Block[][] };

/** What a script puts on the wire: always, or on some runtimes, for a reason. */
export type Expected = { path: string; cell: Cell; reason: string; conversations: Conversation[] };

/** The beginning of the ports that systems give away: on Linux, by default. */
const GIVEN = 32768;

const UNQUOTED = /\\x([0-9a-f]{2})|\\([nrt"])/g;
const CONTROLS: Record<string, string> = { n: "\n", r: "\r", t: "\t", '"': '"' };

/** The bytes of a text in which wire.ts shows some as `\xff` or `\n`. */
function bytesOf(text: string): Buffer {
  const parts: Buffer[] = [];
  let end = 0;
  for (const match of text.matchAll(UNQUOTED)) {
    parts.push(Buffer.from(text.slice(end, match.index)));
    parts.push(match[1] ? Buffer.from(match[1], "hex") : Buffer.from(CONTROLS[match[2]]));
    end = match.index + match[0].length;
  }
  return Buffer.concat([...parts, Buffer.from(text.slice(end))]);
}

const STEP =
  /\s*(?:([{}])|(open)|([<>]) (?:(SYN ACK|SYN|FIN|RST)|\[([^\]]+)\]|(?:(data|\d+ bytes)(?: |(?=[\s?]|$)))?(?:"((?:[^"\\]|\\.)*)")?)(\?)?)(?=\s|$)/y;

/** Parses the steps of a conversation. @throws Error that shows what is not understood */
function parseSteps(text: string): Block[] {
  const blocks: Block[] = [];
  let isOpen = false, last: Direction | undefined;
  const begin = () => blocks[blocks.push({ ">": [], "<": [] }) - 1];
  const add = (
    direction: Direction,
    kind: Step["kind"],
    length = 0,
    bytes: Buffer = Buffer.alloc(0),
    isOptional = false,
  ) => {
    const block = isOpen || (direction === last && blocks.length > 0) ? blocks[blocks.length - 1] : begin();
    block[direction].push({ direction, kind, length, bytes, isOptional });
    if (!isOpen) last = direction;
  };
  STEP.lastIndex = 0;
  while (STEP.lastIndex < text.length) {
    const at = STEP.lastIndex;
    const found = STEP.exec(text);
    if (!found || found[0].trim() === "") throw new Error(`not understood: ${text.slice(at)}`);
    const [, brace, open, direction, flag, note, amount, quoted, optional] = found;
    if (brace) {
      if (isOpen === (brace === "{")) throw new Error(`a brace too many: ${text.slice(at)}`);
      isOpen = brace === "{";
      if (isOpen) begin();
      last = undefined;
    } else if (open) {
      for (const [way, kind] of [[">", "SYN"], ["<", "SYN ACK"], [">", "ACK"]] as const) add(way, kind);
    } else {
      const bytes = quoted === undefined ? Buffer.alloc(0) : bytesOf(quoted);
      const way = direction as Direction;
      if (flag) add(way, flag as Step["kind"], 0, undefined, Boolean(optional));
      else if (note) add(way, "note", 0, Buffer.from(note), Boolean(optional));
      else if (amount === "data") add(way, "data", bytes.length, bytes, Boolean(optional));
      else add(way, "bytes", amount ? parseInt(amount) : bytes.length, bytes, Boolean(optional));
    }
  }
  if (isOpen) throw new Error(`a brace is missing: ${text}`);
  return blocks;
}

const HEADING = /^(scripts\/\S+\.ts)(?:, (?:(server|client) on (bun|node|deno)): (.+))?$/;
const CONVERSATION = /^ {2}(?:(\d+) times )?((?:tcp|udp|igmp) \S+ > \S+): +(.+)$/;

/** Parses ladders.txt. @throws Error that shows the line that is not understood */
export function parseLadders(text: string): Expected[] {
  const found: Expected[] = [];
  for (const line of text.replace(/\n {4,}/g, " ").split("\n")) {
    if (line.startsWith("#") || line.trim() === "") continue;
    const heading = HEADING.exec(line);
    const conversation = CONVERSATION.exec(line);
    const last = found.at(-1);
    if (heading) {
      const [, path, end, runtime, reason = ""] = heading;
      found.push({ path, cell: end ? { [end]: runtime as Runtime } : {}, reason, conversations: [] });
    } else if (conversation && last) {
      const [, times = "1", name, text] = conversation;
      const one = { name, text, ways: text.split(/ or +(?=open)/).map((way) => parseSteps(way.trim())) };
      for (let count = Number(times); count > 0; count--) last.conversations.push(one);
    } else if (line !== "  nothing" || !last) throw new Error(`ladders.txt: not understood: ${line}`);
  }
  return found;
}

/** Of all scripts. */
export const LADDERS = parseLadders(readFileSync(join(ROOT, "tests/engine/ladders.txt"), "utf8"));

/** What a script must put on the wire on the runtimes of a cell: what is special for them, or what is usual. */
export function ladderOf(path: string, cell: Cell, all: Expected[]): Expected | undefined {
  const own = all.filter((expected) => expected.path === path);
  const fits = ({ server = cell.server, client = cell.client }: Cell) =>
    server === cell.server && client === cell.client;
  return own.find(({ cell: wanted, reason }) => reason !== "" && fits(wanted)) ??
    own.find(({ reason }) => reason === "");
}

/** An end of a conversation as ladders.txt names it. */
function endOf(end: string): string {
  const [, host, port] = /^(.*?)(?::(\d+))?$/.exec(end) ?? [];
  const shown = Number(port) >= GIVEN ? "*" : port;
  if (shown === undefined) return host;
  return host === "127.0.0.1" ? shown : `${host}:${shown}`;
}

/** What an arrow says, in steps; what depends on the moment alone (see ladders.txt) is left out. */
function stepsOf({ isToRight, flags = [], length, text, notes, protocol }: Arrow): Step[] {
  const direction = isToRight ? ">" : "<";
  const step = (kind: Step["kind"], length = 0, bytes: Buffer = Buffer.alloc(0)): Step => ({
    direction,
    kind,
    length,
    bytes,
    isOptional: false,
  });
  if (notes.includes(AGAIN) || notes.includes("probe")) return [];
  if (flags.includes("SYN")) return [step(flags.includes("ACK") ? "SYN ACK" : "SYN")];
  if (flags.includes("RST")) return [step("RST")];
  const isNote = protocol !== "TCP" && protocol !== "UDP";
  return [
    ...(isNote ? [step("note", 0, Buffer.from(notes.join(", ")))] : []),
    ...(!isNote && (length > 0 || protocol === "UDP") ? [step("bytes", length, bytesOf(text))] : []),
    ...(flags.includes("FIN") ? [step("FIN")] : []),
    ...(flags.join() === "ACK" && length === 0 ? [step("ACK")] : []),
  ];
}

/** Follows one conversation along what is expected of it. */
class Follower {
  readonly #blocks: Block[];
  readonly #isStream: boolean;
  #at = 0;
  #queues: Block;
  /** Of the bytes that are expected next: how many have come, and what is known of them. */
  #come: Record<Direction, { length: number; known: Buffer }> = { ">": nothing(), "<": nothing() };

  constructor(blocks: Block[], isStream: boolean) {
    this.#blocks = blocks;
    this.#isStream = isStream;
    this.#queues = queuesOf(blocks[0]);
  }

  /** Whether the step is what is expected now. */
  takes(step: Step): boolean {
    for (;;) {
      const queue = this.#queues[step.direction];
      while (queue.length > 0) {
        if (this.#isFirst(step, queue[0])) return this.#take(step, queue);
        if (!this.#isDone(queue[0])) return false;
        this.#next(queue);
      }
      if (!this.#isBlockOver || this.#at + 1 === this.#blocks.length) return false;
      this.#queues = queuesOf(this.#blocks[++this.#at]);
    }
  }

  /** Whether nothing more must come. */
  get isOver(): boolean {
    const rest = this.#blocks.slice(this.#at + 1).flatMap((block) => [...block[">"], ...block["<"]]);
    return this.#isBlockOver && rest.every(({ isOptional }) => isOptional);
  }

  get #isBlockOver(): boolean {
    return [...this.#queues[">"], ...this.#queues["<"]].every((step, _, all) =>
      this.#isDone(step, all.find(({ direction }) => direction === step.direction) === step)
    );
  }

  /** Whether a step need not come any more. */
  #isDone({ kind, direction, isOptional }: Step, isFirst = true): boolean {
    const come = isFirst ? this.#come[direction].length : 0;
    return (isOptional && come === 0) || (kind === "data" && come > 0);
  }

  #next(queue: Step[]): void {
    const [{ direction }] = queue.splice(0, 1);
    this.#come[direction] = nothing();
  }

  /** Whether a step is what is wanted, or a piece of it. */
  #isFirst(step: Step, wanted: Step): boolean {
    if (wanted.kind !== "bytes" && wanted.kind !== "data") {
      return wanted.kind === step.kind && wanted.bytes.equals(step.bytes);
    }
    if (step.kind !== "bytes") return false;
    const { known } = this.#joined(step, wanted);
    const both = Math.min(known.length, wanted.bytes.length);
    const isWhole = this.#isStream || wanted.kind === "data" || step.length === wanted.length;
    return isWhole && known.subarray(0, both).equals(wanted.bytes.subarray(0, both));
  }

  /** Takes a step off those that wait, or a piece; what goes beyond it is the next step. */
  #take(step: Step, queue: Step[]): boolean {
    const [wanted] = queue;
    if (wanted.kind !== "bytes" && wanted.kind !== "data") {
      this.#next(queue);
      return true;
    }
    const { length, known, taken } = this.#joined(step, wanted);
    this.#come[step.direction] = { length, known };
    if (wanted.kind === "data" || length < wanted.length) return true;
    this.#next(queue);
    const rest = { ...step, length: step.length - taken, bytes: step.bytes.subarray(taken) };
    return rest.length === 0 || this.takes(rest);
  }

  /** What has come of some bytes, with a step. */
  #joined({ direction, length, bytes }: Step, wanted: Step) {
    const come = this.#come[direction];
    const taken = wanted.kind === "data" ? length : Math.min(length, wanted.length - come.length);
    const isKnown = come.known.length === come.length;
    const known = isKnown ? Buffer.concat([come.known, bytes.subarray(0, taken)]) : come.known;
    return { length: come.length + taken, known, taken };
  }
}

const nothing = () => ({ length: 0, known: Buffer.alloc(0) });
const queuesOf = (block: Block): Block => ({ ">": [...block[">"]], "<": [...block["<"]] });

/** What was seen of one conversation. */
type Seen = { name: string; steps: Step[] };

/** Sorts arrows into conversations, and leaves out what ladders.txt says. */
function conversationsOf(arrows: Arrow[]): Seen[] {
  const seen = new Map<number, Seen>();
  for (const arrow of arrows) {
    const { conversation, protocol, left, right } = arrow;
    const kind = protocol === "ICMP" ? "udp" : protocol.toLowerCase();
    const one = seen.get(conversation) ?? { name: `${kind} ${endOf(left)} > ${endOf(right)}`, steps: [] };
    seen.set(conversation, one);
    for (const step of stepsOf(arrow)) {
      const last = one.steps.at(-1);
      const isOver = last?.kind === "RST";
      const isIdle = step.kind === "ACK" && last?.kind !== "SYN ACK";
      const isAgain = step.kind === "note" && last?.kind === "note" && step.bytes.equals(last.bytes);
      if (!isOver && !isIdle && !isAgain) one.steps.push(step);
    }
  }
  return [...seen.values()];
}

/** Whether a conversation went one of the ways that are expected. */
function isAsExpected({ ways, name }: Conversation, steps: Step[]): boolean {
  return ways.some((blocks) => {
    const follower = new Follower(blocks, name.startsWith("tcp"));
    return steps.every((step) => follower.takes(step)) && follower.isOver;
  });
}

/** A conversation as ladders.txt would write it. */
function written(steps: Step[]): string {
  const text = steps.map(({ direction, kind, length, bytes }) => {
    if (kind === "note") return `${direction} [${bytes}]`;
    if (kind !== "bytes") return `${direction} ${kind}`;
    const text = firstBytes(bytes).replaceAll('"', '\\"');
    return `${direction}${bytes.length < length ? ` ${length} bytes` : ""} "${text}"`;
  }).join("  ").replace(/^> SYN {2}< SYN ACK {2}> ACK(?= |$)/, "open");
  return text.length > 600 ? `${text.slice(0, 400)}  ...  ${text.slice(-200)}` : text;
}

/** The same for a recording with gaps: each step may be missing, and so may bytes. */
function withGaps({ name, text, ways }: Conversation): Conversation {
  const gappy = (step: Step): Step => ({
    ...step,
    kind: step.kind === "bytes" ? "data" : step.kind,
    bytes: step.kind === "note" ? step.bytes : Buffer.alloc(0),
    isOptional: true,
  });
  const block = (block: Block) => ({ ">": block[">"].map(gappy), "<": block["<"].map(gappy) });
  return { name, text, ways: ways.map((blocks) => blocks.map(block)) };
}

/**
 * What is not on the wire as it is expected, or is there and not expected; undefined where all is as expected.
 * @param dropped how many packets the kernel has dropped before wire.ts could read them
 */
export function compare(arrows: Arrow[], dropped: number, expected: Expected): string | undefined {
  const { reason } = expected;
  const conversations = dropped > 0 ? expected.conversations.map(withGaps) : expected.conversations;
  const seen = conversationsOf(arrows);
  const names = new Set([...conversations, ...seen].map(({ name }) => name));
  const wrong = [...names].flatMap((name) => {
    const [wanted, found] = [conversations, seen].map((all) => all.filter((one) => one.name === name)) as [
      Conversation[],
      Seen[],
    ];
    return Array.from({ length: Math.max(wanted.length, found.length) }, (_, index) => {
      const [one, steps] = [wanted[index] as Conversation | undefined, found[index]?.steps];
      if (one && (steps ? isAsExpected(one, steps) : dropped > 0)) return "";
      return `  ${name}\n    expected: ${one?.text ?? "nothing"}\n    seen:     ${
        steps ? written(steps) : "nothing"
      }\n`;
    });
  });
  const text = wrong.join("");
  if (text === "") return undefined;
  return `on the wire (tests/engine/ladders.txt):\n${text}${reason && `\nno longer so? ${reason}\n`}`;
}
