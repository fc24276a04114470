/** The words of a command, quoted as in a shell. */
import { homedir } from "node:os";
import { Failure } from "../../../lib/failure.ts";

/**
 * A word: as it was typed, where it starts, and what it means. `pattern` is the same with a backslash before each
 * character that stands for itself.
 */
export type Word = { typed: string; start: number; text: string; pattern: string };

/** Characters that mean more than themselves in a pattern. */
const MAGIC = /[*?[\]\\]/g;

/**
 * Cuts a line into words. 'In these', "in these" and after \ a character stands for itself (inside "..." the
 * backslash only before " and \). A # at the start of a word begins a comment.
 * @throws Failure EINVAL for a quotation without its end
 */
export function splitWords(line: string): Word[] {
  const { words, open } = scan(line);
  if (open) throw new Failure(line, `the quotation ${open} has no end`, "EINVAL");
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
    if (!open && /[ \t\r\n]/.test(character)) {
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

/**
 * Writes a name so that it is one word, which begins as `typed` does: in the same quotation, which stays open, or
 * with backslashes.
 */
export function quoteLike(typed: string, name: string): string {
  if (typed.startsWith("'")) return `'${name.replaceAll("'", "'\\''")}`;
  if (typed.startsWith('"')) return `"${name.replace(/["\\]/g, "\\$&")}`;
  return name.replace(/[ \t\r\n'"\\*?[\]#]/g, "\\$&");
}

/** The same word with the home folder of this machine for a `~` at its start that is not quoted. */
export function expandHome(word: Word): Word {
  if (!/^~(\/|$)/.test(word.typed)) return word;
  const home = homedir();
  const pattern = home.replace(MAGIC, "\\$&") + word.pattern.slice(1);
  return { ...word, text: home + word.text.slice(1), pattern };
}
