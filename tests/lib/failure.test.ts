/** Errors in words, whatever the runtime calls them. */
import { describe, expect, test } from "bun:test";
import { createServer } from "node:net";
import { once } from "node:events";
import { explain, Failure, isStop, original } from "../../lib/failure.ts";

/** An error as a runtime makes it. */
const system = (code: string, fields: object = {}, message = code) =>
  Object.assign(new Error(message), { code, ...fields });

describe("explain", () => {
  const told: [name: string, error: Error, message: string][] = [
    [
      "a refused call",
      system("ECONNREFUSED", { syscall: "connect", address: "127.0.0.1", port: 7890 }),
      "connect to 127.0.0.1:7890: connection refused (ECONNREFUSED)",
    ],
    [
      "the same over IPv6",
      system("ECONNREFUSED", { syscall: "connect", address: "::1", port: 7890 }),
      "connect to [::1]:7890: connection refused (ECONNREFUSED)",
    ],
    [
      "a port in use, TCP",
      system("EADDRINUSE", { syscall: "listen", address: "127.0.0.1", port: 80 }),
      "listen on 127.0.0.1:80: address already in use (EADDRINUSE)",
    ],
    [
      "a port in use, UDP: Bun does not say which",
      system("EADDRINUSE", { syscall: "bind", address: "127.0.0.1" }),
      "bind 127.0.0.1: address already in use (EADDRINUSE)",
    ],
    [
      "an address of another machine",
      system("EADDRNOTAVAIL", { syscall: "bind", address: "192.0.2.1", port: 80 }),
      "bind 192.0.2.1:80: not an address of this machine (EADDRNOTAVAIL)",
    ],
    [
      "the same on Deno, UDP",
      system("EINVAL", { syscall: "bind", address: "192.0.2.1", port: 80 }),
      "bind 192.0.2.1:80: not an address of this machine (EADDRNOTAVAIL)",
    ],
    [
      "the same on Deno, TCP",
      system("EINVAL", { syscall: "listen", address: "192.0.2.1", port: 80 }),
      "listen on 192.0.2.1:80: not an address of this machine (EADDRNOTAVAIL)",
    ],
    [
      "no address to call from, or no port",
      system("EADDRNOTAVAIL", { syscall: "connect", address: "::1", port: 7890 }),
      "connect to [::1]:7890: this machine has no address, or no free port, to reach it from (EADDRNOTAVAIL)",
    ],
    [
      "a link-local address without its card",
      system("EINVAL", { syscall: "listen", address: "fe80::1", port: 7890 }),
      "listen on [fe80::1]:7890: invalid argument (EINVAL)",
    ],
    [
      "EINVAL of another call",
      system("EINVAL", { syscall: "setTTL" }, "bad value"),
      "setTTL: invalid argument (EINVAL)",
    ],
    [
      "a reset, while reading",
      system("ECONNRESET", { syscall: "read" }),
      "receive: connection reset by peer (ECONNRESET)",
    ],
    [
      "a reset, while writing",
      system("EPIPE", { syscall: "write" }),
      "send: connection closed by peer (EPIPE)",
    ],
    [
      "a path",
      system("EADDRINUSE", { syscall: "listen", address: "/tmp/s", path: "/tmp/s", port: -1 }),
      "listen on /tmp/s: address already in use (EADDRINUSE)",
    ],
    [
      "a path that only the address tells",
      system("ECONNREFUSED", { syscall: "connect", address: "/tmp/s" }),
      "connect to /tmp/s: connection refused (ECONNREFUSED)",
    ],
    [
      "an abstract name of Linux, which begins with a zero byte",
      system("ECONNREFUSED", { syscall: "connect", address: "\0s" }),
      "connect to @s: connection refused (ECONNREFUSED)",
    ],
    [
      "a file",
      system("ENOENT", { syscall: "open", path: "/none" }),
      "open /none: no such file or folder (ENOENT)",
    ],
    [
      "a code of a runtime, without a call",
      system("ERR_SOCKET_CLOSED"),
      "the connection: connection closed (ERR_SOCKET_CLOSED)",
    ],
    [
      "a code that has no words here",
      system("EXYZ", { syscall: "frobnicate" }, "it broke"),
      "frobnicate: it broke (EXYZ)",
    ],
  ];
  test.each(told)("%s", (_, error, message) => expect(explain(error)?.message).toBe(message));

  test("who asks knows better with whom it happened", () => {
    const failure = explain(system("ECONNRESET", { syscall: "read" }), "127.0.0.1:50001");
    expect(failure?.message).toBe("127.0.0.1:50001: connection reset by peer (ECONNRESET)");
    expect(failure?.exitCode).toBe(1);
  });

  test("a failure stays what it is", () => {
    const failure = new Failure("a", "b", "C", { hint: "d", exitCode: 2 });
    expect(explain(failure, "somebody")).toBe(failure);
  });

  const mistakes: [name: string, thrown: unknown][] = [
    ["a TypeError", new TypeError("x is not a function")],
    ["a TypeError with a code", system("ERR_INVALID_ARG_TYPE")],
    ["an error without a code", new Error("x")],
    ["a number for a code", Object.assign(new Error("x"), { code: 5, syscall: "read" })],
    ["no error", "ECONNRESET"],
    ["nothing", undefined],
  ];
  test.each(mistakes)("%s is a mistake of the program", (_, thrown) => {
    expect(explain(thrown)).toBeUndefined();
  });

  test("what came first is told, not that closing failed too", () => {
    const first = system("ECONNREFUSED", { syscall: "connect", address: "127.0.0.1", port: 1 });
    const suppressed = new SuppressedError(
      new Error("close"),
      new SuppressedError(new Error("close"), first),
    );
    expect(original(suppressed)).toBe(first);
    expect(explain(suppressed)?.code).toBe("ECONNREFUSED");
  });

  const hints: [error: Error, hint: RegExp | undefined][] = [
    [system("EADDRINUSE", { syscall: "bind" }), /choose another with --port/],
    [system("EADDRINUSE", { syscall: "listen", path: "/tmp/s" }), /choose another place with --path/],
    [system("EACCES", { syscall: "listen", path: "/s" }), undefined],
    [system("EADDRNOTAVAIL", { syscall: "bind" }), /0\.0\.0\.0 is all of them/],
    [system("EINVAL", { syscall: "bind" }), /0\.0\.0\.0 is all of them/],
    [system("EADDRNOTAVAIL", { syscall: "connect", address: "::1", port: 1 }), undefined],
    [
      system("EINVAL", { syscall: "connect", address: "fe80::1", port: 1 }),
      /needs its network card: fe80::1%eth0/,
    ],
    [system("EINVAL", { syscall: "bind", address: "FEBF::1", port: 1 }), /needs its network card/],
    [system("EINVAL", { syscall: "bind", address: "fe80::1%eth0", port: 1 }), /; :: is all of them/],
    [system("ECONNREFUSED", { syscall: "connect" }), /start the server first/],
    [system("EMSGSIZE", { syscall: "send" }), /65507 bytes/],
    [system("EMSGSIZE", { syscall: "send", address: "::ffff:127.0.0.1", port: 1 }), /65507 bytes over IPv4/],
    [system("EMSGSIZE", { syscall: "send", address: "::1", port: 1 }), /65527 bytes over IPv6/],
    [system("EACCES", { syscall: "listen" }), /ports below 1024/],
    [system("EACCES", { syscall: "bind" }), /ports below 1024/],
    [system("EACCES", { syscall: "listen", address: "127.0.0.1", port: 1023 }), /ports below 1024/],
    [system("EACCES", { syscall: "listen", address: "127.0.0.1", port: 7890 }), undefined], // Windows keeps some
    [system("EACCES", { syscall: "open" }), undefined],
    [system("ECONNRESET", { syscall: "read" }), undefined],
  ];
  test.each(hints)("a hint where one helps: %#", (error, hint) => {
    if (hint) expect(explain(error)?.hint).toMatch(hint);
    else expect(explain(error)?.hint).toBeUndefined();
  });

  test("a real error of this runtime", async () => {
    await using server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    const [error] = await once(createServer().listen(port, "127.0.0.1"), "error").catch((error) => [error]);
    expect(explain(error)?.message).toBe(`listen on 127.0.0.1:${port}: address already in use (EADDRINUSE)`);
  });
});

describe("Failure", () => {
  test("what, why, code; 1 is the exit code, and there is no hint", () => {
    const failure = new Failure("127.0.0.1:80", "no reply", "ETIMEDOUT");
    expect(failure.message).toBe("127.0.0.1:80: no reply (ETIMEDOUT)");
    expect([failure.exitCode, failure.hint]).toEqual([1, undefined]);
    expect(failure).toBeInstanceOf(Error);
  });

  test("a long name is cut", () => {
    expect(new Failure("n".repeat(100), "why", "CODE").what).toBe("n".repeat(100));
    expect(new Failure("n".repeat(101), "why", "CODE").message).toBe(`${"n".repeat(100)}...: why (CODE)`);
    expect(new Failure("名".repeat(5000), "why", "CODE").message.length).toBeLessThan(120);
  });

  test("long words are cut", () => {
    expect(new Failure("what", "w".repeat(220), "CODE").why).toBe("w".repeat(220));
    expect(new Failure("what", "w".repeat(221), "CODE").message).toBe(`what: ${"w".repeat(220)}... (CODE)`);
  });
});

test("a stop is told from an error", () => {
  expect(isStop(AbortSignal.abort().reason)).toBe(true);
  expect(isStop(new SuppressedError(new Error("close"), AbortSignal.abort().reason))).toBe(true);
  expect(isStop(AbortSignal.abort(new Failure("a", "b", "C")).reason)).toBe(false);
  expect(isStop(new Error("abort"))).toBe(false);
  expect(isStop("AbortError")).toBe(false);
});
