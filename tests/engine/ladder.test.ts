/** What is on the wire is compared with ladders.txt; a program that goes another way is found. (thorough) */
import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Arrow } from "../../scripts/raw/wire/arrow.ts";
import { DIFFERENCES, judge } from "./differences.ts";
import { copyOfProject } from "./engine.ts";
import { compare, ladderOf, LADDERS, parseLadders } from "./ladder.ts";
import { barePrograms, find, lessons } from "./lessons.ts";
import { ON } from "./program.ts";
import { missing } from "./recording.ts";

const LIMIT = 60_000;

/** Arrows from words: `> SYN`, `< PSH ACK 6 你好` (flags, length, text), `> UDP 6 你好`, `< ICMP Port Unreachable`. */
function arrows(lines: string, more: Partial<Arrow> = {}): Arrow[] {
  return lines.split("\n").map((line, at) => {
    const [, way, words, length = "0", text = ""] = /^ *([<>]) ([A-Z ]+?)(?: (\d+)(?: (.*))?)?$/.exec(line) ??
      [];
    const protocol = ["UDP", "ICMP", "IGMP"].find((name) => words.startsWith(name)) ?? "TCP";
    return {
      at,
      conversation: 1,
      left: "127.0.0.1:50001",
      right: "127.0.0.1:7890",
      isToRight: way === ">",
      protocol,
      flags: protocol === "TCP" ? words.split(" ") : undefined,
      length: protocol === "UDP" || protocol === "TCP" ? Number(length) : 0,
      text,
      notes: [],
      isLost: false,
      ...more,
    };
  });
}

/** What is wrong with these arrows, where `text` is expected. */
const wrong = (text: string, seen: Arrow[], dropped = 0) =>
  compare(seen, dropped, parseLadders(`scripts/x.ts\n${text}\n`)[0]);

const OPEN = "> SYN\n< SYN ACK\n> ACK";
const CLOSE = "> FIN ACK\n< ACK\n< FIN ACK\n> ACK";

describe("one way is expected, another is found", () => {
  const text = '  tcp * > 7890:  open  > "你好"  < 36 bytes "ok"  > FIN  < FIN';
  const right = `${OPEN}\n> PSH ACK 6 你好\n< ACK\n< PSH ACK 36 ok, Processing\n> ACK\n${CLOSE}`;

  test("the right one", () => expect(wrong(text, arrows(right))).toBeUndefined());

  const ways: [name: string, lines: string][] = [
    ["the server resets", right.replace("< FIN ACK", "< RST ACK")],
    ["the client resets", right.replace("> FIN ACK", "> RST ACK")],
    ["the client sends no FIN", right.replace("> FIN ACK\n", "")],
    ["the server sends no FIN", right.replace("< FIN ACK\n", "")],
    ["the server closes first", right.replace("> FIN", "? FIN").replace("< FIN", "> FIN").replace("?", "<")],
    ["other bytes", right.replace("6 你好", "6 您好")],
    ["a byte more", right.replace("36 ok", "37 ok")],
    ["a byte less", right.replace("36 ok", "35 ok")],
    ["another reply", right.replace("36 ok", "36 no")],
    ["no reply", right.replace(/< PSH.*\n/, "")],
    ["one more question", right.replace("\n> FIN", "\n> PSH ACK 2 hi\n> FIN")],
    ["the reply before the question", right.replace(/(> PSH.*\n)(< ACK\n)(< PSH.*\n)/, "$3$1")],
    ["refused", "> SYN\n< RST ACK"],
    ["never open", "> SYN\n< SYN ACK\n< ACK"],
    ["nothing", ""],
  ];
  test.each(ways)("%s", (_, lines) => {
    const seen = lines ? arrows(lines) : [];
    expect(wrong(text, seen)).toContain(
      '  tcp * > 7890\n    expected: open  > "你好"  < 36 bytes "ok"  > FIN  < FIN\n    seen:     ',
    );
  });

  test("it is written as it would have to be", () => {
    const seen = arrows(`${OPEN}\n> PSH ACK 6 你好\n< ACK\n< RST ACK`);
    expect(wrong(text, seen)).toContain('\n    seen:     open  > "你好"  < RST\n');
  });

  test("a conversation more, one less, another port", () => {
    const twice = [...arrows(right), ...arrows(right, { conversation: 2 })];
    expect(wrong(text, twice)).toContain("    expected: nothing\n");
    expect(wrong(text.replace("tcp", "2 times tcp"), twice)).toBeUndefined();
    expect(wrong(text.replace("tcp", "3 times tcp"), twice)).toContain("    seen:     nothing\n");
    expect(wrong(text, arrows(right, { right: "127.0.0.1:7891" }))).toContain(
      "  tcp * > 7891\n    expected: nothing",
    );
    expect(wrong("  nothing", arrows("> UDP 2 hi"))).toContain(
      '  udp * > 7890\n    expected: nothing\n    seen:     > "hi"',
    );
  });
});

describe("what depends on the moment makes no difference", () => {
  const text = '  tcp * > 7890:  open  > "one two"  { > FIN  < "ok"  < FIN }';
  const ways: [name: string, lines: string][] = [
    [
      "acknowledged at once",
      `> PSH ACK 7 one two\n< ACK\n${CLOSE.replace("< FIN", "< PSH ACK 2 ok\n< FIN")}`,
    ],
    ["in two segments", "> PSH ACK 3 one\n< ACK\n> PSH ACK 4  two\n< PSH ACK 2 ok\n< FIN ACK\n> FIN ACK"],
    ["with the end in the last of them", "> PSH ACK 3 one\n> FIN PSH ACK 4  two\n< FIN PSH ACK 2 ok"],
    ["the end of the one before the answer", "> PSH ACK 7 one two\n> FIN ACK\n< PSH ACK 2 ok\n< FIN ACK"],
    [
      "the end of the other before that of the one",
      "> PSH ACK 7 one two\n< PSH ACK 2 ok\n< FIN ACK\n> FIN ACK",
    ],
  ];
  test.each(ways)("%s", (_, lines) => {
    expect(wrong(text, arrows(`${OPEN}\n${lines}`))).toBeUndefined();
  });

  test("what is sent again, and probes", () => {
    const seen = arrows(
      `${OPEN}\n> PSH ACK 7 one two\n> PSH ACK 7 one two\n> ACK 1\n< FIN PSH ACK 2 ok\n> FIN ACK`,
    );
    expect(wrong(text, seen)).toContain("seen:     open");
    seen[4].notes = ["sent again"];
    seen[5].notes = ["probe"];
    expect(wrong(text, seen)).toBeUndefined();
  });

  test("what crosses a reset", () => {
    const seen = `${OPEN}\n> PSH ACK 2 hi\n< RST ACK\n> FIN ACK\n< RST`;
    expect(wrong('  tcp * > 7890:  open  > "hi"  { > FIN?  < RST }', arrows(seen))).toBeUndefined();
  });

  test("but not the order of what one end sends, nor whether a step comes at all", () => {
    for (
      const lines of [
        "> FIN ACK\n> PSH ACK 7 one two\n< PSH ACK 2 ok\n< FIN ACK",
        "> PSH ACK 7 one two\n> FIN ACK",
      ]
    ) {
      expect(wrong(text, arrows(`${OPEN}\n${lines}`))).toContain("seen:     open");
    }
  });

  test("a step is missing where packets were dropped, but a wrong one is still wrong", () => {
    const seen = arrows(`${OPEN}\n> PSH ACK 3 one\n< FIN ACK\n> FIN ACK`);
    expect(wrong(text, seen)).toContain("seen:     open");
    expect(wrong(text, seen, 7)).toBeUndefined();
    expect(wrong(text, arrows(`${OPEN}\n> PSH ACK 3 one\n< RST ACK`), 7)).toContain("seen:     open");
  });
});

test("datagrams are not joined, and not cut", () => {
  const text = '  udp * > 7890:  > "one"  > "two"  < [Port Unreachable]';
  const error = arrows("< ICMP", { notes: ["Port Unreachable"] });
  expect(wrong(text, [...arrows("> UDP 3 one\n> UDP 3 two"), ...error])).toBeUndefined();
  expect(wrong(text, [...arrows("> UDP 6 onetwo"), ...error])).toContain('> "onetwo"');
  expect(wrong(text, [...arrows("> UDP 1 o\n> UDP 2 ne\n> UDP 3 two"), ...error])).toContain('> "o"  > "ne"');
  expect(wrong(text, arrows("> UDP 3 one\n> UDP 3 two"))).toContain("seen:");
  expect(wrong('  udp * > 7890:  > ""', arrows("> UDP 0"))).toBeUndefined();
});

test("some bytes, one way or another", () => {
  const text = '  tcp * > 7890:  open  { > data "SSH-"  < data }  > FIN  or  open  > RST';
  expect(wrong(text, arrows(`${OPEN}\n< PSH ACK 3 abc\n> PSH ACK 6 SSH-2.\n< PSH ACK 900 x\n> FIN ACK`)))
    .toBeUndefined();
  expect(wrong(text, arrows(`${OPEN}\n> RST ACK`))).toBeUndefined();
  expect(wrong(text, arrows(`${OPEN}\n> PSH ACK 6 SSX-2.\n< PSH ACK 3 abc\n> FIN ACK`))).toContain("seen:");
  expect(wrong(text, arrows(`${OPEN}\n> PSH ACK 6 SSH-2.\n> FIN ACK`))).toContain("seen:");
});

test("bytes that are shown as \\xff, also those of a character that was cut in two", () => {
  const text = '  tcp * > 7890:  open  > "\\x00\\x06你\\n\\""';
  expect(wrong(text, arrows(`${OPEN}\n> PSH ACK 3 \\x00\\x06\\xe4\n> PSH ACK 4 \\xbd\\xa0\\n"`)))
    .toBeUndefined();
  expect(wrong(text, arrows(`${OPEN}\n> PSH ACK 7 \\x00\\x07你\\n"`))).toContain('> "\\x00\\x07你\\n\\""');
});

test.each([
  ["scripts/x.ts\n  tcp * > 1:  open  > FIM", "not understood: "],
  ["scripts/x.ts\n  tcp * > 1:  open  { > FIN", "a brace is missing: "],
  ["scripts/x.ts\n  tcp * > 1:  open  > FIN }", "a brace too many: "],
  ["scripts/x.ts\n  ftp * > 1:  open", "ladders.txt: not understood: "],
  ["scripts/x.ts, server on deno\n  nothing", "ladders.txt: not understood: "],
  ["  nothing", "ladders.txt: not understood: "],
])("what is not understood: %j", (text, message) => expect(() => parseLadders(text)).toThrow(message));

test("what is special on a runtime, for a reason", () => {
  const all = parseLadders(
    "scripts/x.ts\n  nothing\nscripts/x.ts, server on deno: It is so\n  tcp * > 1:  > SYN",
  );
  expect(ladderOf("scripts/x.ts", { server: "bun", client: "deno" }, all)).toBe(all[0]);
  expect(ladderOf("scripts/x.ts", { server: "deno", client: "bun" }, all)).toBe(all[1]);
  expect(ladderOf("scripts/y.ts", { server: "bun", client: "bun" }, all)).toBeUndefined();
  expect(compare([], 0, all[1])).toEndWith("\nno longer so? It is so\n");
});

test("every script of chapters 2 to 4 has its ladder, and no other", () => {
  const scripts = [...lessons().filter(({ head }) => /^[234]\./.test(head.number)), ...barePrograms()];
  expect([...new Set(LADDERS.map(({ path }) => path))].sort()).toEqual(
    scripts.map(({ path }) => path).sort(),
  );
});

/** Programs that print what their head says, and go another way on the wire. */
const WRONG: [name: string, file: string, from: string, to: string, seen: RegExp][] = [
  [
    "tcp/many-requests-server",
    "scripts/tcp/many-requests-server.ts",
    "socket.end(); // close our half too",
    "socket.resetAndDestroy();",
    /> FIN {2}< RST$/m,
  ],
  [
    "tcp/time-client",
    "scripts/tcp/time-client.ts",
    "told = true;",
    "told = true; socket.resetAndDestroy(); break;",
    /open {2}< "20[^"]+"(?: {2}< FIN)? {2}> RST$/m,
  ],
];

describe("a program that goes another way is found", () => {
  for (const [name, file, from, to, seen] of WRONG) {
    test.skipIf(Boolean(missing))(`${file}: ${to} (needs unshare, nsenter, mount, ip)`, async () => {
      await using folder = copyOfProject();
      const source = readFileSync(join(folder.path, file), "utf8");
      expect(source).toContain(from);
      const [lesson] = find(name);
      const cell = { server: ON, client: ON };
      expect((await judge(lesson, cell, DIFFERENCES, folder.path, LADDERS)).note).toBeUndefined();
      writeFileSync(join(folder.path, file), source.replace(from, to));
      expect((await judge(lesson, cell, DIFFERENCES, folder.path)).note).toBeUndefined(); // it prints the same
      expect((await judge(lesson, cell, DIFFERENCES, folder.path, LADDERS)).note).toMatch(seen);
    }, LIMIT);
  }
});
