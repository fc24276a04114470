/**
 * `make mistakes`: puts one mistake after another into a copy of the project, and tells whether a test notices it.
 *
 *     make mistakes               all of tests/engine/mistakes.ts; it takes a quarter of an hour
 *     make mistakes M=2.6         those that have this in their words or in the name of their file
 */
import { cpSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import process from "node:process";
import { temporaryFolder } from "../engine/files.ts";
import { type Mistake, MISTAKES } from "../engine/mistakes.ts";
import { ROOT, start } from "../engine/program.ts";
import { endInOrder } from "./interrupt.ts";

/** How long the tests of one mistake may take, in milliseconds. */
const LIMIT = 10 * 60_000;

/** What becomes of a mistake: "gone" where the code is no longer as it was. */
export type Fate = "noticed" | "unnoticed" | "gone";

/** Puts a mistake into a copy of the project, runs its tests, and takes it out again. */
export async function tryOne(mistake: Mistake, copy: string, temporary: string): Promise<Fate> {
  const path = join(copy, mistake.file);
  const source = readFileSync(path, "utf8");
  if (source.split(mistake.was).length !== 2) return "gone";
  writeFileSync(path, source.replace(mistake.was, () => mistake.is));
  try {
    const names = mistake.names ? ["-t", mistake.names] : [];
    const words = ["bun", "test", "--timeout=60000", ...names, ...mistake.tests.map((file) => `./${file}`)];
    const env = { EVERYTHING: "1", CASES: "200", TMPDIR: temporary };
    await using program = start(words, { cwd: copy, env, limit: LIMIT });
    const { code, stdout, stderr } = await program.result();
    if (/matched 0 tests/.test(stdout + stderr)) return "gone";
    return code === 0 ? "unnoticed" : "noticed";
  } finally {
    writeFileSync(path, source);
  }
}

async function main(word: string) {
  endInOrder();
  await using folder = temporaryFolder();
  await using temporary = temporaryFolder();
  const isLeftOut = (path: string) => ["node_modules", ".git"].includes(basename(path));
  cpSync(ROOT, folder.at("copy"), { recursive: true, filter: (path) => !isLeftOut(path) });
  symlinkSync(join(ROOT, "node_modules"), folder.at("copy", "node_modules"));
  const counts = { noticed: 0, unnoticed: 0, gone: 0 };
  for (const mistake of MISTAKES.filter(({ what, file }) => `${what} ${file}`.includes(word))) {
    const fate = await tryOne(mistake, folder.at("copy"), temporary.path);
    counts[fate]++;
    console.log(`${fate.padEnd(10)} ${mistake.what}`);
    if (fate === "gone") console.log(`           ${mistake.file} has no longer: ${mistake.was.trim()}`);
  }
  console.log(`\n${counts.noticed} noticed, ${counts.unnoticed} unnoticed, ${counts.gone} gone`);
  if (counts.unnoticed + counts.gone > 0) process.exitCode = 1;
}

if (import.meta.main) await main(process.argv[2] ?? "");
