/**
 * `make site`: the course as pages, in both languages, into site/out. Static files, made from the heads, the same bytes
 * from the same sources; they work from disk and below any path of a host.
 */
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { barePrograms, filesBelow, lessonOf, lessons } from "../tests/engine/lessons.ts";
import { ROOT } from "../tests/engine/program.ts";
import { exercises } from "../tests/practice/exercise.ts";
import { ERRORS } from "./errors.ts";
import { draw, kept } from "./ladders.ts";
import { type Course, ladderOf, lessonPage, modulePage } from "./lesson.ts";
import { callsPage, chapterPage, errorsPage, startPage } from "./overview.ts";
import { type Page, placeOf, render } from "./page.ts";
import { searchScript } from "./search.ts";
import { CHAPTERS, type Language, LANGUAGES } from "./words.ts";

/** What is copied as it is. */
const ASSETS = ["page.js", "icon.svg"];

function course(): Course {
  const all = lessons();
  return {
    lessons: all,
    bare: new Map(barePrograms().map((program) => [lessonOf(program), program])),
    ladders: new Map(all.flatMap((lesson) => {
      const found = kept(lesson);
      return found ? [[lesson.path, found]] : [];
    })),
    heights: new Map(),
    exercises: new Set(exercises().map(({ name }) => name)),
    codes: new Set(ERRORS.map(({ code }) => code)),
  };
}

function pages(course: Course, lang: Language): Page[] {
  return [
    startPage(lang, course),
    ...Object.keys(CHAPTERS).map((chapter) => chapterPage(chapter, lang, course)),
    ...course.lessons.map((lesson) => lessonPage(lesson, lang, course)),
    callsPage(lang, course),
    errorsPage(lang, course),
    ...filesBelow("lib/*.ts").map((path) => modulePage(path, lang, course)),
  ];
}

/** Writes the site into a folder, which is emptied first. @returns how many pages there are */
export function build(out: string): number {
  rmSync(out, { recursive: true, force: true });
  const place = (file: string) => {
    const path = join(out, file);
    mkdirSync(dirname(path), { recursive: true });
    return path;
  };
  const all = course();
  for (const { path, head } of all.lessons) {
    const found = all.ladders.get(path);
    if (found?.moments.some((moment) => "conversation" in moment)) {
      all.heights.set(path, draw(head, found, place(ladderOf(path))));
    }
  }
  let count = 0;
  for (const lang of LANGUAGES) {
    const made = pages(all, lang);
    for (const page of made) writeFileSync(place(placeOf(page)), render(page));
    writeFileSync(place(`assets/search-${lang}.js`), searchScript(made));
    count += made.length;
  }
  for (const name of ASSETS) copyFileSync(join(ROOT, "site", name), place(`assets/${name}`));
  writeFileSync(place(".nojekyll"), ""); // GitHub Pages leaves files as they are
  return count;
}

if (import.meta.main) {
  const out = process.argv[2] ?? join(ROOT, "site", "out");
  console.log(`${build(out)} pages: ${join(out, "index.html")}`);
}
