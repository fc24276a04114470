/**
 * The frame of `make bench`: a row has contestants that do the same job. They take turns, A B A B, so that what slows
 * the machine slows all of them. Before that each warms up, which is not counted.
 */
import { availableParallelism, cpus, loadavg, release, totalmem } from "node:os";
import process from "node:process";
import { type Folder, temporaryFolder } from "../engine/files.ts";
import { hasNamespaces } from "../engine/network.ts";

/** What one run cost: seconds, or how many a second, or KB; the peak memory of both ends in MB. */
export type Sample = {
  seconds?: number;
  rate?: number;
  kilobytes?: number;
  client?: number;
  server?: number;
};

export type Contestant = {
  name: string;
  /** Programs that it cannot do without. */
  needs?: string[];
  run(): Promise<Sample>;
  /** Warms up instead of a whole run, where that takes long: the same programs with less to do. */
  warmUp?(): Promise<unknown>;
};

/** A contestant whose whole job takes long, and that warms up with a little one. */
export const withLittle = <Job>(
  name: string,
  [whole, little]: [Job, Job],
  run: (job: Job) => Promise<Sample>,
  needs: string[] = [],
): Contestant => ({ name, needs, run: () => run(whole), warmUp: () => run(little) });

/** What a row gets: a folder of its own, and a stack of what it must dispose of at the end, such as its servers. */
export type Bench = { folder: Folder; stack: AsyncDisposableStack; size: number };

export type Row = {
  /** ROW=name */
  name: string;
  title: string;
  /** The contestant with which the others are compared; default: the first. */
  reference?: string;
  /** Programs without which there is nothing to compare. */
  needs?: string[];
  contestants(bench: Bench): Promise<Contestant[]>;
};

/** The figures of a contestant: medians, spread and memory. */
export type Figures = {
  name: string;
  unit: "s" | "/s" | "KB";
  value: number;
  least: number;
  most: number;
  runs: number;
  /** How often as long as the reference, or how many times its rate. */
  ratio: number;
  client?: number;
  server?: number;
};

export type Settings = {
  runs: number;
  size: number;
  /** How long the turns of one row may go on, in milliseconds; what has begun ends. */
  budget: number;
};

/** What of these is not on this machine. */
export const absent = (programs: string[] = []) =>
  programs.filter((program) => !Bun.which(program, { PATH: `${process.env.PATH}:/usr/sbin:/sbin` }));

/** Measures a row, and says what is absent. */
export async function measure(row: Row, settings: Settings, say = console.log): Promise<Figures[]> {
  say(`\n${row.name}: ${row.title}`);
  const missing = absent(row.needs);
  if (missing.length > 0) {
    say(`  left out: needs ${missing.join(", ")}`);
    return [];
  }
  if (row.needs?.includes("unshare") && !hasNamespaces) {
    say("  left out: this system does not let you make network namespaces");
    return [];
  }
  await using folder = temporaryFolder();
  await using stack = new AsyncDisposableStack();
  const all = await row.contestants({ folder, stack, size: settings.size });
  for (const { name, needs } of all) {
    if (absent(needs).length > 0) say(`  ${name} is left out: needs ${absent(needs).join(", ")}`);
  }
  const contestants = all.filter(({ needs }) => absent(needs).length === 0);
  const samples = await takeTurns(contestants, settings);
  const figures = contestants.map(({ name }, index) => figuresOf(name, samples[index]));
  const reference = figures.find(({ name }) => name === row.reference) ?? figures[0];
  for (const one of figures) {
    one.ratio = one.value / reference.value;
    say(line(one));
  }
  return figures;
}

/** @returns the counted runs of each */
async function takeTurns(contestants: Contestant[], { runs, budget }: Settings): Promise<Sample[][]> {
  const samples: Sample[][] = contestants.map(() => []);
  for (const { run, warmUp = run } of contestants) await warmUp();
  const begin = performance.now();
  for (let turn = 0; turn < runs; turn++) {
    for (const [index, { run }] of contestants.entries()) samples[index].push(await run());
    const turns = turn + 1;
    if ((performance.now() - begin) / turns * (turns + 1) > budget) break; // one more would be too long
  }
  return samples;
}

export function figuresOf(name: string, samples: Sample[]): Figures {
  const [{ seconds, rate }] = samples;
  const unit = rate !== undefined ? "/s" : seconds !== undefined ? "s" : "KB";
  const values = samples.map(({ seconds, rate, kilobytes }) => rate ?? seconds ?? kilobytes ?? NaN);
  const peak = (end: "client" | "server") => {
    const known = samples.map((sample) => sample[end]).filter((value) => value !== undefined);
    return known.length > 0 ? Math.max(...known) : undefined;
  };
  return {
    name,
    unit,
    value: median(values),
    least: Math.min(...values),
    most: Math.max(...values),
    runs: samples.length,
    ratio: 1,
    client: peak("client"),
    server: peak("server"),
  };
}

export function median(numbers: number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

/** `  ours on bun       2.41 s   (2.38 to 2.60, 5 runs)   1.21 x   client 86 MB, server 57 MB` */
function line({ name, unit, value, least, most, runs, ratio, client, server }: Figures): string {
  const shown = (number: number) => unit === "/s" ? Math.round(number).toString() : number.toFixed(2);
  const memory = [client && `client ${client} MB`, server && `server ${server} MB`].filter(Boolean).join(
    ", ",
  );
  const spread = `(${shown(least)} to ${shown(most)}, ${runs} run${runs === 1 ? "" : "s"})`;
  return `  ${name.padEnd(34)} ${`${shown(value)} ${unit}`.padStart(10)}   ${spread.padEnd(30)} ${
    ratio.toFixed(2)
  } x   ${memory}`.trimEnd();
}

/** Reads a number of bytes: 1000000, 64K, 100M, 1G. @returns NaN for anything else */
export function readSize(text: string): number {
  const [, number, unit = ""] = /^(\d{1,12})([KMG]?)$/i.exec(text) ?? [];
  return Number(number) * 1024 ** ["", "K", "M", "G"].indexOf(unit.toUpperCase());
}

/** The machine in one line. */
export function machine(): string {
  const [{ model = "?" } = {}] = cpus();
  const load = loadavg()[0].toFixed(2);
  return `${availableParallelism()} x ${model.trim()}, ${Math.round(totalmem() / 1e9)} GB, ` +
    `${process.platform} ${release()}, Bun ${Bun.version}, load ${load}`;
}
