/** Lesson 4.3: the same answers as nmap, and what could make them false. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { ConnectEx } from "../../scripts/apps/port-scan/connect-ex.ts";
import { Pace } from "../../scripts/apps/port-scan/pace.ts";
import { Refusals } from "../../scripts/apps/port-scan/refusals.ts";
import { Results } from "../../scripts/apps/port-scan/results.ts";
import { type Listener, Scan } from "../../scripts/apps/port-scan/scan.ts";
import { hasNamespaces, type Host, privateNetwork, shell } from "../engine/network.ts";
import {
  EVERYTHING,
  EVERYWHERE,
  type Program,
  type Result,
  ROOT,
  type Runtime,
  RUNTIMES,
  script,
  start,
} from "../engine/program.ts";
import { HAS_IPV6, inTime, isRead, listen } from "../engine/sockets.ts";
import { terminal } from "../engine/terminal.ts";

setDefaultTimeout(60_000); // what hangs is told by program.ts

const SCAN = "scripts/apps/port-scan.ts";

/** Scans from a host of a private network, where at most so many files may be open. */
function scanFrom(host: Host, runtime: Runtime, words: string[], files = 1024): Program {
  const limited = ["sh", "-c", `ulimit -n ${files}; exec "$@"`, "sh"];
  return start([...host, ...limited, ...RUNTIMES[runtime], SCAN, ...words], { limit: 50_000 });
}

/** Gives a host a firewall: rules for what comes in, as nft(8) writes them. */
function firewall(host: Host, rules: string): Promise<string> {
  const chain = `chain input {\ntype filter hook input priority 0\n${rules}\n}`;
  return shell(host, `nft -f - <<END\ntable inet firewall {\n${chain}\n}\nEND`);
}

/** Listens on ports of a host, on every address, and closes each connection. */
async function listenOn(host: Host, ports: number[]): Promise<Program> {
  const code = `
    const { createServer } = require("node:net");
    let left = ${ports.length};
    for (const port of ${JSON.stringify(ports)}) {
      createServer((socket) => socket.on("error", () => {}).end())
        .listen(port, () => { if (--left === 0) console.log("here") });
    }`;
  const program = start([...host, "bun", "-e", code]);
  expect(await program.next()).toBe("here");
  return program;
}

/** Listens on 100 ports, and sends away who calls. */
const PYTHON = `
from selectors import *
from socket import *
from struct import pack
waiting = DefaultSelector()
for _ in range(100):
    server = socket()
    server.bind(("127.0.0.1", 0))
    server.listen(128)
    waiting.register(server, EVENT_READ)
print(",".join(str(key.fileobj.getsockname()[1]) for key in waiting.get_map().values()), flush=True)
while True:
    for key, _ in waiting.select():
        caller, _ = key.fileobj.accept()
        try:
            GOODBYE
        except OSError:
            pass
        caller.setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))  # close is a reset
        caller.close()
`;

type Port = { port: number; state: string; reason: string };

/** What nmap finds, closed ports as well if they are few. */
async function nmap(host: Host, words: string[]): Promise<Port[]> {
  const command = [...host, "nmap", "-sT", "-n", "-Pn", "-oX", "-", ...words];
  const { stdout } = await start(command, { limit: 50_000 }).result();
  const rows = stdout.matchAll(/portid="(\d+)"><state state="(\w+)" reason="([\w-]+)"/g);
  return Array.from(rows, ([, port, state, reason]) => ({ port: Number(port), state, reason }));
}

/** The ports that a scan with --json has found, as nmap tells them. */
function portsOf({ stdout }: Result): Port[] {
  return JSON.parse(stdout).ports.map(({ port, state, reason }: Port) => ({ port, state, reason }));
}

const summary = (asked: number, open: number, closed: number, filtered = 0) =>
  `${asked} port${asked === 1 ? "" : "s"}: ${open} open, ${closed} closed, ${filtered} filtered`;

for (const runtime of EVERYWHERE) {
  test(`open and closed, for people and for programs, on ${runtime}`, async () => {
    await using listener = await listen();
    const words = ["localhost", `${listener.port},1,1-2`];
    await using scan = script("apps/port-scan", words, { runtime });
    expect(await scan.result()).toEqual({
      code: 0,
      stdout: `127.0.0.1:${listener.port}  open  -\n${summary(3, 1, 2)}\n`,
      stderr: "",
    });
    await using json = script("apps/port-scan", [...words, "--json"], { runtime });
    const { code, stdout, stderr } = await json.result();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(JSON.parse(stdout)).toEqual({
      host: "localhost",
      address: "127.0.0.1",
      asked: 3,
      scanned: 3,
      counts: { open: 1, closed: 2, filtered: 0 },
      ports: [{ port: listener.port, state: "open", reason: "syn-ack", service: null }],
    });
  });

  test.skipIf(!HAS_IPV6)(`IPv6, and nothing open, on ${runtime} (needs IPv6)`, async () => {
    await using listener = await listen(0, "::1");
    await using scan = script("apps/port-scan", ["::1", `${listener.port}`], { runtime });
    expect(await scan.result()).toEqual({
      code: 0,
      stdout: `[::1]:${listener.port}  open  -\n${summary(1, 1, 0)}\n`,
      stderr: "",
    });
    await using nothing = script("apps/port-scan", ["::1", "1"], { runtime });
    expect(await nothing.result()).toEqual({ code: 0, stdout: `${summary(1, 0, 1)}\n`, stderr: "" });
  });

  test(`banners: of one who talks, one who is silent, one who never ends, on ${runtime}`, async () => {
    await using talker = await listen();
    await using silent = await listen();
    await using endless = await listen();
    await using first = script("apps/port-scan", [
      "127.0.0.1",
      `${talker.port}`,
      "--banner",
      "--timeout",
      "20000",
    ], {
      runtime,
    });
    const caller = await talker.accept();
    await caller.send(Buffer.from([0xe4, 0xbd])); // the first bytes of 你
    await isRead(caller);
    await caller.send(Buffer.from([0xa0, 0x0d, 0x0a])); // the end of a line is not waited behind
    expect((await first.result()).stdout).toStartWith(`127.0.0.1:${talker.port}  open  -  你\n`);
    const ports = [silent.port, endless.port];
    const words = ["127.0.0.1", ports.join(), "--banner", "--json", "--timeout", "500"];
    await using scan = script("apps/port-scan", words, { runtime });
    const drip = await endless.accept();
    await drip.send("a");
    const dripping = setInterval(() => drip.send("a").catch(() => {}), 50);
    try {
      const asked = await silent.accept();
      await asked.expect("HEAD / HTTP/1.0\r\n\r\n");
      const { code, stdout, stderr } = await scan.result();
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      const banners = JSON.parse(stdout).ports.map(({ port, banner }: { port: number; banner: string }) => [
        port,
        banner,
      ]);
      expect(Object.fromEntries(banners)).toEqual({
        [silent.port]: "",
        [endless.port]: expect.stringMatching(/^a{1,256}$/),
      });
    } finally {
      clearInterval(dripping);
    }
  });

  test(`a banner that is no text is told with its port, also of one who has hung up, on ${runtime}`, async () => {
    await using listener = await listen();
    const words = ["127.0.0.1", `${listener.port}`, "--banner"];
    await using scan = script("apps/port-scan", words, { runtime });
    const caller = await listener.accept();
    await caller.send(Uint8Array.of(0x61, 0xff));
    caller.hangUp();
    const { code, stdout, stderr } = await scan.result();
    expect(stdout).toStartWith(`127.0.0.1:${listener.port}  open  -  a\uFFFD\n`);
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: `error: 127.0.0.1:${listener.port}: bytes that are not valid utf-8, shown as \uFFFD (EILSEQ)\n`,
    });
  });

  test(`the banner of a web server, on ${runtime}`, async () => {
    using server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("hello") });
    const words = ["127.0.0.1", `${server.port}`, "--banner", "--timeout", "3000"];
    await using scan = script("apps/port-scan", words, { runtime });
    const { code, stdout } = await scan.result();
    expect(code).toBe(0);
    expect(stdout).toStartWith(`127.0.0.1:${server.port}  open  -  HTTP/1.1 200 OK\\r\\n`);
    expect(stdout.split("\n").length).toBe(3);
  });

  for (const [how, goodbye] of [["a reset", ""], ["a close and a reset", "caller.shutdown(SHUT_WR)"]]) {
    test.skipIf(!Bun.which("python3"))(
      `a port that answers with ${how} is open, on ${runtime} (needs python3)`,
      async () => {
        // Python, because it is faster than the scan: the call is over before the scan looks.
        await using server = start(["python3", "-c", PYTHON.replace("GOODBYE", goodbye || "pass")]);
        const list = await server.next() ?? "";
        await using scan = script("apps/port-scan", ["127.0.0.1", `${list},1`], { runtime });
        const { code, stdout, stderr } = await scan.result();
        expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
        expect(stdout).toEndWith(`\n${summary(101, 100, 1)}\n`);
      },
    );
  }

  test(`Ctrl-C prints what is known so far, on ${runtime}`, async () => {
    await using one = await listen();
    await using other = await listen();
    const [first, second] = [one, other].sort((a, b) => a.port - b.port);
    const list = `1,${first.port},${second.port}`;
    const words = ["127.0.0.1", list, "--banner", "--timeout", "60000", "--concurrency", "1"];
    await using scan = script("apps/port-scan", words, { runtime });
    await (await first.accept()).send("hello\n");
    await second.accept(); // it waits for a word
    scan.signal("SIGINT");
    const { code, stdout, stderr } = await scan.result();
    expect({ code, stderr }).toEqual({ code: 130, stderr: "" });
    expect(stdout).toStartWith(`127.0.0.1:${first.port}  open  -  hello\n`);
    expect(stdout).toMatch(/\n(2 of 3 ports: 1|3 ports: 2) open, 1 closed, 0 filtered\n$/);
  });
}

test("a hostile banner drives no terminal, and a program gets it as it is", async () => {
  const hostile = "\x1b[2J\x1b]0;title\x07\u009b2J\u202egnp.exe\u2028\x7f\r\n";
  for (const format of [[], ["--json"]]) {
    await using listener = await listen();
    const words = ["127.0.0.1", `${listener.port}`, "--banner", ...format];
    await using scan = script("apps/port-scan", words);
    const line = await listener.accept();
    await line.send(Buffer.concat([Buffer.from([0xff]), Buffer.from(hostile)]));
    const { code, stdout, stderr } = await scan.result();
    expect(code).toBe(0);
    expect(stderr).toBe(
      `error: 127.0.0.1:${listener.port}: bytes that are not valid utf-8, shown as \uFFFD (EILSEQ)\n`,
    );
    expect(stdout.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/u);
    if (format.length > 0) expect(JSON.parse(stdout).ports[0].banner).toBe(`\uFFFD${hostile.trimEnd()}`);
    else expect(stdout).toContain("\uFFFD\\x1b[2J\\x1b]0;title\\x07\\x9b2J\\u202egnp.exe\\u2028\\x7f\n");
  }
});

test("a banner of a megabyte is cut, between two characters, and its end is not waited for", async () => {
  await using listener = await listen();
  const words = ["127.0.0.1", `${listener.port}`, "--banner", "--timeout", "60000"];
  await using scan = script("apps/port-scan", words);
  const line = await listener.accept();
  line.send("你".repeat(400_000)).catch(() => {}); // not all of it is taken
  expect(await scan.result()).toEqual({
    code: 0,
    stdout: `127.0.0.1:${listener.port}  open  -  ${"你".repeat(85)}\n${summary(1, 1, 0)}\n`, // of 3 bytes each
    stderr: "",
  });
});

test("a wrong list of ports", async () => {
  for (
    const list of ["0", "65536", "5-1", "a", "1,,2", "1-", "-5", "", "1-2-3", "0x50", "1 2", "99999999999"]
  ) {
    await using scan = script("apps/port-scan", ["127.0.0.1", "--", list]);
    expect(await scan.result()).toEqual({
      code: 2,
      stdout: "",
      stderr: `error: ${list}: no list of ports from 1 to 65535 (EINVAL)\n` +
        "hint: a list is 80, or 1-1024, or 1-1024,8080, or all\n",
    });
  }
  for (
    const [words, error] of [[[], "HOST: is needed"], [["a", "1", "2"], "2: unexpected argument"]] as const
  ) {
    await using scan = script("apps/port-scan", [...words]);
    const { code, stdout, stderr } = await scan.result();
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toStartWith(`error: ${error} (EINVAL)\n`);
  }
});

test("a proxy is not asked", async () => {
  await using proxy = await listen();
  const url = `http://127.0.0.1:${proxy.port}`;
  const env = { http_proxy: url, HTTP_PROXY: url, no_proxy: "example.com", NO_PROXY: "example.com" };
  await using scan = script("apps/port-scan", ["127.0.0.1", "1", "--timeout", "500"], { env });
  expect(await scan.result()).toEqual({ code: 0, stdout: `${summary(1, 0, 1)}\n`, stderr: "" });
});

test.skipIf(process.platform !== "linux")(
  "a refusal that is none is found out, although another program was refused (needs Linux)",
  async () => {
    let isFirst = true;
    await using listener = createServer((socket) => {
      socket.on("error", () => {});
      if (isFirst) socket.resetAndDestroy();
      else socket.once("data", () => socket.resetAndDestroy()); // before, `fetch` may be connecting
      isFirst = false;
    });
    await once(listener.listen(0, "127.0.0.1"), "listening");
    const { port } = listener.address() as AddressInfo;
    const refusals = new Refusals("127.0.0.1", 1000, false, new AbortController().signal);
    await once(connect(port, "127.0.0.1").resume(), "close").catch(() => {}); // Bun may call it a refusal
    await once(connect(1, "127.0.0.1"), "close").catch(() => {}); // that of the other program
    refusals.add(port);
    expect(await refusals.settle()).toEqual([{ port, code: "ECONNRESET" }]);
    // After Ctrl-C nothing is asked any more, and what is not known is not told.
    await using silent = await listen();
    const stop = new AbortController();
    const last = new Refusals("127.0.0.1", 60_000, false, stop.signal);
    for (let count = 0; count < 60; count++) last.add(silent.port);
    const settled = last.settle();
    await silent.accept();
    stop.abort();
    expect(await inTime(settled, "the end")).toEqual([]);
  },
);

test.skipIf(process.platform !== "linux")(
  "connect(2) itself: an open port, a closed one, and one open file for all that are closed (needs Linux)",
  async () => {
    for (const host of HAS_IPV6 ? ["127.0.0.1", "::1"] : ["127.0.0.1"]) {
      await using listener = await listen(0, host);
      using connectEx = await ConnectEx.to(host);
      const answers: string[] = [];
      let closed = 0;
      const ask = (port: number) =>
        new Promise<void>((resolve) => {
          const answered: Listener["answered"] = (code, socket) => {
            answers.push(code || `${socket?.remotePort}`);
            socket?.destroy();
          };
          connectEx?.ask(port, { answered, closed: () => resolve(void closed++) });
        });
      const before = readdirSync("/proc/self/fd").length;
      for (const port of [1, listener.port, ...Array.from({ length: 300 }, () => 1)]) await ask(port);
      expect(answers.splice(0, 2)).toEqual(["ECONNREFUSED", `${listener.port}`]);
      expect(new Set(answers)).toEqual(new Set(["ECONNREFUSED"]));
      expect(closed).toBe(302);
      expect(readdirSync("/proc/self/fd").length).toBeLessThan(before + 10);
    }
    expect(await ConnectEx.to("192.0.2.1")).toBeUndefined();
  },
);

test.skipIf(process.platform !== "linux")(
  "connect(2) itself, where no more files may be open, is told as that (needs Linux)",
  async () => {
    const code = `
      const { ConnectEx } = await import(process.argv[1]);
      const { openSync } = await import("node:fs");
      using connectEx = await ConnectEx.to("127.0.0.1");
      try { while (true) openSync("/dev/null", "r"); } catch {}
      connectEx.ask(1, { answered: console.log, closed: () => console.log("closed") });`;
    const path = join(ROOT, "scripts/apps/port-scan/connect-ex.ts");
    await using program = start(["sh", "-c", 'ulimit -n 200; exec bun -e "$@"', "sh", code, path]);
    expect(await program.result()).toEqual({ code: 0, stdout: "EMFILE\nclosed\n", stderr: "" });
  },
);

test("a scan whose answers all come at once lets others have their turn, and keeps no error from its stack", async () => {
  const ports = Array.from({ length: 65_535 }, (_, index) => index + 1);
  const taken: number[] = [];
  let turns = 0;
  const other = setImmediate(function again() {
    turns += 1;
    if (taken.length < ports.length) setImmediate(again);
  });
  const limit = Error.stackTraceLimit;
  const scan = new Scan({
    host: "127.0.0.1",
    width: 100,
    timeout: 1000,
    retries: 0,
    tellsRefusals: true,
    ask(_, { answered, closed }) {
      answered("ECONNREFUSED");
      closed();
      return { destroy() {} };
    },
    take: ({ port }) => taken.push(port),
    begin() {},
    warn() {},
  }, new AbortController().signal);
  await scan.run(ports);
  clearImmediate(other);
  expect(taken.toSorted((a, b) => a - b)).toEqual(ports);
  expect(turns).toBeGreaterThan(30);
  expect(Error.stackTraceLimit).toBe(limit);
});

test("the pace: faster while all is well, half as fast once for each loss that is news, and never below ten", () => {
  /** How many connections may be made in a second from now. */
  const rate = (pace: Pace, from: number) => {
    let made = 0;
    for (let ms = 0; ms < 1000; ms++) while (made < 100_000 && pace.mayGo(from + ms)) made++;
    return made;
  };
  const pace = new Pace(1500);
  expect([pace.patience, pace.batch]).toEqual([1500, 10]);
  expect(rate(pace, 0)).toBeWithin(170, 206); // 200 a second, at first
  expect(pace.lost(0, 1000)).toBe("slower");
  expect(rate(pace, 1000)).toBeWithin(85, 106);
  expect(pace.lost(999, 2000)).toBe("old news"); // it was under way already
  expect(rate(pace, 2000)).toBeWithin(85, 106);
  expect(pace.lost(2000, 3000)).toBe("slower");
  expect(rate(pace, 3000)).toBeWithin(42, 56);
  for (let count = 0; count < 50; count++) pace.answered(20);
  expect(pace.patience).toBe(100); // the shortest
  expect(rate(pace, 4000)).toBeWithin(50, 67); // ten more for fifty answers
  const lost = ["slower", "slower", "slower", "slowest", "slowest"] as const;
  expect(lost.map((_, at) => pace.lost(5000 + 1000 * at, 5000 + 1000 * at))).toEqual([...lost]);
  expect(rate(pace, 10_000)).toBeWithin(8, 12);
  pace.reset();
  expect(rate(pace, 11_000)).toBeWithin(170, 206);
  const fresh = new Pace(1500);
  fresh.answered(400);
  expect(fresh.patience).toBe(1200); // 400 and four times 200
  for (let count = 0; count < 60; count++) fresh.answered(400);
  expect(fresh.patience).toBeWithin(400, 402);
  expect([fresh.batch, rate(fresh, 0)]).toEqual([50, 100_000]); // no limit any more
});

test("while the program itself stands still, no port runs out of time", async () => {
  const codes: string[] = [];
  const { now } = performance;
  let [looks, pause] = [0, 0];
  performance.now = () => now.call(performance) + (++looks > 3 ? pause = 60_000 : 0); // a minute, at the third look
  try {
    const scan = new Scan({
      ...{ host: "127.0.0.1", width: 1, timeout: 1000, retries: 0, tellsRefusals: true },
      ask(_, { answered, closed }) {
        const answer = () => (answered("ECONNREFUSED"), closed());
        const timer = setInterval(() => pause && (clearInterval(timer), setTimeout(answer, 30)), 1);
        return { destroy: () => clearInterval(timer) };
      },
      take: ({ code }) => codes.push(code),
      begin() {},
      warn() {},
    }, new AbortController().signal);
    await scan.run([7]);
  } finally {
    performance.now = now;
  }
  expect(codes).toEqual(["ECONNREFUSED"]);
});

test("an unknown host", async () => {
  await using scan = script("apps/port-scan", ["no.such.invalid"]);
  const { code, stdout, stderr } = await scan.result();
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toStartWith("error: look up no.such.invalid: ");
});

test.skipIf(process.platform === "win32")(
  "a person sees how far it is, and then only the answer (needs a pseudo-terminal)",
  async () => {
    await using person = terminal(["bun", SCAN, "127.0.0.1", "1"]);
    expect(await person.ended()).toBe(0);
    expect(person.written).toContain("100%");
    expect(person.screen.trimEnd()).toBe(summary(1, 0, 1));
  },
);

test.skipIf(process.platform === "win32")(
  "a banner that is no text is told when the bar has gone (needs a pseudo-terminal)",
  async () => {
    await using binary = createServer((socket) =>
      socket.on("error", () => {}).end(Buffer.of(0x4a, 0, 0xff, 0xfe, 10))
    );
    await once(binary.listen(0, "127.0.0.1"), "listening");
    const { port } = binary.address() as AddressInfo;
    await using person = terminal(["bun", SCAN, "127.0.0.1", `1,${port}`, "--banner"]);
    expect(await person.ended()).toBe(0);
    const lines = person.screen.trimEnd().split("\n");
    expect(lines.map((line) => line.trimEnd())).toEqual([
      `error: 127.0.0.1:${port}: bytes that are not valid utf-8, shown as \uFFFD (EILSEQ)`,
      `127.0.0.1:${port}  open  -  J\\x00\uFFFD\uFFFD`,
      summary(2, 1, 1),
    ]);
  },
);

/** How a test that needs a private network, and more, is told. */
const has = (...programs: string[]) => hasNamespaces && programs.every((name) => Bun.which(name));

for (const runtime of EVERYWHERE) {
  if (EVERYTHING) {
    test.skipIf(!has("nmap"))(
      `as nmap: none is missed, none invented, with 256 open files, on ${runtime} (needs unshare, nmap)`,
      async () => {
        await using network = await privateNetwork(1);
        const [host] = network.hosts;
        // Some where the system takes the ports of callers from (man 7 ip, ip_local_port_range).
        const ports = [1, 22, 80, 1024, 8080, 32768, 40000, 40001, 45555, 50001, 60999, 65535];
        await using _ = await listenOn(host, ports);
        const list = "1-65535";
        const words = ["127.0.0.1", list, "--json", "--concurrency", "1000"];
        await using scan = scanFrom(host, runtime, words, 256);
        const result = await scan.result();
        expect(result.stderr).toMatch(
          runtime === "deno"
            ? /^hint: 128 connections at once, not 1000: with more, Deno delays answers\n$/
            : /^hint: 2\d\d connections at once, not 1000: at most 256 files may be open\n$/,
        );
        const open = ports.map((port) => ({ port, state: "open", reason: "syn-ack" }));
        expect(await nmap(host, ["-p", list, "127.0.0.1"])).toEqual(open);
        expect(portsOf(result)).toEqual(open);
        const { asked, counts, ports: [, second] } = JSON.parse(result.stdout);
        expect(second).toEqual({ port: 22, state: "open", reason: "syn-ack", service: "ssh" });
        expect(counts).toEqual({ open: 12, closed: asked - 12, filtered: 0 });
      },
    );
  }

  test.skipIf(!has())(`more calls than open files, on ${runtime} (needs unshare)`, async () => {
    await using network = await privateNetwork(1);
    const [host] = network.hosts;
    await using _ = await listenOn(host, Array.from({ length: 500 }, (_, index) => 20_000 + index));
    await using scan = scanFrom(host, runtime, ["127.0.0.1", "20000-20999", "--concurrency", "1000"], 100);
    expect((await scan.result()).stdout).toEndWith(`${summary(1000, 500, 500)}\n`);
  });

  test.skipIf(!has())(`a call that meets itself is no open port, on ${runtime} (needs unshare)`, async () => {
    await using network = await privateNetwork(1);
    const [host] = network.hosts;
    await shell(host, "echo 50000 50000 >/proc/sys/net/ipv4/ip_local_port_range");
    // The only port that the system can give to a caller is the one that is called.
    await using scan = scanFrom(host, runtime, ["127.0.0.1", "50000"]);
    expect(await scan.result()).toEqual({ code: 0, stdout: `${summary(1, 0, 1)}\n`, stderr: "" });
  });

  if (EVERYTHING) {
    test.skipIf(!has("nft"))(
      `a call that got lost is repeated, and many silent ports are counted, on ${runtime} (needs unshare, nft)`,
      async () => {
        await using network = await privateNetwork(1);
        const [host] = network.hosts;
        await using _ = await listenOn(host, [1000, 1001, 1002]);
        // The first SYN has 60 bytes, the second one comes through; at port 1000, the eleventh.
        await firewall(
          host,
          `tcp dport 1000 counter quota until 600 bytes drop
           tcp dport 1001 quota until 100 bytes drop
           tcp dport 1002 quota until 100 bytes drop
           tcp dport 2000-2299 drop`,
        );
        // The system repeats the SYN after a second: that one is answered.
        await using patient = scanFrom(host, runtime, [
          "127.0.0.1",
          "1002",
          "--retries",
          "0",
          "--timeout",
          "5000",
        ]);
        expect(await patient.result()).toEqual({
          code: 0,
          stdout: `127.0.0.1:1002  open  -\n${summary(1, 1, 0)}\n`,
          stderr: "",
        });
        const words = ["127.0.0.1", "--timeout", "300"]; // before the system repeats the SYN itself
        const begin = performance.now();
        await using once = scanFrom(host, runtime, [...words, "1000", "--retries", "0"]);
        expect(await once.result()).toEqual({
          code: 0,
          stdout: `127.0.0.1:1000  filtered  -  no-response\n${summary(1, 0, 0, 1)}\n`,
          stderr: "hint: the machine is off, or a firewall drops what comes\n",
        });
        const [, calls] = /dport 1000 counter packets (\d+)/.exec(await shell(host, "nft list ruleset")) ??
          [];
        const repeated = Math.floor((performance.now() - begin) / 1000); // by the system, at most
        expect(Number(calls)).toBeWithin(1, 2 + repeated);
        await using scan = scanFrom(host, runtime, [...words, "1001,1999-2299"], 256);
        expect(await scan.result()).toEqual({
          code: 0,
          stdout: `127.0.0.1:1001  open  -\n${summary(302, 1, 1, 300)}, which --json lists\n`,
          stderr: "",
        });
      },
    );

    test.skipIf(!has("nft"))(
      `as long as asking again brings an answer, the silent ports are asked again, on ${runtime} ` +
        "(needs unshare, nft)",
      async () => {
        await using network = await privateNetwork(1);
        const [host] = network.hosts;
        await using _ = await listenOn(host, [1001, 1002]);
        // 1001 answers in the second round. 1002, to which go two SYN in each, since the system repeats that of the last
        // one after a second, answers only in the third.
        await firewall(
          host,
          `tcp flags syn / syn,ack tcp dport 1001 numgen inc mod 9 < 2 drop
           tcp flags syn / syn,ack tcp dport 1002 numgen inc mod 9 < 4 drop`,
        );
        await using scan = scanFrom(host, runtime, ["127.0.0.1", "1001-1010"]);
        const { code, stdout } = await scan.result();
        expect({ code, open: stdout.match(/\d+(?= +open )/g) }).toEqual({ code: 0, open: ["1001", "1002"] });
      },
    );
  }

  if (EVERYTHING) {
    const rate = "tcp flags syn / syn,ack limit rate over 100/second drop";
    for (
      const [what, rules, closed] of [
        ["closed", "", 295],
        ["filtered", "tcp dport 1-300 tcp dport != { 3, 22, 150, 299, 300 } drop", 0],
      ] as const
    ) {
      test.skipIf(!has("nft"))(
        `a firewall that lets 100 SYN a second through, the rest ${what}: none is missed, on ${runtime} ` +
          "(needs unshare, nft)",
        async () => {
          await using network = await privateNetwork(1);
          const [host] = network.hosts;
          await using _ = await listenOn(host, [3, 22, 150, 299, 300]);
          await firewall(host, `${rate}\n${rules}`);
          await using scan = scanFrom(host, runtime, ["127.0.0.1", "1-300"]);
          const { code, stdout, stderr } = await scan.result();
          expect(stdout.match(/\d+(?= +open )/g)).toEqual(["3", "22", "150", "299", "300"]);
          expect(stdout).toContain(`\n${summary(300, 5, closed, 295 - closed)}`);
          const hint = "hint: answers get lost: asking more slowly, and again where none came\n";
          expect({ code, stderr }).toEqual({ code: 0, stderr: hint });
        },
      );
    }

    test.skipIf(!has("nft"))(
      `a firewall that shuts us out in the middle: what is not known is said, on ${runtime} (needs unshare, nft)`,
      async () => {
        await using network = await privateNetwork(1);
        const [host] = network.hosts;
        await firewall(host, "tcp flags syn / syn,ack quota over 6000 bytes drop"); // 100 SYN of 60 bytes
        await using scan = scanFrom(host, runtime, ["127.0.0.1", "1-300"]);
        const { code, stdout, stderr } = await scan.result();
        const [, closed, filtered] = /^300 ports: 0 open, (\d+) closed, (\d+) filtered/m.exec(stdout) ?? [];
        expect(Number(closed)).toBeWithin(90, 101); // the controls are among the 100
        expect(Number(filtered)).toBe(300 - Number(closed));
        expect({ code, stderr }).toEqual({
          code: 0,
          stderr: "hint: answers get lost: asking more slowly, and again where none came\n" +
            "hint: the machine no longer answers: it is off, or it blocks us; what is filtered may be open\n",
        });
      },
    );
  }

  test.skipIf(!has())(`no way to the machine, on ${runtime} (needs unshare)`, async () => {
    await using network = await privateNetwork(1);
    const [host] = network.hosts;
    for (const [address, shown] of [["203.0.113.5", "203.0.113.5"], ["2001:db8::1", "[2001:db8::1]"]]) {
      await using scan = scanFrom(host, runtime, [address, "1-100"]);
      expect(await scan.result()).toEqual({
        code: 1,
        stdout: `${summary(100, 0, 0, 100)}, which --json lists\n`,
        stderr: `hint: ${address} is a public address: scan only machines of your own\n` +
          `error: ${shown}: cannot be reached (ENETUNREACH)\n`,
      });
    }
  });
}

if (EVERYTHING) {
  test.skipIf(!has("nft", "nmap"))(
    "open, closed, dropped and rejected, as nmap tells them (needs unshare, nft, nmap)",
    async () => {
      await using network = await privateNetwork(2);
      const [caller, host] = network.hosts;
      await using _ = await listenOn(host, [1000, 1001, 1004]);
      await firewall(
        host,
        `tcp dport 1001 drop
         tcp dport 1002 reject
         tcp dport 1003 reject with tcp reset
         tcp dport 1004 reject with icmpx type admin-prohibited
         tcp dport 1005 reject with icmpx type host-unreachable
         tcp dport 1006 reject with icmpx type no-route`,
      );
      await shell(
        host,
        "echo 0 >/proc/sys/net/ipv4/icmp_ratelimit; echo 0 >/proc/sys/net/ipv6/icmp/ratelimit",
      );
      // From a host as near as this, a rejection may come while the system is still busy with the call, and is
      // dropped; then it is the next SYN that is rejected, a second later.
      const theirs = (...words: string[]) =>
        nmap(caller, ["--min-rtt-timeout", "2000ms", "--max-retries", "1", "-p999-1006", ...words]);
      const ours = async (runtime: Runtime, address: string) => {
        await using scan = scanFrom(caller, runtime, [address, "999-1006", "--json", "--timeout", "2500"]);
        return await scan.result();
      };
      const cards = await shell(host, "ip -6 -br addr show dev eth0 scope link");
      const near = `${/fe80:[^/]+/.exec(cards)}%eth0`; // no URL can name it: on Bun, `fetch` cannot ask
      await Promise.all([["10.9.0.2"], ["fd09::2", "-6"], [near, "-6"]].map(async ([address, ...options]) => {
        // Deno 2.9 cannot connect to a link-local address by TCP: it says EINVAL.
        const runtimes = EVERYWHERE.filter((runtime) => address !== near || runtime !== "deno");
        const [expected, ...results] = await Promise.all([
          theirs(...options, address),
          ...runtimes.map((runtime) => ours(runtime, address)),
        ]);
        expect(expected.map(({ state }) => state).join(" ")).toBe(
          "closed open filtered closed closed filtered filtered filtered",
        );
        const ports = expected.filter(({ state }) => state !== "closed");
        for (const [index, result] of results.entries()) {
          const seen = { runtime: runtimes[index], stderr: result.stderr, ports: portsOf(result) };
          expect(seen).toEqual({ runtime: runtimes[index], stderr: "", ports });
          expect(JSON.parse(result.stdout).counts).toEqual({ open: 1, closed: 3, filtered: 4 });
        }
      }));
    },
  );
}

test("a port that is asked again counts once, with its last answer", () => {
  const results = new Results("localhost", "127.0.0.1", 2);
  const answers: [port: number, code: string][] = [[80, "ETIMEDOUT"], [81, ""], [80, "ECONNREFUSED"], [
    81,
    "",
  ], [80, ""]];
  for (const [port, code] of answers) expect(results.note(port, code)).toBe(true);
  expect(results.counts).toEqual({ open: 2, closed: 0, filtered: 0 });
  results.note(80, "ECONNREFUSED");
  expect(results.counts).toEqual({ open: 1, closed: 1, filtered: 0 });
  expect(results.note(82, "EMFILE")).toBe(false); // that is about this machine
  // What Linux makes of each code of "destination unreachable" (icmp_err_convert in net/ipv4/icmp.c).
  const unreachable = [
    "ENETUNREACH",
    "EHOSTUNREACH",
    "ENOPROTOOPT",
    "EOPNOTSUPP",
    "ENOTSUP",
    "EHOSTDOWN",
    "ENONET",
    "EPROTO",
  ];
  for (const code of unreachable) expect([code, results.note(80, code)]).toEqual([code, true]);
  expect(results.counts).toEqual({ open: 1, closed: 0, filtered: 1 });
  results.note(80, "ECONNREFUSED");
  expect(results.counts).toEqual({ open: 1, closed: 1, filtered: 0 });
});
