/**
 * Networks of hosts on one machine, in namespaces of their own (man 7 namespaces): without root, and without a word on
 * the real network. Linux.
 *
 *     await using network = await privateNetwork(3);
 *     await using program = start([...network.hosts[0], "bun", "scripts/udp/receive.ts"]);
 *
 * One program, `cat`, keeps all of it: it is the first process of the namespaces, and when it ends, the kernel ends
 * every process that was started inside, and takes networks and mounts away. It ends with its input, so also when the
 * one who made the network is killed.
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { environment } from "./environment.ts";
import { type Program, start } from "./program.ts";

/** The words that run a command on a host. */
export type Host = string[];

/** The words that make the namespaces, and run a command in them. */
const UNSHARE = ["unshare", "-Urnmpf", "--kill-child", "--mount-proc"];

/** Debian's packages. */
const PACKAGES: Record<string, string> = {
  unshare: "util-linux",
  nsenter: "util-linux",
  mount: "util-linux",
  ip: "iproute2",
  tc: "iproute2",
  nft: "nftables",
};

/** Whether this machine can do that: it needs util-linux, iproute2, and namespaces for everybody. */
export const hasNamespaces = process.platform === "linux" && Boolean(Bun.which("unshare")) && await isMade();

async function isMade(): Promise<boolean> {
  await using program = start([...UNSHARE, ..."ip link add near type veth peer name far".split(" ")]);
  return await program.ended() === 0;
}

/**
 * What this machine lacks for a network, in one sentence; nothing, if it can make one.
 * @param tools the programs that are needed
 */
export function whatIsMissing(tools: string[]): { what: string; hint?: string } | undefined {
  if (process.platform !== "linux") {
    return { what: `network namespaces are a part of Linux, and this is ${process.platform}` };
  }
  const missing = tools.filter((tool) => !Bun.which(tool, { PATH: environment().PATH }));
  if (missing.length > 0) {
    const packages = new Set(missing.map((tool) => PACKAGES[tool] ?? tool));
    const hint = `install ${new Intl.ListFormat("en-GB").format(packages)}`;
    return { what: `${missing.join(", ")}: not found`, hint };
  }
  if (hasNamespaces) return undefined;
  const read = (path: string) => {
    try {
      return readFileSync(`/proc/sys/${path}`, "utf8").trim();
    } catch {
      return ""; // not a setting of this kernel
    }
  };
  const settings = {
    "kernel/unprivileged_userns_clone": "1",
    "kernel/apparmor_restrict_unprivileged_userns": "0",
    "user/max_user_namespaces": "10000",
    "user/max_net_namespaces": "10000",
  };
  const wrong = Object.entries(settings).filter(([path, value]) =>
    value === "10000" ? read(path) === "0" : read(path) === `${1 - Number(value)}`
  );
  const hint = wrong.map(([path, value]) => `sysctl ${path.replaceAll("/", ".")}=${value}`).join(", ");
  return {
    what: "this system does not let you make network namespaces",
    hint: hint ? `as root: ${hint}` : undefined,
  };
}

export class Network implements AsyncDisposable {
  readonly hosts: Host[];
  readonly #keeper: Program;
  readonly #enter: string[];

  /** @param names the hosts that the script has made */
  constructor(keeper: Program, names: string[]) {
    this.#keeper = keeper;
    this.#enter = ["nsenter", "-t", `${keeper.pid}`, "-U", "--preserve-credentials"];
    this.hosts = names.map((name) => this.host(name));
  }

  /** The words that run a command on the host of a name. It sees files and processes as before. */
  host(name: string): Host {
    return [...this.#enter, `--net=/proc/${this.#keeper.pid}/root/run/netns/${name}`];
  }

  /** The words that run a command beside the hosts, where their switches are, and end it with the network. */
  get inside(): string[] {
    return [...this.#enter, "-m", "-n", "--wd=.", `--pid=/proc/${this.#keeper.pid}/ns/pid_for_children`];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#keeper[Symbol.asyncDispose]();
  }
}

/**
 * Lines that make a /run in which all may write: `ip netns` keeps hosts below /run/netns, the lab its files below
 * /run/lab, and mount(8) its own in /run/mount. The other folders of the machine's /run stay: the project may be in one
 * of them, on a removable disk, and so may temporary folders. /sys, which is mounted anew, lends its place for a moment.
 */
const FRESH = `mount -t tmpfs tmpfs /sys
for folder in /run/*/; do
  name=\${folder#/run/}
  case $name in netns/|lab/|mount/) continue;; esac
  mkdir "/sys/$name" && mount --rbind "$folder" "/sys/$name" || :
done
mkdir /sys/mount
mount --move /sys /run
mount -t sysfs sysfs /sys`;

/**
 * Makes a network.
 * @param script what makes its hosts and switches: lines that the functions below write
 * @param names of its hosts
 * @throws Error with what the script has said
 */
export async function makeNetwork(script: string, names: string[]): Promise<Network> {
  const keeper = start([...UNSHARE, "sh", "-ec", `${FRESH}\n${script}\necho here; exec cat`]);
  if (await keeper.next() === "here") return new Network(keeper, names);
  await keeper[Symbol.asyncDispose]();
  throw new Error(keeper.seen.stderr.join("\n"));
}

/** Runs a shell script on a host. @returns what it prints @throws Error with what it says on stderr */
export async function shell(host: Host, script: string): Promise<string> {
  await using program = start([...host, "sh", "-ec", script]);
  const { code, stdout, stderr } = await program.result();
  if (code !== 0) throw new Error(`${script}\n${stderr}`);
  return stdout;
}

/** Lines that make a switch. */
export const addSwitch = (name: string) => `ip link add ${name} type bridge; ip link set ${name} up\n`;

/** Lines that make a host without a card. It takes its IPv6 addresses without asking for a second whether another has
 * them (DAD, RFC 4862), and keeps them while a card is down. */
export const addHost = (name: string) =>
  `ip netns add ${name}
   ip netns exec ${name} sh -c 'cd /proc/sys/net/ipv6/conf
     echo 0 >default/accept_dad; echo 1 >all/keep_addr_on_down; ip link set lo up'\n`;

/** Lines that give a host a card with addresses (`10.9.0.1/24`), and plug it into a port of a switch. */
export const addCard = (host: string, card: string, bridge: string, port: string, addresses: string[]) =>
  `ip link add ${port} type veth peer name ${card} netns ${host}
   ip link set ${port} master ${bridge} up
   ${
    addresses.map((address) =>
      `ip -n ${host} address add ${address} ${address.includes(":") ? "" : "broadcast +"} dev ${card}`
    ).join("\n")
  }
   ip -n ${host} link set ${card} up\n`;

/**
 * Makes hosts on one switch. Host 1 has a card `eth0` with the addresses 10.9.0.1/24 and fd09::1/64, host 2 those with
 * 2, and so on.
 */
export function privateNetwork(size: number): Promise<Network> {
  const numbers = Array.from({ length: size }, (_, index) => `${index + 1}`);
  const hosts = numbers.map((number) =>
    addHost(number) +
    addCard(number, "eth0", "switch", `port${number}`, [`10.9.0.${number}/24`, `fd09::${number}/64`])
  );
  return makeNetwork(addSwitch("switch") + hosts.join(""), numbers);
}
