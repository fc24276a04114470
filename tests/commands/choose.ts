/** What `L=2.1` or `L=udp/send` means, and what may have been meant. */
import process from "node:process";
import { find, type Lesson, lessons } from "../engine/lessons.ts";
import { checkRuntime } from "./settings.ts";

/**
 * The lessons of a name; of none, all. A name that is no lesson's ends the program, with those that are near it;
 * so does an ON that is no runtime.
 * @param setting where the name stands
 */
export function choose(name = "", setting = "L"): Lesson[] {
  checkRuntime();
  const found = name ? find(name) : lessons();
  if (found.length > 0) return found;
  const near = suggest(name, lessons());
  const hint = near.length > 0
    ? `did you mean ${near.map((one) => `${setting}=${one}`).join(", or ")}? `
    : "";
  console.error(
    `error: ${setting}=${name}: no such lesson (ENOENT)\nhint: ${hint}make lessons lists them all`,
  );
  process.exit(1);
}

/** How many names are suggested. */
const FEW = 3;

/** The names of lessons, at most three, that are near a name that is none. */
export function suggest(name: string, all: Lesson[]): string[] {
  const wanted = name.toLowerCase().replace(/^scripts\/|\.ts$/g, "");
  const names = all.flatMap(({ path, head }) => {
    const short = path.replace(/^scripts\/|\.ts$/g, "");
    const file = short.replace(/.*\//, "");
    return [
      { shown: head.number, texts: [head.number] },
      { shown: short, texts: [short, file, head.title.toLowerCase(), head.chinese.title] },
    ];
  });
  const pick = (
    fits: (text: string) => boolean,
  ) => [...new Set(names.filter(({ texts }) => texts.some(fits)).map(({ shown }) => shown))];
  const same = pick((text) => text === wanted);
  if (same.length > 0) return same.slice(0, FEW);
  const begins = pick((text) =>
    text.startsWith(`${wanted.replace(/\.$/, "")}${/^\d/.test(wanted) ? "." : ""}`)
  );
  if (wanted && begins.length > 0) return begins.slice(0, FEW);
  const distances = names.map(({ shown, texts }) => ({
    shown,
    distance: Math.min(...texts.map((text) => distance(wanted, text))),
  }));
  const nearest = Math.min(...distances.map(({ distance }) => distance));
  if (nearest > Math.max(1, wanted.length / 3)) return [];
  return [...new Set(distances.filter(({ distance }) => distance === nearest).map(({ shown }) => shown))]
    .slice(0, FEW);
}

/** How many letters must be put in, taken out or changed to make one text of the other (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      next.push(Math.min(next[j] + 1, row[j + 1] + 1, row[j] + (letter === b[j] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length];
}
