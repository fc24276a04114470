/** The limit of open files, of which every socket is one (man 2 getrlimit, RLIMIT_NOFILE). */
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";

/** Where the limit is not told, it is taken to be the lowest of the usual systems, that of macOS. */
const LOWEST = 256;

/**
 * How many files this program may open, and how many it has open now. Windows has no such limit.
 */
export function openFiles(): { limit: number; open: number } {
  if (process.platform === "win32") return { limit: Infinity, open: 0 };
  return { limit: Number(told() ?? LOWEST) || Infinity, open: readdirSync("/dev/fd").length };
}

/** `unlimited` or a number: from the system or, on macOS, from the runtime, if it tells. */
function told(): string | number | undefined {
  try {
    return /^Max open files +(\w+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  } catch {
    const report = process.report?.getReport() as { userLimits?: { open_files?: { soft: string | number } } };
    return report?.userLimits?.open_files?.soft;
  }
}
