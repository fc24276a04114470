/** `make flaky`: it names what fails now and then, and with what seed; nothing of it stays. (thorough) */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { type Folder, temporaryFolder } from "../engine/files.ts";
import { EVERYTHING, type Program, ROOT, start } from "../engine/program.ts";
import { until } from "../engine/sockets.ts";
import { failures } from "./flaky.ts";
import { read } from "./test.ts";

setDefaultTimeout(60_000); // what waits in a test says itself for what it waited too long

/** A suite that fails in each third run. A run tells that it is there, and waits until it is let go. */
const SUITE = `
import { test } from "bun:test";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { fc, holds } from ${JSON.stringify(join(ROOT, "tests/engine/property.ts"))};
const run = readdirSync(import.meta.dir).filter((name) => name.startsWith("run")).length + 1;
writeFileSync(import.meta.dir + "/run" + run, "");
test("waits", async () => {
  while (!existsSync(import.meta.dir + "/go" + run)) await Bun.sleep(5);
});
test("is steady", () => {});
holds("flips", [fc.integer()], (n) => {
  if (run % 3 === 0) throw new Error("an error of " + n);
});
`;

async function flaky(folder: Folder, env: Record<string, string>): Promise<Program> {
  const file = folder.at("flips.test.ts");
  await writeFile(file, SUITE);
  return start(["bun", "tests/commands/flaky.ts", file], {
    env: { ...env, TMPDIR: folder.path },
    limit: 60_000,
  });
}

/** Waits until the suite runs for the nth time. @returns how many programs keep the machine busy */
async function cores(program: Program, folder: Folder, run: number): Promise<number> {
  await until(() => existsSync(folder.at(`run${run}`)), `run ${run}`);
  return program.orphans().filter(({ command }) => command.includes("for (;;) ;")).length;
}

if (EVERYTHING) {
  test("each run is one idle and one busy; what fails is named with its seed, its output kept", async () => {
    await using folder = temporaryFolder();
    await using program = await flaky(folder, { RUNS: "3" });
    const busy: number[] = [];
    for (let run = 1; run <= 6; run++) {
      busy.push(await cores(program, folder, run));
      await writeFile(folder.at(`go${run}`), "");
    }
    const { code, stdout, stderr } = await program.result();
    expect({ code, stderr }).toEqual({ code: 1, stderr: "" });
    const all = availableParallelism();
    expect(busy).toEqual([0, all, 0, all, 0, all]);
    const kept = /FAIL \S+flips\.test\.ts: flips, SEED=(-?\d+)\n {5}see (\S+2-idle-flips\.txt)\n/.exec(
      stdout,
    );
    expect(await readFile(`${kept?.[2]}`, "utf8")).toMatch(
      RegExp(`seed: ${kept?.[1]}\\b[^]*an error of [^]*^\\(fail\\) flips`, "m"),
    );
    expect(stdout.match(/^run .*(?= in \d+ s$)/gm)).toEqual([
      "run 1 of 3, idle: 3 passed, 0 failed",
      "run 1 of 3, busy: 3 passed, 0 failed",
      "run 2 of 3, idle: 2 passed, 1 failed",
      "run 2 of 3, busy: 3 passed, 0 failed",
      "run 3 of 3, idle: 3 passed, 0 failed",
      "run 3 of 3, busy: 2 passed, 1 failed",
    ]);
    expect(stdout.slice(stdout.indexOf("\n\n") + 2).replace(/\S+(?=flips\.test)/, "")).toBe(
      "  idle   busy\n     3      3  runs\n     1      1  failed: flips.test.ts: flips\n",
    );
  });

  test("a part of the runs: from one on, and none is begun when the time is up", async () => {
    await using folder = temporaryFolder();
    await using last = await flaky(folder, { RUNS: "4", FROM: "4" });
    await writeFile(folder.at("go1"), "");
    await writeFile(folder.at("go2"), "");
    expect((await last.result()).stdout.replace(/ in \d+ s$/gm, "")).toBe(
      "run 4 of 4, idle: 3 passed, 0 failed\nrun 4 of 4, busy: 3 passed, 0 failed\n" +
        "\n  idle   busy\n     1      1  runs\n",
    );
    await using none = await flaky(folder, { RUNS: "9", FROM: "4", MINUTES: "0" });
    const stdout = "\n  idle   busy\n     0      0  runs\ngo on with FROM=4\n";
    expect(await none.result()).toEqual({ code: 0, stdout, stderr: "" });
  });

  test("Ctrl-C ends it, and prints what is known", async () => {
    await using folder = temporaryFolder();
    await using program = await flaky(folder, { RUNS: "3" });
    await writeFile(folder.at("go1"), "");
    expect(await cores(program, folder, 2)).toBe(availableParallelism());
    program.signal("SIGINT");
    const { code, stdout, stderr } = await program.result();
    expect({ code, stderr }).toEqual({ code: 130, stderr: "" });
    expect(stdout).toEndWith("\n\n  idle   busy\n     1      0  runs\ngo on with FROM=1\n");
    expect(program.orphans()).toEqual([]);
    expect((await readdir(folder.path)).sort()).toEqual(["flips.test.ts", "go1", "run1", "run2"]);
  });
}

describe("what has failed", () => {
  test("has a name each, and the seed that stands before it", () => {
    const text =
      'error: no\n(fail) a > b [2.00ms]\nProperty failed after 1 tests\n{ seed: -12, path: "0" }\n' +
      "(fail) c [12.00s]\n(fail) d\n\nleft behind:\n  sleep 9\n";
    expect(failures({ text })).toEqual([
      { name: "a > b", seed: undefined },
      { name: "c", seed: "-12" },
      { name: "d", seed: undefined },
      { name: "left behind", seed: undefined },
    ]);
  });

  test("is the file itself where it has broken off", () => {
    expect(failures(read(132, "(pass) one [1ms]\n(fail) two [1ms]\npanic: oh"))).toEqual([
      { name: "two", seed: undefined },
      { name: "the file itself", seed: undefined },
    ]);
  });
});
