/** What a program costs the system, its children too: memory and descriptors, from /proc (proc(5)). */
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import process from "node:process";

/** Elsewhere nothing is measured. */
export const CAN_MEASURE = process.platform === "linux";

/** What is read of a process; nothing, of one that has just ended. */
function ifThere<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!/^(ENOENT|ESRCH)$/.test((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}

/** All that a process has started; a thread of it, too, may have just ended. */
const descendants = (pid: number): number[] =>
  (ifThere(() => readdirSync(`/proc/${pid}/task`)) ?? [])
    .flatMap((task) => ifThere(() => readFileSync(`/proc/${pid}/task/${task}/children`, "latin1")) ?? "")
    .flatMap((children) => children.split(" ").filter(Boolean).map(Number))
    .flatMap((child) => [child, ...descendants(child)]);

/** Of the process itself, and of all that it has started. */
const sum = (pid: number, value: (pid: number) => number) =>
  CAN_MEASURE ? descendants(pid).reduce((all, one) => all + (ifThere(() => value(one)) || 0), value(pid)) : 0;

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
  const forget = (one: number) => writeFileSync(`/proc/${one}/clear_refs`, "5");
  if (CAN_MEASURE) { for (const one of [pid, ...descendants(pid)]) ifThere(() => forget(one)); }
  return sum(pid, memory("VmRSS"));
}

/** The most memory that was used since then. */
export const peak = (pid: number) => sum(pid, memory("VmHWM"));
