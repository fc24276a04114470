/**
 * Lesson 4.3 in a private network, beside nmap and beside a bare loop of `connect`. Each run must find the ports that
 * are open, and no other: RUNS=20 proves that twenty times. Linux.
 */
import { type Host, privateNetwork } from "../engine/network.ts";
import { type Runtime, RUNTIMES, start } from "../engine/program.ts";
import { type Bench, type Contestant, type Row, type Sample, withLittle } from "./frame.ts";
import { cost } from "./measure.ts";

const limit = 300_000;
const runtimes = Object.keys(RUNTIMES) as Runtime[];

/** Some of them where the system takes the ports of callers from (man 7 ip, ip_local_port_range). */
const OPEN = [1, 22, 80, 1024, 8080, 32768, 40000, 40001, 45555, 50001, 60999, 65535];
const OPEN_AMONG_FILTERED = [3, 22, 150, 777, 1000];

/** A loop of `connect`, 100 at once, and nothing else. */
const LOOP = `
import { connect } from "node:net";
const open = [];
let next = 1, closed = 0;
function call() {
  if (next > 65535) return;
  const port = next++;
  const socket = connect({ host: "127.0.0.1", port });
  socket.on("connect", () => {
    if (socket.localPort !== port) open.push(port);
    socket.destroy();
  });
  socket.on("error", () => {});
  socket.on("close", () => ++closed === 65535 ? console.log(open.sort((a, b) => a - b).join("\\n")) : call());
}
for (let at = 0; at < 100; at++) call();
`;

/** A host where these ports are open, with a firewall: rules for what comes in, as nft(8) writes them. */
async function hostWith(ports: number[], rules: string, { stack }: Bench): Promise<Host> {
  const { hosts: [host] } = stack.use(await privateNetwork(1));
  const code = `
    let left = ${ports.length};
    for (const port of [${ports}]) {
      require("node:net").createServer((socket) => socket.on("error", () => {}).end())
        .listen(port, () => { if (--left === 0) console.log("here") });
    }`;
  const server = stack.use(start([...host, "bun", "-e", code], { limit: 3_600_000 }));
  if (await server.next() !== "here") throw new Error(server.seen.stderr.join("\n"));
  if (rules === "") return host;
  const table = `table inet firewall {\nchain input {\ntype filter hook input priority 0\n${rules}\n}\n}`;
  const { code: failed, stderr } = await start([...host, "sh", "-ec", `nft -f - <<END\n${table}\nEND`])
    .result();
  if (failed !== 0) throw new Error(stderr);
  return host;
}

/** Runs a scan. @throws Error when it does not find the ports that are open */
async function scan(words: string[], line: RegExp, wanted: number[] | undefined): Promise<Sample> {
  await using program = start(words, { limit });
  const { seconds, peak } = await cost(program);
  const found = program.seen.stdout.flatMap((text) => line.exec(text)?.[1] ?? []);
  if (wanted && found.join() !== wanted.join()) throw new Error(`open: ${wanted}\nbut found: ${found}`);
  return { seconds, client: peak };
}

/** Which ports are scanned, and which of them are open. */
type Job = { ports: string; wanted: number[] };

/** A whole scan; and one of a single port, which warms up. */
const jobs = (ports: string, wanted: number[]): [Job, Job] => [
  { ports, wanted },
  { ports: `${wanted[0]}`, wanted: wanted.slice(0, 1) },
];

/** @param misses whether nmap may miss some here */
const nmap = (host: Host, jobs: [Job, Job], misses = false): Contestant =>
  withLittle(
    misses ? "nmap, which misses some" : "nmap",
    jobs,
    ({ ports, wanted }) =>
      scan(
        [...host, "nmap", "-sT", "-n", "-Pn", `-p${ports}`, "127.0.0.1"],
        /^(\d+)\/tcp +open/,
        misses ? undefined : wanted,
      ),
    ["nmap"],
  );

const ours = (host: Host, jobs: [Job, Job]): Contestant[] =>
  runtimes.map((runtime) =>
    withLittle(
      `4.3 on ${runtime}`,
      jobs,
      ({ ports, wanted }) =>
        scan(
          [...host, ...RUNTIMES[runtime], "scripts/apps/port-scan.ts", "127.0.0.1", ports],
          /^127\.0\.0\.1:(\d+) +open/,
          wanted,
        ),
    )
  );

export const rows: Row[] = [
  {
    name: "scan",
    title: "4.3, all 65,535 ports of the loopback",
    needs: ["unshare", "ip"],
    async contestants(bench) {
      const host = await hostWith(OPEN, "", bench);
      const loop = bench.folder.at("loop.mjs");
      await Bun.write(loop, LOOP);
      return [
        nmap(host, jobs("-", OPEN)),
        ...(["node", "deno"] as const).map((runtime) => ({
          name: `a loop of connect on ${runtime}`,
          run: () => scan([...host, ...RUNTIMES[runtime], loop], /^(\d+)$/, OPEN),
        })),
        ...ours(host, jobs("all", OPEN)),
      ];
    },
  },
  {
    name: "scan-filtered",
    title: "4.3, 1,000 ports, 5 of them open, the others dropped by a firewall",
    needs: ["unshare", "ip", "nft"],
    async contestants(bench) {
      const rules = `tcp dport 1-1000 tcp dport != { ${OPEN_AMONG_FILTERED} } drop`;
      const host = await hostWith(OPEN_AMONG_FILTERED, rules, bench);
      return [
        nmap(host, jobs("1-1000", OPEN_AMONG_FILTERED)),
        ...ours(host, jobs("1-1000", OPEN_AMONG_FILTERED)),
      ];
    },
  },
  {
    name: "scan-limited",
    title: "4.3, 300 ports, 3 of them open, a firewall lets 100 SYN a second through",
    needs: ["unshare", "ip", "nft"],
    async contestants(bench) {
      const wanted = OPEN_AMONG_FILTERED.slice(0, 3);
      const rules = `tcp flags syn / syn,ack limit rate over 100/second drop
        tcp dport 1-300 tcp dport != { ${wanted} } drop`;
      const host = await hostWith(wanted, rules, bench);
      return [nmap(host, jobs("1-300", wanted), true), ...ours(host, jobs("1-300", wanted))];
    },
  },
];
