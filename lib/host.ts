/** Hosts: names turned into addresses. */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { Failure } from "./failure.ts";

/**
 * Turns a host into an address. A name that has both kinds of address gives the IPv4 one, so that
 * the two ends of a lesson, given the same name, meet.
 * @throws Failure EINVAL, ENODEV, ENOTFOUND, EAI_AGAIN
 */
export async function resolve(host: string): Promise<{ address: string; family: 4 | 6 }> {
  if (host === "") throw new Failure("the host", "has no name", "EINVAL", { exitCode: 2 }); // lookup gives null
  const kind = isIP(host);
  const zone = kind === 6 ? host.split("%")[1] : undefined;
  if (zone !== undefined && !/^\d+$/.test(zone) && !Object.hasOwn(networkInterfaces(), zone)) {
    throw new Failure(host, `this machine has no interface ${zone}`, "ENODEV");
  }
  if (kind === 4) return { address: host, family: 4 };
  if (kind === 6) return { address: canonical(host), family: 6 };
  try {
    const found = await lookup(host, { order: "ipv4first" });
    return { address: found.address, family: found.family as 4 | 6 };
  } catch (error) {
    const code = (error as { code?: string }).code ?? "ENOTFOUND";
    if (code === "EAI_AGAIN") {
      throw new Failure(`look up ${host}`, "no name server answers", code, {
        hint: "is this machine connected? An address such as 127.0.0.1 needs no look-up",
      });
    }
    throw new Failure(`look up ${host}`, "unknown host", "ENOTFOUND", {
      hint: "check the spelling; an address such as 127.0.0.1 needs no look-up",
    });
  }
}

/** An IPv6 address as the system writes it (RFC 5952): `::1` for `0:0::1`. One with a zone stays as it is. */
function canonical(address: string): string {
  return /[%.]/.test(address) ? address : new URL(`http://[${address}]`).hostname.slice(1, -1);
}
