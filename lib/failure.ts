/** Errors in words: each that a user or a peer can cause becomes `error: WHAT: WHY (CODE)` and perhaps a hint. */
import { isIP } from "node:net";
import { getSystemErrorMap } from "node:util";
import { endpoint } from "./socket.ts";

/** What an error shows of a name (100 characters) and of words (220) from the network. */
const cut = (text: string, most: number) => (text.length > most ? `${text.slice(0, most)}...` : text);

/** An error with its own words. `exitCode` is 1 (the work failed) or 2 (the command was wrong). */
export class Failure extends Error {
  declare readonly what: string;
  declare readonly why: string;
  declare readonly code: string;
  declare readonly hint: string | undefined;
  declare readonly exitCode: number;

  constructor(what: string, why: string, code: string, more: { hint?: string; exitCode?: number } = {}) {
    [what, why] = [cut(what, 100), cut(why, 220)];
    super(`${what}: ${why} (${code})`);
    Object.assign(this, { what, why, code, hint: more.hint, exitCode: more.exitCode ?? 1 });
  }
}

/** The codes that a lesson can meet, where the system's own words (errno(3)) are missing or say too little. */
const WHY: Record<string, string> = {
  EADDRNOTAVAIL: "this machine has no address, or no free port, to reach it from",
  EAI_AGAIN: "no name server answers",
  EISDIR: "is a folder",
  ENETUNREACH: "network unreachable",
  ENOENT: "no such file or folder",
  ENOTDIR: "not a folder",
  ENOTFOUND: "unknown host",
  EPIPE: "connection closed by peer",
  ERR_SOCKET_BAD_PORT: "port 0 is no program's port",
  ETIMEDOUT: "timed out",
  UNKNOWN: "the system refused, and the runtime does not say why",
};

const HINTS: Record<string, string> = {
  EACCES: "ports below 1024 are reserved for the administrator; choose a higher one with --port",
  EADDRINUSE: "another program holds this port; choose another with --port, or --port 0 for any free one",
  ECONNREFUSED: "nobody listens there; start the server first",
  EMSGSIZE: "a datagram carries at most 65507 bytes over IPv4 (65535 less the IP and UDP headers)",
  EMSGSIZE_IPV6: "a datagram carries at most 65527 bytes over IPv6 (65535 less the UDP header)", // RFC 8200, 4.5
  ENOTFOUND: "check the spelling; an address such as 127.0.0.1 needs no look-up",
};

/** Names of system calls as verbs; the other calls are verbs themselves. */
const VERBS = { connect: "connect to", listen: "listen on", read: "receive from", send: "send to" };

type SystemError = NodeJS.ErrnoException & { address?: string; port?: number };

/**
 * Puts an error of a system call into words; undefined for a mistake of the program itself (a TypeError, say),
 * whose stack should be seen.
 * @param what the peer or the object of the call, where the error does not name it
 */
export function explain(thrown: unknown, what?: string): Failure | undefined {
  const error = original(thrown);
  if (error instanceof Failure) return error;
  if (!(error instanceof Error)) return undefined;
  let { code, syscall = "", address, port, path } = error as SystemError;
  if (typeof code !== "string") return undefined;
  const binds = syscall === "listen" || syscall === "bind";
  const isCardless = code === "EINVAL" && /^fe[89ab][^%]*$/i.test(`${address}`);
  if (code === "EINVAL" && binds && !isCardless) code = "EADDRNOTAVAIL"; // Deno
  const isForeign = code === "EADDRNOTAVAIL" && binds;
  const isClosed = /^(ECANCELED|ERR_SOCKET_CLOSED|ERR_STREAM_(DESTROYED|PREMATURE_CLOSE))$/.test(code);
  const said = isForeign ? "not an address of this machine" : WHY[code];
  const why = isClosed ? "connection closed" : said ?? new Map(getSystemErrorMap().values()).get(code);
  if (why === undefined && !syscall) return undefined;
  if (address !== undefined && isIP(address) === 0) path = address.replace("\0", "@"); // AF_UNIX
  const object = path ?? (address === undefined ? "" : endpoint(address, port));
  const call = VERBS[syscall.replace("write", "send") as keyof typeof VERBS] ?? syscall;
  const known = object ? `${call} ${object}`.trim() : call.replace(/ (on|to|from)$/, "");
  const all = object.startsWith("[") ? "::" : "0.0.0.0";
  let hint: string | undefined = HINTS[all === "::" && code === "EMSGSIZE" ? "EMSGSIZE_IPV6" : code];
  if (isForeign) hint = `a program can only bind an address of its own machine; ${all} is all of them`;
  if (isCardless) hint = "a link-local address needs its network card: fe80::1%eth0";
  if (code === "EADDRINUSE" && path) hint = "another program listens there; choose another place with --path";
  if (code === "EACCES" && (path || !binds || (port ?? 0) > 1023)) hint = undefined;
  return new Failure(what ?? (known || "the connection"), why ?? error.message, code, { hint });
}

/** For `catch` of a promise: throws what `explain` makes of the error, or the error itself. */
export const failAs = (what: string) => (error: unknown): never => {
  throw explain(error, what) ?? error;
};

/** Whether an error only says that Ctrl-C or SIGTERM has stopped the program, perhaps between two of its lines. */
export function isStop(thrown: unknown): boolean {
  const { name, code } = Object(original(thrown)) as NodeJS.ErrnoException;
  return name === "AbortError" || /^ERR_(SOCKET_DGRAM|SERVER)_NOT_RUNNING$/.test(`${code}`);
}

/** The error that came first, where closing something (`await using`) has failed because of it. */
export function original(error: unknown): unknown {
  return error instanceof SuppressedError ? original(error.suppressed) : error;
}
