/** Every lesson is what its head says. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { mkdir, writeFile } from "node:fs/promises";
import { readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { CAN_BE_ALONE, canPlay } from "../engine/alone.ts";
import { DIFFERENCES, judge } from "../engine/differences.ts";
import { type Copy, copyOfProject } from "../engine/engine.ts";
import { barePrograms, find, type Lesson, lessons } from "../engine/lessons.ts";
import { EVERYTHING, ON, ROOT, script, start } from "../engine/program.ts";
import { temporaryFolder } from "../engine/files.ts";

/** Much longer than any head takes, in milliseconds. */
const LIMIT = 60_000;
/** The same for all heads, one after the other. */
const LIMIT_OF_ALL = 300_000;

/** The default ports of the course, by lesson. */
const PORTS: Record<string, number[]> = {
  "2.1": [7788],
  "2.2": [8080],
  "2.3": [7788],
  "2.4": [7789],
  "2.5": [7790],
  "2.6": [7791, 7792],
  "3.1": [7890],
  "3.2": [7890],
  "3.3": [10500],
  "3.4": [9999],
  "3.6": [7892],
  "3.7": [5566],
  "3.8": [7891],
  "4.1": [11500],
  "4.2": [11501],
  "4.4": [8000],
  "4.5": [2022],
};

const all = lessons();

test("there are lessons", () => {
  expect(all.map(({ path }) => path)).toContain("scripts/udp/send.ts");
});

describe("the head is true", () => {
  let copy: Copy;
  beforeAll(() => void (copy = copyOfProject()));
  afterEach(() => copy.restore());
  afterAll(() => copy[Symbol.asyncDispose]());
  for (const lesson of all) {
    const needs = canPlay(lesson) ? "" : " (needs unshare and ip)";
    test.skipIf(!canPlay(lesson))(`${lesson.path}${needs}`, async () => {
      const { note } = await judge(lesson, { server: ON, client: ON }, DIFFERENCES, copy.path);
      expect(note).toBeUndefined();
    }, LIMIT);
  }
});

describe("can be started by its name", () => {
  for (const { path } of all) {
    test(path, () => {
      expect(readFileSync(join(ROOT, path), "utf8")).toStartWith("#!/usr/bin/env bun\n/**\n * ");
      if (process.platform !== "win32") expect(statSync(join(ROOT, path)).mode & 0o111).toBe(0o111);
    });
  }
});

/** The ports that a head shows for a script that is started without --port; 0 for one that the system chose. */
function readyPorts({ path, head }: Lesson): number[] {
  return head.sections.flatMap(({ steps }) =>
    steps.flatMap((step, index) => {
      const next = steps[index + 1];
      const isOwn = step.kind === "run" && step.command.includes(path) &&
        !/--(local-)?port /.test(step.command);
      const port = isOwn && next?.kind === "see" && /^listening on .*:(\d+)$/.exec(next.text)?.[1];
      return port ? [Number(port) < 49152 ? Number(port) : 0] : []; // RFC 6335: dynamic ports
    })
  );
}

if (EVERYTHING) {
  describe.concurrent("--help tells the port of the course and of the head", () => {
    for (const lesson of all) {
      test(lesson.path, async () => {
        const name = lesson.path.replace(/^scripts\/|\.ts$/g, "");
        await using program = script(name, ["--help"]);
        const { code, stdout, stderr } = await program.result();
        expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
        const row = /^ {2}--port PORT .*\(default (\d+)\)$/m.exec(stdout);
        const course = PORTS[lesson.head.number];
        if (course) expect(course).toContain(Number(row?.[1]));
        const shown = [...new Set(readyPorts(lesson))];
        if (row && shown.length > 0) expect(shown).toEqual([Number(row?.[1])]);
      }, LIMIT);
    }
  });
}

test("a lesson is found by its number and by its path", () => {
  const paths = (name: string) => find(name).map(({ path }) => path);
  expect(paths("2.1")).toEqual(["scripts/udp/receive.ts", "scripts/udp/send.ts"]);
  for (const name of ["udp/send", "udp/send.ts", "scripts/udp/send.ts"]) {
    expect(paths(name)).toEqual(["scripts/udp/send.ts"]);
  }
  expect(paths("2")).toEqual([]);
  expect(paths("9.9")).toEqual([]);
});

describe("a lesson without a true head is no lesson", () => {
  const right = readFileSync(join(ROOT, "scripts/udp/send.ts"), "utf8");
  const wrong: [name: string, source: string, message: string][] = [
    ["nothing", "#!/usr/bin/env bun\n", "no head: a lesson starts with a /** comment"],
    ["no comment", "#!/usr/bin/env bun\nconsole.log(1);\n", "no head: a lesson starts with a /** comment"],
    ["no terminal", right.replace(/ \* terminal[^]*?(?= \*\n)/, ""), "head: no terminal that runs a command"],
    [
      "a terminal that runs nothing",
      right.replaceAll("$ bun", "bun"),
      'does not start with a "$ COMMAND" line',
    ],
    ["no number", right.replace("* 2.1 ", "* "), 'head, line 1: expected "NUMBER TITLE: IDEA"'],
  ];
  test.each(wrong)("%s", async (_, source, message) => {
    await using folder = await temporaryFolder();
    const root = folder.path;
    const path = "scripts/deep/folder/wrong.ts";
    await mkdir(join(root, dirname(path)), { recursive: true });
    await writeFile(join(root, path), source);
    expect(() => lessons(root)).toThrow(`${path}: `);
    expect(() => lessons(root)).toThrow(message);
    await writeFile(join(root, path), right);
    expect(lessons(root)).toHaveLength(1);
  });
});

const OWN_NETWORK = ["unshare", "-Urn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"];

if (EVERYTHING) {
  test.skipIf(!CAN_BE_ALONE)(
    "as they are written, one after the other (needs unshare and ip)",
    async () => {
      await using program = start([...OWN_NETWORK, "bun", "tests/engine/as-written.ts"], {
        limit: LIMIT_OF_ALL,
      });
      const { code, stdout, stderr } = await program.result();
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(stdout).toBe([...all, ...barePrograms()].map(({ path }) => `${path}\n`).join(""));
    },
    LIMIT_OF_ALL,
  );
}
