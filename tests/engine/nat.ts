/**
 * Two NATs and a public network between them. Linux, with nft.
 *
 *     client A 192.168.1.2 -- NAT A 203.0.113.1 --+
 *                                                 +-- server 203.0.113.9
 *     client B 192.168.2.2 -- NAT B 203.0.113.2 --+
 */
import { addCard, addHost, addSwitch, hasNamespaces, type Host, makeNetwork, shell } from "./network.ts";

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

/**
 * Lines that make a host a NAT between its cards eth1, inside, and eth0. It lets out what comes from inside, over IPv4
 * under its own address, and in only the answers to it (address and port-dependent filtering, RFC 4787, section 5):
 * what nobody inside has asked for is dropped.
 */
export const addNat = (host: string, mapping: Mapping) =>
  `ip netns exec ${host} sh -ec 'cd /proc/sys/net
     echo 1 >ipv4/ip_forward; echo 1 >ipv6/conf/all/forwarding
     nft -f -' <<END
table ip nat {
  chain outward {
    type nat hook postrouting priority srcnat
    oifname eth0 masquerade ${mapping === "random" ? "fully-random" : ""}
  }
}
table inet filter {
  chain inward {
    type filter hook input priority 0
    iifname eth0 ct state new drop
  }
  chain through {
    type filter hook forward priority 0; policy drop
    iifname eth1 accept
    ct state established,related accept
  }
}
END
`;

/** Lines that count what comes to the server. */
const COUNTERS = `ip netns exec server nft -f - <<END
table inet count {
  counter seen_tcp { }
  counter seen_udp { }
  chain input {
    type filter hook input priority 0
    ip saddr 203.0.113.0/24 tcp flags & psh == psh counter name seen_tcp
    ip saddr 203.0.113.0/24 meta l4proto udp counter name seen_udp
  }
}
END
`;

export async function nats(mapping: [a: Mapping, b: Mapping]): Promise<Nats> {
  const server = addHost("server") + addCard("server", "eth0", "public", "server", ["203.0.113.9/24"]) +
    COUNTERS;
  const homes = mapping.map((kind, index) => {
    const number = index + 1;
    const [nat, client, home] = [`nat${number}`, `client${number}`, `home${number}`];
    return addSwitch(home) + addHost(nat) +
      addCard(nat, "eth0", "public", nat, [`203.0.113.${number}/24`]) +
      addCard(nat, "eth1", home, `inside${number}`, [`192.168.${number}.1/24`]) + addNat(nat, kind) +
      addHost(client) + addCard(client, "eth0", home, client, [`192.168.${number}.2/24`]) +
      `ip -n ${client} route add default via 192.168.${number}.1\n`;
  });
  const network = await makeNetwork(addSwitch("public") + server + homes.join(""), [
    "server",
    "client1",
    "client2",
  ]);
  const [at, a, b] = network.hosts;
  return {
    server: at,
    clients: [a, b],
    async arrived() {
      const listed = await shell(at, "nft reset counters table inet count");
      const count = (name: string) =>
        Number(RegExp(`counter seen_${name} \\{\\s*packets (\\d+)`).exec(listed)?.[1]);
      return { tcp: count("tcp"), udp: count("udp") };
    },
    async cut(nat) {
      await shell(
        network.host(`nat${nat + 1}`),
        "nft insert rule inet filter through meta l4proto udp ip saddr != 203.0.113.9 ip daddr != 203.0.113.9 drop",
      );
    },
    [Symbol.asyncDispose]: () => network[Symbol.asyncDispose](),
  };
}
