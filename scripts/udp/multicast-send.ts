#!/usr/bin/env bun
/**
 * 2.5 Send to a group: one letter to the address of a group, and the network copies it for its members.
 * 中文 组播：一封信寄到组的地址，网络只给加入了这个组的人各送一份。
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
 *                                                ->  socket.setMulticastInterface(card)
 *            s.setsockopt(IPPROTO_IP, IP_MULTICAST_TTL, 1)
 *                                                ->  socket.setMulticastTTL(1)
 *            s.setsockopt(IPPROTO_IP, IP_MULTICAST_LOOP, 1)
 *                                                ->  socket.setMulticastLoopback(true)
 * Watch out  The sender need not be a member. TTL 1 ends at the first router: the default goes no
 *            farther than this network. 239.255.x.x belongs to nobody, as 192.168.x.x (RFC 2365). IPv6
 *            writes how far into the group: ff12 this network, ff15 this site (RFC 4291, section 2.7).
 *            And Linux has no way to an IPv6 group over loopback: name another card.
 * Try        On two machines: --interface eth0 at both ends. Then --group ff12::8000:1 as well.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint } from "../../lib/endpoint.ts";
import { card, GROUP_FLAGS, groupFamily } from "./group.ts";
import { isExit, messages } from "../../lib/keyboard.ts";
import { print } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { sendTo } from "../../lib/udp.ts";

async function main(stop: AbortSignal) {
  const options = await readArguments(import.meta, {
    words: "[MESSAGE...]",
    flags: {
      ...GROUP_FLAGS,
      ttl: { kind: "number", min: 1, max: 255, default: 1, help: "each network on its way costs one" },
      noLoopback: { kind: "switch", help: "members on this machine get no copy" },
    },
  });
  const { group, port } = options;
  const family = groupFamily(group);
  const via = card(options.interface, family);

  await using socket = createSocket({ type: `udp${family}`, signal: stop });
  socket.bind(0, family === 4 ? via : "::");
  await once(socket, "listening", { signal: stop });
  socket.setMulticastInterface(via); // a group may be in many networks; this is the one
  socket.setMulticastTTL(options.ttl);
  socket.setMulticastLoopback(!options.noLoopback);

  const source = socket.address();
  for await (const { text, bytes } of messages(options.words, options.encoding, stop)) {
    await sendTo(socket, bytes, port, group);
    await print(
      `sent ${bytes.length} bytes from ${endpoint(source.address, source.port)} to ${endpoint(group, port)}`,
    );
    if (isExit(text)) break;
  }
}

if (import.meta.main) run("client", main);
