/** Lessons 2.2, 3.4 and 3.8 under load, beside servers in C and Python; and how long a lesson takes to be ready. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { availableParallelism } from "node:os";
import { type Program, type Runtime, RUNTIMES, script, start } from "../engine/program.ts";
import { type Bench, type Contestant, type Row, type Sample, withLittle } from "./frame.ts";
import { highWater } from "./measure.ts";

const limit = 3_600_000;
const runtimes = Object.keys(RUNTIMES) as Runtime[];

const ASYNCIO = `
import asyncio
async def echo(reader, writer):
    while data := await reader.read(1024):
        writer.write(data)
        await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    print("listening on 127.0.0.1:%d" % server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
`;

const THREADS = `
from socket import create_server
from threading import Thread
def echo(connection):
    with connection:
        while data := connection.recv(1024):
            connection.sendall(data)
s = create_server(("127.0.0.1", 0), backlog=128)
print("listening on 127.0.0.1:%d" % s.getsockname()[1], flush=True)
while True:
    connection, _ = s.accept()
    Thread(target=echo, args=(connection,), daemon=True).start()
`;

const TIME = `
from datetime import datetime
from socket import create_server
s = create_server(("127.0.0.1", 0), backlog=128)
print("listening on 127.0.0.1:%d" % s.getsockname()[1], flush=True)
while True:
    connection, peer = s.accept()
    now = str(datetime.now())
    connection.sendall(now.encode())
    connection.close()
    print(now, "to", "%s:%d" % peer)
`;

const LETTERS = `
from socket import *
s = socket(AF_INET, SOCK_DGRAM)
s.bind(("127.0.0.1", 0))
print("listening on 127.0.0.1:%d" % s.getsockname()[1], flush=True)
while True:
    data, peer = s.recvfrom(65536)
    s.sendto(data, peer)
`;

/** Two kinds of connections: some talk at once, and many are silent until a line is typed. */
const SILENT = `
import resource, socket, sys
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
def connect(count):
    return [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(count)]
def echo(connections):
    for c in connections:
        c.sendall(b"x" * 100)
    for c in connections:
        left = 100
        while left:
            got = len(c.recv(left))
            if not got:
                sys.exit("hung up")
            left -= got
def step(word):
    print(word, flush=True)
    input()
talkers = connect(100)
echo(talkers)
step("talked")
silent = connect(int(sys.argv[2]))
step("silent")
for at in range(0, len(silent), 50):
    echo(silent[at:at + 50])
print("answered", flush=True)
`;

const BUN_TIME = `
const { port } = Bun.listen({
  hostname: "127.0.0.1",
  port: 0,
  socket: { data() {}, open(socket) { socket.end("2026-11-20 17:04:30.293444"); } },
});
console.log("listening on 127.0.0.1:" + port);`;

/** Compiles a program in C. @returns its path */
async function compiled(name: string, { folder }: Bench): Promise<string> {
  const source = fileURLToPath(new URL(`${name}.c`, import.meta.url));
  const { code, stderr } = await start(["gcc", "-O2", "-o", folder.at(name), source]).result();
  if (code !== 0) throw new Error(`gcc: ${stderr}`);
  return folder.at(name);
}

/**
 * A server that a client in C loads, which prints its rate first.
 * @param ready its port, where its ready line has been read
 */
async function loaded(name: string, server: Program, client: string[], ready?: number): Promise<Contestant> {
  const port = `${ready ?? await server.port()}`;
  const [path, ...words] = client;
  const run = async (): Promise<Sample> => {
    const { code, stdout, stderr } = await start([path, port, ...words], { limit }).result();
    if (code !== 0) throw new Error(`${name}: ${stderr}`);
    return { rate: Number(stdout.split(" ", 1)), server: highWater(server.pid) };
  };
  return { name, run };
}

const lesson = (name: string, runtime: Runtime, words: string[], { stack }: Bench) =>
  stack.use(script(`tcp/${name}`, ["--port", "0", ...words], { runtime, limit }));

async function echo(bench: Bench): Promise<Contestant[]> {
  const client = [await compiled("load", bench), "64", "500", "100"];
  const server = (words: string[]) => bench.stack.use(start(words, { limit }));
  const contestants = [
    await loaded("C, epoll", server([await compiled("echo", bench)]), client),
    await loaded("Python, asyncio", server(["python3", "-c", ASYNCIO]), client),
    await loaded("Python, threads", server(["python3", "-c", THREADS]), client),
  ];
  for (const name of ["event-loop", "bun-listen", "worker-threads", "processes"]) {
    for (const runtime of name === "event-loop" ? runtimes : ["bun" as const]) {
      const server = lesson(`servers/${name}`, runtime, [], bench);
      contestants.push(await loaded(`${name} on ${runtime}`, server, client));
    }
  }
  return contestants;
}

async function compute(bench: Bench): Promise<Contestant[]> {
  const client = [await compiled("load", bench), "8", "25", "32"];
  const contestants: Contestant[] = [];
  for (const runtime of runtimes) {
    for (const name of ["event-loop", "worker-threads", "processes"]) {
      const server = lesson(`servers/${name}`, runtime, ["--work", "20000"], bench);
      contestants.push(await loaded(`${name} on ${runtime}`, server, client));
    }
  }
  return contestants;
}

/** `load.ts` beside the client in C, at the same server. */
async function clients(bench: Bench): Promise<Contestant[]> {
  const server = lesson("servers/bun-listen", "bun", [], bench);
  const ready = await server.port();
  const words = ["--port", `${ready}`, "--clients", "50", "--requests", "500"];
  const client = [await compiled("load", bench), "50", "500", "32"];
  const contestants = [await loaded("load.c", server, client, ready)];
  for (const runtime of runtimes) {
    const run = async (): Promise<Sample> => {
      const { stdout, stderr } = await script("tcp/load", words, { runtime, limit }).result();
      const rate = Number(/(\d+) requests\/s/.exec(stdout)?.[1]);
      if (stderr !== "" || !rate) throw new Error(`load.ts on ${runtime}: ${stderr}`);
      return { rate };
    };
    contestants.push({ name: `load.ts on ${runtime}`, run });
  }
  return contestants;
}

async function accept(bench: Bench): Promise<Contestant[]> {
  const client = [await compiled("callers", bench), "16", "5000"];
  const server = (words: string[]) => bench.stack.use(start(words, { limit }));
  const contestants = [
    await loaded("Python", server(["python3", "-c", TIME]), client),
    await loaded("Bun.listen, prints nothing", server(["bun", "-e", BUN_TIME]), client),
  ];
  for (const runtime of runtimes) {
    const bare = server([...RUNTIMES[runtime], "scripts/tcp/bare/time-server.ts", "0"]);
    contestants.push(await loaded(`3.4 bare on ${runtime}`, bare, client));
    contestants.push(await loaded(`3.4 on ${runtime}`, lesson("time-server", runtime, [], bench), client));
  }
  return contestants;
}

/** Round trips of 100 bytes, one by one. A new caller comes each 900: 2.2 answers one address 1,000 times at once. */
async function letters(bench: Bench): Promise<Contestant[]> {
  const client = [await compiled("letters", bench), "20", "900", "100"];
  const server = (words: string[]) => bench.stack.use(start(words, { limit }));
  const contestants = [await loaded("Python", server(["python3", "-c", LETTERS]), client)];
  for (const runtime of runtimes) {
    const ours = bench.stack.use(script("udp/echo-server", ["--port", "0"], { runtime, limit }));
    contestants.push(await loaded(`2.2 on ${runtime}`, ours, client));
  }
  return contestants;
}

/** What a silent connection takes of a server's memory, once all are accepted; afterwards each is answered. */
function silent(name: string, words: string[]): Contestant {
  const run = async (count: number): Promise<Sample> => {
    await using server = start(words, { limit });
    const port = `${await server.port()}`;
    await using callers = start(["python3", "-c", SILENT, port, `${count}`], { limit });
    const memory = () =>
      1.024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, "utf8"))?.[1]);
    const open = () => readdirSync(`/proc/${server.pid}/fd`).length;
    const step = async (word: string) => {
      if (await callers.next() !== word) throw new Error(`${name}: ${(await callers.result()).stderr}`);
    };
    await step("talked");
    const [before, files] = [memory(), open()];
    callers.type("\n");
    await step("silent");
    while (open() < files + count) await new Promise((resolve) => setTimeout(resolve, 50));
    const kilobytes = (memory() - before) / count;
    callers.type("\n");
    await step("answered");
    return { kilobytes, server: highWater(server.pid) };
  };
  return withLittle(name, [10_000, 100], run);
}

/** How long a program takes from its start to the line that says that it is ready. */
function ready(name: string, words: string[]): Contestant {
  const run = async (): Promise<Sample> => {
    const begin = performance.now();
    await using program = start(words, { limit });
    await program.port();
    return { seconds: (performance.now() - begin) / 1000, server: highWater(program.pid) };
  };
  return { name, run };
}

const needs = ["gcc", "python3"];

export const rows: Row[] = [
  {
    name: "echo",
    title: "3.8, echo: 64 connections of 100 bytes",
    reference: "Python, asyncio",
    needs,
    contestants: echo,
  },
  {
    name: "echo-work",
    title: `3.8, --work 20000, 8 connections, ${availableParallelism()} processors`,
    needs: ["gcc"],
    contestants: compute,
  },
  {
    name: "echo-clients",
    title: "3.8, load.ts and load.c at bun-listen.ts: 50 connections of 32 bytes",
    needs: ["gcc"],
    contestants: clients,
  },
  {
    name: "idle",
    title: "3.8, memory of each of 10,000 silent connections, all answered afterwards",
    needs: ["python3"],
    contestants: () =>
      Promise.resolve([
        silent("Python, asyncio", ["python3", "-c", ASYNCIO]),
        ...runtimes.map((runtime) =>
          silent(`event-loop on ${runtime}`, [
            ...RUNTIMES[runtime],
            "scripts/tcp/servers/event-loop.ts",
            ...["--port", "0", "--limit", "20000"],
          ])
        ),
      ]),
  },
  { name: "udp", title: "2.2, round trips one by one, 100 bytes", needs, contestants: letters },
  { name: "accept", title: "3.4, accept, answer, close: 16 callers at once", needs, contestants: accept },
  {
    name: "ready",
    title: "3.1, from start to the ready line",
    needs: ["python3"],
    contestants: () =>
      Promise.resolve([
        ready("Python", ["python3", "-c", TIME]),
        ...runtimes.flatMap((runtime) => [
          ready(`3.1 bare on ${runtime}`, [...RUNTIMES[runtime], "scripts/tcp/bare/server.ts", "0"]),
          ready(`3.1 on ${runtime}`, [...RUNTIMES[runtime], "scripts/tcp/server.ts", "--port", "0"]),
        ]),
      ]),
  },
];
