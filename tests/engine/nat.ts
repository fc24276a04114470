/**
 * Two NATs and a public network between them, in namespaces (man 7 network_namespaces), so without root, and
 * without a word on the real network. Linux, with nft.
 *
 *     client A 192.168.1.2 -- NAT A 203.0.113.1 --+
 *                                                 +-- server 203.0.113.9
 *     client B 192.168.2.2 -- NAT B 203.0.113.2 --+
 *
 * Each NAT lets out what comes from inside, under its own address, and in only the answers to it (address
 * and port-dependent filtering, RFC 4787, section 5): what nobody inside has asked for is dropped.
 */
import { hasNamespaces, type Host } from "./network.ts";
import { type Program, start } from "./program.ts";

/** Whether this machine can do that. */
export const HAS_NATS = hasNamespaces && Boolean(Bun.which("nft"));

/** How a NAT chooses ports: the one inside where it is free, or any other for each destination. */
export type Mapping = "same" | "random";

export type Nats = AsyncDisposable & {
  /** The words that run a command there. */
  server: Host;
  clients: [a: Host, b: Host];
  /** How many packets of TCP that carry data, and of UDP, have come to the server since the last call. */
  arrived(): Promise<{ tcp: number; udp: number }>;
  /** From now on a NAT forgets what it has let through, and lets no UDP through to anybody but the server. */
  cut(nat: 0 | 1): Promise<void>;
};

export async function nats(mapping: [a: Mapping, b: Mapping]): Promise<Nats> {
  const keepers: Program[] = [];
  const keep = async (command: string[]) => {
    const keeper = start([...command, "sh", "-c", "echo here; exec cat"]);
    keepers.push(keeper);
    if (await keeper.next() !== "here") throw new Error(keeper.seen.stderr.join("\n"));
    const { pid } = keeper;
    return { pid, enter: ["nsenter", "-t", `${pid}`, "-U", "-n", "--preserve-credentials"] };
  };
  const shell = async (host: Host, script: string) => {
    const { code, stdout, stderr } = await start([...host, "sh", "-ec", script]).result();
    if (code !== 0) throw new Error(`${script}\n${stderr}`);
    return stdout;
  };
  const end = async () => {
    for (const keeper of keepers.toReversed()) await keeper[Symbol.asyncDispose]();
  };
  try {
    const bridge = await keep(["unshare", "-Urn"]);
    const inside = () => keep([...bridge.enter, "unshare", "-n"]);
    await shell(bridge.enter, "ip link add switch type bridge; ip link set switch up");
    const plug = async (pid: number, host: Host, name: string, address: string) => {
      await shell(
        bridge.enter,
        `ip link add ${name} type veth peer name eth0 netns ${pid}; ip link set ${name} master switch up`,
      );
      await shell(host, `ip address add ${address}/24 dev eth0; ip link set eth0 up; ip link set lo up`);
    };
    const server = await inside();
    await plug(server.pid, server.enter, "server", "203.0.113.9");
    await shell(
      server.enter,
      `nft -f - <<END
table inet count {
  counter seen_tcp { }
  counter seen_udp { }
  chain input {
    type filter hook input priority 0
    ip saddr 203.0.113.0/24 tcp flags & psh == psh counter name seen_tcp
    ip saddr 203.0.113.0/24 meta l4proto udp counter name seen_udp
  }
}
END`,
    );
    const sides: { nat: Host; client: Host }[] = [];
    for (const [index, kind] of mapping.entries()) {
      const number = index + 1;
      const nat = await inside();
      await plug(nat.pid, nat.enter, `nat${number}`, `203.0.113.${number}`);
      const client = await inside();
      await shell(nat.enter, `ip link add eth1 type veth peer name eth0 netns ${client.pid}`);
      await shell(nat.enter, `ip address add 192.168.${number}.1/24 dev eth1; ip link set eth1 up`);
      await shell(
        client.enter,
        `ip address add 192.168.${number}.2/24 dev eth0; ip link set eth0 up; ip link set lo up
         ip route add default via 192.168.${number}.1`,
      );
      await shell(
        nat.enter,
        `echo 1 > /proc/sys/net/ipv4/ip_forward
         nft -f - <<END
table ip nat {
  chain outward {
    type nat hook postrouting priority srcnat
    oifname eth0 masquerade ${kind === "random" ? "fully-random" : ""}
  }
}
table ip filter {
  chain inward {
    type filter hook input priority 0
    iifname eth0 ct state new drop
  }
  chain through {
    type filter hook forward priority 0; policy drop
    iifname eth1 accept
    ct state established accept
  }
}
END`,
      );
      sides.push({ nat: nat.enter, client: client.enter });
    }
    return {
      server: server.enter,
      clients: [sides[0].client, sides[1].client],
      async arrived() {
        const listed = await shell(server.enter, "nft reset counters table inet count");
        const count = (name: string) =>
          Number(RegExp(`counter seen_${name} \\{\\s*packets (\\d+)`).exec(listed)?.[1]);
        return { tcp: count("tcp"), udp: count("udp") };
      },
      async cut(nat) {
        await shell(
          sides[nat].nat,
          "nft insert rule ip filter through meta l4proto udp ip saddr != 203.0.113.9 ip daddr != 203.0.113.9 drop",
        );
      },
      [Symbol.asyncDispose]: end,
    };
  } catch (error) {
    await end();
    throw error;
  }
}
