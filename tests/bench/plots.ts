/**
 * The two pictures of README.md: time and memory against the size of a file, for 4.2 beside curl, and latency and
 * throughput against the number of connections, for the event loop of 3.8. SIZE= is the largest file (4G).
 */
import { rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import * as echarts from "echarts";
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
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width: 760, height: 420 });
  const [x, left, right] = axes;
  chart.setOption({
    animation: false,
    backgroundColor: "#fff",
    title: { text: title, subtext: MACHINE, left: "center", textStyle: { fontSize: 15 } },
    legend: { top: 55 },
    grid: { left: 70, right: 70, top: 115, bottom: 55 },
    xAxis: { type: "log", name: x, nameLocation: "middle", nameGap: 32 },
    yAxis: [{ type: "log", name: left }, { type: "log", name: right, splitLine: { show: false } }],
    series: lines.map(({ name, right, points }) => ({
      name,
      type: "line",
      data: points,
      yAxisIndex: right ? 1 : 0,
      lineStyle: { type: right ? "dashed" : "solid" },
    })),
  });
  writeFileSync(join(import.meta.dirname, file), `${chart.renderToSVGString()}\n`);
  chart.dispose();
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
await connections();
await sizes(readSize(process.env.SIZE || "4G"));
process.exit();
