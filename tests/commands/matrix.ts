/**
 * `make matrix`: plays every lesson with server and client on each runtime, and each bare program with its whole
 * lesson at the other end; closes with a table. Where both ends are on the same runtime, also their packets are compared,
 * with tests/engine/ladders.txt: so each runtime is watched as a server and as a client.
 * `make matrix L=3.1`, or `L=udp/send`: those of one lesson. `ON=node`: both ends on that runtime alone.
 */
import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { canPlay } from "../engine/alone.ts";
import { type Cell, DIFFERENCES, judge } from "../engine/differences.ts";
import { copyOfProject } from "../engine/engine.ts";
import { temporaryFolder } from "../engine/files.ts";
import type { Head } from "../engine/head.ts";
import { LADDERS } from "../engine/ladder.ts";
import { type BareProgram, barePrograms, type Lesson, lessonOf } from "../engine/lessons.ts";
import { ON, READY, ROOT, type Runtime, RUNTIMES, start } from "../engine/program.ts";
import { missing } from "../engine/recording.ts";
import { choose } from "./choose.ts";
import { endInOrder } from "./interrupt.ts";

/** How many lessons are played at once. */
const AT_ONCE = 3;

/** Much longer than Node takes to compile all lessons, in milliseconds. */
const LIMIT = 60_000;

const names = process.env.ON ? [ON] : Object.keys(RUNTIMES) as Runtime[];
const CELLS: Cell[] = names.flatMap((server) => names.map((client) => ({ server, client })));

/** A lesson without a server has only callers: three cells, not nine. */
function applies({ sections }: Pick<Head, "sections">, { server, client }: Cell): boolean {
  const hasServer = sections.some(({ steps }) =>
    steps.some((step) => step.kind === "see" && READY.test(step.text))
  );
  return hasServer || server === client;
}

/** Lets Node compile lessons, all by one process: a lesson that it has not compiled yet needs twice the time to start. */
async function compile(folder: string, lessons: Lesson[]): Promise<void> {
  if (!names.includes("node")) return;
  const code = "for (const file of process.argv.slice(1)) await import(file).catch(() => {})";
  const files = lessons.map(({ path }) => pathToFileURL(join(folder, path)).href);
  await using node = start(["node", "--input-type=module", "-e", code, ...files], { limit: LIMIT });
  await node.ended();
}

async function main(): Promise<void> {
  endInOrder();
  const chosen = choose(process.argv[2]); // which may end us
  await using compiled = temporaryFolder();
  process.env.NODE_COMPILE_CACHE = compiled.path;
  const isChosen = (program: BareProgram) => chosen.some(({ path }) => path === lessonOf(program));
  const played = [...chosen, ...barePrograms().filter(isChosen)];
  const rows = new Map(played.map(({ path }) => [path, CELLS.map(() => "")]));
  const notes: string[] = [];
  const count = { passed: 0, failed: 0, skipped: 0 };
  const work = played.flatMap((lesson) => CELLS.map((cell, column) => ({ lesson, cell, column })));
  const todo = work.filter(({ lesson, cell }) => applies(lesson.head, cell));
  const begun = new Set<string>();
  /** Of the lesson that was played last, else of one that nobody has begun, else of any. */
  const take = (last: string) => {
    const own = todo.findIndex(({ lesson }) => lesson.path === last);
    const fresh = todo.findIndex(({ lesson }) => !begun.has(lesson.path));
    const next = todo.splice(own >= 0 ? own : Math.max(fresh, 0), 1).at(0);
    if (next) begun.add(next.lesson.path);
    return next;
  };
  await compile(ROOT, chosen); // they are the other end of the bare programs
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    // Folders for many cells, and one lesson after another: Node and Deno find what they have compiled by its path.
    await using copy = copyOfProject();
    await using outside = temporaryFolder();
    await compile(copy.path, chosen);
    for (let next = take(""); next; next = take(next.lesson.path)) {
      if (!canPlay(next.lesson)) {
        count.skipped++;
        continue;
      }
      const { server, client } = next.cell;
      const ladders = !missing && server === client ? LADDERS : [];
      const folder = "usage" in next.lesson.head ? outside.path : copy.path;
      const { passed, mark, note } = await judge(next.lesson, next.cell, DIFFERENCES, folder, ladders);
      if (folder === copy.path) copy.restore();
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
  if (missing) console.log(`their packets were not compared: ${missing.what}`);
  const known = DIFFERENCES.filter(({ lesson }) => rows.get(lesson)?.includes("known"));
  for (const line of new Set(known.map(({ lesson, reason }) => `known: ${lesson}: ${reason}`))) {
    console.log(line);
  }
  console.log(`\n${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`);
  if (count.failed > 0) process.exitCode = 1;
}

if (import.meta.main) await main();
