/** Names turned into addresses. */
import { expect, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import process from "node:process";
import { resolve } from "../../lib/arguments.ts";
import { temporaryFolder } from "../engine/files.ts";
import { EVERYWHERE, RUNTIMES, start } from "../engine/program.ts";

const addresses: [host: string, address: string, family: 4 | 6][] = [
  ["127.0.0.1", "127.0.0.1", 4],
  ["0.0.0.0", "0.0.0.0", 4],
  ["::1", "::1", 6],
  ["fe80::1", "fe80::1", 6],
  ["localhost", "127.0.0.1", 4],
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

const canMount = process.platform === "linux" && (await start(["unshare", "-Urm", "true"]).ended()) === 0;

test.skipIf(!canMount)("of a name with both, the IPv4 address (needs unshare)", async () => {
  await using folder = temporaryFolder();
  await writeFile(folder.at("hosts"), "::1 both.test\n127.0.0.1 both.test\n");
  for (const runtime of EVERYWHERE) {
    const send = [...RUNTIMES[runtime], "scripts/udp/send.ts", "--host", "both.test", "--port", "9", "x"];
    const mount = 'mount --bind "$0" /etc/hosts && exec "$@"'; // in a namespace of its own
    await using program = start(["unshare", "-Urm", "sh", "-c", mount, folder.at("hosts"), ...send]);
    const { code, stdout, stderr } = await program.result();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^sent 1 bytes from 127\.0\.0\.1:\d+ to 127\.0\.0\.1:9\n$/);
  }
});
