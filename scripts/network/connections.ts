#!/usr/bin/env bun
/**
 * 1.4 Connections: the TCP and UDP sockets of this machine, with both ends and
 * the programs that hold them.
 * 中文 连接：本机的每个 TCP、UDP 套接字，它的两端，以及持有它的程序。
 *
 * terminal 1
 *   $ bun scripts/tcp/many-requests-server.ts
 *   listening on 127.0.0.1:10500
 *   127.0.0.1:50001 connected
 *   127.0.0.1:50001 > 你好
 *   127.0.0.1:50001 > exit
 *   127.0.0.1:50001 hung up
 *   ^C
 * terminal 2
 *   $ bun scripts/tcp/dialog-client.ts
 *   > 你好
 *   ok, Processing Request Completion！
 * terminal 3
 *   $ bun scripts/network/connections.ts
 *   proto  state        local            remote           program
 *   tcp    LISTEN       127.0.0.1:10500  *                1234/bun
 *   tcp    ESTABLISHED  127.0.0.1:10500  127.0.0.1:50001  1234/bun
 *   tcp    ESTABLISHED  127.0.0.1:50001  127.0.0.1:10500  1235/bun
 * terminal 2
 *   > exit
 *   ok, Processing Request Completion！
 *
 * Python     (none; netstat -tuanp, ss -tuanp)
 *                ->  procNet("tcp"), procNet("tcp6"), procNet("udp") and
 *                    procNet("udp6"), which read /proc/net/tcp and so on;
 *                    readlinkSync(`/proc/${pid}/fd/${fd}`)
 *            AF_INET, AF_INET6
 *                ->  (none; tcp and udp are IPv4, tcp6 and udp6 are IPv6)
 * Watch out  There are three kinds of sockets: a stream (TCP) carries bytes in
 *            order, a datagram socket (UDP) sends single datagrams, a raw
 *            socket sees the packets of IP itself. Of these, only TCP has
 *            states; UNCONN is a UDP socket without a fixed peer.
 *            A connection inside one machine is two lines: each end has a
 *            socket of its own. You see the owners of your own programs'
 *            sockets only; the administrator sees all.
 * Try        Look again after the client has gone: TIME_WAIT waits for late
 *            packets, and belongs to nobody. Compare with ss -tuanp.
 * 注意       套接字有三种：流套接字（TCP）按顺序传字节，数据报套接字（UDP）一个
 *            一个地发数据报，原始套接字看得到 IP 报文本身。其中只有 TCP 有状态；
 *            UNCONN 是没有固定对方的 UDP 套接字。本机内部的一个连接占两行：两端
 *            各有一个套接字。只看得到自己的程序持有哪些套接字；管理员看得到全部。
 * 试试       客户端走了以后再看一次：TIME_WAIT 在等迟到的报文，不属于任何程序。
 *            再和 ss -tuanp 对照。
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint, isEveryAddress } from "../../lib/socket.ts";
import { Failure } from "../../lib/failure.ts";
import { formatIp } from "../../lib/ip.ts";
import { hint, print, run, visible } from "../../lib/program.ts";
import { procAddress, procNet } from "./procfs.ts";
import { json } from "./json.ts";

/** The states by their numbers in /proc/net (Linux: include/net/tcp_states.h), named as netstat does. */
const STATES = [
  "UNKNOWN",
  "ESTABLISHED",
  "SYN_SENT",
  "SYN_RECV",
  "FIN_WAIT1",
  "FIN_WAIT2",
  "TIME_WAIT",
  "CLOSE",
  "CLOSE_WAIT",
  "LAST_ACK",
  "LISTEN",
  "CLOSING",
];

type End = { address: string; port: number };
type Program = { pid: number; name: string };

async function main() {
  const { listening, json: asJson } = await readArguments(import.meta, {
    flags: {
      listening: {
        kind: "switch",
        help:
          "only sockets without a peer: LISTEN (TCP) and UNCONN (UDP) | 只列出没有对方的套接字：LISTEN（TCP）和 UNCONN（UDP）",
      },
      json: {
        kind: "switch",
        help:
          "one document: [{ protocol, family, state, local: { address, port }, remote: the same or null, " +
          "programs: [{ pid, name }] }]",
      },
    },
  });
  const tables = [
    { proto: "tcp", lines: procNet("tcp") },
    { proto: "tcp6", lines: procNet("tcp6") },
    { proto: "udp", lines: procNet("udp") },
    { proto: "udp6", lines: procNet("udp6") },
  ];
  if (!tables[0].lines) {
    throw new Failure("/proc/net/tcp", "only Linux lists its sockets there", "ENOENT", {
      hint: "on this system, netstat -an shows them",
    });
  }
  const owners = ownersOfSockets();
  const sockets = tables
    .flatMap(({ proto, lines = [] }) => lines.slice(1).map((line) => parse(proto, line)).sort(byPorts))
    .filter(({ state }) => !listening || state === "LISTEN" || state === "UNCONN")
    .map((socket) => ({ ...socket, programs: owners.get(socket.inode) ?? [] }));

  if (asJson) {
    const shown = sockets.map(({ proto, state, local, remote, programs }) => ({
      protocol: proto.slice(0, 3),
      family: proto.endsWith("6") ? "IPv6" : "IPv4",
      state,
      local,
      remote,
      programs,
    }));
    return await print(json(shown));
  }
  const rows = sockets.map(({ proto, state, local, remote, programs }) => [
    proto,
    state,
    endpoint(local.address, local.port),
    remote ? endpoint(remote.address, remote.port) : "*",
    programs.map(({ pid, name }) => `${pid}/${visible(name)}`).join(" "),
  ]);
  await table([["proto", "state", "local", "remote", "program"], ...rows]);
  const foreign = sockets.filter(({ inode, programs }) => inode !== "0" && programs.length === 0).length;
  if (foreign) {
    await hint(`${foreign} of these belong to programs that you may not see; the administrator sees more`);
  }
}

/**
 * Reads a line of /proc/net/tcp or udp: `0: 0100007F:2904 00000000:0000 0A ... 0 0 1181 ...`, which is
 * a number, the local and the remote endpoint, the state, and further on the inode of the socket.
 */
function parse(proto: string, words: string[]) {
  const [, local, remote, state] = words;
  const name = STATES[parseInt(state, 16)] ?? STATES[0];
  return {
    proto,
    state: proto.startsWith("udp") && name === "CLOSE" ? "UNCONN" : name,
    local: parseEndpoint(local),
    remote: isNobody(parseEndpoint(remote)) ? null : parseEndpoint(remote),
    inode: words[9],
  };
}

/** `0100007F:2904` is 127.0.0.1:10500: the port is written as a number, the address as it lies in memory. */
function parseEndpoint(text: string): End {
  const [address, port] = text.split(":");
  return { address: formatIp(procAddress(address)), port: parseInt(port, 16) };
}

type Ends = { local: End; remote: End | null };

function byPorts(a: Ends, b: Ends): number {
  return a.local.port - b.local.port || (a.remote?.port ?? 0) - (b.remote?.port ?? 0);
}

function isNobody({ address, port }: End): boolean {
  return port === 0 && isEveryAddress(address);
}

/** Which programs hold which sockets, by inode: their open files are links such as `socket:[1181]`. */
function ownersOfSockets(): Map<string, Program[]> {
  const owners = new Map<string, Program[]>();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    const links = attempt(() => readdirSync(`/proc/${pid}/fd`)) ?? []; // not ours, or ended by now
    const targets = links.map((fd) => attempt(() => readlinkSync(`/proc/${pid}/fd/${fd}`)) ?? "");
    let name: string | undefined;
    for (const target of new Set(targets)) {
      const [, inode] = /^socket:\[(\d+)\]$/.exec(target) ?? [];
      if (!inode) continue;
      name ??= programName(pid);
      owners.set(inode, [...owners.get(inode) ?? [], { pid: Number(pid), name }]);
    }
  }
  return owners;
}

/**
 * The name of a program: its first word without the folder. Many programs write a title over their words, such as
 * `sshd-session: anna@pts/0`, `php-fpm: master process (/etc/php/php-fpm.conf)` or `/opt/chrome --type=gpu/x`: then
 * the short name that the kernel keeps (man 5 proc_pid_comm) tells which part is the name.
 */
function programName(pid: string): string {
  const read = (file: string) => attempt(() => readFileSync(`/proc/${pid}/${file}`, "utf8")) ?? "";
  const [word] = read("cmdline").split("\0");
  const short = read("comm").trimEnd();
  const inTitle = /^([^\s/:]+): /.exec(word)?.[1];
  const names = [word, word.split(" ")[0]].map((path) => path.replace(/.*\//, "")).concat(inTitle ?? []);
  const matching = short === "" ? undefined : names.find((name) => name.startsWith(short));
  return matching ?? inTitle ?? (names[0] || short || "?");
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}

/** Prints rows with columns as wide as their longest value. */
async function table(rows: string[][]): Promise<void> {
  const widths = rows[0].map((_, column) =>
    rows.reduce((most, row) => Math.max(most, row[column].length), 0)
  );
  for (const row of rows) {
    await print(row.map((value, column) => value.padEnd(widths[column])).join("  ").trimEnd());
  }
}

if (import.meta.main) run("client", main);
