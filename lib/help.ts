/** The page that --help prints: the head of the lesson and its flags, in Chinese where the user's language is. */
import process from "node:process";
import { dashed, type Flags } from "./arguments.ts";

/** Whether the user reads Chinese (locale(7): the first of these variables that is set decides). */
export function isChinese({ LC_ALL, LC_MESSAGES, LANG } = process.env): boolean {
  return /^zh\b|^zh_/i.test(LC_ALL || LC_MESSAGES || LANG || "");
}

/** @param usage what comes beside the flags */
export function helpPage(command: string, source: string, flags: Flags, usage: string): string {
  const chinese = isChinese();
  const rows = Object.entries(flags).map(([name, flag]) => {
    const kind = flag.kind === "choice" ? flag.choices.join("|") : flag.kind.toUpperCase();
    const use = flag.kind === "switch" ? dashed(name) : `${dashed(name)} ${kind}`;
    const [english, translated = english] = flag.help.split(" | ");
    const fallback = "default" in flag && flag.default !== undefined ? `${flag.default}` : "";
    const byDefault = fallback && (chinese ? `（默认 ${fallback}）` : ` (default ${fallback})`);
    return fold(`  ${use.padEnd(22)} `, `${chinese ? translated : english}${byDefault}`);
  });
  const first = `${chinese ? "用法" : "usage"}: ${command} [FLAGS] ${usage}`.trimEnd();
  const head = inLanguage(headText(source) ?? "", chinese);
  return [first, "", head, "", chinese ? "参数" : "Flags", ...rows].join("\n");
}

/** How wide a text is: a Chinese character takes two columns. */
const columns = (text: string) => text.replace(/[\u2e80-\uffff]/g, "xx").length;

/** Cuts a text between words, behind a beginning, so that its lines fit 80 columns. */
function fold(beginning: string, text: string): string {
  const lines = [beginning];
  for (const word of text.match(/\S+ */g) ?? []) {
    const isFull = columns(lines[lines.length - 1] + word.trimEnd()) > 80;
    if (isFull) lines.push(" ".repeat(25));
    lines[lines.length - 1] += word;
  }
  return lines.map((line) => line.trimEnd()).join("\n");
}

/** The comment at the top of a script, without its stars; undefined where there is none. */
export function headText(source: string): string | undefined {
  const comment = /^(?:#!.*\r?\n)?\/\*\*\r?\n([^]*?)\n \*\//.exec(source);
  return comment?.[1].replace(/\r$/gm, "").replace(/^ \* ?/gm, "");
}

/** A head without what is said in the other language: the title, Watch out and Try, or 中文, 注意 and 试试. */
export function inLanguage(head: string, chinese: boolean): string {
  const block = (label: string) => RegExp(`^${label}(?:  ?.*)(?:\\n +.*)*\\n?`, "gm");
  if (!chinese) return head.replace(block("(?:中文|注意|试试)"), "").trimEnd();
  const [, number = "", idea = ""] = /^(\d+\.\d+)[^]*?^中文 +(.*)$/m.exec(head) ?? [];
  const rest = head.slice(head.indexOf("\n\n")).replace(block("Watch out"), "").replace(block("Try"), "");
  return `${number} ${idea}${rest}`.trimEnd();
}
