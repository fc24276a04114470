/** Lesson 4.5, the shell: words, patterns and quotations. */
import { describe, expect, test } from "bun:test";
import { expand } from "../../../scripts/apps/sftp/glob.ts";
import { quoteLike, splitWords, unfinishedWords } from "../../../scripts/apps/sftp/shell-words.ts";

describe("words", () => {
  const cut: [line: string, words: string[]][] = [
    ["", []],
    ["  get  a b ", ["get", "a", "b"]],
    ["# a comment", []],
    ["ls a # b", ["ls", "a"]],
    ["ls a#b", ["ls", "a#b"]],
    ["get 'a b' \"c d\"", ["get", "a b", "c d"]],
    ["get a\\ b", ["get", "a b"]],
    [`get "a\\"b" 'a\\b'`, ["get", 'a"b', "a\\b"]],
    [`get "a\\b"`, ["get", "a\\b"]],
    ["get a'b c'd", ["get", "ab cd"]],
    ["get '' \"\"", ["get", "", ""]],
    ["put 你好 a\\", ["put", "你好", "a\\"]],
  ];
  test.each(cut)("%j", (line, words) => expect(splitWords(line).map(({ text }) => text)).toEqual(words));

  test("a quotation without its end", () => {
    expect(() => splitWords("get 'a")).toThrow("get 'a: the quotation ' has no end (EINVAL)");
    expect(unfinishedWords("get 'a b").map(({ text }) => text)).toEqual(["get", "a b"]);
    expect(unfinishedWords("get ").map(({ text }) => text)).toEqual(["get", ""]);
  });

  const NAMES = [
    "a",
    "b",
    "a b",
    "*",
    "'q'",
    '"',
    "#x",
    "-r",
    "\\",
    "[x]",
    "你",
    "report' '.bashrc",
    "'",
    "''",
  ];
  for (const typed of ["", "'", '"']) {
    test.each(NAMES)(`%j is one word after ${typed || "nothing"}`, (name) => {
      const words = splitWords(quoteLike(typed, name) + typed);
      expect(words.map(({ text }) => text)).toEqual([name]);
      expect(unfinishedWords(quoteLike(typed, name)).at(-1)?.text).toBe(name);
    });
  }

  const TREE: Record<string, string[]> = {
    ".": ["a.txt", "b.txt", "c.md", ".hidden", "sub", "*"],
    "./": ["a.txt", "b.txt"],
    "/": ["etc"],
    "sub/": ["one", "two"],
    "/etc/": ["hosts"],
  };
  const found: [line: string, paths: string[]][] = [
    ["a.txt", ["a.txt"]],
    ["nothing", ["nothing"]],
    ["*", ["*", "a.txt", "b.txt", "c.md", "sub"]],
    ["'*'", ["*"]],
    ["\\*", ["*"]],
    ["*.txt", ["a.txt", "b.txt"]],
    ["?.txt", ["a.txt", "b.txt"]],
    ["[bc].*", ["b.txt", "c.md"]],
    ["[!b]*t", ["a.txt"]],
    ["[a-b].txt", ["a.txt", "b.txt"]],
    ["[x", ["[x"]],
    [".*", [".hidden"]],
    ["./*", ["./a.txt", "./b.txt"]],
    ["s*/o*", ["sub/one"]],
    ["s*/one", ["sub/one"]],
    ["s*/none", []],
    ["s*/tw*wo", []], // a character that was taken is not taken again
    ["/e*/h*", ["/etc/hosts"]],
    ["/etc/hosts", ["/etc/hosts"]],
    ["*z", []],
    ["a.t*t", ["a.txt"]],
    ["a*(x", []],
  ];
  test.each(found)("%s means %j", async (line, paths) => {
    const [word] = splitWords(line);
    expect(await expand(word.pattern, (folder) => Promise.resolve(TREE[folder] ?? []))).toEqual(paths);
  });

  test("200,000 paths at most are meant", async () => {
    const names = Array.from({ length: 500 }, (_, index) => `${index}`);
    const expanded = (folders: number) =>
      expand("*/*", (folder) => Promise.resolve(folder === "." ? names.slice(0, folders) : names));
    expect(await expanded(400)).toHaveLength(200_000);
    await expect(expanded(401)).rejects.toThrow("*/*: means names without end (EPROTO)");
  });

  test("a range that is none", async () => {
    await expect(expand("[z-a]", () => Promise.resolve(["b"]))).rejects.toThrow(
      "[z-a]: a range that goes backwards (EINVAL)",
    );
  });

  test("a pattern that fits nowhere takes no minute, whatever the names are", async () => {
    const names = Array.from({ length: 300 }, (_, index) => "ab".repeat(380) + index);
    for (const pattern of ["*a*b*.txt", "*a*a*a*a*a*a*b*c", "[ab]*[ab]*?*[!a]*c", "*".repeat(100) + "c"]) {
      expect(await expand(pattern, () => Promise.resolve(names))).toEqual([]);
    }
  });

  test("long lists let Ctrl-C be heard", async () => {
    const names = Array.from({ length: 3000 }, (_, index) => `${index}`);
    let isHeard = false;
    setImmediate(() => (isHeard = true));
    const found = expand("*", () => Promise.resolve(names)).then(() => isHeard);
    expect(await found).toBe(true);
  });
});
