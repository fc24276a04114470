/**
 * Whether programs still do anything, from /proc (proc(5)). A program that waits for what never comes is found at
 * once, and one that a busy machine makes wait is not taken for it: it can run, and has only no turn.
 */
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";

/** How often we look, in milliseconds. */
const PACE = 50;

/** The processor time of a process, its threads and its children, in ticks; undefined while one of them can run. */
function ticksOf(pid: number): number | undefined {
  let ticks = 0;
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const read = (name: string) => readFileSync(`/proc/${pid}/task/${thread}/${name}`, "utf8");
      // PID (NAME) STATE, and 11 fields further the time in the program and in the system; the name may hold anything.
      const fields = read("stat").replace(/^.*\) /s, "").split(" ");
      if (/[RD]/.test(fields[0])) return undefined;
      ticks += Number(fields[11]) + Number(fields[12]);
      for (const child of read("children").split(" ").filter(Boolean)) {
        const own = ticksOf(Number(child));
        if (own === undefined) return undefined;
        ticks += own;
      }
    }
  } catch {
    return undefined; // it has just ended
  }
  return ticks;
}

/**
 * Resolves when all of some programs have slept for some time, and nothing was heard of them; never where there is
 * no /proc.
 * @param heard changes when something was heard
 * @param isOver true when nobody wants to know any more
 */
export async function whenAsleep(
  pids: () => number[],
  heard: () => number,
  patience: number,
  isOver: () => boolean,
): Promise<void> {
  if (process.platform !== "linux") return await new Promise(() => {});
  let before = "";
  for (let looks = 0; looks < patience / PACE && !isOver(); looks++) {
    await new Promise((resolve) => setTimeout(resolve, PACE));
    const all = pids().map(ticksOf);
    const now = `${heard()} ${all}`;
    if (now !== before || all.length === 0 || all.includes(undefined)) looks = -1;
    before = now;
  }
}
