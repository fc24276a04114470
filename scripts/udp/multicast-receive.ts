#!/usr/bin/env bun
/**
 * 2.5 Join a group: who has joined gets every letter to the group; who has left gets no more.
 * 中文 加入组播组：加入之后，寄给组的信都能收到；退出之后，就再也收不到。
 *
 * terminal 1
 *   $ bun scripts/udp/multicast-receive.ts
 *   listening on 239.255.0.1:7790
 *   127.0.0.1:50001 > 都在吗？
 * terminal 2
 *   $ bun scripts/udp/multicast-send.ts 都在吗？
 *   sent 12 bytes from 127.0.0.1:50001 to 239.255.0.1:7790
 * terminal 1
 *   > leave
 *   left 239.255.0.1
 * terminal 2
 *   $ bun scripts/udp/multicast-send.ts 听得到吗？
 *   sent 15 bytes from 127.0.0.1:50002 to 239.255.0.1:7790
 * terminal 1
 *   > join
 *   joined 239.255.0.1
 * terminal 2
 *   $ bun scripts/udp/multicast-send.ts exit
 *   sent 4 bytes from 127.0.0.1:50003 to 239.255.0.1:7790
 * terminal 1
 *   127.0.0.1:50003 > exit
 *
 * Python     s.setsockopt(IPPROTO_IP, IP_ADD_MEMBERSHIP, group + card)
 *                                                ->  socket.addMembership(group, card)
 *            s.setsockopt(IPPROTO_IP, IP_DROP_MEMBERSHIP, group + card)
 *                                                ->  socket.dropMembership(group, card)
 * Watch out  The join is told to the network (IGMP, RFC 3376; for IPv6 MLD, RFC 3810), so that switches
 *            and routers send the letters here. It is the machine that joins, by one of its cards: on
 *            Linux a socket hears what any program of the machine has joined. Hence `member` below.
 * Try        ip maddr show lo, before and after leave. Two receivers at once.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import process from "node:process";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint } from "../../lib/endpoint.ts";
import { bindable, card, GROUP_FLAGS, groupFamily } from "./group.ts";
import { isExit, keyboard } from "../../lib/keyboard.ts";
import { hint, print, ready, visible } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { Decoder } from "../../lib/text.ts";
import { datagrams } from "../../lib/udp.ts";

async function main(stop: AbortSignal) {
  const options = await readArguments(import.meta, {
    flags: { ...GROUP_FLAGS, once: { kind: "switch", help: "end after one datagram" } },
  });
  const { group, encoding } = options;
  const family = groupFamily(group);
  const via = card(options.interface, family);
  const decoder = new Decoder(encoding);

  await using socket = createSocket({ type: `udp${family}`, reuseAddr: true, signal: stop });
  const inbox = datagrams(socket);
  // Bound to the group, it takes no letter that bears another address. (Windows cannot: bind "0.0.0.0".)
  socket.bind(options.port, bindable(group, via));
  await once(socket, "listening", { signal: stop });
  socket.addMembership(group, via);
  let member = true;
  await ready(socket.address());

  async function receive() {
    for await (const [data, { address, port }] of inbox) {
      if (!member) continue;
      const sender = endpoint(address, port);
      const text = decoder.decode(data, sender);
      await print(`${sender} > ${visible(text)}`);
      if (options.once || isExit(text)) return;
    }
  }

  async function obey(end: AbortSignal) {
    for await (const { text } of keyboard(encoding, end)) {
      if (isExit(text)) return;
      if (text === "leave" && member) {
        socket.dropMembership(group, via);
        await print(`left ${group}`);
      } else if (text === "join" && !member) {
        socket.addMembership(group, via);
        await print(`joined ${group}`);
      } else {
        await hint(`it is ${member ? "in" : "not in"} the group: type ${member ? "leave" : "join"}, or exit`);
        continue;
      }
      member = !member;
    }
    if (!process.stdin.isTTY) await once(end, "abort"); // nobody types: it receives all the same
  }

  const done = new AbortController();
  try {
    await Promise.race([receive(), obey(AbortSignal.any([stop, done.signal]))]);
  } finally {
    done.abort(); // gives the keyboard back
  }
}

if (import.meta.main) run("server", main);
