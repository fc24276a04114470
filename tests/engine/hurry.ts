/**
 * Loaded before a script, it lets the script's clocks and timers run many times as fast: a test of what happens after
 * a minute of silence need not wait for a minute. `node:timers/promises` keeps its pace on Bun and Deno, whose modules
 * cannot be changed from outside. See `hurried` in program.ts.
 */
import { syncBuiltinESMExports } from "node:module";
import process from "node:process";
import promises from "node:timers/promises";

const TIMES = Number(process.env.HURRY);

const { setTimeout, setInterval } = globalThis;
const now = performance.now.bind(performance);
const sleep = promises.setTimeout;
type Work = (...values: unknown[]) => void;

Object.assign(globalThis, {
  setTimeout: (work: Work, ms = 0, ...values: unknown[]) => setTimeout(work, ms / TIMES, ...values),
  setInterval: (work: Work, ms = 0, ...values: unknown[]) => setInterval(work, ms / TIMES, ...values),
});
performance.now = () => now() * TIMES;
Object.assign(promises, {
  setTimeout: (ms = 0, ...more: [value?: unknown, options?: object]) => sleep(ms / TIMES, ...more),
});
syncBuiltinESMExports();
