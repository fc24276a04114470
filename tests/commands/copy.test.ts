/** `make copy`: a lesson that was taken along runs where it is, with what was copied and nothing else. (thorough) */
import { describe, expect, test } from "bun:test";
import { mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { canPlay } from "../engine/alone.ts";
import { DIFFERENCES, judge } from "../engine/differences.ts";
import { temporaryFolder } from "../engine/files.ts";
import { find, type Lesson, lessons } from "../engine/lessons.ts";
import { EVERYTHING, ROOT, type Runtime, start } from "../engine/program.ts";
import { copyLessons, luggage } from "./copy.ts";

/** Much longer than all heads of a lesson take, in milliseconds. */
const LIMIT = 120_000;

/** The lessons with which people begin. */
const FIRST = ["2.1", "2.2", "3.1", "3.2", "3.3", "3.4"];

const numbers = [...new Set(lessons().map(({ head }) => head.number))];

/** What is played by default: a first lesson, one with parts and other files, one with packages. */
const FEW = ["3.1", "2.6", "4.5"];

/** Copies a lesson, and installs what its package.json asks for, as `bun install` does: that, and nothing else. */
async function take(lesson: Lesson[], folder: string): Promise<void> {
  await copyLessons(lesson, folder);
  const { dependencies = {} } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  for (const name of Object.keys(dependencies)) {
    const place = join(folder, "node_modules", name);
    await mkdir(dirname(place), { recursive: true });
    await symlink(join(ROOT, "node_modules", name), place, "junction");
  }
}

describe.concurrent("the heads of a lesson are true where it was copied to", () => {
  const runtimes = (number: string): Runtime[] =>
    EVERYTHING && FIRST.includes(number) ? ["bun", "node", "deno"] : ["bun"];
  for (const number of EVERYTHING ? numbers : FEW) {
    for (const runtime of runtimes(number)) {
      test(`${number} on ${runtime}`, async () => {
        for (const lesson of find(number).filter(canPlay)) {
          await using folder = await temporaryFolder();
          await take([lesson], folder.path);
          const cell = { server: runtime, client: runtime };
          expect((await judge(lesson, cell, DIFFERENCES, folder.path)).note).toBeUndefined();
        }
      }, LIMIT);
    }
  }
});

describe("what is taken along", () => {
  test("3.1: its two scripts, what they import, and no package that is loaded at once", () => {
    const { files, packages, packagesAtOnce } = luggage(find("3.1"));
    expect(files.filter((file) => !file.startsWith("lib/"))).toEqual([
      "scripts/tcp/accept.ts",
      "scripts/tcp/client.ts",
      "scripts/tcp/server.ts",
    ]);
    expect(files).toContain("lib/arguments.ts");
    expect(packages).toEqual(["iconv-lite"]);
    expect(packagesAtOnce).toEqual([]);
  });

  test("the file of a worker, the parts, and the files that a head names", () => {
    expect(luggage(find("tcp/servers/worker-threads")).files).toContain(
      "scripts/tcp/servers/worker-threads.ts",
    );
    expect(luggage(find("2.6")).files).toEqual(
      expect.arrayContaining(["LICENSE", "scripts/udp/reliable-packet.ts"]),
    );
    expect(luggage(find("apps/sftp")).files).toContain("scripts/tcp/phone.svg");
    expect(luggage(find("4.5")).packages).toEqual(["cli-progress", "iconv-lite", "ssh2"]);
  });

  test("a package.json with our versions", async () => {
    await using folder = await temporaryFolder();
    await copyLessons(find("4.5"), folder.at("a", "new one"));
    const read = async (path: string) => JSON.parse(await readFile(join(path, "package.json"), "utf8"));
    const ours = (await read(ROOT)).dependencies;
    const { type, dependencies } = await read(folder.at("a", "new one"));
    expect(type).toBe("module");
    expect(dependencies).toEqual({
      "cli-progress": ours["cli-progress"],
      "iconv-lite": ours["iconv-lite"],
      "ssh2": ours.ssh2,
    });
  });
});

const copy = (words: string[]) => start(["bun", "tests/commands/copy.ts", ...words]).result();

test("the commands of its head are shown as they are typed there", async () => {
  await using folder = await temporaryFolder();
  const to = folder.at("it's 三");
  const { code, stdout, stderr } = await copy(["udp/send", to]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toContain(`\n  cd '${to.replace("'", "'\\''")}'\n`);
  expect(stdout).toEndWith(
    `(scripts/udp/send.ts)
terminal 1
  $ bun scripts/udp/receive.ts --once
terminal 2
  $ bun scripts/udp/send.ts 你好
  $ bun scripts/udp/send.ts "Is anybody there?"
`,
  );
});

test("a folder with something in it, a file, no folder, no lesson", async () => {
  await using folder = await temporaryFolder();
  await writeFile(folder.at("mine"), "");
  const error = "has something in it; a new or empty folder is needed (ENOTEMPTY)";
  expect(await copy(["3.1", folder.path])).toEqual({
    code: 1,
    stdout: "",
    stderr: `error: ${folder.path}: ${error}\n`,
  });
  expect(await readdir(folder.path)).toEqual(["mine"]);
  const { code, stderr } = await copy(["3.1", folder.at("mine")]);
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: expect.stringMatching(/^error: .*mine.* \((EEXIST|ENOTDIR)\)\n$/),
  });
  expect((await copy(["3.1", ""])).code).toBe(2);
  expect((await copy(["3.1"])).code).toBe(2);
  expect((await copy(["tcp/servr", folder.at("new")])).stderr).toContain("did you mean L=tcp/server?");
  expect(await readdir(folder.path)).toEqual(["mine"]);
});
