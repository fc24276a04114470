/**
 * A private network: hosts joined by a bridge, in namespaces of their own (man 7 network_namespaces), so
 * without root, and without a word on the real network. Linux.
 *
 *     await using network = await privateNetwork(3);
 *     await using program = start([...network.hosts[0], "bun", "scripts/udp/receive.ts"]);
 *
 * Host 1 has a card `eth0` with the addresses 10.9.0.1/24 and fd09::1/64, host 2 those with 2, and so on.
 */
import process from "node:process";
import { type Program, start } from "./program.ts";

/** The words that run a command on a host. */
export type Host = string[];

/** Whether this machine can do that: it needs util-linux, iproute2, and namespaces for everybody. */
export const hasNamespaces = process.platform === "linux" &&
  (await start(["unshare", "-Urn", "ip", "link", "add", "near", "type", "veth", "peer", "name", "far"])
      .ended()) === 0;

export class Network implements AsyncDisposable {
  readonly hosts: Host[];
  readonly #keepers: Program[];

  constructor(hosts: Host[], keepers: Program[]) {
    this.hosts = hosts;
    this.#keepers = keepers;
  }

  /** The namespaces end with the last program in them. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const keeper of this.#keepers.toReversed()) await keeper[Symbol.asyncDispose]();
  }
}

export async function privateNetwork(size: number): Promise<Network> {
  const keepers: Program[] = [];
  const network = new Network([], keepers);
  const keep = async (command: string[]) => {
    const keeper = start([...command, "sh", "-c", "echo here; exec cat"]);
    keepers.push(keeper);
    if (await keeper.next() !== "here") throw new Error(keeper.seen.stderr.join("\n"));
    return {
      pid: keeper.pid,
      enter: ["nsenter", "-t", `${keeper.pid}`, "-U", "-n", "--preserve-credentials"],
    };
  };
  const shell = async (host: Host, script: string) => {
    const { code, stderr } = await start([...host, "sh", "-ec", script]).result();
    if (code !== 0) throw new Error(stderr);
  };
  try {
    const bridge = await keep(["unshare", "-Urn"]);
    await shell(bridge.enter, "ip link add switch type bridge; ip link set switch up");
    for (let number = 1; number <= size; number++) {
      const { pid, enter } = await keep([...bridge.enter, "unshare", "-n"]);
      network.hosts.push(enter);
      // Without waiting a second whether an IPv6 address is somebody else's (DAD, RFC 4862).
      await shell(enter, "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad; ip link set lo up");
      await shell(
        bridge.enter,
        `ip link add port${number} type veth peer name eth0 netns ${pid}
         ip link set port${number} master switch up`,
      );
      await shell(
        enter,
        `ip address add 10.9.0.${number}/24 broadcast 10.9.0.255 dev eth0
         ip address add fd09::${number}/64 dev eth0
         ip link set eth0 up`,
      );
    }
    return network;
  } catch (error) {
    await network[Symbol.asyncDispose]();
    throw error;
  }
}
