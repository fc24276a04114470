/** What is said, and how text from a peer is shown. */
import { describe, expect, test } from "bun:test";
import { visible } from "../../lib/output.ts";
import { EVERYWHERE, RUNTIMES, start } from "../engine/program.ts";

for (const runtime of EVERYWHERE.filter((runtime) => runtime !== "deno")) { // Deno stands in write(2) meanwhile
  test(`what many say at once is bounded where nobody reads, on ${runtime}`, async () => {
    await using program = start([...RUNTIMES[runtime], "tests/engine/fixtures/many-at-once.ts"]);
    program.stopReading();
    await program.next("stderr"); // all is said
    program.startReading();
    const { code, stdout } = await program.result();
    expect(code).toBe(0);
    const lines = stdout.split("\n");
    expect(lines.pop()).toBe("");
    expect(lines.length).toBeWithin(2000, 5000); // and what the pipe has taken
    expect(lines).toEqual(Array.from({ length: lines.length }, (_, at) => `${at} ${"x".repeat(100)}`));
  });
}

describe("visible", () => {
  test("every C0 and C1 control, and DEL, is shown by its code", () => {
    const controls = [...Array(0x20).keys(), ...Array.from({ length: 0x21 }, (_, index) => 0x7f + index)];
    expect(controls).toHaveLength(65);
    for (const code of controls) {
      const short: Record<number, string> = { 9: "\\t", 10: "\\n", 13: "\\r" };
      expect(visible(String.fromCharCode(code))).toBe(
        short[code] ?? `\\x${code.toString(16).padStart(2, "0")}`,
      );
    }
  });

  const shown: [text: string, seen: string][] = [
    ["\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"],
    ["one\r\ntwo\tthree", "one\\r\\ntwo\\tthree"],
    ["line\u2028paragraph\u2029", "line\\u2028paragraph\\u2029"],
    // Bidi_Control of Unicode: PropList.txt
    ["\u061C\u200E\u200F", "\\u061c\\u200e\\u200f"],
    ["\u202A\u202B\u202C\u202D\u202E", "\\u202a\\u202b\\u202c\\u202d\\u202e"],
    ["\u2066\u2067\u2068\u2069", "\\u2066\\u2067\\u2068\\u2069"],
    ["gpj\u202E.exe", "gpj\\u202e.exe"],
  ];
  test.each(shown)("%j", (text, seen) => expect(visible(text)).toBe(seen));

  const kept = [
    "",
    "plain ASCII ~!@#$%^&*()_+",
    "你好，世界！「」、。　",
    "𠮷野家",
    "👨‍👩‍👧‍👦 👍🏽 🇨🇳 ❤️",
    "é e\u0301 שלום مرحبا",
    "\uFFFD",
    "a\\nb", // a backslash that was there
  ];
  test.each(kept)("%j stays", (text) => expect(visible(text)).toBe(text));
});
