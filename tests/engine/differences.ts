import { type Cell as AnyCell, playLesson } from "./alone.ts";
import { Mismatch } from "./engine.ts";
import { playBare } from "./bare.ts";
import { type Expected, ladderOf } from "./ladder.ts";
import type { BareProgram, Lesson } from "./lessons.ts";
import type { Runtime } from "./program.ts";
import { playWatched } from "./recording.ts";

/**
 * What is known to differ between the runtimes: these cells of the matrix do not show what the head
 * says. A row has its reason; and it fails when it is no longer true.
 */
export type Difference = {
  /** scripts/tcp/server.ts */
  lesson: string;
  /** Only where this runtime serves, or calls; without either, everywhere. */
  server?: Runtime;
  client?: Runtime;
  /** What the engine says then. */
  mismatch: RegExp;
  reason: string;
};

export const DIFFERENCES: Difference[] = [
  ...(["node", "deno"] as const).map((server) => ({
    lesson: "scripts/tcp/servers/bun-listen.ts",
    server,
    mismatch: /only Bun has it \(ENOSYS\)/,
    reason: "Bun.listen is a call of Bun alone",
  })),
  ...(["node", "deno"] as const).map((client) => ({
    lesson: "scripts/raw/ping.ts",
    client,
    mismatch: /only Bun has it \(ENOSYS\)/,
    reason: "bun:ffi, which calls the C library, is a module of Bun alone",
  })),
  ...(["node", "deno"] as const).map((server) => ({
    lesson: "scripts/raw/wire.ts",
    server,
    mismatch: /only Bun has it \(ENOSYS\)/,
    reason: "bun:ffi, which calls the C library, is a module of Bun alone",
  })),
  {
    lesson: "scripts/udp/broadcast-send.ts",
    client: "deno",
    mismatch: /\(UNKNOWN\)/,
    reason: "Deno does not tell which error a send met: EACCES appears as UNKNOWN",
  },
];

/** Heads in which a clock decides what is printed. */
const TIMED = new RegExp(
  "^scripts/(apps/messenger-(client|server)|raw/wire|tcp/(framing-server|servers/processes)|" +
    "udp/(lossy-link|(bare/)?echo-(client|server)))[.]ts$",
);

/**
 * Plays a head; one in which a clock decides up to three times, for the machine may stand still for a moment.
 * @throws the last Mismatch
 */
export async function playInTime(path: string, play: () => Promise<unknown>): Promise<void> {
  for (let tries = TIMED.test(path) ? 3 : 1;; tries--) {
    try {
      return void await play();
    } catch (error) {
      if (!(error instanceof Mismatch) || tries === 1) throw error;
    }
  }
}

export type Cell = Required<AnyCell>;
export type Verdict = { passed: boolean; mark: string; note?: string };

/**
 * Plays a lesson on the runtimes of a cell, and compares what came out with what is known to differ. A bare program
 * is played with the whole lesson at the other end.
 * @param folder where to play a lesson, if not in a copy of the project; a bare program, if not in a temporary folder
 * @param ladders what scripts must put on the wire, where that is looked at too
 */
export async function judge(
  script: Lesson | BareProgram,
  cell: Cell,
  known: Difference[],
  folder?: string,
  ladders: Expected[] = [],
): Promise<Verdict> {
  const { path } = script;
  const difference = known.find(({ lesson: other, server = cell.server, client = cell.client }) =>
    other === path && server === cell.server && client === cell.client
  );
  const where = `${path}, server on ${cell.server}, client on ${cell.client}`;
  const ladder = ladderOf(path, cell, ladders);
  try {
    await playInTime(path, () => {
      if (ladder) return playWatched(script, cell, ladder, folder);
      if ("usage" in script.head) return playBare(script as BareProgram, "lesson", cell, undefined, folder);
      return playLesson(script as Lesson, cell, folder);
    });
  } catch (error) {
    if (!(error instanceof Mismatch)) throw error;
    if (difference?.mismatch.test(error.message)) return { passed: true, mark: "known" };
    return { passed: false, mark: "FAIL", note: `${where}\n${error.message}` };
  }
  if (!difference) return { passed: true, mark: "ok" };
  return { passed: false, mark: "FAIL", note: `${where}\nno longer differs: ${difference.reason}` };
}
