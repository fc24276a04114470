/**
 * `make mistakes`: puts one mistake after another into a copy of the project, and tells whether a test notices it.
 *
 *     make mistakes               all of tests/engine/mistakes.ts; it takes half an hour
 *     make mistakes M=2.6         those that have this in their words or in the name of their file
 *     make mistakes M=forty       those that were chosen to measure the tests; later ones: blind1 and blind2
 *     make mistakes F=lib/ip.ts   what tests/engine/mutants.ts makes of a file: each guard is left out, and so on
 */
import { cpSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, join, relative, resolve } from "node:path";
import process from "node:process";
import { temporaryFolder } from "../engine/files.ts";
import { type Mistake, MISTAKES } from "../engine/mistakes.ts";
import { mutants, testsOf } from "../engine/mutants.ts";
import { Late, ROOT, start } from "../engine/program.ts";
import { endInOrder } from "./interrupt.ts";
import { stop } from "./settings.ts";
import { isThorough } from "./test.ts";

/** How many mistakes are tried at once, each in a copy of its own. */
const AT_ONCE = 2;

/** How long the tests of one mistake may take, in milliseconds. */
const LIMIT = 10 * 60_000;

/** What becomes of a mistake, and what that means. */
export const FATES = {
  noticed: "by what `make test` runs",
  thorough: "noticed, but with EVERYTHING=1 only",
  unnoticed: "no test fails",
  gone: "the code is no longer as it was, or no test has such a name",
  broken: "the tests fail without the mistake, too",
};
export type Fate = keyof typeof FATES;

/** A copy of the project, into which one mistake at a time is put. */
class Copy {
  readonly #path: string;
  readonly #temporary: string;
  /** The runs that pass without a mistake. */
  readonly #passing: Set<string>;

  constructor(from: string, path: string, temporary: string, passing: Set<string>) {
    const isLeftOut = (path: string) => ["node_modules", ".git"].includes(basename(path));
    cpSync(from, path, { recursive: true, filter: (path) => !isLeftOut(path) });
    symlinkSync(join(ROOT, "node_modules"), join(path, "node_modules"));
    [this.#path, this.#temporary, this.#passing] = [path, temporary, passing];
  }

  /** Puts a mistake in, runs its tests, and takes it out again. @returns also the test that failed */
  async try(mistake: Mistake): Promise<{ fate: Fate; by?: string }> {
    const path = join(this.#path, mistake.file);
    const source = readFileSync(path, "utf8");
    if (source.split(mistake.was).length !== 2) return { fate: "gone" };
    const usual = mistake.tests.filter((file) => !isThorough(readFileSync(join(this.#path, file), "utf8")));
    for (
      const [fate, files, everything] of [["noticed", usual, ""], ["thorough", mistake.tests, "1"]] as const
    ) {
      writeFileSync(path, source.replace(mistake.was, () => mistake.is));
      const outcome = await this.#run(files, everything, mistake.names).finally(() =>
        writeFileSync(path, source)
      );
      if (outcome === "none" && everything) return { fate: "gone" };
      if (outcome === "none" || outcome === "passed") continue;
      const run = JSON.stringify([files, everything, mistake.names]);
      if (!this.#passing.has(run) && await this.#run(files, everything, mistake.names) !== "passed") {
        return { fate: "broken" };
      }
      this.#passing.add(run);
      return { fate, by: outcome.failed };
    }
    return { fate: "unnoticed" };
  }

  /** Runs test files: "none" where no test has such a name. */
  async #run(files: string[], everything: string, name?: string) {
    if (files.length === 0) return "none";
    const names = name ? ["-t", name] : [];
    const words = ["bun", "test", "--timeout=60000", "--bail", ...names, ...files.map((file) => `./${file}`)];
    const env = { EVERYTHING: everything, CASES: "200", TMPDIR: this.#temporary };
    await using program = start(words, { cwd: this.#path, env, limit: LIMIT });
    const ended = await program.result().catch((error) => {
      if (!(error instanceof Late)) throw error;
    });
    if (!ended) return { failed: "they do not end" };
    const { code, stdout, stderr } = ended;
    if (/matched 0 tests/.test(stdout + stderr)) return "none";
    if (code === 0) return "passed";
    return {
      failed: /^\(fail\) (.*?)(?: \[[\d.]+ms\])?$/m.exec(stdout + stderr)?.[1] ?? `exit code ${code}`,
    };
  }
}

/** Tries mistakes in copies of a project, and says of each what becomes of it. */
export async function tryAll(mistakes: Mistake[], from: string, print: (line: string) => void) {
  await using folder = temporaryFolder();
  await using temporary = temporaryFolder();
  const counts = { noticed: 0, thorough: 0, unnoticed: 0, gone: 0, broken: 0 };
  const [todo, passing] = [[...mistakes], new Set<string>()];
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, todo.length) }, async (_, number) => {
    const copy = new Copy(from, folder.at(`${number}`), temporary.path, passing);
    for (let mistake = todo.shift(); mistake; mistake = todo.shift()) {
      const { fate, by } = await copy.try(mistake);
      const { what, file, was, names = "all tests" } = mistake;
      counts[fate]++;
      const more = fate === "gone" ? `${file}, ${names}: ${was.trim()}` : by && `by: ${by}`;
      print(`${fate.padEnd(10)} ${what}${more ? `\n           ${more}` : ""}`); // in one go: two may come together
    }
  }));
  return counts;
}

/** The mistakes that M= and F= choose; a name that fits none ends the program. */
export function chosen(word: string, name: string): Mistake[] {
  if (!name) {
    const found = MISTAKES.filter(({ what, file, forty, blind }) =>
      `${what} ${file} ${forty ? "forty" : ""} ${blind ? `blind${blind}` : ""}`.includes(word)
    );
    return found.length > 0
      ? found
      : stop(`M=${word}: no mistake has this in its words (ENOENT)`, "make mistakes M=2.6, or M=lib/ip.ts");
  }
  const path = resolve(ROOT, name);
  const file = relative(ROOT, path).replaceAll("\\", "/");
  if (file.startsWith("../") || !statSync(path, { throwIfNoEntry: false })?.isFile()) {
    stop(`F=${name}: no such file of the project (ENOENT)`, "make mistakes F=lib/ip.ts");
  }
  const found = mutants(file, readFileSync(path, "utf8"), testsOf(file));
  return found.length > 0
    ? found
    : stop(`F=${name}: nothing in it can be left out (EINVAL)`, "make mistakes F=lib/ip.ts");
}

async function main(word: string, file: string) {
  const mistakes = chosen(word, file);
  endInOrder();
  const counts = await tryAll(mistakes, ROOT, (line) => console.log(line));
  console.log();
  for (const [fate, meaning] of Object.entries(FATES)) {
    console.log(`${`${counts[fate as Fate]}`.padStart(4)} ${fate.padEnd(10)} ${meaning}`);
  }
  if (counts.unnoticed + counts.gone + counts.broken > 0) process.exitCode = 1;
}

if (import.meta.main) await main(process.argv[2] ?? "", process.argv[3] ?? "");
