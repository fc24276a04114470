/** Paths of AF_UNIX sockets. */
import process from "node:process";
import { Failure } from "../../lib/failure.ts";

/** The bytes of sun_path in struct sockaddr_un (man 7 unix). */
const ROOM = process.platform === "linux" ? 108 : 104;

/** The longest path and the longest abstract name, in bytes. Bun 1.4 refuses a name that fills sun_path (EINVAL). */
const LONGEST = { path: ROOM - 1, name: process.versions.bun ? ROOM - 2 : ROOM - 1 };

/**
 * Turns a path as people write it into what the system wants. A path needs a zero byte at its end. `@name`, as `ss`
 * writes it, is an abstract name of Linux: no file, but a zero byte and then the name, without another one.
 * @throws Failure ENAMETOOLONG, ENOTSUP
 */
export function socketPath(path: string): string {
  const isAbstract = path.startsWith("@");
  if (isAbstract && process.platform !== "linux") {
    throw new Failure(path, "only Linux has abstract names", "ENOTSUP");
  }
  const bytes = Buffer.byteLength(path);
  if (isAbstract && bytes - 1 > LONGEST.name) throw tooLong(path, "an abstract name", LONGEST.name);
  if (!isAbstract && bytes > LONGEST.path) throw tooLong(path, "a socket's path", LONGEST.path);
  return isAbstract ? `\0${path.slice(1)}` : path;
}

function tooLong(path: string, what: string, most: number): Failure {
  return new Failure(path, `${what} has at most ${most} bytes`, "ENAMETOOLONG", { exitCode: 2 });
}
