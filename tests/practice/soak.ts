/**
 * `make practice-soak`: judges every right and every wrong program again and again, on each runtime, and tells of each
 * judgement that is not what it must be. TIMES=100 says how often, ON=node on which runtime alone, L=tcp/client whose.
 */
import { writeFileSync } from "node:fs";
import process from "node:process";
import { endInOrder } from "../commands/interrupt.ts";
import { temporaryFolder } from "../engine/files.ts";
import { type Runtime, RUNTIMES } from "../engine/program.ts";
import { exercises } from "./exercise.ts";
import { judge } from "./judge.ts";
import { rightOnes, wrongOnes } from "./programs.ts";

/** How many are judged at once. */
const AT_ONCE = 2;

const { TIMES = "100", ON, L } = process.env;
const runtimes = (ON ? [ON] : Object.keys(RUNTIMES)) as Runtime[];
const chosen = exercises().filter(({ name, number }) => !L || L === name || L === number);

endInOrder();
let flips = 0;
for (const runtime of runtimes) {
  const work = chosen.flatMap((exercise) =>
    [true, false].flatMap((isRight) =>
      (isRight ? rightOnes : wrongOnes)(exercise).flatMap((program) =>
        Array.from({ length: Number(TIMES) }, () => ({ exercise, isRight, program }))
      )
    )
  );
  const took: number[] = [];
  const next = work.values();
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (const { exercise, isRight, program } of next) {
      await using folder = temporaryFolder();
      writeFileSync(folder.at("program.ts"), program.source);
      const { solved, why, ms } = await judge(exercise, folder.at("program.ts"), runtime);
      took.push(ms);
      if (solved === isRight) continue;
      flips++;
      console.log(
        `${runtime} ${exercise.name}: ${program.name}: ${solved ? "accepted" : `turned away: ${why}`}`,
      );
    }
  }));
  const sorted = took.toSorted((a, b) => a - b);
  const at = (part: number) => `${((sorted[Math.ceil(sorted.length * part) - 1] ?? 0) / 1000).toFixed(1)} s`;
  console.log(
    `${runtime}: ${took.length} judgements, half within ${at(0.5)}, 99 % within ${at(0.99)}, the longest ${
      at(1)
    }`,
  );
}
console.log(`${flips} wrong`);
if (flips > 0) process.exitCode = 1;
