/** The types and the syntax of a learner's program. Each text is checked once, many of them by one run of the checker. */
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { isChinese } from "../../lib/help.ts";
import { temporaryFolder } from "../engine/files.ts";
import { ROOT, start } from "../engine/program.ts";

/** What is wrong, in the language of the person, and in which line. */
export type Mistake = { why: string; line?: number };

/** Less is asked than of the course: `any` is welcome. A file without imports is a module too, as the runtimes see it. */
const OPTIONS =
  "--ignoreConfig --noEmit --pretty false --target esnext --lib esnext --module esnext --moduleResolution bundler --moduleDetection force --types node --skipLibCheck --allowImportingTsExtensions --strict false --erasableSyntaxOnly"
    .split(" ");

/** What the runtimes have of their own: where another one runs the program, it will say so itself. */
const OWN = "declare const Bun: any, Deno: any;\ndeclare function prompt(text?: string): string | null;\n";

/** What is known, by text. */
const known = new Map<string, Promise<Mistake | undefined>>();

/** The first mistake in the syntax or the types of a text. */
export function typesOf(source: string): Promise<Mistake | undefined> {
  if (!known.has(source)) checkAll([source]);
  return known.get(source) as Promise<Mistake | undefined>;
}

/** Checks many texts at once, for those who will ask for them one by one. */
export function checkAll(sources: string[]): void {
  if (sources.length === 0) return;
  const all = tsc(sources);
  for (const source of sources) known.set(source, all.then((mistakes) => mistakes.get(source)));
}

const nameOf = (source: string) => `${createHash("sha256").update(source).digest("hex")}.ts`;

/** The first mistake of each text that has one. */
async function tsc(sources: string[]): Promise<Map<string, Mistake>> {
  await using folder = temporaryFolder();
  const texts = new Map(sources.map((source) => [nameOf(source), source]));
  for (const [name, source] of texts) writeFileSync(folder.at(name), source);
  writeFileSync(folder.at("own.d.ts"), OWN);
  const locale = isChinese() ? ["--locale", "zh-cn"] : [];
  const types = ["--typeRoots", join(ROOT, "node_modules/@types")];
  await using program = start(["tsc", ...OPTIONS, ...locale, ...types, "own.d.ts", ...texts.keys()], {
    cwd: folder.path,
    limit: 60_000,
  });
  const { code, stdout } = await program.result();
  const found = [...stdout.matchAll(/^(\w+\.ts)\((\d+),\d+\): error TS(\d+): (.*)/gm)];
  if (code !== 0 && found.length === 0) throw new Error(`tsc: ${stdout}`);
  const first = new Map<string, Mistake>();
  for (const [, name, line, , why] of found) {
    const source = texts.get(name) ?? "";
    if (!first.has(source)) first.set(source, { why, line: Number(line) });
  }
  // Where one text has a mistake in its syntax (TS1000 to TS1999), the types of the others were not looked at.
  const isSyntax = found.some(([, , , number]) => /^1\d{3}$/.test(number));
  const rest = texts.values().filter((source) => !first.has(source)).toArray();
  return isSyntax && rest.length > 0 ? new Map([...first, ...await tsc(rest)]) : first;
}
