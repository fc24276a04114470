/**
 * `make hostile`: plays every fault of a network and of a peer against every script, and prints a mark for each.
 *
 *     make hostile                all scripts
 *     make hostile L=3.1          those of one lesson, or one script: L=udp/receive
 *     make hostile ON=node        on another runtime
 *
 * A cell passes when the script ends or goes on as its contract says, the next peer is served, errors are told in a
 * line each, it takes no more than 50 MiB and no descriptor more than before, and nothing appears that should not.
 */
import process from "node:process";
import type { Lesson } from "../engine/lessons.ts";
import { ON } from "../engine/program.ts";
import { type Fault, fault, OF_TCP, OF_UDP } from "../hostile/faults.ts";
import { NO_ROW, REASONS } from "../hostile/rows.ts";
import { type Cell, faultsOf, nameOf, playRows, rowsOf } from "../hostile/table.ts";
import { choose } from "./choose.ts";
import { endInOrder } from "./interrupt.ts";

/** How wide the names are. */
const WIDTH = Math.max(...rowsOf(choose()).map((row) => nameOf(row).length));

const line = (name: string, marks: string[]) => `${name.padEnd(WIDTH)}  ${marks.join(" ")}`;

/** A legend of some marks, in columns. */
function legend(marks: Fault[]): void {
  const texts = marks.map((mark) => `${mark} ${fault(mark).name}`);
  const width = Math.max(...texts.map((text) => text.length)) + 3;
  const perLine = Math.floor(80 / width);
  for (let at = 0; at < texts.length; at += perLine) {
    console.log(texts.slice(at, at + perLine).map((text) => text.padEnd(width)).join("").trimEnd());
  }
}

async function main(name: string | undefined): Promise<void> {
  endInOrder();
  const lessons = choose(name);
  const rows = rowsOf(lessons);
  const all: Cell[] = [];
  const notes: string[] = [];
  for (const faults of [OF_TCP, OF_UDP]) {
    const some = rows.filter((row) => faultsOf(row) === faults);
    if (some.length === 0) continue;
    legend(faults);
    console.log(`\n${line(`on ${ON}`, faults)}`);
    await playRows(some, ON, (row, cells) => {
      console.log(
        line(nameOf(row), faults.map((mark) => cells.find(({ fault }) => fault === mark)?.mark ?? " ")),
      );
      all.push(...cells);
      for (const { fault, note } of cells) if (note) notes.push(`${nameOf(row)}, ${fault}: ${note}`);
    });
    console.log("");
  }
  showEmpty(all, lessons, !name);
  for (const note of notes) console.log(`${note}\n`);
  const count = (isIt: (mark: string) => boolean) => all.filter(({ mark }) => isIt(mark)).length;
  const failed = count((mark) => mark === "F");
  console.log(
    `${count((mark) => mark === "+")} passed, ${failed} failed, ${count((mark) => /\d/.test(mark))} skipped`,
  );
  if (failed > 0) process.exitCode = 1;
}

/** Why cells are empty, and why scripts have no row. */
function showEmpty(cells: Cell[], lessons: Lesson[], isAll: boolean): void {
  console.log("+ passed, F failed; a number says why a cell is empty:");
  for (const [reason, why] of Object.entries(REASONS)) {
    if (cells.some(({ mark }) => mark === reason)) console.log(`${reason} ${why}`);
  }
  const names = lessons.map(({ path }) => path.replace(/^scripts\/|\.ts$/g, ""));
  for (const [why, scripts] of Object.entries(NO_ROW)) {
    const some = scripts.filter((script) => isAll || names.includes(script.replace("/bare/", "/")));
    if (some.length === 0) continue;
    console.log(`\nno row: ${why}:`);
    for (const script of some) console.log(`  ${script}`);
  }
  console.log("");
}

if (import.meta.main) await main(process.argv[2]);
