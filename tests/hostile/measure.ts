/** What a program costs the system, its children too: memory and descriptors, from /proc (proc(5)). */
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import process from "node:process";

/** Elsewhere nothing is measured. */
export const CAN_MEASURE = process.platform === "linux";

/** A process and all that it started. */
function family(pid: number): number[] {
  const tasks = readdirSync(`/proc/${pid}/task`);
  try {
    const children = tasks.flatMap((task) =>
      readFileSync(`/proc/${pid}/task/${task}/children`, "latin1").split(" ")
    );
    return [pid, ...children.filter(Boolean).flatMap((child) => family(Number(child)))];
  } catch (error) {
    if (!/^(ENOENT|ESRCH)$/.test((error as NodeJS.ErrnoException).code ?? "")) throw error;
    return family(pid); // a thread, or a child, has ended meanwhile; without the process itself, readdirSync throws
  }
}

const sum = (pid: number, value: (pid: number) => number) =>
  CAN_MEASURE ? family(pid).reduce((all, one) => all + value(one), 0) : 0;

const memory = (field: "VmRSS" | "VmHWM") => (pid: number) =>
  Number(RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) /
  1024;

/** How many descriptors are open, beside those of stdin, stdout and stderr, of which Bun opens copies when it writes. */
export const descriptors = (pid: number) =>
  sum(pid, (pid) => {
    const targets = readdirSync(`/proc/${pid}/fd`).map((name) => targetOf(`/proc/${pid}/fd/${name}`));
    const own = [0, 1, 2].map((name) => targetOf(`/proc/${pid}/fd/${name}`));
    return targets.filter((target) => target && !own.includes(target)).length;
  });

/** Where a descriptor leads; nothing, if it has just been closed. */
function targetOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

/** The memory that is used now, in MiB; what was its peak is forgotten. */
export function startOfPeak(pid: number): number {
  if (CAN_MEASURE) { for (const one of family(pid)) writeFileSync(`/proc/${one}/clear_refs`, "5"); }
  return sum(pid, memory("VmRSS"));
}

/** The most memory that was used since then. */
export const peak = (pid: number) => sum(pid, memory("VmHWM"));
