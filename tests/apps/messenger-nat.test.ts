/** Lesson 4.4 behind NATs: a direct way is found where there is one, and the server sees nothing of it. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { HAS_NATS, type Mapping, nats } from "../engine/nat.ts";
import { EVERYTHING, type Program, ROOT, RUNTIMES, start } from "../engine/program.ts";

setDefaultTimeout(60_000);

async function until(program: Program, wanted: RegExp): Promise<string> {
  for (let line = await program.next(); line !== undefined; line = await program.next()) {
    if (wanted.test(line)) return line;
  }
  throw new Error(`never: ${wanted}\n${program.seen.stdout.join("\n")}\n${program.seen.stderr.join("\n")}`);
}

/** A server and two clients, 张三 behind NAT A and 李四 behind NAT B, or A as well, who know of each other. */
async function people(mapping: [Mapping, Mapping], runtime: keyof typeof RUNTIMES, isOneHost = false) {
  await using stack = new AsyncDisposableStack();
  const network = stack.use(await nats(mapping));
  const run = (host: string[], script: string, words: string[]) =>
    stack.use(start([...host, ...RUNTIMES[runtime], join(ROOT, "scripts/apps", script), ...words]));
  const server = run(network.server, "messenger-server.ts", ["--host", "203.0.113.9"]);
  await server.port();
  const client = async (host: string[], name: string) => {
    const program = run(host, "messenger-client.ts", ["--host", "203.0.113.9", name]);
    await until(program, /^logged in as/);
    return program;
  };
  const one = await client(network.clients[0], "张三");
  const two = await client(network.clients[isOneHost ? 0 : 1], "李四");
  await until(one, /李四 is here/);
  const owned = stack.move();
  return { network, server, one, two, [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose]() };
}

/** How many packets may come to the server meanwhile: a ping on each connection, a registration of each client. */
const KEEPING = { tcp: 4, udp: 2 };

describe.skipIf(!HAS_NATS)("two clients behind two NATs (needs unshare, ip and nft)", () => {
  for (const runtime of EVERYTHING ? ["bun", "node", "deno"] as const : []) {
    test(`/direct goes through, and the server sees none of the messages, on ${runtime}`, async () => {
      await using scene = await people(["same", "same"], runtime);
      const { network, server, one, two } = scene;
      expect(one.seen.stdout[0]).toMatch(/^logged in as 张三, seen at 203\.0\.113\.1:\d+$/);
      expect(two.seen.stdout[0]).toMatch(/^logged in as 李四, seen at 203\.0\.113\.2:\d+$/);
      const count = 40;
      const texts = Array.from({ length: count }, (_, index) => `第 ${index} 句`);
      // By the relay the counters see every message: the count below can fail.
      await network.arrived();
      for (const text of texts) {
        one.type(`/to 李四 ${text}\n`);
        expect(await until(two, / > /)).toBe(`张三 (to you) > ${text}`);
      }
      expect((await network.arrived()).tcp).toBeGreaterThanOrEqual(count);

      one.type("/direct 李四\n");
      expect(await until(one, /direct/)).toMatch(/^direct way to 李四: 203\.0\.113\.2:\d+$/);
      expect(await until(two, /direct/)).toMatch(/^direct way to 张三: 203\.0\.113\.1:\d+$/);
      await network.arrived();
      for (const text of texts) {
        one.type(`/to 李四 ${text}\n`);
        expect(await until(two, / > /)).toBe(`张三 (direct) > ${text}`);
        two.type(`/to 张三 ${text}\n`);
        expect(await until(one, / > /)).toBe(`李四 (direct) > ${text}`);
      }
      const { tcp, udp } = await network.arrived();
      expect(tcp).toBeLessThanOrEqual(KEEPING.tcp);
      expect(udp).toBeLessThanOrEqual(KEEPING.udp);

      // The way breaks: said, and the relay carries on with what was under way.
      await network.cut(0);
      one.type("/to 李四 还在吗\n");
      expect(await until(two, / > /)).toBe("张三 (to you) > 还在吗");
      expect(await until(one, /way/)).toBe("no direct way to 李四: the relay carries on");
      expect(server.seen.stdout.join("\n")).not.toMatch(/第|还在吗/);
    });
  }

  if (EVERYTHING) {
    test("behind one NAT that sends nothing back inside: by their own cards", async () => {
      await using scene = await people(["same", "same"], "bun", true);
      const { one, two } = scene;
      expect(two.seen.stdout[0]).toMatch(/^logged in as 李四, seen at 203\.0\.113\.1:\d+$/);
      one.type("/direct 李四\n");
      expect(await until(one, /direct/)).toMatch(/^direct way to 李四: 192\.168\.1\.2:\d+$/);
      expect(await until(two, /direct/)).toMatch(/^direct way to 张三: 192\.168\.1\.2:\d+$/);
      two.type("/to 张三 你也在这里\n");
      expect(await until(one, / > /)).toBe("李四 (direct) > 你也在这里");
    });
  }

  const random: [Mapping, Mapping][] = [["random", "random"], ["random", "same"], ["same", "random"]];
  for (const mapping of EVERYTHING ? random : []) {
    test.concurrent(`a NAT that takes another port for each destination, ${mapping}: said, and the relay carries on`, async () => {
      await using scene = await people(mapping, "bun");
      const { one, two } = scene;
      one.type("/direct 李四\n/to 李四 经过服务器\n");
      expect(await until(two, / > /)).toBe("张三 (to you) > 经过服务器");
      expect(await until(one, /direct/)).toBe("no direct way to 李四: the relay carries on");
      expect(await until(two, /direct/)).toBe("no direct way to 张三: the relay carries on");
      two.type("/to 张三 还是服务器\n");
      expect(await until(one, / > /)).toBe("李四 (to you) > 还是服务器");
      two.endOfInput();
      expect((await two.result()).code).toBe(0);
    });
  }
});
