/**
 * Draws a ladder in a terminal: two lifelines, and an arrow for each packet, which begins at its sender and ends a line
 * below at its receiver. Lines of plain ASCII, 77 columns wide: the places of box-drawing characters are one column wide
 * in some terminals, and two in Chinese ones. A Chinese character counts as two.
 *
 * `wire.ts --json` prints an Arrow a line, so another program can draw the same ladder, with what the programs printed
 * between the arrows: each Arrow has its time, and comes a little later, when its fate is known (conversations.ts).
 *
 *     const ladder = new Ladder();
 *     for (const line of ladder.draw(JSON.parse(text))) console.log(line);
 *     for (const line of ladder.say("right", "listening on 127.0.0.1:7890")) console.log(line);
 *
 * Picture (picture.ts) has the same two functions.
 */
import { AGAIN, type Arrow, labelOf } from "./arrow.ts";

/** Of a line, in columns. */
export const WIDTH = 77;
/** For the time, in seconds from the first arrow on. */
const MARGIN = 9;
/** Between the two lifelines. */
const INSIDE = WIDTH - MARGIN - 2;

/** Whether to show how much time has passed, in ms: where it is long, and before what is sent again. */
export const isPause = (passed: number, { notes }: Arrow) =>
  passed >= 1000 || (passed >= 100 && notes.includes(AGAIN));

export class Ladder {
  #begin: number | undefined;
  #last = 0;
  #conversation: number | undefined;
  #phase: string | undefined;

  /** The lines for an arrow. */
  draw(arrow: Arrow): string[] {
    const { at, conversation, left, right, isToRight, phase, isLost } = arrow;
    const lines: string[] = [];
    this.#begin ??= at;
    const passed = at - (this.#last || at);
    this.#last = at;
    if (isPause(passed, arrow)) lines.push(row(":", centered(`${(passed / 1000).toFixed(3)} s later`, " ")));
    if (conversation !== this.#conversation) {
      lines.push(...heading(left, right));
      this.#phase = undefined;
    }
    this.#conversation = conversation;
    if (phase && phase !== this.#phase) lines.push(row("|", centered(` ${phase} `, ".")));
    this.#phase = phase;

    const time = `${((at - this.#begin) / 1000).toFixed(3).slice(0, MARGIN - 1).padStart(MARGIN - 1)} `;
    const label = fit(labelOf(arrow), INSIDE - 4);
    const space = " ".repeat(INSIDE - 3 - width(label));
    const line = "-".repeat(INSIDE - 4);
    const half = line.slice(0, INSIDE / 2 - 3), rest = " ".repeat(line.length - half.length - 1);
    if (isToRight) {
      lines.push(row("|", `\\  ${label}${space}`, time));
      lines.push(row("|", isLost ? ` \`${half}X${rest}  ` : ` \`${line}->`));
    } else {
      lines.push(row("|", `${space}${label}  /`, time));
      lines.push(row("|", isLost ? `  ${rest}X${half}' ` : `<-${line}' `));
    }
    return lines;
  }

  /** The line for what a program printed, beside its lifeline. */
  say(side: "left" | "right", text: string): string[] {
    const shown = fit(text, INSIDE - 6);
    const space = " ".repeat(INSIDE - 5 - width(shown));
    return [row("|", side === "left" ? `[ ${shown} ]${space} ` : ` ${space}[ ${shown} ]`)];
  }
}

const row = (lifeline: string, inside: string, margin = " ".repeat(MARGIN)) =>
  `${margin}${lifeline}${inside}${lifeline}`;

function centered(text: string, fill: string): string {
  const before = Math.floor((INSIDE - text.length) / 2);
  return fill.repeat(before) + text + fill.repeat(INSIDE - before - text.length);
}

/** The names of both ends, on one line where they fit. */
function heading(left: string, right: string): string[] {
  const margin = " ".repeat(MARGIN);
  const space = WIDTH - MARGIN - left.length - right.length;
  if (space > 0) return [`${margin}${left}${" ".repeat(space)}${right}`];
  return [`${margin}${left}`, right.padStart(WIDTH)];
}

const width = (text: string) => Bun.stringWidth(text);
const graphemes = new Intl.Segmenter();

/** Cuts a text to at most so many columns, between characters as people see them. */
export function fit(text: string, columns: number): string {
  if (width(text) <= columns) return text;
  let shown = "";
  for (const { segment } of graphemes.segment(text)) {
    if (width(shown + segment) > columns - 3) break;
    shown += segment;
  }
  return `${shown}...`;
}
