/** The commands of a shell: a table that tells what they need, and from it their check, Tab and help. */
import { Failure } from "../../../lib/failure.ts";
import { visible } from "../../../lib/output.ts";
import { quoteLike, splitWords, unfinishedWords, type Word } from "./shell-words.ts";
import type { Side } from "./local.ts";

/** A command: how it is used, with LOCAL for a path here, `[-r] PATH [LOCAL]`; what it does, in words; and the work. */
export type Command = {
  usage: string;
  help: string;
  /** @returns false when it failed, and has said so itself */
  run: (words: Word[], flags: string) => Promise<unknown>;
};

export type Commands = Record<string, Command>;

/**
 * Does what a line says; an empty line and a comment say nothing.
 * @throws Failure EINVAL for what is no command, and what the command throws
 */
export async function obey(line: string, commands: Commands): Promise<unknown> {
  const [name, ...words] = splitWords(line);
  if (!name) return;
  if (!Object.hasOwn(commands, name.text)) {
    throw new Failure(name.text, "unknown command", "EINVAL", { hint: "help shows what there is" });
  }
  const { usage, run } = commands[name.text];
  const allowed = /^\[-(\w+)\]/.exec(usage)?.[1] ?? "";
  let flags = "";
  while (/^-./.test(words[0]?.typed ?? "")) flags += words.shift()?.text.slice(1);
  const needed = namesIn(usage);
  const least = needed.filter((word) => !word.startsWith("[")).length;
  const isRight = Array.from(flags).every((flag) => allowed.includes(flag)) &&
    words.length >= least && words.length <= needed.length;
  if (!isRight) throw new Failure(line.trim(), `it is ${name.text} ${usage}`.trim(), "EINVAL");
  return await run(words, flags);
}

/** The words of a usage, without its flags. */
const namesIn = (usage: string) => usage.split(" ").filter((word) => word && !word.startsWith("[-"));

/** What Tab offers for a line: commands, then the names on the side that the command looks at. */
export async function complete(
  line: string,
  commands: Commands,
  here: Side,
  there: Side,
): Promise<[words: string[], end: string]> {
  const words = unfinishedWords(line);
  const { typed, text } = words[words.length - 1];
  const isBegun = (word: string) => word.startsWith(typed);
  if (words.length === 1) return [Object.keys(commands).map((name) => `${name} `).filter(isBegun), typed];
  const place = words.filter((word) => !/^-./.test(word.typed)).length - 2;
  const usage = Object.hasOwn(commands, words[0].text) ? commands[words[0].text].usage : "";
  const needed = namesIn(usage)[place];
  if (!needed) return [[], line];
  const folder = text.slice(0, text.lastIndexOf("/") + 1);
  const start = text.slice(folder.length);
  const entries = await (needed.includes("LOCAL") ? here : there).list(folder || ".");
  const found = entries.filter(({ name }) =>
    name.startsWith(start) && (start !== "" || !name.startsWith(".")) && visible(name) === name
  );
  const ends = { folder: "/", file: `${/^['"]?/.exec(typed)} `, link: "", other: "" };
  return [found.map(({ name, kind }) => quoteLike(typed, folder + name) + ends[kind]).filter(isBegun), typed];
}

/** A line of help for each command. */
export function helpLines(commands: Commands): string[] {
  return Object.entries(commands).map(([name, { usage, help }]) => `${`${name} ${usage}`.padEnd(24)}${help}`);
}
