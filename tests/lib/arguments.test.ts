/** The command line: every kind of flag, and every way to get it wrong. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import process from "node:process";
import { type Flag, readArguments } from "../../lib/arguments.ts";
import type { Failure } from "../../lib/failure.ts";
import { ROOT, script } from "../engine/program.ts";

const LESSON = { filename: join(ROOT, "scripts/udp/send.ts") } as ImportMeta;

const FLAGS = {
  once: { kind: "switch", help: "" },
  reply: { kind: "text", help: "" },
  name: { kind: "text", help: "", default: "nobody" },
  mode: { kind: "choice", help: "", choices: ["full", "half"], default: "full" },
  localPort: { kind: "port", help: "" },
  tries: { kind: "number", help: "", default: 3, min: 1, max: 10 },
} as const;

type Lesson = { port?: number; words?: string; flags?: Record<string, Flag> };

/** Reads a command line. */
function read(
  line: string[],
  lesson: Lesson = { flags: FLAGS, words: "[NAME...]" },
) {
  const before = process.argv;
  process.argv = ["bun", LESSON.filename, ...line]; // read at once, not later
  try {
    return readArguments(LESSON, lesson as { port: number }) as Promise<Record<string, unknown>>;
  } finally {
    process.argv = before;
  }
}

async function failure(line: string[], lesson?: Lesson): Promise<Failure> {
  return await read(line, lesson).then(() => expect.unreachable("accepted"), (error) => error);
}

const DEFAULTS = {
  once: false,
  reply: undefined,
  name: "nobody",
  mode: "full",
  localPort: undefined,
  tries: 3,
  help: false,
  words: [],
};

describe("accepted", () => {
  const accepted: [line: string[], values: object][] = [
    [[], {}],
    [["--once"], { once: true }],
    [["--reply", "hello"], { reply: "hello" }],
    [["--reply=hello"], { reply: "hello" }],
    [["--reply=a=b"], { reply: "a=b" }],
    [["--reply", "two words"], { reply: "two words" }],
    [["--reply=--once"], { reply: "--once" }],
    [["--reply", "-5 degrees"], { reply: "-5 degrees" }],
    [["--name", "我"], { name: "我" }],
    [["--mode", "half"], { mode: "half" }],
    [["--local-port", "0"], { localPort: 0 }],
    [["--local-port=65535"], { localPort: 65535 }],
    [["--tries", "1"], { tries: 1 }],
    [["--tries", "10"], { tries: 10 }],
    [["--tries", "1", "--tries", "2"], { tries: 2 }],
    [["a", "--once", "b"], { once: true, words: ["a", "b"] }],
    [["--", "--once", "-x", "--"], { words: ["--once", "-x", "--"] }],
    [["-"], { words: ["-"] }],
    [[""], { words: [""] }],
  ];
  test.each(accepted)("%j", async (line, values) => {
    expect(await read(line)).toEqual({ ...DEFAULTS, ...values });
  });

  const networks: [line: string[], values: object][] = [
    [[], { host: "127.0.0.1", family: 4, port: 7788, encoding: "utf-8" }],
    [["--host", "localhost", "--port", "0"], { host: "127.0.0.1", family: 4, port: 0 }],
    [["--host", "::1", "--encoding", "gbk"], { host: "::1", family: 6, encoding: "gbk" }],
    [["--host=0.0.0.0", "--port=65535"], { host: "0.0.0.0", family: 4, port: 65535 }],
  ];
  test.each(networks)("a lesson that opens a socket: %j", async (line, values) => {
    expect(await read(line, { port: 7788 })).toMatchObject({ words: [], ...values });
  });
});

describe("a usage error, with exit code 2 and a hint", () => {
  const port = "a port is a whole number from 0 to 65535";
  const tries = "it is a whole number from 1 to 10";
  const wrong: [line: string[], message: string][] = [
    [["--nonsense"], "--nonsense: unknown flag (EINVAL)"],
    [["--nonsense=1"], "--nonsense: unknown flag (EINVAL)"],
    [["--port", "1"], "--port: unknown flag (EINVAL)"], // this lesson opens no socket
    [["--localPort", "1"], "--localPort: unknown flag (EINVAL)"],
    [["--constructor"], "--constructor: unknown flag (EINVAL)"],
    [["--__proto__", "x"], "--__proto__: unknown flag (EINVAL)"],
    [["-o"], "-o: unknown flag (EINVAL)"],
    [["--no-once"], "--no-once: unknown flag (EINVAL)"],
    [["--once=yes"], "--once=yes: takes no value (EINVAL)"],
    [["--once="], "--once=: takes no value (EINVAL)"],
    [["--help=x"], "--help=x: takes no value (EINVAL)"],
    [["--reply"], "--reply: needs a value (EINVAL)"],
    [["--reply", "--once"], "--reply: needs a value (EINVAL)"],
    [["--reply", "--", "x"], "--reply: needs a value (EINVAL)"],
    [["--reply="], "--reply: needs a value (EINVAL)"],
    [["--reply", ""], "--reply: needs a value (EINVAL)"],
    [["--mode", "loud"], "--mode loud: it is full or half (EINVAL)"],
    [["--mode="], "--mode: needs a value (EINVAL)"],
    [["--mode", "toString"], "--mode toString: it is full or half (EINVAL)"],
    ...["65536", "1.5", "1e3", "0x10", "+1", " 1", "x"].map((text): [string[], string] => [
      ["--local-port", text],
      `--local-port ${text}: ${port} (EINVAL)`,
    ]),
    [["--local-port=-1"], `--local-port -1: ${port} (EINVAL)`],
    [["--tries", "0"], `--tries 0: ${tries} (EINVAL)`],
    [["--tries", "11"], `--tries 11: ${tries} (EINVAL)`],
    [["--tries", "1".repeat(400)], `--tries ${"1".repeat(92)}...: ${tries} (EINVAL)`],
  ];
  test.each(wrong)("%j", async (line, message) => {
    const error = await failure(line);
    expect(error.message).toBe(message);
    expect(error.exitCode).toBe(2);
    expect(error.hint).toEndWith("scripts/udp/send.ts --help shows what is possible");
  });

  test("a flag that is needed", async () => {
    const flags = { root: { kind: "text", help: "", required: true } } as const;
    const error = await failure([], { flags });
    expect([error.message, error.exitCode]).toEqual(["--root: is needed (EINVAL)", 2]);
    expect(await read(["--root", "."], { flags })).toMatchObject({ root: "." });
  });

  test("the port and the encoding of a lesson that opens a socket", async () => {
    expect((await failure(["--port", "65536"], { port: 1 })).message).toBe(`--port 65536: ${port} (EINVAL)`);
    expect((await failure(["--encoding", "big5"], { port: 1 })).message).toBe(
      "--encoding big5: it is utf-8 or gbk (EINVAL)",
    );
  });
});

test("an unknown host is no usage error: the work failed", async () => {
  const lines: [string[], Lesson][] = [
    [["--host", "no.such.host.invalid"], { port: 1 }],
  ];
  for (const [line, lesson] of lines) {
    const error = await failure(line, lesson);
    expect([error.what, error.exitCode]).toEqual(["look up no.such.host.invalid", 1]);
  }
});

describe("words", () => {
  const rules: [usage: string | undefined, accepted: number[], refused: [number, string][]][] = [
    [undefined, [0], [[1, "w0: unexpected argument"], [2, "w0: unexpected argument"]]],
    ["NAME", [1], [[0, "NAME: is needed"], [2, "w1: unexpected argument"]]],
    ["[NAME]", [0, 1], [[2, "w1: unexpected argument"]]],
    ["NAME...", [1, 2, 50], [[0, "NAME...: is needed"]]],
    ["[NAME...]", [0, 1, 2, 50], []],
  ];
  const words = (count: number) => Array.from({ length: count }, (_, index) => `w${index}`);
  test.each(rules)("%s", async (usage, accepted, refused) => {
    for (const count of accepted) {
      expect(await read(words(count), { words: usage })).toEqual({ help: false, words: words(count) });
    }
    for (const [count, message] of refused) {
      const error = await failure(words(count), { words: usage });
      expect([error.message, error.exitCode]).toEqual([`${message} (EINVAL)`, 2]);
    }
  });
});

test("--help shows usage, head and flags, and does no work", async () => {
  await using program = script("udp/send", ["--help", "--host", "no.such.host.invalid", "a"]);
  const { code, stdout, stderr } = await program.result();
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toStartWith("usage: bun scripts/udp/send.ts [FLAGS] [MESSAGE...]\n\n2.1 Send datagrams: ");
  expect(stdout).toEndWith(`
Flags
  --host TEXT            name or address; 0.0.0.0: all (default 127.0.0.1)
  --port PORT            a server: 0 for any free one (default 7788)
  --encoding utf-8|gbk   same at both ends (default utf-8)
  --local-port PORT      send from this port
  --help                 show this page
`);
});
