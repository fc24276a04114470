/** Lines that are piped in. What a person at a terminal meets is in ../terminal.test.ts. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { keyboard as typed, messages } from "../../lib/keyboard.ts";
import { isExit } from "../../lib/text.ts";
import { EVERYWHERE, ROOT, RUNTIMES, start } from "../engine/program.ts";
import { inTime } from "../engine/sockets.ts";

describe.each(EVERYWHERE)("%s", (runtime) => {
  const keyboard = (encoding = "utf-8") =>
    start([...RUNTIMES[runtime], join(ROOT, "tests", "engine", "fixtures", "keyboard.ts"), encoding]);

  const inputs: [name: string, input: string, output: string][] = [
    ["nothing", "", "end\n"],
    ["a line", "a\n", '"a" 61\nend\n'],
    ["a last line without its end", "a\nb", '"a" 61\n"b" 62\nend\n'],
    ["an empty line", "\na\n\n", '"" \n"a" 61\n"" \nend\n'],
    ["spaces stay", "  a  b \n", '"  a  b " 20206120206220\nend\n'],
    ["line ends of Windows", "a\r\nb\r\n", '"a" 61\n"b" 62\nend\n'],
    ["U+2028 and U+2029 end no line", "a\u2028b\u2029\n", '"a\u2028b\u2029" 61e280a862e280a9\nend\n'],
    ["Chinese", "你好\n", '"你好" e4bda0e5a5bd\nend\n'],
    ["exit: what follows is not read", "a\nexit\nb\n", '"a" 61\nend\n'],
    ["exit()", "exit()\nb\n", "end\n"],
    [
      "what only begins with exit",
      "exits\nEXIT\n exit\n",
      '"exits" 6578697473\n"EXIT" 45584954\n" exit" 2065786974\nend\n',
    ],
  ];
  for (const [name, input, output] of inputs) {
    test.concurrent(name, async () => {
      await using program = keyboard();
      program.type(input);
      program.endOfInput();
      expect(await program.result()).toEqual({ code: 0, stdout: output, stderr: "" });
    });
  }

  test.concurrent("1000 lines that come at once all arrive, in order", async () => {
    await using program = keyboard();
    const lines = Array.from({ length: 1000 }, (_, index) => `line ${index}`);
    program.type(lines.map((line) => `${line}\n`).join(""));
    program.endOfInput();
    const { code, stdout, stderr } = await program.result();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const shown = lines.map((line) => `"${line}" ${Buffer.from(line).toString("hex")}\n`);
    expect(stdout).toBe(`${shown.join("")}end\n`);
  });

  test.concurrent("lines that come one by one are not held back", async () => {
    await using program = keyboard();
    for (const line of ["a", "b", "c"]) {
      program.type(`${line}\n`);
      expect(await program.next()).toStartWith(`"${line}" `);
    }
    program.endOfInput();
    expect(await program.next()).toBe("end");
    expect(await program.ended()).toBe(0);
  });

  test.concurrent("a character that gbk lacks: the line is left out, told, and the exit code is 1", async () => {
    await using program = keyboard("gbk");
    program.type("好\n😀\n你\n");
    program.endOfInput();
    expect(await program.result()).toEqual({
      code: 1,
      stdout: '"好" bac3\n"你" c4e3\nend\n',
      stderr: "error: 😀 (U+1F600): not a character of gbk; nothing was sent (EILSEQ)\n" +
        "hint: utf-8 has every character: --encoding utf-8 at both ends\n",
    });
  });

  test.concurrent("bytes that are not UTF-8: the line is left out, told, and the exit code is 1", async () => {
    await using program = keyboard();
    program.type(Buffer.from("a\n\xc4\xe3\xba\xc3\nb\n", "latin1")); // 你好 in GBK
    program.endOfInput();
    expect(await program.result()).toEqual({
      code: 1,
      stdout: '"a" 61\n"b" 62\nend\n',
      stderr: "error: the typed line: bytes that are not valid utf-8 (EILSEQ)\n",
    });
  });

  for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]] as const) {
    test.concurrent(`${signal} while it waits for a line ends it with ${code}`, async () => {
      await using program = keyboard();
      program.type("a\n");
      expect(await program.next()).toBe('"a" 61');
      program.signal(signal);
      expect(await program.ended()).toBe(code);
    });
  }
});

test("stopped before it begins, it reads nothing", async () => {
  const lines = typed("utf-8", AbortSignal.abort());
  expect(await inTime(lines.next(), "the end of the lines")).toEqual({ done: true, value: undefined });
});

describe("messages", () => {
  async function all(words: string[], encoding: "utf-8" | "gbk" = "utf-8"): Promise<string[]> {
    const found: string[] = [];
    for await (const { text, bytes } of messages(words, encoding, new AbortController().signal)) {
      found.push(`${text} ${bytes.toString("hex")}`);
    }
    return found;
  }

  test("the words of the command line are messages", async () => {
    expect(await all(["a", "", "你"])).toEqual(["a 61", " ", "你 e4bda0"]);
    expect(await all(["你"], "gbk")).toEqual(["你 c4e3"]);
  });

  test("one word that cannot be sent: none is", () => {
    expect(() => messages(["好", "😀"], "gbk", new AbortController().signal)).toThrow(
      "😀 (U+1F600): not a character of gbk",
    );
  });
});

test("what ends a loop", () => {
  for (const text of ["exit", "exit()"]) expect(isExit(text)).toBe(true);
  for (const text of ["", "Exit", "exit ", " exit", "exit(1)", "exit\n"]) expect(isExit(text)).toBe(false);
});
