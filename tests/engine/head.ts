/**
 * The head of a lesson: the comment at the top of its file, which people read and programs parse.
 * README.md ("How to read a head") shows the notation; this is its only parser.
 */
import { headText } from "../../lib/help.ts";

/** One thing that happens in a terminal, in the order of the page. */
export type Step =
  | { kind: "run"; command: string } // $ COMMAND   typed at the shell
  | { kind: "type"; text: string } //   > TEXT      typed at the program
  | { kind: "key"; key: "^C" | "^D" } // ^C or ^D   pressed
  | { kind: "exit"; code: number } //   [exit N]    the exit code, where it is not 0
  | { kind: "see"; text: string }; //   anything else: a line that is seen

/** A stretch of one terminal. A number that comes again continues that terminal. */
export type Section = { terminal: number; steps: Step[] };

export type Head = {
  /** "2.1" */
  number: string;
  /** "Receive datagrams" */
  title: string;
  /** One sentence. */
  idea: string;
  /** Title and idea in Chinese, for README.zh-CN.md. */
  chinese: { title: string; idea: string };
  sections: Section[];
  /** Python, Watch out, Try, 注意, 试试: label and text. */
  notes: { label: string; text: string }[];
  /** The comment without its stars: what --help prints. */
  text: string;
};

/** The head of a bare program, which is read beside its lesson and needs neither an idea nor notes. */
export type BareHead = Pick<Head, "number" | "title" | "sections" | "text"> & {
  /** "bun receive.ts [PORT]" */
  usage: string;
  /** What its lesson has and it leaves out: "adds flags, IPv6 and GBK." */
  adds: string;
};

const TERMINAL = /^terminal (\d+)$/;
const LABELS = ["Python", "Watch out", "Try", "注意", "试试"];

/**
 * Parses the head of a lesson.
 * @throws Error that names what is missing or not understood, with the line of the comment
 */
export function parseHead(source: string): Head {
  const text = headText(source);
  if (text === undefined) throw new Error("no head: a lesson starts with a /** comment");
  const lines = text.split("\n");
  const head: Head = {
    number: "",
    title: "",
    idea: "",
    chinese: { title: "", idea: "" },
    sections: [],
    notes: [],
    text,
  };
  const terminals: string[] = [];
  let part: "title" | "terminal" | "note" | "gap" = "title";
  for (const [index, line] of lines.entries()) {
    const bad = (why: string) => new Error(`head, line ${index + 1}: ${why}: ${line}`);
    const title = /^(\d+\.\d+) ([^:]+): (.+)$/.exec(line);
    const chinese = /^中文 +([^：]+)：(.+)$/.exec(line);
    const terminal = TERMINAL.test(line);
    const note = /^(\S+(?: \S+)*) {2,}(.+)$/.exec(line);
    if (index === 0) {
      if (!title) throw bad('expected "NUMBER TITLE: IDEA"');
      [, head.number, head.title, head.idea] = title;
    } else if (line.trim() === "") {
      part = "gap";
    } else if (chinese) {
      head.chinese = { title: chinese[1], idea: chinese[2] };
      part = "gap";
    } else if (terminal) {
      part = "terminal";
      terminals.push(line);
    } else if (part === "terminal" && line.startsWith("  ")) {
      terminals.push(line);
    } else if (note && LABELS.includes(note[1])) {
      head.notes.push({ label: note[1], text: note[2] });
      part = "note";
    } else if (part === "note" && line.startsWith("  ")) {
      const last = head.notes[head.notes.length - 1];
      last.text += `\n${line.trim()}`;
    } else if (part === "title") {
      head.idea += ` ${line}`;
    } else {
      throw bad("not understood");
    }
  }
  if (!head.chinese.title) throw new Error('head: no line "中文 TITLE：IDEA"');
  head.sections = parseSections(terminals);
  for (const label of LABELS) {
    if (!head.notes.some((note) => note.label === label)) {
      throw new Error(`head: no "${label}" note`);
    }
  }
  return head;
}

/** What a shell reports of a program that Ctrl-C has ended: 128 and the number of SIGINT. */
const INTERRUPTED = 130;

/**
 * Parses the head of a bare program:
 *
 *     2.1 bare  TITLE:  bun receive.ts [PORT]
 *     The lesson ../receive.ts adds WHAT IT LEAVES OUT.
 *     On the wire: make wire L=2.1
 *
 *     terminal 1
 *       ...
 *
 * Its `^C` is not handled, so it ends the program with exit code 130.
 * @param name its file's name, which its lesson has too
 * @throws Error that names what is missing
 */
export function parseBareHead(source: string, name: string): BareHead {
  const text = headText(source);
  if (text === undefined) throw new Error("no head: a bare program starts with a /** comment");
  const [first, second, third, gap, ...terminals] = text.split("\n");
  const title = /^(\d+\.\d+) bare {2}([^:]+): {2}(bun (\S+)( .+)?)$/.exec(first);
  if (title?.[4] !== name) throw new Error(`head: expected "NUMBER bare  TITLE:  bun ${name}": ${first}`);
  const lesson = /^The lesson \.\.\/(\S+) (adds .+\.)$/.exec(second);
  if (lesson?.[1] !== name) throw new Error(`head: expected "The lesson ../${name} adds WHAT.": ${second}`);
  const wire = `On the wire: make wire L=${title[1]}`;
  if (third !== wire) throw new Error(`head: expected "${wire}": ${third}`);
  if (gap !== "") throw new Error("head: no empty line before the terminals");
  for (const line of terminals) {
    if (!TERMINAL.test(line) && !line.startsWith("  ")) throw new Error(`head: not understood: ${line}`);
  }
  const sections = parseSections(terminals).map(({ terminal, steps }) => ({
    terminal,
    steps: steps.flatMap((step): Step[] =>
      step.kind === "key" && step.key === "^C" ? [step, { kind: "exit", code: INTERRUPTED }] : [step]
    ),
  }));
  return { number: title[1], title: title[2], usage: title[3], adds: lesson[2], sections, text };
}

/**
 * Parses the terminals of a head, without the stars of the comment.
 * @throws Error for a terminal that runs nothing
 */
export function parseSections(lines: string[]): Section[] {
  const sections: Section[] = [];
  for (const line of lines) {
    const terminal = TERMINAL.exec(line);
    if (terminal) sections.push({ terminal: Number(terminal[1]), steps: [] });
    else sections.at(-1)?.steps.push(parseStep(line.slice(2)));
  }
  if (sections.length === 0) throw new Error("head: no terminal that runs a command");
  for (const { terminal, steps } of sections) {
    if (steps.length === 0) throw new Error(`head: terminal ${terminal} is empty`);
    const first = sections.find((section) => section.terminal === terminal);
    if (first?.steps[0]?.kind !== "run") {
      throw new Error(`head: terminal ${terminal} does not start with a "$ COMMAND" line`);
    }
  }
  return sections;
}

function parseStep(line: string): Step {
  const exit = /^\[exit (\d+)\]$/.exec(line);
  if (exit) return { kind: "exit", code: Number(exit[1]) };
  if (line.startsWith("$ ")) return { kind: "run", command: line.slice(2) };
  if (line === ">" || line.startsWith("> ")) return { kind: "type", text: line.slice(2) };
  if (line === "^C" || line === "^D") return { kind: "key", key: line };
  return { kind: "see", text: line };
}
