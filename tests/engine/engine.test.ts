/** The engine rejects wrong programs, each for its sin, and leaves nothing of them behind. (thorough) */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { parseSections } from "./head.ts";
import {
  copyOfProject,
  type Event,
  filesOfProject,
  Mismatch,
  type Options,
  play,
  quoted,
  wordsOf,
} from "./engine.ts";
import { filesBelow } from "./lessons.ts";
import { ROOT } from "./program.ts";
import { letterbox, listen } from "./sockets.ts";
import { type Folder, temporaryFolder } from "./files.ts";
import { $ } from "zx/core";

/** Long enough for a program to start on a busy machine, in milliseconds. */
const LIMIT = 10_000;

let folder: Folder;
beforeAll(async () => void (folder = await temporaryFolder()));
afterAll(() => folder[Symbol.asyncDispose]());

/** What a program left behind: see tests/engine/wrong/witness.ts. */
type Word = { pid: string; folder: string; port?: string };

/**
 * Plays terminals, in which `$ NAME` starts tests/engine/wrong/NAME.ts.
 * @returns what the engine says, and what the programs left behind
 */
async function played(terminals: string, options: Options = {}): Promise<{ message: string; words: Word[] }> {
  const diary = folder.at(crypto.randomUUID());
  const lines = terminals.trim().split("\n").map((line) => {
    const step = line.trim().replace(
      /^\$ ([\w-]+)/,
      (_, name) => `$ bun ${quoted(`${ROOT}tests/engine/wrong/${name}.ts`)} ${quoted(diary)}`,
    );
    return step.startsWith("terminal ") ? step : `  ${step}`;
  });
  let message = "";
  try {
    await play({ sections: parseSections(lines) }, options);
  } catch (error) {
    expect(error).toBeInstanceOf(Mismatch);
    ({ message } = error as Mismatch);
  }
  const words = existsSync(diary) ? readFileSync(diary, "utf8").trim().split("\n") : [];
  return {
    message,
    words: words.map((word) => word.split(" ")).map(([pid, folder, port]) => ({ pid, folder, port })),
  };
}

/** Nothing of a program is left: no process, no folder, and its port is free. */
async function expectNothingLeft(words: Word[]): Promise<void> {
  expect(words).not.toBeEmpty();
  for (const { pid, folder, port } of words) {
    const { stdout } = await $({ quiet: true, nothrow: true })`ps -o stat= -p ${pid}`;
    expect(stdout).toMatch(/^(Z.*\n)?$/); // ended; in some containers nobody collects an orphan
    expect(folder).toContain("sockets-");
    expect(existsSync(folder)).toBe(false);
    if (port) await (await listen(Number(port)))[Symbol.asyncDispose]();
  }
}

type Sin = { name: string; limit?: number; pace?: number; terminals: string; says: string[] };

/** Sins, and what the engine says of them: where it was, what was expected, what was seen. */
const SINS: Sin[] = [
  {
    name: "it says something else before it says that it listens",
    terminals: `
      terminal 1
        $ talks-before-ready
        listening on 127.0.0.1:7000
        ^C`,
    says: [
      "terminal 1: $ bun",
      "talks-before-ready.ts",
      "expected on stdout:\n  listening on",
      "but saw:\n  starting",
    ],
  },
  {
    name: "it dies before it listens: told at once, with its last words",
    terminals: `
      terminal 1
        $ dies-before-ready
        listening on 127.0.0.1:7000
        ^C`,
    says: [
      "terminal 1: $ bun",
      "dies-before-ready.ts",
      "ended with exit code 3 before this line on stdout:\n  listening on 127.0.0.1:7000",
      "1 stderr | something is broken",
    ],
  },
  {
    name: "it says that it listens, and does not: its caller tells",
    terminals: `
      terminal 1
        $ ready-too-early
        listening on 127.0.0.1:7000
        ^C
      terminal 2
        $ right-client
        called from 127.0.0.1:50001
        hello`,
    says: [
      "terminal 2: $ bun",
      "right-client.ts",
      "before this line on stdout:\n  called from",
      "ECONNREFUSED",
    ],
  },
  {
    name: "a server ends by itself, before ^C",
    terminals: `
      terminal 1
        $ dies-before-ctrl-c
        listening on 127.0.0.1:7000
        ^C
      terminal 2
        $ right-client
        called from 127.0.0.1:50001
        hello
        $ right-answer
        > hello
        you said hello
        ^D
        error: the input: has ended (END)
        [exit 1]`,
    says: ["terminal 1: $ bun", "dies-before-ctrl-c.ts", "ended with exit code 0 before ^C"],
  },
  {
    name: "a server ends on ^C with the exit code of a client",
    terminals: `
      terminal 1
        $ ends-with-130
        listening on 127.0.0.1:7000
        ^C`,
    says: ["terminal 1: $ bun", "ends-with-130.ts", "ended with exit code 130, not 0"],
  },
  {
    name: "a server says one thing more when all is over",
    terminals: `
      terminal 1
        $ last-word
        listening on 127.0.0.1:7000
        ^C
      terminal 2
        $ right-client
        called from 127.0.0.1:50001
        hello`,
    says: ["terminal 1: $ bun", "last-word.ts", "printed a line too many on stdout:\n  goodbye"],
  },
  {
    name: "it answers with something else",
    terminals: `
      terminal 1
        $ wrong-reply
        > hello
        you said hello
        ^D`,
    says: [
      "terminal 1: $ bun",
      "wrong-reply.ts",
      "expected on stdout:\n  you said hello\nbut saw:\n  you typed hello",
      "1 | > hello",
    ],
  },
  {
    name: "it answers nothing, and ends well",
    terminals: `
      terminal 1
        $ no-reply
        > hello
        ^D
        you said hello`,
    says: ["no-reply.ts", "ended with exit code 0 before this line on stdout:\n  you said hello"],
  },
  {
    name: "it says one thing more",
    terminals: `
      terminal 1
        $ extra-line
        > hello
        you said hello
        ^D`,
    says: ["terminal 1: $ bun", "extra-line.ts", "printed a line too many on stdout:\n  bye"],
  },
  {
    name: "it complains beside its answer",
    terminals: `
      terminal 1
        $ extra-error
        > hello
        you said hello
        ^D`,
    says: ["terminal 1: $ bun", "extra-error.ts", "a line too many on stderr:\n  warning: this is old"],
  },
  {
    name: "it does not wait for what is typed",
    pace: 500, // time enough to end
    terminals: `
      terminal 1
        $ ends-before-typing
        hello
      terminal 2
        $ right-answer
        > hello
        you said hello
        ^D
        error: the input: has ended (END)
        [exit 1]
      terminal 1
        > hello`,
    says: ["terminal 1: $ bun", "ends-before-typing.ts", 'ended with exit code 0 before "hello" was typed'],
  },
  {
    name: "it prompts on a pipe",
    terminals: `
      terminal 1
        $ prompts-on-a-pipe
        > hello
        you said hello
        ^D`,
    says: ["prompts-on-a-pipe.ts", "expected on stdout:\n  you said hello\nbut saw:\n  > you said hello"],
  },
  {
    name: "its last line has no end",
    terminals: `
      terminal 1
        $ no-line-end
        > hello
        ^D
        you said hello`,
    says: ["terminal 1: $ bun", "no-line-end.ts", "a last line without its end on stdout:\n  you said hello"],
  },
  {
    name: "an error comes on stdout",
    terminals: `
      terminal 1
        $ error-on-stdout
        error: the work: is too much (E2BIG)
        [exit 1]`,
    says: [
      "error-on-stdout.ts",
      "ended with exit code 1 before this line on stderr:\n  error: the work: is too much (E2BIG)",
      "1 | error: the work: is too much (E2BIG)",
    ],
  },
  {
    name: "data comes on stderr",
    terminals: `
      terminal 1
        $ data-on-stderr
        > hello
        ^D
        you said hello`,
    says: ["data-on-stderr.ts", "before this line on stdout:\n  you said hello", "1 stderr | you said hello"],
  },
  {
    name: "it fails, and its exit code says that all is well",
    terminals: `
      terminal 1
        $ wrong-exit-code
        error: the work: is too much (E2BIG)
        [exit 1]`,
    says: ["terminal 1: $ bun", "wrong-exit-code.ts", "ended with exit code 0, not 1"],
  },
  {
    name: "it fails, and the head does not say so",
    terminals: `
      terminal 1
        $ right-answer
        ^D
        error: the input: has ended (END)`,
    says: ["terminal 1: $ bun", "right-answer.ts", "ended with exit code 1, not 0"],
  },
  {
    name: "it says two ports where the head shows one",
    terminals: `
      terminal 1
        $ two-ports
        called from 127.0.0.1:50001
        called from 127.0.0.1:50001`,
    says: [
      "two-ports.ts",
      "expected on stdout:\n  called from 127.0.0.1:50001\nbut saw:\n  called from 127.0.0.1:50012",
      "1 | called from 127.0.0.1:50011",
    ],
  },
  {
    name: "a time stands where a port belongs",
    terminals: `
      terminal 1
        $ time-for-port
        called from 127.0.0.1:50001`,
    says: ["time-for-port.ts", "called from 127.0.0.1:50001\nbut saw:\n  called from 127.0.0.1:2026-11-20"],
  },
  {
    name: "control characters come beside the right text",
    terminals: `
      terminal 1
        $ drives-the-terminal
        > hello
        you said hello
        ^D`,
    says: ["drives-the-terminal.ts", "you said hello\nbut saw:\n  \\x1b[2Jyou said hello"],
  },
  {
    name: "it leaves a process behind",
    terminals: `
      terminal 1
        $ orphan
        done`,
    says: ["terminal 1: $ bun", "orphan.ts", "left a process behind:\n  bun", "stays.ts"],
  },
  {
    name: "it leaves a process behind that has a session of its own",
    terminals: `
      terminal 1
        $ detached-orphan
        done`,
    says: ["terminal 1: $ bun", "detached-orphan.ts", "left a process behind:\n  bun", "stays.ts"],
  },
  {
    name: "it leaves a process behind that holds its stdout",
    terminals: `
      terminal 1
        $ orphan-at-stdout
        done`,
    says: ["terminal 1: $ bun", "orphan-at-stdout.ts", "left a process behind:\n  bun", "stays.ts"],
  },
  {
    name: "there is no such program",
    terminals: `
      terminal 1
        $ talks-before-ready
        starting
        listening on 127.0.0.1:7000
      terminal 2
        $ /nowhere/at-all
        hello
      terminal 1
        ^C`,
    says: [
      "terminal 2: $ /nowhere/at-all",
      "exit code 127 before this line on stdout:\n  hello",
      "not found",
    ],
  },
];

/** Sins that only time shows. They are played side by side. */
const SINS_OF_TIME: Sin[] = [
  {
    name: "it never says that it listens",
    terminals: `
      terminal 1
        $ silent
        listening on 127.0.0.1:7000
        ^C`,
    says: ["terminal 1: $ bun", "silent.ts", `waited ${LIMIT} ms for this line on stdout:\n  listening on`],
  },
  {
    name: "it says too late that it listens",
    terminals: `
      terminal 1
        $ late
        listening on 127.0.0.1:7000
        ^C`,
    says: ["terminal 1: $ bun", "late.ts", `waited ${LIMIT} ms for this line on stdout:\n  listening on`],
  },
  {
    name: "a server does not end on ^C",
    terminals: `
      terminal 1
        $ deaf-to-ctrl-c
        listening on 127.0.0.1:7000
        ^C`,
    says: ["terminal 1: $ bun", "deaf-to-ctrl-c.ts", `waited ${LIMIT} ms for its end`, "1 | ^C"],
  },
  {
    name: "it does not end on ^D",
    terminals: `
      terminal 1
        $ deaf-to-ctrl-d
        > hello
        you said hello
        ^D`,
    says: ["terminal 1: $ bun", "deaf-to-ctrl-d.ts", `waited ${LIMIT} ms for its end`, "1 | you said hello"],
  },
  {
    name: "it never ends",
    terminals: `
      terminal 1
        $ never-ending
        > hello
        you said hello`,
    says: ["terminal 1: $ bun", "never-ending.ts", `waited ${LIMIT} ms for its end`, "1 | you said hello"],
  },
  {
    name: "it begins a line, and never ends it",
    terminals: `
      terminal 1
        $ half-a-line
        > hello
        you said hello`,
    says: [
      "half-a-line.ts",
      `waited ${LIMIT} ms for this line on stdout:\n  you said hello\nbut saw, without a line end:\n  you said hello`,
    ],
  },
];

async function expectRejection({ terminals, says }: Sin, options: Options): Promise<void> {
  const { message, words } = await played(terminals, options);
  for (const text of says) expect(message).toContain(text);
  await expectNothingLeft(words);
}

describe("a wrong program is rejected", () => {
  for (const sin of SINS) test(sin.name, () => expectRejection(sin, { pace: sin.pace }));
});

describe.concurrent("what needs time", () => {
  for (const sin of SINS_OF_TIME) test(sin.name, () => expectRejection(sin, { limit: LIMIT }));

  test("after a failure nothing more is started", async () => {
    // While terminal 2 fails, terminal 1 still chooses a port for each of these addresses.
    const addresses = Array.from({ length: 1000 }, (_, index) => `127.0.0.1:${index + 10_000}`).join(" ");
    let isOver = false;
    const late: Event[] = [];
    const { message, words } = await played(
      `
      terminal 1
        $ dies-after-ready
        listening on 127.0.0.1:7000
        $ right-answer ${addresses}
      terminal 2
        $ /nowhere/at-all
        hello`,
      { onEvent: (event) => void (isOver && late.push(event)) },
    );
    isOver = true;
    expect(message).toContain("/nowhere/at-all");
    await new Promise((resolve) => setTimeout(resolve, 1000)); // only time can show that nothing comes
    expect(late).toEqual([]);
    await expectNothingLeft(words);
  });
});

const CALL = `
  terminal 1
    $ right-server
    listening on 127.0.0.1:7000
    127.0.0.1:50001 called
    ^C
  terminal 2
    $ right-client
    called from 127.0.0.1:50001
    hello`;

test("right programs are accepted, and leave nothing", async () => {
  const { message, words } = await played(CALL);
  expect(message).toBe("");
  expect(words).toHaveLength(3); // the server's process, its port, the client's process
  await expectNothingLeft(words);
});

test("a port whose program has ended reaches no stranger while a learner's program may still send there", async () => {
  const terminals = (seen: string) => `
    terminal 1
      $ hears-once
      listening on 127.0.0.1:7000
      hello
      $ takes-over
      ${seen}
    terminal 2
      $ says-hello
  `;
  const patience = { asleep: 5000, awake: 30_000, many: 50 };
  const kept = await played(terminals("EADDRINUSE"), { patience });
  expect(kept.message).toBe("");
  await expectNothingLeft(kept.words.filter(({ port }) => !port)); // by TCP the port was never ours
  const port = Number(kept.words.find(({ port }) => port)?.port);
  await (await letterbox(port))[Symbol.asyncDispose](); // it is not kept any longer
  expect((await played(terminals("free"))).message).toBe("");
});

test("what is typed, pressed, seen on both streams, and the exit code are accepted as they are", async () => {
  const { message, words } = await played(`
    terminal 1
      $ right-answer
      > hello
      you said hello
      > 你好
      you said 你好
      ^D
      error: the input: has ended (END)
      [exit 1]
      $ right-answer
      ^D
      error: the input: has ended (END)
      [exit 1]`);
  expect(message).toBe("");
  expect(words).toHaveLength(2);
  await expectNothingLeft(words);
});

test("a client starts after the ready line of the server above it, and with its port", async () => {
  const events: Event[] = [];
  const { words } = await played(CALL, { onEvent: (event) => events.push(event) });
  const at = (terminal: number, kind: string, text: RegExp) =>
    events.findIndex((event) => event.terminal === terminal && event.kind === kind && text.test(event.text));
  const order = [
    at(1, "command", /right-server/),
    at(1, "stdout", /^listening/),
    at(2, "command", new RegExp(`right-client.* --port ${words.find(({ port }) => port)?.port}$`)),
    at(2, "stdout", /^hello$/),
    at(1, "typed", /^\^C$/),
  ];
  expect(order).toEqual(order.toSorted((a, b) => a - b));
  expect(order[0]).toBe(0);
});

test("as written, the port of the head is the port", async () => {
  const { message, words } = await played(CALL, { asWritten: true });
  expect(message).toContain("expected on stdout:\n  listening on 127.0.0.1:7000\nbut saw:\n  listening on");
  await expectNothingLeft(words);
});

test("the endpoint that one terminal shows is the one that the other shows", async () => {
  const { message } = await played(CALL.replace("127.0.0.1:50001 called", "127.0.0.1:7000 called"));
  expect(message).toContain("expected on stdout:\n  127.0.0.1:7000 called\nbut saw:\n  127.0.0.1:");
});

describe("a failure in one terminal ends those that wait, at once", () => {
  const waiting = `
    terminal 1
      $ right-server
      listening on 127.0.0.1:7000
      127.0.0.1:50001 called`;
  const failures = [
    `${waiting}
      ^C
    terminal 2
      $ wrong-reply
      > hello
      you said hello`,
    `${waiting}
    terminal 2
      $ dies-after-ready
      listening on 127.0.0.1:7001
      hello
    terminal 1
      ^C`,
  ];
  for (const terminals of failures) {
    test(`${terminals.match(/\$ \S+/g)}`, async () => {
      const begin = Date.now();
      const { message, words } = await played(terminals, { limit: 60_000 });
      expect(message).toStartWith("terminal 2: $ bun");
      expect(Date.now() - begin).toBeLessThan(30_000); // at once, and not at the limit
      await expectNothingLeft(words);
    });
  }
});

test("a ^C of a server that goes on in its section is a mistake of the head", async () => {
  const promise = play({
    sections: parseSections([
      "terminal 1",
      "  $ bun server.ts",
      "  listening on 127.0.0.1:7000",
      "  ^C",
      "terminal 1",
      "  $ bun server.ts",
    ]),
  });
  await expect(promise).rejects.toThrow("terminal 1 goes on after ^C: give that ^C a section of its own");
  await expect(promise).rejects.not.toBeInstanceOf(Mismatch);
});

test("every wrong program has its test", () => {
  const source = readFileSync(import.meta.filename, "utf8");
  const programs = readdirSync(join(ROOT, "tests", "engine", "wrong")).map((file) => file.replace(".ts", ""));
  const parts = ["stays", "witness"];
  expect(programs.filter((name) => !parts.includes(name) && !source.includes(`$ ${name}\n`))).toEqual([]);
});

test.skipIf(process.platform === "win32")(
  "where there is no shell, a program ends with 127, and nobody else ends",
  () => {
    const source = `import { start } from "${ROOT}tests/engine/program.ts";
    await using program = start(["bun"], { env: { PATH: "/nowhere" } });
    console.log(await program.ended());
    program.signal("SIGKILL");`;
    const { stdout, exitCode } = Bun.spawnSync([process.execPath, "-e", source], { detached: true }); // a group of its own
    expect({ exitCode, stdout: `${stdout}` }).toEqual({ exitCode: 0, stdout: "127\n" });
  },
);

test("a word in quotes may hold anything", () => {
  for (const word of ["/a b/c.ts", '/say "hi"/c.ts', "C:\\a\\", '\\"', ""]) {
    expect(wordsOf(`bun ${quoted(word)} 你好`)).toEqual(["bun", word, "你好"]);
  }
  expect(wordsOf('send "Is anybody there?" a\\b \\n')).toEqual(["send", "Is anybody there?", "a\\b", "\\n"]);
});

test("a copy holds the project, and nothing that lessons have left in it", async () => {
  const files = filesOfProject();
  const git = Bun.spawnSync(["git", "ls-files", "scripts", "lib"], { cwd: ROOT, stderr: "ignore" });
  if (git.exitCode === 0) {
    expect(files).toEqual(
      expect.arrayContaining(
        `${git.stdout}`.trim().split("\n").filter((file) => existsSync(join(ROOT, file))),
      ),
    );
  }
  await using project = temporaryFolder();
  for (const file of [...files, ...filesBelow("tests/{engine,commands}/*.ts")]) {
    cpSync(join(ROOT, file), project.at(file));
  }
  symlinkSync(join(ROOT, "node_modules"), project.at("node_modules"), "junction");
  const left = ["known", "phone.svg", "album/phone.svg", "copies/LICENSE", "copy-LICENSE"];
  for (const path of [...left, "scripts/LICENSE", "scripts/backup/LICENSE", "scripts/tcp/phone.svg.part"]) {
    mkdirSync(dirname(project.at(path)), { recursive: true });
    writeFileSync(project.at(path), "left");
  }
  const source = `import { copyOfProject } from "./tests/engine/engine.ts";
  import { luggage } from "./tests/commands/copy.ts";
  import { lessons } from "./tests/engine/lessons.ts";
  import { readdirSync } from "node:fs";
  await using copy = copyOfProject();
  const list = ["scripts", "lib"].flatMap((top) => readdirSync(copy.at(top), { recursive: true, withFileTypes: true }));
  console.log(JSON.stringify({
    files: list.filter((entry) => !entry.isDirectory()).map(({ name }) => name).sort(),
    folders: list.filter((entry) => entry.isDirectory()).map(({ name }) => name),
    luggage: luggage(lessons()).files,
  }));`;
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, "-e", source], { cwd: project.path });
  expect({ exitCode, stderr: `${stderr}` }).toEqual({ exitCode: 0, stderr: "" });
  const found = JSON.parse(`${stdout}`);
  const inside = files.filter((file) => file.includes("/"));
  expect(found.files).toEqual(inside.map((file) => basename(file)).sort());
  expect(found.folders).not.toContain("backup");
  expect(found.luggage.filter((file: string) => !inside.includes(file))).toEqual(["LICENSE"]);
});

test("a copy of the project is as before after a play, whatever a head has done in it", async () => {
  await using copy = copyOfProject();
  const seen = () =>
    ["scripts", "lib"].flatMap((name) => readdirSync(copy.at(name), { recursive: true }) as string[]).sort();
  const before = seen();
  const [changed, disguised] = ["lib/text.ts", "lib/udp.ts"].map((path) => copy.at(path));
  const { size, atime, mtime } = statSync(disguised);
  writeFileSync(changed, "no");
  writeFileSync(disguised, Buffer.alloc(size)); // of the same size and age
  utimesSync(disguised, atime, mtime);
  renameSync(copy.at("scripts/udp/send.ts"), copy.at("scripts/udp/sent.ts"));
  rmSync(copy.at("scripts/tcp"), { recursive: true });
  rmSync(copy.at("node_modules"));
  mkdirSync(copy.at("album/deep"), { recursive: true });
  writeFileSync(copy.at("album/deep/file"), "");
  chmodSync(copy.at("scripts/unix/server.ts"), 0o600);
  chmodSync(copy.at("scripts/raw"), 0o700);
  for (let count = 0; count < 2; count++, rmSync(copy.at("lib/text.ts"))) { // and after the next play
    copy.restore();
    expect(seen()).toEqual(before);
    expect(readdirSync(copy.path).sort()).toEqual(
      ["LICENSE", "deno.json", "lib", "node_modules", "package.json", "scripts"],
    );
    for (const path of ["lib/text.ts", "lib/udp.ts", "scripts/udp/send.ts", "scripts/tcp/server.ts"]) {
      expect(readFileSync(copy.at(path), "utf8")).toBe(readFileSync(join(ROOT, path), "utf8"));
    }
    for (const path of ["scripts/unix/server.ts", "scripts/raw"]) {
      expect(statSync(copy.at(path)).mode).toBe(statSync(join(ROOT, path)).mode);
    }
    expect(lstatSync(copy.at("node_modules")).isSymbolicLink()).toBe(true);
  }
});
