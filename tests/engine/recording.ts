/** Plays heads in networks of their own while wire.ts (lesson 5.2) watches: what their programs do on the wire, and say. */
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { Arrow } from "../../scripts/raw/wire/arrow.ts";
import { type Cell, makeLoopback } from "./alone.ts";
import { playBare } from "./bare.ts";
import { type Event, Mismatch, type Options as PlayOptions, play } from "./engine.ts";
import type { Head } from "./head.ts";
import { compare, type Expected } from "./ladder.ts";
import { type BareProgram, barePrograms, find, type Lesson } from "./lessons.ts";
import { makeNetwork, whatIsMissing } from "./network.ts";
import { start } from "./program.ts";

/** What that needs, and what of it this machine lacks. */
const TOOLS = ["unshare", "nsenter", "mount", "ip"];
export const missing = whatIsMissing(TOOLS);

/** Much longer than any head takes, in milliseconds. */
const LIMIT = 60_000;

/** What happened in a terminal, and when, in ms since 1970. */
export type Said = Event & { at: number };

/** What was on the wire, and what the programs have said, in the order in which it happened. */
export type Recording = {
  moments: (Arrow | Said)[];
  /** How many packets came too fast for wire.ts. */
  dropped: number;
  /** Why the programs are not what their head says. */
  mismatch?: string;
  /** The packets, for Wireshark, in base64. */
  capture?: string;
};

type Options = Cell & Pick<PlayOptions, "wrap" | "asWritten"> & {
  /** Where to play, if not in a copy of the project. */
  folder?: string;
  /** How long a person takes to type a line, in milliseconds. */
  pace?: number;
  /** Whether the packets are wanted, too. */
  capture?: boolean;
  onEvent?: (event: Event) => void;
  /** The words that run a command in the network, if it is not this one. */
  inside?: string[];
};

/** Plays a head in a network while wire.ts watches. @throws Mismatch where it cannot: what it says */
export async function record(
  head: Pick<Head, "sections">,
  { capture, onEvent, inside = [], wrap = (words) => words, ...options }: Options,
): Promise<Recording> {
  const pcap = join(tmpdir(), "pcap");
  const words = ["bun", "scripts/raw/wire.ts", "--json", ...(capture ? ["--pcap", pcap] : [])];
  await using wire = start([...inside, ...words], { limit: LIMIT });
  const expectSuccess = (code: number, stderr: string) => {
    if (code !== 0) throw new Mismatch(stderr || `wire.ts ended with exit code ${code}`);
  };
  if (await wire.next() !== "listening on lo") expectSuccess(await wire.ended(), wire.seen.stderr.join("\n"));
  const said: Said[] = [];
  let mismatch: string | undefined;
  try {
    const note = (event: Event) => {
      said.push({ ...event, at: performance.timeOrigin + performance.now() });
      onEvent?.(event);
    };
    await play(head, {
      asWritten: true,
      ...options,
      wrap: (words, command) => [...inside, ...wrap(words, command)],
      onEvent: note,
    });
  } catch (error) {
    if (!(error instanceof Mismatch)) throw error;
    mismatch = error.message;
  }
  wire.signal("SIGINT");
  const { code, stdout, stderr } = await wire.result();
  expectSuccess(code, stderr);
  if (!/\n\{"packets":.*\}\n$/.test(stdout)) {
    throw new Mismatch("wire.ts was cut off before it had shown all");
  }
  const lines = stdout.trimEnd().split("\n").slice(1).map((line) => JSON.parse(line)); // after the ready line
  const { dropped } = lines.pop();
  const moments = [...lines, ...said].sort((a, b) => a.at - b.at);
  return { moments, dropped, mismatch, capture: capture ? readFileSync(pcap, "base64") : undefined };
}

/**
 * Plays the head of a script in a network of its own while wire.ts watches. When we end, killed or not, all of it ends.
 * @returns a recording of each time that it was played: of a bare program, with each other program
 * @throws Mismatch where it cannot be watched
 */
export async function recordAlone(
  { path }: Pick<Lesson, "path">,
  { onEvent, ...options }: Options = {},
): Promise<Recording[]> {
  const recordings: Recording[] = [];
  await using network = await makeNetwork("ip link set lo up; mkdir /run/tmp\n", []);
  const words = ["bun", import.meta.path, path, JSON.stringify(options)];
  await using program = start([...network.inside, ...words], {
    env: { TMPDIR: "/run/tmp" }, // goes with the network
    limit: LIMIT,
    onLine: (stream, line) => {
      if (stream === "stderr") return;
      const printed: Event | Recording = JSON.parse(line);
      if ("moments" in printed) recordings.push(printed);
      else onEvent?.(printed);
    },
  });
  const { code, stderr } = await program.result();
  if (code !== 0) throw new Mismatch(stderr.trimEnd() || `ended with exit code ${code}`);
  return recordings;
}

/**
 * Plays the head of a script in a network of its own, and compares what is on the wire with its ladder.
 * @param folder where to play, as judge() has it
 * @throws Mismatch where the programs are not what the head says, or the packets not what the ladder says
 */
export async function playWatched(
  script: Lesson | BareProgram,
  cell: Cell,
  ladder: Expected,
  folder?: string,
): Promise<void> {
  const watch = async (head: Pick<Head, "sections">, options: Options = {}) => {
    await using network = await makeLoopback();
    const { moments, dropped, mismatch } = await record(head, { ...options, inside: network.inside });
    const arrows = moments.filter((moment): moment is Arrow => "conversation" in moment);
    const difference = mismatch ?? compare(arrows, dropped, ladder);
    if (difference) throw new Mismatch(difference);
  };
  if ("usage" in script.head) await playBare(script as BareProgram, "lesson", cell, watch, folder);
  else await watch(script.head, { ...cell, folder });
}

/** Prints what happens in the terminals of a script, and what it puts on the wire: a line of JSON each. */
async function main(path: string, options: Options): Promise<void> {
  const print = (value: Event | Recording) => console.log(JSON.stringify(value));
  const watch = async (head: Pick<Head, "sections">, options: Options = {}) =>
    print(await record(head, { ...options, onEvent: print }));
  const bare = barePrograms().find((program) => program.path === path);
  if (bare) await playBare(bare, "lesson", options, watch);
  else await watch(find(path)[0].head, options);
}

if (import.meta.main) {
  const [path, options] = process.argv.slice(2);
  try {
    await main(path, JSON.parse(options));
  } catch (error) {
    console.error(error instanceof Mismatch ? error.message : error);
    process.exitCode = 1;
  }
}
