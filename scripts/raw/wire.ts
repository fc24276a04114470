#!/usr/bin/env bun
/**
 * 5.2 The wire: what two programs really exchange, drawn as it passes.
 * 中文 线上所见：两个程序之间实际传输的每个报文，边传边画。
 *
 * terminal 1
 *   $ bun scripts/raw/wire.ts --port 7890 --count 5
 *   listening on lo
 *            127.0.0.1:50001                                       127.0.0.1:7890
 *            |........................... connection ...........................|
 *      0.000 |\  SYN  seq 0                                                     |
 *            | `--------------------------------------------------------------->|
 *      0.001 |                                          SYN ACK  seq 0  ack 1  /|
 *            |<---------------------------------------------------------------' |
 *      0.001 |\  ACK  seq 1  ack 1                                              |
 *            | `--------------------------------------------------------------->|
 *            |.............................. data ..............................|
 *      0.002 |\  PSH ACK  seq 1  ack 1  6 bytes  "你好"                         |
 *            | `--------------------------------------------------------------->|
 *      0.002 |                                              ACK  seq 1  ack 7  /|
 *            |<---------------------------------------------------------------' |
 *   5 packets
 * terminal 2
 *   $ bun scripts/tcp/server.ts
 *   listening on 127.0.0.1:7890
 *   127.0.0.1:50001 connected
 *   127.0.0.1:50001 > 你好
 * terminal 3
 *   $ bun scripts/tcp/client.ts 你好
 *   ok, Processing Request Completion！
 *
 * Python     s = socket(AF_PACKET, SOCK_DGRAM, 0)
 *            ->  socket(AF_PACKET, SOCK_DGRAM, 0)
 *            s.bind((interface, ETH_P_ALL))
 *            ->  packets.bind(packetAddress(card, ETH_P_ALL))
 *            data, controls, flags, sender = s.recvmsg(65535, 512)
 *            ->  packets.recvmsg()
 *            (none; tcpdump -i lo, tshark -i lo)
 *            ->  (none; this lesson)
 * Watch out  Bun only, Linux only, and with CAP_NET_RAW, as 5.1. A
 *            packet socket gets a copy of each packet that a card sends or
 *            receives; on the loopback card each packet does both, and is
 *            shown once. The arrows are what TCP does for you: the programs
 *            asked only for connect, write and end. A packet is known to be
 *            lost (X) when it is sent again: until then its arrow waits.
 * Try        Watch 2.1, 3.5 and 3.6. Call a port where nobody listens. Open
 *            the file of --pcap in Wireshark.
 * 注意       只能用 Bun，只能在 Linux 上，也需要 CAP_NET_RAW 权限，见 5.1。网卡收发
 *            的每个报文，报文套接字都得到一份；在环回网卡上，每个报文既发又收，这里
 *            只画一次。这些箭头是 TCP 替你做的事：程序只调用了 connect、write 和
 *            end。报文重发时才知道前一个丢了（X），在那之前，它的箭头先不画。
 * 试试       看看 2.1、3.5 和 3.6。连接一个没人监听的端口。用 Wireshark 打开
 *            --pcap 写的文件。
 */
import { setTimeout as sleep } from "node:timers/promises";
import { readArguments } from "../../lib/arguments.ts";
import { Failure } from "../../lib/failure.ts";
import { print, ready, report, run } from "../../lib/program.ts";
import {
  AF_PACKET,
  ARPHRD_LOOPBACK,
  arrival,
  ETH_P_ALL,
  ETH_P_IP,
  ETH_P_IPV6,
  if_nametoindex,
  loadLibc,
  type Message,
  noRight,
  now,
  PACKET_OUTGOING,
  PACKET_STATISTICS,
  packetAddress,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SO_TIMESTAMPNS,
  SOCK_DGRAM,
  type Socket,
  socket,
  SOL_PACKET,
  SOL_SOCKET,
} from "./libc.ts";
import type { Arrow } from "./wire/arrow.ts";
import { Capture } from "./wire/capture.ts";
import { Conversations } from "./wire/conversations.ts";
import { Ladder } from "./wire/ladder.ts";
import { parsePacket } from "./wire/packet.ts";
import { Picture } from "./wire/picture.ts";

/** How often to look for packets, in ms. The kernel notes when each came. */
const TICK = 5;
/** How often to look whether the network card is still there, in ms. */
const CARD_TICK = 200;
/** How many packets to read before drawing them and hearing Ctrl-C. */
const MOST_AT_ONCE = 500;
/** How long to read, after the end, what came before it, in ms. */
const MOST_AFTER = 500;
/** How many bytes the kernel may keep for us until we read them. */
const BUFFER = 32 * 1024 * 1024;

const FLAGS = {
  port: { kind: "port", help: "only what is from or to this port | 只看这个端口" },
  interface: { kind: "text", default: "lo", help: "the network card to watch | 要看的网卡" },
  count: {
    kind: "number",
    min: 0,
    max: 1e9,
    default: 0,
    help: "end after so many packets; 0: do not | 看到这么多报文就结束；0：不限",
  },
  seconds: {
    kind: "number",
    min: 0,
    max: 1e6,
    default: 0,
    help: "end after so long; 0: do not | 过这么久就结束；0：不限",
  },
  svg: { kind: "text", help: "also draw a picture into this file | 另外画成图片" },
  pcap: {
    kind: "text",
    help: "also write the packets here, for Wireshark | 另存报文，供 Wireshark 打开",
  },
  json: {
    kind: "switch",
    help: "instead, one Arrow (wire/arrow.ts) a line | 改为每行一个 Arrow（wire/arrow.ts）",
  },
} as const;

async function main(stop: AbortSignal) {
  const { port, interface: name, count, seconds, svg, pcap, json } = await readArguments(import.meta, {
    flags: FLAGS,
  });
  await loadLibc();
  const card = if_nametoindex(name);
  if (card === 0) throw new Failure(name, "this machine has no such interface", "ENODEV");
  using packets = open(card);
  const picture = svg ? new Picture(svg) : undefined;
  const capture = pcap ? new Capture(pcap) : undefined;
  const ladder = new Ladder();
  const show = async (arrows: Arrow[]) => {
    const lines = arrows.flatMap((arrow) => json ? JSON.stringify(arrow) : ladder.draw(arrow));
    if (lines.length > 0) await print(lines.join("\n"));
    for (const arrow of arrows) picture?.draw(arrow);
    picture?.flush();
    capture?.flush();
  };
  const conversations = new Conversations(port);
  await ready(name);

  const end = seconds > 0 ? performance.now() + seconds * 1000 : Infinity;
  let seen = 0, dropped = 0, looked = now(), last = Infinity, isOver = false;
  try {
    while (!isOver) {
      if (stop.aborted || performance.now() >= end) last = Math.min(last, now()); // what came until then is still read
      let read = 0;
      for (; read < MOST_AT_ONCE && (count === 0 || seen < count); read++) {
        const message = next(packets, name);
        isOver = message ? arrival(message) > last : last < Infinity;
        if (!message || isOver) break;
        const packet = isShown(message) ? parsePacket(message.data) : undefined;
        if (!packet || !conversations.add(packet, arrival(message))) continue;
        capture?.add(message);
        seen++;
      }
      isOver ||= (count > 0 && seen === count) || now() - last > MOST_AFTER;
      await show(conversations.settled(now()));
      dropped += packets.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8).readUInt32LE(4); // since the last call
      if (now() - looked > CARD_TICK) {
        looked = now();
        if (if_nametoindex(name) !== card) throw new Failure(name, "this interface has gone", "ENODEV");
      }
      if (!isOver) await sleep(read === MOST_AT_ONCE ? 0 : TICK);
    }
  } finally {
    await show(conversations.settled(Infinity));
    picture?.end();
  }
  if (json) return await print(JSON.stringify({ packets: seen, dropped }));
  await print(`${seen} packets${dropped ? `; the kernel dropped ${dropped} more, which came too fast` : ""}`);
}

/**
 * Opens a packet socket, which gets a copy of each packet that a card sends or receives.
 * @throws Failure EPERM
 */
function open(card: number): Socket {
  let packets: Socket;
  try {
    packets = socket(AF_PACKET, SOCK_DGRAM, 0); // DGRAM: without the header of the card; 0: nothing yet
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === "EPERM" ? noRight("packet socket") : error;
  }
  packets.setsockopt(SOL_SOCKET, SO_TIMESTAMPNS, 1); // tell when a packet was seen
  try {
    packets.setsockopt(SOL_SOCKET, SO_RCVBUFFORCE, BUFFER);
  } catch {
    packets.setsockopt(SOL_SOCKET, SO_RCVBUF, BUFFER); // as much of it as net.core.rmem_max allows
  }
  packets.bind(packetAddress(card, ETH_P_ALL)); // from now on, all of this card
  return packets;
}

/** The next packet, if there is one. A card that goes down is told; when it comes up again, packets come again. */
function next(packets: Socket, name: string): Message | undefined {
  try {
    return packets.recvmsg();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENETDOWN") throw error;
    report(error, `watch ${name}`);
  }
}

/** Whether it is an IP packet, and not the copy that the loopback card sends of what it also receives. */
function isShown({ from }: Message): boolean {
  const [protocol, kind, direction] = [from.readUInt16BE(2), from.readUInt16LE(8), from[10]];
  if (protocol !== ETH_P_IP && protocol !== ETH_P_IPV6) return false;
  return kind !== ARPHRD_LOOPBACK || direction !== PACKET_OUTGOING;
}

if (import.meta.main) run("server", main);
