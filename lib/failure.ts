/**
 * What goes wrong, in words: every error that a user or a peer can cause becomes
 *
 *     error: WHAT: WHY (CODE)
 *     hint: what to do about it
 */
import { isIP } from "node:net";
import { endpoint } from "./endpoint.ts";

/** How much of a name, and of words, from the network an error shows, in characters. */
const LONGEST_WHAT = 100;
const LONGEST_WHY = 220;

const cut = (text: string, most: number) => (text.length > most ? `${text.slice(0, most)}...` : text);

/** An error with its own words. `exitCode` is 1 (the work failed) or 2 (the command was wrong). */
export class Failure extends Error {
  readonly what: string;
  readonly why: string;
  readonly code: string;
  readonly hint: string | undefined;
  readonly exitCode: number;

  constructor(what: string, why: string, code: string, more: { hint?: string; exitCode?: number } = {}) {
    const [shortWhat, shortWhy] = [cut(what, LONGEST_WHAT), cut(why, LONGEST_WHY)];
    super(`${shortWhat}: ${shortWhy} (${code})`);
    this.what = shortWhat;
    this.why = shortWhy;
    this.code = code;
    this.hint = more.hint;
    this.exitCode = more.exitCode ?? 1;
  }
}

/** The codes of errno(3) and of the runtimes that a lesson can meet, in words. */
const WHY: Record<string, string> = {
  EACCES: "permission denied",
  EADDRINUSE: "address already in use",
  EADDRNOTAVAIL: "not an address of this machine",
  EAFNOSUPPORT: "this machine has no such kind of address",
  EAI_AGAIN: "no name server answers",
  ECANCELED: "connection closed",
  ECONNABORTED: "connection aborted",
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset by peer",
  EHOSTUNREACH: "no route to host",
  EISDIR: "is a folder",
  ELOOP: "too many symbolic links",
  EMFILE: "too many open files",
  EMSGSIZE: "message too long",
  ENAMETOOLONG: "name too long",
  ENETUNREACH: "network unreachable",
  ENOENT: "no such file or folder",
  ENOSPC: "no space left on device",
  ENOTDIR: "not a folder",
  ENOTFOUND: "unknown host",
  EPERM: "operation not permitted",
  EPIPE: "connection closed by peer",
  EROFS: "read-only file system",
  ERR_SOCKET_CLOSED: "connection closed",
  ERR_STREAM_DESTROYED: "connection closed",
  ERR_STREAM_PREMATURE_CLOSE: "connection closed",
  ETIMEDOUT: "timed out",
  UNKNOWN: "the system refused, and the runtime does not say why",
};

const HINTS: Record<string, string> = {
  EADDRINUSE: "another program holds this port; choose another with --port, or --port 0 for any free one",
  EADDRNOTAVAIL: "a program can only bind an address of its own machine; 0.0.0.0 is all of them",
  ECONNREFUSED: "nobody listens there; start the server first",
  EMSGSIZE: "a datagram carries at most 65507 bytes over IPv4 (65535 less the IP and UDP headers)",
  ENOTFOUND: "check the spelling; an address such as 127.0.0.1 needs no look-up",
};

/** What was being done, from the system call that failed. */
const CALLS: Record<string, string> = {
  bind: "bind",
  connect: "connect to",
  listen: "listen on",
  read: "receive from",
  send: "send to",
  write: "send to",
};

/** The fields that the runtimes give to the error of a system call. */
type SystemError = Error & {
  code: string;
  syscall?: string;
  address?: string;
  port?: number;
  path?: string;
};

/**
 * Puts an error of a system call into words. A mistake of the program itself (a TypeError, say) is
 * no failure: it gives undefined, and its stack should be seen.
 * @param what what was being done or with whom, where the error does not know it itself
 */
export function explain(thrown: unknown, what?: string): Failure | undefined {
  const error = original(thrown);
  if (error instanceof Failure) return error;
  if (!(error instanceof Error) || typeof (error as SystemError).code !== "string") return undefined;
  let { code, syscall = "", address, port, path } = error as SystemError;
  if (WHY[code] === undefined && !syscall) return undefined;
  // Deno says EINVAL for an address that this machine does not have.
  if (code === "EINVAL" && (syscall === "listen" || syscall === "bind")) code = "EADDRNOTAVAIL";
  if (address !== undefined && isIP(address) === 0) path = address.replace("\0", "@"); // AF_UNIX
  const object = path ?? (address === undefined ? "" : endpoint(address, port));
  const call = CALLS[syscall] ?? syscall;
  const known = object ? `${call} ${object}`.trim() : call.replace(/ (on|to|from)$/, "");
  let hint = HINTS[code];
  if (code === "EADDRINUSE" && path) hint = "another program listens there; choose another place with --path";
  if (code === "EACCES" && !path && (syscall === "listen" || syscall === "bind")) {
    hint = "ports below 1024 are kept for the administrator; choose a higher one with --port";
  }
  return new Failure(what ?? (known || "the connection"), WHY[code] ?? error.message, code, { hint });
}

/** For `catch` of a promise: throws what `explain` makes of the error, or the error itself. */
export const failAs = (what: string) => (error: unknown): never => {
  throw explain(error, what) ?? error;
};

/** What a call says of a socket that Ctrl-C has closed: it can come between two lines of a lesson. */
const CLOSED = ["ERR_SOCKET_DGRAM_NOT_RUNNING", "ERR_SERVER_NOT_RUNNING"];

/** Whether an error only says that Ctrl-C or SIGTERM has stopped the program. */
export function isStop(thrown: unknown): boolean {
  const error = original(thrown);
  if (!(error instanceof Error)) return false;
  return error.name === "AbortError" || CLOSED.includes(`${(error as NodeJS.ErrnoException).code}`);
}

/** The error that came first, where closing something (`await using`) has failed because of it. */
export function original(error: unknown): unknown {
  return error instanceof SuppressedError ? original(error.suppressed) : error;
}
