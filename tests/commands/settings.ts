/** What a person sets before or behind a command (ON=node, RUNS=100): what fits nothing ends it before it begins. */
import { homedir } from "node:os";
import process from "node:process";
import { ON, RUNTIMES } from "../engine/program.ts";

/** Says in one line what is wrong, and in another, where that is known, what would be right. */
export function stop(why: string, hint?: string): never {
  console.error(`error: ${why}${hint ? `\nhint: ${hint}` : ""}`);
  process.exit(2);
}

/** A path where `~` may stand for home: not every shell makes it so behind `=` (DIR=~/anna). */
export const atHome = (path: string): string => path.replace(/^~(?=\/|$)/, () => homedir());

/** ON is a runtime. */
export function checkRuntime(): void {
  if (Object.hasOwn(RUNTIMES, ON)) return;
  stop(`ON=${ON}: no such runtime (ENOENT)`, Object.keys(RUNTIMES).join(", "));
}

/** A whole number from 1 on: RUNS=100. @param usual what holds where nothing is set */
export const count = (name: string, usual: number): number =>
  number(name, usual, /^0*[1-9]\d*$/, `a whole number from 1 on: ${name}=${usual}`);

/** A number of minutes, by default without end: MINUTES=30, MINUTES=0.5. */
export const minutes = (name: string): number =>
  number(name, Infinity, /^\d+(\.\d+)?$/, `a number of minutes: ${name}=30`);

function number(name: string, usual: number, fits: RegExp, hint: string): number {
  const text = process.env[name];
  if (!text) return usual;
  return fits.test(text) ? Number(text) : stop(`${name}=${text}: no such number (EINVAL)`, `it is ${hint}`);
}
