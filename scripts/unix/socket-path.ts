/** Paths of AF_UNIX sockets. */
import process from "node:process";
import { Failure } from "../../lib/failure.ts";

/** The longest path, in bytes: sun_path of struct sockaddr_un, less the zero at its end (man 7 unix). */
const LONGEST = process.platform === "linux" ? 107 : 103;

/**
 * Turns a path as people write it into what the system wants. `@name`, as `ss` writes it, is an abstract
 * name of Linux: no file, but a zero byte and then the name.
 * @throws Failure ENAMETOOLONG, ENOTSUP
 */
export function socketPath(path: string): string {
  if (Buffer.byteLength(path) > LONGEST) {
    throw new Failure(path, `a socket's path has at most ${LONGEST} bytes`, "ENAMETOOLONG", { exitCode: 2 });
  }
  if (!path.startsWith("@")) return path;
  if (process.platform !== "linux") throw new Failure(path, "only Linux has abstract names", "ENOTSUP");
  return `\0${path.slice(1)}`;
}
