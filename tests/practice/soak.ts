/**
 * `make practice-soak`: judges every right and every wrong program again and again, on each runtime, and tells of each
 * judgement that flips. It can be done in pieces:
 *
 *     make practice-soak                       100 rounds
 *     make practice-soak TIMES=3 ON=node       rounds 1 to 3, on one runtime
 *     make practice-soak FROM=4 MINUTES=30     goes on with round 4, and ends by itself
 *     make practice-soak L=tcp/client          the programs of one exercise, or of a lesson
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { endInOrder } from "../commands/interrupt.ts";
import { checkRuntime, count, minutes, stop } from "../commands/settings.ts";
import { type Runtime, RUNTIMES } from "../engine/program.ts";
import { type Exercise, exercises } from "./exercise.ts";
import { judge } from "./judge.ts";
import { type Program, rightOnes, wrongOnes } from "./programs.ts";
import { checkAll } from "./types.ts";

/** How many are judged at once: most of the time they wait for each other. */
const AT_ONCE = 6;

const { ON, L } = process.env;
checkRuntime();
const times = count("TIMES", 100);
let number = count("FROM", 1);
const end = performance.now() + minutes("MINUTES") * 60_000;

type Work = { exercise: Exercise; isRight: boolean; program: Program };
const all = exercises();
const chosen = all.filter(({ name, number }) => !L || L === name || L === number);
if (chosen.length === 0) {
  stop(`L=${L}: no exercise (ENOENT)`, `there is ${all.map(({ name }) => name).join(", ")}`);
}
const work = chosen.flatMap((exercise) => [
  ...rightOnes(exercise).map((program): Work => ({ exercise, isRight: true, program })),
  ...wrongOnes(exercise).map((program): Work => ({ exercise, isRight: false, program })),
]);

/** What was done on a runtime. */
type Sum = { runtime: Runtime; rounds: number; took: number[]; cpu: number };
const sums = ((ON ? [ON] : Object.keys(RUNTIMES)) as Runtime[]).map((runtime): Sum => (
  { runtime, rounds: 0, took: [], cpu: 0 }
));
const flips: { name: string; output: string }[] = [];

/** The processor time of this process, and of those that it started and that have ended, in milliseconds; Linux only. */
function cpu(): number {
  if (process.platform !== "linux") return NaN;
  const fields = readFileSync("/proc/self/stat", "utf8").replace(/^.*\) /s, "").split(" ");
  return 10 * fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0); // a tick is 10 ms (proc(5))
}

/** Judges every program once. @returns whether there was time for all */
async function round(number: number, sum: Sum): Promise<boolean> {
  const [began, before, known] = [performance.now(), cpu(), flips.length];
  const next = work.values();
  let done = 0;
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (const { exercise, isRight, program } of next) {
      if (performance.now() > end) return;
      const { solved, why, events, ms } = await judge(exercise, program.source, sum.runtime);
      sum.took.push(ms);
      done++;
      if (solved === isRight && (isRight || (program.says ?? /\S/).test(why))) continue;
      const name = `${sum.runtime} ${exercise.name}: ${program.name}`;
      const lines = events.map(({ terminal, kind, text }) => `  ${terminal} ${kind} | ${text}`);
      flips.push({ name, output: [solved ? "accepted" : `turned away: ${why}`, ...lines].join("\n") });
      console.log(`round ${number}, ${name}: ${flips.at(-1)?.output}`);
    }
  }));
  sum.cpu += cpu() - before;
  const seconds = Math.round((performance.now() - began) / 1000);
  console.log(
    `round ${number}, ${sum.runtime}: ${done} of ${work.length} verdicts in ${seconds} s, ${
      flips.length - known
    } flips`,
  );
  return done === work.length;
}

/** What was done, a row for each runtime. */
function table(): string[] {
  const rows = sums.map(({ runtime, rounds, took, cpu }) => {
    const sorted = took.toSorted((a, b) => a - b);
    const at = (part: number) =>
      `${((sorted[Math.ceil(sorted.length * part) - 1] ?? 0) / 1000).toFixed(1)} s`;
    const wrong = flips.filter(({ name }) => name.startsWith(`${runtime} `)).length;
    return [
      runtime,
      rounds,
      took.length,
      wrong,
      at(0.5),
      at(0.95),
      at(0.99),
      at(1),
      took.length ? `${Math.round(cpu / took.length)} ms` : "-",
    ];
  });
  const head = ["runtime", "rounds", "verdicts", "flips", "median", "95 %", "99 %", "longest", "cpu each"];
  return [head, ...rows].map((cells) => cells.map((cell) => `${cell}`.padStart(9)).join(""));
}

/** At the end, and at Ctrl-C. */
function report(): void {
  console.log(`\n${table().join("\n")}\n`);
  for (const { name, output } of flips) console.log(`${name}: ${output}\n`);
  const rest = number > times ? "all rounds are done" : `go on with FROM=${number}`;
  console.log(`${flips.length} flips; ${rest}`);
}

endInOrder();
process.on("exit", report);
checkAll([...new Set(work.map(({ program }) => program.source))]);
for (let isTime = true; isTime && number <= times;) {
  for (const sum of sums) {
    isTime &&= await round(number, sum);
    if (isTime) sum.rounds++;
  }
  if (isTime) number++;
}
if (flips.length > 0) process.exitCode = 1;
