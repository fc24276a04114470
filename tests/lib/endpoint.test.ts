/** Endpoints, as people write them. */
import { expect, test } from "bun:test";
import { canonical, endpoint, isEveryAddress, isLoopback } from "../../lib/socket.ts";

const written: [address: string, port: number | undefined, text: string][] = [
  ["127.0.0.1", 7788, "127.0.0.1:7788"],
  ["127.0.0.1", 0, "127.0.0.1:0"],
  ["127.0.0.1", undefined, "127.0.0.1"],
  ["::1", 7788, "[::1]:7788"],
  ["::1", undefined, "[::1]"],
  ["fe80::1%eth0", 80, "[fe80::1%eth0]:80"],
  ["::ffff:127.0.0.1", 80, "127.0.0.1:80"],
  ["::FFFF:192.0.2.1", undefined, "192.0.2.1"],
  ["::ffff:7f00:1", 80, "[::ffff:7f00:1]:80"],
];
test.each(written)("%s %p is %s", (address, port, text) => expect(endpoint(address, port)).toBe(text));

test("every address of a machine", () => {
  for (const address of ["0.0.0.0", "::", "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0"]) {
    expect([address, isEveryAddress(address)]).toEqual([address, true]);
  }
  for (const address of ["127.0.0.1", "::1", "10.0.0.0", "", "1::", "::ffff:10.0.0.0"]) {
    expect([address, isEveryAddress(address)]).toEqual([address, false]);
  }
});

test("addresses that never leave a machine", () => {
  for (const address of ["127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1"]) {
    expect([address, isLoopback(address)]).toEqual([address, true]);
  }
  for (const address of ["128.0.0.1", "0.0.0.0", "::", "::2", "::ffff:10.0.0.1", "1127.0.0.1"]) {
    expect([address, isLoopback(address)]).toEqual([address, false]);
  }
});

test.each([
  ["0:0::1", "::1"],
  ["FD09:0:0::2", "fd09::2"],
  ["::ffff:7f00:1", "::ffff:127.0.0.1"],
  ["::FFFF:192.0.2.255", "::ffff:192.0.2.255"],
  ["FE80::1%nosuch", "fe80::1%nosuch"],
  ["fe80::1%99999", "fe80::1%99999"], // no card has that number
])("%s is written %s by the system", (address, written) => expect(canonical(address)).toBe(written));
