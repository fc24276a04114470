/** `make lessons` lists the lessons; `make lesson L=2.1` plays one live, its terminals side by side. */
import process from "node:process";
import { $, chalk } from "zx";
import { ALONE } from "../engine/alone.ts";
import { columns } from "../engine/columns.ts";
import { Mismatch, play } from "../engine/engine.ts";
import { lessons } from "../engine/lessons.ts";
import { choose } from "./choose.ts";

const name = process.argv[2];
if (!name) {
  for (const { path, head } of lessons()) {
    console.log(`${head.number.padEnd(5)} ${path.replace(/^scripts\/|\.ts$/g, "").padEnd(28)} ${head.title}`);
  }
  process.exit(0);
}

for (const { path, head } of choose(name)) {
  console.log(`\n${chalk.bold(`${head.number} ${head.title}`)}: ${head.idea}\n${chalk.dim(path)}\n`);
  if (ALONE.includes(path)) { // what it shows is this machine's own: nothing to compare it with
    await $({ stdio: "inherit" })`bun ${path}`;
    continue;
  }
  const last = Math.max(...head.sections.map(({ terminal }) => terminal));
  const titles = Array.from({ length: last }, (_, index) => `terminal ${index + 1}`);
  try {
    await play(head, { pace: 400, onEvent: columns(titles) });
  } catch (error) {
    if (!(error instanceof Mismatch)) throw error;
    console.error(`\n${error.message}`);
    process.exitCode = 1;
  }
}
