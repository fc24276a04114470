/** The flag `--to HOST:PORT` of lessons 2.3 and 2.6. */
import { Failure } from "../../lib/failure.ts";
import { resolve } from "../../lib/arguments.ts";
import { isEveryAddress } from "../../lib/socket.ts";

/** Another program's address and port. */
export type Target = { host: string; family: 4 | 6; port: number };

/**
 * Reads the value of a flag: `127.0.0.1:7788`, `[::1]:7788` or `localhost:7788`.
 * @throws Failure EINVAL, exit code 2, for anything else; what `resolve` throws for an unknown host
 */
export async function readEndpoint(flag: string, text: string): Promise<Target> {
  const [, host, port] = /^(\[[^\]]+\]|[^:[\]]+):(\d+)$/.exec(text) ?? [];
  if (host === undefined || Number(port) < 1 || Number(port) > 65535) {
    throw new Failure(
      `${flag} ${text}`,
      "it is HOST:PORT, such as 127.0.0.1:7788 or [::1]:7788",
      "EINVAL",
      { exitCode: 2, hint: "--help shows what is possible" },
    );
  }
  const { address, family } = await resolve(host.replace(/[[\]]/g, ""));
  const loopback = family === 4 ? "127.0.0.1" : "::1"; // to send to every address is to send to this machine
  return { host: isEveryAddress(address) ? loopback : address, family, port: Number(port) };
}
