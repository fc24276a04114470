/** The lessons: every script below scripts/ that can be run, with its head. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { glob } from "zx";
import { type Head, parseHead } from "./head.ts";
import { READY, ROOT } from "./program.ts";

/** A lesson, which is a file with a shebang: its path from the top of the project, and its head. */
export type Lesson = { path: string; head: Head };

/**
 * Reads all lessons, in the order of their numbers, those that serve first.
 * @throws Error that names the script whose head cannot be parsed
 */
export function lessons(root = ROOT): Lesson[] {
  const files = glob.globbySync("scripts/**/*.ts", { cwd: root })
    .map((path) => ({ path, source: readFileSync(join(root, path), "utf8") }));
  const found = files.filter(({ source }) => source.startsWith("#!")).map(({ path, source }) => {
    try {
      return { path, head: parseHead(source) };
    } catch (error) {
      throw new Error(`${path}: ${(error as Error).message}`);
    }
  });
  const order = (lesson: Lesson) =>
    `${lesson.head.number.replace(/\d+/g, (n) => n.padStart(3, "0"))} ${
      serves(lesson) ? 1 : 2
    } ${lesson.path}`;
  return found.sort((a, b) => (order(a) < order(b) ? -1 : 1));
}

/** Whether a script prints a ready line in its own head. */
function serves({ path, head }: Lesson): boolean {
  return head.sections.some(({ steps }) =>
    steps.some((step, index) => {
      const next = steps[index + 1];
      return step.kind === "run" && step.command.includes(path) && next?.kind === "see" &&
        READY.test(next.text);
    })
  );
}

/** The scripts that a learner means by `2.1`, `udp/send` or `scripts/udp/send.ts`. */
export function find(name: string): Lesson[] {
  const path = `scripts/${name.replace(/^scripts\//, "").replace(/\.ts$/, "")}.ts`;
  return lessons().filter((lesson) => lesson.head.number === name || lesson.path === path);
}
