/** The exercises: each is made of its bare program, its solution passes and its start does not. */
import { expect, test } from "bun:test";
import { mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import process from "node:process";
import { barePrograms } from "../engine/lessons.ts";
import { parseSections } from "../engine/head.ts";
import { start } from "../engine/program.ts";
import { temporaryFolder } from "../engine/files.ts";
import { exercises, withoutHole } from "../practice/exercise.ts";
import { chosenHoles, cut, headAlone, holesOf } from "../practice/holes.ts";
import { OWN } from "../practice/own.ts";
import { inChinese } from "../practice/chinese.ts";
import { ofLesson, packets } from "../practice/ladder.ts";
import { reworded } from "../practice/scenes.ts";
import { checkAll, typesOf } from "../practice/types.ts";
import { judge } from "../practice/judge.ts";

const LIMIT = 60_000;
const all = exercises();
const find = (name: string) => all.find((exercise) => exercise.name === name)!;

const judged = (name: string, source: string) => judge(find(name), source, "bun");

test("there is one exercise for each bare program, with something to do in each", () => {
  const paths = all.map(({ path }) => path).filter((path) => path.startsWith("scripts/"));
  expect(paths.toSorted()).toEqual(barePrograms().map(({ path }) => path).toSorted());
  expect(withoutHole()).toEqual([]);
  expect(new Set(all.map(({ file }) => file)).size).toBe(all.length);
  for (const { start, solution, holes } of all) {
    expect(start).not.toBe(solution);
    expect(start).toContain("// TODO");
    for (const { python } of holes) expect(start).toContain(`// TODO: ${python}`);
    for (const line of start.split("\n")) expect(Bun.stringWidth(line)).toBeLessThanOrEqual(110);
  }
});

test("a hole takes the code and leaves Python's; a block loses its call, and what would give it away goes too", () => {
  const source = `#!/usr/bin/env bun
/**
 * head
 */
const server = createServer((socket) => { //  connection, peer = s.accept()
  socket.on("data", (text) => { //            text = connection.recv(1024).decode()
    socket.write(text); //                    connection.sendall(text)
  });
  if (text === "exit") socket.end(); //       connection.close()
  socket.send(data, (error) => { //           s.sendto(data)
    if (error) socket.send(data);
  });
  socket.resume(); // a remark
  log(socket.address()); //                   s.getsockname()
});
`;
  const holes = holesOf(source);
  expect(holes.map(({ line, python }) => `${line} ${python}`)).toEqual([
    "5 connection, peer = s.accept()",
    "6 text = connection.recv(1024).decode()",
    "7 connection.sendall(text)",
    "9 connection.close()",
    "10 s.sendto(data)",
  ]);
  expect(holes[4].code).toEqual(["socket.send(data, (error) => {", "if (error) socket.send(data);", "});"]);
  expect(cut(source, holes)).toBe(`#!/usr/bin/env bun
/**
 * head
 */
// TODO: connection, peer = s.accept() ...
{
  // TODO: text = connection.recv(1024).decode() ...
  {
    // TODO: connection.sendall(text)
  }
  if (text === "exit") {
    // TODO: connection.close()
  }
  // TODO: s.sendto(data)
  socket.resume(); // a remark
  log(socket.address()); //                   s.getsockname()
}
`);
  expect(cut(source, [])).toBe(source);
  expect(chosenHoles(source, "one").map(({ python }) => python)).toEqual(["connection.sendall(text)"]);
  expect(headAlone(source.replace(" */\n", " */\nconst PORT = 1; // any\n"))).toStartWith(
    "#!/usr/bin/env bun\n/**\n * head\n */\nconst PORT = 1; // any\n// TODO: connection, peer = s.accept()\n",
  );
});

test("the last hint is the code itself; of a block, how it begins and how it ends", () => {
  const last = (name: string, part: string) => {
    const { holes, hints } = find(name);
    const wanted = holes.find(({ python }) => python.includes(part));
    return hints((hole) => hole !== wanted)[2].en;
  };
  expect(last("tcp/client", "sendall")).toBe("socket.end(MESSAGE);");
  expect(last("udp/receive", "recvfrom")).toBe(
    'socket.on("message", (data, { address, port }) => {\n  ...\n});',
  );
  expect(last("tcp/time-client", "recv")).toBe("for await (const text of socket) {\n  ...\n}");
});

test("a right program is accepted, and one that only prints is not: udp/receive", async () => {
  const { solution, start } = find("udp/receive");
  expect(await judged("udp/receive", solution)).toMatchObject({ solved: true, why: "" });
  expect(await judged("udp/receive", start)).toMatchObject({
    solved: false,
    why: "Cannot find name 'data'.",
  });
  const lines = ["listening on 127.0.0.1:7788", "127.0.0.1:50001 > 你好", "127.0.0.1:50001 > exit"];
  const { solved, why } = await judged(
    "udp/receive",
    `for (const line of ${JSON.stringify(lines)}) console.log(line);`,
  );
  expect(solved).toBe(false);
  expect(why).toContain("terminal 1: $ bun bare/receive.ts\nexpected on stdout:");
}, LIMIT);

test("each text has its own first mistake, though all are checked at once", async () => {
  const sources = [
    "let a = (;\n",
    "\nconst a: number = 'x';\n",
    "await 1;\nfoo();\nfoo();\n",
    "const a = 1;\n",
    "Bun.listen({ hostname: '127.0.0.1', port: 0, socket: {} });\nDeno.exit(Number(prompt('> ')));\n",
  ];
  checkAll(sources);
  expect(await Promise.all(sources.map(typesOf))).toEqual([
    { line: 1, why: "Expression expected." },
    { line: 2, why: "Type 'string' is not assignable to type 'number'." },
    { line: 2, why: "Cannot find name 'foo'." },
    undefined,
    undefined, // the runtimes' own: another one says itself that it has none
  ]);
}, LIMIT);

test("the words that are typed change, and no path does, though it has the same words", () => {
  const place = (words: string) =>
    [
      `terminal 1`,
      `  $ bun "/home/我的 网络编程 课程/第一个/client.ts" ${words}`,
      "  > 你好",
      "  你好",
    ].join("\n");
  for (let round = 0; round < 20; round++) {
    const [{ steps: [run, type, see] }] = reworded(parseSections(place("第一个").split("\n")));
    if (run.kind !== "run" || type.kind !== "type" || see.kind !== "see") throw new Error("other steps");
    expect(run.command).toStartWith('bun "/home/我的 网络编程 课程/第一个/client.ts" ');
    expect(run.command).not.toEndWith(" 第一个");
    expect(type.text).not.toBe("你好");
    expect(see.text).toBe(type.text);
  }
});

test("in a Chinese terminal, mistakes are told in Chinese", async () => {
  await using folder = temporaryFolder();
  writeFileSync(folder.at(find("udp/receive").file), find("udp/receive").start);
  const program = start(["bun", "tests/commands/practice.ts"], {
    env: { DIR: folder.path, CHECK: "udp/receive", LANG: "zh_CN.UTF-8" },
    limit: LIMIT,
  });
  expect((await program.result()).stdout).toContain("找不到名称“data”。");
  expect(inChinese("terminal 1: $ bun bare/x.ts\nnothing moves any more; still missing: its end")).toBe(
    "终端 1：$ bun bare/x.ts\n所有程序都停住了，还缺它的结束",
  );
  expect(inChinese("expected on stdout:\n  its end\nbut saw:\n  expected on stdout:")).toBe(
    "stdout 上应该是：\n  its end\n实际是：\n  expected on stdout:",
  );
}, LIMIT);

test("where nothing can be recorded, the lesson's packets are shown as they were kept", () => {
  const lines = packets(ofLesson(find("tcp/client"))!, 80);
  expect(lines.filter((line) => Bun.stringWidth(line) !== 80)).toEqual([]);
  const hello = lines.findIndex((line) =>
    /^\| PSH ACK {2}seq 1 {2}ack 1 {2}6 bytes {2}"你好" -+>$/.test(line)
  );
  expect(lines[hello - 3]).toMatch(/^\| SYN {2}seq 0 -+>$/);
  expect(lines[hello - 2]).toMatch(/^<-+ SYN ACK {2}seq 0 {2}ack 1 \|$/);
  expect(ofLesson(find("own/guess"))).toBeUndefined();
});

test(
  "CHECK judges a folder without a keyboard: a table, JSON, and exit 0 only when all is solved",
  async () => {
    await using folder = temporaryFolder();
    const check = (name: string, env = {}) =>
      start(["bun", "tests/commands/practice.ts"], {
        env: { DIR: folder.path, CHECK: name, ...env },
        limit: LIMIT,
      }).result();
    const { file, solution } = find("tcp/time-client");
    writeFileSync(folder.at(file), solution);
    const one = await check("tcp/time-client");
    expect(one).toMatchObject({ code: 0, stderr: "" });
    expect(one.stdout).toMatch(/^solved +\d+\.\d s {2}3\.4-time-client\n\n1 of 1 solved\n$/);
    const lesson = await check("3.4", { JSON: "1" });
    expect(lesson.code).toBe(1);
    expect(JSON.parse(lesson.stdout)).toMatchObject({
      solved: 1,
      of: 2,
      exercises: [{ exercise: "3.4-time-server", solved: false, why: "not begun" }, {
        exercise: "3.4-time-client",
        solved: true,
      }],
    });
    expect(await check("9.9")).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringContaining("error: CHECK=9.9: no such lesson"),
    });
  },
  LIMIT,
);

test.skipIf(process.platform === "win32")(
  "what has the name of a file and is none is told, and never read",
  async () => {
    for (const [name, file] of [["own/chat-log", "chat.log"], ["tcp/picture-client", "album/phone.svg"]]) {
      const [{ after }] = find(name).scenes();
      await using folder = temporaryFolder();
      const path = folder.at(file);
      expect(after?.(folder.path, [])).toBe(`${file} is not there`);
      mkdirSync(path, { recursive: true });
      const why = `${file} is not there\n  (what has its name is no regular file)`;
      expect(after?.(folder.path, [])).toBe(why);
      rmdirSync(path);
      Bun.spawnSync(["mkfifo", path]);
      expect(after?.(folder.path, [])).toBe(why);
      expect(inChinese(why)).toStartWith(`没有找到 ${file}\n`);
    }
  },
);

test("the exercises of one's own have a text of five lines in both languages, and three hints", () => {
  const own = all.filter(({ name }) => name.startsWith("own/"));
  expect(own.length).toBe(10);
  expect(OWN.map(({ name }) => `own/${name}`).toSorted()).toEqual(own.map(({ name }) => name).toSorted());
  for (const { text } of OWN) {
    for (const words of [text.en, text.zh]) {
      expect(words.split("\n").length).toBe(5);
      for (const line of words.split("\n")) expect(Bun.stringWidth(` * ${line}`)).toBeLessThanOrEqual(80);
    }
  }
  for (const { hints } of all) expect(hints(() => false).length).toBe(3);
});
