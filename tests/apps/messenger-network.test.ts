/** Lesson 4.4 between machines: a server with several addresses, link-local ones, and a card that goes down. (thorough) */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { hasNamespaces, type Host, privateNetwork } from "../engine/network.ts";
import {
  EVERYTHING,
  EVERYWHERE,
  type Program,
  ROOT,
  type Runtime,
  RUNTIMES,
  start,
} from "../engine/program.ts";
import { until } from "./messenger-peers.ts";

setDefaultTimeout(60_000);

/** Starts an end of the lesson on a host. */
const run = (host: Host, runtime: Runtime, name: "server" | "client", words: string[]) =>
  start([...host, ...RUNTIMES[runtime], join(ROOT, `scripts/apps/messenger-${name}.ts`), ...words], {
    limit: 20_000,
  });

async function shell(host: Host, script: string): Promise<string> {
  const { code, stdout, stderr } = await start([...host, "sh", "-ec", script]).result();
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout.trim();
}

/** The endpoint at which the server sees a client. */
async function seen(client: Program, name: string): Promise<string> {
  const line = `${await client.next()}`;
  expect(line).toStartWith(`logged in as ${name}, seen at `);
  return line.split("seen at ")[1];
}

/** The link-local address of a host. */
const linkLocal = (host: Host) =>
  shell(host, `ip -6 -o addr show dev eth0 scope link | sed 's/.*inet6 //; s|/.*||'`);

describe.skipIf(!hasNamespaces)("between machines (needs unshare and ip)", () => {
  for (const runtime of EVERYWHERE) {
    test(`a server that answers from another of its addresses, on ${runtime}`, async () => {
      await using network = await privateNetwork(3);
      const [server, ...clients] = network.hosts;
      // Only a route makes sure from which of two addresses the answer comes.
      await shell(
        server,
        `ip addr add 10.9.0.50/24 dev eth0; ip addr add fd09::50/64 dev eth0
         ip route replace 10.9.0.0/24 dev eth0 src 10.9.0.1
         ip -6 route replace fd09::/64 dev eth0 src fd09::1`,
      );
      const zoned = `${await linkLocal(server)}%eth0`;
      const hosts = [["0.0.0.0", "10.9.0.50"], ["::", "fd09::50"], ["::", zoned]];
      // Deno 2.9 cannot connect to a link-local address by TCP: it says EINVAL.
      for (const [bound, host] of EVERYTHING && runtime !== "deno" ? hosts : hosts.slice(0, 2)) {
        await using listening = run(server, runtime, "server", ["--host", bound]);
        await listening.port();
        await using one = run(clients[0], runtime, "client", ["--host", host, "one"]);
        const placeOfOne = await seen(one, "one");
        await using two = run(clients[1], runtime, "client", ["--host", host, "two"]);
        const placeOfTwo = await seen(two, "two");
        two.type("/direct one\n");
        await until(
          two,
          `direct way to one: ${placeOfOne.replace("]", host.includes("%") ? "%eth0]" : "]")}`,
        );
        await until(
          one,
          `direct way to two: ${placeOfTwo.replace("]", host.includes("%") ? "%eth0]" : "]")}`,
        );
        two.type("/to one hi\n");
        await until(one, "two (direct) > hi");
        two.endOfInput();
        expect(await two.result()).toMatchObject({ code: 0, stderr: "" });
      }
    });

    test(`a card that is down for a while ends no client, on ${runtime}`, async () => {
      await using network = await privateNetwork(3);
      const [server, ...hosts] = network.hosts;
      await using listening = run(server, runtime, "server", ["--host", "10.9.0.1"]);
      await listening.port();
      await using one = run(hosts[0], runtime, "client", ["--host", "10.9.0.1", "one"]);
      await seen(one, "one");
      await using two = run(hosts[1], runtime, "client", ["--host", "10.9.0.1", "two"]);
      const place = await seen(two, "two");
      one.type("/direct two\n");
      await until(one, `direct way to two: ${place}`);
      for (const host of [hosts[0], server]) {
        await shell(host, "ip link set eth0 down");
        one.type("/to two while it is down\nto all\n");
        await new Promise((resolve) => setTimeout(resolve, 500)); // for the datagrams that cannot be sent
        await shell(host, "ip link set eth0 up");
        const wanted = [/^one \(.*\) > while it is down$/, /^one > to all$/];
        while (wanted.length > 0) {
          const line = `${await two.next()}`;
          if (line.includes(">")) expect(line).toMatch(wanted.find((one) => one.test(line)) ?? wanted[0]);
          wanted.splice(0, wanted.length, ...wanted.filter((one) => !one.test(line)));
        }
      }
      one.endOfInput();
      expect((await one.result()).stderr).toBe("");
      two.endOfInput();
      expect(await two.result()).toMatchObject({ code: 0, stderr: "" });
      listening.signal("SIGINT");
      expect(await listening.result()).toMatchObject({ code: 0, stderr: "" });
    });
  }
});
