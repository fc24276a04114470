/** The lessons: every script below scripts/ that can be run, with its head. */
import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { type BareHead, type Head, parseBareHead, parseHead } from "./head.ts";
import { READY, ROOT } from "./program.ts";

/** A lesson, which is a file with a shebang: its path from the top of the project, and its head. */
export type Lesson = { path: string; head: Head };

/** A bare program, in the folder bare/ beside its lesson. */
export type BareProgram = { path: string; head: BareHead };

/** The path of the lesson that a bare program stands beside. */
export const lessonOf = ({ path }: BareProgram): string => path.replace("/bare/", "/");

/**
 * Reads all lessons, in the order of their numbers, those that serve first.
 * @throws Error that names the script whose head cannot be parsed
 */
export function lessons(root = ROOT): Lesson[] {
  const found = read(root, (path) => !path.includes("/bare/"), parseHead);
  const order = (lesson: Lesson) =>
    `${lesson.head.number.replace(/\d+/g, (n) => n.padStart(3, "0"))} ${
      serves(lesson) ? 1 : 2
    } ${lesson.path}`;
  return found.sort((a, b) => (order(a) < order(b) ? -1 : 1));
}

/** Reads the bare programs. @throws Error that names the one whose head cannot be parsed */
export function barePrograms(root = ROOT): BareProgram[] {
  return read(root, (path) => path.includes("/bare/"), parseBareHead);
}

/** Reads the scripts, which are the files with a shebang. */
function read<H>(
  root: string,
  isWanted: (path: string) => boolean,
  parse: (source: string, name: string) => H,
) {
  return filesBelow("scripts/**/*.ts", root).filter(isWanted).flatMap((path) => {
    const source = readFileSync(join(root, path), "utf8");
    if (!source.startsWith("#!")) return [];
    try {
      return [{ path, head: parse(source, basename(path)) }];
    } catch (error) {
      throw new Error(`${path}: ${(error as Error).message}`);
    }
  });
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

/** The files that fit a pattern, from the top of the project, sorted. */
export function filesBelow(pattern: string, root = ROOT): string[] {
  return globSync(pattern, { cwd: root }).map((path) => path.replaceAll("\\", "/")).sort();
}
