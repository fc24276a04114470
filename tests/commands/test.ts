/**
 * `make test`: runs the test files, several at once, and tells of each as soon as it has ended; failures whole.
 *
 *     make test                   all but the thorough ones
 *     make test L=3.1             what belongs to one lesson, or to one script: L=udp/send
 *     make test L=3.1 ON=node     with the scripts on another runtime
 *     make test EVERYTHING=1      what goes wrong on all three runtimes, and what takes long
 *     make test L=tests/udp/chat.test.ts    one file
 *
 * A file belongs to the lessons that its first lines name ("Lesson 3.6: ..."). Those below tests/course/ and
 * tests/hostile/ are about all lessons: there it is the tests whose names name the script.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { chmod } from "node:fs/promises";
import { basename, delimiter, dirname, join, relative, resolve } from "node:path";
import process from "node:process";
import { environment } from "../engine/environment.ts";
import { temporaryFolder } from "../engine/files.ts";
import { filesBelow, type Lesson } from "../engine/lessons.ts";
import { EVERYTHING, Late, ROOT, start } from "../engine/program.ts";
import { choose } from "./choose.ts";
import { endInOrder } from "./interrupt.ts";
import { checkRuntime, stop } from "./settings.ts";

/** How many files are run at once. They wait for programs more than they compute. */
const AT_ONCE = EVERYTHING ? 3 : 4;

/** How long one test may take, and one file, in milliseconds. */
const LIMIT = 60_000;
const LIMIT_OF_FILE = 20 * 60_000;

/** How long each file took, so that the next run starts with the longest. */
const TIMES = join(ROOT, "node_modules", ".cache", "test-times.json");

/** A test file, and which of its tests: all, or those whose names fit. */
export type Work = { file: string; names?: RegExp };

export type Outcome = {
  passed: number;
  failed: number;
  /** The names of the tests that were skipped. */
  skipped: string[];
  /** What was printed, without what went well. */
  text: string;
};

/** What is to be run for some lessons. */
export function workFor(lessons: Lesson[], files: { file: string; source: string }[]): Work[] {
  const scripts = lessons.map(({ path }) => RegExp.escape(path.replace(/^scripts\/|\.ts$/g, "")));
  const names = RegExp(`(?<![\\w/-])(?:scripts/)?(?:${scripts.join("|")})(?:\\.ts)?(?![\\w/-])`);
  return files.flatMap(({ file, source }): Work[] => {
    if (/^tests\/(?:course|hostile)\//.test(file)) return [{ file, names }];
    const numbers = lessonsOf(source);
    return lessons.some(({ head }) => numbers.includes(head.number)) ? [{ file }] : [];
  });
}

/** The numbers of the lessons that the first comment of a test file names. */
export function lessonsOf(source: string): string[] {
  return [...headOf(source).matchAll(/\bLessons? ((?:\d+\.\d+(?:, | and )?)+)/gi)]
    .flatMap(([, numbers]) => numbers.match(/\d+\.\d+/g) ?? []);
}

/** Whether a test file says in its first comment that it is thorough: with EVERYTHING=1 or L= only. */
export const isThorough = (source: string) => headOf(source).includes("(thorough)");

const headOf = (source: string) => /^\/\*\*[^]*?\*\//.exec(source)?.[0] ?? "";

/** What Bun's test runner prints although nothing is wrong. */
const NO_FAILURE = /^(?:\((?:pass|skip|todo)\) |bun test v|\S+\.test\.ts:$)/;
const SUMMARY = /\n(?:\d+ tests (?:skipped|failed):| *\d+ pass)\n[^]*$/;

/** What Bun's test runner has said of a file. */
export function read(code: number, output: string): Outcome {
  const lines = output.split("\n");
  const count = (word: string) =>
    Number(lines.map((line) => RegExp(`^ *(\\d+) ${word}$`).exec(line)?.[1]).findLast((found) => found) ?? 0);
  const [passed, failed] = [count("pass"), count("fail")];
  const [asTheyCame] = output.split(/^\d+ tests skipped:$/m); // behind that, the same once more
  const skipped = [...asTheyCame.matchAll(/^\(skip\) (.*)$/gm)].map(([, name]) => name);
  const isOver = /^Ran \d+ tests? across /m.test(output) && (code === 0 || failed > 0);
  const isBroken = !isOver && !/regex .* matched 0 tests/.test(output);
  const text = lines.filter((line) => !NO_FAILURE.test(line)).join("\n").replace(SUMMARY, "").trim();
  return isBroken
    ? { passed, failed: failed + 1, skipped, text: `${text}\n(fail) the file itself` }
    : { passed, failed, skipped, text };
}

/** One line for each thing that tests need and that is not here. */
export function skips(names: string[], isHere: (tool: string) => boolean): string[] {
  const counts = new Map<string, number>();
  for (const name of names) {
    const needs = /\(needs ([^()]+)\)(?!.*\(needs )/.exec(name)?.[1]; // the last: its own, not its group's
    const missing = needs?.split(/, | and /).filter((tool) => /^[\w-]+$/.test(tool) && !isHere(tool)) ?? [];
    const why = needs ? `needs ${missing.length > 0 ? missing.join(" and ") : needs}` : name;
    counts.set(why, (counts.get(why) ?? 0) + 1);
  }
  return Array.from(counts, ([why, count]) => `skipped: ${why} (${count} ${count === 1 ? "test" : "tests"})`);
}

/** The files that a name means: those of a lesson, or one file; without a name, all but the thorough ones. */
export function workOf(name = ""): Work[] {
  checkRuntime();
  const all = testFiles();
  if (/\.test\.ts$/.test(name)) {
    const path = resolve(ROOT, name);
    if (existsSync(path)) return [{ file: relative(ROOT, path) }];
    const meant = all.filter(({ file }) => basename(file) === basename(name)).map(({ file }) => `L=${file}`);
    stop(
      `L=${name}: no such file (ENOENT)`,
      meant.length > 0 ? `did you mean ${meant.join(", or ")}?` : "make test L=tests/udp/chat.test.ts",
    );
  }
  if (name) return workFor(choose(name), all);
  return all.filter(({ source }) => EVERYTHING || !isThorough(source)).map(({ file }) => ({ file }));
}

const testFiles = () =>
  filesBelow("tests/**/*.test.ts").map((file) => ({ file, source: readFileSync(join(ROOT, file), "utf8") }));

/**
 * Runs test files, several at once, the longest first.
 * @param told hears of each when it has ended
 */
export async function run(
  work: Work[],
  told: (work: Work, outcome: Outcome, ms: number) => void,
): Promise<void> {
  await using folder = temporaryFolder();
  await chmod(folder.path, 0o755); // a test may look at its own folder as another user
  const times = knownTimes();
  const length = ({ file }: Work) => times[file] ?? statSync(join(ROOT, file)).size;
  const todo = work.toSorted((a, b) => length(b) - length(a));
  const env = { PATH: pathWithPython(), NODE_COMPILE_CACHE: folder.at("compiled") };
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (let next = todo.shift(); next; next = todo.shift()) {
      const own = folder.at(`${todo.length}`);
      mkdirSync(own);
      const began = Date.now();
      told(next, await runOne(next, { ...env, TMPDIR: own }), Date.now() - began);
    }
  }));
}

/** Runs one test file. What it leaves behind is a failure. */
async function runOne({ file, names }: Work, env: { TMPDIR: string }): Promise<Outcome> {
  const chosen = names ? ["-t", names.source] : [];
  const words = ["bun", "test", "--no-orphans", `--timeout=${LIMIT}`, ...chosen, `./${file}`];
  await using program = start(words, { env, limit: LIMIT_OF_FILE });
  const said = () => [...program.seen.stdout, ...program.seen.stderr].join("\n");
  const code = await program.result().then(({ code }) => code, (error) => {
    if (!(error instanceof Late)) throw error;
  });
  const outcome = read(code ?? 1, code === undefined ? `${said()}\nit did not end` : said());
  if (names) outcome.skipped = outcome.skipped.filter((name) => names.test(name));
  const behind = [...program.orphans().map(({ command }) => command), ...readdirSync(env.TMPDIR)];
  if (behind.length > 0) {
    outcome.failed++;
    outcome.text += `\nleft behind:\n${behind.map((what) => `  ${what}\n`).join("")}`;
  }
  return outcome;
}

async function main(name: string | undefined): Promise<void> {
  const todo = workOf(name);
  const times = knownTimes();
  endInOrder();

  const began = Date.now();
  const sum = { files: 0, passed: 0, failed: 0, skipped: [] as string[] };
  const width = Math.max(...todo.map(({ file }) => file.length));
  await run(todo, ({ file, names }, { passed, failed, skipped, text }, ms) => {
    if (!names) times[file] = ms;
    if (names && passed + failed + skipped.length === 0) return; // none of its tests is of this lesson
    sum.files++;
    sum.passed += passed;
    sum.failed += failed;
    sum.skipped.push(...skipped);
    const counts = [[passed, "passed"], [failed, "failed"], [skipped.length, "skipped"]] as const;
    const told = counts.flatMap(([count, word]) => count > 0 ? `${count} ${word}` : []).join(", ");
    const mark = `${failed > 0 ? "FAIL" : "ok  "} ${(ms / 1000).toFixed(1).padStart(5)} s`;
    console.log(`${mark}  ${file.padEnd(width)}  ${told || "only with EVERYTHING=1"}`);
    if (failed > 0) console.log(`\n${text}\n`);
  });
  keepTimes(times);
  const leftOut = testFiles().length - todo.length;
  if (!name && leftOut > 0) {
    console.log(`left out: ${leftOut} thorough files, for EVERYTHING=1 and for L=`);
  }
  for (const line of skips(sum.skipped, (tool) => Boolean(Bun.which(tool)))) console.log(line);
  console.log(`\n${sum.files} files in ${((Date.now() - began) / 1000).toFixed(0)} s`);
  console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped.length} skipped`);
  if (sum.failed > 0) process.exitCode = 1;
}

/**
 * The PATH with the folder of Python itself first: what many have there is pyenv's script, which takes a tenth of a
 * second before it starts Python, and tests start it a hundred times.
 */
function pathWithPython(): string {
  const { PATH = "" } = environment();
  const python = Bun.which("python3", { PATH });
  if (!python) return PATH;
  const { stdout } = spawnSync(python, ["-c", "import sys; print(sys.executable)"], { encoding: "utf8" });
  return stdout ? [dirname(stdout.trim()), PATH].join(delimiter) : PATH;
}

/** The times of the runs before this one, in milliseconds. */
function knownTimes(): Record<string, number> {
  try {
    return JSON.parse(readFileSync(TIMES, "utf8"));
  } catch {
    return {}; // the first run
  }
}

/** Keeps the times for the next run. They are only a help: in a clone that is read-only, it begins without them. */
export function keepTimes(times: Record<string, number>, path = TIMES): void {
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, JSON.stringify(times));
  } catch {
    // as if it were the first run
  }
}

if (import.meta.main) await main(process.argv[2]);
