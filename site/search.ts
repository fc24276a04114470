/** The index of the search: for each page its title and its words. It is loaded when somebody searches, also from disk. */
import type { Page } from "./page.ts";

/** The text of a page, as the search sees it. */
export function textOf(html: string): string {
  return html
    .replaceAll(/<(pre|script|nav|button)\b[^]*?<\/\1>/g, " ") // programs are long, and their words are everywhere
    .replaceAll(/<\/?(?:i|b|a|code|span|strong|em|wbr)\b[^>]*>/g, "") // within a line
    .replaceAll(/<[^>]+>/g, " ")
    .replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&quot;", '"').replaceAll("&amp;", "&")
    .replaceAll(/\s+/g, " ").trim();
}

/** The script that holds the index: a script, not JSON, because a page from disk may load nothing else. */
export function searchScript(pages: Page[]): string {
  const entries = pages.flatMap((page) => {
    if (page.kind !== "errors") return [[page.path, page.title, textOf(page.body)]];
    return [...page.body.matchAll(/<section class="code-entry" id="(\w+)">([^]*?)<\/section>/g)]
      .map(([, code, html]) => [`${page.path}#${code}`, code, textOf(html)]);
  });
  return `globalThis.SEARCH = ${JSON.stringify(entries).replaceAll("],[", "],\n[")};\n`;
}
