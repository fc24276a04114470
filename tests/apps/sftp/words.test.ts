/** Lesson 4.5, the shell: words, patterns and quotations. */
import { describe, expect, test } from "bun:test";
import { homedir } from "node:os";
import { type Commands, complete, helpLines, obey } from "../../../scripts/apps/sftp/commands.ts";
import { expand } from "../../../scripts/apps/sftp/glob.ts";
import { quoteLike, splitWords, unfinishedWords } from "../../../scripts/apps/sftp/shell-words.ts";
import type { Entry, Side } from "../../../scripts/apps/sftp/side.ts";

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

describe("commands", () => {
  let did: unknown[] = [];
  const command = (name: string, usage: string) => ({
    usage,
    help: `does ${name}`,
    run: (words: { text: string }[], flags: string) =>
      Promise.resolve(void did.push([name, ...words.map(({ text }) => text), flags])),
  });
  const usages = {
    get: "[-r] PATH [LOCAL]",
    go: "[PATH]",
    put: "[-ab] LOCAL PATH",
    rename: "FROM TO",
    end: "",
  };
  const commands: Commands = Object.fromEntries(
    Object.entries(usages).map(([name, usage]) => [name, command(name, usage)]),
  );
  const told = async (line: string) => {
    did = [];
    const failed = await obey(line, commands).catch((error) => [error.message, error.hint]);
    return failed ?? did;
  };

  const obeyed: [line: string, did: unknown[]][] = [
    ["", []],
    ["  # nothing", []],
    ["end", [["end", ""]]],
    ["go", [["go", ""]]],
    ["go a", [["go", "a", ""]]],
    ["get a b", [["get", "a", "b", ""]]],
    ["get -r a", [["get", "a", "r"]]],
    ["get -r -rr a", [["get", "a", "rrr"]]],
    ["get - a", [["get", "-", "a", ""]]],
    ["get '-r' a", [["get", "-r", "a", ""]]],
    ["get ./-r", [["get", "./-r", ""]]],
    ["put -ba x y", [["put", "x", "y", "ba"]]],
    ["put ~/x ~/y", [["put", `${homedir()}/x`, "~/y", ""]]],
    ["get ~ '~'", [["get", "~", "~", ""]]],
  ];
  test.each(obeyed)("%j is obeyed", async (line, expected) => expect(await told(line)).toEqual(expected));

  const refused: [line: string, why: string][] = [
    ["get", "get: the usage is: get [-r] PATH [LOCAL]"],
    ["get a b c", "get a b c: the usage is: get [-r] PATH [LOCAL]"],
    ["get -x a", "get -x a: the usage is: get [-r] PATH [LOCAL]"],
    ["get -rx a", "get -rx a: the usage is: get [-r] PATH [LOCAL]"],
    [" end now ", "end now: the usage is: end"],
    ["rename a", "rename a: the usage is: rename FROM TO"],
  ];
  test.each(refused)("%j is refused", async (line, why) => {
    expect(await told(line)).toEqual([`${why} (EINVAL)`, undefined]);
    expect(did).toEqual([]);
  });

  test("what is no command: not the words that every object has, either", async () => {
    for (const name of ["fetch", "toString", "__proto__", "GET"]) {
      expect(await told(`${name} a`)).toEqual([
        `${name}: unknown command (EINVAL)`,
        "help lists the commands",
      ]);
    }
  });

  test("help has a line for each", () => {
    expect(helpLines(commands).slice(0, 2)).toEqual([
      "get [-r] PATH [LOCAL]   does get",
      "go [PATH]               does go",
    ]);
  });

  /** A side with these folders; a name that ends with / is a folder, one with @ a link. */
  const side = (tree: Record<string, string[]>): Side =>
    ({
      list: (path: string) =>
        Promise.resolve((tree[path] ?? []).map((name) => ({
          name: name.replace(/[/@]$/, ""),
          kind: name.endsWith("/") ? "folder" : name.endsWith("@") ? "link" : "file",
        } as Entry))),
    }) as unknown as Side;
  const there = side({
    ".": [".hidden", "a b", "a\x1b[2J", "link@", "photo1", "photo2", "sub/", "übung", "ütz"],
    "sub/": ["one", "two"],
    "~": ["wrong"],
  });
  const here = side({ ".": ["mine", "~"], [`${homedir()}/`]: ["home.txt"] });

  const tabs: [line: string, words: string[], end: string][] = [
    ["", ["get ", "go ", "put ", "rename ", "end "], ""],
    ["g", ["get ", "go "], "g"],
    ["re", ["rename "], "re"],
    ["x", [], "x"],
    ["get .", [".hidden "], "."],
    ["get p", ["photo"], "p"], // as far as all go
    ["get photo", ["photo1", "photo2"], "photo"],
    ["get photo1", ["photo1 "], "photo1"],
    ["get -r s", ["sub/"], "s"],
    ["get sub/", ["sub/one", "sub/two"], "sub/"],
    ["get sub/o", ["sub/one "], "sub/o"],
    ["get l", ["link"], "l"], // whatever it leads to
    ["get a", ["a\\ b "], "a"], // not what drives a terminal
    ["get 'a", ["'a b' "], "'a"],
    ['get "su', ['"sub/'], '"su'],
    ["get ü", ["übung", "ütz"], "ü"],
    ["get none", [], "none"],
    ["get a m", ["mine "], "m"],
    ["get a ", ["mine "], ""], // the file ~ would be the home folder
    ["put ~/h", ["~/home.txt "], "~/h"],
    ["put m p", ["photo"], "p"],
    ["get ~/", [], "~/"], // there it is a name
    ["get a b c", [], "get a b c"],
    ["end x", [], "end x"],
    ["fetch x", [], "fetch x"],
    ["toString x", [], "toString x"],
  ];
  test.each(tabs)("Tab after %j", async (line, words, end) => {
    expect(await complete(line, commands, here, there)).toEqual([words, end]);
  });
});
