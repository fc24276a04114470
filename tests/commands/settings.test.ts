/** What is set for a command and fits nothing (ON=nodejs, RUNS=many): two lines, exit code 2, and nothing is begun. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import process from "node:process";
import { temporaryFolder } from "../engine/files.ts";
import { ROOT, start } from "../engine/program.ts";
import { terminal } from "../engine/terminal.ts";
import { chosen } from "./mistakes.ts";

setDefaultTimeout(60_000); // what waits in a test says itself for what it waited too long

const ON = "error: ON=nodejs: no such runtime (ENOENT)\nhint: bun, node, deno\n";
const whole = (name: string, value: string) =>
  RegExp(
    `^error: ${name}=${value}: no such number \\(EINVAL\\)\nhint: it is a whole number from 1 on: .*\n$`,
  );
const noMinutes = /^error: MINUTES=soon: no such number \(EINVAL\)\nhint: it is a number of minutes: .*\n$/;

const WRONG: [file: string, env: Record<string, string>, words: string[], stderr: string | RegExp][] = [
  ["commands/test", { ON: "nodejs" }, [], ON],
  ["commands/test", { ON: "nodejs" }, ["3.1"], ON],
  ["commands/test", { ON: "nodejs" }, ["tests/udp/chat.test.ts"], ON],
  ["commands/flaky", { ON: "nodejs" }, [], ON],
  ["commands/practice", { ON: "nodejs", CHECK: "all" }, [], ON],
  ["practice/soak", { ON: "nodejs" }, [], ON],
  [
    "commands/test",
    {},
    ["x.test.ts"],
    "error: L=x.test.ts: no such file (ENOENT)\nhint: make test L=tests/udp/chat.test.ts\n",
  ],
  [
    "commands/flaky",
    {},
    ["chat.test.ts"],
    "error: L=chat.test.ts: no such file (ENOENT)\nhint: did you mean L=tests/udp/chat.test.ts?\n",
  ],
  [
    "commands/practice",
    { DIR: "README.md", CHECK: "all" },
    [],
    "error: DIR=README.md: cannot be the folder (ENOTDIR)\nhint: make practice DIR=anna\n",
  ],
  ["commands/flaky", { RUNS: "many" }, [], whole("RUNS", "many")],
  ["commands/flaky", { RUNS: "0" }, [], whole("RUNS", "0")],
  ["commands/flaky", { FROM: "-1" }, [], whole("FROM", "-1")],
  ["commands/flaky", { MINUTES: "soon" }, [], noMinutes],
  ["practice/soak", { TIMES: "1.5" }, [], whole("TIMES", "1\\.5")],
  ["practice/soak", { FROM: "x" }, [], whole("FROM", "x")],
  ["practice/soak", { MINUTES: "soon" }, [], noMinutes],
  [
    "practice/soak",
    { L: "tcp/nobody" },
    [],
    /^error: L=tcp\/nobody: no exercise \(ENOENT\)\nhint: there is .*\n$/,
  ],
  ["commands/mistakes", {}, ["no such words", ""], /^error: M=no such words: .* \(ENOENT\)\nhint: .*\n$/],
  ["commands/mistakes", {}, ["", "lib/none.ts"], /^error: F=lib\/none\.ts: no such file .*\nhint: .*\n$/],
  ["commands/mistakes", {}, ["", "lib"], /^error: F=lib: no such file .*\nhint: .*\n$/],
  ["commands/mistakes", {}, ["", "/etc/passwd"], /^error: F=\/etc\/passwd: no such file .*\nhint: .*\n$/],
  ["commands/mistakes", {}, ["", "LICENSE"], /^error: F=LICENSE: nothing in it .*\nhint: .*\n$/],
];

describe.concurrent("a wrong setting", () => {
  test.each(WRONG)("of %s: %j %j", async (file, env, words, error) => {
    await using program = start(["bun", `tests/${file}.ts`, ...words], { env });
    const { code, stdout, stderr } = await program.result();
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    if (typeof error === "string") expect(stderr).toBe(error);
    else expect(stderr).toMatch(error);
  });
});

test.skipIf(process.platform === "win32")("make practice in a folder that cannot be made", async () => {
  await using person = terminal(["bun", "tests/commands/practice.ts"], { env: { DIR: "README.md/anna" } });
  expect(await person.ended()).toBe(2);
  expect(person.written).toMatch(
    /^error: DIR=README\.md\/anna: cannot be the folder \((ENOTDIR|EEXIST)\)\r\nhint: .*\r\n$/,
  );
});

test("what is empty is not set", async () => {
  await using folder = temporaryFolder();
  const env = { RUNS: "", FROM: "", MINUTES: "0", TMPDIR: folder.path };
  await using program = start(["bun", "tests/commands/flaky.ts", "tests/engine/sockets.test.ts"], { env });
  expect(await program.result()).toMatchObject({ code: 0, stderr: "" });
});

test("a file may be named from here, or from the top", () => {
  const usual = chosen("", "lib/ip.ts");
  expect(usual[0].tests.length).toBeGreaterThan(0);
  expect(chosen("", "./lib/ip.ts")).toEqual(usual);
  expect(chosen("", `${ROOT}lib/ip.ts`)).toEqual(usual);
});
