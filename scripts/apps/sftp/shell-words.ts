/** The words of a command, quoted as in a shell, and the names that a pattern means. */
import { Failure } from "../../../lib/failure.ts";

/**
 * A word: as it was typed, from which place on, and what it means. `pattern` is the same with a backslash
 * before each character that stands for itself.
 */
export type Word = { typed: string; start: number; text: string; pattern: string };

/** Characters that mean more than themselves in a pattern. */
const MAGIC = /[*?[\]\\]/g;

/**
 * Cuts a line into words. 'In these', "in these" and after \ a character stands for itself (inside "..." the
 * backslash only before " and \). A # at the start of a word begins a comment.
 * @throws Failure EINVAL for a quotation mark without its partner
 */
export function splitWords(line: string): Word[] {
  const { words, open } = scan(line);
  if (open) throw new Failure(line, `${open} without its partner`, "EINVAL");
  return words;
}

/** The words of a line that is still being typed: the last one may be empty, and its quotation open. */
export function unfinishedWords(line: string): Word[] {
  const { words } = scan(line);
  const last = words.at(-1);
  if (last && last.start + last.typed.length === line.length) return words;
  return [...words, { typed: "", start: line.length, text: "", pattern: "" }];
}

function scan(line: string): { words: Word[]; open: string } {
  const words: Word[] = [];
  let word: Word | undefined;
  let open = "";
  let at = 0;
  for (; at < line.length; at++) {
    const character = line[at];
    if (!open && /\s/.test(character)) {
      word = undefined;
      continue;
    }
    if (!word && character === "#") break;
    if (!word) words.push(word = { typed: "", start: at, text: "", pattern: "" });
    const isEscape = character === "\\" && open !== "'" && at + 1 < line.length &&
      (open === "" || '"\\'.includes(line[at + 1]));
    let literal = "";
    if (isEscape) literal = line[++at];
    else if (!open && (character === "'" || character === '"')) open = character;
    else if (character === open) open = "";
    else if (open || character === "\\") literal = character;
    else {
      word.text += character;
      word.pattern += character;
    }
    word.text += literal;
    word.pattern += literal.replace(MAGIC, "\\$&");
    word.typed = line.slice(word.start, at + 1);
  }
  return { words, open };
}

/** Writes a name so that it is one word, which begins as `typed` does: in the same quotation, or with backslashes. */
export function quoteLike(typed: string, name: string): string {
  if (typed.startsWith("'")) return `'${name}`;
  if (typed.startsWith('"')) return `"${name.replace(/["\\]/g, "\\$&")}`;
  return name.replace(/[\s'"\\*?[\]#]/g, "\\$&");
}

/**
 * The paths that a pattern means, in order: `*`, `?`, `[a-z]` and `[!a-z]` stand for characters of one name,
 * except for a dot at its start. A pattern without them means the path that it is, whether or not it exists.
 * @param list gives the names in a folder; none for what is no folder
 */
export async function expand(
  pattern: string,
  list: (folder: string) => Promise<string[]>,
): Promise<string[]> {
  let paths = [""];
  let isPattern = false;
  for (const [index, part] of pattern.split("/").entries()) {
    isPattern ||= /(?<!\\)(\\\\)*([*?]|\[.+\])/.test(part);
    const next: string[] = [];
    for (const path of paths) {
      const before = index === 0 ? "" : `${path}/`;
      if (!isPattern || part === "") next.push(before + part.replace(/\\(.)/gs, "$1"));
      else {
        const shape = nameShape(part);
        const names = (await list(before || ".")).filter((name) => shape.test(name)).sort();
        for (const name of names) next.push(before + name);
      }
    }
    paths = next;
  }
  return paths;
}

/** The names that one part of a pattern means. @throws Failure EINVAL for a range such as [z-a] */
function nameShape(part: string): RegExp {
  const source = part.replace(
    /\\([^])|\[(!?)(\]?[^\]]*)\]|\*+|\?|[^]/gu,
    (found, escaped?: string, not?: string, set?: string) => {
      if (escaped !== undefined) return RegExp.escape(escaped);
      if (set) return `[${not ? "^" : ""}${set.replace(/[[\]\\^]/g, "\\$&")}]`;
      return found.startsWith("*") ? ".*" : found === "?" ? "." : RegExp.escape(found);
    },
  );
  try {
    return RegExp(`^${part.startsWith(".") ? "" : "(?!\\.)"}${source}$`, "su");
  } catch {
    throw new Failure(part, "no pattern", "EINVAL");
  }
}
