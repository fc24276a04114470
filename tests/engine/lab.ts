/**
 * The lab: a small internet on one machine, as MAP draws it. Linux, with ip, tc and nft.
 *
 * Inside, each host's name is a command: `alice bun scripts/udp/receive.ts`. These commands, and those that make the
 * network worse, are links to lab.sh; what they need to know is below /run/lab, which is the lab's own.
 */
import { ROOT } from "./environment.ts";
import { addNat } from "./nat.ts";
import { addCard, addHost, addSwitch, makeNetwork, type Network } from "./network.ts";

/** What the lab needs on this machine. */
export const TOOLS = ["unshare", "nsenter", "mount", "ip", "tc", "nft"];

/** Machines, and what is before the addresses of each network: the last number is the same for IPv4 and IPv6. */
const LAN = ["198.51.100.", "2001:db8:a::"];
const PUBLIC = ["203.0.113.", "2001:db8:f::"];
const HOMES = [["192.168.1.", "2001:db8:1::"], ["192.168.2.", "2001:db8:2::"]];

/** The hosts on which people run programs, with their networks and numbers. */
const HOSTS: [name: string, net: string[], number: number, bridge: string][] = [
  ["alice", LAN, 1, "lan"],
  ["bob", LAN, 2, "lan"],
  ["carol", LAN, 3, "lan"],
  ["dave", HOMES[0], 2, "home1"],
  ["erin", HOMES[1], 2, "home2"],
  ["server", PUBLIC, 9, "public"],
];

export const MAP = `
  LAN 198.51.100.0/24             internet 203.0.113.0/24          homes
  2001:db8:a::/64                 2001:db8:f::/64

  alice .1 --+                      +-- server .9
             |                      |
  bob   .2 --+-- .254 router .254 --+-- nat1 .1 -- .1 192.168.1.0/24 .2 -- dave
             |                      |
  carol .3 --+                      +-- nat2 .2 -- .1 192.168.2.0/24 .2 -- erin

  over IPv6 (::1 for .1): dave 2001:db8:1::2, erin 2001:db8:2::2, without NAT;
  nat1 and nat2 let in only answers to what was asked from inside
`;

/** The commands, beside the names of hosts. */
const COMMANDS = ["down", "up", "loss", "delay", "rate", "block", "unblock", "wire", "lab", "lab-shell"];

const address = ([v4, v6]: string[], number: number) => [`${v4}${number}/24`, `${v6}${number}/64`];

/** Lines that keep the routes of a machine, for a card that comes up again, and set them. */
const addRoutes = (host: string, routes: string[]) =>
  `echo '${routes.map((route) => `route replace ${route}`).join("\n")}' >/run/lab/routes/${host}
   ip -n ${host} -batch /run/lab/routes/${host}\n`;

/** Makes the lab. */
export function makeLab(): Promise<Network> {
  const names = HOSTS.map(([name]) => name);
  const known = HOSTS.flatMap(([name, nets, number]) => nets.map((net) => `${net}${number} ${name}`));
  const hosts = HOSTS.map(([name, net, number, bridge]) =>
    addHost(name) + addCard(name, "eth0", bridge, name, address(net, number))
  );
  const nats = HOMES.map((home, index) => {
    const number = index + 1;
    const nat = `nat${number}`;
    const [, other] = HOMES[1 - index];
    return addHost(nat) + addCard(nat, "eth0", "public", nat, address(PUBLIC, number)) +
      addCard(nat, "eth1", `home${number}`, `inside${number}`, address(home, 1)) + addNat(nat, "same") +
      addRoutes(nat, [
        `default via ${PUBLIC[0]}254`,
        `default via ${PUBLIC[1]}254`,
        `${other}/64 via ${PUBLIC[1]}${2 - index}`,
      ]);
  });
  const homes = HOMES.map(([, v6], index) => `${v6}/64 via ${PUBLIC[1]}${index + 1}`);
  const router = addHost("router") + addCard("router", "eth0", "lan", "lan-router", address(LAN, 254)) +
    addCard("router", "eth1", "public", "public-router", address(PUBLIC, 254)) +
    "ip netns exec router sh -ec 'cd /proc/sys/net; echo 1 >ipv4/ip_forward; echo 1 >ipv6/conf/all/forwarding'\n" +
    addRoutes("router", homes);
  const defaults = HOSTS.map(([name, net, , bridge]) => {
    const gateway = bridge.startsWith("home") ? 1 : 254;
    const [v4, v6] = net.map((prefix) => `default via ${prefix}${gateway}`);
    return addRoutes(name, [v4, v6, ...(net === PUBLIC ? homes : [])]);
  });
  const folders = `mkdir -p /run/lab/bin /run/lab/routes /run/lab/worse /run/lab/tmp
    ln -s '${ROOT.replaceAll("'", "'\\''")}' /run/lab/project
    for name in ${[...names, ...COMMANDS].join(" ")}; do
      ln -s /run/lab/project/tests/engine/lab.sh /run/lab/bin/$name
    done
    cat >/run/lab/map <<'END'${MAP}END
    printf '%s\\n' '127.0.0.1 localhost' '::1 localhost' ${
    known.map((line) => `'${line}'`).join(" ")
  } >/run/lab/hosts
    : >/run/lab/resolv.conf
    for file in hosts resolv.conf; do
      [ ! -f /etc/$file ] || mount --bind /run/lab/$file /etc/$file
    done\n`;
  const switches = ["lan", "public", "home1", "home2"].map(addSwitch);
  return makeNetwork([folders, ...switches, router, ...nats, ...hosts, ...defaults].join(""), names);
}
