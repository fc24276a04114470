/** Code as HTML: highlighted by Shiki, and a program in two columns, each comment beside the line that it explains. */
import { createCssVariablesTheme, createHighlighterCore, type ThemedToken } from "shiki/core";
import { createOnigurumaEngine } from "shiki/engine/oniguruma";
import python from "shiki/langs/python.mjs";
import typescript from "shiki/langs/typescript.mjs";

export const escaped = (text: string) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

/** Text between tags, where a quotation mark is itself: code has thousands of them. */
const escapedCode = (text: string) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

const THEME = "kinds";
const highlighter = await createHighlighterCore({
  themes: [createCssVariablesTheme({ name: THEME, variablePrefix: "" })],
  langs: [typescript, python],
  engine: createOnigurumaEngine(import("shiki/wasm")),
});

/** The kinds of tokens that have a colour, and their class in style.css. The others look like plain text. */
const CLASSES: Record<string, string> = {
  "var(token-keyword)": "k",
  "var(token-string)": "s",
  "var(token-string-expression)": "s",
  "var(token-comment)": "z",
  "var(token-constant)": "n",
  "var(token-function)": "f",
};

/** A piece of code, and the class of its kind. */
type Piece = { text: string; kind: string | undefined };

/** Without a limit of time: on a busy machine, what comes after it would have no colours, so the bytes would differ. */
const OPTIONS = {
  typescript: { lang: "typescript", theme: THEME, tokenizeTimeLimit: 0 },
  python: { lang: "python", theme: THEME, tokenizeTimeLimit: 0 },
};

/** What was highlighted: most code stands on several pages. */
const known = new Map<string, ThemedToken[][]>();

/**
 * Highlights code: its lines, with neighbours of the same kind made one.
 * @param kinds those that are to be seen
 */
function highlight(code: string, lang: "typescript" | "python", kinds = Object.values(CLASSES)): Piece[][] {
  const lines = known.get(lang + code) ?? highlighter.codeToTokensBase(code, OPTIONS[lang]);
  known.set(lang + code, lines);
  return lines.map((line) => {
    const pieces: Piece[] = [];
    for (const { content: text, color = "" } of line) {
      // Of what the grammar calls a constant, only literals: elsewhere every object would have a colour.
      const isName = CLASSES[color] === "n" &&
        !/^(?:[\d.]|true|false|null|undefined|NaN|Infinity)/.test(text);
      const kind = isName || !kinds.includes(CLASSES[color]) ? undefined : CLASSES[color];
      const dot = kind === "f" && text.startsWith(".") ? "." : ""; // the grammar has it in the name of the call
      for (const piece of [{ text: dot, kind: undefined }, { text: text.slice(dot.length), kind }]) {
        const last = pieces.at(-1);
        if (last && (last.kind === piece.kind || !piece.text.trim())) last.text += piece.text;
        else if (piece.text) pieces.push(piece);
      }
    }
    return pieces;
  });
}

const piecesAsHtml = (pieces: Piece[]) =>
  pieces.map(({ text, kind }) => (kind ? `<i class=${kind}>${escapedCode(text)}</i>` : escapedCode(text)))
    .join("");

/** Highlighted code, all of it, as it stands in its file. */
export function codeAsHtml(code: string, lang: "typescript" | "python" = "typescript"): string {
  return highlight(code, lang).map(piecesAsHtml).join("\n");
}

/** The same of a part, with fewer colours, comments and texts alone: some lessons have twenty of them on one page. */
export function fileAsHtml(code: string): string {
  return highlight(code, "typescript", ["z", "s"]).map(piecesAsHtml).join("\n");
}

/** A line of a program: what is code in it, and its comment, if it has one. */
type Line = { code: Piece[]; comment: string };

/** Cuts highlighted lines into code and the comment behind it. */
function cut(pieces: Piece[]): Line {
  const at = pieces.findIndex(({ kind, text }) => kind === "z" && text.trim());
  const comment = at < 0 ? "" : pieces.slice(at).map(({ text }) => text).join("");
  // A comment that more code follows stays in the code.
  if (at < 0 || pieces.slice(at).some(({ kind, text }) => kind !== "z" && text.trim())) {
    return { code: pieces, comment: "" };
  }
  return { code: pieces.slice(0, at), comment };
}

/** Whether the words of a comment are Python's call: house style sets them off by spaces, where there is room. */
const isPython = (marker: string, words: string) =>
  /^\/\/ {2,}$/.test(marker) || /^(?:[\w, ()]+ = \S|(?:s|connection)\.\w+\(|(?:if|while) .*:)/.test(words);

/**
 * A comment for the right column. Its marks (//, the stars of a block) are there for those who copy by hand, and take no
 * room.
 */
function commentAsHtml(comment: string): string {
  const [, marker, words, end] = /^(\s*(?:\/\/ *|\/\*\* *|\*\/|\* *))(.*?)(\s*(?:\*\/)?)$/s.exec(comment) ??
    ["", "", comment, ""];
  const shown = isPython(marker.trimStart(), words)
    ? `<code>${codeAsHtml(words, "python")}</code>`
    : escaped(words).replaceAll(/`([^`]+)`/g, "<b>`</b><code>$1</code><b>`</b>");
  const hidden = (mark: string) => (mark ? `<b>${escaped(mark)}</b>` : "");
  return hidden(marker) + shown + hidden(end);
}

/**
 * A program in two columns. Read as text, it is the program again, character by character: so what is copied from the
 * page is the file.
 */
export function twoColumns(source: string): string {
  const lines = highlight(source.replace(/\n$/, ""), "typescript").map(cut);
  const isBlank = ({ code }: Line) => code.every(({ text }) => !text.trim());
  const blocks: Line[][] = [];
  for (const [index, line] of lines.entries()) {
    const before = lines[index - 1];
    const continuesComment = before?.comment && isBlank(before);
    const begins = line.comment && !continuesComment;
    if (begins || blocks.length === 0) blocks.push([line]);
    else blocks[blocks.length - 1].push(line);
  }
  return blocks.map(blockAsHtml).join("");

  function blockAsHtml(block: Line[]): string {
    const comments = block.findIndex((line) => !(line.comment && isBlank(line)));
    const leading = block.slice(0, comments < 0 ? block.length : comments);
    const rest = block.slice(leading.length);
    const right = (html: string) => `<span class="r"><span>${html}</span></span>`;
    const left = (html: string) => `<span class="c">${html}</span>`;
    const indent = (line: Line) => line.code.map(({ text }) => text).join("");
    let html = "";
    if (leading.length > 0) {
      html += right(leading.map((line) => `${commentAsHtml(indent(line) + line.comment)}\n`).join(""));
    }
    const [first, ...others] = rest;
    if (first?.comment) {
      html += left(piecesAsHtml(first.code)) + right(`${commentAsHtml(first.comment)}\n`);
      if (others.length > 0) html += left(others.map(({ code }) => `${piecesAsHtml(code)}\n`).join(""));
    } else if (rest.length > 0) {
      html += left(rest.map(({ code, comment }) => `${piecesAsHtml(code)}${escaped(comment)}\n`).join(""));
    }
    return `<span class="b">${html}</span>`;
  }
}
