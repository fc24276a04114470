/** `make mistakes` itself: what it says of a mistake, in a project of one file. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "../engine/files.ts";
import { type Mistake, MISTAKES } from "../engine/mistakes.ts";
import { EVERYTHING, ROOT } from "../engine/program.ts";
import { tryAll } from "./mistakes.ts";

setDefaultTimeout(60_000); // what waits in a test says itself for what it waited too long

const SUM = "export const sum = (a: number, b: number) => a + b;\n";

const USUAL = `import { expect, test } from "bun:test";
import { sum } from "./sum.ts";
test("adds", () => expect(sum(1, 2)).toBe(3));
test("fails", () => expect(sum(1, 2)).toBe(4));
test("slow", () => {
  if (process.env.EVERYTHING) expect(sum(0, 2)).toBe(2);
});
`;

const THOROUGH = `/** Sums (thorough) */
import { expect, test } from "bun:test";
import { sum } from "./sum.ts";
test("adds", () => expect(sum(1, 2)).toBe(3));
`;

test("each kind of mistake is told", async () => {
  await using project = temporaryFolder();
  mkdirSync(project.at("node_modules")); // left out of the copy
  writeFileSync(project.at("sum.ts"), SUM);
  writeFileSync(project.at("usual.test.ts"), USUAL);
  writeFileSync(project.at("thorough.test.ts"), THOROUGH);
  const mistake = (what: string, is: string, names: string, more: Partial<Mistake> = {}): Mistake => ({
    ...{ what, file: "sum.ts", was: "a + b", is, tests: ["usual.test.ts"], names },
    ...more,
  });
  const lines: string[] = [];
  const counts = await tryAll(
    [
      mistake("it is noticed", "a - b", "adds"),
      mistake("it is noticed by what takes long", "a - b", "slow"),
      mistake("it is noticed by a thorough file", "a - b", "adds", { tests: ["thorough.test.ts"] }),
      mistake("nobody notices it", "b + a", "adds"),
      mistake("its test fails anyway", "a - b", "fails"),
      mistake("its code has gone", "a - b", "adds", { was: "a * b" }),
      mistake("its code stands there twice", "a - b", "adds", { was: "number" }),
      mistake("its test has gone", "a - b", "subtracts"),
    ],
    project.path,
    (line) => lines.push(line),
  );
  expect(counts).toEqual({ noticed: 1, thorough: 2, unnoticed: 1, gone: 3, broken: 1 });
  expect(lines.sort()).toEqual([
    "broken     its test fails anyway",
    "gone       its code has gone\n           sum.ts, adds: a * b",
    "gone       its code stands there twice\n           sum.ts, adds: number",
    "gone       its test has gone\n           sum.ts, subtracts: a + b",
    "noticed    it is noticed\n           by: adds",
    "thorough   it is noticed by a thorough file\n           by: adds",
    "thorough   it is noticed by what takes long\n           by: slow",
    "unnoticed  nobody notices it",
  ]);
  expect(readFileSync(project.at("sum.ts"), "utf8")).toBe(SUM); // mistakes are put into copies only
  expect(readdirSync(project.path).length).toBe(4);
});

// Not in every run: who changes a line that has a row would have to change the row at once.
if (EVERYTHING) {
  test("each row of the table has its code, once, and its files", () => {
    expect(MISTAKES.length).toBeGreaterThan(100);
    expect(new Set(MISTAKES.map(({ what }) => what)).size).toBe(MISTAKES.length);
    expect(MISTAKES.filter(({ forty }) => forty).length).toBe(40);
    expect([1, 2].map((set) => MISTAKES.filter(({ blind }) => blind === set).length)).toEqual([40, 20]);
    const gone = MISTAKES.filter(({ file, was }) =>
      readFileSync(join(ROOT, file), "utf8").split(was).length !== 2
    );
    expect(gone.map(({ what, file, was }) => ({ what, file, was }))).toEqual([]);
    for (const { what, was, is, tests } of MISTAKES) {
      expect([what, is]).not.toEqual([what, was]);
      expect(tests.length).toBeGreaterThan(0);
      for (const test of tests) expect(existsSync(join(ROOT, test))).toBe(true);
    }
  });
}
