/** Terminals side by side: what a run shows, a column for each terminal, as it happens. */
import process from "node:process";
import { chalk } from "zx";
import type { Event } from "./engine.ts";

// Colours on a terminal alone; FORCE_COLOR and NO_COLOR (no-color.org) decide otherwise.
const { FORCE_COLOR, NO_COLOR } = process.env;
if (FORCE_COLOR) chalk.level = /^(?:0|false)$/.test(FORCE_COLOR) ? 0 : 1;
else if (NO_COLOR) chalk.level = 0;

export { chalk };

const STYLE = {
  command: chalk.bold,
  typed: chalk.cyan,
  stdout: (text: string) => text,
  stderr: chalk.red,
  exit: chalk.red,
};

/** How wide a terminal is, and what is taken for its width where the output is none. */
export const WIDTH = process.stdout.columns || 120;

/** A column that is narrower cuts most lines: then the terminals are shown one below the other, as in a head. */
const NARROWEST = 34;

/**
 * Prints the titles, and gives a function that prints one event in its column.
 * @param titles one for each terminal, from terminal 1 on
 * @param narrowest the least width of a column; Infinity for a head with a drawing, which is not to be cut
 */
export function columns(
  titles: string[],
  screen = WIDTH,
  print: (line: string) => void = console.log,
  narrowest = NARROWEST,
): (event: Event) => void {
  const width = Math.floor((screen - 1) / titles.length) - 3;
  const shown = ({ kind, text }: Event) => (kind === "command" ? `$ ${text}` : text);
  if (titles.length > 1 && width < narrowest) {
    let last = 0;
    return (event) => {
      if (event.terminal !== last) print(chalk.underline(titles[event.terminal - 1]));
      last = event.terminal;
      for (const piece of wrap(shown(event), screen - 3)) print(`  ${STYLE[event.kind](piece)}`);
    };
  }
  const row = (column: number, text: string, style: (text: string) => string) => {
    for (const piece of wrap(text, width)) {
      const cells = titles.map((_, index) => (index === column ? piece : ""));
      const line = cells.map((cell, index) => {
        const padded = cell + " ".repeat(width - Bun.stringWidth(cell));
        return index === column ? style(padded) : padded;
      });
      print(line.join(chalk.dim(" | ")).trimEnd());
    }
  };
  const heading = titles.map((title) => {
    const [short = ""] = wrap(title, width);
    return chalk.underline(short) + " ".repeat(width - Bun.stringWidth(short));
  });
  print(heading.join(chalk.dim(" | ")).trimEnd());
  return (event) => row(event.terminal - 1, shown(event), STYLE[event.kind]);
}

/**
 * Cuts a text into pieces of a width: between words; where a word is too long, behind a mark in it, such as the
 * slashes of a path; and anywhere only where there is none. A Chinese character takes two places.
 * @param indent stands before each piece but the first
 */
export function wrap(text: string, width: number, indent = "  "): string[] {
  const pieces = [""];
  const fits = (part: string) => Bun.stringWidth(pieces[pieces.length - 1] + part) <= width;
  const begin = (part: string) => pieces.push(indent + part.trimStart());
  for (const word of text.match(/\s*\S+/g) ?? []) {
    const isShort = Bun.stringWidth(indent + word.trimStart()) <= width;
    if (fits(word)) pieces[pieces.length - 1] += word;
    else if (isShort) begin(word);
    else {
      const parts = word.match(/[^/\-_.,:;，。：；、]*[/\-_.,:;，。：；、]?/g) ?? [];
      for (
        const part of parts.flatMap((part) => (Bun.stringWidth(indent + part) <= width ? part : [...part]))
      ) {
        if (fits(part)) pieces[pieces.length - 1] += part;
        else begin(part);
      }
    }
  }
  return pieces;
}
