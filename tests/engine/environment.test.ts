/** What surrounds a program under test is chosen, whoever runs the tests, and wherever. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import process from "node:process";
import { environment } from "./environment.ts";
import { start } from "./program.ts";
import { terminal } from "./terminal.ts";

/** What a terminal, Bun's parallel workers and people's settings add, and would change what programs print. */
const STRANGE = {
  FORCE_COLOR: "1",
  CLICOLOR_FORCE: "1",
  COLUMNS: "20",
  LANG: "zh_CN.GBK",
  LC_ALL: "C",
  NODE_OPTIONS: "--no-warnings",
  HTTP_PROXY: "http://127.0.0.1:1",
  SSH_AUTH_SOCK: "/nowhere",
  TERM: "dumb",
};
const before = { ...process.env };

beforeEach(() => void Object.assign(process.env, STRANGE));
afterEach(() => {
  for (const name of Object.keys(STRANGE)) {
    if (before[name] === undefined) delete process.env[name];
    else process.env[name] = before[name];
  }
});

/** The variables that a program was given, which the engine's mark is not one of. */
function given(lines: string[]): Record<string, string> {
  const pairs = lines.filter((line) => /^\w+=/.test(line)).map((line) => line.split(/=(.*)/s));
  return Object.fromEntries(pairs.filter(([name]) => !["SOCKETS_PROGRAM", "PWD", "_"].includes(name)));
}

const { SOCKETS_PROGRAM: _, ...chosen } = environment();

test.skipIf(process.platform === "win32")("of a program", async () => {
  await using program = start(["env"]);
  expect(given((await program.result()).stdout.split("\n"))).toEqual(chosen);
});

test.skipIf(process.platform === "win32")("of a program in a terminal", async () => {
  await using person = terminal(["env"], { columns: 10_000 });
  expect(await person.ended()).toBe(0);
  expect(given(person.screen.split("\n").map((line) => line.trimEnd()))).toEqual({
    ...chosen,
    TERM: "xterm",
  });
});

test("what is chosen holds no colour, no language and no proxy of whoever runs the tests", () => {
  for (const [name, value] of Object.entries(STRANGE)) expect(environment()[name]).not.toBe(value);
  expect(environment()).toMatchObject({ LANG: "C.UTF-8", NO_COLOR: "1" });
  expect(environment({ LANG: "zh_CN.UTF-8" }).LANG).toBe("zh_CN.UTF-8");
});
