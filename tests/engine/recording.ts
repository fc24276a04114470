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
import { type Runtime, start } from "./program.ts";

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

/**
 * Plays a head while wire.ts watches. Only in a network of its own: in that of the machine, others talk too.
 * @param pcap a file for the packets
 * @throws Mismatch where wire.ts cannot watch: what it says
 */
export async function record(
  { sections }: Pick<Head, "sections">,
  { pcap, ...options }: Cell & { folder?: string; pcap?: string } = {},
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
    const onEvent = (event: Event) => said.push({ ...event, at: performance.timeOrigin + performance.now() });
    await play({ sections }, { ...options, asWritten: true, onEvent });
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
 * Plays the head of a script in a network of its own, and compares what is on the wire with its ladder.
 * @param folder where to play a lesson, if not in a copy of the project
 * @throws Mismatch where the programs are not what the head says, or the packets not what the ladder says
 */
export async function playWatched(
  { path }: Pick<Lesson, "path">,
  cell: Required<Cell>,
  ladder: Expected,
  folder = "",
): Promise<void> {
  const words = ["bun", import.meta.path, path, cell.server, cell.client, folder];
  await using program = start(aloneWords('exec "$@"', words), { limit: LIMIT });
  const { code, stdout, stderr } = await program.result();
  if (code !== 0) throw new Mismatch(stderr);
  for (const line of stdout.trimEnd().split("\n")) {
    const { moments, dropped, mismatch }: Recording = JSON.parse(line);
    const arrows = moments.filter((moment): moment is Arrow => "conversation" in moment);
    const difference = mismatch ?? compare(arrows, dropped, ladder);
    if (difference) throw new Mismatch(difference);
  }
}

/** Prints what a script puts on the wire, a line each time that its head is played. */
async function main(path: string, cell: Cell, folder?: string): Promise<void> {
  const watch = async (head: Pick<Head, "sections">, options: Cell & { folder?: string } = {}) =>
    console.log(JSON.stringify(await record(head, options)));
  const bare = barePrograms().find((program) => program.path === path);
  if (bare) await playBare(bare, "lesson", cell, watch);
  else await watch(find(path)[0].head, { ...cell, folder });
}

if (import.meta.main) {
  const [path, server, client, folder] = process.argv.slice(2);
  try {
    await main(path, { server: server as Runtime, client: client as Runtime }, folder || undefined);
  } catch (error) {
    console.error(error instanceof Mismatch ? error.message : error);
    process.exitCode = 1;
  }
}
