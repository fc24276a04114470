/** The command line of a lesson: its flags, its words, and --help from its head. */
import { readFileSync } from "node:fs";
import { relative } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { Failure } from "./failure.ts";
import { parseHead } from "./head.ts";
import { resolve } from "./host.ts";
import { type Encoding, ENCODINGS } from "./text.ts";

/** A flag of one lesson. A `number` is whole and from `min` to `max`. */
export type Flag =
  | { kind: "switch"; help: string }
  | { kind: "text"; help: string; default?: string; required?: true }
  | { kind: "port"; help: string; default?: number }
  | { kind: "number"; help: string; default: number; min: number; max: number };

type Value<F extends Flag> = F extends { kind: "switch" } ? boolean
  : F extends { default: infer D } ? (D extends string ? string : number)
  : F extends { required: true } ? string
  : F extends { kind: "text" } ? string | undefined
  : number | undefined;

/** What every lesson has: --host as an address and its family, --port, --encoding, the words. */
export type Common = {
  host: string;
  family: 4 | 6;
  port: number;
  encoding: Encoding;
  words: string[];
};

/**
 * Reads the command line. `--help` prints the head of the lesson and its flags, and ends the program.
 * @param meta `import.meta` of the lesson
 * @param lesson the default port; the words after the flags as its usage shows them: `NAME` (one),
 *   `[NAME]` (one or none), `[NAME...]` (any number); and the lesson's own flags, by camelCase name
 * @throws Failure with exit code 2 for what is wrong with the command, 1 for an unknown host
 */
export async function readArguments<const F extends Record<string, Flag> = Record<never, Flag>>(
  meta: ImportMeta,
  lesson: { port: number; words?: string; flags?: F },
): Promise<Common & { [K in keyof F]: Value<F[K]> }> {
  const flags: Record<string, Flag> = {
    host: {
      kind: "text",
      default: "127.0.0.1",
      help: "name or address; a server: 0.0.0.0 or :: for every address it has",
    },
    port: { kind: "port", default: lesson.port, help: "port; a server: 0 for any free one" },
    encoding: { kind: "text", default: "utf-8", help: "utf-8 or gbk, the same at both ends" },
    ...lesson.flags,
    help: { kind: "switch", help: "show this page" },
  };
  const command = `bun ${relative(process.cwd(), meta.filename).replaceAll("\\", "/")}`;
  const wrong = (what: string, why: string) =>
    new Failure(what, why, "EINVAL", { exitCode: 2, hint: `${command} --help shows what is possible` });

  const { values, words } = split(flags, wrong);
  if (values.help) {
    console.log(help(command, meta.filename, flags, lesson.words));
    process.exit(0);
  }
  for (const [name, flag] of Object.entries(flags)) {
    if ("required" in flag && values[name] === undefined) throw wrong(dashed(name), "is needed");
  }
  const { host, encoding } = values as { host: string; encoding: string };
  if (!(ENCODINGS as readonly string[]).includes(encoding)) {
    throw wrong(`--encoding ${encoding}`, `an encoding is ${ENCODINGS.join(" or ")}`);
  }
  checkWords(words, lesson.words, wrong);
  const { address, family } = await resolve(host);
  return { ...values, host: address, family, words } as never;
}

type Wrong = (what: string, why: string) => Failure;

/** Cuts the command line into flags and words, with the defaults filled in. */
function split(flags: Record<string, Flag>, wrong: Wrong) {
  const values: Record<string, string | number | boolean | undefined> = {};
  const words: string[] = [];
  const options: Record<string, { type: "boolean" | "string" }> = {};
  for (const [name, flag] of Object.entries(flags)) {
    options[dashed(name).slice(2)] = { type: flag.kind === "switch" ? "boolean" : "string" };
    values[name] = flag.kind === "switch" ? false : flag.default;
  }
  const { tokens } = parseArgs({ options, strict: false, allowPositionals: true, tokens: true });
  for (const token of tokens) {
    if (token.kind === "positional") words.push(token.value);
    if (token.kind !== "option") continue;
    const name = token.name.replace(/-(.)/g, (_, letter) => letter.toUpperCase());
    const flag = Object.hasOwn(flags, name) ? flags[name] : undefined;
    if (!flag || !token.rawName.startsWith("--")) throw wrong(token.rawName, "unknown flag");
    if (flag.kind === "switch") {
      if (token.value !== undefined) throw wrong(`${token.rawName}=${token.value}`, "takes no value");
      values[name] = true;
    } else {
      if (token.value === undefined) throw wrong(token.rawName, "needs a value");
      values[name] = value(flag, token.rawName, token.value, wrong);
    }
  }
  return { values, words };
}

function value(flag: Flag, name: string, text: string, wrong: Wrong): string | number {
  if (flag.kind === "text") {
    if (text === "") throw wrong(name, "needs a value");
    return text;
  }
  const { min, max } = flag.kind === "number" ? flag : { min: 0, max: 65535 };
  const what = flag.kind === "port" ? "a port" : "it";
  if (!/^\d+$/.test(text) || Number(text) < min || Number(text) > max) {
    throw wrong(`${name} ${text}`, `${what} is a whole number from ${min} to ${max}`);
  }
  return Number(text);
}

function checkWords(words: string[], usage: string | undefined, wrong: Wrong): void {
  const most = usage === undefined ? 0 : usage.includes("...") ? Infinity : 1;
  if (words.length > most) throw wrong(words[most], most === 0 ? "takes no words" : `takes one ${usage}`);
  if (usage !== undefined && !usage.startsWith("[") && words.length === 0) throw wrong(usage, "is needed");
}

function help(command: string, file: string, flags: Record<string, Flag>, words = ""): string {
  const rows = Object.entries(flags).map(([name, flag]) => {
    const fallback = "default" in flag && flag.default !== undefined ? ` (default ${flag.default})` : "";
    const kind = flag.kind === "switch" ? "" : ` ${flag.kind.toUpperCase()}`;
    return `  ${(dashed(name) + kind).padEnd(22)} ${flag.help}${fallback}`;
  });
  const head = parseHead(readFileSync(file, "utf8"));
  return [`usage: ${command} [FLAGS] ${words}`.trimEnd(), "", head.text, "", "Flags", ...rows].join("\n");
}

/** localPort -> --local-port */
function dashed(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
