/** Lesson 4.4 with real counterparts: clients on three runtimes, one that Python runs, and the direct way. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import type { Encoding } from "../../lib/text.ts";
import {
  EVERYTHING,
  EVERYWHERE,
  type Program,
  ROOT,
  type Runtime,
  script,
  start,
} from "../engine/program.ts";
import { freePort, HAS_IPV6 } from "../engine/sockets.ts";
import { client, lines, RUNTIMES, serve, until } from "./messenger-peers.ts";

setDefaultTimeout(60_000);

describe("three clients on one machine", () => {
  const rows: { host: string; encoding: Encoding; server: Runtime }[] = [
    { host: "127.0.0.1", encoding: "gbk", server: "bun" },
    { host: "::1", encoding: "utf-8", server: "node" },
    { host: "::1", encoding: "gbk", server: "deno" },
  ];
  for (const { host, encoding, server: runtime } of EVERYTHING ? rows : rows.slice(0, 1)) {
    test.skipIf(!HAS_IPV6)(`${host}, ${encoding}, the server on ${runtime} (needs IPv6)`, async () => {
      const words = ["--host", host, "--encoding", encoding];
      await using server = serve(words, runtime);
      const port = await server.port();
      await using one = await client("张三", port, { words, runtime: "bun" });
      await using two = await client("李四", port, { words, runtime: "node" });
      await using three = await client("王五", port, { words, runtime: "deno" });
      expect(await two.next()).toBe("on line: 张三");
      expect(await three.next()).toBe("on line: 张三, 李四");
      expect(await lines(one, 2)).toEqual(["李四 is here", "王五 is here"]);
      expect(await two.next()).toBe("王五 is here");
      one.type("大家好\n/to 王五 只有你看得到\n/who\n");
      expect(await three.next()).toBe("张三 > 大家好");
      expect(await three.next()).toBe("张三 (to you) > 只有你看得到");
      expect(await two.next()).toBe("张三 > 大家好");
      expect(await one.next()).toBe("on line: 张三, 李四, 王五");
      two.type("/direct 王五\n");
      await until(two, `direct way to 王五: ${three.seen.stdout[0].split("seen at ")[1]}`);
      await until(three, `direct way to 李四: ${two.seen.stdout[0].split("seen at ")[1]}`);
      two.type("/to 王五 直接说\nexit\n");
      expect(await three.next()).toBe("李四 (direct) > 直接说");
      expect(await two.result()).toMatchObject({ code: 0, stderr: "" });
      expect(await three.next()).toBe("李四 is away");
      one.type("exit()\n");
      three.endOfInput();
      expect(await one.result()).toMatchObject({ code: 0, stderr: "" });
      expect(await three.result()).toMatchObject({ code: 0, stderr: "" });
      server.signal("SIGINT");
      const { code, stdout, stderr } = await server.result();
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(stdout).toContain("李四 and 王五 try a direct way\n");
      expect(stdout).not.toMatch(/大家好|只有你|直接说/); // the server tells nobody's messages
      const seen = [one, two, three].map((program) => program.seen.stdout[0].split("seen at ")[1]);
      expect(new Set(seen).size).toBe(3);
      for (const place of seen) expect(stdout).toContain(` is at ${place} by UDP\n`);
    });
  }
});

describe("a client that Python runs, written from the figure alone", () => {
  for (const encoding of ["utf-8", "gbk"] as const) {
    for (const runtime of EVERYWHERE) {
      test.skipIf(!Bun.which("python3"))(
        `${encoding}, the server on ${runtime} (needs python3)`,
        async () => {
          const words = ["--encoding", encoding];
          await using server = serve(words, runtime);
          const port = await server.port();
          await using ours = await client("张三", port, { words });
          const path = join(ROOT, "tests/python/messenger_client.py");
          await using theirs = start(["python3", path, `${port}`, encoding, "蛇"], {
            env: { PYTHONUTF8: "1" },
          });
          expect(await theirs.next()).toBe("seen True");
          expect(await ours.next()).toBe("蛇 is here");
          ours.type("你好\n/to 蛇 abc 再见\nbye\n");
          expect(await ours.next()).toBe("蛇 (to you) > ABC 再见");
          expect(await ours.next()).toBe("蛇 is away");
          expect(await theirs.result()).toEqual({
            code: 0,
            stdout: "seen True\n张三 > 你好\n张三 > abc 再见\n张三 > bye\nhad 1 张三\n",
            stderr: "",
          });
          ours.endOfInput();
          expect(await ours.result()).toMatchObject({ code: 0, stderr: "" });
        },
      );
    }
  }
});

describe("the direct way", () => {
  for (const runtime of EVERYTHING ? RUNTIMES : []) {
    test.concurrent(`goes on without the server, and gives back to the relay what it cannot deliver, on ${runtime}`, async () => {
      await using first = serve(["--port", `${await freePort()}`], runtime); // where another one comes
      const port = await first.port();
      await using one = await client("one", port, { runtime });
      await using two = await client("two", port, { runtime });
      await until(two, "on line: one");
      one.type("/direct two\n");
      const place = (program: Program) => program.seen.stdout[0].split("seen at ")[1];
      await until(one, `direct way to two: ${place(two)}`);
      await until(two, `direct way to one: ${place(one)}`);
      first.signal("SIGKILL");
      await until(one, "the server is gone: trying again, with growing pauses");
      await until(two, "the server is gone: trying again, with growing pauses");
      one.type("/to two without\n/to two the server\n");
      expect(await lines(two, 2)).toEqual(["one (direct) > without", "one (direct) > the server"]);
      await using second = script("apps/messenger-server", ["--port", `${port}`], { runtime });
      await second.port();
      await until(one, "connected again");
      await until(two, "connected again");
      two.signal("SIGKILL"); // no goodbye: the acknowledgements stop
      await until(one, "two is away");
      one.type("/to two are you there?\n");
      expect(await one.next()).toBe("no direct way to two: the relay carries on");
      expect(await one.next()).toBe("two is away: the server keeps it");
      await using again = await client("two", port, { runtime });
      expect(await again.next()).toBe("on line: one");
      expect(await again.next()).toMatch(/^one \(to you, .*\) > are you there\?$/);
      one.endOfInput();
      await until(one, "two is back");
      expect(await one.result()).toMatchObject({ code: 0, stderr: "" });
    });
  }
});
