/** `make bench`: its rows take turns, it says what is absent, and nothing stays of it. (thorough) */
import { expect, setDefaultTimeout, test } from "bun:test";
import { readdir, readFile } from "node:fs/promises";
import process from "node:process";
import { type Contestant, figuresOf, measure, type Row, withLittle } from "../bench/frame.ts";
import { temporaryFolder } from "../engine/files.ts";
import { start } from "../engine/program.ts";

setDefaultTimeout(120_000); // what waits in a test says itself for what it waited too long

/** A row whose contestants note their runs, and take as many seconds as is told, one after another. */
function rowOf(seconds: Record<string, number[]>, runs: string[], more: Partial<Row> = {}): Row {
  const contestants: Contestant[] = Object.entries(seconds).map(([name, values]) => ({
    name,
    needs: name === "absent" ? ["no-such-program"] : [],
    run: () => {
      runs.push(name);
      return Promise.resolve({ seconds: values.shift(), client: 10 * values.length, server: 7 });
    },
  }));
  return { name: "row", title: "a row", contestants: () => Promise.resolve(contestants), ...more };
}

const settings = { runs: 3, size: 1, budget: Infinity };

test("the contestants take turns after a warm-up, which is not counted", async () => {
  const runs: string[] = [];
  const told: string[] = [];
  const row = rowOf({ A: [99, 4, 2, 3], B: [99, 8, 9, 6], absent: [] }, runs);
  const figures = await measure(row, settings, (line) => told.push(line));
  expect(runs.join("")).toBe("ABABABAB");
  expect(figures).toEqual([
    { name: "A", unit: "s", value: 3, least: 2, most: 4, runs: 3, ratio: 1, client: 20, server: 7 },
    { name: "B", unit: "s", value: 8, least: 6, most: 9, runs: 3, ratio: 8 / 3, client: 20, server: 7 },
  ]);
  expect(told.slice(0, 2)).toEqual(["\nrow: a row", "  absent is left out: needs no-such-program"]);
  expect(told[2].replace(/ +/g, " ")).toBe(
    " A 3.00 s (2.00 to 4.00, 3 runs) 1.00 x client 20 MB, server 7 MB",
  );
  expect(told[3].replace(/ +/g, " ")).toBe(
    " B 8.00 s (6.00 to 9.00, 3 runs) 2.67 x client 20 MB, server 7 MB",
  );
});

test("a contestant whose job takes long warms up with a little one", async () => {
  const runs: string[] = [];
  const run = (job: string) => {
    runs.push(job);
    return Promise.resolve({ seconds: job === "little" ? 99 : 2 });
  };
  const one = withLittle("A", ["whole", "little"], run);
  const row = { ...rowOf({}, []), contestants: () => Promise.resolve([one]) };
  const [{ most }] = await measure(row, { ...settings, runs: 2 }, () => {});
  expect({ runs, most }).toEqual({ runs: ["little", "whole", "whole"], most: 2 });
});

test("a row whose program is absent is left out, and makes nothing", async () => {
  const told: string[] = [];
  const contestants = () => Promise.reject(new Error("it was asked for"));
  const row = { ...rowOf({}, []), needs: ["no-such-program"], contestants };
  expect(await measure(row, settings, (line) => told.push(line))).toEqual([]);
  expect(told[1]).toBe("  left out: needs no-such-program");
});

test("turns end when one more would take longer than the budget", async () => {
  const runs: string[] = [];
  const run = async () => {
    runs.push("x");
    await Bun.sleep(30);
    return { seconds: 1 };
  };
  const slow = { name: "slow", run };
  const row = { ...rowOf({}, []), contestants: () => Promise.resolve([slow]) };
  const [{ runs: counted }] = await measure(row, { runs: 100, size: 1, budget: 1 }, () => {});
  expect([counted, runs.length]).toEqual([1, 2]);
});

test("rates, and an even number of runs", () => {
  const samples = [100, 300, 200, 500].map((rate) => ({ rate }));
  expect(figuresOf("x", samples)).toMatchObject({ unit: "/s", value: 250, least: 100, most: 500 });
  expect(figuresOf("x", [{ kilobytes: 2.5, server: 70 }])).toMatchObject({
    unit: "KB",
    value: 2.5,
    server: 70,
  });
});

const bench = (env: Record<string, string>) =>
  start(["bun", "tests/bench/index.ts"], { env, limit: 100_000 });

test("a row by its name: measured, and written as JSON", async () => {
  await using folder = await temporaryFolder();
  const env = { ROW: "checked", RUNS: "1", SIZE: "64K", JSON: folder.at("figures"), TMPDIR: folder.path };
  const { code, stdout, stderr } = await bench(env).result();
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatch(/^\d+ x .*, \d+ GB, \w+ .*, Bun .*, load .*\n\nchecked: 4\.2, /);
  expect(stdout).toMatch(
    /\n {2}4\.2 on bun +\d+\.\d\d s +\(.*, 1 run\) +\d+\.\d\d x +client \d+ MB, server \d+ MB\n/,
  );
  const { size, results } = JSON.parse(await readFile(folder.at("figures"), "utf8"));
  expect(size).toBe(65_536);
  expect(results.map(({ row }: { row: string }) => row)).toEqual(["checked"]);
  expect(await readdir(folder.path)).toEqual(["figures"]);
});

test.each([
  [{ ROW: "no" }, /^error: ROW=no: no such row; there are .*checked/],
  [{ RUNS: "0" }, /^error: RUNS=0: /],
  [{ SIZE: "big" }, /^error: SIZE=big: /],
  [{ ROW: "checked", JSON: "/no/such/figures" }, /^error: JSON=\/no\/such\/figures: .*ENOENT/],
])("a wrong setting: %j", async (env, error) => {
  const { code, stdout, stderr } = await bench(env as unknown as Record<string, string>).result();
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toMatch(error);
});

test.skipIf(process.platform === "win32")("Ctrl-C: no program and no file stays", async () => {
  await using folder = await temporaryFolder();
  await using program = bench({ ROW: "reliable", RUNS: "1", TMPDIR: folder.path });
  const isMeasured = () => program.orphans().some(({ command }) => command.includes("udp/reliable-send"));
  for (const end = Date.now() + 60_000; !isMeasured(); await Bun.sleep(20)) {
    if (Date.now() > end) throw new Error("nothing is measured");
  }
  program.signal("SIGINT");
  expect(await program.result()).toMatchObject({ code: 130, stderr: "" });
  expect(program.orphans()).toEqual([]);
  expect(await readdir(folder.path)).toEqual([]);
});
