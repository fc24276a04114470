/** Lessons 2.1, 2.2, 2.3 and 2.6: which addresses are the same one, and which one a receiver sees. */
import { describe, expect, test } from "bun:test";
import type { Socket } from "node:dgram";
import { isSameAddress } from "../../scripts/udp/same-address.ts";
import { sourceName } from "../../scripts/udp/source-name.ts";

test("two addresses that are the same one", () => {
  const same = [
    ["127.0.0.1", "127.0.0.1"],
    ["::ffff:7f00:1", "127.0.0.1"],
    ["::ffff:127.0.0.1", "::FFFF:7F00:1"],
    ["FD09:0::2", "fd09::2"],
    ["0.0.0.0", "127.0.0.1"],
    ["::ffff:0.0.0.0", "127.0.0.1"],
    ["::", "::1"],
    ["0:0:0:0:0:0:0:0", "::1"],
    ["fe80::1%eth0", "FE80::1%eth0"],
    ["fe80::1%eth0", "fe80::1"], // Deno
  ];
  const different = [
    ["127.0.0.1", "127.0.0.2"],
    ["127.0.0.1", "::1"],
    ["0.0.0.0", "::1"],
    ["0.0.0.0", "192.0.2.1"],
    ["fe80::1%eth0", "fe80::1%eth1"],
    ["fe80::1%eth0", "fe80::2%eth0"],
  ];
  for (const [a, b] of same) {
    expect([a, b, isSameAddress(a, b), isSameAddress(b, a)]).toEqual([a, b, true, true]);
  }
  for (const [a, b] of different) {
    expect([a, b, isSameAddress(a, b), isSameAddress(b, a)]).toEqual([a, b, false, false]);
  }
});

describe("sourceName", () => {
  const bound = (address: string, family = "IPv4") =>
    ({ address: () => ({ address, port: 9, family }) }) as unknown as Socket;
  const names: [bound: Socket, host: string, name: string][] = [
    [bound("0.0.0.0"), "127.0.0.1", "127.0.0.1:9"],
    [bound("::", "IPv6"), "::1", "[::1]:9"],
    [bound("0.0.0.0"), "0.0.0.0", "127.0.0.1:9"], // to send to every address is to send to this machine
    [bound("::", "IPv6"), "::", "[::1]:9"],
    [bound("::", "IPv6"), "::ffff:127.0.0.1", "127.0.0.1:9"], // IPv4, through an IPv6 socket
    [bound("0.0.0.0"), "192.0.2.1", "0.0.0.0:9"], // only the system knows
    [bound("192.0.2.7"), "127.0.0.1", "192.0.2.7:9"],
  ];
  test.each(names)("%#", (socket, host, name) => expect(sourceName(socket, host)).toBe(name));
});
