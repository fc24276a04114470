/** Names turned into addresses. */
import { expect, test } from "bun:test";
import { resolve } from "../../lib/arguments.ts";

const addresses: [host: string, address: string, family: 4 | 6][] = [
  ["127.0.0.1", "127.0.0.1", 4],
  ["0.0.0.0", "0.0.0.0", 4],
  ["::1", "::1", 6],
  ["fe80::1", "fe80::1", 6],
  ["localhost", "127.0.0.1", 4], // the IPv4 address first
];
test.each(addresses)("%s", async (host, address, family) => {
  expect(await resolve(host)).toEqual({ address, family });
});

test.each(["no.such.host.invalid", "256.1.1.1", "a b", "[::1]"])("%s is no host", async (host) => {
  const error = await resolve(host).catch((error) => error);
  expect(error.what).toBe(`look up ${host}`);
  expect(error.exitCode).toBe(1);
  expect(`${error.why} (${error.code})`).toBeOneOf([
    "unknown host (ENOTFOUND)",
    "no name server answers (EAI_AGAIN)",
  ]);
  expect(error.hint).toContain("127.0.0.1 needs no look-up");
});

test("no name at all, and an interface that does not exist", async () => {
  for (const [host, code] of [["", "EINVAL"], ["fe80::1%nope", "ENODEV"]]) {
    expect((await resolve(host).catch((error) => error)).code).toBe(code);
  }
});
