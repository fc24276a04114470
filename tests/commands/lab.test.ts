/** `make lab`: a small internet on this machine. (thorough) */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { closeSync, existsSync, globSync, openSync, readdirSync, readlinkSync } from "node:fs";
import { basename, join } from "node:path";
import process from "node:process";
import { temporaryFolder } from "../engine/files.ts";
import { TOOLS } from "../engine/lab.ts";
import { whatIsMissing } from "../engine/network.ts";
import { EVERYWHERE, ROOT, start } from "../engine/program.ts";

const LAB = ["bun", "tests/commands/lab.ts"];
const LIMIT = 60_000;
setDefaultTimeout(LIMIT);

const CAN = whatIsMissing(TOOLS) === undefined;
const NEEDS = "(needs unshare, ip and nft)";
const HAS_NETEM = CAN &&
  (await start(["unshare", "-Urn", "tc", "qdisc", "add", "dev", "lo", "root", "netem"]).ended()) === 0;

/** Runs a line in the lab. */
const run = (RUN: string, words = LAB) => start(words, { env: { RUN }, limit: LIMIT }).result();

const KINDS = ["net", "mnt", "pid", "user"];

describe.skipIf(!CAN)(`in the lab ${NEEDS}`, () => {
  for (
    const number of globSync("*.txt", { cwd: join(ROOT, "tests", "lab") }).map((name) =>
      basename(name, ".txt")
    )
  ) {
    for (const ON of EVERYWHERE) {
      test(`${number} between hosts, on ${ON} ${NEEDS}`, async () => {
        const { code, stderr } = await start(LAB, { env: { L: number, ON }, limit: LIMIT }).result();
        expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      });
    }
  }

  test(`every host reaches those that it may reach, by name, over IPv4 and IPv6 ${NEEDS}`, async () => {
    const pairs = [
      ...[
        "alice bob",
        "bob carol",
        "carol server",
        "server alice",
        "dave alice",
        "erin server",
        "dave server",
      ]
        .map((pair) => [pair, "yes"]),
      ...["alice dave", "server erin", "dave erin", "erin dave"].map((pair) => [pair, "no"]),
    ];
    const lines = pairs.flatMap(([pair]) => {
      const [from, to] = pair.split(" ");
      return ["-4", "-6"].map((version) =>
        `if ${from} ping ${version} -q -c 1 -W 1 ${to} >/dev/null 2>&1; then echo yes; else echo no; fi`
      );
    });
    const { code, stdout } = await run(lines.join("; "));
    expect(code).toBe(0);
    expect(stdout.trim().split("\n")).toEqual(pairs.flatMap(([, answer]) => [answer, answer]));
  });

  test(`a line ends with its exit code; what it prints and reads is passed on ${NEEDS}`, async () => {
    await using program = start(LAB, {
      env: { RUN: "alice cat; bob sh -c 'echo oh >&2; exit 7'" },
      limit: LIMIT,
    });
    program.type("你好\n");
    program.endOfInput();
    expect(await program.result()).toEqual({ code: 7, stdout: "你好\n", stderr: "oh\n" });
  });

  test(`a card goes down and comes up, with its addresses and routes ${NEEDS}`, async () => {
    const asks = ["-4", "-6"].map((version) =>
      `bob ping ${version} -q -c 1 -W 1 server >/dev/null 2>&1; echo $?`
    );
    const { stdout } = await run(["down bob", ...asks, "up bob", ...asks].join("; "));
    expect(stdout).toBe("2\n2\n0\n0\n");
  });

  test(`loss: of 400 packets each way, a fifth ${NEEDS}`, async () => {
    const ask = "alice ping -4 -q -c 400 -i 0.002 -W 1 bob | sed -n 's/.* \\([0-9]*\\) received.*/\\1/p'";
    // First they learn each other's card: ARP gets lost, too, and the packets of a second would wait for it.
    const meet = "alice ping -4 -q -c 1 bob >/dev/null";
    const { stdout, stderr } = await run(`${meet}; loss 20; ${ask}; loss 0 alice; ${ask}; loss 0; ${ask}`);
    expect(stderr).toBe("");
    const [both, one, none] = stdout.trim().split("\n").map(Number);
    expect(both).toBeWithin(196, 317); // 256 are expected: 6 standard deviations of 9.6
    expect(one).toBeWithin(272, 369); // 320, of 8
    expect(none).toBe(400);
  });

  test(`rate: what comes faster waits, and is dropped when too much waits ${NEEDS}`, async () => {
    // Each prints how many of 100 datagrams of 1,000 bytes, sent at once, came through: bob's firewall counts them.
    const send = "alice socat -u -b 1000 OPEN:/dev/zero,readbytes=100000 udp4:bob:7000";
    const count = "bob nft reset counter inet count seen | sed -n 's/.*packets \\([0-9]*\\).*/\\1/p'";
    const { stdout, stderr } = await run(
      `bob nft 'table inet count { counter seen { }; chain in { type filter hook input priority 0
         udp dport 7000 counter name seen drop; }; }'
       ${send}; sleep 0.2; ${count}; rate 100k alice; ${send}; sleep 0.5; ${count}; rate 0 alice; ${send}; sleep 0.2; ${count}`,
    );
    expect(stderr).toBe("");
    const [free, slow, again] = stdout.trim().split("\n").map(Number);
    expect({ free, isFreeAgain: again >= 100 }).toEqual({ free: 100, isFreeAgain: true }); // some come late
    expect(slow).toBeWithin(10, 40); // 16 kB at once, then 12.5 in each second, of which 100 ms may wait
  });

  test.skipIf(!HAS_NETEM)(`delay: an answer takes twice as long (needs netem)`, async () => {
    const { stdout, stderr } = await run(
      "delay 50; rate 1M; alice ping -4 -q -c 1 bob | sed -n 's/^rtt.*= \\([0-9]*\\).*/\\1/p'",
    );
    expect({ stderr, isLate: Number(stdout) >= 100 }).toEqual({ stderr: "", isLate: true });
  });

  test.skipIf(HAS_NETEM)("delay, without netem: one sentence (needs a kernel without netem)", async () => {
    expect(await run("delay 50 bob; echo $?; alice ping -4 -q -c 1 bob >/dev/null; echo $?")).toEqual({
      code: 0,
      stdout: "1\n0\n",
      stderr: "error: this kernel cannot delay packets: it has no netem (ENOSYS)\n",
    });
  });

  test(`a firewall: silence, and no more when it is gone ${NEEDS}`, async () => {
    const ask = "alice socat -u OPEN:/dev/null tcp4:carol:5000,connect-timeout=0.3 2>&1 | sed 's/.*: //'";
    const { stdout } = await run(
      `${ask}; block carol 5000; ${ask}; unblock carol 5000; unblock carol 5000; ${ask}`,
    );
    expect(stdout).toBe("Connection refused\nConnection timed out\nConnection refused\n");
  });

  test(`wire draws what a host sees ${NEEDS}`, async () => {
    const { code, stdout } = await run(
      "wire bob --port 7788 --count 1 >/run/lab/tmp/ladder & " +
        "until grep -q listening /run/lab/tmp/ladder; do sleep 0.02; done; " +
        "alice bun scripts/udp/send.ts --host bob 你好 >/dev/null; wait; cat /run/lab/tmp/ladder",
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^listening on eth0\n +198\.51\.100\.1:\d+ +198\.51\.100\.2:7788\n.*UDP {2}6 bytes {2}"你好"/,
    );
  });

  test(`a wrong word: one line, the right exit code ${NEEDS}`, async () => {
    const hosts = "hint: alice, bob, carol, dave, erin, server\n";
    const hint = "hint: alice, bob, carol, dave, erin, server, router, nat1, nat2\n";
    const table: [line: string, code: number, stderr: string][] = [
      ["down bbo", 1, `error: bbo: no such host (ENOENT)\n${hint}`],
      ["up bbo", 1, `error: bbo: no such host (ENOENT)\n${hint}`],
      ["loss 20 bbo", 1, `error: bbo: no such host (ENOENT)\n${hosts}`],
      ["rate 1M router", 1, `error: router: no such host (ENOENT)\n${hosts}`],
      ["block bbo 5000", 1, `error: bbo: no such host (ENOENT)\n${hint}`],
      ["wire bbo", 1, `error: bbo: no such host (ENOENT)\n${hint}`],
      ["down", 2, "error: usage: down HOST\n"],
      ["down alice bob", 2, "error: usage: down HOST\n"],
      ["loss", 2, "error: usage: loss PERCENT [HOST]\n"],
      ["loss much", 2, "error: much: no number from 0 to 100 for a percentage (EINVAL)\n"],
      ["loss 101", 2, "error: 101: no number from 0 to 100 for a percentage (EINVAL)\n"],
      ["loss -1", 2, "error: -1: no number from 0 to 100 for a percentage (EINVAL)\n"],
      ["delay 1.5", 2, "error: 1.5: no number from 0 to 10000 for a delay in ms (EINVAL)\n"],
      ["rate fast", 2, "error: fast: no rate like 500k or 1M (EINVAL)\n"],
      ["rate k", 2, "error: k: no rate like 500k or 1M (EINVAL)\n"],
      ["block carol http", 2, "error: http: no number from 0 to 65535 for a port (EINVAL)\n"],
      ["block carol 70000", 2, "error: 70000: no number from 0 to 65535 for a port (EINVAL)\n"],
      ["unblock carol", 2, "error: usage: unblock HOST PORT\n"],
    ];
    const { stdout, stderr } = await run(table.map(([line]) => `${line}; echo $?`).join("; "));
    expect(stdout).toBe(table.map(([, code]) => `${code}\n`).join(""));
    expect(stderr).toBe(table.map(([, , text]) => text).join(""));
  });

  /** All namespaces in which a process is. */
  const namespaces = () =>
    new Set(
      readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((pid) =>
        KINDS.flatMap((kind) => {
          try {
            return [readlinkSync(`/proc/${pid}/ns/${kind}`)];
          } catch {
            return [];
          }
        })
      ),
    );

  const PARTS: [what: string, command: RegExp][] = [
    ["make", /^make /],
    ["the program that made it", /^bun tests|bin\/bun tests/],
    ["unshare", /^unshare /],
    ["the first process inside", /^cat$/],
    ["nsenter", /^nsenter /],
    ["a host's program", /^sleep /],
  ];
  for (const [what, command] of PARTS) {
    test(`SIGKILL of ${what}: nothing is left ${NEEDS}`, async () => {
      await using folder = temporaryFolder();
      await using program = start(["make", "-s", "-o", "setup", "lab"], { // what is installed stays as it is
        env: { RUN: "echo here; alice sleep 1000", TMPDIR: folder.path },
        limit: LIMIT,
      });
      expect(await program.next()).toBe("here");
      const find = (command: RegExp) => program.orphans().filter((one) => command.test(one.command)); // and itself
      const end = Date.now() + 10_000;
      while ((find(/^sleep /).length === 0 || find(/^cat$/).length === 0) && Date.now() < end) {
        await Bun.sleep(10);
      }
      const [keeper] = find(/^cat$/);
      const own = KINDS.map((kind) => readlinkSync(`/proc/${keeper.pid}/ns/${kind}`));
      // The kernel gives the number of a namespace that has gone to the next one: held open, it stays ours.
      using open = new DisposableStack();
      for (const kind of KINDS) open.adopt(openSync(`/proc/${keeper.pid}/ns/${kind}`, "r"), closeSync);
      const victims = find(command);
      expect({ victims, all: program.orphans() }).toEqual({
        victims: [expect.anything()],
        all: expect.anything(),
      });
      process.kill(victims[0].pid, "SIGKILL");
      expect(await program.ended()).not.toBe(0);
      const left = () => [...program.orphans(), ...own.filter((name) => namespaces().has(name))];
      for (const end = Date.now() + 10_000; left().length > 0 && Date.now() < end;) await Bun.sleep(10);
      expect(left()).toEqual([]);
      expect(readdirSync(folder.path)).toEqual([]);
      expect(existsSync("/run/lab")).toBe(false);
    });
  }

  test(`Ctrl-C ends it ${NEEDS}`, async () => {
    await using program = start(LAB, { env: { RUN: "echo here; alice sleep 1000" }, limit: LIMIT });
    expect(await program.next()).toBe("here");
    program.signal("SIGINT");
    expect(await program.ended()).toBe(130);
    expect(program.orphans()).toEqual([]);
  });

  test(`where the system forbids namespaces, one sentence and the way out ${NEEDS}`, async () => {
    const words = [
      "unshare",
      "-Ur",
      "sh",
      "-c",
      'echo 0 >/proc/sys/user/max_net_namespaces; exec "$@"',
      "sh",
      ...LAB,
    ];
    expect(await run("echo no", words)).toEqual({
      code: 1,
      stdout: "",
      stderr: "error: make lab: this system does not let you make network namespaces (ENOSYS)\n" +
        "hint: as root: sysctl user.max_net_namespaces=10000\n",
    });
  });
});

test("where a tool is missing, one sentence", () => {
  const env = { PATH: join(ROOT, "node_modules", ".bin"), RUN: "echo no" };
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, "tests/commands/lab.ts"], {
    cwd: ROOT,
    env,
  });
  expect({ exitCode, stdout: `${stdout}`, stderr: `${stderr}` }).toEqual({
    exitCode: 1,
    stdout: "",
    stderr: process.platform === "linux"
      ? "error: make lab: unshare, nsenter, mount, ip, tc, nft: not found (ENOSYS)\n" +
        "hint: install util-linux, iproute2 and nftables\n"
      : `error: make lab: network namespaces are a part of Linux, and this is ${process.platform} (ENOSYS)\n`,
  });
});

test("a lesson that is not shown between hosts, and one that is none", async () => {
  const { code, stderr } = await start(LAB, { env: { L: "1.1" } }).result();
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: "error: L=1.1: not shown between hosts (ENOENT)\nhint: 2.1, 2.4, 2.5, 3.1, 3.4, 4.2, 4.3, 4.4\n",
  });
  expect((await start(LAB, { env: { L: "9.9" } }).result()).stderr).toStartWith(
    "error: L=9.9: no such lesson",
  );
});
