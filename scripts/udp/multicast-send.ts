#!/usr/bin/env bun
/**
 * 2.5 Send to a group: the network copies one datagram for each member.
 * 中文 组播：一个数据报发往组的地址，网络只给加入了这个组的成员各送一份。
 *
 * terminal 1
 *   $ bun scripts/udp/multicast-receive.ts
 *   listening on 239.255.0.1:7790
 *   127.0.0.1:50001 > 大家好
 *   127.0.0.1:50001 > exit
 * terminal 2
 *   $ bun scripts/udp/multicast-receive.ts
 *   listening on 239.255.0.1:7790
 *   127.0.0.1:50001 > 大家好
 *   127.0.0.1:50001 > exit
 * terminal 3
 *   $ bun scripts/udp/multicast-send.ts
 *   > 大家好
 *   sent 9 bytes from 127.0.0.1:50001 to 239.255.0.1:7790
 *   > exit
 *   sent 4 bytes from 127.0.0.1:50001 to 239.255.0.1:7790
 *
 * Python     s.setsockopt(IPPROTO_IP, IP_MULTICAST_IF, card)
 *                ->  socket.setMulticastInterface(card)
 *            s.setsockopt(IPPROTO_IP, IP_MULTICAST_TTL, 1)
 *                ->  socket.setMulticastTTL(1)
 *            s.setsockopt(IPPROTO_IP, IP_MULTICAST_LOOP, 1)
 *                ->  socket.setMulticastLoopback(true)
 *            s.sendto(data, (group, 7790))
 *                ->  socket.send(data, port, group)
 * Watch out  A sender need not be a member. With TTL 1, the default, the first
 *            router drops the datagram: it stays in this network. Anyone may use
 *            239.255.x.x inside their network, like 192.168.x.x (RFC 2365). An
 *            IPv6 group says itself how far it reaches: ff12 this network, ff15
 *            this site (RFC 4291, section 2.7). Linux has no route to an IPv6
 *            group over loopback: name another card.
 * Try        On two machines: --interface eth0 at both ends. Then add
 *            --group ff12::8000:1.
 * 注意       发送方不必是成员。TTL 默认是 1，第一个路由器就会丢掉它：出不了这个网
 *            络。239.255.x.x 和 192.168.x.x 一样，谁都可以在自己的网络里用（RFC
 *            2365）。IPv6 的组地址自己就说明能到多远：ff12 是本网，ff15 是本站点
 *            （RFC 4291，2.7 节）。Linux 的环回网卡上没有到 IPv6 组的路由：请指定
 *            别的网卡。
 * 试试       在两台机器上，两端都用 --interface eth0。再加上 --group
 *            ff12::8000:1。
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import process from "node:process";
import { readArguments } from "../../lib/arguments.ts";
import { messages } from "../../lib/keyboard.ts";
import { print, report, run } from "../../lib/program.ts";
import { endpoint, sent } from "../../lib/socket.ts";
import { isExit } from "../../lib/text.ts";
import { cardFor, GROUP_FLAGS, groupFamily } from "./group.ts";

async function main(stop: AbortSignal) {
  const options = await readArguments(import.meta, {
    words: "[MESSAGE...]",
    flags: {
      ...GROUP_FLAGS,
      ttl: {
        kind: "number",
        min: 1,
        max: 255,
        default: 1,
        help: "how many networks it may reach: each router takes one off | 能到几个网络：每过一个路由器减一",
      },
      noLoopback: { kind: "switch", help: "members on this machine get no copy | 本机的成员收不到" },
    },
  });
  const { group, port } = options;
  const family = groupFamily(group);
  const card = cardFor(options.interface, family);

  // `signal: stop` closes the socket on Ctrl-C, and `await using` when main ends.
  await using socket = createSocket({ type: `udp${family}`, signal: stop });
  // Port 0 is any free one. For IPv4, the address is what members see as the sender.
  socket.bind(0, family === 4 ? card : "::");
  await once(socket, "listening", { signal: stop });
  // The datagrams leave by this card: a group may have members in each network of this machine.
  socket.setMulticastInterface(card);
  // Each router on the way takes one off; at 0 the datagram is dropped.
  socket.setMulticastTTL(options.ttl);
  // Members on this machine get a copy too.
  socket.setMulticastLoopback(!options.noLoopback);

  const local = socket.address();
  const way = `from ${endpoint(local.address, local.port)} to ${endpoint(group, port)}`;
  for await (const { text, bytes } of messages(options.words, options.encoding, stop)) {
    // One datagram goes out; switches and routers copy it where their ways to the members part.
    try {
      await sent((done) => socket.send(bytes, port, group, done));
      await print(`sent ${bytes.length} bytes ${way}`);
    } catch (error) {
      stop.throwIfAborted();
      process.exitCode = 1;
      await report(error); // this datagram is lost, but perhaps not the next one
    }
    if (isExit(text) && options.words.length === 0) break; // typed
  }
}

if (import.meta.main) run("client", main);
