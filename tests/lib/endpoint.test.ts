/** Endpoints, as people write them. */
import { expect, test } from "bun:test";
import { endpoint, isEveryAddress, isLoopback } from "../../lib/endpoint.ts";

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
  for (const address of ["0.0.0.0", "::", "0:0:0:0:0:0:0:0"]) {
    expect([address, isEveryAddress(address)]).toEqual([address, true]);
  }
  for (const address of ["127.0.0.1", "::1", "10.0.0.0", "", "1::"]) {
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
