/** Addresses are numbers: two that are written differently may be the same one. */
import { isIP } from "node:net";
import { canonical, isEveryAddress } from "../../lib/socket.ts";

/**
 * Whether two addresses are the same one, however they are written. To send to 0.0.0.0 or :: is to send to this
 * machine, which answers from its loopback address. Deno tells no zone: then the address alone must do.
 */
export function isSameAddress(a: string, b: string): boolean {
  const [one, two] = [a, b].map((address) => {
    const plain = (isIP(address) === 6 ? canonical(address) : address).replace(/^::ffff:(?=\d+\.)/, "");
    return isEveryAddress(plain) ? [plain === "::" ? "::1" : "127.0.0.1"] : plain.split("%");
  });
  return one[0] === two[0] && (one[1] ?? two[1]) === (two[1] ?? one[1]);
}
