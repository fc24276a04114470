/**
 * `make bench`: measures the tools of the course beside those that people would use instead. ROW= one row, RUNS= how
 * many runs of each (5), SIZE= bytes of the large files (1G), JSON= a file for the figures. tests/bench/README.md says
 * how to read them.
 */
import { readdirSync, readFileSync } from "node:fs";
import { appendFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { start } from "../engine/program.ts";
import { endInOrder } from "../commands/interrupt.ts";
import { type Figures, machine, measure, readSize, type Row } from "./frame.ts";

/**
 * How long a whole run begins rows, in milliseconds: it ends within 8 minutes. Half of it is for what is not counted:
 * files, warming up, and the first turn of a row that takes longer than its share.
 */
const WHOLE = 450_000;

const FOLDER = import.meta.dirname;
const PARTS = ["frame.ts", "index.ts", "measure.ts"];

/** A benchmark that is a program of its own; it is run when it is asked for by name. */
type Script = { name: string; path: string };

/** All rows, in the order of their files, and the programs. */
async function find(): Promise<{ rows: Row[]; scripts: Script[] }> {
  const rows: Row[] = [];
  const scripts: Script[] = [];
  for (
    const file of readdirSync(FOLDER).filter((name) => /\.ts$/.test(name) && !/\.test\./.test(name)).sort()
  ) {
    const path = join(FOLDER, file);
    if (PARTS.includes(file)) continue;
    if (readFileSync(path, "utf8").includes("export const rows")) rows.push(...(await import(path)).rows);
    else scripts.push({ name: file.replace(/\.ts$/, ""), path });
  }
  return { rows, scripts };
}

function stop(why: string): never {
  console.error(`error: ${why}`);
  process.exit(2);
}

if (process.platform !== "linux") stop("make bench: needs /proc, which only Linux has");
endInOrder();
const { ROW = "", RUNS = "5", SIZE = "1G", JSON: file } = process.env;
const { rows, scripts } = await find();
const runs = Number(RUNS);
if (!Number.isInteger(runs) || runs < 1) stop(`RUNS=${RUNS}: must be a whole number from 1 on`);
const size = readSize(SIZE) || stop(`SIZE=${SIZE}: must be a number of bytes, as 100M or 1G`);
const chosen = rows.filter(({ name }) => !ROW || name === ROW || name.startsWith(`${ROW}-`));
const script = scripts.find(({ name }) => name === ROW);
if (chosen.length === 0 && !script) {
  stop(`ROW=${ROW}: no such row; there are ${[...rows, ...scripts].map(({ name }) => name).join(", ")}`);
}

if (file) { // it is tried now, not after hours; what is in it stays until there is something new
  await appendFile(file, "").catch(({ message }) => stop(`JSON=${file}: ${message}`));
}

console.log(machine());
if (script) {
  const onLine = (_: string, line: string) => console.log(line);
  const env: Record<string, string> = process.env.SIZE ? { SIZE } : {};
  await using program = start([process.execPath, script.path], { env, limit: 1_800_000, onLine });
  process.exit(await program.ended());
}
const begin = performance.now();
const results: { row: string; title: string; figures: Figures[] }[] = [];
for (const [index, row] of chosen.entries()) {
  const left = WHOLE - (performance.now() - begin);
  if (!ROW && left < 0) {
    console.log(`\n${row.name}: left out, as ${WHOLE / 60_000} minutes are over; make bench ROW=${row.name}`);
    continue;
  }
  const budget = ROW ? Infinity : left / 2 / (chosen.length - index);
  const figures = await measure(row, { runs, size, budget });
  results.push({ row: row.name, title: row.title, figures });
  if (file) { // after each row: the next one may fail
    await writeFile(file, `${JSON.stringify({ machine: machine(), size, results }, null, 2)}\n`);
  }
}
if (!ROW && scripts.length > 0) {
  console.log(`\nOnly by name, as they take long: ${scripts.map(({ name }) => `ROW=${name}`).join(", ")}`);
}
process.exit();
