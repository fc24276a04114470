/**
 * Lesson 4.3 over all 65,535 ports of the loopback, beside `nmap -sT -n -Pn -p-` in the same run: the median of
 * five, time and peak memory. Then fifteen times more with 256 open files: of the 20 runs, each must find the
 * ports that are open, and no other. Linux, with nmap, in a private network.
 */
import { privateNetwork } from "../engine/network.ts";
import { type Runtime, RUNTIMES, start } from "../engine/program.ts";
import { type Cost, cost, medianOf } from "./measure.ts";

const options = { limit: 120_000 };
const ports = [1, 22, 80, 1024, 8080, 32768, 40000, 40001, 45555, 50001, 60999, 65535];
const wanted = ports.join(" ");

await using network = await privateNetwork(1);
const [host] = network.hosts;
const code = `
  let left = ${ports.length};
  for (const port of [${ports}]) {
    require("node:net").createServer((socket) => socket.on("error", () => {}).end())
      .listen(port, () => { if (--left === 0) console.log("here") });
  }`;
await using server = start([...host, "bun", "-e", code]);
if (await server.next() !== "here") throw new Error(server.seen.stderr.join("\n"));

const theirs = await medianOf(5, async () => {
  await using program = start([...host, "nmap", "-sT", "-n", "-Pn", "-p-", "127.0.0.1"], options);
  const costs = await cost(program);
  compare(program.seen.stdout.map((line) => /^(\d+)\/tcp +open/.exec(line)?.[1] ?? ""));
  return costs;
});
console.log(`nmap   ${theirs.seconds.toFixed(2)} s   ${theirs.peak} MB   open: ${wanted}`);

for (const runtime of Object.keys(RUNTIMES) as Runtime[]) {
  const { seconds, peak } = await medianOf(5, () => scan(runtime, 1024));
  for (let run = 0; run < 15; run++) await scan(runtime, 256);
  const times = (seconds / theirs.seconds).toFixed(1);
  console.log(
    `${runtime.padEnd(6)} ${seconds.toFixed(2)} s   ${peak} MB   ${times} x nmap   20 runs: the same`,
  );
}

async function scan(runtime: Runtime, files: number): Promise<Cost> {
  const limited = ["sh", "-c", `ulimit -n ${files}; exec "$@"`, "sh"];
  const command = [...RUNTIMES[runtime], "scripts/apps/port-scan.ts", "127.0.0.1", "all"];
  await using program = start([...host, ...limited, ...command], options);
  const costs = await cost(program);
  compare(program.seen.stdout.map((line) => /^127\.0\.0\.1:(\d+) +(open|filtered)/.exec(line)?.[1] ?? ""));
  return costs;
}

/** @throws Error when these are not the ports that are open */
function compare(found: string[]): void {
  const seen = found.filter(Boolean).join(" ");
  if (seen !== wanted) throw new Error(`open: ${wanted}\nbut found: ${seen}`);
}
