/** Networks of their own: a test makes one, and nobody else is in it. Linux, no root needed. */
import { spawnSync } from "node:child_process";
import { play } from "./engine.ts";
import type { Lesson } from "./lessons.ts";
import { type Program, type Runtime, start } from "./program.ts";

/** Whether this machine lets us make one. A test that needs it says `(needs unshare and ip)`. */
export const CAN_BE_ALONE = spawnSync("unshare", ["-Urnm", "ip", "link"]).status === 0;

/** The words that run a shell script in a network that has a loopback card, up, and nothing else. */
export function aloneWords(shell: string, words: string[]): string[] {
  const prepare = "set -e; ip link set lo up; mount -t sysfs sysfs /sys";
  return ["unshare", "-Urnm", "sh", "-c", `${prepare}\n${shell}`, "sh", ...words];
}

/** How long a line may take on a machine with much else to do, where a server of three processes starts, in milliseconds. */
const LIMIT = 30_000;

/** Starts such a script. */
export function startAlone(shell: string, words: string[] = []): Program {
  return start(aloneWords(shell, words), { limit: LIMIT });
}

/**
 * Makes such a network for programs that are started from outside. It goes with its last program.
 * @returns `inside`: the words that run a command in it
 * @throws Error with what has gone wrong
 */
export async function makeLoopback(): Promise<AsyncDisposable & { inside: string[] }> {
  const keeper = startAlone("echo here; exec cat"); // ends with its input, so also when we are killed
  if (await keeper.next() !== "here") throw new Error((await keeper.result()).stderr);
  return {
    inside: ["nsenter", "-t", `${keeper.pid}`, "-U", "--preserve-credentials", "-m", "-n", "--wd=."],
    [Symbol.asyncDispose]: () => keeper[Symbol.asyncDispose](),
  };
}

/** What runs the programs that serve, and what runs the others. */
export type Cell = { server?: Runtime; client?: Runtime };

/** The lessons that show all of a machine's network, or need rights in it: their heads are true in one of their own. */
export const ALONE = [
  "scripts/network/connections.ts",
  "scripts/network/interfaces.ts",
  "scripts/network/port.ts", // a port that is free for TCP here must be free for UDP, too
  "scripts/raw/ping.ts",
  "scripts/raw/wire.ts",
];

/** Whether the head of a lesson can be played here. */
export const canPlay = ({ path }: Pick<Lesson, "path">) => CAN_BE_ALONE || !ALONE.includes(path);

/**
 * Plays the head of a lesson; one that shows all of the network, in a network of its own.
 * @throws Mismatch
 */
export async function playLesson({ path, head }: Lesson, cell: Cell = {}, folder?: string): Promise<void> {
  const options = { ...cell, folder, limit: LIMIT };
  if (!ALONE.includes(path)) return await play(head, options);
  await using network = await makeLoopback();
  await play(head, { ...options, asWritten: true, wrap: (words) => [...network.inside, ...words] });
}
