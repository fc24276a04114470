/** The command line of a lesson: its flags, its words, its host, and --help from its head. */
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { relative } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { canonical } from "./socket.ts";
import { failAs, Failure } from "./failure.ts";
import { type Encoding, ENCODINGS } from "./text.ts";

/** A flag of one lesson. A `number` is whole, from `min` to `max`; `help` is English and, behind ` | `, Chinese. */
export type Flag =
  | { kind: "switch"; help: string }
  | { kind: "text"; help: string; default?: string; required?: true }
  | { kind: "choice"; help: string; default: string; choices: readonly string[] }
  | { kind: "port"; help: string; default?: number }
  | { kind: "number"; help: string; default: number; min: number; max: number };

export type Flags = Record<string, Flag>;
type Lesson = { port?: number; words?: string; flags?: Flags };

type Value<F extends Flag> = F extends { kind: "switch" } ? boolean
  : F extends { choices: readonly (infer C)[] } ? C
  : F extends { default: number } ? number
  : F extends { kind: "port" } ? number | undefined
  : F extends { default: string } | { required: true } ? string
  : string | undefined;

type Values<L extends Lesson> =
  & { words: string[] }
  & (L extends { port: number } ? { host: string; family: 4 | 6; port: number; encoding: Encoding } : unknown)
  & (L extends { flags: infer F extends Flags } ? { [K in keyof F]: Value<F[K]> } : unknown);

/**
 * Reads the command line. `--help` prints the head of the lesson and its flags, and ends the program.
 * @param meta `import.meta` of the lesson
 * @param lesson `port`: the default port of a lesson with --host, --port and --encoding; `words`: what comes beside
 *   the flags, as `NAME`, `[NAME]` (one or none), `[NAME...]` (any number); `flags`: its own, by camelCase name
 * @throws Failure with exit code 2 for what is wrong with the command, 1 for an unknown host
 */
export async function readArguments<const L extends Lesson>(meta: ImportMeta, lesson: L): Promise<Values<L>> {
  const { port, words: usage = "" } = lesson;
  const flags: Flags = {
    ...(port === undefined ? {} : {
      host: { kind: "text", default: "127.0.0.1", help: "name or address; 0.0.0.0: all | 主机名或地址" },
      port: { kind: "port", default: port, help: "a server: 0 for any free one | 服务器：0 任选空闲端口" },
      encoding: {
        kind: "choice",
        choices: ENCODINGS,
        default: "utf-8",
        help: "same at both ends | 两端相同",
      },
    }),
    ...lesson.flags,
    help: { kind: "switch", help: "show this page | 显示这一页" },
  };
  const command = `bun ${relative(process.cwd(), meta.filename).replaceAll("\\", "/")}`;
  const wrong = (what: string, why: string) =>
    new Failure(what, why, "EINVAL", { exitCode: 2, hint: `${command} --help shows what is possible` });

  const { values, words } = split(flags, wrong);
  if (values.help) {
    const { helpPage } = await import("./help.ts"); // loaded where it is wanted
    console.log(helpPage(command, readFileSync(meta.filename, "utf8"), flags, usage));
    process.exit(0);
  }
  const absent = Object.keys(flags).find((name) => "required" in flags[name] && values[name] === undefined);
  if (absent) throw wrong(dashed(absent), "is needed");
  const names = usage.split(" ").filter(Boolean);
  if (words.length > names.length && !usage.includes("...")) {
    throw wrong(words[names.length], "unexpected argument");
  }
  const missing = names.slice(words.length).find((name) => !/^\[.*\]$/.test(name)); // [USER@]HOST is needed
  if (missing) throw wrong(missing, "is needed");
  const { address: host, family } = port === undefined ? {} : await resolve(values.host as string);
  return { ...values, words, ...(port === undefined ? {} : { host, family }) } as unknown as Values<L>;
}

/** Cuts the command line into flags and words, with the defaults filled in. */
function split(flags: Flags, wrong: (what: string, why: string) => Failure) {
  const values: Record<string, string | number | boolean | undefined> = {};
  const options: Record<string, { type: "boolean" | "string" }> = {};
  for (const [name, flag] of Object.entries(flags)) {
    options[dashed(name).slice(2)] = { type: flag.kind === "switch" ? "boolean" : "string" };
    values[name] = flag.kind === "switch" ? false : flag.default;
  }
  const { tokens } = parseArgs({ options, strict: false, allowPositionals: true, tokens: true });
  const words = tokens.filter((token) => token.kind === "positional").map(({ value }) => value);
  for (const token of tokens) {
    if (token.kind !== "option") continue;
    const { rawName, value } = token;
    const name = token.name.replace(/-(.)/g, (_, letter) => letter.toUpperCase());
    const flag = Object.hasOwn(flags, name) ? flags[name] : undefined;
    if (!flag || rawName !== dashed(name)) throw wrong(rawName, "unknown flag");
    if (flag.kind === "switch" && value !== undefined) throw wrong(`${rawName}=${value}`, "takes no value");
    values[name] = true;
    if (flag.kind === "switch") continue;
    if (!value || (!token.inlineValue && value.startsWith("--"))) throw wrong(rawName, "needs a value");
    values[name] = flag.kind === "port" || flag.kind === "number" ? Number(value) : value;
    if (flag.kind === "choice" && !flag.choices.includes(value)) {
      throw wrong(`${rawName} ${value}`, `it is ${flag.choices.join(" or ")}`);
    }
    if (flag.kind !== "port" && flag.kind !== "number") continue;
    const { min, max } = flag.kind === "port" ? { min: 0, max: 65535 } : flag;
    if (!/^\d+$/.test(value) || Number(value) < min || Number(value) > max) {
      const what = flag.kind === "port" ? "a port" : "it";
      throw wrong(`${rawName} ${value}`, `${what} is a whole number from ${min} to ${max}`);
    }
  }
  return { values, words };
}

/** localPort -> --local-port */
export const dashed = (name: string) => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

/**
 * Turns a name or an address into an address, written as the system writes it (RFC 5952). A name that has both kinds
 * gives the IPv4 one, so that the two ends of a lesson, given the same name, meet.
 * @throws Failure EINVAL, ENODEV, ENOTFOUND, EAI_AGAIN
 */
export async function resolve(host: string): Promise<{ address: string; family: 4 | 6 }> {
  if (host === "") throw new Failure("the host", "has no name", "EINVAL", { exitCode: 2 }); // lookup gives null
  const [, zone] = host.split("%");
  if (isIP(host) === 4) return { address: host, family: 4 };
  if (isIP(host) === 6) {
    if (zone !== undefined && !/^\d+$/.test(zone) && !Object.hasOwn(networkInterfaces(), zone)) {
      throw new Failure(host, `this machine has no interface ${zone}`, "ENODEV");
    }
    return { address: canonical(host), family: 6 };
  }
  const { lookup } = await import("node:dns/promises"); // loaded where a name is to be looked up
  const found = await lookup(host, { order: "ipv4first" }).catch(failAs(`look up ${host}`));
  return found as { address: string; family: 4 | 6 };
}
