/** What every page has: its address in both languages, its frame, and the links between pages. */
import { readFileSync } from "node:fs";
import { join, posix } from "node:path";
import MarkdownIt from "markdown-it";
import { ROOT } from "../tests/engine/program.ts";
import { escaped } from "./code.ts";
import { type Language, WORDS } from "./words.ts";

/** A page: `path` is that of its English version, such as "udp/send.html"; the Chinese one lies below zh/. */
export type Page = {
  path: string;
  lang: Language;
  title: string;
  /** For search engines and for our own search. */
  description: string;
  body: string;
  /** What kind of page it is: style.css looks at it. */
  kind: string;
};

const file = (path: string, lang: Language) => (lang === "en" ? path : `zh/${path}`);

/** Where a page lies below site/out. */
export const placeOf = ({ path, lang }: Pick<Page, "path" | "lang">): string => file(path, lang);

/** The address of a page or a file, as seen from a page: relative, so that the site works from anywhere. */
export function href(from: Pick<Page, "path" | "lang">, to: string, lang: Language | "" = from.lang): string {
  const [path, fragment] = to.split("#");
  const target = lang === "" ? path : file(path, lang);
  const relative = posix.relative(posix.dirname(placeOf(from)), target) || posix.basename(target);
  return `${relative}${fragment ? `#${fragment}` : ""}`;
}

const markdown = new MarkdownIt();

/** HTML whose lines do not end between the two dashes of a flag. */
export const withFlags = (html: string): string =>
  html.replaceAll(/(?<![\w-])--[a-z][a-z-]*/g, '<span class="flag">$&</span>');

/** A sentence with `code` in it, as HTML. */
export const inline = (text: string): string => withFlags(markdown.renderInline(text));

/** Several paragraphs in Markdown. */
export const block = (text: string): string => withFlags(markdown.render(text));

/** The lines of a note, which end where a head's line is full, as one text: Chinese needs no space between them. */
export const unwrapped = (text: string): string =>
  text.replaceAll(/(?<=[\u2e80-\uffef])\n(?=[\u2e80-\uffef])|(?<=[\u3000-\u303f\uff00-\uffef])\n/g, "")
    .replaceAll("\n", " ");

/** In each page, because the first paint would wait for a file of its own. Comments and indents are left out. */
const STYLE = readFileSync(join(ROOT, "site", "style.css"), "utf8")
  .replaceAll(/\/\*[^]*?\*\//g, "").replaceAll(/\n\s+/g, "\n");

/** The whole page. */
export function render(page: Page): string {
  const words = WORDS[page.lang];
  const other: Language = page.lang === "en" ? "zh" : "en";
  const to = (path: string) => href(page, path);
  const asset = (path: string) => href(page, `assets/${path}`, "");
  const here = (path: string) => (page.path === path ? ' aria-current="page"' : "");
  const lang = { en: "en", zh: "zh-Hans" };
  const title = page.path === "index.html" ? page.title : `${page.title} · ${words.name}`;
  return `<!doctype html>
<html lang="${lang[page.lang]}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escaped(title)}</title>
<meta name="description" content="${escaped(page.description)}">
<style>${STYLE}</style>
<link rel="icon" href="${asset("icon.svg")}" type="image/svg+xml">
<link rel="alternate" hreflang="${lang[other]}" href="${href(page, page.path, other)}">
<script defer src="${asset("page.js")}" data-index="${asset(`search-${page.lang}.js`)}" data-top="${
    posix.relative(posix.dirname(placeOf(page)), file("", page.lang) || ".") || "."
  }"></script>
</head>
<body class="${page.kind}">
<a class="skip" href="#content">${words.skip}</a>
<header class="bar">
<div class="wide">
<a class="brand" href="${
    to("index.html")
  }"><svg width="20" height="20" viewBox="0 0 20 20" aria-hidden="true"><path d="M3 2v16M17 2v16M3 5.5l13 3m-2.6-2.2 2.8 2.2-3.3 1.1M17 12.5l-13 3m3.2-2.4L4 15.5l3.4.9"/></svg>${words.name}</a>
<nav aria-label="${words.lessons}">
<a href="${to("index.html#lessons")}">${words.lessons}</a>
<a href="${to("calls.html")}"${here("calls.html")}>${words.calls}</a>
<a href="${to("errors.html")}"${here("errors.html")}>${words.errors}</a>
</nav>
<div class="find" role="search" data-label="${words.search}" data-hint="${words.searchHint}" data-nothing="${words.nothing}"></div>
<a class="switch" lang="${lang[other]}" hreflang="${lang[other]}" href="${
    href(page, page.path, other)
  }">${words.other}</a>
</div>
</header>
<main id="content" tabindex="-1">
${page.body}
</main>
<footer class="wide"><p>${words.footer}</p></footer>
</body>
</html>
`;
}
