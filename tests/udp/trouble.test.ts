/** Lessons 2.1, 2.2, 2.3, 2.4, 2.5 and 2.6: a network that is away for a moment costs datagrams, and ends no program. (thorough) */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { whenWaiting } from "../engine/asleep.ts";
import { hasNamespaces, type Host, type Network, privateNetwork } from "../engine/network.ts";
import {
  EVERYTHING,
  EVERYWHERE,
  type Program,
  ROOT,
  type Runtime,
  RUNTIMES,
  start,
} from "../engine/program.ts";

setDefaultTimeout(60_000); // what hangs is told by program.ts, after 30 s

function on(host: Host, runtime: Runtime, name: string, words: string[]): Program {
  return start([...host, ...RUNTIMES[runtime], join(ROOT, `scripts/udp/${name}.ts`), ...words], {
    limit: 30_000,
  });
}

/** What a send says while the card is down, or the route is missing: Deno does not tell which. */
const TROUBLE = /^error: send to 10\.9\.0\.\d+:\d+: .* \((ENETUNREACH|ENETDOWN|UNKNOWN)\)$/;

if (EVERYTHING) {
  describe.skipIf(!hasNamespaces)("the card is down for half a second (needs unshare and ip)", () => {
    let network: Network;
    let folder = "";
    beforeAll(async () => {
      network = await privateNetwork(2);
      folder = await mkdtemp(join(tmpdir(), "trouble-"));
    });
    afterAll(async () => {
      await network[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    });
    const set = async (host: Host, state: "up" | "down") => {
      const { code, stderr } = await start([...host, "ip", "link", "set", "eth0", state]).result();
      expect([code, stderr]).toEqual([0, ""]);
    };

    for (const runtime of EVERYWHERE) {
      for (const [end, index] of [["sender", 0], ["receiver", 1]] as const) {
        test(`2.6: the ${end}'s; the file crosses whole, on ${runtime}`, async () => {
          const [here, there] = network.hosts;
          const out = join(folder, `${runtime}-${end}`);
          await mkdir(out);
          const bytes = randomBytes(3_000_000);
          await writeFile(join(folder, "big"), bytes);
          const words = ["--host", "10.9.0.2", "--port", "0"];
          await using receiver = on(there, runtime, "reliable-receive", [
            ...words,
            "--out",
            out,
            "--window",
            "1",
          ]);
          const port = `${await receiver.port()}`;
          await using sender = on(here, runtime, "reliable-send", [
            join(folder, "big"),
            "--host",
            "10.9.0.2",
            "--port",
            port,
          ]);
          expect(await receiver.next()).toContain(" > big, 3000000 bytes"); // it is under way
          receiver.signal("SIGSTOP"); // and stays so, however late `ip` begins
          await set(network.hosts[index], "down");
          receiver.signal("SIGCONT");
          await new Promise((resolve) => setTimeout(resolve, 500)); // the time it is down
          expect([sender.code, receiver.seen.stdout.length]).toEqual([undefined, 2]); // listening, and the name
          await set(network.hosts[index], "up");
          const { code, stdout, stderr } = await sender.result();
          expect([code, stderr]).toEqual([0, ""]);
          expect(Number(/(\d+) sent again after a timeout/.exec(stdout)?.[1])).toBeGreaterThan(0);
          expect((await readFile(join(out, "big"))).equals(bytes)).toBe(true);
          expect((await receiver.next())?.replace(/ from .*/, "")).toBe("saved big, 3000000 bytes,");
        });
      }

      test(`2.2 asks again when the network is back, on ${runtime}`, async () => {
        const [here, there] = network.hosts;
        await using server = on(there, runtime, "echo-server", ["--host", "10.9.0.2", "--port", "0"]);
        const to = ["--host", "10.9.0.2", "--port", `${await server.port()}`];
        await using client = on(here, runtime, "echo-client", [...to, "--timeout", "300", "--tries", "50"]);
        await set(here, "down");
        client.type("still there?\n");
        expect(await client.next("stderr")).toMatch(TROUBLE);
        expect(await client.next()).toBe("no reply within 300 ms");
        await set(here, "up");
        let line = await client.next();
        while (line === "no reply within 300 ms") line = await client.next();
        expect(line).toBe("still there?");
        client.endOfInput();
        expect(await client.ended()).toBe(0);
      });

      test(`a link tells once that the network is down, on ${runtime}`, async () => {
        const [here, there] = network.hosts;
        await using server = on(there, runtime, "receive", ["--host", "10.9.0.2", "--port", "0"]);
        const to = ["--to", `10.9.0.2:${await server.port()}`];
        await using link = on(here, runtime, "lossy-link", [...to, "--port", "0"]);
        const words = ["--port", `${await link.port()}`];
        await using before = on(here, "bun", "send", [...words, "before"]);
        expect(await before.ended()).toBe(0);
        expect(await server.next()).toEndWith(" > before");
        await set(here, "down");
        await using during = on(here, "bun", "send", [...words, "a", "b", "c"]);
        expect(await during.ended()).toBe(0);
        expect(await link.next("stderr")).toMatch(TROUBLE);
        await whenWaiting(() => link.pid, 100, () => false); // all three have been passed on, and none has got through
        await set(here, "up");
        await using after = on(here, "bun", "send", [...words, "after"]);
        expect(await after.ended()).toBe(0);
        expect(await server.next()).toEndWith(" > after");
        link.signal("SIGTERM");
        const { code, stdout } = await link.result();
        expect([code, link.seen.stderr.length]).toEqual([0, 1]);
        expect(stdout).toContain("       3 got lost\n");
      });

      test(`2.4 and 2.5 tell it as well, and send the next, on ${runtime}`, async () => {
        const [here, there] = network.hosts;
        const cases = [
          ["broadcast", ["--host", "0.0.0.0"], ["--host", "10.9.0.255"]],
          ["multicast", ["--interface", "eth0"], ["--interface", "eth0"]],
        ] as const;
        for (const [name, receiving, sending] of cases) {
          await using receiver = on(there, runtime, `${name}-receive`, [...receiving, "--port", "0"]);
          const port = `${await receiver.port()}`;
          await using sender = on(here, runtime, `${name}-send`, [...sending, "--port", port]);
          sender.type("before\n");
          expect(await receiver.next()).toEndWith(" > before");
          await set(here, "down");
          sender.type("lost\n");
          const trouble = /^error: send to \S+: .* \((ENETUNREACH|ENETDOWN|ENODEV|UNKNOWN)\)$/;
          expect(await sender.next("stderr")).toMatch(trouble);
          await set(here, "up");
          const again = setInterval(() => sender.type("after\n"), 250); // until the link has a carrier, too
          try {
            expect(await receiver.next()).toEndWith(" > after");
          } finally {
            clearInterval(again);
          }
          sender.endOfInput();
          expect(await sender.ended()).toBe(1);
        }
      });

      test(`2.1 and 2.3 tell that a message was not sent, and send the next, on ${runtime}`, async () => {
        const [here, there] = network.hosts;
        await using receiver = on(there, runtime, "receive", ["--host", "10.9.0.2", "--port", "0"]);
        const port = `${await receiver.port()}`;
        const chatWords = ["--host", "0.0.0.0", "--port", "0", "--to", `10.9.0.2:${port}`];
        const programs = [
          on(here, runtime, "send", ["--host", "10.9.0.2", "--port", port]),
          on(here, runtime, "chat", chatWords),
          on(here, runtime, "chat", [...chatWords, "--mode", "half"]),
        ];
        try {
          for (const chat of programs.slice(1)) {
            await chat.port();
            expect(await chat.next("stderr")).toContain("is every address"); // the hint of --host 0.0.0.0
          }
          for (const [index, program] of programs.entries()) {
            program.type("before\n");
            let line = await receiver.next();
            while (line?.endsWith(" > after")) line = await receiver.next(); // one more of the program before
            expect(line).toEndWith(" > before");
            await set(here, "down");
            program.type("over\n"); // which passes no turn: the other does not hear it
            expect(await program.next("stderr")).toMatch(TROUBLE);
            await set(here, "up");
            const again = setInterval(() => program.type("after\n"), 250); // until the link has a carrier, too
            try {
              expect(await receiver.next()).toEndWith(" > after");
            } finally {
              clearInterval(again);
            }
            program.endOfInput();
            expect(await program.ended()).toBe(index === 0 ? 1 : 0); // send's work was that message
          }
        } finally {
          for (const program of programs) await program[Symbol.asyncDispose]();
        }
      });
    }

    const shaper = "tc qdisc add dev eth0 root tbf rate 10mbit burst 5000 limit 5000";
    const canShape =
      Bun.spawnSync(["unshare", "-Urn", "sh", "-c", shaper.replace("eth0", "lo")]).exitCode === 0;
    test.skipIf(!canShape)("2.6: a queue that is full, which Bun tells as ENOBUFS (needs tc)", async () => {
      await using own = await privateNetwork(2);
      const [here, there] = own.hosts;
      expect(await start([...here, "sh", "-ec", shaper]).ended()).toBe(0);
      for (const runtime of EVERYWHERE) {
        const out = join(folder, `${runtime}-queue`);
        await mkdir(out);
        const bytes = randomBytes(500_000);
        await writeFile(join(folder, "queued"), bytes);
        const words = ["--host", "10.9.0.2", "--port", "0", "--out", out];
        await using receiver = on(there, runtime, "reliable-receive", words);
        const to = ["--host", "10.9.0.2", "--port", `${await receiver.port()}`];
        await using sender = on(here, runtime, "reliable-send", [join(folder, "queued"), ...to]);
        const { code, stdout, stderr } = await sender.result();
        expect([code, stderr]).toEqual([0, ""]);
        const again = [...stdout.matchAll(/(\d+) sent again/g)].map(([, count]) => Number(count));
        expect(Math.max(...again)).toBeGreaterThan(0); // after a timeout, or early
        expect((await readFile(join(out, "queued"))).equals(bytes)).toBe(true);
      }
    });

    test.skipIf(!Bun.which("nft"))(
      "2.6: what a firewall of this machine drops is lost, and sent again (needs nft)",
      async () => {
        await using own = await privateNetwork(2);
        const [here, there] = own.hosts;
        const rules = "add table ip t; add chain ip t out { type filter hook output priority 0; }; " +
          "add rule ip t out udp dport 7791 numgen inc mod 10 == 3 drop"; // sendto(2) fails with EPERM
        expect(await start([...here, "nft", rules]).result()).toMatchObject({ code: 0, stderr: "" });
        for (const runtime of EVERYWHERE) {
          const out = join(folder, `${runtime}-firewall`);
          await mkdir(out);
          const bytes = randomBytes(100_000);
          await writeFile(join(folder, "walled"), bytes);
          const words = ["--host", "10.9.0.2", "--out", out];
          await using receiver = on(there, runtime, "reliable-receive", words);
          await receiver.port();
          await using sender = on(here, runtime, "reliable-send", [
            join(folder, "walled"),
            "--host",
            "10.9.0.2",
          ]);
          const { code, stderr } = await sender.result();
          expect([code, stderr]).toEqual([0, ""]);
          expect((await readFile(join(out, "walled"))).equals(bytes)).toBe(true);
        }
      },
    );

    test("2.6: no route at all is told at once", async () => {
      const words = [join(ROOT, "LICENSE"), "--host", "192.0.2.1"];
      await using sender = on(network.hosts[0], "bun", "reliable-send", words);
      const { code, stderr } = await sender.result();
      expect([code, stderr]).toEqual([
        1,
        "error: send to 192.0.2.1:7791: network unreachable (ENETUNREACH)\n",
      ]);
    });

    test("2.6: a card that stays down is told at the end", async () => {
      const [here, there] = network.hosts;
      const out = join(folder, "down");
      await mkdir(out);
      await writeFile(join(folder, "big"), randomBytes(3_000_000));
      const words = ["--host", "10.9.0.2", "--port", "0", "--out", out, "--window", "1"];
      await using receiver = on(there, "bun", "reliable-receive", words);
      const port = `${await receiver.port()}`;
      await using sender = on(here, "bun", "reliable-send", [
        join(folder, "big"),
        "--host",
        "10.9.0.2",
        "--port",
        port,
        "--timeout",
        "5000",
      ]);
      expect(await receiver.next()).toContain(" > big, ");
      receiver.signal("SIGSTOP"); // else the file may be through before the card is down
      await set(here, "down");
      const { code, stderr } = await sender.result();
      await set(here, "up");
      expect(code).toBe(1);
      expect(stderr).toBe(
        `error: 10.9.0.2:${port}: nothing heard for 5000 ms (ETIMEDOUT)\n` +
          `hint: the last packet could not be sent: send to 10.9.0.2:${port}: network unreachable (ENETUNREACH)\n`,
      );
    });
  });
}
