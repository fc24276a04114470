/**
 * Plays a head in a network of its own while wire.ts (lesson 5.2) watches: what its programs put on the wire, and what
 * they say.
 */
import process from "node:process";
import type { Arrow } from "../../scripts/raw/wire/arrow.ts";
import { aloneWords, type Cell } from "./alone.ts";
import { playBare } from "./bare.ts";
import { type Event, Mismatch, play } from "./engine.ts";
import type { Head } from "./head.ts";
import { compare, type Expected } from "./ladder.ts";
import { barePrograms, find, type Lesson } from "./lessons.ts";
import { start } from "./program.ts";

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
};

type Options = Cell & {
  /** Where to play, if not in a copy of the project. */
  folder?: string;
  /** How long a person takes to type a line, in milliseconds. */
  pace?: number;
  onEvent?: (event: Event) => void;
};

/**
 * Plays a head while wire.ts watches. Only in a network of its own: in that of the machine, others talk too.
 * @param pcap a file for the packets
 * @throws Mismatch where wire.ts cannot watch: what it says
 */
export async function record(
  head: Pick<Head, "sections">,
  { pcap, onEvent, ...options }: Options & { pcap?: string } = {},
): Promise<Recording> {
  const words = ["bun", "scripts/raw/wire.ts", "--json", ...(pcap ? ["--pcap", pcap] : [])];
  await using wire = start(words, { limit: LIMIT });
  if (await wire.next() !== "listening on lo") {
    await wire.ended();
    throw new Mismatch(wire.seen.stderr.join("\n"));
  }
  const said: Said[] = [];
  let mismatch: string | undefined;
  try {
    const note = (event: Event) => {
      said.push({ ...event, at: performance.timeOrigin + performance.now() });
      onEvent?.(event);
    };
    await play(head, { ...options, asWritten: true, onEvent: note });
  } catch (error) {
    if (!(error instanceof Mismatch)) throw error;
    mismatch = error.message;
  }
  wire.signal("SIGINT");
  const { stdout } = await wire.result();
  const lines = stdout.trimEnd().split("\n").slice(1).map((line) => JSON.parse(line)); // after the ready line
  const { dropped } = lines.pop();
  return { moments: [...lines, ...said].sort((a, b) => a.at - b.at), dropped, mismatch };
}

/**
 * Plays the head of a script in a network of its own while wire.ts watches.
 * @returns a recording of each time that it was played: of a bare program, with each other program
 * @throws Mismatch where the programs are not what the head says
 */
export async function recordAlone(
  { path }: Pick<Lesson, "path">,
  { onEvent, ...options }: Options = {},
): Promise<Recording[]> {
  const recordings: Recording[] = [];
  const words = ["bun", import.meta.path, path, JSON.stringify(options)];
  await using program = start(aloneWords('exec "$@"', words), {
    limit: LIMIT,
    onLine: (stream, line) => {
      if (stream === "stderr") return;
      const printed: Event | Recording = JSON.parse(line);
      if ("moments" in printed) recordings.push(printed);
      else onEvent?.(printed);
    },
  });
  const { code, stderr } = await program.result();
  const mismatch = code === 0 ? recordings.find(({ mismatch }) => mismatch)?.mismatch : stderr;
  if (mismatch !== undefined) throw new Mismatch(mismatch);
  return recordings;
}

/**
 * Plays the head of a script in a network of its own, and compares what is on the wire with its ladder.
 * @param folder where to play a lesson, if not in a copy of the project
 * @throws Mismatch where the programs are not what the head says, or the packets not what the ladder says
 */
export async function playWatched(
  script: Pick<Lesson, "path">,
  cell: Cell,
  ladder: Expected,
  folder?: string,
): Promise<void> {
  for (const { moments, dropped } of await recordAlone(script, { ...cell, folder })) {
    const arrows = moments.filter((moment): moment is Arrow => "conversation" in moment);
    const difference = compare(arrows, dropped, ladder);
    if (difference) throw new Mismatch(difference);
  }
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
