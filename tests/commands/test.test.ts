/** `make test` itself: what it chooses, and what it tells. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { temporaryFolder } from "../engine/files.ts";
import { find, lessons } from "../engine/lessons.ts";
import { start } from "../engine/program.ts";
import { suggest } from "./choose.ts";
import { keepTimes, lessonsOf, read, skips, workFor } from "./test.ts";

setDefaultTimeout(60_000); // what waits in a test says itself for what it waited too long

describe("a name that is no lesson's", () => {
  const meant: [name: string, suggestions: string[]][] = [
    ["3", ["3.1", "3.2", "3.3"]],
    ["3.", ["3.1", "3.2", "3.3"]],
    ["Chat", ["udp/chat"]],
    ["聊天", ["udp/chat"]],
    ["tcp/servr", ["tcp/server"]],
    ["scripts/tcp/servr.ts", ["tcp/server"]],
    ["time", ["tcp/time-server", "tcp/time-client"]],
    ["9.9", ["3.9"]],
    ["nothing at all", []],
    ["", []],
  ];
  test.each(meant)("%j", (name, suggestions) => {
    const near = suggest(name, lessons());
    if (name === "time") near.sort().reverse();
    expect(near).toEqual(suggestions);
  });

  test("is an error of test, matrix and lesson", async () => {
    for (const command of ["test", "matrix", "lesson"]) {
      await using program = start(["bun", `tests/commands/${command}.ts`, "tcp/servr"]);
      expect(await program.result()).toEqual({
        code: 1,
        stdout: "",
        stderr: "error: L=tcp/servr: no such lesson (ENOENT)\n" +
          "hint: did you mean L=tcp/server? make lessons lists them all\n",
      });
    }
  });

  test("nor is a runtime that is none", async () => {
    await using program = start(["bun", "tests/commands/test.ts", "3.1"], { env: { ON: "nod" } });
    const { code, stdout, stderr } = await program.result();
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toBe("error: ON=nod: no such runtime (ENOENT)\nhint: bun, node, deno\n");
  });
});

describe("what belongs to a lesson", () => {
  test("is said in the first comment of a file", () => {
    expect(lessonsOf("/** Lesson 3.6: messages. */\n// Lesson 2.1")).toEqual(["3.6"]);
    expect(lessonsOf("/**\n * Letters to all and to groups: lessons 2.4 and 2.5, RFC 3.1.\n */")).toEqual([
      "2.4",
      "2.5",
    ]);
    expect(lessonsOf('import "x"; /** Lesson 3.6 */')).toEqual([]);
  });

  test("or in the names of the tests that are about all", () => {
    const files = [
      { file: "tests/udp/a.test.ts", source: "/** Lesson 2.1 */" },
      { file: "tests/udp/b.test.ts", source: "/** Lesson 2.2 */" },
      { file: "tests/course/c.test.ts", source: "" },
    ];
    const work = workFor(find("2.1"), files);
    expect(work.map(({ file }) => file)).toEqual(["tests/udp/a.test.ts", "tests/course/c.test.ts"]);
    const { names } = work[1];
    for (const name of ["scripts/udp/send.ts", "a > udp/receive on bun", "udp/send: x"]) {
      expect(name).toMatch(names!);
    }
    for (const name of ["udp/send-more", "udp/echo-server", "x/udp/send", "udp/sender"]) {
      expect(name).not.toMatch(names!);
    }
  });
});

test("times are kept for the next run; where they cannot be, nothing happens", async () => {
  await using folder = temporaryFolder();
  keepTimes({ a: 1 }, folder.at("cache", "times"));
  expect(readFileSync(folder.at("cache", "times"), "utf8")).toBe('{"a":1}');
  keepTimes({ a: 2 }, folder.at("cache", "times", "below a file"));
  keepTimes({ a: 2 }, folder.at("cache"));
});

describe("what a run has said", () => {
  test("counts, what was skipped, and of the rest only what failed", () => {
    const output = `bun test v1.4.5 (a7733435c)

tests/a.test.ts:
(pass) good [0.05ms]
(skip) one (needs nft)
error: expect(received).toBe(expected)
(fail) bad [0.65ms]

1 tests skipped:
(skip) one (needs nft)

1 tests failed:
(fail) bad [0.65ms]

 12 pass
 1 skip
 1 fail
 1 expect() calls
Ran 14 tests across 1 file. [6.00ms]
`;
    expect(read(1, output)).toEqual({
      passed: 12,
      failed: 1,
      skipped: ["one (needs nft)"],
      text: "error: expect(received).toBe(expected)\n(fail) bad [0.65ms]",
    });
  });

  test("a run that breaks off has failed, whatever it counts", () => {
    expect(read(132, "(pass) good [1ms]\npanic: oh")).toEqual({
      passed: 0,
      failed: 1,
      skipped: [],
      text: "panic: oh\n(fail) the file itself",
    });
    expect(read(0, "(pass) good [1ms]\n")).toMatchObject({ failed: 1 }); // not even the count is there
  });

  test("what is missing is told once", () => {
    const names = [
      "a (needs unshare, ip and nft)",
      "b (needs nft)",
      "c (needs unshare) > d (needs IPv6)",
      "d",
    ];
    expect(skips(names, (tool) => ["unshare", "ip"].includes(tool))).toEqual([
      "skipped: needs nft (2 tests)",
      "skipped: needs IPv6 (1 test)",
      "skipped: d (1 test)",
    ]);
  });
});
