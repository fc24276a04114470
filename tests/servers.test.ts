/** Lesson 3.8: five servers that must do the same, and the client that measures them. */
import { describe, expect, test } from "bun:test";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import process from "node:process";
import { buffer } from "node:stream/consumers";
import { type Program, type Runtime, RUNTIMES, script } from "./program.ts";

const SERVERS = ["sequential", "event-loop", "worker-threads", "processes"];
const CELLS = [
  ...SERVERS.flatMap((name) => (Object.keys(RUNTIMES) as Runtime[]).map((runtime) => ({ name, runtime }))),
  { name: "bun-listen", runtime: "bun" as Runtime },
];

function serve(name: string, runtime: Runtime, words: string[] = []): Program {
  return script(`tcp/servers/${name}`, ["--port", "0", ...words], { runtime });
}

async function call(port: number): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

/** Asks for the echo of one word. */
async function echo(socket: Socket, word: string): Promise<string> {
  socket.write(word);
  const [reply] = await once(socket, "data");
  return reply.toString();
}

for (const { name, runtime } of CELLS) {
  describe(`${name} on ${runtime}`, () => {
    test("echoes to many clients, and stops", async () => {
      await using server = serve(name, runtime);
      const port = await server.port();
      const words = ["--port", String(port), "--clients", "20", "--requests", "30"];
      await using client = script("tcp/load", words);
      const { code, stdout, stderr } = await client.result();
      expect(stderr).toBe("");
      expect(stdout).toStartWith(
        `20 clients to 127.0.0.1:${port}, 30 requests each, 32 bytes a request\n600 replies`,
      );
      expect(stdout).toEndWith("\n0 errors\n");
      expect(code).toBe(0);
      server.signal("SIGINT");
      const seen = await server.result();
      expect(seen.code).toBe(0);
      expect(seen.stderr).toBe("");
      expect(seen.stdout.match(/ connected/g)).toHaveLength(20);
      expect(group(server.pid)).toEqual([]);
    });

    test("survives a reset and half a hang-up", async () => {
      await using server = serve(name, runtime);
      const port = await server.port();
      const rude = await call(port);
      expect(await echo(rude, "rude")).toBe("rude");
      rude.resetAndDestroy();
      const polite = await call(port);
      polite.end("polite");
      expect(String(await buffer(polite))).toBe("polite");
      server.signal("SIGTERM");
      expect(await server.ended()).toBe(0);
    });

    test("says when its port is taken", async () => {
      await using holder = createServer().listen(0, "127.0.0.1");
      await once(holder, "listening");
      const { port } = holder.address() as AddressInfo;
      await using server = script(`tcp/servers/${name}`, ["--port", String(port)], { runtime });
      const { code, stdout, stderr } = await server.result();
      expect(stdout).toBe("");
      expect(stderr).toMatch(
        /^error: (bind|listen on) 127\.0\.0\.1:\d+: address already in use \(EADDRINUSE\)\nhint: .*\n$/,
      );
      expect(code).toBe(1);
      expect(group(server.pid)).toEqual([]);
    });

    test(
      name === "sequential" ? "lets the others wait" : "lets nobody wait for a silent caller",
      async () => {
        await using server = serve(name, runtime);
        const port = await server.port();
        const first = await call(port);
        expect(await echo(first, "first")).toBe("first");
        const second = await call(port);
        const reply = echo(second, "second");
        if (name === "sequential") {
          await server.next();
          expect(await server.next()).toEndWith(" waits");
          expect(await Promise.race([reply, Bun.sleep(100).then(() => "silence")])).toBe("silence");
          first.end();
        }
        expect(await reply).toBe("second");
        first.destroy();
        second.destroy();
      },
    );
  });
}

for (const name of [...SERVERS, "bun-listen"]) {
  test(`${name} stops reading when its answers are not read, and loses no byte`, async () => {
    await using server = serve(name, "bun");
    const port = await server.port();
    const greedy = await call(port); // sends, and does not read
    const flood = Buffer.alloc(64 << 20, "0123456789abcdef!");
    let taken = 0;
    for (let at = 0; at < flood.length; at += 1 << 16) {
      greedy.write(flood.subarray(at, at + (1 << 16)), () => taken++);
    }
    greedy.end();
    for (let before = -1; before !== taken || taken === 0; before = taken) await Bun.sleep(200);
    expect(taken).toBeLessThan(1024); // the server has stopped reading
    for (const pid of group(server.pid)) expect(memory(pid)).toBeLessThan(400);
    expect(flood.equals(await buffer(greedy))).toBe(true);
  });
}

describe("processes", () => {
  for (const runtime of Object.keys(RUNTIMES) as Runtime[]) {
    test(`all end with the parent on ${runtime}, even when it is killed`, async () => {
      await using server = serve("processes", runtime, ["--workers", "3"]);
      await server.port();
      expect(group(server.pid)).toHaveLength(4);
      process.kill(server.pid, "SIGKILL");
      await server.ended();
      for (let tries = 0; group(server.pid).length > 0 && tries < 100; tries++) await Bun.sleep(20);
      expect(group(server.pid)).toEqual([]);
    });

    test(`one that dies is replaced on ${runtime}; SIGTERM to the parent alone ends all`, async () => {
      await using server = serve("processes", runtime, ["--workers", "2"]);
      const port = await server.port();
      const [first, second] = [await call(port), await call(port)];
      await Promise.all([echo(first, "one"), echo(second, "two")]);
      const pid = Number(/^process (\d+): /.exec(await server.next() ?? "")?.[1]);
      process.kill(pid, "SIGKILL");
      expect(await server.next("stderr")).toBe(`error: process ${pid}: died with its callers (SIGKILL)`);
      for (let calls = 0; calls < 4; calls++) { // whoever answers
        const socket = await call(port);
        expect(await echo(socket, "again")).toBe("again");
        socket.destroy();
      }
      process.kill(server.pid, "SIGTERM");
      expect(await server.ended()).toBe(0);
      expect(group(server.pid)).toEqual([]);
      first.destroy();
      second.destroy();
    });
  }

  test("a server without a process is none", async () => {
    await using server = serve("processes", "bun", ["--workers", "1"]);
    await server.port();
    for (const pid of group(server.pid)) if (pid !== server.pid) process.kill(pid, "SIGKILL");
    const { code, stderr } = await server.result();
    expect(stderr).toMatch(
      /^error: process \d+: died .*\nerror: the server: no process is left \(ECHILD\)\n$/,
    );
    expect(code).toBe(1);
  });
});

for (const runtime of ["node", "deno"] as const) {
  test(`bun-listen tells ${runtime} that only Bun has it`, async () => {
    await using server = serve("bun-listen", runtime);
    const { code, stdout, stderr } = await server.result();
    expect(stderr).toBe("error: Bun.listen: only Bun has it (ENOSYS)\n");
    expect(stdout).toBe("");
    expect(code).toBe(1);
  });
}

describe("load", () => {
  /** Loads a server of ours, which does as `serve` says. */
  async function load(serve: (socket: Socket) => void, words: string[], runtime: Runtime) {
    await using server = createServer((socket) => serve(socket.on("error", () => {}))).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    await using client = script("tcp/load", ["--port", String(port), ...words], { runtime });
    return await client.result();
  }

  for (const runtime of Object.keys(RUNTIMES) as Runtime[]) {
    test(`percentiles on ${runtime} are those of a server that lets one in ten wait`, async () => {
      let requests = 0;
      const slow = (socket: Socket) =>
        socket.on(
          "data",
          (data: Buffer) => setTimeout(() => socket.write(data), ++requests % 10 === 0 ? 50 : 0),
        );
      const words = ["--clients", "1", "--requests", "40", "--size", "1000"];
      const { code, stdout, stderr } = await load(slow, words, runtime);
      expect(stderr).toBe("");
      const shape = /^latency: p50 (.*) ms, p90 (.*) ms, p99 (.*) ms, max (.*) ms$/m;
      const [p50, p90, p99, max] = (shape.exec(stdout) ?? []).slice(1).map(Number);
      expect(p50).toBeLessThan(40);
      expect(p90).toBeLessThan(40);
      expect(p99).toBeGreaterThan(49);
      expect(max).toBeGreaterThanOrEqual(p99);
      const [, replies, ms, rate] = (/^(\d+) replies in (.*) ms: (\d+) requests\/s$/m.exec(stdout) ?? []).map(
        Number,
      );
      expect(replies).toBe(40);
      expect(ms).toBeGreaterThan(200);
      expect(rate).toBe(Math.round(replies / ms * 1000));
      expect(code).toBe(0);
    });

    const wrong: [what: string, serve: (socket: Socket) => void, error: string][] = [
      ["one wrong bit", (socket) => {
        socket.on("data", (data: Buffer) => {
          data[7] ^= 1;
          socket.write(data);
        });
      }, "the reply is not the echo (EBADMSG)"],
      [
        "a byte too many",
        (socket) => socket.on("data", (data: Buffer) => socket.write(`${data}x`)),
        "the reply is not the echo (EBADMSG)",
      ],
      [
        "half an echo",
        (socket) => socket.on("data", (data: Buffer) => socket.end(data.subarray(1 - 16))),
        "the reply is not the echo (EBADMSG)",
      ],
      [
        "a start of the echo",
        (socket) => socket.on("data", (data: Buffer) => socket.end(data.subarray(0, 5))),
        "hung up without a reply (ENODATA)",
      ],
      ["silence", (socket) => socket.resume(), "no reply within 150 ms (ETIMEDOUT)"],
      [
        "a reset",
        (socket) => socket.on("data", () => socket.resetAndDestroy()),
        "connection reset by peer (ECONNRESET)",
      ],
    ];
    for (const [what, serve, error] of wrong) {
      test(`${what} is an error on ${runtime}`, async () => {
        const words = ["--clients", "3", "--requests", "5", "--size", "16", "--timeout", "150"];
        const { code, stdout, stderr } = await load(serve, words, runtime);
        expect(stderr).toBe(`error: 3 of 3 clients: ${error}\n`);
        expect(stdout).toEndWith("\n3 errors\n");
        expect(code).toBe(1);
      });
    }
  }

  test("nobody there is an error", async () => {
    await using client = script("tcp/load", ["--port", "1", "--clients", "2"]);
    expect(await client.result()).toEqual({
      code: 1,
      stdout: expect.stringMatching(/\n0 replies in .* ms: 0 requests\/s\n2 errors\n$/),
      stderr:
        "error: 2 of 2 clients: connection refused (ECONNREFUSED)\nhint: nobody listens there; start the server first\n",
    });
  });

  test("Ctrl-C shows the figures so far", async () => {
    await using server = serve("event-loop", "bun");
    const port = await server.port();
    await using client = script("tcp/load", [
      "--port",
      String(port),
      "--requests",
      "10000000",
      "--clients",
      "2",
    ]);
    await server.next();
    await Bun.sleep(100);
    client.signal("SIGINT");
    const { code, stdout, stderr } = await client.result();
    expect(stderr).toBe("");
    expect(stdout).toMatch(
      /\n\d+ replies in .* ms: \d+ requests\/s\nlatency: .*\nfirst reply: .*\n0 errors\n$/,
    );
    expect(code).toBe(130);
  });
});

/** The processes of a group, without those that have ended and wait to be collected. */
function group(leader: number): number[] {
  const { stdout } = Bun.spawnSync(["ps", "-eo", "pid=,pgid=,stat="]);
  const rows = stdout.toString().trim().split("\n").map((row) => row.trim().split(/\s+/));
  return rows.filter(([, pgid, state]) => Number(pgid) === leader && state[0] !== "Z").map(([pid]) =>
    Number(pid)
  );
}

/** Peak memory in MB (VmHWM, man 5 proc). */
function memory(pid: number): number {
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}
