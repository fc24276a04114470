/** The judge is right: it turns wrong programs away, and accepts right ones that are written differently. (thorough) */
import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { relative } from "node:path";
import process from "node:process";
import { type Folder, temporaryFolder } from "../engine/files.ts";
import { MARK } from "../engine/environment.ts";
import { EVERYWHERE, KEEPER, ROOT, type Runtime, start } from "../engine/program.ts";
import { until } from "../engine/sockets.ts";
import { terminal } from "../engine/terminal.ts";
import { type Exercise, exercises } from "../practice/exercise.ts";
import { inChinese } from "../practice/chinese.ts";
import { judge, shutIn } from "../practice/judge.ts";
import { rightOnes, wrongOnes } from "../practice/programs.ts";

const LIMIT = 300_000;

const all = exercises();

/** How many programs are judged at once: with more, a busy machine only makes all of them wait. */
const AT_ONCE = 3;
let judging = 0;
const waiting: (() => void)[] = [];

async function judged(exercise: Exercise, source: string, runtime: Runtime = "bun") {
  if (judging === AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve));
  else judging++;
  try {
    return await judge(exercise, source, runtime);
  } finally {
    const next = waiting.shift();
    if (next) next();
    else judging--;
  }
}

/** Starts two processes, each of which starts two, and so on: 127 in all, that end by themselves after 20 s. */
function forking(then: string, how: string, depth = 6): string {
  const shell =
    `f() { [ $1 -gt 0 ] || exec sleep 20.17; f $(($1 - 1)) & f $(($1 - 1)) & ${then}; }; f ${depth}`;
  return `import { spawn } from "node:child_process";\nspawn("sh", ["-c", ${
    JSON.stringify(shell)
  }], { stdio: "ignore"${how} }).unref();\n`;
}

/**
 * Eight times, one process that starts the next and ends at once: nobody can look so fast. After 40 each ends by itself.
 * Each adds a letter to a file.
 */
const hopping = (file: string) =>
  `f() { printf x >> ${file}; [ $1 -gt 0 ] && f $(($1 - 1)) & }; for n in 1 2 3 4 5 6 7 8; do f 40; done`;

/** What a learner's program must not do, and what is said of it. */
const MISCHIEF: { name: string; source: string; says: string | RegExp; line?: number }[] = [
  { name: "ends at once", source: "", says: "ended with exit code 0 before this line" },
  {
    name: "never ends",
    source: "setInterval(() => {}, 1000);",
    says: "nothing moves any more; still missing: this line on stdout:\n  listening on",
  },
  {
    name: "computes without end",
    source: "while (true);",
    says: "busy, without a word; still missing: this line on stdout:\n  listening on",
  },
  {
    name: "floods",
    source: "const line = 'x'.repeat(1e5) + '\\n';\nwhile (true) console.log(line + line + line);",
    says: /printed more than 200000 bytes, and was stopped|expected on stdout/,
  },
  {
    name: "floods without a line end",
    source: "const text = 'x'.repeat(1e5);\nsetInterval(() => process.stdout.write(text));",
    says: "printed more than 200000 bytes, and was stopped",
  },
  {
    name: "leaves a process behind",
    source:
      'import { spawn } from "node:child_process";\nSOLUTION\nspawn("sleep", ["1000"], { detached: true, stdio: "ignore" }).unref();',
    says: "left a process behind:\n  sleep 1000",
  },
  {
    name: "forks again and again",
    source: forking("wait", "") + "setInterval(() => {}, 1000);\n",
    says: /started more than 32 processes, and was stopped$/,
  },
  {
    name: "forks again and again, out of sight",
    source: forking(":", ", detached: true") + "\nSOLUTION",
    says:
      /started more than 32 processes, and was stopped$|left a process behind:(\n {2}.*){3}\n {2}and \d+ more$/,
  },
  {
    name: "leaves many behind, out of sight",
    source: forking(":", ", detached: true", 3) + "\nSOLUTION",
    says: /left a process behind:(\n {2}.*){3}\n {2}and \d+ more$/,
  },
  {
    name: "writes outside",
    source: 'import { writeFileSync } from "node:fs";\n\nwriteFileSync("../outside", "");\nSOLUTION',
    says: /EROFS: read-only file system|wrote outside of its folder: outside/,
  },
  {
    name: "prints what the judge says of a right one",
    source: 'console.log("ended with exit code 0, not 130");\nsetInterval(() => {}, 1000);',
    says: "expected on stdout:\n  listening on 127.0.0.1:7788\nbut saw:\n  ended with exit code 0, not 130",
  },
  {
    name: "throws",
    source: 'console.log("listening on 127.0.0.1:1");\n\nthrow new Error("oh");',
    says: "",
    line: 3,
  },
  { name: "a mistake in the syntax", source: "\nsocket.send(;", says: "expected.", line: 2 },
];

describe.each(MISCHIEF)("a program that $name", ({ source, says, line }) => {
  test("is told so, and nothing of it stays", async () => {
    const exercise = all.find(({ name }) => name === "udp/receive") as Exercise;
    const verdict = await judged(
      exercise,
      source.replace("SOLUTION", exercise.solution.replace(/^#!.*\n/, "")),
    );
    expect(verdict.solved).toBe(false);
    if (typeof says === "string") expect(verdict.why).toContain(says);
    else expect(verdict.why).toMatch(says);
    if (line !== undefined) expect(verdict.line).toBe(line);
    expect(Math.max(...verdict.why.split("\n").map((text) => text.length))).toBeLessThan(250);
    expect(processes()).toBe(0);
  }, LIMIT);
});

test("what lies in the learner's folder changes no program of the course", async () => {
  const exercise = all.find(({ name }) => name === "tcp/server") as Exercise;
  const leave = [["bunfig.toml", 'preload = ["./x.ts"]'], ["x.ts", "process.exit(3)"], [
    ".env",
    "BUN_OPTIONS=--nonsense",
  ]]
    .map(([name, text]) => `writeFileSync(${JSON.stringify(name)}, ${JSON.stringify(text)});\n`);
  const source = `import { writeFileSync } from "node:fs";\n${leave.join("")}${
    exercise.solution.replace(/^#!.*\n/, "")
  }`;
  expect(await judged(exercise, source)).toMatchObject({ solved: true });
}, LIMIT);

const hasNamespaces = spawnSync("unshare", ["-Urmp", "true"]).status === 0;

describe.skipIf(!hasNamespaces)("a program that is shut in", () => {
  const run = (folder: Folder, script: string) =>
    start(shutIn(["sh", "-c", script]), { cwd: folder.path, limit: LIMIT });

  test("cannot escape by starting others faster than anybody can look", async () => {
    await using folder = temporaryFolder();
    const program = run(folder, `setsid sh -c '${hopping("hops")}' & read line`);
    const hops = () => existsSync(folder.at("hops")) ? statSync(folder.at("hops")).size : 0;
    while (hops() < 5) await Bun.sleep(1);
    await program[Symbol.asyncDispose]();
    const then = hops();
    await Bun.sleep(100); // nothing must happen in it
    expect(hops()).toBe(then);
    expect(program.orphans()).toEqual([]);
  }, LIMIT);

  test("can write in its own folder, and nowhere else, whatever is mounted", async () => {
    await using folder = temporaryFolder();
    const mounts = readFileSync("/proc/self/mountinfo", "utf8").trim().split("\n").map((line) =>
      line.split(" ")[4]
    );
    const places = [
      ...new Set(mounts.map((place) => place.replaceAll("\\040", " "))),
      "/proc/sys/kernel",
      ROOT,
    ];
    const tries =
      `touch own && for place; do (: >"$place/judged" || : >>"$place/hostname") 2>&- && echo "$place"; done; true`;
    await using program = start(shutIn(["sh", "-c", tries, "sh", ...places]), {
      cwd: folder.path,
      limit: LIMIT,
    });
    expect(await program.result()).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(existsSync(folder.at("own"))).toBe(true);
  }, LIMIT);

  test(
    "has a limit of processes and threads, ends as it would alone, and its keeper is no orphan",
    async () => {
      await using folder = temporaryFolder();
      await using program = run(folder, "ulimit -p 2>&- || ulimit -u; read line; kill -INT $$");
      const keeper = RegExp(`^ *${program.pid} ${KEEPER}$`, "m");
      await until(() => keeper.test(spawnSync("ps", ["-Ao", "pgid=,args="]).stdout.toString()), "the keeper");
      program.type("\n");
      expect(await program.result()).toEqual({ code: 130, stdout: "512\n", stderr: "" });
      expect(program.orphans()).toEqual([]);
      expect(program.killOrphans()).toBe(1);
    },
    LIMIT,
  );
});

/** In the environment of all that this test starts. */
const OWN = crypto.randomUUID();
process.env[MARK] = `${process.env[MARK] ?? ""} ${OWN}`;

/** How many programs of this test's own still sleep. */
const processes = () =>
  Bun.spawnSync(["ps", "axeww", "-o", "args="]).stdout.toString().split("\n") // args, then the environment
    .filter((line) => /^sleep (1000|20.17) /.test(line) && line.includes(OWN)).length;

describe.concurrent.each(EVERYWHERE)("%s", (runtime) => {
  test.each(all)("$name: right programs are accepted", async (exercise) => {
    const programs = rightOnes(exercise);
    expect(programs.length).toBeGreaterThanOrEqual(2);
    for (const { name, source } of programs) {
      const { solved, why } = await judged(exercise, source, runtime);
      expect({ name, solved, why }).toEqual({ name, solved: true, why: "" });
    }
  }, LIMIT);

  test("udp/receive: a right program that takes its time is accepted", async () => {
    const exercise = all.find(({ name }) => name === "udp/receive") as Exercise;
    const source = exercise.solution.replace(
      /^socket\.bind.*\n/m,
      "await new Promise((resolve) => setTimeout(resolve, 1000));\n$&",
    );
    expect(source).not.toBe(exercise.solution);
    expect(await judged(exercise, source, runtime)).toMatchObject({ solved: true, why: "" });
  }, LIMIT);

  test.each(all)("$name: wrong programs are turned away, with a reason", async (exercise) => {
    const programs = wrongOnes(exercise);
    expect(programs.length).toBeGreaterThanOrEqual(3);
    for (const { name, source, says = /\S/ } of programs) {
      expect(source).not.toBe(exercise.solution);
      const { solved, why, events } = await judged(exercise, source, runtime);
      expect({ name, solved }).toEqual({ name, solved: false });
      expect(why).toMatch(says);
      const isOfTypes = events.length === 0; // tsc has words of its own
      if (!isOfTypes) {
        expect(inChinese(why).split("\n").filter((line) => !/^ {2}|\p{Script=Han}/u.test(line))).toEqual([]);
      }
    }
  }, LIMIT);
});

describe.skipIf(process.platform === "win32")("make practice", () => {
  const begin = (folder: Folder, env: Record<string, string> = {}) => {
    mkdirSync(folder.at("tmp"));
    return terminal(["bun", "tests/commands/practice.ts"], {
      env: { DIR: folder.at("practice"), TMPDIR: folder.at("tmp"), L: "tcp/client", ...env },
      limit: 60_000,
    });
  };
  const { start: given, solution } = all.find(({ name }) => name === "tcp/client") as Exercise;
  const flat = (text: string) => text.replaceAll(/\s+/g, ""); // a long path may be cut in two

  test(
    "judges each save, gives hints, shows the solution, keeps the learner's file, and goes on",
    async () => {
      await using folder = temporaryFolder();
      const file = folder.at("practice", "3.1-client.ts");
      await using person = begin(folder);
      await person.until("nothing moves any more");
      expect(person.written).toContain("still open, line ");
      expect(readFileSync(file, "utf8")).toBe(given);
      for (const hint of ["1. Python: s.sendall(", "2. The call is socket.end", "3. socket.end(MESSAGE);"]) {
        person.type("h");
        await person.until(hint);
      }
      person.type("s");
      await person.until("> socket.end(MESSAGE);");
      const judgements = () => person.written.split("judging ...").length;
      const before = judgements();
      writeFileSync(file, given); // the same text once more: a port may be free by now
      while (judgements() === before) await Bun.sleep(5);
      writeFileSync(file, solution);
      await person.until("solved.");
      await person.until("next (n):  3.1 A client with a timeout");
      await person.until("| SYN  seq 0 ---");
      person.type("w");
      await person.until("|........................... connection ...........................|");
      await person.until("; w shows the next"); // of two or three: a busy machine acknowledges apart
      person.type("s");
      await person.until("yours is the same as scripts/tcp/bare/client.ts");
      person.type("r");
      await person.until("3.1-client.1.ts");
      const kept = folder.at("practice", "3.1-client.1.ts");
      expect(flat(person.screen)).toContain(flat(`your file is kept as ${relative(ROOT, kept)}`));
      expect(flat(person.screen)).toContain(flat(`terminal 2: $ bun ${relative(ROOT, file)} 7890`));
      expect(readFileSync(kept, "utf8")).toBe(solution);
      await person.until("// TODO");
      expect(readFileSync(file, "utf8")).toBe(given);
      rmSync(file); // nothing to be kept
      const pages = () => person.written.split("\x1b[2J");
      const shown = pages().length;
      person.type("r");
      while (pages().length === shown || !pages().at(-1)?.includes("q quit")) await Bun.sleep(5);
      expect(pages().at(-1)).toContain("still open, line ");
      expect(readdirSync(folder.at("practice"))).toEqual(["3.1-client.1.ts", "3.1-client.ts"]);
      person.type("l");
      await person.until(">… 3.1-client");
      person.type("n");
      await person.until("3.1-timeout.ts");
      await person.until("// TODO");
      expect(person.written.split("\r\n").filter((line) => Bun.stringWidth(line) > 80)).toEqual([]);
      person.type("q");
      expect(await person.ended()).toBe(0);
      expect(person.isCooked).toBe(true);
      expect(readdirSync(folder.at("tmp"))).toEqual([]);
    },
    LIMIT,
  );

  test(
    "a solution and a hint that are longer than the screen come in pages: nothing scrolls away",
    async () => {
      for (const [L, keys, pages] of [["apps/port-scan", "s", 4], ["own/guess", "hhh", 2]] as const) {
        await using folder = temporaryFolder();
        await using person = begin(folder, { L });
        await person.until("q quit");
        for (const key of keys) person.type(key);
        const key = keys[0];
        await person.until(`1 of ${pages}; ${key} shows the next`);
        person.type(key);
        await person.until(`2 of ${pages}; ${key} shows the next`);
        person.type("q");
        expect(await person.ended()).toBe(0);
        const screens = person.written.split("\x1b[2J").map((screen) =>
          screen.trimEnd().split("\r\n").length
        );
        expect(Math.max(...screens)).toBeLessThan(24);
      }
    },
    LIMIT,
  );

  test(
    "begins with what is not solved, never overwrites, and Ctrl-C in a judgement leaves nothing",
    async () => {
      await using folder = temporaryFolder();
      mkdirSync(folder.at("practice"));
      writeFileSync(folder.at("practice", "2.1-receive.ts"), all[0].solution);
      const busy = `console.log("listening on 127.0.0.1:1");\nwhile (true);\n`;
      writeFileSync(folder.at("practice", "2.1-send.ts"), busy);
      await using person = begin(folder, { L: "" });
      await person.until("2.1-send.ts");
      const mark = folder.at("tmp");
      const programs = () =>
        Bun.spawnSync(["sh", "-c", "grep -l $0 /proc/[0-9]*/environ 2>/dev/null | wc -l", mark]).stdout
          .toString();
      while (Number(programs()) < 3 && !/expected|still missing/.test(person.written)) await Bun.sleep(5);
      person.press("Ctrl-C");
      expect(await person.ended()).toBe(130);
      expect(person.isCooked).toBe(true);
      expect(readdirSync(folder.at("tmp"))).toEqual([]);
      expect(readFileSync(folder.at("practice", "2.1-send.ts"), "utf8")).toBe(busy);
    },
    LIMIT,
  );
});
