/** A learner at the keyboard: one exercise at a time, judged at each save, on a screen that keeps what matters. */
import { existsSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import process from "node:process";
import { isChinese } from "../../lib/help.ts";
import { visible } from "../../lib/program.ts";
import { chalk, columns, wrap } from "../engine/columns.ts";
import { type Event, quoted } from "../engine/engine.ts";
import { ON, ROOT } from "../engine/program.ts";
import type { Exercise, Words } from "./exercise.ts";
import { inChinese } from "./chinese.ts";
import { judge, type Verdict } from "./judge.ts";
import { ladder, onTheWire, packets, type Wire } from "./ladder.ts";

/** How often we look whether the file was saved, in milliseconds. */
const LOOK = 100;

const IS_CHINESE = isChinese();
const say = ({ en, zh }: Words) => (IS_CHINESE ? zh : en);

const KEYS: Words = {
  en: "h hint  s solution  n next  l list  r start again  q quit   saving judges it",
  zh: "h 提示  s 答案  n 下一题  l 列表  r 重新开始  q 退出   保存文件即评判",
};
const SOLVED_KEYS: Words = {
  en: "n next  w the whole ladder  s solution  l list  r start again  q quit",
  zh: "n 下一题  w 完整的时序图  s 答案  l 列表  r 重新开始  q 退出",
};

/** What is to be done with a file that nobody has changed yet. */
const TASK: Words = {
  en: "replace each TODO with code in an editor, then save",
  zh: "用编辑器打开，补上每个 TODO，保存",
};

/** A line of code without the remark behind it. */
const withoutRemark = (line: string) => line.replace(/(?<=\S) *\/\/ .*/, "");

/** What has happened: the file was saved, a key was pressed, or the packets of a solved program are known. */
type News = "saved" | "hint" | "solution" | "next" | "list" | "again" | "ladder" | "packets";
const NEWS: Record<string, News> = {
  h: "hint",
  s: "solution",
  n: "next",
  l: "list",
  r: "again",
  w: "ladder",
};

/** Where an event is shown in its column: commands as the learner would type them. */
function shown(event: Event, { name }: Exercise, path: string): Event {
  if (event.kind !== "command") return { ...event, text: visible(event.text) };
  const text = event.text.replaceAll(quoted(ROOT).slice(1, -1), "").replaceAll('"', "")
    .replace(`bare/${name.replace(/.*\//, "")}.ts`, () => path);
  return { ...event, text };
}

/** The terminals of a judgement, as lines that fit the screen. */
function terminals(verdict: Verdict, exercise: Exercise, path: string, width: number): string[] {
  const last = Math.max(0, ...verdict.events.map(({ terminal }) => terminal));
  if (last === 0) return [];
  const lines: string[] = [];
  const titles = Array.from(
    { length: last },
    (_, index) => say({ en: `terminal ${index + 1}`, zh: `终端 ${index + 1}` }),
  );
  const show = columns(titles, width, (line) => lines.push(line));
  for (const event of verdict.events) show(shown(event, exercise, path));
  return lines;
}

/** Why it is not solved: the place in the learner's file, and what was expected. */
function reasons(
  { why, line }: Verdict,
  exercise: Exercise,
  path: string,
  source: string,
  width: number,
): string[] {
  const text = (number: number) => withoutRemark(source.split("\n")[number - 1] ?? "").trim();
  const place = line === undefined ? [] : [`${path}:${line}: ${text(line)}`];
  const open = source.split("\n").findIndex((text) => text.trim().startsWith("// TODO"));
  const todo = open < 0
    ? []
    : [say({ en: `still open, line ${open + 1}: `, zh: `第 ${open + 1} 行还空着：` }) + text(open + 1)];
  const words = IS_CHINESE ? inChinese(why) : why;
  const said = words.split("\n").map((text) =>
    /^(terminal|终端) \d+/.test(text)
      ? shown({ terminal: 0, kind: "command", text }, exercise, path).text
      : text
  );
  return [...todo, ...place, ...said].flatMap((text) => wrap(text, width));
}

/** How many equal lines are shown beside a difference. */
const CONTEXT = 2;

/** Two texts side by side where they differ (by their longest common subsequence), and the lines around. */
export function beside(own: string[], other: string[], width: number): string[] {
  const common = Array.from({ length: own.length + 1 }, () => new Array<number>(other.length + 1).fill(0));
  for (let i = own.length - 1; i >= 0; i--) {
    for (let j = other.length - 1; j >= 0; j--) {
      const longer = Math.max(common[i + 1][j], common[i][j + 1]);
      common[i][j] = own[i] === other[j] ? common[i + 1][j + 1] + 1 : longer;
    }
  }
  const rows: { left: string; right: string; mark: string }[] = [];
  for (let [i, j] = [0, 0]; i < own.length || j < other.length;) {
    if (i < own.length && own[i] === other[j]) rows.push({ left: own[i++], right: other[j++], mark: "|" });
    else if (j === other.length || i < own.length && common[i + 1][j] >= common[i][j + 1]) {
      rows.push({ left: own[i++], right: "", mark: "<" });
    } else rows.push({ left: "", right: other[j++], mark: ">" });
  }
  const half = Math.floor((width - 3) / 2);
  const isNear = rows.map((_, at) =>
    rows.slice(Math.max(0, at - CONTEXT), at + CONTEXT + 1).some(({ mark }) => mark !== "|")
  );
  return rows.flatMap(({ left, right, mark }, at) => {
    if (!isNear[at]) return isNear[at - 1] ?? true ? ["..."] : [];
    const [a, b] = [wrap(left, half), wrap(right, half)];
    return Array.from({ length: Math.max(a.length, b.length) }, (_, line) => {
      const cell = a[line] ?? "";
      return `${cell}${" ".repeat(Math.max(0, half - Bun.stringWidth(cell)))} ${mark} ${b[line] ?? ""}`
        .trimEnd();
    });
  });
}

const sentence = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

/** The code of a file, behind its head, without the remarks behind it. */
const codeOf = (source: string) =>
  source.replace(/^(?:#!.*\n)?\/\*\*[^]*?\*\/\n/, "").trimEnd().split("\n").map(withoutRemark);

export class Session {
  readonly #all: Exercise[];
  readonly #folder: string;
  readonly #news: News[] = [];
  #wake = () => {};
  #at = 0;
  #hints = 0;
  /** How many pages of an answer were shown; and what was answered last. */
  #pages = 0;
  #last: News | undefined;
  /** What a key has brought to the screen. */
  #extra: string[] = [];
  /** What was judged, by file. */
  readonly #known = new Map<string, { source: string; at: number; verdict: Verdict }>();
  /** What solved programs put on the wire, by their text; nothing until it is known. */
  readonly #wires = new Map<string, Wire | undefined>();

  /** @param folder where the learner's files are; it is there */
  constructor(all: Exercise[], folder: string) {
    this.#all = all;
    this.#folder = folder;
  }

  get #exercise(): Exercise {
    return this.#all[this.#at];
  }

  /** The path of a learner's file, from where the command was given. */
  #path(file: string): string {
    return relative(process.cwd(), join(this.#folder, file));
  }

  /** Runs until a key ends it. @param first the exercise to begin with; by default, the first that is not solved */
  async run(first: Exercise | undefined, quit: (code: number) => never): Promise<never> {
    // fs.watch() does not tell of each save on each runtime and file system; a look at one file costs nothing.
    setInterval(() => this.#isChanged() && this.#tell("saved"), LOOK);
    process.stdin.setRawMode(true);
    process.stdin.on("data", (bytes) => {
      for (const key of bytes.toString()) {
        if (key === "q" || key === "\x03" || key === "\x04") quit(key === "q" ? 0 : 130);
        if (NEWS[key]) this.#tell(NEWS[key]);
      }
    });
    process.stdin.on("end", () => quit(0));
    this.#at = first ? this.#all.findIndex(({ file }) => file === first.file) : await this.#firstOpen();
    while (true) {
      this.#write();
      const verdict = await this.#judged(this.#exercise);
      this.#draw(verdict);
      if (verdict.solved) this.#watch(this.#exercise);
      this.#extra = await this.#answer(await this.#next());
    }
  }

  #tell(news: News): void {
    this.#news.push(news);
    this.#wake();
  }

  /** The next key, or a save: of the same text too, for the last verdict may be that of a port that was taken. */
  async #next(): Promise<News> {
    while (true) {
      const news = this.#news.shift();
      if (news && (news !== "saved" || this.#isChanged())) return news;
      if (!news) await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  #isChanged(): boolean {
    const [at, source] = [this.#savedAt(this.#exercise), this.#read(this.#exercise)];
    if (at === 0 || source === "") return false; // an editor is just putting another in its place
    const known = this.#known.get(this.#exercise.file);
    return source !== known?.source || at !== known.at;
  }

  #read({ file }: Exercise): string {
    try {
      return readFileSync(join(this.#folder, file), "utf8");
    } catch {
      return "";
    }
  }

  #savedAt({ file }: Exercise): number {
    return statSync(join(this.#folder, file), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  }

  /** Writes the start of the exercise, unless the learner has a file there. */
  #write(): void {
    const { file, start } = this.#exercise;
    try {
      writeFileSync(join(this.#folder, file), start, { flag: "wx" });
    } catch (error) {
      if ((error as { code?: string }).code !== "EEXIST") throw error;
    }
  }

  async #judged(exercise: Exercise): Promise<Verdict> {
    const [at, source] = [this.#savedAt(exercise), this.#read(exercise)];
    const known = this.#known.get(exercise.file);
    if (known && (source === "" || known.source === source && known.at === at)) return known.verdict;
    this.#screen([...this.#title(exercise), "", say({ en: "judging ...", zh: "正在评判……" })]);
    const verdict = await judge(exercise, source, ON);
    this.#known.set(exercise.file, { source, at, verdict });
    return verdict;
  }

  /** Plays a solved program once more, to see what it puts on the wire. */
  #watch(exercise: Exercise): void {
    const source = this.#read(exercise);
    if (this.#wires.has(source)) return;
    this.#wires.set(source, undefined);
    onTheWire(exercise, source, ON).then((wire) => {
      this.#wires.set(source, wire);
      this.#tell("packets");
    }, () => {}); // without it, nothing is lost
  }

  /** The first that is not begun or not solved. */
  async #firstOpen(): Promise<number> {
    for (const [index, exercise] of this.#all.entries()) {
      if (!existsSync(join(this.#folder, exercise.file))) return index;
      if (!(await this.#judged(exercise)).solved) return index;
    }
    return 0;
  }

  /** What a key brings to the screen. */
  async #answer(news: News): Promise<string[]> {
    const exercise = this.#exercise;
    if (news === "packets") return this.#extra;
    if (news !== this.#last) this.#pages = 0;
    this.#last = news;
    if (news === "ladder") return this.#ladder();
    if (news === "saved") this.#hints = 0;
    if (news === "next") {
      this.#at = (this.#at + 1) % this.#all.length;
      this.#hints = 0;
    }
    if (news === "hint") return this.#hint();
    if (news === "solution") {
      const [own, other] = [this.#read(exercise), exercise.solution].map(codeOf);
      if (own.join() === other.join()) {
        return [say({ en: `yours is the same as ${exercise.path}`, zh: `你的和 ${exercise.path} 一样` })];
      }
      const path = say({ en: `yours, and ${exercise.path}`, zh: `左边是你的，右边是 ${exercise.path}` });
      return this.#page([path, ...beside(own, other, this.#width)], "s");
    }
    if (news === "list") return await this.#list();
    if (news === "again") {
      if (!existsSync(join(this.#folder, exercise.file))) return [];
      const name = exercise.file.replace(/\.ts$/, "");
      let number = 1;
      while (existsSync(join(this.#folder, `${name}.${number}.ts`))) number++;
      const kept = `${name}.${number}.ts`;
      renameSync(join(this.#folder, exercise.file), join(this.#folder, kept));
      const path = this.#path(kept);
      return wrap(say({ en: `your file is kept as ${path}`, zh: `你的文件保存为 ${path}` }), this.#width);
    }
    return [];
  }

  #hint(): string[] {
    const exercise = this.#exercise;
    const source = this.#read(exercise);
    const hints = exercise.hints((hole) => !source.includes(`TODO: ${hole.python}`));
    this.#hints = Math.min(this.#hints + 1, hints.length);
    const shown = hints.slice(0, this.#hints).flatMap((hint, index) => {
      const lines = say(hint).split("\n");
      return lines.flatMap((line, at) =>
        wrap(at === 0 ? `${index + 1}. ${line}` : `   ${line}`, this.#width)
      );
    });
    return this.#page(shown, "h");
  }

  /** As many lines as the screen has room for: the same key shows the next ones. */
  #page(lines: string[], key: string): string[] {
    const size = Math.max(this.#height - 8, 4);
    const pages = Math.ceil(lines.length / size);
    if (pages === 1) return lines;
    const page = this.#pages++ % pages;
    const more = say({
      en: `${page + 1} of ${pages}; ${key} shows the next`,
      zh: `第 ${page + 1} 页，共 ${pages} 页；${key} 看下一页`,
    });
    return [...lines.slice(page * size, (page + 1) * size), more];
  }

  /** The whole ladder. */
  #ladder(): string[] {
    const exercise = this.#exercise;
    const wire = this.#wires.get(this.#read(exercise));
    if (!wire) {
      return [
        say({
          en: "w draws the packets of a solved program, once they have been captured",
          zh: "做对并抓到报文以后，按 w 画出时序图",
        }),
      ];
    }
    return this.#page(ladder(wire, (event) => shown(event, exercise, this.#path(exercise.file)).text), "w");
  }

  async #list(): Promise<string[]> {
    const cells: string[] = [];
    for (const exercise of this.#all) {
      const isBegun = existsSync(join(this.#folder, exercise.file));
      const solved = isBegun && (await this.#judged(exercise)).solved;
      const mark = solved ? "✓" : isBegun ? "…" : " ";
      cells.push(`${exercise === this.#exercise ? ">" : " "}${mark} ${exercise.file.replace(/\.ts$/, "")}`);
    }
    const half = Math.ceil(cells.length / 2);
    const width = Math.floor(this.#width / 2);
    return cells.slice(0, half).map((cell, index) =>
      `${cell.padEnd(width)}${cells[half + index] ?? ""}`.trimEnd()
    );
  }

  get #width(): number {
    return process.stdout.columns || 80;
  }

  #title(exercise: Exercise): string[] {
    const path = this.#path(exercise.file);
    const what = this.#read(exercise) === exercise.start ? `   ${say(TASK)}` : "";
    return [chalk.bold(`${exercise.number} ${say(exercise.title)}`), ...wrap(path + what, this.#width)];
  }

  get #height(): number {
    return process.stdout.rows || 24;
  }

  #draw(verdict: Verdict): void {
    const exercise = this.#exercise;
    const width = this.#width;
    const source = this.#read(exercise);
    const wire = verdict.solved ? this.#wires.get(source) : undefined;
    const end = verdict.solved
      ? this.#solved()
      : reasons(verdict, exercise, this.#path(exercise.file), source, width).map((line) => chalk.red(line));
    const below = [
      "",
      ...(this.#extra.length > 0 ? this.#extra : end),
      "",
      ...wrap(say(verdict.solved ? SOLVED_KEYS : KEYS), width).map((line) => chalk.dim(line)),
    ];
    const space = Math.max(this.#height - 5 - below.length, 4);
    let above: string[] = [];
    if (this.#extra.length === 0 && wire) { // the first packets that fit
      const lines = [chalk.underline(say({ en: "on the wire", zh: "线上的报文" })), ...packets(wire, width)];
      const more = lines.length - (space + 1);
      above = more > 0
        ? [
          ...lines.slice(0, space),
          say({ en: `... and ${more + 1} lines more: w`, zh: `……还有 ${more + 1} 行：w` }),
        ]
        : lines;
    } else if (this.#extra.length === 0) { // the newest lines of the terminals that fit
      const [titles, ...rows] = terminals(verdict, exercise, this.#path(exercise.file), width);
      if (titles !== undefined) above = [titles, ...rows.slice(Math.max(0, rows.length - space))];
    }
    this.#screen([...this.#title(exercise), ...(above.length > 0 ? ["", ...above] : []), ...below]);
  }

  #solved(): string[] {
    const exercise = this.#exercise;
    const next = this.#all[this.#at + 1];
    const lines = [
      chalk.green(say({ en: "solved. ", zh: "做对了。" })) + sentence(say(exercise.idea)),
      next
        ? say({
          en: `next (n):  ${next.number} ${next.title.en}`,
          zh: `下一题（n）：${next.number} ${next.title.zh}`,
        })
        : say({ en: "that was the last one", zh: "这是最后一题" }),
    ];
    return lines.flatMap((line) => wrap(line, this.#width));
  }

  #screen(lines: string[]): void {
    process.stdout.write(`\x1b[2J\x1b[H${lines.join("\r\n")}\r\n`);
  }
}
