/** Lesson 1.1, with an `ip` of the test's own: cards of every kind that ip(8) can tell of. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { delimiter } from "node:path";
import process from "node:process";
import { temporaryFolder } from "../engine/files.ts";
import { environment } from "../engine/environment.ts";
import { script } from "../engine/program.ts";

setDefaultTimeout(60_000); // what hangs is told by program.ts, after 30 s

const mac = "02:42:ac:11:00:02";
const CARDS = [
  {
    ...{ ifname: "lo", flags: ["LOOPBACK", "UP", "LOWER_UP"], address: "00:00:00:00:00:00" },
    addr_info: [{ local: "::1", prefixlen: 128 }, { local: "127.0.0.1", prefixlen: 8 }],
  },
  {
    ...{ ifname: "eth0", flags: ["BROADCAST", "MULTICAST", "UP"], address: mac },
    addr_info: [
      { local: "10.1.2.3", prefixlen: 20, broadcast: "10.1.15.255" },
      { local: "10.7.0.1", prefixlen: 24, broadcast: "10.7.0.200" },
      { local: "10.8.0.1", prefixlen: 31 },
      { local: "10.9.0.1", prefixlen: 30 },
      { local: "10.1.1.1", address: "192.168.5.2", prefixlen: 24 },
    ],
  },
  {
    ...{ ifname: "down0", flags: ["BROADCAST", "MULTICAST"], address: "02:42:ac:11:00:03" },
    addr_info: [{ local: "172.18.0.1", prefixlen: 16, broadcast: "172.18.255.255" }],
  },
  {
    ...{ ifname: "tun0", flags: ["POINTOPOINT", "NOARP", "UP"] },
    addr_info: [{ local: "10.8.0.2", prefixlen: 24, broadcast: "10.8.0.255" }, {
      local: "fd00::7",
      prefixlen: 64,
    }],
  },
  { ...{ ifname: "gre0", flags: ["NOARP", "UP"], address: "192.0.2.1" }, addr_info: [] },
  {}, // ip 6.x writes an empty one for each card that it leaves out
];

test("loopback, down, without a MAC, point to point, with a peer", async () => {
  await using folder = temporaryFolder();
  await writeFile(folder.at("ip"), '#!/bin/sh\n[ "$*" = \'-json addr\' ] && cat "$0.json"', { mode: 0o755 });
  await writeFile(folder.at("ip.json"), JSON.stringify(CARDS).replace("eth0", "it\\'s")); // ip quotes the quote, which JSON does not know
  const env = { PATH: [folder.path, environment().PATH ?? process.env.PATH].join(delimiter) };
  await using program = script("network/interfaces", [], { env });
  const { code, stdout, stderr } = await program.result();
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout.slice(stdout.indexOf("\n") + 1)).toBe(`lo  loopback
  IPv4 127.0.0.1/8  network 127.0.0.0  broadcast 127.255.255.255
  IPv6 ::1/128  network ::1
it's  MAC ${mac}
  IPv4 10.1.2.3/20  network 10.1.0.0  broadcast 10.1.15.255
  IPv4 10.7.0.1/24  network 10.7.0.0  broadcast 10.7.0.200
  IPv4 10.8.0.1/31  network 10.8.0.0
  IPv4 10.9.0.1/30  network 10.9.0.0  broadcast 10.9.0.3
  IPv4 10.1.1.1 peer 192.168.5.2/24  network 192.168.5.0
down0  MAC 02:42:ac:11:00:03
  no address
tun0  MAC none
  IPv4 10.8.0.2/24  network 10.8.0.0
  IPv6 fd00::7/64  network fd00::
gre0  MAC none
  no address
`);
});
