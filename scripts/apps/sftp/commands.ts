/** The commands of a shell: one table, from which come the check of their words, Tab and help. */
import { Failure } from "../../../lib/failure.ts";
import { visible } from "../../../lib/program.ts";
import { expandHome, quoteLike, splitWords, unfinishedWords, type Word } from "./shell-words.ts";
import type { Side } from "./side.ts";

/** A command: its usage, as `[-r] PATH [LOCAL]`, with LOCAL for a path here; what it does, in words; and the work. */
export type Command = {
  usage: string;
  help: string;
  /** @returns false when it failed, and has told why itself */
  run: (words: Word[], flags: string) => Promise<unknown>;
};

export type Commands = Record<string, Command>;

/**
 * Does what a line says; an empty line and a comment say nothing.
 * @throws Failure EINVAL for what is not a command, and what the command throws
 */
export async function obey(line: string, commands: Commands): Promise<unknown> {
  const [name, ...words] = splitWords(line);
  if (!name) return;
  if (!Object.hasOwn(commands, name.text)) {
    throw new Failure(name.text, "unknown command", "EINVAL", { hint: "help lists the commands" });
  }
  const { usage, run } = commands[name.text];
  const allowed = /^\[-(\w+)\]/.exec(usage)?.[1] ?? "";
  let flags = "";
  while (/^-./.test(words[0]?.typed ?? "")) flags += words.shift()?.text.slice(1);
  const places = placesIn(usage);
  const least = places.filter((place) => !place.startsWith("[")).length;
  const isRight = Array.from(flags).every((flag) => allowed.includes(flag)) &&
    words.length >= least && words.length <= places.length;
  if (!isRight) throw new Failure(line.trim(), `the usage is: ${name.text} ${usage}`.trim(), "EINVAL");
  return await run(words.map((word, index) => isLocal(places[index]) ? expandHome(word) : word), flags);
}

/** The words of a usage, without its flags. */
const placesIn = (usage: string) => usage.split(" ").filter((word) => word && !word.startsWith("[-"));

const isLocal = (place: string) => place.includes("LOCAL");

/**
 * What Tab offers for a line: commands, then the names on the side that the command looks at. What it writes is always
 * one word, or the start of one, that means what it shows.
 * @returns words that may stand in place of `end`, the end of the line
 */
export async function complete(
  line: string,
  commands: Commands,
  here: Side,
  there: Side,
): Promise<[words: string[], end: string]> {
  const words = unfinishedWords(line);
  const word = words[words.length - 1];
  if (words.length === 1) {
    return [
      Object.keys(commands).map((name) => `${name} `).filter((name) => name.startsWith(word.typed)),
      word.typed,
    ];
  }
  const index = words.filter((word) => !/^-./.test(word.typed)).length - 2;
  const usage = Object.hasOwn(commands, words[0].text) ? commands[words[0].text].usage : "";
  const place = placesIn(usage)[index];
  if (!place) return [[], line];
  return [await names(word, isLocal(place) ? here : there, isLocal(place)), word.typed];
}

/** The names on a side that begin as a word does, so written that they begin as it was typed. */
async function names({ typed, text, start, pattern }: Word, side: Side, isHere: boolean): Promise<string[]> {
  const folder = text.slice(0, text.lastIndexOf("/") + 1);
  const begun = text.slice(folder.length);
  const looked = isHere ? expandHome({ typed, text: folder, start, pattern }).text : folder;
  const found = (await side.list(looked || ".")).filter(({ name }) =>
    name.startsWith(begun) && (begun !== "" || !name.startsWith(".")) && visible(name) === name &&
    (folder + name !== "~" || !isHere) // which is the home folder
  );
  const written = (name: string) => quoteLike(typed, folder + name);
  if (found.length === 1) {
    const ends = { folder: "/", file: `${/^['"]?/.exec(typed)} `, link: "", other: "" };
    const [{ name, kind }] = found;
    return [written(name) + ends[kind]].filter((word) => word.startsWith(typed));
  }
  const common = written(commonStart(found[0]?.name ?? "", found.at(-1)?.name ?? "")); // they are in order
  if (common.length > typed.length && common.startsWith(typed)) return [common];
  // Nothing to write: the names are only shown. readline would write what the quoted ones have in common, perhaps
  // half of a backslash and its character.
  return written(begun) === typed ? found.map(({ name }) => typed + name.slice(begun.length)) : [];
}

/** What two names begin with, in whole characters. */
function commonStart(name: string, other: string): string {
  let start = "";
  for (const character of name) {
    if (!other.startsWith(start + character)) break;
    start += character;
  }
  return start;
}

/** A line of help for each command. */
export function helpLines(commands: Commands): string[] {
  return Object.entries(commands).map(([name, { usage, help }]) => `${`${name} ${usage}`.padEnd(24)}${help}`);
}
