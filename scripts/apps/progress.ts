/** How far a copy is, on a terminal: how much, how fast, how long it will take. */
import process from "node:process";
import { SingleBar } from "cli-progress";
import { visible } from "../../lib/program.ts";

/** Shows a bar on stderr, where that is a terminal; it vanishes at the end. */
export class Progress implements Disposable {
  #bar: SingleBar | undefined;
  readonly #begin = performance.now();
  readonly #start: number;
  #bytes = 0;

  /**
   * @param total in bytes; 0, where it is not known, shows nothing
   * @param start how many of them an earlier run has brought
   */
  constructor(name: string, total: number, start = 0) {
    this.#start = start;
    if (!process.stderr.isTTY || total === 0) return;
    this.#bar = new SingleBar({
      format: "{name}  {bar} {percentage}%  {size}  {rate}/s  {eta_formatted} left",
      barsize: 20,
      clearOnComplete: true,
      hideCursor: true,
    });
    const short = name.length > 24 ? `...${name.slice(-21)}` : name;
    this.#bar.start(total, start, { name: visible(short), size: humanSize(total), rate: humanSize(0) });
  }

  /** So many bytes more are done. */
  step(bytes: number): void {
    this.#bytes += bytes;
    const seconds = (performance.now() - this.#begin) / 1000;
    this.#bar?.update(this.#start + this.#bytes, { rate: humanSize(this.#bytes / seconds) });
  }

  [Symbol.dispose](): void {
    this.#bar?.stop();
  }
}

/** 1.5 MB */
function humanSize(bytes: number): string {
  const power = Math.min(4, Math.max(0, Math.floor(Math.log10(bytes || 1) / 3)));
  return `${(bytes / 1000 ** power).toFixed(power > 0 ? 1 : 0)} ${["", "k", "M", "G", "T"][power]}B`;
}
