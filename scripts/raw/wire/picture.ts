/**
 * Draws a ladder as an SVG picture, good to read on a light and on a dark page. It is written as it grows, so that its
 * size costs no memory; its height, near the beginning, is filled in at the end.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { explain } from "../../../lib/failure.ts";
import { type Arrow, labelOf } from "./arrow.ts";
import { fit, isPause } from "./ladder.ts";

/** In pixels: the picture, its lifelines, from one arrow to the next, and how far an arrow falls. */
const WIDTH = 820, LEFT = 80, RIGHT = 800, STEP = 40, FALL = 14;
const MIDDLE = (LEFT + RIGHT) / 2;

const STYLE = `
  text { font: 13px ui-monospace, Menlo, Consolas, monospace; white-space: pre; fill: #1f2328; }
  .end { font-weight: 600; } .pale { fill: #6e7781; } .say { fill: #1a7f37; } .page { fill: #ffffff; }
  path { fill: none; stroke: #0969da; stroke-width: 1.5; } .head { fill: #0969da; stroke: none; }
  .life { stroke: #afb8c1; } .gap { stroke-dasharray: 2 4; } .lost { stroke: #cf222e; } .cross { stroke-width: 2.5; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .pale { fill: #8d96a0; } .say { fill: #56d364; } .page { fill: #0d1117; }
    path { stroke: #58a6ff; } .head { fill: #58a6ff; } .life { stroke: #57606a; } .lost { stroke: #ff7b72; }
  }`;

export class Picture {
  readonly #path: string;
  readonly #file: number;
  readonly #heightAt: number;
  #y = 0;
  /** From where on the lifelines are still to be drawn. */
  #drawnTo = 0;
  #begin: number | undefined;
  #last = 0;
  #conversation: number | undefined;
  #phase: string | undefined;
  #waiting = "";

  /** @throws the error of open(2) or write(2), as the other calls do */
  constructor(path: string) {
    this.#path = path;
    this.#file = openSync(path, "w");
    const begin = `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" viewBox="0 0 ${WIDTH} `;
    this.#heightAt = begin.length;
    this.#waiting = `${begin}${HEIGHT}>\n<style>${STYLE}\n</style>\n` +
      `<rect class="page" width="100%" height="100%"/>\n`;
    this.flush();
  }

  draw(arrow: Arrow): void {
    const { at, conversation, left, right, isToRight, phase, isLost } = arrow;
    this.#begin ??= at;
    const passed = at - (this.#last || at);
    this.#last = at;
    if (isPause(passed, arrow) && conversation === this.#conversation) {
      this.#lifelines();
      this.#y += STEP / 2 + 4;
      this.#text(MIDDLE, this.#y, "pale", `${(passed / 1000).toFixed(3)} s later`, "middle");
      this.#y += 8;
      this.#lifelines(" gap");
    }
    if (conversation !== this.#conversation) {
      this.#lifelines();
      this.#y += 34;
      this.#text(LEFT, this.#y, "end", left, "start");
      this.#text(RIGHT, this.#y, "end", right, "end");
      this.#drawnTo = this.#y += 8;
      this.#phase = undefined;
    }
    this.#conversation = conversation;
    if (phase && phase !== this.#phase) {
      this.#y += 24;
      this.#text(MIDDLE, this.#y, "pale", phase, "middle");
      const y = this.#y - 4;
      this.#waiting += `<path class="life gap" d="M${LEFT} ${y}H${MIDDLE - 50}M${
        MIDDLE + 50
      } ${y}H${RIGHT}"/>\n`;
    }
    this.#phase = phase;
    this.#y += STEP - FALL;
    this.#text(LEFT - 10, this.#y - 2, "pale", ((at - this.#begin) / 1000).toFixed(3), "end");
    this.#arrow(labelOf(arrow), isToRight, isLost);
    this.#y += FALL;
  }

  /** What a program printed, beside its lifeline. */
  say(side: "left" | "right", text: string): void {
    this.#y += 22;
    if (side === "left") this.#text(LEFT + 10, this.#y, "say", fit(text, 80), "start");
    else this.#text(RIGHT - 10, this.#y, "say", fit(text, 80), "end");
  }

  #arrow(label: string, isToRight: boolean, isLost: boolean): void {
    const [from, to] = isToRight ? [LEFT, RIGHT] : [RIGHT, LEFT];
    const way = isToRight ? 1 : -1;
    const y = this.#y;
    const [endX, endY] = isLost ? [MIDDLE, y + FALL / 2] : [to - way, y + FALL];
    this.#waiting += `<path d="M${from} ${y}L${endX} ${endY}"${isLost ? ' class="lost"' : ""}/>\n`;
    this.#waiting += isLost
      ? `<path class="lost cross" d="M${endX - 6} ${endY - 6}l12 12m0 -12l-12 12"/>\n`
      : `<path class="head" d="M${to} ${endY}l${-10 * way} -4.5l0 9z"/>\n`;
    const angle = way * Math.atan(FALL / (RIGHT - LEFT)) * 180 / Math.PI;
    const text = escaped(fit(label, 84));
    this.#waiting +=
      `<text text-anchor="middle" transform="translate(${MIDDLE} ${y + FALL / 2 - 6 - (isLost ? 4 : 0)}) ` +
      `rotate(${angle.toFixed(2)})">${text}</text>\n`;
  }

  #text(x: number, y: number, style: string, text: string, anchor: string): void {
    this.#waiting += `<text x="${x}" y="${y}" class="${style}" text-anchor="${anchor}">${
      escaped(text)
    }</text>\n`;
  }

  /** Draws both lifelines down to where the picture has grown. */
  #lifelines(style = ""): void {
    const height = this.#y - this.#drawnTo;
    if (this.#conversation !== undefined && height > 0) {
      this.#waiting +=
        `<path class="life${style}" d="M${LEFT} ${this.#drawnTo}v${height}M${RIGHT} ${this.#drawnTo}v${height}"/>\n`;
    }
    this.#drawnTo = this.#y;
  }

  /** Writes what was drawn. */
  flush(): void {
    this.#write(this.#waiting);
    this.#waiting = "";
  }

  /** Ends the picture. */
  end(): void {
    this.#y += 14;
    this.#lifelines();
    this.#waiting += "</svg>\n";
    this.flush();
    this.#write(`${this.#y + 20}"`.padEnd(HEIGHT.length, " "), this.#heightAt);
    closeSync(this.#file);
  }

  #write(text: string, place?: number): void {
    const bytes = Buffer.from(text);
    try {
      for (let at = 0; at < bytes.length;) {
        at += writeSync(this.#file, bytes, at, bytes.length - at, place === undefined ? null : place + at);
      }
    } catch (error) {
      throw explain(error, `write ${this.#path}`) ?? error;
    }
  }
}

/** Room for the height, which is not known at the beginning. */
const HEIGHT = '100"       ';

const escaped = (text: string) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
