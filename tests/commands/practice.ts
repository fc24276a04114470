/**
 * `make practice`: exercises, one after the other, judged each time the learner saves the file.
 *
 *     make practice                  the first that is not solved; L=3.3 begins there
 *     make practice CHECK=all        judges all, prints a table; CHECK=3.3 one lesson's, JSON=1 as JSON
 *     make practice ON=node          on another runtime; DIR=folder judges the files that are there
 */
import { accessSync, constants, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { isChinese } from "../../lib/help.ts";
import { removeAll } from "../engine/files.ts";
import { endAll, ON, ROOT } from "../engine/program.ts";
import { inChinese } from "../practice/chinese.ts";
import { type Exercise, exercises } from "../practice/exercise.ts";
import { judge, type Verdict } from "../practice/judge.ts";
import { checkAll } from "../practice/types.ts";
import { Session } from "../practice/session.ts";
import { choose } from "./choose.ts";
import { endInOrder } from "./interrupt.ts";
import { atHome, checkRuntime, stop } from "./settings.ts";

/** Where the learner's files are. */
const FOLDER = process.env.DIR ? resolve(atHome(process.env.DIR)) : join(ROOT, "practice");

const IS_CHINESE = isChinese();

/** How many are judged at once. */
const AT_ONCE = 2;

/** The exercises of a lesson, or of a script, or all. A name that is none ends the program. */
function chosen(name: string, setting: string): Exercise[] {
  const all = exercises();
  if (name === "all") return all;
  const own = all.filter((exercise) =>
    [exercise.name, exercise.name.replace("own/", ""), exercise.file.slice(0, -3)].includes(name)
  );
  if (own.length > 0) return own;
  const lessons = choose(name, setting).map(({ path }) => path.replace(/^scripts\/|\.ts$/g, ""));
  const numbers = /^\d/.test(name) ? [name] : [];
  const found = all.filter((exercise) =>
    numbers.includes(exercise.number) || lessons.includes(exercise.name)
  );
  if (found.length > 0) return found;
  console.error(
    `error: ${name}: no exercise (ENOENT)\nhint: there is one for ${
      [...new Set(all.map(({ number }) => number))].join(", ")
    }`,
  );
  process.exit(1);
}

/** Why an exercise is not solved, in one line. */
export const inShort = (why: string) =>
  why.replace(/^(terminal \d+: |终端 \d+：).*\n/, "").replaceAll(/\s+/g, " ").trim();

type Row = { exercise: string; file: string; solved: boolean; why: string; line?: number; ms: number };

/** Judges without a keyboard, and prints a table, or JSON. @returns the exit code */
async function check(name: string, asJson: boolean): Promise<number> {
  const all = chosen(name, "CHECK");
  const rows: Row[] = [];
  const print = ({ exercise, solved, why, line, ms }: Row) => {
    const where = line === undefined ? "" : `line ${line}: `;
    const time = ms === 0 ? "" : `${(ms / 1000).toFixed(1)} s`;
    console.log(
      `${solved ? "solved " : "not yet"}  ${time.padStart(6)}  ${exercise.padEnd(32)} ${where}${why}`
        .trimEnd(),
    );
  };
  const sources = all.map(({ file }) => join(FOLDER, file)).map((path) =>
    statSync(path, { throwIfNoEntry: false })?.isFile() ? readFileSync(path, "utf8") : undefined
  );
  checkAll(sources.filter((source) => source !== undefined));
  const next = all.map((exercise, index) => ({ exercise, index })).values();
  let printed = 0;
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (const { exercise, index } of next) {
      const file = join(FOLDER, exercise.file);
      const source = sources[index];
      const verdict: Verdict = source !== undefined
        ? await judge(exercise, source, ON)
        : { solved: false, why: "not begun", events: [], ms: 0 };
      const { solved, why, line, ms } = verdict;
      rows[index] = {
        exercise: exercise.file.slice(0, -3),
        file,
        solved,
        why: inShort(IS_CHINESE ? inChinese(why) : why),
        line,
        ms,
      };
      while (!asJson && rows[printed]) print(rows[printed++]); // in the order of the course
    }
  }));
  const solved = rows.filter((row) => row.solved).length;
  if (asJson) console.log(JSON.stringify({ solved, of: rows.length, exercises: rows }, null, 2));
  else console.log(`\n${solved} of ${rows.length} solved`);
  return solved === rows.length ? 0 : 1;
}

/** Looks into the folder, or makes it where somebody is to write there; what cannot be one ends the program. */
function openFolder(isWritten: boolean): void {
  try {
    if (isWritten) mkdirSync(FOLDER, { recursive: true });
    if (isWritten) accessSync(FOLDER, constants.W_OK);
    if (existsSync(FOLDER)) readdirSync(FOLDER);
  } catch (error) {
    const { code } = error as { code?: string };
    stop(`DIR=${process.env.DIR || FOLDER}: cannot be the folder (${code})`, "make practice DIR=anna");
  }
}

/** Ends in good order, from the middle of a judgement too. */
function quit(code: number): never {
  process.stdin.setRawMode(false);
  endAll();
  removeAll();
  process.exit(code);
}

if (import.meta.main) {
  endInOrder();
  const { CHECK, JSON: asJson, L } = process.env;
  checkRuntime();
  openFolder(false);
  if (CHECK) process.exitCode = await check(CHECK, Boolean(asJson));
  else if (process.stdin.isTTY) {
    const first = L ? chosen(L, "L")[0] : undefined;
    openFolder(true);
    await new Session(exercises(), FOLDER).run(first, quit);
  } else {
    console.error(
      "error: make practice: needs a terminal (ENOTTY)\nhint: make practice CHECK=all judges without one",
    );
    process.exitCode = 2;
  }
}
