/** Lessons 2.2 and 2.6: answers that are answered end, and a flood keeps no signal from being heard. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { AnswerLimit, BURST } from "../../scripts/udp/answer-limit.ts";
import { EVERYTHING, EVERYWHERE, type Program, ROOT, RUNTIMES, script, start } from "../engine/program.ts";
import { freePort, HAS_IPV6, type Letterbox, letterbox, settled, until } from "../engine/sockets.ts";

setDefaultTimeout(60_000); // what hangs is told by program.ts, after 30 s

const CAN_FORGE = Bun.spawnSync(["unshare", "-Urn", "python3", "-c", ""]).exitCode === 0;

/** What `from` has answered, counted by its lines, once it is quiet. A loop is never quiet: that takes 10 s. */
async function answers(server: Program): Promise<number> {
  const lines = () => server.seen.stdout.length - 1; // without the ready line
  const end = Date.now() + 10_000;
  return await settled(() => (Date.now() < end ? lines() : Infinity));
}

for (const runtime of EVERYWHERE) {
  for (const reply of EVERYTHING ? [[], ["--reply", "hello"]] : [[]]) {
    test(`one forged datagram and two echo servers ${reply.join(" ")} on ${runtime}`, async () => {
      await using one = script("udp/echo-server", ["--port", "0", ...reply], { runtime });
      const port = await one.port();
      // The address that the datagram claims to be from is the other server's, which is started a moment later.
      const other = await freePort("udp");
      const forged = await letterbox(other);
      one.signal("SIGSTOP");
      await forged.send("x", port);
      await forged[Symbol.asyncDispose]();
      await using two = script("udp/echo-server", ["--port", `${other}`, ...reply], { runtime });
      await two.port();
      const begin = performance.now();
      one.signal("SIGCONT");
      // On a busy machine they may be quiet for a while before they have begun.
      await until(() => one.seen.stderr.length + two.seen.stderr.length > 0, "the end of the loop");
      const counts = [await answers(one), await answers(two)];
      expect(Math.max(...counts)).toBeGreaterThan(10); // they did answer each other
      const seconds = (performance.now() - begin) / 1000;
      expect(Math.max(...counts)).toBeLessThanOrEqual(BURST + 1 + 20 * seconds); // 20 more for each second that it takes
      const told = [...one.seen.stderr, ...two.seen.stderr];
      expect(told.length).toBeGreaterThan(0);
      for (const line of told) {
        expect(line).toMatch(/^error: 127\.0\.0\.1:\d+: too many datagrams: some get no answer \(EBUSY\)$/);
      }
      for (const server of [one, two]) { // they serve on, and end
        await using client = await letterbox();
        await client.send("still there?", server === one ? port : other);
        expect(await client.text()).toBe(reply[1] ?? "still there?");
        server.signal("SIGTERM");
        expect(await server.ended()).toBe(0);
      }
    });
  }
}

for (const runtime of EVERYWHERE) {
  test(`an answer that cannot be sent is told, and ends nobody, on ${runtime}`, async () => {
    const words = ["--port", "0", "--reply", "x".repeat(65_508)]; // a byte more than a datagram carries
    await using server = script("udp/echo-server", words, { runtime });
    const port = await server.port();
    await using client = await letterbox();
    for (let count = 0; count < 2; count++) {
      await client.send("hello", port);
      expect(await server.next("stderr")).toBe(`error: ${client.name}: message too long (EMSGSIZE)`);
      expect(await server.next("stderr")).toStartWith("hint: a datagram carries at most 65507 bytes");
    }
    server.signal("SIGTERM");
    expect((await server.result()).code).toBe(0);
  });
}

test("a peer that floods is answered again soon, and others all the time", async () => {
  await using server = script("udp/echo-server", ["--port", "0"]);
  const port = await server.port();
  await using greedy = await letterbox();
  await using polite = await letterbox();
  let isGreedy = true;
  const flood = (async () => {
    while (isGreedy) {
      for (let i = 0; i < 50; i++) await greedy.send("me", port);
      await new Promise((resolve) => setTimeout(resolve, 5)); // 10,000 a second, which the server can take
    }
  })();
  expect(await server.next("stderr")).toBe(
    `error: ${greedy.name}: too many datagrams: some get no answer (EBUSY)`,
  );
  /** Asks until the answer comes: a datagram may get lost in the flood, and one more is answered each 50 ms. */
  async function ask(client: Letterbox, text: string) {
    const again = setInterval(() => client.send(text, port), 20);
    try {
      while (await client.text() !== text);
    } finally {
      clearInterval(again);
    }
  }
  for (let i = 0; i < 5; i++) await ask(polite, `${i}`);
  isGreedy = false;
  await flood;
  await ask(greedy, "again");
});

describe("signals and timers have their turn while datagrams come faster than they are handled", () => {
  const program = `
    import { createSocket } from "node:dgram";
    import { closed } from ${JSON.stringify(`${ROOT}/lib/udp.ts`)};
    const socket = createSocket("udp4");
    const end = closed(socket);
    socket.on("message", (data) => socket.send(data, socket.address().port, "127.0.0.1"));
    socket.bind(0, "127.0.0.1", () => {
      for (let i = 0; i < 10; i++) socket.send("x", socket.address().port, "127.0.0.1");
      setTimeout(() => console.log("a timer"), 50);
      process.on("SIGTERM", () => socket.close());
    });
    await end;
    process.exit();`;
  for (const runtime of EVERYWHERE) {
    test(`a socket that answers itself, on ${runtime}`, async () => {
      const evaluate = {
        bun: ["bun", "-e"],
        node: ["node", "--input-type=module", "-e"],
        deno: ["deno", "eval"],
      };
      await using looping = start([...evaluate[runtime], program]);
      expect(await looping.next()).toBe("a timer");
      looping.signal("SIGTERM");
      expect(await looping.ended()).toBe(0);
    });

    test.skipIf(!CAN_FORGE)(
      `the own address as the sender's, and --reply, on ${runtime} (needs unshare and python3)`,
      async () => {
        const forge = `
import socket, struct, subprocess, sys, time
server = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True)
port = int(server.stdout.readline().rsplit(":", 1)[1])
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
here = socket.inet_aton("127.0.0.1")
udp = struct.pack("!HHHH", port, port, 9, 0) + b"x"
ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, here, here)
raw.sendto(ip + udp, ("127.0.0.1", 0))
server.stdout.readline()  # it has answered itself
server.terminate()
rest = server.stdout.read()
print("ended", server.wait(), rest.count("\\n") < 2500)`;
        const serve = [
          ...RUNTIMES[runtime],
          `${ROOT}/scripts/udp/echo-server.ts`,
          "--port",
          "0",
          "--reply",
          "hi",
        ];
        const alone = ["unshare", "-Urn", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"];
        await using attack = start([...alone, "python3", "-c", forge, ...serve]);
        expect(await attack.next()).toBe("ended 0 True");
      },
    );
  }
});

test("under a flood of forged senders, the one that was silent longest is forgotten", () => {
  const limit = new AnswerLimit();
  const allows = (peer: string) => limit.allows(peer, 1); // at one and the same moment
  for (let i = 0; i < BURST; i++) expect(allows("192.0.2.1:7")).toBe(true);
  expect(allows("192.0.2.1:7")).toBe(false);
  for (let i = 0; i < 1000; i++) expect(allows(`192.0.2.2:${i}`)).toBe(true);
  expect(allows("192.0.2.1:7")).toBe(true); // a new one
});

test("a link to itself is refused, however its address is written", async () => {
  const cases: [host: string, to: string][] = [
    ["127.0.0.1", "127.0.0.1"],
    ["127.0.0.1", "localhost"],
    ["127.0.0.1", "0.0.0.0"],
    ["0.0.0.0", "127.0.0.2"],
    ...(HAS_IPV6 ? [["::1", "[0::1]"], ["::", "[::1]"], ["::", "127.0.0.1"]] as [string, string][] : []),
  ];
  for (const [host, to] of cases) {
    const port = `${await freePort("udp")}`;
    await using link = script("udp/lossy-link", ["--host", host, "--port", port, "--to", `${to}:${port}`]);
    const { code, stdout, stderr } = await link.result();
    expect([host, to, code, stdout]).toEqual([host, to, 2, ""]);
    expect(stderr).toMatch(/^error: --to \S+: is this link itself: nothing would come out \(EINVAL\)\n$/);
  }
});

test.skipIf(!HAS_IPV6)(
  "a lossy link of IPv4 is not itself where it sends over IPv6 (needs IPv6)",
  async () => {
    await using own = await letterbox(0, "::1");
    const words = ["--host", "0.0.0.0", "--port", `${own.port}`, "--to", `[::1]:${own.port}`];
    await using link = script("udp/lossy-link", words);
    expect(await link.port()).toBe(own.port);
    await using caller = await letterbox();
    await caller.send("through", own.port);
    expect(await own.text()).toBe("through");
  },
);
