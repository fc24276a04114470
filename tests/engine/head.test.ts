/** The grammar of a head, and every mistake that it finds. */
import { describe, expect, test } from "bun:test";
import { parseBareHead, parseHead, parseSections } from "./head.ts";

const HEAD = `#!/usr/bin/env bun
/**
 * 2.10 Write letters: every letter has an address,
 * and nobody answers.
 * 中文 写信：每封信都有地址。
 *
 * terminal 1
 *   $ bun scripts/udp/receive.ts --once
 *   listening on 127.0.0.1:7788
 *   127.0.0.1:50001 > $ 5
 *     two spaces more
 *   ^C
 * terminal 2
 *   $ bun scripts/udp/send.ts "a b"
 *   > 你好
 *   >
 *   > two  spaces
 *   ^D
 *   [exit 1]
 * terminal 1
 *   > again
 *
 * Python     s.bind()    ->  socket.bind()
 *            s.close()   ->  socket.close()
 * Watch out  One line.
 * Try        Something:
 *            a second thing,
 *            and a third.
 * 注意       一行。
 * 试试       做一做。
 */
import "./nothing.ts";
`;

const change = (from: string | RegExp, to: string) => {
  const changed = HEAD.replace(from, to);
  if (changed === HEAD) throw new Error(`${from} is not in the head`);
  return changed;
};

test("a whole head", () => {
  const head = parseHead(HEAD);
  expect(head).toEqual({
    number: "2.10",
    title: "Write letters",
    idea: "every letter has an address, and nobody answers.",
    chinese: { title: "写信", idea: "每封信都有地址。" },
    sections: [
      {
        terminal: 1,
        steps: [
          { kind: "run", command: "bun scripts/udp/receive.ts --once" },
          { kind: "see", text: "listening on 127.0.0.1:7788" },
          { kind: "see", text: "127.0.0.1:50001 > $ 5" },
          { kind: "see", text: "  two spaces more" },
          { kind: "key", key: "^C" },
        ],
      },
      {
        terminal: 2,
        steps: [
          { kind: "run", command: 'bun scripts/udp/send.ts "a b"' },
          { kind: "type", text: "你好" },
          { kind: "type", text: "" },
          { kind: "type", text: "two  spaces" },
          { kind: "key", key: "^D" },
          { kind: "exit", code: 1 },
        ],
      },
      { terminal: 1, steps: [{ kind: "type", text: "again" }] },
    ],
    notes: [
      { label: "Python", text: "s.bind()    ->  socket.bind()\ns.close()   ->  socket.close()" },
      { label: "Watch out", text: "One line." },
      { label: "Try", text: "Something:\na second thing,\nand a third." },
      { label: "注意", text: "一行。" },
      { label: "试试", text: "做一做。" },
    ],
    text: head.text,
  });
});

test("the text is the comment without its stars", () => {
  const { text } = parseHead(HEAD);
  expect(text).toStartWith(
    "2.10 Write letters: every letter has an address,\nand nobody answers.\n中文 写信",
  );
  expect(text).toContain("\n\nterminal 1\n  $ bun scripts/udp/receive.ts --once\n");
  expect(text).toEndWith("\n           and a third.\n注意       一行。\n试试       做一做。");
});

test("the shebang may be missing", () => {
  expect(parseHead(change("#!/usr/bin/env bun\n", "")).number).toBe("2.10");
});

test("what only looks like a step is a line that is seen", () => {
  const lines = ["$5", ">text", "^X", "^C again", "[exit]", "[exit -1]", " $ x", "[exit 1] x"];
  const [{ steps }] = parseSections(["terminal 1", "  $ x", ...lines.map((line) => `  ${line}`)]);
  expect(steps.slice(1)).toEqual(lines.map((text) => ({ kind: "see", text })));
});

describe("a mistake is named, with its line", () => {
  const comment = "no head: a lesson starts with a /** comment";
  const title = 'head, line 1: expected "NUMBER TITLE: IDEA": ';
  const mistakes: [name: string, source: string, message: string][] = [
    ["no comment", 'import "./nothing.ts";\n', comment],
    ["nothing at all", "", comment],
    ["the comment comes later", change("/**", "\n/**"), comment],
    ["the comment does not end", change(" */\n", ""), comment],
    ["a comment with one star", change("/**", "/*"), comment],
    ["no number", change("2.10 ", ""), `${title}Write letters: every`],
    ["half a number", change("2.10 ", "2 "), `${title}2 Write letters`],
    ["no colon", change("letters: ", "letters, "), `${title}2.10 Write letters, every`],
    ["no title", change("Write letters: ", ": "), title],
    ["no idea", change("every letter has an address,", ""), title],
    ["no Chinese", change(/ \* 中文.*\n/, ""), 'head: no line "中文 TITLE：IDEA"'],
    ["a colon that is not Chinese", change("写信：", "写信:"), 'head: no line "中文 TITLE：IDEA"'],
    ["text behind the Chinese", change(" *\n * t", " * more\n * t"), "head, line 4: not understood: more"],
    [
      "a step outside a terminal",
      change(" *\n * Python", " *\n *   lost\n * Python"),
      "not understood:   lost",
    ],
    ["no space before a step", change(" *   ^D", " * ^D"), "head, line 16: not understood: ^D"],
    ["a terminal without a number", change("terminal 2", "terminal b"), "not understood: terminal b"],
    ["an unknown note", change("Watch out  ", "Beware     "), "not understood: Beware     One line."],
    ["no terminals", change(/ \* terminal 1[^]*?\n \*\n/, " *\n"), "head: no terminal that runs a command"],
    ["an empty terminal", change(" *   > again\n", ""), "head: terminal 1 is empty"],
    [
      "a terminal that begins with output",
      change(' *   $ bun scripts/udp/send.ts "a b"\n', ""),
      'head: terminal 2 does not start with a "$ COMMAND" line',
    ],
    ["no Python", change(/ \* Python[^]*?(?= \* Watch)/, ""), 'head: no "Python" note'],
    ["no Watch out", change(/ \* Watch out.*\n/, ""), 'head: no "Watch out" note'],
    ["no Try", change(/ \* Try[^]*?(?= \*\/)/, ""), 'head: no "Try" note'],
    ["no Chinese note", change(/ \* 注意.*\n/, ""), 'head: no "注意" note'],
  ];
  test.each(mistakes)("%s", (_, source, message) => {
    expect(() => parseHead(source)).toThrow(message);
  });
});

test("terminals alone are parsed too, and checked", () => {
  expect(() => parseSections([])).toThrow("head: no terminal that runs a command");
  expect(() => parseSections(["terminal 3"])).toThrow("head: terminal 3 is empty");
  expect(() => parseSections(["terminal 3", "  > x"])).toThrow("head: terminal 3 does not start with");
  expect(parseSections(["terminal 3", "  $ x"])).toEqual([
    { terminal: 3, steps: [{ kind: "run", command: "x" }] },
  ]);
});

describe("the head of a bare program", () => {
  const BARE = `#!/usr/bin/env bun
/**
 * 3.10 bare  Ask:  bun client.ts [PORT [NAME]]
 * The lesson ../client.ts adds flags and GBK.
 * On the wire: make wire L=3.10
 *
 * terminal 1
 *   $ bun scripts/tcp/bare/client.ts
 *   ^C
 */
import "node:net";
`;

  test("whole: Ctrl-C ends it with exit code 130", () => {
    const head = parseBareHead(BARE, "client.ts");
    expect(head).toEqual({
      number: "3.10",
      title: "Ask",
      usage: "bun client.ts [PORT [NAME]]",
      adds: "adds flags and GBK.",
      sections: [
        {
          terminal: 1,
          steps: [
            { kind: "run", command: "bun scripts/tcp/bare/client.ts" },
            { kind: "key", key: "^C" },
            { kind: "exit", code: 130 },
          ],
        },
      ],
      text: head.text,
    });
  });

  const mistakes: [name: string, from: string | RegExp, to: string, message: string][] = [
    ["no comment", "/**", "/*", "no head: a bare program starts with a /** comment"],
    ["no number", "3.10 bare", "bare", 'head: expected "NUMBER bare  TITLE:  bun client.ts": bare  Ask:'],
    ["not bare", "bare  Ask", "Ask", 'head: expected "NUMBER bare  TITLE:  bun client.ts": 3.10 Ask:'],
    ["no title", "Ask:", ":", 'head: expected "NUMBER bare  TITLE:  bun client.ts"'],
    ["another file", "bun client.ts", "bun server.ts", 'head: expected "NUMBER bare  TITLE:  bun client.ts"'],
    ["another lesson", "../client.ts", "../server.ts", 'head: expected "The lesson ../client.ts adds WHAT."'],
    ["nothing left out", / \* The lesson.*\n/, "", 'head: expected "The lesson ../client.ts adds WHAT.": '],
    ["no ladder", / \* On the wire.*\n/, "", 'head: expected "On the wire: make wire L=3.10": '],
    [
      "another ladder",
      "L=3.10",
      "L=3.1",
      'head: expected "On the wire: make wire L=3.10": On the wire: make wire L=3.1',
    ],
    ["no empty line", " *\n * terminal", " * terminal", "head: no empty line before the terminals"],
    ["a note", " */\n", " * Try        More.\n */\n", "head: not understood: Try        More."],
    ["no terminal", / \* terminal[^]*?(?= \*\/)/, "", "head: no terminal that runs a command"],
  ];
  test.each(mistakes)("%s", (_, from, to, message) => {
    const changed = BARE.replace(from, to);
    expect(changed).not.toBe(BARE);
    expect(() => parseBareHead(changed, "client.ts")).toThrow(message);
  });
});

test("a file with the line ends of Windows has the same head", () => {
  expect(parseHead(HEAD.replaceAll("\n", "\r\n"))).toEqual(parseHead(HEAD));
});
