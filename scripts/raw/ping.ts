#!/usr/bin/env bun
/**
 * 5.1 Ping: below UDP and TCP, a raw socket sends and sees the packets of IP
 * itself; an ICMP echo asks a machine whether it is there.
 * 中文 ping：原始套接字直接收发 IP 报文；ICMP 回显请求询问对方主机是否可达。
 *
 * terminal 1
 *   $ bun scripts/raw/ping.ts 127.0.0.1 --count 3 --interval 200
 *   PING 127.0.0.1 (127.0.0.1) 56(84) bytes of data.
 *   64 bytes from 127.0.0.1: icmp_seq=1 ttl=64 time=0.061 ms
 *   64 bytes from 127.0.0.1: icmp_seq=2 ttl=64 time=0.052 ms
 *   64 bytes from 127.0.0.1: icmp_seq=3 ttl=64 time=0.057 ms
 *   --- 127.0.0.1 ping statistics ---
 *   3 packets transmitted, 3 received, 0% packet loss, time 401ms
 *   rtt min/avg/max/mdev = 0.052/0.057/0.061/0.004 ms
 *
 * Python     s = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)
 *            ->  socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)
 *            struct.pack("!BBHHH", 8, 0, checksum, identifier, sequence)
 *            ->  echoRequest(family, identifier, sequence, size)
 *            s.sendto(packet, (host, 0))
 *            ->  icmp.sendto(packet, target)
 *            data, controls, flags, sender = s.recvmsg(65535, 512)
 *            ->  icmp.recvmsg()
 * Watch out  Bun only, Linux only: no runtime has raw sockets, so libc.ts calls
 *            the C library. A raw socket needs the capability CAP_NET_RAW: run
 *            it as root, or as root of a network of your own (unshare -Urn, then
 *            ip link set lo up). It gets every ICMP message of the machine, also
 *            those for others and, on the loopback, its own requests: the
 *            identifier tells which answers are ours. Without the capability,
 *            Linux may give out an ICMP datagram socket, which gets only its own
 *            answers (man 7 icmp). No answer does not mean that nobody is there:
 *            many firewalls drop ICMP.
 * Try        Ping two hosts at once. Ping ::1. Ping an address of your own
 *            network that nobody has.
 * 注意       只能用 Bun，只能在 Linux 上：三个运行时都没有原始套接字，所以 libc.ts
 *            直接调用 C 库。原始套接字需要 CAP_NET_RAW 权限：用 root 运行，或者
 *            在自己的网络里当 root（unshare -Urn，再 ip link set lo up）。本机收
 *            到的 ICMP 报文它全都看得到，包括别的程序的，在环回网卡上还包括自己
 *            发的请求：靠标识符分辨哪些回复是给自己的。没有这个权限时，Linux 可
 *            能给一个 ICMP 数据报套接字，它只收到自己的回复（man 7 icmp）。没有
 *            回复不等于没有主机：很多防火墙会丢弃 ICMP。
 * 试试       同时 ping 两台主机。ping ::1。ping 自己网络里没人用的地址。
 */
import { randomInt } from "node:crypto";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { readArguments, resolve } from "../../lib/arguments.ts";
import { explain } from "../../lib/failure.ts";
import { print, report, run } from "../../lib/program.ts";
import { isEveryAddress } from "../../lib/socket.ts";
import { behindIpv4, echoRequest, type Family, parseEcho, whyNot } from "./icmp.ts";
import {
  addressIn,
  AF_INET,
  AF_INET6,
  arrival,
  IP_RECVERR,
  IP_RECVTTL,
  IP_TTL,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPV6_HOPLIMIT,
  IPV6_RECVERR,
  IPV6_RECVHOPLIMIT,
  loadLibc,
  type Message,
  MSG_ERRQUEUE,
  noRight,
  now,
  SO_TIMESTAMPNS,
  SOCK_DGRAM,
  SOCK_RAW,
  type Socket,
  socket,
  socketAddress,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
} from "./libc.ts";
import { RoundTrips } from "./round-trips.ts";

/** How many messages to read before looking at the clock and at Ctrl-C again: others may send without end. */
const MOST_AT_ONCE = 1000;

/** How often to look for answers, in ms. The kernel notes when each came: this does not make their times longer. */
const TICK = 5;

async function main(stop: AbortSignal) {
  const { words: [host], count, interval, size, timeout } = await readArguments(import.meta, {
    words: "HOST",
    flags: {
      count: {
        kind: "number",
        min: 0,
        max: 1e9,
        default: 0,
        help: "how many requests; 0: until Ctrl-C | 请求个数；0：直到 Ctrl-C",
      },
      interval: {
        kind: "number",
        min: 10,
        max: 3_600_000,
        default: 1000,
        help: "ms from one to the next | 两个请求的间隔，毫秒",
      },
      size: {
        kind: "number",
        min: 0,
        max: 65_507,
        default: 56,
        help: "bytes of data in each | 每个请求的数据字节数",
      },
      timeout: {
        kind: "number",
        min: 1,
        max: 3_600_000,
        default: 4000,
        help: "ms to wait for an answer | 等回复的毫秒数",
      },
    },
  });
  await loadLibc();
  const { address, family } = await resolve(host);
  const { icmp, isRaw } = open(family);
  using _closing = icmp; // on every way out of this function
  const identifier = isRaw ? randomInt(1, 0x10000) : ownIdentifier(icmp, family);
  const target = socketAddress(address);
  const trips = new RoundTrips();
  // To a group, or to "every address", many may answer.
  const isGroup = /^(22[4-9]|23\d)\.|^ff[\da-f]{2}:/i.test(address);
  const peer = isGroup || isEveryAddress(address) ? undefined : addressIn(target);
  const incoming = () => received(icmp, { family, isRaw, identifier, peer }, trips);
  const whole = (family === 4 ? 20 : 40) + 8 + size; // IP header, ICMP header, data
  await print(`PING ${host} (${address}) ${size}(${whole}) bytes of data.`);

  const clock = () => performance.now(); // nobody sets this one
  const begin = clock();
  let last = begin, next = begin;
  while (!stop.aborted) {
    for (const line of incoming()) await print(line);
    for (const sequence of trips.late(clock() - timeout)) {
      await print(`no answer to icmp_seq=${sequence} within ${timeout} ms`);
    }
    const isAllSent = count > 0 && trips.sent === count;
    if (isAllSent && trips.waiting === 0) break;
    if (!isAllSent && clock() >= next) {
      const sequence = (trips.sent + 1) & 0xffff;
      const packet = echoRequest(family, identifier, sequence, size);
      last = clock();
      next = Math.max(next + interval, last); // after a pause of this program, not all that it missed
      trips.request(sequence, now(), last);
      try {
        icmp.sendto(packet, target); // the kernel puts the IP header before it; ICMP has no ports
      } catch (error) {
        trips.error(sequence);
        if (trips.sent === 1) throw explain(error, `ping ${host}`) ?? error;
        await report(error, `ping ${host}`); // a card that is down for a while ends nothing
      }
    }
    await sleep(TICK, undefined, { signal: stop }).catch(() => {});
  }
  for (const line of incoming()) await print(line);
  await print(trips.summary(host, last - begin));
  // Ctrl-C is the usual end of a ping without --count, and interrupts one with it.
  if (!stop.aborted || count === 0) process.exitCode = trips.received > 0 ? 0 : 1;
}

/**
 * Opens a raw socket; or, without the right to it, the datagram socket that Linux has for ICMP echoes, which sees only
 * the answers to its own requests.
 * @throws Failure EPERM where the system gives us neither
 */
function open(family: Family): { icmp: Socket; isRaw: boolean } {
  const attempt = (type: number) => {
    try {
      return family === 4 ? socket(AF_INET, type, IPPROTO_ICMP) : socket(AF_INET6, type, IPPROTO_ICMPV6);
    } catch (error) {
      if (!/^(EPERM|EACCES)$/.test(`${(error as NodeJS.ErrnoException).code}`)) throw error;
    }
  };
  const raw = attempt(SOCK_RAW);
  const icmp = raw ?? attempt(SOCK_DGRAM); // who gets it: net.ipv4.ping_group_range (man 7 icmp)
  if (!icmp) throw noRight("raw socket");
  icmp.setsockopt(SOL_SOCKET, SO_TIMESTAMPNS, 1); // tell when a message arrived
  if (family === 4) {
    icmp.setsockopt(SOL_IP, IP_RECVTTL, 1); // tell its TTL
    icmp.setsockopt(SOL_IP, IP_RECVERR, 1); // keep the errors that come back for a request, in a queue of their own
  } else {
    icmp.setsockopt(SOL_IPV6, IPV6_RECVHOPLIMIT, 1);
    icmp.setsockopt(SOL_IPV6, IPV6_RECVERR, 1);
  }
  return { icmp, isRaw: raw !== undefined };
}

/** The identifier that the system gives to a datagram socket, in the place of a port. */
function ownIdentifier(icmp: Socket, family: Family): number {
  icmp.bind(socketAddress(family === 4 ? "0.0.0.0" : "::"));
  return icmp.getsockname().readUInt16BE(2);
}

/** @param peer who should answer, where that is one machine */
type Ours = { family: Family; isRaw: boolean; identifier: number; peer?: string };

/** What has come, as lines to print. Messages for others are left out. */
export function* received(
  icmp: Socket,
  { family, isRaw, identifier, peer }: Ours,
  trips: RoundTrips,
): Generator<string> {
  // Errors first: a router, or our own system, sends back the beginning of the request that it could not deliver.
  for (let count = 0; count < MOST_AT_ONCE; count++) {
    const error = take(icmp, MSG_ERRQUEUE);
    if (!error) break;
    const request = parseEcho(family, error.data);
    if (request?.identifier !== identifier) continue;
    trips.error(request.sequence);
    // struct sock_extended_err (man 7 ip): 5 type, 6 code, 8-11 MTU, 16- the address of the machine that says so
    const why = error.controls.find(({ type }) => type === (family === 4 ? IP_RECVERR : IPV6_RECVERR))?.data;
    if (!why) continue;
    yield `From ${addressIn(why.subarray(16))} icmp_seq=${request.sequence} ` +
      whyNot(family, why[5], why[6], why.readUInt32LE(8));
  }
  for (let count = 0; count < MOST_AT_ONCE; count++) {
    const message = take(icmp);
    if (!message) break;
    const at = arrival(message);
    const bytes = family === 4 && isRaw ? behindIpv4(message.data) : message.data;
    const echo = parseEcho(family, bytes);
    if (!echo?.isReply || echo.identifier !== identifier || !echo.isIntact) continue;
    const trip = trips.answer(echo.sequence, at);
    if (!trip) continue;
    const ttl = message.controls.find(({ type }) => type === (family === 4 ? IP_TTL : IPV6_HOPLIMIT));
    const from = addressIn(message.from);
    const remarks = [trip.isDuplicate ? " (DUP!)" : "", peer && from !== peer ? " (DIFFERENT ADDRESS!)" : ""];
    yield `${bytes.length} bytes from ${from}: icmp_seq=${echo.sequence} ` +
      `ttl=${ttl?.data.readInt32LE(0)} time=${trip.time.toFixed(3)} ms${remarks.join("")}`;
  }
}

/** What a receive fails with, once, when an error has come back for a request: the queue of errors tells more. */
const CAME_BACK =
  ("ENETUNREACH EHOSTUNREACH EHOSTDOWN ENONET ECONNREFUSED ENOPROTOOPT EOPNOTSUPP ENOTSUP EMSGSIZE " +
    "EPROTO EACCES ENETDOWN").split(" ");

/** The next message, if one has come. */
function take(icmp: Socket, flags = 0): Message | undefined {
  try {
    return icmp.recvmsg(flags);
  } catch (error) {
    if (!CAME_BACK.includes(`${(error as NodeJS.ErrnoException).code}`)) throw error;
  }
}

if (import.meta.main) run("client", main);
