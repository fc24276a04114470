/** What a Python row of a head promises, and whether the code keeps it. */
import { describe, expect, test } from "bun:test";
import { callRows, occurs, plainCode, promisedCalls } from "./calls.ts";

describe("a row promises", () => {
  const rows: [right: string, calls: string[]][] = [
    ["socket.send(data, port, host)", ["socket.send("]],
    ['socket.on("message", (data, sender) => ...)', ['socket.on("message"']],
    ["for await (const data of socket)", ["for await (... of socket"]],
    ["for await (const [data, sender] of datagrams(socket))", ["for await (... of datagrams(", "datagrams("]],
    ["for await (const [socket] of callers) await echo(socket)", ["for await (... of callers", "echo("]],
    ["server.listen({ host, port: 0 }); server.address()", ["server.listen(", "server.address("]],
    ["new Worker(...), and a MessageChannel for each caller", ["new Worker("]],
    ["new ssh2.Server(...).injectSocket(socket)", ["new ssh2.Server(", ".injectSocket("]],
    ['createHmac("sha256", key).update(data)', ['createHmac("sha256"', ".update("]],
    ["await using file = await open(part, O_RDWR | O_CREAT)", ["open("]],
    ["Promise.race([this.#coming, chat.talk(lines)])", ["Promise.race(", "chat.talk("]],
    ["this.#socket.send(bytes)", ["this.#socket.send("]],
    ["seededRandom(seed): Math.random() takes no seed", ["seededRandom("]],
    ['the same bytes: {"filename": f(x)', []],
    ["connect({ host: f(x) })", ["connect(", "f("]],
    ["the loop ends by itself", []],
    ["(none; node:net has isIP(x))", []],
    ["tcp and udp (see tcp6), none", []],
    ['const sent = socket.write(data, "f(x)")', ["socket.write("]],
  ];
  test.each(rows)("%s", (right, calls) => {
    expect(promisedCalls(`s.call()  ->  ${right}`)).toEqual({ calls, wrapped: [] });
  });

  test("nothing left of its arrow, and with its next line", () => {
    expect(promisedCalls("s.bind(a)  ->  a(b),\nc(d)\nx(y) -> e(f)").calls).toEqual(["a(", "c(", "e("]);
    expect(promisedCalls("s.bind(a)\nif x(): y()\n->  a(b),\nc(d)\ne(f)  ->  g(h)\ni(j)\n-> k(l)").calls)
      .toEqual(["a(", "c(", "g(", "k("]);
  });

  test("its rows, with both sides of each", () => {
    const note =
      'none  ->  a("x"), b("y") and\nc("z"), which reads it;\nd(e)\nAF_INET, AF_INET6\n->  (none)\ns.f(g)  ->  h(i)';
    expect(callRows(note)).toEqual([
      { python: "none", ours: 'a("x"), b("y") and c("z"), which reads it; d(e)' },
      { python: "AF_INET, AF_INET6", ours: "(none)" },
      { python: "s.f(g)", ours: "h(i)" },
    ]);
  });

  test("of a helper, what it wraps", () => {
    expect(promisedCalls('a -> datagrams(socket), which wraps socket.on("message"): x(y)')).toEqual({
      calls: ["datagrams("],
      wrapped: [{ helper: "datagrams", calls: ['socket.on("message"'] }],
    });
  });
});

describe("a call occurs", () => {
  const yes: [call: string, source: string][] = [
    ["socket.send(", "socket.send(data)"],
    ["socket.send(", "await sent((done) => socket.send(data, done))"],
    ['socket.on("message"', "socket.on(\n  'message', (data) => {})"],
    ["socket.send(", "class A { #socket = s; f() { this.#socket.send(x); } }"],
    ["new Worker(", "const w = new Worker(url)"],
    [".update(", 'createHmac("sha256", key).update(data)'],
    ["for await (... of socket", "for await (const request of socket.iterator({})) f()"],
    ["for await (... of datagrams(", "for await (const [a, { b }] of datagrams(socket)) f()"],
    ["f(", "const t = `a ${f(`${g({ h: 1 })}`)} b`"],
    ["g(", "const t = `a ${f(`${g({ h: 1 })}`)} b`"],
    ["f(", 'const r = /["`]/; f(1); const s = /["`]/'],
    ["f(", "const a = b / c; f(1 / 2)"],
    ["f(", "const g = (x: number) => { if (x) { return f<string>(x) } }"],
  ];
  test.each(yes)("%s in %s", (call, source) => expect(occurs(call, plainCode(source))).toBe(true));

  const no: [call: string, source: string][] = [
    ["socket.send(", "// socket.send(data)\n/* socket.send(data) */ x()"],
    ["socket.send(", 'print("socket.send(data)")'],
    ["socket.send(", "print(`socket.send(data) ${1}`)"],
    ["socket.send(", "my.socket.send(data)"],
    ["socket.send(", "class A { #socket = s; f(b: A) { b.#socket.send(x); } }"],
    ["socket.send(", "socket.sendAll(data)"],
    ["send(", "socket.send(data); class A { #send = 1; f() { this.#send(x); } } resend(x)"],
    ['socket.on("message"', 'socket.on("error", f)'],
    ["new Worker(", "Worker(x)"],
    ["for await (... of socket", "for await (const x of sockets) f()"],
    ["for await (... of socket", "for (const x of socket) f()"],
    ["f(", "const r = /f(x)/; const s = [/[/]f(x)/]"],
    ["f(", "const t = `a ${g({})} f(x) ${h}`"],
  ];
  test.each(no)("%s not in %s", (call, source) => expect(occurs(call, plainCode(source))).toBe(false));
});
