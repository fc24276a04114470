/** The network cards as `ip -json addr` of iproute2 describes them, the tool that sets them up on Linux. */
import { spawnSync } from "node:child_process";
import process from "node:process";

/** A card and its addresses, as far as 1.1 shows them (man 8 ip-address). */
export type IpCard = {
  ifname: string;
  flags: string[];
  /** The MAC address; of a tunnel perhaps an IP address. */
  address?: string;
  /** `address` is the peer of a point-to-point address. */
  addr_info: { local: string; address?: string; prefixlen: number; broadcast?: string }[];
};

/** Asks `ip`; undefined where there is none, or one that has no JSON, such as BusyBox's. */
export function ipCards(): IpCard[] | undefined {
  const PATH = `${process.env.PATH ?? ""}:/usr/sbin:/sbin`;
  try {
    const { stdout } = spawnSync("ip", ["-json", "addr"], {
      encoding: "utf8",
      env: { ...process.env, PATH },
      timeout: 5000,
    });
    const cards = JSON.parse(mended(stdout)) as Partial<IpCard>[];
    return cards.filter((card): card is IpCard => card.ifname !== undefined && card.addr_info !== undefined);
  } catch {
    return undefined;
  }
}

/** The name of a card can hold control characters, which iproute2 leaves as they are, and `'`, which it escapes. */
function mended(json: string): string {
  return json
    .replace(/\\(.)/g, (escape, character) => character === "'" ? character : escape)
    .replace(
      /(?!\n)\p{Cc}/gu,
      (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, "0")}`,
    );
}
