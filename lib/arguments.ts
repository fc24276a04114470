/** The command line of a lesson: its flags, its words, and --help from its head. */
import { readFileSync } from "node:fs";
import { relative } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { Failure } from "./failure.ts";
import { resolve } from "./host.ts";
import { type Encoding, ENCODINGS } from "./text.ts";

/** A flag of one lesson. A `number` is whole, from `min` to `max`; an `endpoint` is HOST:PORT. */
export type Flag =
  | { kind: "switch"; help: string }
  | { kind: "text"; help: string; default?: string; required?: true }
  | { kind: "choice"; help: string; default: string; choices: readonly string[] }
  | { kind: "port"; help: string; default?: number }
  | { kind: "endpoint"; help: string; default?: string; required?: true }
  | { kind: "number"; help: string; default: number; min: number; max: number };

type Flags = Record<string, Flag>;

/** Another program's address and port. */
export type Endpoint = { host: string; family: 4 | 6; port: number };

type Value<F extends Flag> = F extends { kind: "switch" } ? boolean
  : F extends { choices: readonly (infer C)[] } ? C
  : F extends { kind: "text" } ? Given<F, string>
  : F extends { kind: "endpoint" } ? Given<F, Endpoint>
  : F extends { default: number } ? number
  : number | undefined;

type Given<F extends Flag, T> = F extends { default: string } | { required: true } ? T : T | undefined;

type Values<F extends Flags> = { words: string[] } & { [K in keyof F]: Value<F[K]> };

/** What every lesson that opens a socket has: --host as an address and its family, --port, --encoding. */
export type Network = { host: string; family: 4 | 6; port: number; encoding: Encoding };

/**
 * Reads the command line. `--help` prints the head of the lesson and its flags, and ends the program.
 * @param meta `import.meta` of the lesson
 * @param lesson `port`: the default port of a lesson that opens a socket, which then has --host, --port
 *   and --encoding too; `words`: what comes beside the flags, as a usage shows it: `NAME` (one),
 *   `[NAME]` (one or none), `NAME...`, `[NAME...]` (any number), `HOST [PORTS]` (one or two); `flags`:
 *   its own, by camelCase name
 * @throws Failure with exit code 2 for what is wrong with the command, 1 for an unknown host
 */
export function readArguments<const F extends Flags = Record<never, Flag>>(
  meta: ImportMeta,
  lesson: { port: number; words?: string; flags?: F },
): Promise<Network & Values<F>>;
export function readArguments<const F extends Flags = Record<never, Flag>>(
  meta: ImportMeta,
  lesson: { words?: string; flags?: F },
): Promise<Values<F>>;
export async function readArguments(
  meta: ImportMeta,
  lesson: { port?: number; words?: string; flags?: Flags },
) {
  const flags: Flags = {
    ...(lesson.port === undefined ? {} : networkFlags(lesson.port)),
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
  checkWords(words, lesson.words, wrong);
  const endpoints: Record<string, Endpoint> = {};
  for (const [name, flag] of Object.entries(flags)) {
    if (flag.kind !== "endpoint" || values[name] === undefined) continue;
    endpoints[name] = await readEndpoint(dashed(name), String(values[name]), wrong);
  }
  if (lesson.port === undefined) return { ...values, ...endpoints, words };
  const { address, family } = await resolve(values.host as string);
  return { ...values, ...endpoints, host: address, family, words };
}

const networkFlags = (port: number): Flags => ({
  host: {
    kind: "text",
    default: "127.0.0.1",
    help: "name or address; a server: 0.0.0.0 or :: for every address it has",
  },
  port: { kind: "port", default: port, help: "a server: 0 for any free one" },
  encoding: { kind: "choice", choices: ENCODINGS, default: "utf-8", help: "the same at both ends" },
});

type Wrong = (what: string, why: string) => Failure;

/** Cuts the command line into flags and words, with the defaults filled in. */
function split(flags: Flags, wrong: Wrong) {
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
    if (!flag || token.rawName !== dashed(name)) throw wrong(token.rawName, "unknown flag");
    if (flag.kind === "switch") {
      if (token.value !== undefined) throw wrong(`${token.rawName}=${token.value}`, "takes no value");
      values[name] = true;
    } else {
      const isNextFlag = !token.inlineValue && token.value?.startsWith("--");
      if (token.value === undefined || isNextFlag) throw wrong(token.rawName, "needs a value");
      values[name] = value(flag, token.rawName, token.value, wrong);
    }
  }
  return { values, words };
}

function value(flag: Flag, name: string, text: string, wrong: Wrong): string | number {
  if (flag.kind === "text" || flag.kind === "endpoint") {
    if (text === "") throw wrong(name, "needs a value");
    return text;
  }
  if (flag.kind === "choice") {
    if (!flag.choices.includes(text)) throw wrong(`${name} ${text}`, `it is ${flag.choices.join(" or ")}`);
    return text;
  }
  const { min, max } = flag.kind === "number" ? flag : { min: 0, max: 65535 };
  const what = flag.kind === "port" ? "a port" : "it";
  if (!/^\d+$/.test(text) || Number(text) < min || Number(text) > max) {
    throw wrong(`${name} ${text}`, `${what} is a whole number from ${min} to ${max}`);
  }
  return Number(text);
}

/** Reads 127.0.0.1:7788, [::1]:7788 or localhost:7788. */
async function readEndpoint(name: string, text: string, wrong: Wrong): Promise<Endpoint> {
  const [, host, port] = /^(\[[^\]]+\]|[^:[\]]+):(\d+)$/.exec(text) ?? [];
  if (host === undefined || Number(port) < 1 || Number(port) > 65535) {
    throw wrong(`${name} ${text}`, "it is HOST:PORT, such as 127.0.0.1:7788 or [::1]:7788");
  }
  const { address, family } = await resolve(host.replace(/[[\]]/g, ""));
  return { host: address, family, port: Number(port) };
}

function checkWords(words: string[], usage = "", wrong: Wrong): void {
  const names = usage.split(" ").filter(Boolean);
  const most = usage.includes("...") ? Infinity : names.length;
  if (words.length > most) throw wrong(words[most], "a word too many");
  const missing = names.slice(words.length).find((name) => !/^\[.*\]$/.test(name));
  if (missing !== undefined) throw wrong(missing, "is needed");
}

function help(command: string, file: string, flags: Flags, words = ""): string {
  const rows = Object.entries(flags).map(([name, flag]) => {
    const fallback = "default" in flag && flag.default !== undefined ? ` (default ${flag.default})` : "";
    const kind = flag.kind === "switch"
      ? ""
      : flag.kind === "choice"
      ? flag.choices.join("|")
      : flag.kind.toUpperCase();
    return `  ${`${dashed(name)} ${kind}`.padEnd(22)} ${flag.help}${fallback}`;
  });
  const head = headText(readFileSync(file, "utf8")) ?? "";
  return [`usage: ${command} [FLAGS] ${words}`.trimEnd(), "", head, "", "Flags", ...rows].join("\n");
}

/** The comment at the top of a script, without its stars; undefined where there is none. */
export function headText(source: string): string | undefined {
  const comment = /^(?:#!.*\r?\n)?\/\*\*\r?\n([^]*?)\n \*\//.exec(source);
  return comment?.[1].replace(/\r$/gm, "").replace(/^ \* ?/gm, "");
}

/** localPort -> --local-port */
function dashed(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
