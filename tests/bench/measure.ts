/** What the benchmarks share: time and peak memory of a program, files, and the median of several runs. */
import { readFileSync } from "node:fs";
import { open } from "node:fs/promises";
import type { Program } from "../engine/program.ts";

/** Seconds, and the peak memory in MB (VmHWM, man 5 proc) of a program that is waited for, with those it started. */
export type Cost = { seconds: number; peak: number };

/** Waits for the end of a program, and looks at its memory every 10 ms. @throws Error when it fails */
export async function cost(program: Program): Promise<Cost> {
  const begin = performance.now();
  let peak = 0;
  const look = setInterval(() => (peak = Math.max(peak, highWater(program.pid))), 10);
  const { code, stderr } = await program.result();
  clearInterval(look);
  if (code !== 0) throw new Error(`exit code ${code}: ${stderr}`);
  return { seconds: (performance.now() - begin) / 1000, peak };
}

/** The peak memory of a running process and of its children in MB; 0 when it has ended. */
export function highWater(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const own = Math.round(Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024 / 1e6);
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean);
    return children.reduce((sum, child) => sum + highWater(Number(child)), own);
  } catch {
    return 0;
  }
}

/** Writes a file of random bytes. */
export async function randomFile(path: string, size: number): Promise<void> {
  await using file = await open(path, "wx");
  const piece = new Uint8Array(65_536);
  for (let left = size; left > 0; left -= piece.length) {
    await file.appendFile(crypto.getRandomValues(piece).subarray(0, left));
  }
}

/** A large file, and a little one with which programs warm up. */
export const FILES: [large: string, little: string] = ["file", "little"];

/** Makes both. @param at the path of each */
export async function makeFiles(at: (name: string) => string, size: number): Promise<void> {
  for (const [index, name] of FILES.entries()) await randomFile(at(name), index === 0 ? size : 1_000_000);
}
