/**
 * The contract of every script: what is the same in all lessons, row by row. A new lesson needs a row
 * in SCRIPTS, and is covered.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import process from "node:process";
import { lessons } from "../engine/lessons.ts";
import { EVERYTHING, EVERYWHERE, type Result, RUNTIMES, script, start } from "../engine/program.ts";
import { call, freePort, HAS_IPV6, isRead, letterbox, listen } from "../engine/sockets.ts";

setDefaultTimeout(60_000); // what waits in a test says itself for what it waited too long

/** What a script is, and the words without which it does not run. */
type Script = {
  /** "other": no peer to call or to wait for, or other flags than --host, --port and --encoding; see its own test. */
  kind: "udp server" | "udp client" | "tcp server" | "tcp client" | "other";
  words?: string[];
};

const SCRIPTS: Record<string, Script> = {
  "network/interfaces": { kind: "other" },
  "network/address": { kind: "other", words: ["127.0.0.1"] },
  "network/port": { kind: "other" },
  "network/connections": { kind: "other" },
  "udp/receive": { kind: "udp server" },
  "udp/send": { kind: "udp client" },
  "udp/echo-server": { kind: "udp server" },
  "udp/echo-client": { kind: "udp client" },
  "udp/chat": { kind: "udp server", words: ["--mode", "simplex"] },
  "udp/broadcast-receive": { kind: "other" },
  "udp/broadcast-send": { kind: "other" },
  "udp/multicast-receive": { kind: "other" },
  "udp/multicast-send": { kind: "other" },
  "udp/reliable-receive": { kind: "udp server", words: ["--out", "."] },
  "udp/reliable-send": { kind: "other", words: ["LICENSE"] },
  "udp/lossy-link": { kind: "other" },
  "tcp/server": { kind: "tcp server" },
  "tcp/client": { kind: "tcp client" },
  "tcp/many-clients-server": { kind: "tcp server" },
  "tcp/many-requests-server": { kind: "tcp server" },
  "tcp/dialog-client": { kind: "tcp client" },
  "tcp/time-server": { kind: "tcp server" },
  "tcp/time-client": { kind: "tcp client" },
  "tcp/close-order": { kind: "other" },
  "tcp/framing-server": { kind: "tcp server" },
  "tcp/framing-client": { kind: "tcp client" },
  "tcp/socket-calls": { kind: "other" },
  "tcp/picture-server": { kind: "tcp server", words: ["LICENSE"] },
  "tcp/picture-client": { kind: "tcp client", words: ["--out", "."] },
  "tcp/servers/sequential": { kind: "tcp server" },
  "tcp/servers/event-loop": { kind: "tcp server" },
  "tcp/servers/worker-threads": { kind: "tcp server" },
  "tcp/servers/processes": { kind: "tcp server" },
  "tcp/servers/bun-listen": { kind: "tcp server" },
  "tcp/load": { kind: "other" },
  "unix/server": { kind: "other" },
  "unix/client": { kind: "other" },
  "apps/download-basic-server": { kind: "tcp server", words: ["--root", "."] },
  "apps/download-basic-client": { kind: "tcp client", words: ["some-file"] },
  "apps/port-scan": { kind: "other", words: ["127.0.0.1"] },
  "apps/download-server": { kind: "tcp server", words: ["--root", "."] },
  "apps/download-client": { kind: "tcp client", words: ["some-file"] },
  "apps/messenger-server": { kind: "tcp server" },
  "apps/messenger-client": { kind: "tcp client", words: ["张三"] },
  "apps/sftp-server": { kind: "other", words: ["--root", "lib"] },
  "apps/sftp": { kind: "other", words: ["127.0.0.1"] }, // its host is a word; see sftp-shell.test.ts
  "raw/ping": { kind: "other", words: ["127.0.0.1"] },
  "raw/wire": { kind: "other" },
};

const LESSONS = lessons().map(({ path, head }) => ({ name: path.replace(/^scripts\/|\.ts$/g, ""), head }));

test("every script has its row", () => {
  expect(Object.keys(SCRIPTS).sort()).toEqual(LESSONS.map(({ name }) => name).sort());
});

/** Scripts of some kinds, with their words. */
function scripts(kinds: RegExp): { name: string; kind: Script["kind"]; words: string[] }[] {
  const found = Object.entries(SCRIPTS).filter(([, { kind }]) => kinds.test(kind));
  if (found.length === 0) throw new Error(`no script is a ${kinds.source}: nothing would be tested`);
  return found
    .map(([name, { kind, words = [] }]) => ({ name, kind, words }));
}

/** Those that show what all do by the same call of lib/, where time is short. */
const FIRST = ["udp/receive", "udp/send", "tcp/server", "tcp/client", "tcp/servers/processes"];
const first = (kinds: RegExp) => scripts(kinds).filter(({ name }) => EVERYTHING || FIRST.includes(name));

test("every script reads its command, and ends, by the same calls of lib/", () => {
  for (const { name } of LESSONS) {
    const source = readFileSync(`scripts/${name}.ts`, "utf8");
    const calls = [
      / = await readArguments\(import\.meta, \{/,
      /\(import\.meta\.main\) run\("(?:client|server)", /,
    ];
    expect({ name, missing: calls.filter((call) => !call.test(source)) }).toEqual({ name, missing: [] });
  }
});

/** What is printed for a wrong command. */
const usage = (name: string, what: string, why: string): Result => ({
  code: 2,
  stdout: "",
  stderr: `error: ${what}: ${why} (EINVAL)\nhint: bun scripts/${name}.ts --help shows what is possible\n`,
});

const WRONG_PORT = "a port is a whole number from 0 to 65535";

/** Wrong commands, and what is said about them. */
const WRONG = [
  { words: ["--nope"], what: "--nope", why: "unknown flag" },
  { words: ["--port", "abc"], what: "--port abc", why: WRONG_PORT },
  { words: ["--port=-1"], what: "--port -1", why: WRONG_PORT },
  { words: ["--port", "65536"], what: "--port 65536", why: WRONG_PORT },
  { words: ["--port"], what: "--port", why: "needs a value" },
  { words: ["--encoding", "latin1"], what: "--encoding latin1", why: "it is utf-8 or gbk" },
];

describe("a wrong command says what is wrong, and exits 2", () => {
  for (const { name, kind, words } of first(/./)) {
    test(name, async () => {
      const rows = EVERYTHING && kind !== "other" ? WRONG : WRONG.slice(0, 1);
      for (const { words: wrong, what, why } of rows) {
        await using program = script(name, [...words, ...wrong]);
        expect(await program.result()).toEqual(usage(name, what, why));
      }
    });
  }

  for (const runtime of EVERYWHERE) {
    test(`on ${runtime}`, async () => {
      const more = [
        { words: ["-p", "80"], what: "-p", why: "unknown flag" },
        { words: ["--help=yes"], what: "--help=yes", why: "takes no value" },
        { words: ["--port", "0x50"], what: "--port 0x50", why: WRONG_PORT },
        { words: ["--port", ""], what: "--port", why: "needs a value" },
        { words: ["--host="], what: "--host", why: "needs a value" },
      ];
      const rows = EVERYTHING ? [...WRONG, ...more] : WRONG.slice(1, 2); // lib/arguments.test.ts has them all
      for (const { words, what, why } of rows) {
        await using program = script("udp/send", words, { runtime });
        expect(await program.result()).toEqual(usage("udp/send", what, why));
      }
    });
  }

  test("unexpected argument, a word too few, a flag that is needed", async () => {
    for (
      const [name, words, what, why] of [
        ["tcp/server", ["hello"], "hello", "unexpected argument"],
        ["tcp/client", ["hello", "world"], "world", "unexpected argument"],
        ["apps/download-basic-client", [], "NAME", "is needed"],
        ["apps/download-basic-server", [], "--root", "is needed"],
        ["udp/echo-client", ["--tries", "0"], "--tries 0", "it is a whole number from 1 to 1000"],
      ] as const
    ) {
      await using program = script(name, [...words]);
      expect(await program.result()).toEqual(usage(name, what, why));
    }
  });
});

describe("--help is the head and the flags", () => {
  for (const { name, head } of EVERYTHING ? LESSONS : LESSONS.filter(({ head }) => head.number === "2.1")) {
    test(name, async () => {
      const { kind, words = [] } = SCRIPTS[name];
      await using program = script(name, [...words, "--help"]);
      const { code, stdout, stderr } = await program.result();
      const [first, , ...rest] = stdout.split("\n");
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(first).toMatch(`usage: bun scripts/${name}.ts [FLAGS]`);
      const english = head.text.replace(/^(中文|注意|试试) .*\n?( +.*\n?)*/gm, "").trimEnd();
      expect(`${rest.join("\n")}\n`).toStartWith(`${english}\n\nFlags\n`);
      const flags = [...stdout.slice(stdout.indexOf("\nFlags\n")).matchAll(/^ {2}(--\S+)/gm)].map((m) =>
        m[1]
      );
      expect(flags).toContain("--help");
      if (kind !== "other") expect(flags).toContainValues(["--host", "--port", "--encoding"]);
    });
  }
});

describe("an unknown host", () => {
  for (const { name, words } of first(/udp|tcp/)) {
    test(name, async () => {
      await using program = script(name, [...words, "--host", "no.such.invalid"]);
      const { code, stdout, stderr } = await program.result();
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      // A machine without any name server cannot know that the name does not exist (RFC 6761, 6.4).
      expect(stderr).toMatch(
        /^error: look up no\.such\.invalid: (unknown host \(ENOTFOUND\)|no name server answers \(EAI_AGAIN\))\nhint: .+\n$/,
      );
    });
  }
});

/** Hosts to listen on: how the ready line writes them, and from where they are reached. */
const HOSTS = [
  { host: "127.0.0.1", shown: "127.0.0.1" },
  { host: "localhost", shown: "127.0.0.1" },
  { host: "0.0.0.0", shown: "0.0.0.0", open: true },
  { host: "::1", shown: "[::1]", ipv6: true },
  { host: "::", shown: "[::]", ipv6: true, open: true },
];
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Whether a head shows that SIGINT ends a server, on 127.0.0.1. */
const showsInterrupt = (name: string) =>
  LESSONS.flatMap(({ head }) => head.sections).some(({ steps }) =>
    steps.some((step) => step.kind === "run" && step.command.startsWith(`bun scripts/${name}.ts`)) &&
    steps.some((step) => step.kind === "key" && step.key === "^C")
  );

describe("a server: its ready line, its end by a signal, its port that is free at once", () => {
  for (const { name, kind, words } of scripts(/server/)) {
    for (const [index, { host, shown, ipv6, open }] of HOSTS.entries()) {
      const isPlayed = HAS_IPV6 && index === 0 && showsInterrupt(name); // by lessons.test.ts, where time is short
      const isAsked = ["udp/receive", "tcp/server"].includes(name) || index % 3 === 0 && !isPlayed;
      if (!EVERYTHING && !isAsked) continue;
      const signal = SIGNALS[(index + Number(index > 2)) % 3];
      test.skipIf(Boolean(ipv6) && !HAS_IPV6)(
        `${name} --host ${host}, ${signal}${ipv6 ? " (needs IPv6)" : ""}`,
        async () => {
          const port = await freePort(); // which nobody else gets, when it is free again
          await using program = script(name, [...words, "--host", host, "--port", `${port}`]);
          await program.port();
          program.signal(signal);
          expect(await program.result()).toEqual({
            code: 0,
            stdout: `listening on ${shown}:${port}\n`,
            stderr: open
              ? `hint: ${host} is every address of this machine: the whole network can reach it\n`
              : "",
          });
          const address = host === "localhost" ? "127.0.0.1" : host;
          await using _ = await (kind === "udp server" ? letterbox : listen)(port, address);
        },
      );
    }
  }

  // On Bun an IPv4 socket can be bound to ::1, so that once a run another runtime looks.
  const others = EVERYWHERE.filter((runtime) => runtime !== "bun");
  for (const runtime of others.length > 0 ? others : ["node"] as const) {
    for (const name of ["udp/receive", "tcp/server"]) {
      if (others.length === 0 && name === "tcp/server") continue;
      test.skipIf(!HAS_IPV6)(`${name} on ${runtime} (needs IPv6)`, async () => {
        for (const [index, { host, shown, ipv6 }] of HOSTS.entries()) {
          if (others.length === 0 && !ipv6) continue;
          await using program = script(name, ["--host", host, "--port", "0"], { runtime });
          const port = await program.port();
          program.signal(SIGNALS[(index + 1) % 3]);
          const { code, stdout } = await program.result();
          expect({ code, stdout }).toEqual({ code: 0, stdout: `listening on ${shown}:${port}\n` });
        }
      });
    }
  }

  const LOADING = { bun: "--preload", node: "--import", deno: "--preload" };
  for (const runtime of EVERYWHERE) {
    for (const { name, words } of scripts(/server/)) {
      if (!EVERYTHING && !["apps/messenger-server", "tcp/server"].includes(name)) continue;
      if (name === "tcp/servers/bun-listen" && runtime !== "bun") continue;
      test.concurrent(`${name}, Ctrl-C before it listens, on ${runtime}`, async () => {
        const early = [...RUNTIMES[runtime], LOADING[runtime], "./tests/engine/fixtures/ctrl-c-at-once.ts"];
        const there = ["--host", "localhost", "--port", "0"];
        await using program = start([...early, `scripts/${name}.ts`, ...words, ...there]);
        const { code, stderr } = await program.result();
        expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      });
    }
  }

  test.skipIf(!HAS_IPV6)("on :: it is reached over IPv4 and IPv6 (needs IPv6)", async () => {
    await using receiver = script("udp/receive", ["--host", "::", "--port", "0"]);
    await using server = script("tcp/many-clients-server", ["--host", "::", "--port", "0"]);
    const [udp, tcp] = [await receiver.port(), await server.port()];
    for (const [host, shown] of [["127.0.0.1", "127.0.0.1"], ["::1", "[::1]"]]) {
      await using letters = await letterbox(0, host);
      await letters.send("hello", udp, host);
      expect(await receiver.next()).toBe(`${shown}:${letters.port} > hello`);
      using line = await call(tcp, host);
      expect(await server.next()).toBe(`${shown}:${line.socket.localPort} connected`);
      line.hangUp();
      await line.rest();
    }
  });
});

describe("a port that another program holds", () => {
  for (const { name, kind, words } of scripts(/server/)) {
    test(name, async () => {
      await using holder = await (kind === "udp server" ? letterbox : listen)();
      await using program = script(name, [...words, "--port", `${holder.port}`]);
      const { code, stdout, stderr } = await program.result();
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toMatch(
        RegExp(
          `^error: (listen on 127.0.0.1:${holder.port}|bind 127.0.0.1:${holder.port}): address already in use \\(EADDRINUSE\\)\n` +
            "hint: another program holds this port; choose another with --port, or --port 0 for any free one\n$",
        ),
      );
    });
  }
});

test.each(["send", "chat"])(
  "the sender's own port is taken: %s names the flag that chooses it",
  async (name) => {
    await using holder = await letterbox();
    const words = name === "chat" ? ["--to", holder.name, "--mode", "simplex"] : ["hello"];
    await using program = script(`udp/${name}`, [...words, "--local-port", `${holder.port}`]);
    const { code, stdout, stderr } = await program.result();
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(
      /^error: bind \S+: address already in use \(EADDRINUSE\)\nhint: .* with --local-port, or --local-port 0 for .*\n$/,
    );
  },
);

/** Root without the right to bind low ports; whoever is not root lacks it anyway. */
const WITHOUT_RIGHT = process.getuid?.() === 0 ? ["setpriv", "--bounding-set=-net_bind_service"] : [];

/** Linux only: from which port on a bind needs no right. Containers often say 0. */
function firstFreePort(): number {
  try {
    return Number(readFileSync("/proc/sys/net/ipv4/ip_unprivileged_port_start", "utf8"));
  } catch {
    return 0;
  }
}

describe("a port below 1024, without the right to it", () => {
  const may = firstFreePort() <= 1;
  for (const { name, words } of first(/server/)) {
    test.skipIf(may)(`${name} (needs ports that are kept for root)`, async () => {
      await using program = start([...WITHOUT_RIGHT, "bun", `scripts/${name}.ts`, ...words, "--port", "1"]);
      const { code, stdout, stderr } = await program.result();
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toMatch(
        /^error: (listen on 127.0.0.1:1|bind 127.0.0.1(:1)?): permission denied \(EACCES\)\nhint: ports below 1024 are reserved for the administrator; choose a higher one with --port\n$/,
      );
    });
  }
});

test("an address that is not of this machine", async () => {
  for (const runtime of EVERYWHERE) {
    for (const name of ["udp/receive", "tcp/server"]) {
      await using program = script(name, ["--host", "192.0.2.1", "--port", "0"], { runtime });
      const { code, stdout, stderr } = await program.result();
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toMatch(
        /^error: (listen on|bind) 192\.0\.2\.1(:0)?: not an address of this machine \(EADDRNOTAVAIL\)\nhint: /,
      );
    }
  }
});

describe("nobody listens", () => {
  for (const { name, words } of scripts(/tcp client/)) {
    test(name, async () => {
      await using program = script(name, [...words, "--port", "1"]);
      program.type("hello\n");
      expect(await program.result()).toEqual({
        code: 1,
        stdout: "",
        stderr: "error: connect to 127.0.0.1:1: connection refused (ECONNREFUSED)\n" +
          "hint: nobody listens there; start the server first\n",
      });
    });
  }

  test("udp/send sends every word, also behind exit", async () => {
    await using letters = await letterbox();
    await using program = script("udp/send", ["--port", `${letters.port}`, "a", "exit", "b"]);
    for (const text of ["a", "exit", "b"]) expect(await letters.text()).toBe(text);
    expect(await program.ended()).toBe(0);
  });

  test("udp/send never learns it", async () => {
    await using program = script("udp/send", ["--port", "1", "hello"]);
    const { code, stdout, stderr } = await program.result();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^sent 5 bytes from 127\.0\.0\.1:\d+ to 127\.0\.0\.1:1\n$/);
  });

  test("udp/echo-client: no reply", async () => {
    await using program = script("udp/echo-client", ["--port", "1", "--timeout", "20", "--tries", "2"]);
    program.type("hello\n");
    expect(await program.result()).toEqual({
      code: 1,
      stdout: "no reply within 20 ms\nno reply within 20 ms\n",
      stderr: "error: 127.0.0.1:1: no reply after 2 tries (ETIMEDOUT)\n" +
        "hint: is the server running? A datagram to no receiver is lost silently\n",
    });
  });
});

describe("a client that a signal interrupts, at the prompt or waiting for a reply", () => {
  for (const { name, kind, words } of scripts(/client/)) {
    const term = EVERYTHING || FIRST.includes(name) ? [["SIGTERM", 143]] as const : [];
    const hangUp = name === "udp/send" ? [["SIGHUP", 129]] as const : [];
    for (const [signal, code] of [["SIGINT", 130], ...term, ...hangUp] as const) {
      test(`${name}: ${signal}, exit code ${code}`, async () => {
        // A client of 4.4 sends by UDP, too, to the same number: it must be nobody else's.
        await using server = await (kind === "udp client" ? letterbox() : listen(await freePort()));
        await using program = script(name, [...words, "--port", `${server.port}`]);
        program.type("hello\n");
        await ("next" in server ? server.next() : server.accept());
        program.signal(signal);
        const result = await program.result();
        // The system, too, would end it with that code: it ends itself, and closes what it opened.
        expect({ ...result, killedBy: program.killedBy }).toEqual({
          ...result,
          code,
          stderr: "",
          killedBy: undefined,
        });
      });
    }
  }
});

describe("Ctrl-C at the prompt of a terminal", () => {
  const needs = process.platform === "linux" && Bun.which("script") ? "" : " (needs util-linux's script)";
  for (const runtime of EVERYWHERE) {
    test.skipIf(needs !== "")(`on ${runtime}${needs}`, async () => {
      await using letters = await letterbox();
      const command = `${RUNTIMES[runtime].join(" ")} scripts/udp/send.ts --port ${letters.port}`;
      await using terminal = start(["script", "-qec", command, "/dev/null"]);
      terminal.type("hello\n");
      await letters.next();
      terminal.type("\x03");
      const { code, stdout } = await terminal.result();
      expect({ code, isQuiet: !/error|\bat /.test(stdout) }).toEqual({ code: 130, isQuiet: true });
    });
  }
});

describe("output that nobody reads any more (| head -1)", () => {
  for (const runtime of EVERYWHERE) {
    const head = (name: string, words: string) =>
      start([
        "bash",
        "--norc", // which it reads where its input is a socket, as here
        "-c",
        `set -o pipefail; ${RUNTIMES[runtime].join(" ")} scripts/${name}.ts ${words} | head -1`,
      ]);

    test(`a UDP server on ${runtime}`, async () => {
      await using program = head("udp/receive", "--port 0");
      const port = await program.port();
      await using letters = await letterbox();
      // Again and again: head may still be about to close the pipe, and then it takes one line more.
      const again = setInterval(() => letters.send("hello", port), 50);
      expect(await program.result().finally(() => clearInterval(again))).toEqual({
        code: 0,
        stdout: `listening on 127.0.0.1:${port}\n`,
        stderr: "",
      });
    });

    test(`a TCP server on ${runtime}`, async () => {
      await using program = head("tcp/many-requests-server", "--port 0");
      const port = await program.port();
      using line = await call(port);
      const again = setInterval(() => line.send("hello").catch(() => {}), 50);
      expect(await program.result().finally(() => clearInterval(again))).toEqual({
        code: 0,
        stdout: `listening on 127.0.0.1:${port}\n`,
        stderr: "",
      });
    });

    test(`a client on ${runtime}`, async () => {
      await using letters = await letterbox();
      await using program = head("udp/send", `--port ${letters.port}`);
      program.type("one\n");
      expect(await program.next()).toMatch(/^sent 3 bytes /);
      const again = setInterval(() => program.type("two\n"), 50);
      const { code, stdout, stderr } = await program.result().finally(() => clearInterval(again));
      expect({ code, stderr, lines: stdout.split("\n").length }).toEqual({ code: 0, stderr: "", lines: 2 });
    });
  }
});

describe("a character that GBK lacks is named, and nothing is sent", () => {
  const notInGbk = (character: string, point: string) =>
    `error: ${character} (U+${point}): not a character of gbk; nothing was sent (EILSEQ)\n` +
    "hint: utf-8 has every character: --encoding utf-8 at both ends\n";

  for (const runtime of EVERYWHERE) {
    test(`udp/send on ${runtime}`, async () => {
      await using letters = await letterbox();
      const gbk = ["--port", `${letters.port}`, "--encoding", "gbk"];
      // € stands in Windows' code page 936, but not in GBK: Python refuses it too.
      for (const [character, point] of [["😀", "1F600"], ["€", "20AC"]]) {
        await using program = script("udp/send", [...gbk, "你好", `a${character}b`], { runtime });
        expect(await program.result()).toEqual({ code: 1, stdout: "", stderr: notInGbk(character, point) });
      }
      await letters.send("nothing before this", letters.port);
      expect(String((await letters.next())[0])).toBe("nothing before this");
    });
  }

  test("a typed line is left out, the others are sent, and the exit code is 1", async () => {
    await using letters = await letterbox();
    await using program = script("udp/send", ["--port", `${letters.port}`, "--encoding", "gbk"]);
    program.type("5€\n你好\nexit\n");
    expect([...(await letters.next())[0]]).toEqual([0xc4, 0xe3, 0xba, 0xc3]);
    expect(String((await letters.next())[0])).toBe("exit");
    const { code, stdout, stderr } = await program.result();
    expect({ code, stderr }).toEqual({ code: 1, stderr: notInGbk("€", "20AC") });
    expect(stdout).toMatch(/^sent 4 bytes .*\nsent 4 bytes .*\n$/);
  });

  test("TCP: no byte of the message, of the name, of the reply", async () => {
    await using listener = await listen();
    const gbk = ["--port", `${listener.port}`, "--encoding", "gbk"];
    for (
      const [name, words] of [["tcp/client", ["5€"]], ["apps/download-basic-client", ["5€.txt"]]] as const
    ) {
      await using program = script(name, [...gbk, ...words]);
      expect(await program.result()).toEqual({ code: 1, stdout: "", stderr: notInGbk("€", "20AC") });
    }
    using marker = await call(listener.port);
    expect((await listener.accept()).socket.remotePort).toBe(marker.socket.localPort);
    for (
      const name of ["udp/echo-server", "tcp/server", "tcp/many-clients-server", "tcp/many-requests-server"]
    ) {
      await using program = script(name, ["--port", "0", "--encoding", "gbk", "--reply", "5€"]);
      expect(await program.result()).toEqual({ code: 1, stdout: "", stderr: notInGbk("€", "20AC") });
    }
  });
});

describe("bytes that are no text are shown as U+FFFD, reported once, and end nothing", () => {
  for (const runtime of EVERYWHERE) {
    for (const encoding of ["utf-8", "gbk"] as const) {
      const bad = [Buffer.from([0x61, 0xff, 0x62]), Buffer.from([0x63, 0xff, 0x20])];
      const other = encoding === "gbk" ? "utf-8" : "gbk";
      const report = (from: string) =>
        `error: ${from}: bytes that are not valid ${encoding}, shown as \uFFFD (EILSEQ)\n` +
        `hint: if the other end speaks ${other}, use --encoding ${other} here\n`;

      test(`UDP, ${encoding} on ${runtime}`, async () => {
        await using program = script("udp/receive", ["--port", "0", "--encoding", encoding], { runtime });
        const port = await program.port();
        await using letters = await letterbox();
        for (const data of [...bad, "fine", "exit"]) await letters.send(data, port);
        const from = `127.0.0.1:${letters.port}`;
        const { code, stdout, stderr } = await program.result();
        expect({ code, stderr }).toEqual({ code: 0, stderr: report(from) });
        expect(stdout.split("\n").slice(1)).toEqual(
          ["a\uFFFDb", "c\uFFFD ", "fine", "exit"].map((text) => `${from} > ${text}`).concat(""),
        );
      });

      test(`TCP, ${encoding} on ${runtime}`, async () => {
        const words = ["--port", "0", "--encoding", encoding, "--reply", "ok"];
        await using program = script("tcp/many-requests-server", words, { runtime });
        using line = await call(await program.port());
        const from = line.name;
        expect(await program.next()).toBe(`${from} connected`);
        for (const [data, text] of [[bad[0], "a\uFFFDb"], [bad[1], "c\uFFFD "], ["fine", "fine"]] as const) {
          await line.send(data);
          expect(await program.next()).toBe(`${from} > ${text}`);
        }
        await line.expect("okokok");
        program.signal("SIGINT");
        const { code, stderr } = await program.result();
        expect({ code, stderr }).toEqual({ code: 0, stderr: report(from) });
      });
    }
  }
});

describe("a character that comes in two reads is one, and so is its request", () => {
  for (const runtime of EVERYWHERE) {
    for (
      const { encoding, bytes, text } of [
        { encoding: "utf-8", bytes: [0xe4, 0xbd, 0xa0, 0xf0, 0x9f, 0x98, 0x80], text: "你😀" },
        { encoding: "gbk", bytes: [0xc4, 0xe3, 0x81, 0x40], text: "你丂" }, // the second byte of 丂 is an @
      ]
    ) {
      test(`${encoding} on ${runtime}`, async () => {
        const words = ["--port", "0", "--encoding", encoding, "--reply", "ok"];
        await using program = script("tcp/many-requests-server", words, { runtime });
        using line = await call(await program.port());
        await program.next();
        const inside = encoding === "gbk" ? [1, 3] : [1, 2, 4, 5, 6];
        for (const at of inside) {
          await line.send(Buffer.from(bytes.slice(0, at)));
          await isRead(line);
          await line.send(Buffer.from(bytes.slice(at)));
          expect(await program.next()).toBe(`${line.name} > ${text}`);
          await line.expect("ok");
        }
        line.hangUp();
        await line.rest();
        program.signal("SIGINT");
        expect((await program.result()).stderr).toBe("");
      });
    }
  }

  test("a reply", async () => {
    await using listener = await listen();
    await using program = script("tcp/client", ["--port", `${listener.port}`, "hello"]);
    const line = await listener.accept();
    await line.expect("hello");
    await line.send(Buffer.from([0xe4, 0xbd]));
    await isRead(line);
    await line.send(Buffer.from([0xa0]));
    line.hangUp();
    expect(await program.result()).toEqual({ code: 0, stdout: "你\n", stderr: "" });
  });

  test.each(["tcp/server", "tcp/many-clients-server"])(
    "%s: half a character, and then the hang-up",
    async (name) => {
      await using program = script(name, ["--port", "0", "--reply", "ok"]);
      using line = await call(await program.port());
      const from = line.name;
      await line.send(Buffer.from([0x61, 0xe4, 0xbd]));
      line.hangUp();
      expect(String(await line.rest())).toBe("ok");
      if (name !== "tcp/server") program.signal("SIGINT");
      const { code, stdout, stderr } = await program.result();
      expect({ code, shown: stdout.split("\n").slice(1) }).toEqual({
        code: 0,
        shown: [`${from} connected`, `${from} > a\uFFFD`, ""],
      });
      expect(stderr).toBe(
        `error: ${from}: bytes that are not valid utf-8, shown as \uFFFD (EILSEQ)\n` +
          "hint: if the other end speaks gbk, use --encoding gbk here\n",
      );
    },
  );
});

describe("the longest datagram", () => {
  for (const runtime of EVERYWHERE) {
    test(`65507 bytes go, 65508 do not, on ${runtime}`, async () => {
      await using receiver = script("udp/receive", ["--port", "0", "--once"], { runtime });
      const port = await receiver.port();
      await using sender = script("udp/send", ["--port", `${port}`, "x".repeat(65_508)], { runtime });
      expect(await sender.result()).toEqual({
        code: 1,
        stdout: "",
        stderr: `error: send to 127.0.0.1:${port}: message too long (EMSGSIZE)\n` +
          "hint: a datagram carries at most 65507 bytes over IPv4 (65535 less the IP and UDP headers)\n",
      });
      await using whole = script("udp/send", ["--port", `${port}`, "x".repeat(65_507)], { runtime });
      const { code, stdout, stderr } = await whole.result();
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      const from = /^sent 65507 bytes from (\S+) /.exec(stdout)?.[1];
      expect((await receiver.result()).stdout).toBe(
        `listening on 127.0.0.1:${port}\n${from} > ${"x".repeat(65_507)}\n`,
      );
    });
  }
});

describe("an empty message", () => {
  for (const runtime of EVERYWHERE) {
    test(`UDP sends a letter without a text, on ${runtime}`, async () => {
      await using receiver = script("udp/receive", ["--port", "0"], { runtime });
      const port = await receiver.port();
      await using sender = script("udp/send", ["--port", `${port}`, "", "exit"], { runtime });
      const { code, stdout } = await sender.result();
      const from = /^sent 0 bytes from (\S+) to /.exec(stdout)?.[1];
      expect({ code, from }).toEqual({ code: 0, from: expect.stringMatching(/^127\.0\.0\.1:\d+$/) });
      expect((await receiver.result()).stdout).toBe(
        `listening on 127.0.0.1:${port}\n${from} > \n${from} > exit\n`,
      );
    });
  }

  test("UDP: a typed line without a text is one too", async () => {
    await using letters = await letterbox();
    await using program = script("udp/send", ["--port", `${letters.port}`]);
    program.type("\nexit\n");
    expect((await letters.next())[0].length).toBe(0);
    expect((await program.result()).stdout).toMatch(/^sent 0 bytes .*\nsent 4 bytes .*\n$/);
  });

  test("TCP cannot send one: refused, or skipped in a dialog", async () => {
    await using listener = await listen();
    const port = ["--port", `${listener.port}`];
    const refused = (what: string) => ({
      code: 2,
      stdout: "",
      stderr: `error: ${what}: TCP cannot send an empty one (EINVAL)\n`,
    });
    await using words = script("tcp/client", [...port, ""]);
    expect(await words.result()).toEqual(refused("the message"));
    expect(String(await (await listener.accept()).rest())).toBe("");
    await using typed = script("tcp/client", port);
    typed.type("\n");
    expect(await typed.result()).toEqual(refused("the message"));
    expect(String(await (await listener.accept()).rest())).toBe("");
    await using name = script("apps/download-basic-client", [...port, ""]);
    expect(await name.result()).toEqual(refused("the name"));

    await using dialog = script("tcp/dialog-client", port);
    const line = await listener.accept();
    dialog.type("\nhello\n");
    await line.expect("hello");
    await line.send("ok");
    dialog.endOfInput();
    expect(await dialog.result()).toEqual({
      code: 0,
      stdout: "ok\n",
      stderr: "hint: TCP cannot send an empty message\n",
    });
    expect(String(await line.rest())).toBe("");
  });
});

test("an interface that does not exist is one clear line of a server", async () => {
  await using program = script("tcp/server", ["--host", "fe80::1%nope"]);
  expect(await program.result()).toEqual({
    code: 1,
    stdout: "",
    stderr: "error: fe80::1%nope: this machine has no interface nope (ENODEV)\n",
  });
});
