/** Terminals side by side: what a run shows, a column for each terminal, as it happens. */
import process from "node:process";
import { chalk } from "zx";
import type { Event } from "./engine.ts";

const STYLE = {
  command: chalk.bold,
  typed: chalk.cyan,
  stdout: (text: string) => text,
  stderr: chalk.red,
  exit: chalk.red,
};

/**
 * Prints the titles, and gives a function that prints one event in its column.
 * @param titles one for each terminal, from terminal 1 on
 */
export function columns(titles: string[]): (event: Event) => void {
  const screen = Math.max(process.stdout.columns ?? 120, 20 * titles.length);
  const width = Math.floor((screen - 1) / titles.length) - 3;
  const row = (column: number, text: string, style: (text: string) => string) => {
    for (const piece of wrap(text, width)) {
      const cells = titles.map((_, index) => (index === column ? piece : ""));
      const line = cells.map((cell, index) => {
        const padded = cell + " ".repeat(width - Bun.stringWidth(cell));
        return index === column ? style(padded) : padded;
      });
      console.log(line.join(chalk.dim(" | ")).trimEnd());
    }
  };
  const heading = titles.map((title) => {
    const [short = ""] = wrap(title, width);
    return chalk.underline(short) + " ".repeat(width - Bun.stringWidth(short));
  });
  console.log(heading.join(chalk.dim(" | ")).trimEnd());
  return ({ terminal, kind, text }) =>
    row(terminal - 1, kind === "command" ? `$ ${text}` : text, STYLE[kind]);
}

/** Cuts a text into pieces that fit a column, between words where it can; a Chinese character takes two places. */
function wrap(text: string, width: number): string[] {
  const pieces = [""];
  const add = (part: string) => {
    const last = pieces.length - 1;
    const fits = Bun.stringWidth(pieces[last] + part) <= width;
    if (fits) pieces[last] += part;
    else if (Bun.stringWidth(part) + 2 <= width) pieces.push(`  ${part.trimStart()}`);
    else for (const character of part) add(character); // a word longer than a column
  };
  for (const word of text.match(/\s*\S+/g) ?? []) add(word);
  return pieces;
}
