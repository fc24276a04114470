/** The pages that lead to lessons: the start page, a page per chapter, the calls and the errors. */
import { basename } from "node:path";
import { CALLS, CALLS_NOTE } from "./calls.ts";
import { codeAsHtml, escaped } from "./code.ts";
import { ERRORS } from "./errors.ts";
import {
  calls,
  chapterOf,
  type Course,
  ideaOf,
  pageOf,
  program,
  read,
  terminals,
  titleOf,
} from "./lesson.ts";
import { block, href, inline, type Page, unwrapped } from "./page.ts";
import { CHAPTERS, type Language, WORDS } from "./words.ts";
import type { Lesson } from "../tests/engine/lessons.ts";

type Place = Pick<Page, "path" | "lang">;

/** The lesson that the start page shows. */
const SHOWN = "scripts/tcp/many-requests-server.ts";

/** The lessons of a chapter, those of the same number together. */
function list(lessons: Lesson[], place: Place): string {
  const numbers = Map.groupBy(lessons, ({ head }) => head.number);
  const items = Array.from(numbers, ([number, scripts]) => {
    const rows = scripts.map((lesson) =>
      `<li><a href="${href(place, pageOf(lesson.path))}">${
        escaped(titleOf(lesson, place.lang))
      }</a> <span class="file">${basename(lesson.path)}</span><p>${
        escaped(ideaOf(lesson, place.lang))
      }</p></li>`
    );
    return `<li><span class="number">${number}</span><ul>${rows.join("")}</ul></li>`;
  });
  return `<ol class="lessons">${items.join("\n")}</ol>`;
}

const ofChapter = (course: Course, chapter: string) =>
  course.lessons.filter((lesson) => chapterOf(lesson) === chapter);

export function startPage(lang: Language, course: Course): Page {
  const words = WORDS[lang];
  const place = { path: "index.html", lang };
  const shown = course.lessons.find(({ path }) => path === SHOWN);
  const bare = course.bare.get(SHOWN);
  if (!shown || !bare) throw new Error(`${SHOWN}: the start page shows it`);
  const line = (text: string) =>
    `<span class="command"><code>${text}</code><button type="button" class="copy" data-copy="command" hidden>${words.copy}</button></span>`;
  const chapters = Object.keys(CHAPTERS).map((chapter) =>
    `<section class="chapter" id="chapter-${chapter}"><h3><a href="${
      href(place, `chapter-${chapter}.html`)
    }">${chapter} · ${CHAPTERS[chapter].title[lang]}</a></h3><p class="about">${
      CHAPTERS[chapter].about[lang]
    }</p>${list(ofChapter(course, chapter), place)}</section>`
  );
  const [intro, start] = read(`site/start.${lang}.md`).split(/^---$/m);
  const body = `<div class="hero wide"><h1>${words.name}</h1>
<div class="lead">${block(unwrapped(intro))}</div>
<div class="commands">${line("make demo")}${line("make test")}</div>
<div class="small">${block(unwrapped(start))}</div></div>
<article class="wide">
<section id="one"><h2>${words.whatLesson}${shown.head.number} ${escaped(titleOf(shown, lang))}</h2>
<p class="idea">${escaped(ideaOf(shown, lang))}</p>
${program(read(bare.path), basename(bare.path), lang)}
${terminals(shown, course.ladders.get(SHOWN), lang)}
<p class="go"><a href="${href(place, pageOf(SHOWN))}">${words.moreOf}</a></p>
</section>
<section id="lessons"><h2>${words.allLessons}</h2>
${chapters.join("\n")}
</section>
</article>`;
  return {
    ...place,
    title: words.name,
    description: unwrapped(intro).trim(),
    body,
    kind: "start",
  };
}

export function chapterPage(chapter: string, lang: Language, course: Course): Page {
  const words = WORDS[lang];
  const place = { path: `chapter-${chapter}.html`, lang };
  const { title, about } = CHAPTERS[chapter];
  const numbers = Object.keys(CHAPTERS);
  const neighbour = (other: string | undefined, label: string, rel: string) =>
    other
      ? `<a rel="${rel}" href="${
        href(place, `chapter-${other}.html`)
      }"><small>${label}</small><span>${other} · ${CHAPTERS[other].title[lang]}</span></a>`
      : "<span></span>";
  const at = numbers.indexOf(chapter);
  const body = `<article class="wide">
<div class="intro"><p class="crumbs"><a href="${
    href(place, "index.html#lessons")
  }">${words.allLessons}</a></p>
<h1><span class="number">${chapter}</span> ${title[lang]}</h1><p class="idea">${about[lang]}</p></div>
${list(ofChapter(course, chapter), place)}
<nav class="neighbours" aria-label="${words.lessons}">${
    neighbour(numbers[at - 1], words.previousChapter, "prev")
  }${neighbour(numbers[at + 1], words.nextChapter, "next")}</nav>
</article>`;
  return { ...place, title: `${chapter} ${title[lang]}`, description: about[lang], body, kind: "list" };
}

/** Code that may go on in the next line before the dot of a call. */
const breakable = (html: string) => html.replaceAll(".<i class=f>", "<wbr>.<i class=f>");

export function callsPage(lang: Language, course: Course): Page {
  const words = WORDS[lang];
  const place = { path: "calls.html", lang };
  const cell = (name: string, code: string, language: "typescript" | "python" = "typescript") =>
    `<td data-name="${name}">${
      code
        ? `<code>${breakable(codeAsHtml(code, language))}</code>`
        : `<span class="none">${words.none}</span>`
    }</td>`;
  const groups = CALLS.map(({ title, rows }) => {
    const lines = rows.map(({ python, node, bun, deno, lesson }) => {
      const taught = course.lessons.find(({ path }) => path === `scripts/${lesson}.ts`);
      if (lesson && !taught) throw new Error(`site/calls.ts: no lesson ${lesson}`);
      const link = taught ? `<a href="${href(place, pageOf(taught.path))}">${taught.head.number}</a>` : "";
      return `<tr>${cell("Python", python, "python")}${cell("Node", node)}${cell("Bun", bun)}${
        cell("Deno", deno)
      }<td class="at"${link && ` data-name="${words.lesson}"`}>${link}</td></tr>`;
    });
    const names = ["Python", "Node", "Bun", "Deno", words.lesson];
    return `<section class="group"><h2>${title[lang]}</h2><table class="four"><thead><tr>${
      names.map((name) => `<th scope="col">${name}</th>`).join("")
    }</tr></thead><tbody>${lines.join("\n")}</tbody></table></section>`;
  });
  const taught = course.lessons.map((lesson) =>
    `<section class="group"><h3><a href="${href(place, pageOf(lesson.path))}">${lesson.head.number} ${
      escaped(titleOf(lesson, lang))
    }</a></h3>${calls(lesson)}</section>`
  );
  const body = `<article class="wide">
<div class="intro"><h1>${words.calls}</h1><p class="idea">${words.callsIdea}</p>
<p class="note">${words.callsNote} ${inline(CALLS_NOTE[lang])}</p></div>
${groups.join("\n")}
<h2 id="taught">${words.callsTaught}</h2>
${taught.join("\n")}
</article>`;
  return { ...place, title: words.calls, description: words.callsIdea, body, kind: "reference" };
}

export function errorsPage(lang: Language, course: Course): Page {
  const words = WORDS[lang];
  const place = { path: "errors.html", lang };
  const entries = ERRORS.map(({ code, means, provoke, remedy }) => {
    const seen = course.lessons.filter(({ head }) =>
      head.sections.some(({ steps }) =>
        steps.some((step) => step.kind === "see" && RegExp(`\\b${code}\\b`).test(step.text))
      )
    );
    const links = seen.map((lesson) =>
      `<a href="${href(place, `${pageOf(lesson.path)}#terminals`)}">${lesson.head.number} ${
        basename(lesson.path)
      }</a>`
    );
    const where = links.length > 0
      ? `<div><dt>${words.shownIn}</dt><dd>${links.join(words.comma)}</dd></div>`
      : "";
    return `<section class="code-entry" id="${code}"><h2><a href="#${code}">${code}</a></h2>
<p>${inline(means[lang])}</p>
<dl><div><dt>${words.provoke}</dt><dd>${inline(provoke[lang])}</dd></div>
<div><dt>${words.remedy}</dt><dd>${inline(remedy[lang])}</dd></div>${where}</dl></section>`;
  });
  const index = ERRORS.map(({ code }) => `<a href="#${code}">${code}</a>`).join(" ");
  const body = `<article class="wide">
<div class="intro"><h1>${words.errors}</h1><p class="idea">${words.errorsIdea}</p></div>
<nav class="codes" aria-label="${words.errors}">${index}</nav>
<div class="entries">${entries.join("\n")}</div>
</article>`;
  return { ...place, title: words.errors, description: words.errorsIdea, body, kind: "errors" };
}
