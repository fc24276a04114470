/**
 * The table of `make hostile`: every script against every fault. Without EVERYTHING=1, a few cells of each kind: those
 * that found something, and those whose guard one forgets most easily.
 */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { barePrograms, lessons } from "../engine/lessons.ts";
import { EVERYTHING, EVERYWHERE, type Runtime, start } from "../engine/program.ts";
import { type Fault, fault, OF_TCP, OF_UDP } from "./faults.ts";
import { NO_ROW, REASONS, ROWS, type Server } from "./rows.ts";
import { AT_ONCE, Counterparts, faultsOf, nameOf, playRow } from "./table.ts";

setDefaultTimeout(60_000); // what waits in a test says itself for what it waited too long

/** The cells that are played where time is short. */
const FEW: Record<string, string> = {
  "tcp/many-requests-server": "bdw<",
  "tcp/bare/many-requests-server": "r",
  "tcp/framing-server": "cl",
  "tcp/servers/event-loop": "d",
  "tcp/servers/bun-listen": "r",
  "tcp/dialog-client": ">",
  "udp/receive": "LDSCF",
};

const counterparts = new Counterparts();
afterAll(() => counterparts[Symbol.asyncDispose]());

/** Runs some at once, and lets the others wait. */
const free = Array.from({ length: AT_ONCE }, () => Promise.resolve());
let turns = 0;
function inTurn(work: () => Promise<void>): Promise<void> {
  const place = turns++ % AT_ONCE;
  const done = free[place].then(work);
  free[place] = done.catch(() => {});
  return done;
}

for (const runtime of EVERYWHERE) {
  describe.concurrent(`on ${runtime}`, () => {
    for (const row of ROWS) {
      const name = nameOf(row);
      const faults = faultsOf(row).filter((mark) => EVERYTHING || FEW[name]?.includes(mark));
      if (faults.length === 0) continue;
      const isOf = row.kind === "server" || row.kind === "client" ? "TCP" : "UDP";
      test(`${name} stands what happens by ${isOf}, on ${runtime}`, () =>
        inTurn(async () => {
          const cells = await playRow(row, faults, runtime, counterparts);
          expect(cells.map(({ fault }) => fault).sort()).toEqual(faults.toSorted());
          const failed = cells.filter(({ mark }) => mark === "F");
          expect(failed.map((cell) => `${fault(cell.fault).name}: ${cell.note}`)).toEqual([]);
        }), 20 * 60_000); // most of it is its turn that it waits for
    }
  });
}

test("every script has a row, or a reason why it has none", () => {
  const names = [...lessons(), ...barePrograms()].map(({ path }) => path.replace(/^scripts\/|\.ts$/g, ""));
  const rows = new Set(ROWS.map(nameOf));
  const without = Object.values(NO_ROW).flat();
  expect(without.filter((name) => rows.has(name))).toEqual([]);
  expect([...rows, ...without].sort()).toEqual(names.toSorted());
});

test("every fault has a mark of its own, and every reason is that of a cell", () => {
  const marks = [...OF_TCP, ...OF_UDP];
  expect(marks.every((mark) => mark.length === 1 && !/[+\d]/.test(mark))).toBe(true);
  const used = ROWS.flatMap((row) => (row.kind === "receiver" ? [] : Object.values(row.but ?? {})))
    .flatMap((but) => (typeof but === "object" && "why" in but ? [`${but.why}`] : []));
  expect(Object.keys(REASONS).filter((reason) => reason !== "0" && !used.includes(reason))).toEqual([]);
});

test("the command prints a mark for each cell of a lesson, in 80 columns, and what it all came to", async () => {
  await using program = start(["bun", "tests/commands/hostile.ts", "2.1"], { limit: 50_000 });
  const { code, stdout } = await program.result();
  expect(code).toBe(0);
  expect(stdout).toContain("L lost ");
  expect(stdout).toMatch(/^udp\/receive +\+ \+ \+ \+ \+$/m);
  expect(stdout).toMatch(/^udp\/bare\/receive +\+ \+ \+ \+ \+$/m);
  expect(stdout).toContain("\n  udp/send\n");
  expect(stdout).toEndWith("\n10 passed, 0 failed, 0 skipped\n");
  expect(Math.max(...stdout.split("\n").map((line) => line.length))).toBeLessThanOrEqual(80);
});

describe("a cell fails, and none with a server that is right", () => {
  const echo = (how: string): Server => ({
    ...{
      kind: "server",
      serves: "at once",
      script: "../tests/hostile/wrong",
      words: ["--wrong", how],
      flood: 64,
    },
    says: (token: string) => token,
    hears: (token: string) => token,
  });

  /** How it is wrong; the fault that shows it, and what is said of it. Some are waited for in vain, for 20 s. */
  const WRONG: { how: string; fault: Fault; note: RegExp; runtime?: Runtime; isSlow?: boolean }[] = [
    { how: "not", fault: "r", note: /^$/ },
    { how: "ends-at-a-reset", fault: "<", note: /./, runtime: "node", isSlow: true },
    { how: "keeps-what-is-not-read", fault: "d", note: /^it took \d+ bytes from one who reads nothing$/ },
    { how: "keeps-all", fault: "n", note: /^\d+ MiB more than before$/ },
    { how: "keeps-its-connections", fault: "q", note: /its hang-up/, isSlow: true },
    { how: "shows-a-stack", fault: "<", note: /^stderr: /, runtime: "node" },
    { how: "drives-the-terminal", fault: "b", note: /^printed: / },
    { how: "writes-a-file", fault: "b", note: /appeared$/ },
  ];
  for (const { how, fault, note, runtime = "bun" } of WRONG.filter(({ isSlow }) => EVERYTHING || !isSlow)) {
    test(how.replaceAll("-", " "), async () => {
      const [cell] = await playRow(echo(how), [fault], runtime, counterparts);
      if (how === "not") expect(cell).toEqual({ fault, mark: "+" });
      else expect(cell).toEqual({ fault, mark: "F", note: expect.stringMatching(note) });
    });
  }
});
