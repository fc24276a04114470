/** Lesson 1.1, against `ip -json addr`, and on machines that miss something. (thorough) */
import { expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { hostname } from "node:os";
import { CAN_BE_ALONE, startAlone } from "../engine/alone.ts";
import { EVERYWHERE, RUNTIMES, script } from "../engine/program.ts";

setDefaultTimeout(60_000); // what hangs is told by program.ts, after 30 s

const HAS_IP = spawnSync("ip", ["-json", "addr"]).status === 0;

type Card = {
  name: string;
  mac: string | null;
  loopback: boolean;
  addresses: {
    family: string;
    address: string;
    peer: string | null;
    prefix: number;
    network: string;
    broadcast: string | null;
  }[];
};

type IpCard = {
  ifname: string;
  address?: string;
  flags: string[];
  addr_info: { local: string; prefixlen: number; broadcast?: string }[];
};

/** What we say and what `ip` says, as far as both say it: who has which address, and all about the card. */
function ofOurs(json: string) {
  const { cards } = JSON.parse(json) as { cards: Card[] };
  return cards.map(({ name, mac, loopback, addresses }) => ({
    name,
    mac,
    loopback,
    addresses: addresses.map(({ address, prefix }) => `${address}/${prefix}`).sort(),
  }));
}

function ofIp(json: string) {
  return (JSON.parse(json) as IpCard[]).map(({ ifname, address, flags, addr_info }) => ({
    name: ifname,
    mac: address === undefined || address === "00:00:00:00:00:00" ? null : address,
    loopback: flags.includes("LOOPBACK"),
    addresses: flags.includes("UP")
      ? addr_info.map(({ local, prefixlen }) => `${local}/${prefixlen}`).sort()
      : [],
  }));
}

/** Runs commands in a network of its own: what `ip` says there, then, after some more, what each runtime says. */
async function alone(shell: string, then = ""): Promise<{ ip: string; ours: string[]; stderr: string }> {
  const one = (command: string) => `${command} scripts/network/interfaces.ts --json | tr -d '\\n'; echo`;
  const commands = EVERYWHERE.map((runtime) => one(RUNTIMES[runtime].join(" ")));
  await using program = startAlone([shell, "ip -json addr", then, ...commands].join("\n"));
  const { code, stdout, stderr } = await program.result();
  expect(code, stderr).toBe(0);
  const [ip, ...ours] = stdout.trim().split("\n");
  expect(ours).toHaveLength(EVERYWHERE.length);
  return { ip, ours, stderr };
}

for (const runtime of EVERYWHERE) {
  test.skipIf(!HAS_IP)(
    `the cards of this machine are those of ip addr, on ${runtime} (needs ip)`,
    async () => {
      const before = spawnSync("ip", ["-json", "addr"], { encoding: "utf8" }).stdout;
      await using program = script("network/interfaces", ["--json"], { runtime });
      const { code, stdout, stderr } = await program.result();
      expect(stderr).toBe("");
      expect(code).toBe(0);
      expect(ofOurs(stdout)).toEqual(ofIp(before));
      expect(JSON.parse(stdout).hostname).toBe(hostname());
    },
  );
}

test.skipIf(!CAN_BE_ALONE)("many addresses on one card (needs unshare and ip)", async () => {
  const { ip, ours } = await alone(`
    ip addr add 10.1.2.3/20 brd + dev lo
    ip addr add 10.7.0.1/24 brd + dev lo label lo:1
    ip addr add 10.8.0.1/31 dev lo
    ip addr add 10.8.1.1/32 dev lo
    ip addr add 2001:db8::1:0:0:1/48 dev lo nodad
    ip addr add fe80::7/64 dev lo nodad`);
  for (const json of ours) {
    expect(ofOurs(json)).toEqual(ofIp(ip));
    expect(json).toBe(ours[0]); // the same answer on all three
    const [{ addresses }] = (JSON.parse(json) as { cards: Card[] }).cards;
    const found = Object.fromEntries(
      addresses.map(({ address, network, broadcast }) => [address, [network, broadcast]]),
    );
    expect(found).toEqual({
      "127.0.0.1": ["127.0.0.0", "127.255.255.255"],
      "10.1.2.3": ["10.1.0.0", "10.1.15.255"],
      "10.7.0.1": ["10.7.0.0", "10.7.0.255"],
      "10.8.0.1": ["10.8.0.0", null], // RFC 3021: a line of two has no broadcast
      "10.8.1.1": ["10.8.1.1", null],
      "::1": ["::1", null],
      "2001:db8::1:0:0:1": ["2001:db8::", null],
      "fe80::7": ["fe80::", null],
    });
    for (const { local, broadcast } of (JSON.parse(ip) as IpCard[])[0].addr_info) {
      if (broadcast) expect(found[local][1]).toBe(broadcast);
    }
  }
});

const HAS_VETH = CAN_BE_ALONE &&
  spawnSync("unshare", ["-Urn", "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"]).status ===
    0;

test.skipIf(!HAS_VETH)(
  "cards without a carrier, and cards that are down (needs unshare, ip and veth)",
  async () => {
    const { ip, ours } = await alone(`
    ip link add v0 type veth peer name v1
    ip addr add 172.17.0.1/16 brd + dev v0
    ip addr add 172.17.0.9/16 brd + dev v0
    ip addr add fd17::1/64 dev v0 nodad
    ip addr add 172.17.3.4/32 dev lo
    ip link set v0 up
    ip link add v2 type veth peer name v3
    ip addr add 172.18.0.1/16 brd + dev v2`);
    expect(ip).toContain("NO-CARRIER");
    for (const json of ours) {
      expect(ofOurs(json)).toEqual(ofIp(ip));
      const v0 = ofOurs(json).find(({ name }) => name === "v0");
      expect(v0?.addresses).toEqual(["172.17.0.1/16", "172.17.0.9/16", "fd17::1/64"]);
      const v2 = ofOurs(json).find(({ name }) => name === "v2");
      expect(v2?.addresses).toEqual([]);
      expect(v2?.mac).toMatch(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/);
    }
  },
);

const HAS_TUN = CAN_BE_ALONE &&
  spawnSync("unshare", ["-Urn", "ip", "tuntap", "add", "dev", "tun0", "mode", "tun"]).status === 0;

test.skipIf(!HAS_VETH || !HAS_TUN)(
  "addresses that no route shows, and those of other cards without a carrier (needs unshare, ip, veth and tun)",
  async () => {
    const { ip, ours } = await alone(`
    ip link add v0 type veth peer name v1
    ip link add v2 type veth peer name v3
    ip link add v4 type veth peer name v5
    ip tuntap add dev tun0 mode tun
    ip addr add 172.17.0.1/16 brd + dev v0
    ip addr add 172.17.0.2/32 dev v2
    ip addr add 172.17.1.3/24 brd 172.17.1.200 dev v2 noprefixroute
    ip addr add 10.1.1.1 peer 192.168.5.2/24 dev v2
    ip addr add fd18::1 peer fd19::2/64 dev v2 nodad
    ip addr add 10.2.0.1/24 dev v4 label v4:1
    ip addr add 10.8.0.2/24 dev tun0
    for card in v0 v2 v4 v5 tun0; do ip link set $card up; done
    timeout 5 sh -c 'until ip addr show dev v4 | grep -q "inet6.*link *$"; do :; done'`);
    for (const json of ours) {
      expect(ofOurs(json)).toEqual(ofIp(ip));
      const { cards } = JSON.parse(json) as { cards: Card[] };
      const shown = (name: string) =>
        cards.find((card) => card.name === name)?.addresses
          .filter(({ address }) => !address.startsWith("fe80:"))
          .map((a) => [a.address, a.prefix, a.peer, a.network, a.broadcast]);
      expect(shown("v0")).toEqual([["172.17.0.1", 16, null, "172.17.0.0", "172.17.255.255"]]);
      expect(shown("v2")).toEqual([
        ["172.17.0.2", 32, null, "172.17.0.2", null],
        ["172.17.1.3", 24, null, "172.17.1.0", "172.17.1.200"],
        ["10.1.1.1", 24, "192.168.5.2", "192.168.5.0", null],
        ["fd18::1", 64, "fd19::2", "fd19::", null],
      ]);
      expect(shown("v4")).toEqual([["10.2.0.1", 24, null, "10.2.0.0", "10.2.0.255"]]);
      expect(shown("tun0")).toEqual([["10.8.0.2", 24, null, "10.8.0.0", null]]);
      expect(cards.find(({ name }) => name === "tun0")?.mac).toBeNull();
    }
  },
);

test.skipIf(!HAS_VETH)(
  "a machine without ip: what the runtime lists, an address with a label too (needs unshare, ip and veth)",
  async () => {
    const { ip, ours } = await alone(
      `
    ip link add v0 type veth peer name v1
    ip addr add 10.2.0.1/24 dev v0 label v0:1
    ip link set v0 up
    ip link set v1 up
    timeout 5 sh -c 'until [ "$(ip addr | grep -c "inet6 fe80.*link *$")" = 2 ]; do :; done'`,
      'mount --bind /bin/false "$(readlink -f "$(command -v ip)")"',
    );
    for (const json of ours) expect(ofOurs(json)).toEqual(ofIp(ip));
  },
);

test.skipIf(!HAS_VETH)(
  "the name of a card does not drive the terminal (needs unshare, ip and veth)",
  async () => {
    await using program = startAlone(`
    ip link add "$(printf "v'\\033[31m\\302\\233\\342\\200\\256")" type veth peer name v1
    bun scripts/network/interfaces.ts
    bun scripts/network/interfaces.ts --json`);
    const { code, stdout } = await program.result();
    expect(code).toBe(0);
    expect(stdout).toContain(String.raw`v'\x1b[31m\x9b\u202e  MAC `);
    const { cards } = JSON.parse(stdout.slice(stdout.indexOf("{"))) as { cards: Card[] };
    expect(cards.map(({ name }) => name)).toContain("v'\x1b[31m\x9b\u202e"); // a program gets the name itself
    expect(stdout).not.toMatch(/(?!\n)[\p{Cc}\p{Bidi_Control}]/u);
  },
);

const only = "IPv4 127.0.0.1/8  network 127.0.0.0  broadcast 127.255.255.255";

for (
  const { name, prepare, lines } of [
    {
      name: "the loopback card alone, down and without an address",
      prepare: "ip link set lo down",
      lines: "lo  loopback\n  no address\n",
    },
    {
      name: "a machine without IPv6",
      prepare: "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6",
      lines: `lo  loopback\n  ${only}\n`,
    },
    {
      name: "a system without /proc/net: what the runtime lists",
      prepare: "ip addr del ::1/128 dev lo; mount -t tmpfs none /proc/$$/net",
      lines: `lo  loopback\n  ${only}\n`,
    },
  ]
) {
  test.skipIf(!CAN_BE_ALONE)(`${name} (needs unshare and ip)`, async () => {
    for (const runtime of EVERYWHERE) {
      const command = `${RUNTIMES[runtime].join(" ")} scripts/network/interfaces.ts`;
      await using program = startAlone(`${prepare}\nexec ${command}`);
      const stdout = `host name ${hostname()}\n${lines}`;
      expect(await program.result()).toEqual({ code: 0, stdout, stderr: "" });
    }
  });
}

test("a word is unexpected argument", async () => {
  await using program = script("network/interfaces", ["eth0"]);
  const { code, stdout, stderr } = await program.result();
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toStartWith("error: eth0: unexpected argument (EINVAL)\n");
});
