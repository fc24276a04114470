/** Terminals side by side, whatever the width of the screen. */
import { describe, expect, test } from "bun:test";
import { chalk, columns, wrap } from "./columns.ts";

describe("a text is cut", () => {
  const texts: [text: string, width: number, pieces: string[]][] = [
    ["", 10, [""]],
    ["one two", 10, ["one two"]],
    ["one two three", 10, ["one two", "  three"]],
    ["  indented", 20, ["  indented"]],
    ["$ bun scripts/tcp/server.ts", 24, ["$ bun", "  scripts/tcp/server.ts"]],
    ["$ bun scripts/tcp/many-requests-server.ts", 24, ["$ bun scripts/tcp/many-", "  requests-server.ts"]],
    ["x".repeat(12), 10, ["x".repeat(10), "  xx"]],
    ["ok, 接一个电话，听完再挂。", 12, ["ok, 接一个电", "  话，", "  听完再挂。"]],
  ];
  test.each(texts)("%j at %d", (text, width, pieces) => {
    expect(wrap(text, width)).toEqual(pieces);
    for (const piece of pieces) expect(Bun.stringWidth(piece)).toBeLessThanOrEqual(width);
  });
});

function shown(count: number, width: number): string[] {
  const lines: string[] = [];
  chalk.level = 0;
  const show = columns(
    Array.from({ length: count }, (_, index) => `terminal ${index + 1}`),
    width,
    (line) => lines.push(line),
  );
  show({ terminal: 1, kind: "command", text: "bun scripts/tcp/many-requests-server.ts" });
  show({ terminal: 1, kind: "stdout", text: "listening on 127.0.0.1:10500" });
  show({ terminal: 2, kind: "typed", text: "> 你好" });
  return lines;
}

test("two terminals at 80 columns: side by side", () => {
  expect(shown(2, 80)).toEqual([
    "terminal 1                           | terminal 2",
    "$ bun scripts/tcp/many-requests-     |",
    "  server.ts                          |",
    "listening on 127.0.0.1:10500         |",
    "                                     | > 你好",
  ]);
});

test("three terminals at 80 columns: one below the other, and no line is cut", () => {
  expect(shown(3, 80)).toEqual([
    "terminal 1",
    "  $ bun scripts/tcp/many-requests-server.ts",
    "  listening on 127.0.0.1:10500",
    "terminal 2",
    "  > 你好",
  ]);
});
