#!/usr/bin/env bun
/**
 * 4.3 Scan ports: call each port of a machine; an answer means open, a refusal closed, silence a firewall.
 * 中文 端口扫描：给一台机器的每个端口打一次电话：接通就是开放，拒绝就是关闭，没有回音多半是防火墙。
 *
 * terminal 1
 *   $ bun scripts/tcp/time-server.ts
 *   listening on 127.0.0.1:9999
 *   2026-11-20 17:04:30.293444 to 127.0.0.1:50001
 *   2026-11-20 17:04:31.518002 to 127.0.0.1:50002
 *   ^C
 * terminal 2
 *   $ bun scripts/apps/port-scan.ts 127.0.0.1 9999
 *   127.0.0.1:9999  open  -
 *   1 port: 1 open, 0 closed, 0 filtered
 *   $ bun scripts/apps/port-scan.ts 127.0.0.1 9999 --banner
 *   127.0.0.1:9999  open  -  2026-11-20 17:04:31.518002
 *   1 port: 1 open, 0 closed, 0 filtered
 *
 * Python     s.connect_ex((host, port)) == 0     ->  connect({ host, port }), then "connect" or "error"
 *            s.settimeout(1.5)                   ->  a timer that destroys the socket
 *            s.getsockname() == s.getpeername()  ->  socket.localPort === port, and both addresses the same
 * Watch out  Scan only machines of your own, or with their owner's consent: elsewhere it counts as an attack.
 *            The server sees every call, as terminal 1 shows. A call to one's own machine can meet itself,
 *            when the system gives it the very port that it calls: that is no open port.
 * Try        all in place of 9999: the 65535 ports. Without it: 1-1024. For programs: --json.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import process from "node:process";
import { SingleBar } from "cli-progress";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint, isEveryAddress, isLoopback } from "../../lib/endpoint.ts";
import { Failure } from "../../lib/failure.ts";
import { resolve } from "../../lib/host.ts";
import { hint, print, visible } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { openFiles, readServices } from "../../lib/system.ts";
import { survive } from "../../lib/tcp.ts";
import { Decoder } from "../../lib/text.ts";
import { isPrivate } from "./private-address.ts";

/** How many bytes of a banner are shown. */
const LONGEST_BANNER = 256;

/** More filtered ports than these are counted, not listed: as nmap does. */
const LONGEST_LIST = 25;

/** What a port has answered that is neither open nor closed: the code of connect(2), and nmap's name for it. */
const FILTERED: Record<string, string> = {
  EACCES: "admin-prohibited", // a firewall said so, over IPv6
  EHOSTUNREACH: "host-unreach", // a router or a firewall said so
  ENETUNREACH: "net-unreach",
  ETIMEDOUT: "no-response", // nobody said anything: a firewall drops what comes
};

/** Errors of a call that was answered: the other side has hung up before we could look. */
const ANSWERED = ["ECONNRESET", "EPIPE"];

/** A port as --json shows it. Closed ones are only counted. */
type Found = {
  port: number;
  state: "open" | "filtered";
  reason: string;
  service: string | null;
  banner?: string;
};

async function main(stop: AbortSignal) {
  const { words: [host, list = "1-1024"], ...options } = await readArguments(import.meta, {
    words: "HOST [PORTS]",
    flags: {
      banner: { kind: "switch", help: "what an open port says, by itself or when asked by HTTP" },
      json: {
        kind: "switch",
        help: "one document: { host, address, asked, scanned, counts: { open, closed, filtered }, ports: " +
          "[{ port, state, reason, service, banner }] }, without the closed ones",
      },
      // Far more are possible. But above 128, Deno 2.9 lets some answers wait until all others are in.
      concurrency: { kind: "number", min: 1, max: 10_000, default: 100, help: "calls at once" },
      timeout: { kind: "number", min: 1, max: 60_000, default: 1500, help: "ms to wait for an answer" },
      retries: { kind: "number", min: 0, max: 10, default: 1, help: "further calls where none came" },
    },
  });
  const ports = readPorts(list);
  const { address } = await resolve(host);
  if (!isLoopback(address) && !isPrivate(address) && !isEveryAddress(address)) {
    await hint(`${address} is a public address: scan only machines of your own`);
  }
  // Each call is an open file. Beyond the limit it would fail here, which says nothing about the port.
  const files = openFiles();
  const width = Math.min(options.concurrency, Math.max(1, files.free));
  if (width < options.concurrency) {
    await hint(
      `${width} calls at once, not ${options.concurrency}: at most ${files.limit} files may be open`,
    );
  }
  const isTold = await tellsRefusals(stop);
  const services = readServices().filter(({ protocol }) => protocol === "tcp");
  const found = new Map<number, Found>();
  const counts = { open: 0, closed: 0, filtered: 0 };

  try {
    let silent = ports;
    for (let round = 0; round <= options.retries && silent.length > 0; round++) {
      silent = await callAll(silent); // once more, because a call can get lost on its way
    }
  } finally {
    await show(); // also when Ctrl-C has ended it: what is known so far
  }
  if (!stop.aborted) await judge();

  /** Calls ports, `width` at once, and gives those that have not answered. */
  async function callAll(some: number[]): Promise<number[]> {
    const silent: number[] = [];
    const queue = some.values(); // shared: each port goes to the first worker who is free
    const bar = new SingleBar({ format: "{bar} {percentage}%  {open} open", clearOnComplete: true });
    const worker = async () => {
      for (const port of queue) {
        if (stop.aborted) return;
        if (await ask(port) === "ETIMEDOUT") silent.push(port);
        if (bar.isActive) bar.increment({ open: counts.open });
      }
    };
    if (process.stderr.isTTY) bar.start(some.length, 0, { open: counts.open });
    try {
      await Promise.all(Array.from({ length: Math.min(width, some.length) }, worker));
    } finally {
      bar.stop();
    }
    return silent;
  }

  /** Calls one port, notes what comes of it, and gives the code of the error, if there was one. */
  async function ask(port: number): Promise<string | undefined> {
    let socket: Socket | undefined;
    try {
      socket = await call(address, port, options.timeout, stop);
      if (socket.localPort === port && socket.localAddress === socket.remoteAddress) {
        note(port, "closed"); // we met ourselves: a port that somebody listens on is not given away
        return;
      }
      note(port, "open");
      if (options.banner) note(port, "open", "syn-ack", await banner(socket, options.timeout));
    } catch (error) {
      let { code } = error as { code: string };
      if (code === "ECONNREFUSED" && !isTold) code = await secondOpinion(address, port, options.timeout);
      if (code === "ECONNREFUSED") note(port, "closed");
      else if (ANSWERED.includes(code)) note(port, "open");
      else if (FILTERED[code]) note(port, "filtered", FILTERED[code]);
      else if (!stop.aborted) throw error; // EMFILE and the like: it is this machine that fails
      return code;
    } finally {
      await hangUp(socket);
    }
  }

  function note(port: number, state: "open" | "closed" | "filtered", reason = "syn-ack", banner?: string) {
    const before = found.get(port);
    if (before) counts[before.state]--;
    counts[state]++;
    found.delete(port);
    if (state === "closed") return;
    const service = services.find((known) => known.port === port)?.name ?? null;
    found.set(port, { port, state, reason, service, banner });
  }

  async function show() {
    const scanned = counts.open + counts.closed + counts.filtered;
    const sorted = Array.from(found.values()).sort((a, b) => a.port - b.port);
    if (options.json) {
      const all = { host, address, asked: ports.length, scanned, counts, ports: sorted };
      return await print(escaped(JSON.stringify(all, null, 2)));
    }
    const isLong = counts.filtered > LONGEST_LIST;
    const rows = sorted.filter(({ state }) => state === "open" || !isLong).map((row) => [
      endpoint(address, row.port),
      row.state,
      row.service ?? "-",
      visible(row.banner ?? (row.state === "filtered" ? row.reason : "")),
    ]);
    const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((row) => row[column].length)));
    for (const row of rows) {
      await print(
        row.map((cell, column) => cell.padEnd(column < 3 ? widths[column] : 0)).join("  ").trimEnd(),
      );
    }
    const total = `${ports.length} port${ports.length === 1 ? "" : "s"}`;
    await print(
      `${scanned < ports.length ? `${scanned} of ` : ""}${total}: ${counts.open} open, ` +
        `${counts.closed} closed, ${counts.filtered} filtered${isLong ? ", which --json lists" : ""}`,
    );
  }

  /** Says so when no port at all has answered. @throws Failure when there is no way to the machine */
  async function judge() {
    if (counts.open > 0 || counts.closed > 0) return;
    const codes = Object.keys(FILTERED).filter((code) => {
      return found.values().some(({ reason }) => reason === FILTERED[code]);
    });
    if (codes.includes("ETIMEDOUT")) await hint("the machine is off, or a firewall drops what comes");
    else throw new Failure(endpoint(address), "cannot be reached", codes[0]);
  }
}

/**
 * Calls one port: an open one sends a SYN-ACK, a closed one a RST.
 * @throws the error of connect(2); Failure ETIMEDOUT when neither has come in time
 */
async function call(host: string, port: number, timeout: number, stop: AbortSignal): Promise<Socket> {
  const socket = survive(connect({ host, port }), stop);
  const late = () => socket.destroy(new Failure(endpoint(host, port), "no answer", "ETIMEDOUT"));
  const timer = setTimeout(late, timeout);
  try {
    await once(socket, "connect");
    return socket;
  } catch (error) {
    await hangUp(socket);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** Closes a socket, and waits until the next one can have its place among the open files. */
async function hangUp(socket: Socket | undefined): Promise<void> {
  if (!socket || socket.closed) return;
  const closed = once(socket, "close");
  socket.destroy();
  await closed;
}

/**
 * Whether this runtime tells a refusal from other failures. Bun 1.4.5 calls them all ECONNREFUSED
 * (github.com/oven-sh/bun/pull/37093): even that of a call to many, which nobody is there to refuse.
 */
async function tellsRefusals(stop: AbortSignal): Promise<boolean> {
  const failure = await call("224.0.0.1", 1, 1000, stop).catch((error) => error);
  return failure.code !== "ECONNREFUSED";
}

/** What a refusal was in truth, where the runtime does not tell: fetch calls once more, and tells. */
async function secondOpinion(host: string, port: number, timeout: number): Promise<string> {
  process.env.no_proxy = process.env.NO_PROXY = "*"; // the answer of a proxy would not be the port's
  const url = `http://${endpoint(host, port)}`;
  try {
    const { body } = await fetch(url, { signal: AbortSignal.timeout(timeout), redirect: "manual" });
    await body?.cancel();
    return ANSWERED[0];
  } catch (error) {
    const { name, code } = error as { name: string; code: string };
    if (name === "TimeoutError") return "ETIMEDOUT";
    return /^E[A-Z]+$/.test(code) ? code : "ECONNREFUSED"; // no code of connect(2): fetch has met itself
  }
}

/** What a port says by itself or, when it is silent, to a question that web servers answer. */
async function banner(socket: Socket, timeout: number): Promise<string> {
  let bytes = await hear(socket, timeout);
  if (bytes.length === 0 && socket.writable) {
    socket.write("HEAD / HTTP/1.0\r\n\r\n");
    bytes = await hear(socket, timeout);
  }
  const from = endpoint(socket.remoteAddress ?? "", socket.remotePort);
  return new Decoder("utf-8").decode(bytes, from, { stream: true }).trimEnd();
}

/** Receives until a line ends, the peer hangs up or the time is up; not more than is shown. */
function hear(socket: Socket, timeout: number): Promise<Buffer> {
  return new Promise((resolve) => {
    let heard = Buffer.alloc(0);
    const timer = setTimeout(done, timeout);
    socket.on("data", more).once("close", done);
    function more(data: Buffer) {
      heard = Buffer.concat([heard, data]);
      if (heard.length >= LONGEST_BANNER || data.at(-1) === 0x0a) done();
    }
    function done() {
      clearTimeout(timer);
      socket.off("data", more).off("close", done);
      resolve(heard.subarray(0, LONGEST_BANNER));
    }
  });
}

/** Reads a list of ports: `80`, `1-1024`, `1-1024,8080` or `all`. Gives each once, the lowest first. */
function readPorts(list: string): number[] {
  const ports = new Set<number>();
  for (const part of list === "all" ? ["1-65535"] : list.split(",")) {
    const [, first, last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part) ?? [];
    if (!(Number(first) >= 1 && Number(first) <= Number(last) && Number(last) <= 65535)) {
      throw new Failure(list, "no list of ports from 1 to 65535", "EINVAL", {
        hint: "a list is 80, or 1-1024, or 1-1024,8080, or all",
        exitCode: 2,
      });
    }
    for (let port = Number(first); port <= Number(last); port++) ports.add(port);
  }
  return Array.from(ports).sort((a, b) => a - b);
}

/** Makes what could drive a terminal visible, as JSON writes it: the same text to a program. */
function escaped(json: string): string {
  return json.replace(
    /[\x7f-\x9f\p{Bidi_Control}\u2028\u2029]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

if (import.meta.main) run("client", main);
