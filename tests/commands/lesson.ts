/**
 * `make lessons` lists the lessons; `make lesson L=2.1` plays one live, its terminals side by side, and ends with
 * what to watch out for, what to try, and the lesson that comes next.
 */
import process from "node:process";
import { $ } from "zx";
import { Failure } from "../../lib/failure.ts";
import { report } from "../../lib/program.ts";
import { ALONE, aloneWords } from "../engine/alone.ts";
import { chalk, columns, WIDTH, wrap } from "../engine/columns.ts";
import { Mismatch, play } from "../engine/engine.ts";
import { environment } from "../engine/environment.ts";
import type { Head } from "../engine/head.ts";
import { type Lesson, lessons } from "../engine/lessons.ts";
import { whatIsMissing } from "../engine/network.ts";
import { choose } from "./choose.ts";
import { endInOrder } from "./interrupt.ts";

/** The language of the person, as programs are told it (locale(7)). */
const { LC_ALL, LC_MESSAGES, LANG } = process.env;
const IS_CHINESE = /^zh/.test(LC_ALL || LC_MESSAGES || LANG || "");
const WORDS = IS_CHINESE
  ? { notes: ["注意", "试试"], next: "下一课", none: "这是最后一课；README.zh-CN.md 里有更多" }
  : { notes: ["Watch out", "Try"], next: "Next", none: "this was the last one; README.md has more" };

const [name, inside] = process.argv.slice(2);
if (inside) await playOne(choose(name)[0].head, true);
else if (name) await playAll(choose(name));
else list();

function list(): void {
  for (const { path, head } of lessons()) {
    const { title } = IS_CHINESE ? head.chinese : head;
    console.log(`${head.number.padEnd(5)} ${path.replace(/^scripts\/|\.ts$/g, "").padEnd(28)} ${title}`);
  }
}

async function playAll(chosen: Lesson[]): Promise<void> {
  endInOrder();
  for (const { path, head } of chosen) {
    const { title, idea } = IS_CHINESE ? head.chinese : head;
    const separator = IS_CHINESE ? "：" : ": ";
    const [first, ...others] = wrap(`${head.number} ${title}${separator}${idea}`, WIDTH);
    const end = first.indexOf(separator);
    console.log(`\n${chalk.bold(first.slice(0, end))}${first.slice(end)}`);
    for (const line of [...others, chalk.dim(path), ""]) console.log(line);
    const inherit = $({
      env: environment(chalk.level > 0 ? { NO_COLOR: "", FORCE_COLOR: "1" } : {}),
      stdio: "inherit",
      nothrow: true,
    });
    if (path.startsWith("scripts/raw/")) { // it needs the rights of root in its network
      const missing = whatIsMissing(["unshare", "mount", "ip"]);
      if (missing) {
        process.exitCode = 1;
        await report(
          new Failure(`make lesson L=${head.number}`, missing.what, "ENOSYS", { hint: missing.hint }),
        );
      } else {
        const { exitCode } = await inherit`${
          aloneWords('exec "$@"', ["bun", import.meta.path, path, "inside"])
        }`;
        process.exitCode ||= exitCode ?? 1;
      }
    } else if (ALONE.includes(path)) {
      const { exitCode } = await inherit`bun ${path}`; // this machine's own: there is nothing to compare it with
      process.exitCode ||= exitCode ?? 1;
    } else await playOne(head);
    console.log();
    for (const { label, text } of head.notes) {
      if (WORDS.notes.includes(label)) say(label, text);
    }
  }
  say(WORDS.next, nextOf(chosen));
}

/** @param asWritten in a network of its own: all ports are free there */
async function playOne(head: Head, asWritten = false): Promise<void> {
  const last = Math.max(...head.sections.map(({ terminal }) => terminal));
  const titles = Array.from({ length: last }, (_, index) => `terminal ${index + 1}`);
  try {
    const isDrawing = head.sections.some(({ steps }) =>
      steps.some((step) => step.kind === "see" && / \|.*\|$/.test(step.text))
    );
    await play(head, {
      pace: 400,
      asWritten,
      onEvent: columns(titles, WIDTH, console.log, isDrawing ? Infinity : undefined),
    });
  } catch (error) {
    if (!(error instanceof Mismatch)) throw error;
    console.error(`\n${error.message}`);
    process.exitCode = 1;
  }
}

/**
 * Prints a note, its lines below each other: those of a head end where a sentence ends, or where the page does. Between
 * two Chinese characters the end of the page's line is no space.
 */
function say(label: string, text: string): void {
  const margin = 11;
  const chinese = text.replaceAll(/(?<=[\u2e80-\uffef])(?<![。：？！])\n(?=[\u2e80-\uffef])/g, "");
  const sentences = chinese.replaceAll(/(?<![.:?!。：？！])\n/g, " ").split("\n");
  const lines = sentences.flatMap((line) => wrap(line, WIDTH - margin, ""));
  for (const [index, line] of lines.entries()) {
    const begin = index === 0 ? label : "";
    console.log(chalk.bold(begin) + " ".repeat(margin - Bun.stringWidth(begin)) + line);
  }
}

/** How to play the lesson that comes after some others. */
function nextOf(chosen: Lesson[]): string {
  const all = lessons();
  const at = all.findIndex(({ path }) => path === chosen.at(-1)?.path);
  const next = all.slice(at + 1).find(({ head }) =>
    chosen.every((lesson) => lesson.head.number !== head.number)
  );
  if (!next) return WORDS.none;
  const { title } = IS_CHINESE ? next.head.chinese : next.head;
  return `make lesson L=${next.head.number}   ${next.head.number} ${title}`;
}
