/**
 * Patterns: `*` stands for any characters, `?` for one, `[a-z]` and `[!a-z]` for one of a set. A match takes at most
 * as many steps as the pattern and the name have characters, multiplied; a regular expression with several `.*`
 * would take many more, and the names come from a server.
 */
import { setImmediate } from "node:timers/promises";
import { Failure } from "../../../lib/failure.ts";

/** How many paths a pattern may mean: no list goes on for ever. */
const MOST_PATHS = 200_000;

/** Any number of characters, or one that passes a test. */
type Step = "any" | ((character: string) => boolean);

/** Whether a name is as a pattern says. @throws Failure EINVAL for a range such as [z-a] */
export function matches(pattern: string, name: string): boolean {
  return fits(read(pattern), Array.from(name));
}

/** Whether the steps, one after another, take all the characters. */
function fits(steps: Step[], characters: string[]): boolean {
  let step = 0;
  let at = 0;
  let star = -1; // the last "any" so far, and how far its characters reach
  let reach = 0;
  while (at < characters.length || step < steps.length) {
    const next = steps[step];
    if (next === "any") {
      star = step++;
      reach = at;
    } else if (next !== undefined && at < characters.length && next(characters[at])) {
      step++;
      at++;
    } else if (star >= 0 && reach < characters.length) { // it takes one character more
      step = star + 1;
      at = ++reach;
    } else return false;
  }
  return true;
}

function read(pattern: string): Step[] {
  const parts = pattern.matchAll(/\\([^])|\[(!?)(\]?[^\]]*)\]|\*+|\?|[^]/gu);
  return Array.from(parts, ([found, escaped, not, set]): Step => {
    if (set) {
      const isIn = inSet(set, pattern);
      return (character) => isIn(character) === !not;
    }
    if (found.startsWith("*")) return "any";
    if (found === "?") return () => true;
    return (character) => character === (escaped ?? found);
  });
}

/** `a-z_` */
function inSet(set: string, pattern: string): (character: string) => boolean {
  const ranges = Array.from(set.matchAll(/([^])-([^])|([^])/gu), ([, first, last, one]) => {
    const range = [first ?? one, last ?? one].map((character) => character.codePointAt(0) ?? 0);
    if (range[0] > range[1]) throw new Failure(pattern, "a range that goes backwards", "EINVAL");
    return range;
  });
  return (character) => {
    const point = character.codePointAt(0) ?? 0;
    return ranges.some(([first, last]) => first <= point && point <= last);
  };
}

/**
 * The paths that a pattern means, in order. No part means names with a dot at their start unless it has one too. A
 * pattern without `*`, `?` and `[]` means the path that it is, whether or not it exists.
 * @param pattern with a backslash before each character that stands for itself
 * @param list gives the names in a folder; none for what is not a folder
 * @throws Failure EINVAL for a range such as [z-a], EPROTO for more than 200,000 paths
 */
export async function expand(
  pattern: string,
  list: (folder: string) => Promise<string[]>,
): Promise<string[]> {
  let paths = [""];
  let isPattern = false;
  for (const [index, part] of pattern.split("/").entries()) {
    isPattern ||= /(?<!\\)(\\\\)*([*?]|\[.+\])/.test(part);
    const steps = read(part);
    const next: string[] = [];
    for (const path of paths) {
      const before = index === 0 ? "" : `${path}/`;
      if (!isPattern || part === "") next.push(before + part.replace(/\\(.)/gs, "$1"));
      else {
        const found: string[] = [];
        for (const [count, name] of (await list(before || ".")).entries()) {
          if (part.startsWith(".") === name.startsWith(".") && fits(steps, Array.from(name))) {
            found.push(name);
          }
          if (count % 1000 === 999) await setImmediate(); // Ctrl-C is heard meanwhile
        }
        for (const name of found.sort()) next.push(before + name);
      }
      if (next.length > MOST_PATHS) throw new Failure(pattern, "means names without end", "EPROTO");
    }
    paths = next;
  }
  return paths;
}
