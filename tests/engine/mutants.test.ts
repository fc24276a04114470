/** What is left out of a source, to see whether a test notices. */
import { expect, test } from "bun:test";
import { mutants, testsOf } from "./mutants.ts";

const SOURCE = `/** if (this) is; */
const LIMIT = 2 * 10; // bytes
const name = 7;

export function f(socket: Socket) {
  if (socket.destroyed) return;
  if (a) {
    count++;
  } else if (b(c)) {
    this.#count += 1;
    this.#count += 1;
  }
  // close();
  await socket.close();
  for (const one of two) x.push(one);
  return g(1);
}
`;

test("guards, statements and limits, each where it stands", () => {
  const made = mutants("a.ts", SOURCE, ["a.test.ts"]);
  expect(made.map(({ what }) => what)).toEqual([
    "a.ts:2: a thousand times: const LIMIT = 2 * 10; // bytes",
    "a.ts:2: a hundredth: const LIMIT = 2 * 10; // bytes",
    "a.ts:6: left out: if (socket.destroyed) return;",
    "a.ts:7: never: if (a) {",
    "a.ts:8: left out: count++;",
    "a.ts:9: never: } else if (b(c)) {",
    "a.ts:10: left out: this.#count += 1;",
    "a.ts:11: left out: this.#count += 1;",
    "a.ts:14: left out: await socket.close();",
  ]);
  const changed = made.map(({ was, is }) => SOURCE.replace(was, () => is).split("\n"));
  const lines = SOURCE.split("\n");
  for (const now of changed) expect(now.length).toBe(lines.length); // so that errors tell the right line
  expect(changed[0][1]).toBe("const LIMIT = (2 * 10) * 1000; // bytes");
  expect(changed[1][1]).toBe("const LIMIT = Math.ceil((2 * 10) / 100); // bytes");
  expect(changed[3][6]).toBe("  if (false) {");
  expect(changed[5][8]).toBe("  } else if (false) {");
  expect(changed[7]).toEqual(lines.with(10, ""));
  for (const { was, tests } of made) expect([SOURCE.split(was).length, tests]).toEqual([2, ["a.test.ts"]]);
});

test("the tests of a file: of its lessons, and those that import it, but none that is thorough", () => {
  expect(testsOf("lib/files.ts")).toContain("tests/lib/files.test.ts");
  const found = testsOf("scripts/apps/sftp/glob.ts");
  expect(found).toContain("tests/apps/sftp/words.test.ts");
  expect(found).not.toContain("tests/apps/sftp/terminal.test.ts");
  expect(testsOf("scripts/none.ts")).toEqual([]);
});
