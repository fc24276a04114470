/**
 * `make flaky`: runs the tests again and again, each time once while the machine is idle, and once with all its cores
 * kept busy, and names each test that has failed: a test that fails once in a hundred runs is a defect.
 *
 *     make flaky RUNS=100         `make test`, a hundred times of each; with EVERYTHING=1 the thorough tests, too
 *     make flaky RUNS=100 FROM=40 MINUTES=90    goes on with run 40, and begins none after 90 minutes
 *     make flaky RUNS=20 L=4.3    what belongs to one lesson
 *     make flaky RUNS=20 L=tests/udp/chat.test.ts
 *
 * What a failed file has printed is kept in a folder of its own. Ctrl-C ends it early, and prints what is known.
 */
import { mkdtempSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { basename, join } from "node:path";
import process from "node:process";
import { start } from "../engine/program.ts";
import { endInOrder } from "./interrupt.ts";
import { count, minutes } from "./settings.ts";
import { type Outcome, run, type Work, workOf } from "./test.ts";

/** Something for a core to do. It ends when we do, even if we are killed. */
const BUSY = ["bun", "--no-orphans", "-e", "for (;;) ;"];

const LOADS = ["idle", "busy"] as const;

type Load = typeof LOADS[number];

/** What has failed in a file, and the seed with which fast-check tries the same inputs again. */
export function failures({ text }: Pick<Outcome, "text">): { name: string; seed?: string }[] {
  const found: { name: string; seed?: string }[] = [];
  let seed: string | undefined;
  for (const line of text.split("\n")) {
    seed = /\bseed: (-?\d+)/.exec(line)?.[1] ?? seed;
    const name = /^\(fail\) (.*?)(?: \[[\d.]+m?s\])?$/.exec(line)?.[1] ?? /^(left behind):$/.exec(line)?.[1];
    if (!name) continue;
    found.push({ name, seed });
    seed = undefined;
  }
  return found;
}

/** What is known by now. */
class Tally {
  readonly #runs = { idle: 0, busy: 0 };
  readonly #failed = new Map<string, Record<Load, number>>();

  ran(load: Load): void {
    this.#runs[load]++;
  }

  failed(load: Load, name: string): void {
    const counts = this.#failed.get(name) ?? { idle: 0, busy: 0 };
    counts[load]++;
    this.#failed.set(name, counts);
  }

  get isGood(): boolean {
    return this.#failed.size === 0;
  }

  /** The runs, and what has failed how often, the worst first. */
  get table(): string {
    const row = (idle: number | Load, busy: number | Load, what = "") =>
      `${`${idle}`.padStart(6)} ${`${busy}`.padStart(6)}  ${what}`.trimEnd();
    const sum = ({ idle, busy }: Record<Load, number>) => idle + busy;
    const failed = [...this.#failed].sort(([, a], [, b]) => sum(b) - sum(a));
    return [
      row("idle", "busy"),
      row(this.#runs.idle, this.#runs.busy, "runs"),
      ...failed.map(([name, { idle, busy }]) => row(idle, busy, `failed: ${name}`)),
    ].join("\n");
  }
}

async function main(name: string): Promise<void> {
  const runs = count("RUNS", 100);
  let number = count("FROM", 1);
  const end = performance.now() + minutes("MINUTES") * 60_000;
  const work = workOf(name);
  const tally = new Tally();
  /** How many tests of a file passed in the first run: fewer later on were not run at all. */
  const first = new Map<string, number>();
  const report = () => {
    console.log(`\n${tally.table}`);
    if (number <= runs) console.log(`go on with FROM=${number}`);
  };
  endInOrder(report);
  let folder: string | undefined;

  async function once(load: Load): Promise<void> {
    const began = Date.now();
    const sum = { passed: 0, failed: 0 };
    const told = ({ file }: Work, outcome: Outcome) => {
      sum.passed += outcome.passed;
      sum.failed += outcome.failed;
      if (outcome.failed === 0) {
        const passed = first.get(file) ?? outcome.passed;
        first.set(file, passed);
        if (outcome.passed === passed) return;
        tally.failed(load, `${file}: ran other tests than before`);
        console.log(`FAIL ${file}: ${outcome.passed} passed, and ${passed} in the first run`);
        return;
      }
      folder ??= mkdtempSync(join(tmpdir(), "flaky-"));
      const kept = join(folder, `${number}-${load}-${basename(file, ".test.ts")}.txt`);
      writeFileSync(kept, `${outcome.text}\n`, { flag: "a" }); // two files may have one name
      for (const { name, seed } of failures(outcome)) {
        tally.failed(load, `${file}: ${name}`);
        console.log(`FAIL ${file}: ${name}${seed ? `, SEED=${seed}` : ""}\n     see ${kept}`);
      }
    };
    await using _ = load === "busy" ? keepBusy() : undefined;
    await run(work, told);
    tally.ran(load);
    const seconds = ((Date.now() - began) / 1000).toFixed(0);
    console.log(
      `run ${number} of ${runs}, ${load}: ${sum.passed} passed, ${sum.failed} failed in ${seconds} s`,
    );
  }

  for (; number <= runs && performance.now() < end; number++) {
    for (const load of LOADS) await once(load);
  }
  report();
  if (!tally.isGood) process.exitCode = 1;
}

/** Keeps all cores busy until it is disposed of. */
function keepBusy(): AsyncDisposable {
  const stack = new AsyncDisposableStack();
  for (let core = 0; core < availableParallelism(); core++) stack.use(start(BUSY));
  return stack;
}

if (import.meta.main) await main(process.argv[2] ?? "");
