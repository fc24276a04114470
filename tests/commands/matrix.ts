/**
 * `make matrix`: plays every lesson with server and client on each runtime, and closes with a table.
 * `bun tests/commands/matrix.ts tcp/` plays the lessons whose path contains tcp/.
 */
import process from "node:process";
import type { Head } from "../engine/head.ts";
import { type Difference, DIFFERENCES } from "../engine/differences.ts";
import { canPlay, type Cell as AnyCell, playLesson } from "../engine/alone.ts";
import { Mismatch } from "../engine/engine.ts";
import { type Lesson, lessons } from "../engine/lessons.ts";
import { READY, type Runtime, RUNTIMES } from "../engine/program.ts";

/** How many lessons are played at once. */
const AT_ONCE = 3;

type Cell = Required<AnyCell>;
type Verdict = { passed: boolean; mark: string; note?: string };

const names = Object.keys(RUNTIMES) as Runtime[];
const CELLS: Cell[] = names.flatMap((server) => names.map((client) => ({ server, client })));

/** A lesson without a server has only callers: three cells, not nine. */
function applies({ sections }: Head, { server, client }: Cell): boolean {
  const hasServer = sections.some(({ steps }) =>
    steps.some((step) => step.kind === "see" && READY.test(step.text))
  );
  return hasServer || server === client;
}

/** Plays one cell, and compares what came out with what is known to differ. */
export async function judge(lesson: Lesson, cell: Cell, known: Difference[]): Promise<Verdict> {
  const { path } = lesson;
  const difference = known.find(({ lesson: other, server = cell.server, client = cell.client }) =>
    other === path && server === cell.server && client === cell.client
  );
  const where = `${path}, server on ${cell.server}, client on ${cell.client}`;
  try {
    await playLesson(lesson, cell);
  } catch (error) {
    if (!(error instanceof Mismatch)) throw error;
    if (difference?.mismatch.test(error.message)) return { passed: true, mark: "known" };
    return { passed: false, mark: "FAIL", note: `${where}\n${error.message}` };
  }
  if (!difference) return { passed: true, mark: "ok" };
  return { passed: false, mark: "FAIL", note: `${where}\nno longer differs: ${difference.reason}` };
}

async function main(): Promise<void> {
  const played = lessons().filter(({ path }) => path.includes(process.argv[2] ?? ""));
  const rows = new Map(played.map(({ path }) => [path, CELLS.map(() => "")]));
  const notes: string[] = [];
  const count = { passed: 0, failed: 0, skipped: 0 };
  const work = played.flatMap((lesson) => CELLS.map((cell, column) => ({ lesson, cell, column })));
  const todo = work.filter(({ lesson, cell }) => applies(lesson.head, cell));
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (let next = todo.shift(); next; next = todo.shift()) {
      if (!canPlay(next.lesson)) {
        count.skipped++;
        continue;
      }
      const { passed, mark, note } = await judge(next.lesson, next.cell, DIFFERENCES);
      (rows.get(next.lesson.path) as string[])[next.column] = mark;
      if (note) notes.push(note);
      count[passed ? "passed" : "failed"]++;
    }
  }));

  for (const note of notes) console.log(`FAIL ${note}\n`);
  const width = Math.max(...played.map(({ path }) => path.length));
  const row = (title: string, cells: string[]) =>
    console.log(title.padEnd(width), cells.map((c) => c.padEnd(6)).join(""));
  row("server on", CELLS.map(({ server }) => server));
  row("client on", CELLS.map(({ client }) => client));
  for (const [path, cells] of rows) row(path, cells.map((cell) => cell || "-"));
  if (count.skipped > 0) console.log("skipped: needs unshare and ip");
  for (const { lesson, reason } of DIFFERENCES) console.log(`known: ${lesson}: ${reason}`);
  console.log(`\n${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`);
  if (count.failed > 0) process.exitCode = 1;
}

if (import.meta.main) await main();
