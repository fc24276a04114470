/** Lesson 3.9: every row of the table, against Python executing the same calls, and against the kernel. */
import { expect, test } from "bun:test";
import { temporaryFolder } from "../engine/files.ts";
import { EVERYWHERE, type Runtime, RUNTIMES, script, start } from "../engine/program.ts";

const hasPython = Bun.which("python3") !== null;
const hasSs = Bun.which("ss") !== null;

/** The calls of a Python socket, in the order of the course. */
const CALLS = (
  "bind listen accept connect connect_ex recv send sendall recvfrom sendto close getpeername getsockname " +
  "setsockopt getsockopt settimeout gettimeout fileno setblocking makefile with"
).split(" ");

/** The same calls, executed by Python: what each has returned, in the words of the table. */
const PYTHON = `
import errno, json, socket, sys, threading
host, encoding = sys.argv[1], sys.argv[2]
family = socket.AF_INET6 if ":" in host else socket.AF_INET
name = lambda address: ("[%s]:%d" if ":" in host else "%s:%d") % address[:2]
data = "你好".encode(encoding)
now = {}
server = socket.socket(family); server.bind((host, 0)); server.listen(128)
now["listen"] = "listening: " + str(bool(server.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))).lower()
s = socket.socket(family)
s.setblocking(False)
code = s.connect_ex(server.getsockname())
now["setblocking"] = "still connecting: " + str(code == errno.EINPROGRESS).lower()
s.setblocking(True)
caller, peer = server.accept()
now["accept = getsockname"] = name(peer) == name(s.getsockname())
now["bind = getpeername"] = name(server.getsockname()) == name(s.getpeername())
s.send(data)
now["recv"] = "%d bytes" % len(caller.recv(1024))
much = 1 << 24
s.setblocking(False)
took = s.send(bytes(much))
s.setblocking(True)
sender = threading.Thread(target=s.sendall, args=(bytes(much - took),)); sender.start()
arrived = 0
while arrived < much: arrived += len(caller.recv(1 << 20))
sender.join()
now["sendall"] = "%s: wait; %d bytes arrived" % (str(took == much).lower(), arrived)
caller.sendall(b"one\\ntwo\\n")
lines = s.makefile()
now["makefile"] = ", ".join(lines.readline().rstrip() for _ in range(2))
s.settimeout(0.05)
try: s.recv(1)
except TimeoutError: now["settimeout"] = "timeout; %s still" % ("open" if s.fileno() >= 0 else "closed")
now["gettimeout"] = "%d ms" % (s.gettimeout() * 1000)
lines.close(); s.close()
now["close"] = "the peer reads nothing: " + str(caller.recv(1024) == b"").lower()
with socket.create_connection(server.getsockname()[:2]) as inner: pass
now["with"] = "closed after it: " + str(inner.fileno() == -1).lower()
address = server.getsockname()
server.close()
now["connect_ex"] = errno.errorcode[socket.socket(family).connect_ex(address)]
udp = socket.socket(family, socket.SOCK_DGRAM); udp.bind((host, 0))
other = socket.socket(family, socket.SOCK_DGRAM)
now["sendto"] = "%d bytes" % other.sendto(data, udp.getsockname())
received, sender = udp.recvfrom(1024)
now["recvfrom"] = "%d bytes from " % len(received)
udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
now["getsockopt"] = "%d bytes" % udp.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
print(json.dumps(now))
`;

/** The rows of the table, by call. The second `bind` is that of UDP. */
function table(stdout: string): Map<string, { typescript: string; now: string }> {
  const [header, legend, ...lines] = stdout.trimEnd().split("\n");
  const column = header.indexOf("TYPESCRIPT");
  const behind = `${" ".repeat(column)}=> `;
  expect(legend).toStartWith(behind);
  expect(lines.length % 2).toBe(0);
  const rows = new Map<string, { typescript: string; now: string }>();
  for (let at = 0; at < lines.length; at += 2) {
    const [python, typescript] = [lines[at].slice(0, column).trim(), lines[at].slice(column)];
    expect(lines[at + 1]).toStartWith(behind);
    const now = lines[at + 1].slice(behind.length);
    const call = /^(?:s\.)?(\w+)/.exec(python)?.[1] ?? "";
    const name = python.includes("makefile") ? "makefile" : call;
    expect(typescript).not.toBe("");
    expect(now).not.toBe("");
    for (const line of [lines[at], lines[at + 1]]) expect(line.length).toBeLessThanOrEqual(80);
    rows.set(rows.has(name) ? `${name} udp` : name, { typescript, now });
  }
  return rows;
}

for (const runtime of EVERYWHERE) {
  for (const [host, encoding] of [["127.0.0.1", "utf-8"], ["::1", "gbk"]]) {
    test.skipIf(!hasPython)(
      `what Python's calls do, ${runtime}, ${host}, ${encoding} (needs python3)`,
      async () => {
        await using lesson = script("tcp/socket-calls", ["--host", host, "--encoding", encoding], {
          runtime,
        });
        await using python = start(["python3", "-c", PYTHON, host, encoding]);
        const { code, stdout, stderr } = await lesson.result();
        expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
        const rows = table(stdout);
        expect([...rows.keys()].toSorted()).toEqual([...CALLS, "bind udp"].toSorted());
        const now = (call: string) => rows.get(call)?.now;

        const reference = await python.result();
        expect(reference.stderr).toBe("");
        const same = JSON.parse(reference.stdout);
        for (
          const call of (
            "listen setblocking recv sendall makefile settimeout gettimeout close with connect_ex sendto getsockopt"
          ).split(" ")
        ) expect(`${call}: ${now(call)}`).toBe(`${call}: ${same[call]}`);

        const endpoint = host === "::1" ? /^\[::1\]:\d+$/ : /^127\.0\.0\.1:\d+$/;
        for (const call of ["bind", "accept", "bind udp"]) expect(now(call)).toMatch(endpoint);
        expect(same["accept = getsockname"] && same["bind = getpeername"]).toBe(true);
        expect(now("getsockname")).toBe(now("accept"));
        expect(now("getpeername")).toBe(now("bind"));
        expect(now("accept")).not.toBe(now("bind"));
        expect(now("recvfrom")).toStartWith(same.recvfrom);
        expect(now("recvfrom")?.slice(same.recvfrom.length)).toMatch(endpoint);
        expect(now("recvfrom")).not.toEndWith(` ${now("bind udp")}`);

        // Python's connect returns None, send a number, setsockopt None, fileno a number.
        expect(now("connect")).toBe("open");
        expect(now("send")).toBe("true: go on");
        expect(now("setsockopt")).toBe("undefined");
        expect(now("fileno")).toBe('"fileno" in socket: false');
        for (const call of ["setblocking", "fileno"]) {
          expect(rows.get(call)?.typescript).toStartWith("none: ");
        }
      },
    );
  }
}

/**
 * What the kernel has of the calls that the table shows. Bun fixes the backlog at 512 below node:net
 * (oven-sh/bun pull request 33786); Deno answers for SO_RCVBUF itself, and never sets it
 * (ext/node/polyfills/internal_binding/udp_wrap.ts, bufferSize).
 */
const KERNEL: Record<Runtime, { backlog: number; receiveBuffer: number | "as it was" }> = {
  bun: { backlog: 512, receiveBuffer: 131_072 },
  node: { backlog: 128, receiveBuffer: 131_072 },
  deno: { backlog: 128, receiveBuffer: "as it was" },
};

const LISTENER = `
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";
const server = createServer().listen({ host: "127.0.0.1", port: 0, backlog: 128 });
await once(server, "listening");
const udp = createSocket("udp4");
udp.bind(0, "127.0.0.1");
await once(udp, "listening");
udp.setRecvBufferSize(65536);
console.log("listening on 127.0.0.1:" + server.address().port);
console.log("listening on 127.0.0.1:" + udp.address().port);
`;

for (const runtime of EVERYWHERE) {
  test.skipIf(!hasSs)(`what the kernel has of listen and setsockopt, ${runtime} (needs ss)`, async () => {
    await using folder = await temporaryFolder();
    const file = folder.at("listener.mjs");
    await Bun.write(file, LISTENER);
    await using program = start([...RUNTIMES[runtime], file]);
    await using tcp = start(["ss", "-Hltn", `sport = :${await program.port()}`]);
    const [, , backlog] = (await tcp.result()).stdout.split(/\s+/);
    expect(Number(backlog)).toBe(KERNEL[runtime].backlog);
    await using udp = start(["ss", "-Huanm", `sport = :${await program.port()}`]);
    const buffer = Number(/rb(\d+)/.exec((await udp.result()).stdout)?.[1]);
    const initial = Number(await Bun.file("/proc/sys/net/core/rmem_default").text());
    const expected = KERNEL[runtime].receiveBuffer;
    expect(buffer).toBe(expected === "as it was" ? initial : expected);
  });
}

test("an address of another machine is one line, and exit code 1", async () => {
  await using program = script("tcp/socket-calls", ["--host", "192.0.2.1"]);
  const { code, stderr } = await program.result();
  expect(code).toBe(1);
  expect(stderr).toMatch(
    /^error: listen on 192\.0\.2\.1\S*: not an address of this machine \(EADDRNOTAVAIL\)\nhint: .*\n$/,
  );
});
