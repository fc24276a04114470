/** The page of --help, in the language of the user. */
import { describe, expect, test } from "bun:test";
import { helpPage, inLanguage, isChinese } from "../../lib/help.ts";
import { script } from "../engine/program.ts";

test.each<[locale: Record<string, string>, chinese: boolean]>([
  [{}, false],
  [{ LANG: "zh_CN.UTF-8" }, true],
  [{ LANG: "zh" }, true],
  [{ LANG: "en_US.UTF-8" }, false],
  [{ LANG: "zh_CN.UTF-8", LC_ALL: "C" }, false], // LC_ALL goes before the others
  [{ LANG: "en_US.UTF-8", LC_MESSAGES: "zh_TW" }, true],
  [{ LANG: "zha_CN" }, false],
])("%j", (locale, chinese) => expect(isChinese(locale)).toBe(chinese));

const HEAD = `2.1 Send: it goes.
中文 发送：寄出去。

terminal 1
  $ bun x.ts
  中文

Python     a  ->  b
Watch out  One thing,
           and another.
注意       一件事，
           还有一件。
Try        Do it.
试试       做一做。`;

describe("a head in one language", () => {
  test("English", () => {
    expect(inLanguage(HEAD, false)).toBe(`2.1 Send: it goes.

terminal 1
  $ bun x.ts
  中文

Python     a  ->  b
Watch out  One thing,
           and another.
Try        Do it.`);
  });

  test("Chinese", () => {
    expect(inLanguage(HEAD, true)).toBe(`2.1 发送：寄出去。

terminal 1
  $ bun x.ts
  中文

Python     a  ->  b
注意       一件事，
           还有一件。
试试       做一做。`);
  });
});

test("flags in Chinese, where they have it", () => {
  const source = `/**\n${HEAD.replace(/^/gm, " * ")}\n */\n`;
  const page = (LANG: string) => {
    const before = process.env;
    process.env = { LANG };
    try {
      return helpPage(
        "bun x.ts",
        source,
        {
          once: { kind: "switch", help: "end after one | 收到一个就结束" },
          port: { kind: "port", default: 1, help: "a port" },
        },
        "[NAME]",
      ).split("\n");
    } finally {
      process.env = before;
    }
  };
  expect(page("zh_CN")[0]).toBe("用法: bun x.ts [FLAGS] [NAME]");
  expect(page("zh_CN").slice(-3)).toEqual([
    "参数",
    "  --once                 收到一个就结束",
    "  --port PORT            a port（默认 1）",
  ]);
  expect(page("C").slice(-3)).toEqual([
    "Flags",
    "  --once                 end after one",
    "  --port PORT            a port (default 1)",
  ]);
});

test("a script speaks Chinese where LANG does", async () => {
  await using program = script("udp/send", ["--help"], { env: { LANG: "zh_CN.UTF-8" } });
  const { code, stdout } = await program.result();
  expect(code).toBe(0);
  expect(stdout).toStartWith("用法: bun scripts/udp/send.ts [FLAGS] [MESSAGE...]\n\n2.1 发送数据报：");
});
