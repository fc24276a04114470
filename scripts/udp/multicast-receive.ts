#!/usr/bin/env bun
/**
 * 2.5 Join a group: a member gets every datagram to the group, until it leaves.
 * 中文 加入组播组：加入之后，发往组的数据报都能收到；退出之后，就再也收不到。
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
 * Python     s.bind((group, 7790))
 *                ->  socket.bind(port, group)
 *            s.setsockopt(IPPROTO_IP, IP_ADD_MEMBERSHIP, group + card)
 *                ->  socket.addMembership(group, card)
 *            data, sender = s.recvfrom(65535)
 *                ->  socket.on("message", (data, sender) => ...)
 *            s.setsockopt(IPPROTO_IP, IP_DROP_MEMBERSHIP, group + card)
 *                ->  socket.dropMembership(group, card)
 * Watch out  The machine tells the network that it joins (IGMP, RFC 9776; for
 *            IPv6 MLD, RFC 9777), so that switches and routers send the group's
 *            datagrams here. The machine joins, on one of its cards, not the
 *            program: on Linux a socket also gets what any other program of the
 *            machine has joined. That is why the code has `isMember`.
 * Try        ip maddr show lo, before and after leave. Two receivers at once.
 * 注意       加入时，机器会告诉网络（IGMP，RFC 9776；IPv6 用 MLD，RFC 9777），交换
 *            机和路由器才把组的数据报送到这里。加入的是机器的一块网卡，不是程序：
 *            在 Linux 上，本机其他程序加入的组，这个套接字也收得到。所以代码里有
 *            `isMember`。
 * 试试       在 leave 前后看 ip maddr show lo。同时运行两个接收方。
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import process from "node:process";
import { readArguments } from "../../lib/arguments.ts";
import { keyboard } from "../../lib/keyboard.ts";
import { hint, print, ready, run, visible } from "../../lib/program.ts";
import { endpoint } from "../../lib/socket.ts";
import { Decoder, isExit } from "../../lib/text.ts";
import { closed } from "../../lib/udp.ts";
import { bindable, cardFor, GROUP_FLAGS, groupFamily } from "./group.ts";
import { bound } from "./bound.ts";

async function main(stop: AbortSignal) {
  const options = await readArguments(import.meta, {
    flags: {
      ...GROUP_FLAGS,
      once: { kind: "switch", help: "end after one datagram | 收到一个数据报就结束" },
    },
  });
  const { group, port, encoding } = options;
  const family = groupFamily(group);
  const card = cardFor(options.interface, family);
  const decoder = new Decoder(encoding);
  let isMember = false;

  // reuseAddr lets several receivers of one machine share the port.
  // `signal: stop` closes the socket on Ctrl-C, and `await using` when main ends.
  await using socket = createSocket({ type: `udp${family}`, reuseAddr: true, signal: stop });
  const isClosed = closed(socket);
  // From now on, the system hands us each datagram with the address that it came from.
  socket.on("message", (data, sender) => {
    if (!isMember) return;
    const from = endpoint(sender.address, sender.port);
    const text = decoder.decode(data, from);
    print(`${from} > ${visible(text)}`);
    if (options.once || isExit(text)) socket.close(); // leaves the group too
  });
  // Bound to the group, the socket gets no datagram to another address. (Windows cannot: bind "0.0.0.0".)
  socket.bind(port, bindable(group, card));
  await bound(socket, port, stop);
  join();
  await ready(socket.address());

  const end = new AbortController();
  try {
    await Promise.race([isClosed, obey(AbortSignal.any([stop, end.signal]))]);
  } finally {
    end.abort(); // gives the keyboard back
  }

  /** The system tells the network that this machine wants the group's datagrams, on this card. */
  function join() {
    socket.addMembership(group, card);
    isMember = true;
  }

  /** Tells the network the opposite, if no other program of this machine is a member. */
  function leave() {
    socket.dropMembership(group, card);
    isMember = false;
  }

  /** Does what is typed: join, leave or exit. */
  async function obey(end: AbortSignal) {
    for await (const { text } of keyboard(encoding, end)) {
      if (isExit(text)) return;
      if (text === "leave" && isMember) {
        leave();
        await print(`left ${group}`);
      } else if (text === "join" && !isMember) {
        join();
        await print(`joined ${group}`);
      } else {
        const [now, next] = isMember ? ["in", "leave"] : ["not in", "join"];
        await hint(`this program is ${now} the group: type ${next}, or exit`);
      }
    }
    if (!process.stdin.isTTY) await once(end, "abort"); // the input was not a keyboard: keep receiving
  }
}

if (import.meta.main) run("server", main);
