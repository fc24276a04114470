/** The page of a lesson, and of a module that several chapters share. */
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { callRows, cutRemark } from "../tests/engine/calls.ts";
import { closure } from "../tests/engine/closure.ts";
import type { BareProgram, Lesson } from "../tests/engine/lessons.ts";
import { BUN_ONLY, READY, ROOT } from "../tests/engine/program.ts";
import { codeAsHtml, escaped, fileAsHtml, twoColumns } from "./code.ts";
import { type Kept, order, shown, stepsOf } from "./ladders.ts";
import { href, inline, type Page, unwrapped, withFlags } from "./page.ts";
import { CHAPTERS, type Language, WORDS } from "./words.ts";

/** All that the pages are made from. */
export type Course = {
  lessons: Lesson[];
  /** By the path of their lesson. */
  bare: Map<string, BareProgram>;
  /** By the path of their lesson. */
  ladders: Map<string, Kept>;
  /** The heights of their pictures, in pixels. */
  heights: Map<string, number>;
  /** The scripts that have an exercise: "udp/send". */
  exercises: Set<string>;
  /** The codes on the errors page. */
  codes: Set<string>;
};

type Place = Pick<Page, "path" | "lang">;

export const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");

/** The page of a script: scripts/udp/send.ts is udp/send.html. */
export const pageOf = (path: string): string => path.replace(/^scripts\//, "").replace(/\.ts$/, ".html");

export const chapterOf = ({ head }: Pick<Lesson, "head">): string => head.number.split(".")[0];

/** The address of a lesson's ladder. */
export const ladderOf = (path: string): string => pageOf(path).replace(/^(.*)\.html$/, "ladders/$1.svg");

/** The idea as a sentence. */
export function ideaOf({ head }: Lesson, lang: Language): string {
  const { idea } = lang === "en" ? head : head.chinese;
  return idea[0].toUpperCase() + idea.slice(1);
}

export const titleOf = ({ head }: Lesson, lang: Language): string =>
  (lang === "en" ? head : head.chinese).title;

const button = (label: string, copies: string) =>
  `<button type="button" class="copy" data-copy="${copies}" hidden>${label}</button>`;

/** A command that can be copied, without its `$ `. */
const command = (text: string, lang: Language) =>
  `<span class="command"><code>${withFlags(escaped(text))}</code>${
    button(WORDS[lang].copy, "command")
  }</span>`;

/** A line of a note that is the row of a table: its columns are two spaces or more apart. */
const isRow = (line: string) => /\S {2,}\S/.test(line);

/** The words of a note, with links to the lessons and the errors that it names; its rows become a table. */
export function prose(text: string, place: Place, course: Course): string {
  const lines = text.split("\n");
  const first = lines.findIndex(isRow);
  if (first < 0) return `<p>${sentences(unwrapped(text), place, course)}</p>`;
  const last = lines.findLastIndex(isRow);
  const words = (from: number, to: number) => prose(lines.slice(from, to).join("\n"), place, course);
  const rows = lines.slice(first, last + 1).map((line) => {
    const cells = line.split(/( {2,}| (?=RFC \d+(?:, [\d.]+)?$))/);
    const html = cells.map((cell, index) => {
      const wide = cells.length === 3 && index === 2 ? " colspan=2" : "";
      return index % 2 ? cell : `<td${wide}>${sentences(cell, place, course)}</td>`;
    });
    return `<tr>${html.join("")}</tr>`;
  });
  /** What stands between two lines that become one text. */
  const gap = (line: number) => unwrapped(`${lines[line - 1].at(-1)}\n${lines[line][0]}`).slice(1, -1);
  return `${words(0, first)}${gap(first)}<table class="rows"><tbody>${rows.join(" ")}</tbody></table>${
    gap(last + 1)
  }${words(last + 1, lines.length)}`;
}

function sentences(text: string, place: Place, course: Course): string {
  return escaped(text)
    .replaceAll(/`([^`]+)`/g, "<code>$1</code>")
    .replaceAll(
      /(?<![\w-])--[a-z][a-z-]+(?: (?:\d[\d.:]*[KMG]?|[A-Z]+)\b)?/g,
      '<code class="flag">$&</code>',
    )
    .replaceAll(
      /\bE[A-Z]{3,}\b/g,
      (code) =>
        course.codes.has(code)
          ? `<a href="${href(place, `errors.html#${code}`)}"><code>${code}</code></a>`
          : code,
    )
    .replaceAll(
      /(?<![\w.])(?<!section |RFC \d+, )[1-5]\.\d{1,2}(?![\w]|\.\d| (?:s|ms|%|MB)\b)/g,
      (number) => {
        const lesson = course.lessons.find(({ head }) => head.number === number);
        return lesson ? `<a href="${href(place, pageOf(lesson.path))}">${number}</a>` : number;
      },
    );
}

/** The figure of a program: its head folded, the rest in two columns, and one button that copies all of it. */
export function program(source: string, name: string, lang: Language): string {
  const end = source.indexOf("*/\n") + 3;
  const [head, rest] = [source.slice(0, end), source.slice(end)];
  const words = WORDS[lang];
  return `<figure class="program">
<figcaption><span class="name">${escaped(name)}</span>${button(words.copyFile, "program")}</figcaption>
<div class="code" role="region" aria-label="${escaped(name)}" tabindex="0" lang="en">
<details><summary>${words.headLines(head.split("\n").length - 1)}</summary><pre class="src">${
    codeAsHtml(head)
  }</pre></details>
<pre class="src two">${twoColumns(rest)}</pre>
</div>
</figure>`;
}

/** A file, folded. */
function folded(path: string, lang: Language, asHtml: (source: string) => string): string {
  const source = read(path);
  const lines = source.split("\n").length - 1;
  return `<details class="file"><summary>${escaped(WORDS[lang].wholeFile(path, lines))}</summary>
<div class="code" role="region" aria-label="${escaped(path)}" tabindex="0" lang="en">${
    button(WORDS[lang].copy, "program")
  }<pre class="src">${asHtml(source)}</pre></div></details>`;
}

/** The terminals side by side, each step with its place in the true order. */
export function terminals(lesson: Pick<Lesson, "head">, found: Kept | undefined, lang: Language): string {
  const words = WORDS[lang];
  const places = new Map<number, number[]>();
  for (const [index, terminal] of order(lesson.head, found).entries()) {
    places.set(terminal, [...(places.get(terminal) ?? []), index]);
  }
  const columns = Array.from(stepsOf(lesson.head)).toSorted(([a], [b]) => a - b).map(([number, steps]) => {
    const lines = steps.map((step, index) => {
      const isError = step.kind === "see" && /^(?:error|hint): /.test(step.text);
      const isReady = step.kind === "see" && READY.test(step.text);
      const kind = isError ? "error" : isReady ? "ready" : step.kind;
      const text = shown(step);
      const html = step.kind === "key" ? `<kbd>${text}</kbd>` : withFlags(escaped(text));
      return `<span class="${kind}" data-at="${places.get(number)?.[index]}">${html}\n</span>`;
    });
    const name = words.terminal(number);
    return `<section class="terminal" aria-label="${name}"><h3>${name}</h3><pre lang="en">${
      lines.join("")
    }</pre></section>`;
  });
  const controls = ["play", "step", "all"] as const;
  return `<div class="player" data-progress="${words.progress}" data-pause="${words.pause}">
<div class="controls" hidden>${
    controls.map((name) => `<button type="button" data-do="${name}">${words[name]}</button>`).join("")
  }<output></output></div>
<div class="terminals${columns.length === 1 ? " one" : ""}">${columns.join("\n")}</div>
</div>`;
}

/** The commands of each terminal. */
function commands({ head }: Lesson, lang: Language): string {
  const rows = Array.from(stepsOf(head)).toSorted(([a], [b]) => a - b).map(([number, steps]) => {
    const texts = new Set(steps.flatMap((step) => (step.kind === "run" ? step.command : [])));
    const lines = Array.from(texts, (text) => `<li>${command(text, lang)}</li>`);
    return `<div><dt>${WORDS[lang].terminal(number)}</dt><dd><ul>${lines.join("")}</ul></dd></div>`;
  });
  return `<dl class="run">${rows.join("\n")}</dl>`;
}

/** The text of a note: Python, Watch out, Try. */
const noteOf = ({ notes }: Lesson["head"], label: string) =>
  notes.find((note) => note.label === label)?.text ?? "";

const asRemark = (remark: string) => remark && `<small>${escaped(remark.replace(/^[,:] /, ""))}</small>`;

/** A call of a head, which may end in the middle, with its brackets closed. */
function closed(code: string): string {
  const ends: string[] = [];
  for (const letter of code) {
    if ("({[".includes(letter)) ends.unshift({ "(": ")", "{": " }", "[": "]" }[letter]!);
    else if (")}]".includes(letter)) ends.shift();
  }
  if (ends.length === 0) return code;
  return `${code}${code.startsWith("for await") ? "" : /[{]$/.test(code) ? " ..." : "..."}${ends.join("")}`;
}

/** Python's calls beside ours. */
export function calls({ head }: Lesson): string {
  const rows = callRows(noteOf(head, "Python"));
  let before = "";
  const html = rows.map(({ python, ours }) => {
    const left = before + python;
    before = ours ? "" : `${left}\n`;
    if (!ours) return "";
    const [code, remark] = /^(?:\(?none|the )/.test(ours)
      ? ["", ours]
      : cutRemark(ours.replace(/, (?=which reads )/, ": "));
    const right = (code ? `<code>${codeAsHtml(closed(code))}</code>` : "") + asRemark(remark);
    const plain = left.startsWith("(none") ? escaped(left) : `<code>${codeAsHtml(left, "python")}</code>`;
    return `<tr><td>${plain}</td><td><span>${right}</span></td></tr>`;
  });
  return `<table class="calls" lang="en"><thead><tr><th scope="col">Python</th><th scope="col">TypeScript</th></tr></thead><tbody>${
    html.join("\n")
  }</tbody></table>`;
}

/**
 * What two printed pages leave to the ladder, in millimetres: it stands on one of them, below what is before it or
 * above what comes after it. Where little is left, as below a long program, paper does without it: 0.
 * @param source the program, if the page shows it
 */
function roomOnPaper({ head }: Lesson, source: string, notes: string[]): number {
  const [page, line, noteLine, gap] = [270, 2.95, 4.6, 30]; // a gap: what is not broken goes to the next page
  const rows = (text: string, width: number) =>
    text.split("\n").reduce((sum, { length }) => sum + Math.max(1, Math.ceil(length / width)), 0);
  const program = source ? 20 + line * rows(source.slice(source.indexOf("*/")), 94) : 0;
  const terminals = Array.from(stepsOf(head).values(), (steps) => rows(steps.map(shown).join("\n"), 62))
    .map((rows, index, all) => (index % 2 === 0 ? 13 + line * Math.max(rows, all[index + 1] ?? 0) : 0));
  const before = 35 + program + terminals.reduce((sum, height) => sum + height);
  const heights = notes.map((note) => {
    const lines = note.split("\n");
    const prose = lines.filter((line) => !isRow(line)).join(" ");
    const width = prose.length + (prose.match(/[\u2e80-\uffef]/g)?.length ?? 0);
    return noteLine * (lines.filter(isRow).length + width / 58);
  });
  const after = 40 + 5.2 * callRows(noteOf(head, "Python")).length + Math.max(...heights);
  const room = before < page ? page - Math.min(before, after) : 2 * page - before - gap - after;
  return room < 45 ? 0 : Math.floor(room);
}

/** The ladder of the wire: the picture, and its packets as text for those who cannot see it. */
function wire({ path }: Lesson, course: Course, place: Place, room: number): string {
  const words = WORDS[place.lang];
  const found = course.ladders.get(path);
  const arrows = found?.moments.filter((moment) => "conversation" in moment) ?? [];
  if (!found || arrows.length === 0) return "";
  const count = arrows.length + found.more;
  const [{ left, right }] = arrows;
  const more = found.more > 0 ? ` <span class="more">… +${found.more}</span>` : "";
  return `<section id="wire"${room ? "" : ' class="unprinted"'}><h2>${words.wire}</h2>
<p class="note">${words.wireNote}${more}</p>
<div class="ladder" role="region" aria-label="${words.wire}" tabindex="0"><img src="${
    href(place, ladderOf(path), "")
  }" width="820" height="${
    course.heights.get(path)
  }" style="--room:${room}mm" loading="lazy" decoding="async" alt="${
    escaped(words.ladder(count, left, right))
  }"></div>
</section>`;
}

const section = (id: string, title: string, body: string) =>
  body ? `<section id="${id}"><h2>${title}</h2>\n${body}\n</section>` : "";

/** The page of one script. */
export function lessonPage(lesson: Lesson, lang: Language, course: Course): Page {
  const { path, head } = lesson;
  const words = WORDS[lang];
  const place = { path: pageOf(path), lang };
  const bare = course.bare.get(path);
  const found = course.ladders.get(path);
  const note = (label: string) => prose(noteOf(head, label), place, course);
  const [watchOut, tryIt] = lang === "en" ? ["Watch out", "Try"] : ["注意", "试试"];
  const chapter = chapterOf(lesson);
  const pair = course.lessons.filter((other) => other.head.number === head.number);
  const tabs = pair.length > 1
    ? `<nav class="tabs" aria-label="${words.pair}">${
      pair.map((other) =>
        `<a href="${href(place, pageOf(other.path))}"${other === lesson ? ' aria-current="page"' : ""}>${
          basename(other.path)
        }</a>`
      ).join("")
    }</nav>`
    : "";
  const at = course.lessons.indexOf(lesson);
  const neighbour = (index: number, label: string, rel: string) => {
    const other = course.lessons[index];
    return other
      ? `<a rel="${rel}" href="${
        href(place, pageOf(other.path))
      }"><small>${label}</small><span>${other.head.number} ${escaped(titleOf(other, lang))}</span></a>`
      : "<span></span>";
  };
  const name = path.replace(/^scripts\/|\.ts$/g, "");
  const exercise = course.exercises.has(name)
    ? `<p class="exercise">${words.exercise}</p>${command(`make practice L=${name}`, lang)}`
    : "";
  const intro = bare
    ? `<p class="note">${words.bareNote}</p>${command(bare.head.usage.replace(/ \[.*/, ""), lang)}`
    : `<p class="note">${words.wholeNote}</p>`;
  const source = read(bare?.path ?? path);
  const isLong = source.split("\n").length > 180;
  const figure = isLong && !bare ? "" : program(source, basename(path), lang);
  const body = `<article class="wide">
<div class="intro">
<p class="crumbs"><a href="${href(place, `chapter-${chapter}.html`)}">${chapter} · ${
    CHAPTERS[chapter].title[lang]
  }</a></p>
<h1><span class="number">${head.number}</span> ${escaped(titleOf(lesson, lang))}</h1>
<p class="idea">${escaped(ideaOf(lesson, lang))}</p>
${tabs}
</div>
${figure ? section("program", words.program, intro + figure) : ""}
${section("run", words.run, `<p class="note">${words.runNote}</p>${commands(lesson, lang)}`)}
${
    section(
      "terminals",
      words.terminals,
      `<p class="note">${words.terminalsNote(BUN_ONLY.includes(name))}</p>${terminals(lesson, found, lang)}`,
    )
  }
${
    wire(
      lesson,
      course,
      place,
      roomOnPaper(lesson, figure ? source : "", [watchOut, tryIt].map((label) => noteOf(head, label))),
    )
  }
${section("python", words.python, calls(lesson))}
<div class="notes">
<section id="watch-out"><h2>${words.watchOut}</h2>${note(watchOut)}</section>
<section id="try"><h2>${words.tryIt}</h2>${note(tryIt)}${exercise}</section>
</div>
${section("whole", words.whole, whole(lesson, place))}
<nav class="neighbours" aria-label="${words.lessons}">${neighbour(at - 1, words.previous, "prev")}${
    neighbour(at + 1, words.next, "next")
  }</nav>
</article>`;
  return {
    ...place,
    title: `${head.number} ${titleOf(lesson, lang)}`,
    description: ideaOf(lesson, lang),
    body,
    kind: "lesson",
  };
}

/** The whole lesson and its parts, folded; what several chapters share has pages of its own. */
function whole({ path }: Lesson, place: Place): string {
  const words = WORDS[place.lang];
  const { modules } = closure(path);
  const own = modules.filter((module) => module !== path && !module.startsWith("lib/"));
  const shared = modules.filter((module) => module.startsWith("lib/"));
  return [
    folded(path, place.lang, codeAsHtml),
    ...(own.length > 0
      ? [`<h3>${words.parts}</h3>`, ...own.map((file) => folded(file, place.lang, fileAsHtml))]
      : []),
    `<p class="shared">${words.shared}${
      shared.map((file) =>
        `<a href="${href(place, file.replace(/\.ts$/, ".html"))}"><code>${file}</code></a>`
      ).join(words.comma)
    }</p>`,
  ].join("\n");
}

/** The page of a module in lib/. */
export function modulePage(path: string, lang: Language, course: Course): Page {
  const words = WORDS[lang];
  const place = { path: path.replace(/\.ts$/, ".html"), lang };
  const source = read(path);
  const says = /\/\*\*\s*([^]*?)\s*\*\//.exec(source)?.[1].replaceAll(/\n \* ?/g, " ") ?? "";
  const users = course.lessons.filter((lesson) => closure(lesson.path).modules.includes(path));
  const numbers = new Map(users.map((lesson) => [lesson.head.number, lesson]));
  const links = Array.from(
    numbers,
    ([number, lesson]) => `<a href="${href(place, pageOf(lesson.path))}">${number}</a>`,
  );
  const body = `<article class="wide">
<div class="intro"><p class="crumbs">${words.library}</p>
<h1>${path}</h1><p class="idea" lang="en">${inline(says)}</p><p class="note">${words.usedBy}${
    links.join(words.comma)
  }</p></div>
<figure class="program"><figcaption><span class="name">${path}</span>${
    button(words.copyFile, "program")
  }</figcaption><div class="code" role="region" aria-label="${path}" tabindex="0" lang="en"><pre class="src plain">${
    codeAsHtml(source)
  }</pre></div></figure>
</article>`;
  return { ...place, title: path, description: says, body, kind: "module" };
}
