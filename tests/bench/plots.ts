/**
 * The two pictures of README.md: time and memory against the size of a file, for 4.2 beside curl, and latency and
 * throughput against the number of connections, for the event loop of 3.8. SIZE= is the largest file (4G).
 */
import { spawnSync } from "node:child_process";
import { rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { endInOrder } from "../commands/interrupt.ts";
import { temporaryFolder } from "../engine/files.ts";
import { script, start } from "../engine/program.ts";
import { machine, readSize } from "./frame.ts";
import { cost, highWater } from "./measure.ts";

const LIMIT = 600_000;
const MIB = 2 ** 20;
const MACHINE = machine();

type Line = { name: string; right?: boolean; points: [x: number, y: number][] };

/** Draws lines over two logarithmic axes: the left one, and the right one for dashed lines. */
function draw(
  file: string,
  title: string,
  axes: [x: string, left: string, right: string],
  lines: Line[],
): void {
  const text = (value: string) => `"${value.replaceAll('"', "'")}" noenhanced`;
  const [x, left, right] = axes.map(text);
  const plots = lines.map(({ name, right }, index) =>
    `$line${index} axes ${right ? "x1y2" : "x1y1"} with linespoints pointtype 7 pointsize .5 linewidth 2 ${
      right ? "dashtype 2" : ""
    } title ${text(name)}`
  );
  const script = [
    `set terminal svg size 760,420 font "sans-serif,12" background "#ffffff"`,
    `set title ${text(`${title}\\n${MACHINE}`)}`,
    "set logscale xyy2; set grid; set key above; set border 11; set tics nomirror; set y2tics",
    `set xlabel ${x}; set ylabel ${left}; set y2label ${right}`,
    ...lines.map(({ points }, index) =>
      `$line${index} << end\n${points.map((at) => at.join(" ")).join("\n")}\nend`
    ),
    `plot ${plots.join(", ")}`,
  ];
  const { stdout, stderr, status } = spawnSync("gnuplot", { input: script.join("\n"), encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
  writeFileSync(join(import.meta.dirname, file), stdout);
  console.log(`drawn: tests/bench/${file}`);
}

/** A file of zeros takes no room on the disk at the server; its copy does. */
async function sizes(largest: number): Promise<void> {
  await using folder = temporaryFolder();
  const options = { cwd: folder.path, limit: LIMIT };
  await using web = start(["python3", "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"], options);
  const url = `http://127.0.0.1:${/port (\d+)/.exec(await web.next() ?? "")?.[1]}/file`;
  const lines: Line[] = [
    { name: "4.2, s", points: [] },
    { name: "curl, s", points: [] },
    { name: "4.2, client, MB", right: true, points: [] },
    { name: "4.2, server, MB", right: true, points: [] },
  ];
  for (let size = MIB; size <= largest; size *= 4) {
    writeFileSync(folder.at("file"), "");
    truncateSync(folder.at("file"), size);
    await using server = script("apps/download-server", ["--port", "0", "--root", "."], options); // a peak of its own
    const words = ["--port", `${await server.port()}`, "--out", "out", "file"];
    await using ours = script("apps/download-client", words, options);
    const { seconds, peak } = await cost(ours);
    const figures = [seconds, 0, peak, highWater(server.pid)];
    rmSync(folder.at("out"), { recursive: true });
    await using theirs = start(["curl", "-s", "-o", "copy", url], options);
    figures[1] = (await cost(theirs)).seconds;
    figures.forEach((figure, index) => lines[index].points.push([size / MIB, figure]));
    console.log(`${size / MIB} MiB: ${figures.map((figure) => figure.toFixed(2)).join(", ")}`);
  }
  draw("size.svg", "Time and memory against size: 4.2 on Bun, curl", ["MiB", "s", "MB"], lines);
}

async function connections(): Promise<void> {
  const lines: Line[] = [
    { name: "p50, ms", points: [] },
    { name: "p99, ms", points: [] },
    { name: "requests/s", right: true, points: [] },
  ];
  for (const clients of [1, 4, 16, 64, 256, 1000, 4000, 10_000]) {
    await using server = script("tcp/servers/event-loop", ["--port", "0", "--limit", "10000"], {
      limit: LIMIT,
    });
    const port = await server.port();
    const words = { port, clients, requests: Math.ceil(200_000 / clients / 10), timeout: 60_000 };
    const flags = Object.entries(words).flatMap(([name, value]) => [`--${name}`, `${value}`]);
    await using load = script("tcp/load", flags, { limit: LIMIT });
    const { code, stdout, stderr } = await load.result();
    const [, rate] = /: (\d+) requests\/s/.exec(stdout) ?? [];
    const [, p50, p99] = /^latency: p50 (\S+) ms, .*p99 (\S+) ms/m.exec(stdout) ?? [];
    if (code !== 0 || !rate) {
      console.log(`${clients} connections: ${stderr.trim()}`);
      break; // the limit of open files, say
    }
    [p50, p99, rate].forEach((figure, index) => lines[index].points.push([clients, Number(figure)]));
    console.log(`${clients} connections: ${rate}/s, p50 ${p50} ms, p99 ${p99} ms`);
  }
  draw(
    "connections.svg",
    "Latency and throughput against connections: the event loop of 3.8 on Bun",
    ["connections", "ms", "requests/s"],
    lines,
  );
}

endInOrder();
console.log(MACHINE);
if (spawnSync("gnuplot", ["--version"]).error) {
  console.error("error: gnuplot, which draws the pictures, is not there\nhint: apt-get install gnuplot-nox");
  process.exit(1);
}
await connections();
await sizes(readSize(process.env.SIZE || "4G"));
process.exit();
