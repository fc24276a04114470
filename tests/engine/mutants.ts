/**
 * Mistakes that nobody has thought of: of a source, each guard, each statement and each change of a variable is left
 * out, one at a time, and each limit is a thousand times as high, or a hundredth. Some of them change nothing that one
 * can see: a person must look at what no test notices.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isThorough, workFor } from "../commands/test.ts";
import { closure } from "./closure.ts";
import { filesBelow, lessons } from "./lessons.ts";
import type { Mistake } from "./mistakes.ts";
import { ROOT } from "./program.ts";

/** What is made of a line that fits, as `deno fmt` writes it: another line, or none. */
const CHANGES: [kind: string, fits: RegExp, is: string][] = [
  ["never", /^(\s+(?:\} else )?if \().*(\) \{)$/, "$1false$2"],
  ["left out", /^\s+(?:else )?if \(.*\).*;(?: \/\/.*)?$/, ""],
  ["left out", /^\s+(?:await |void )?(?!super\b|return\b|throw\b)[\w.#?!]+\(.*\);(?: \/\/.*)?$/, ""],
  ["left out", /^\s+[\w.#]+ (?:[+*-]?|\?\?|&&)= .*;(?: \/\/.*)?$|^\s+[\w.#]+(?:\+\+|--);/, ""],
  ["a thousand times", /^((?:export )?const [A-Z_]+ = )([\d_*. ]+)(;.*)$/, "$1($2) * 1000$3"],
  ["a hundredth", /^((?:export )?const [A-Z_]+ = )([\d_*. ]+)(;.*)$/, "$1Math.ceil(($2) / 100)$3"],
];

/** The mistakes of one file. @param tests the test files that should notice */
export function mutants(file: string, source: string, tests: string[]): Mistake[] {
  const lines = source.split("\n");
  const isComment = (line: string) => /^\s*(?:\/\*|\*|\/\/)/.test(line);
  return lines.flatMap((line, index) => {
    if (isComment(line)) return [];
    return CHANGES.filter(([, fits]) => fits.test(line)).map(([kind, fits, is]): Mistake => {
      let first = index; // with lines before it, until they stand in the file once
      const was = () => lines.slice(first, index + 1).join("\n");
      while (first > 0 && source.split(was()).length !== 2) first--;
      const changed = is && line.replace(fits, is);
      return {
        what: `${file}:${index + 1}: ${kind}: ${line.trim()}`,
        ...{ file, was: was(), is: [...lines.slice(first, index), changed].join("\n"), tests },
      };
    });
  });
}

/** The test files that import a file, and those of the lessons that use it; without the thorough ones. */
export function testsOf(file: string): string[] {
  const all = filesBelow("tests/**/*.test.ts")
    .map((path) => ({ file: path, source: readFileSync(join(ROOT, path), "utf8") }))
    .filter(({ source }) => !isThorough(source));
  const users = file.startsWith("lib/")
    ? []
    : lessons().filter(({ path }) => closure(path).modules.includes(file));
  const imports = all.filter(({ source }) => source.includes(`/${file}"`));
  const ofLessons = workFor(users, all).filter(({ names }) => !names);
  return [...new Set([...imports, ...ofLessons].map(({ file }) => file))];
}
