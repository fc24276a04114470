/** The shape of the house, which `make check` looks at: what belongs where, how much it is, and the calls in plain view. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { ProcessOutput } from "zx";
import { occurs, plainCode, promisedCalls } from "../engine/calls.ts";
import { closure } from "../engine/closure.ts";
import { barePrograms, filesBelow, type Lesson, lessonOf } from "../engine/lessons.ts";
import { ROOT } from "../engine/program.ts";
import { lessonsOf } from "./test.ts";

/** What lib/ may hold. */
const MOST_MODULES = 14, MOST_LINES = 1200;
/** The lessons with which people begin, and what each may take along, beside its own file. */
const FIRST = ["2.1", "2.2", "3.1", "3.2", "3.3", "3.4"];
const MOST_MODULES_OF_FIRST = 8, MOST_LINES_OF_FIRST = 650;
/** The longest function of a lesson, in lines: about two screens. */
const LONGEST = 100;
/** The longest bare program, in lines with its head; the menu of the chat may need more. */
const LONGEST_BARE = 50, LONGEST_BARE_CHAT = 65;

const read = (file: string) => readFileSync(join(ROOT, file), "utf8");
const count = (files: string[]) => files.reduce((sum, file) => sum + read(file).split("\n").length - 1, 0);

/** lib/ holds what scripts of at least two chapters use, and reads in a sitting. */
export function strangersInLib(lessons: Lesson[]): string[] {
  const chapters = new Map<string, Set<string>>();
  for (const { path, head } of lessons) {
    for (const module of closure(path).modules) {
      chapters.set(module, (chapters.get(module) ?? new Set()).add(head.number.split(".")[0]));
    }
  }
  const modules = readdirSync(join(ROOT, "lib")).map((name) => `lib/${name}`);
  const lines = count(modules);
  return [
    ...modules.filter((file) => (chapters.get(file)?.size ?? 0) < 2).map((file) => {
      const [only] = chapters.get(file) ?? [];
      return `${file}: used by ${
        only ? `chapter ${only} alone: it belongs beside its scripts` : "no lesson"
      }`;
    }),
    ...(modules.length > MOST_MODULES ? [`lib/: ${modules.length} modules, ${MOST_MODULES} at most`] : []),
    ...(lines > MOST_LINES ? [`lib/: ${lines} lines, ${MOST_LINES} at most`] : []),
  ];
}

/** Every file below scripts/ is a lesson or a bare program, is used by a lesson, or is named in a head. */
export function unused(lessons: Lesson[]): string[] {
  const used = new Set(lessons.flatMap(({ path }) => closure(path).modules));
  for (const { path } of barePrograms()) used.add(path);
  const heads = lessons.map(({ head }) => head.text).join("\n");
  return filesBelow("scripts/**/*.*")
    .filter((file) => !used.has(file) && (file.endsWith(".ts") || !heads.includes(file)))
    .map((file) => `${file}: no lesson uses it`);
}

/** What the head of a lesson promises in its Python row stands in its code. */
export function missingCalls(lessons: Lesson[]): string[] {
  return lessons.flatMap(({ path, head }) => {
    const source = read(path);
    const code = plainCode(source);
    const note = head.notes.find(({ label }) => label === "Python")?.text ?? "";
    const { calls, wrapped } = promisedCalls(note);
    return [
      ...calls.filter((call) => !occurs(call, code)).map((call) => `${path}: no ${call} in its code`),
      ...wrapped.flatMap(({ helper, calls }) => {
        const module = moduleOf(helper, path, source);
        const code = plainCode(read(module));
        return calls.filter((call) => !occurs(call, code))
          .map((call) => `${path}: ${helper}() of ${module} wraps no ${call}`);
      }),
    ];
  });
}

/** The file from which a file imports a name; itself, if it does not. */
function moduleOf(name: string, path: string, source: string): string {
  const from = RegExp(`^import \\{[^}]*\\b${name}\\b[^}]*\\} from "(\\.[^"]+)";$`, "m").exec(source)?.[1];
  return from === undefined ? path : join(path, "..", from).replaceAll("\\", "/");
}

/** The first lessons take little along. */
export function heavy(lessons: Lesson[]): string[] {
  return lessons.filter(({ head }) => FIRST.includes(head.number)).flatMap(({ path }) => {
    const { atOnce } = closure(path);
    const others = atOnce.modules.filter((module) => module !== path);
    const lines = count(others);
    return [
      ...(others.length > MOST_MODULES_OF_FIRST
        ? [`${path}: takes ${others.length} modules along, ${MOST_MODULES_OF_FIRST} at most`]
        : []),
      ...(lines > MOST_LINES_OF_FIRST
        ? [`${path}: takes ${lines} lines along, ${MOST_LINES_OF_FIRST} at most`]
        : []),
      ...atOnce.packages.map((name) => `${path}: loads ${name} when it starts`),
    ];
  });
}

/** A function with its place and its length in lines. */
export type Length = { file: string; name: string; lines: number };

/** The functions and methods of a file, as deno fmt writes them: each ends with a brace below its beginning. */
export function functions(file: string, source = read(file)): Length[] {
  const lines = source.split("\n");
  return lines.flatMap((line, index) => {
    const found =
      /^( *)(?:export )?(?:static )?(?:async )?(?:[gs]et )?(?:function\*? (\w+)|\*?((?!(?:if|for|while|switch|catch|with)\b)[#\w]+)(?=[(<]))/
        .exec(line);
    if (!found) return [];
    const open = line.endsWith("{") ? index : lines.findIndex((next, at) => at > index && /\{$/.test(next));
    if (open !== index && !lines[open]?.startsWith(`${found[1]})`)) return []; // a call, or a type
    const end = lines.findIndex((next, at) => at > open && next.startsWith(`${found[1]}}`));
    if (!/^ *\}[,;]?$/.test(lines[end] ?? "")) return [];
    return [{ file, name: found[2] ?? found[3], lines: end - index + 1 }];
  });
}

/** No function of a lesson, or of its parts, is longer than about two screens. */
export function long(): string[] {
  return ["scripts/**/*.ts", "lib/*.ts"].flatMap((pattern) => filesBelow(pattern)).flatMap((file) =>
    functions(file)
  )
    .filter(({ lines }) => lines > LONGEST)
    .map(({ file, name, lines }) => `${file}: ${name} has ${lines} lines, ${LONGEST} at most`);
}

/** What a program that checks has said, if it did not end well: one that was killed may have said nothing. */
export function complaint(
  { exitCode, signal, stdout, stderr }: Pick<ProcessOutput, "exitCode" | "signal" | "stdout" | "stderr">,
): string {
  if (exitCode === 0) return "";
  return `${stdout}${stderr}`.trim() || (signal ? `killed by ${signal}` : `exit code ${exitCode}`);
}

/** Tests that `make test L=3.1` would not find. */
export function homeless(): string[] {
  return filesBelow("tests/**/*.test.ts")
    .filter((file) => !/^tests\/(?:course|lib|engine|commands|site|hostile)\//.test(file))
    .filter((file) => lessonsOf(read(file)).length === 0)
    .map((file) => `${file}: begins without "/** Lesson N.N"`);
}

/** The socket calls of a source that have nowhere a comment with their counterpart in Python. */
function withoutPython(source: string): string[] {
  const calls =
    /\b(createSocket|createServer|connect|socket\.(?:bind|send|write|end|set[BM]\w+|addM\w+)|listen)\(/;
  const lines = source.split("\n").map((line) => ({
    name: calls.exec(line)?.[1],
    isTold: /\/\/ .*(\b(s|connection)\.\w+\(|= socket\()/.test(line),
  }));
  const names = new Set(lines.flatMap(({ name }) => name ?? []));
  return [...names].filter((name) => !lines.some((line) => line.name === name && line.isTold));
}

/** A bare program is short, imports nothing but `node:`, has Python's calls, and a lesson of its name and number. */
export function notBare(lessons: Lesson[]): string[] {
  const numbers = new Map(lessons.map(({ path, head }) => [path, head.number]));
  return barePrograms().flatMap((program) => {
    const { path, head } = program;
    const most = path.endsWith("/chat.ts") ? LONGEST_BARE_CHAT : LONGEST_BARE;
    const foreign = [...read(path).matchAll(/(?:\bfrom|\bimport|\brequire) ?\(? ?["'](?!node:)(.*?)["']/g)];
    return [
      ...(count([path]) > most ? [`${path}: ${count([path])} lines, ${most} at most`] : []),
      ...foreign.map(([, name]) => `${path}: imports ${name}`),
      ...withoutPython(read(path)).map((name) => `${path}: no Python call beside ${name}(`),
      ...(numbers.get(lessonOf(program)) === head.number
        ? []
        : [`${path}: no lesson of its name is ${head.number}`]),
    ];
  });
}
