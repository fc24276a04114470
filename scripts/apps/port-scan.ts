#!/usr/bin/env bun
/**
 * 4.3 Scan ports: connect to each port of a machine; open ones accept, closed
 * ones refuse, and silence is probably a firewall.
 * 中文 端口扫描：逐个连接各个端口，接受是开放，拒绝是关闭，没有回音多半是防火墙。
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
 * Python     s.connect_ex((host, port)) == 0
 *            ->  connect({ host, port }), then "connect" or "error"
 *            s.getsockname() == s.getpeername()
 *            ->  socket.localPort === port, and both addresses are the same
 *            s.close()
 *            ->  socket.destroy()
 * Watch out  Scan only machines of your own, or with their owner's consent:
 *            elsewhere it counts as an attack. The server sees each connection, as
 *            terminal 1 shows. Silence has three causes: a firewall, a lost
 *            packet, or a machine that is off. So the scan asks again, and when
 *            answers get lost, it slows down and says so. It waits as long as the
 *            round trips suggest, as nmap does; only the last ports, if they are
 *            few, get the whole --timeout. On your own machine, the system may
 *            give a connection the very port that it goes to: it meets itself,
 *            and the port is not open.
 * Try        all in place of 9999: the 65535 ports. Without it: 1-1024. For
 *            programs: --json.
 * 注意       只扫描自己的机器，或者得到主人的同意：否则会被当作攻击。服务器看得到
 *            每个连接，终端 1 就是。没有回音有三种原因：防火墙、报文丢了，或者机器没
 *            开。所以扫描会再问一次；发现回音丢失时，它会放慢，并且说出来。它等多
 *            久取决于往返时间，和 nmap 一样；只有最后剩下的少数端口，才等满
 *            --timeout。在自己的机器上，系统可能恰好把目标端口分给这个连接：它连
 *            到了自己，端口并没有开放。
 * 试试       把 9999 换成 all：全部 65535 个端口。不写：1-1024。给程序用：--json。
 */
import { connect, type Socket } from "node:net";
import { SingleBar } from "cli-progress";
import process from "node:process";
import { readArguments, resolve } from "../../lib/arguments.ts";
import { isEveryAddress, isLoopback } from "../../lib/socket.ts";
import { Failure } from "../../lib/failure.ts";
import { hint, run } from "../../lib/program.ts";
import { openFiles } from "../../lib/system.ts";
import { readBanner } from "./port-scan/banner.ts";
import { ConnectEx } from "./port-scan/connect-ex.ts";
import { tellsRefusals } from "./port-scan/refusals.ts";
import { Results } from "./port-scan/results.ts";
import { type Answer, type Listener, Scan } from "./port-scan/scan.ts";
import { isPrivate } from "./private-address.ts";

/** Above this number, Deno 2.9 lets some answers wait until all others are in. */
const MOST_AT_ONCE = "Deno" in globalThis ? 128 : Infinity;

async function main(stop: AbortSignal) {
  const { words: [host, list = "1-1024"], ...options } = await readArguments(import.meta, {
    words: "HOST [PORTS]",
    flags: {
      banner: {
        kind: "switch",
        help:
          "what an open port says, by itself or when asked by HTTP | 开放的端口自己说的话，或对 HTTP 的回答",
      },
      json: {
        kind: "switch",
        help: "one document: { host, address, asked, scanned, counts: { open, closed, filtered }, ports: " +
          "[{ port, state, reason, service, banner }] }, without the closed ones | 给程序用的 JSON，不含关闭的端口",
      },
      concurrency: {
        kind: "number",
        min: 1,
        max: 10_000,
        default: 100,
        help: "connections at once | 同时多少个连接",
      },
      timeout: {
        kind: "number",
        min: 1,
        max: 60_000,
        default: 1500,
        help: "ms, the longest wait for an answer | 等回音最多多少毫秒",
      },
      retries: {
        kind: "number",
        min: 0,
        max: 10,
        default: 1,
        help: "how often a silent port is asked again | 没有回音的端口再问几次",
      },
    },
  });
  const ports = readPorts(list);
  const { address } = await resolve(host);
  if (!isLoopback(address) && !isPrivate(address) && !isEveryAddress(address)) {
    await hint(`${address} is a public address: scan only machines of your own`);
  }
  // Each connection is an open file. Above the limit it would fail here, which says nothing about the port.
  const { limit, free } = openFiles();
  const width = Math.min(options.concurrency, MOST_AT_ONCE, Math.max(1, free));
  if (width < options.concurrency) {
    const why = width === MOST_AT_ONCE
      ? "with more, Deno delays answers"
      : `at most ${limit} files may be open`;
    await hint(`${width} connections at once, not ${options.concurrency}: ${why}`);
  }
  const results = new Results(host, address, ports.length);
  const [banners, heard]: [Promise<void>[], [port: number, text: () => string][]] = [[], []];
  const bar = new Bar(() => results.counts.open);
  // On Bun for Linux, and to this machine, connect(2) itself: a quarter of the processor time (see there).
  using connectEx = await ConnectEx.to(address);
  const failure = Promise.withResolvers<never>();
  const scan = new Scan({
    host: address,
    width,
    timeout: options.timeout,
    retries: options.retries,
    tellsRefusals: connectEx !== undefined || await tellsRefusals(),
    ask: (port, listener) => connectEx?.ask(port, listener) ?? ask(address, port, listener),
    take({ port, code, socket }: Answer) {
      const isOurs = socket?.localPort === port && socket.localAddress === socket.remoteAddress;
      if (isOurs) code = "ECONNREFUSED"; // we met ourselves: a port that has a listener is not given away
      if (!results.note(port, code)) {
        failure.reject(Object.assign(new Error(code), { code, syscall: "connect" }));
      }
      bar.step();
      if (code !== "" || !socket || !options.banner) socket?.destroy();
      else banners.push(keepBanner(port, socket));
    },
    begin: (count) => bar.begin(count),
    warn: (what) => bar.interrupt(() => hint(WARNINGS[what])),
  }, stop);
  try {
    await Promise.race([scan.run(ports), failure.promise]);
    await Promise.all(banners);
  } finally {
    bar.end();
    for (const [port, text] of heard) results.addBanner(port, text());
    await results.show(options.json); // also when Ctrl-C has ended it: what is known so far
  }
  if (!stop.aborted) await results.judge();

  async function keepBanner(port: number, socket: Socket) {
    const close = () => socket.destroy();
    stop.addEventListener("abort", close);
    heard.push([port, await readBanner(socket, options.timeout)]);
    stop.removeEventListener("abort", close);
    close();
  }
}

/** Connects to one port, and calls back once or more: with "", or with the code of the error. */
function ask(host: string, port: number, { answered, closed }: Listener): Socket {
  const socket = connect({ host, port }); // sends a SYN
  socket.on("connect", () => answered("", socket)); // a SYN-ACK has come: the port is open
  // A RST has come: closed. Or a router or a firewall says that there is no way.
  socket.on("error", ({ code }: NodeJS.ErrnoException) => answered(`${code}`));
  socket.on("close", closed);
  return socket;
}

const WARNINGS = {
  lost: "answers get lost: asking more slowly, and again where none came",
  gone: "the machine no longer answers: it is off, or it blocks us; what is filtered may be open",
};

/** Reads a list of ports: `80`, `1-1024`, `1-1024,8080` or `all`. Gives each once, the lowest first. */
function readPorts(list: string): number[] {
  const isAsked = new Uint8Array(65_536);
  for (const part of list === "all" ? ["1-65535"] : list.split(",")) {
    const [, first, last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part) ?? [];
    if (!(Number(first) >= 1 && Number(first) <= Number(last) && Number(last) <= 65535)) {
      throw new Failure(list, "no list of ports from 1 to 65535", "EINVAL", {
        hint: "a list is 80, or 1-1024, or 1-1024,8080, or all",
        exitCode: 2,
      });
    }
    isAsked.fill(1, Number(first), Number(last) + 1);
  }
  return Array.from(isAsked.keys()).filter((port) => isAsked[port]);
}

/** How far the scan is, on a terminal. */
class Bar {
  readonly #bar = new SingleBar({ format: "{bar} {percentage}%  {open} open", clearOnComplete: true });
  readonly #open: () => number;
  #total = 0;
  #value = 0;

  constructor(open: () => number) {
    this.#open = open;
  }

  begin(total: number): void {
    this.end();
    this.#total = total;
    this.#value = 0;
    if (process.stderr.isTTY) this.#bar.start(total, 0, { open: this.#open() });
  }

  step(): void {
    this.#value += 1;
    if (this.#bar.isActive) this.#bar.update(this.#value, { open: this.#open() });
  }

  /** Takes the bar off the screen while something else is written there. */
  async interrupt(write: () => Promise<void>): Promise<void> {
    this.end();
    await write();
    if (process.stderr.isTTY) this.#bar.start(this.#total, this.#value, { open: this.#open() });
  }

  end(): void {
    this.#bar.stop();
  }
}

if (import.meta.main) run("client", main);
