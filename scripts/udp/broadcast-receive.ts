#!/usr/bin/env bun
/**
 * 2.4 Receive a broadcast: one datagram reaches every machine of the network,
 * and on each machine every program bound to its port.
 * 中文 接收广播：一个数据报送到网络里的每台机器，以及其上绑定此端口的每个程序。
 *
 * terminal 1
 *   $ bun scripts/udp/broadcast-receive.ts
 *   listening on 127.255.255.255:7789
 *   127.0.0.1:50001 > 开会了
 *   127.0.0.1:50001 > exit
 * terminal 2
 *   $ bun scripts/udp/broadcast-receive.ts
 *   listening on 127.255.255.255:7789
 *   127.0.0.1:50001 > 开会了
 *   127.0.0.1:50001 > exit
 * terminal 3
 *   $ bun scripts/udp/broadcast-send.ts
 *   > 开会了
 *   sent 9 bytes from 127.0.0.1:50001 to 127.255.255.255:7789
 *   > exit
 *   sent 4 bytes from 127.0.0.1:50001 to 127.255.255.255:7789
 *
 * Python     s.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
 *                ->  createSocket({ type: "udp4", reuseAddr: true })
 *            s.bind(("", 7789))
 *                ->  socket.bind(port, "0.0.0.0")
 *            data, sender = s.recvfrom(65535)
 *                ->  socket.on("message", (data, sender) => ...)
 * Watch out  A receiver that is bound to 127.0.0.1 gets no broadcast: a datagram
 *            is delivered only to sockets that are bound to its destination
 *            address, or to 0.0.0.0, which is every address. Windows binds no
 *            broadcast address: there, and on a real network, take
 *            --host 0.0.0.0.
 * Try        Start it with --host 0.0.0.0 on two machines, and send to the
 *            broadcast address that lesson 1.1 shows for your network.
 * 注意       绑定 127.0.0.1 的接收方收不到广播：数据报只交给绑定了它的目的地址、或
 *            绑定了 0.0.0.0（所有地址）的套接字。Windows 不能绑定广播地址：在那
 *            里，以及在真实的网络上，请用 --host 0.0.0.0。
 * 试试       在两台机器上用 --host 0.0.0.0 启动，再往 1.1 显示的本网广播地址发送。
 */
import { createSocket } from "node:dgram";
import { readArguments } from "../../lib/arguments.ts";
import { Failure } from "../../lib/failure.ts";
import { print, ready, run, visible } from "../../lib/program.ts";
import { endpoint } from "../../lib/socket.ts";
import { Decoder, isExit } from "../../lib/text.ts";
import { closed } from "../../lib/udp.ts";
import { bound } from "./bound.ts";

async function main(stop: AbortSignal) {
  const options = await readArguments(import.meta, {
    port: 7789,
    flags: {
      host: {
        kind: "text",
        default: "127.255.255.255",
        help: "a broadcast address, or 0.0.0.0 for every one | 广播地址；0.0.0.0 是所有地址",
      },
      once: { kind: "switch", help: "end after one datagram | 收到一个数据报就结束" },
    },
  });
  if (options.family === 6) {
    throw new Failure(options.host, "IPv6 has no broadcast, only groups", "EAFNOSUPPORT", {
      exitCode: 2,
      hint: "lesson 2.5 receives from groups: bun scripts/udp/multicast-receive.ts",
    });
  }
  const { host, port } = options;
  const decoder = new Decoder(options.encoding);

  // reuseAddr lets several programs bind one port: each gets a copy of every broadcast.
  // `signal: stop` closes the socket on Ctrl-C, and `await using` when main ends.
  await using socket = createSocket({ type: "udp4", reuseAddr: true, signal: stop });
  const end = closed(socket);
  // From now on, the system hands us each datagram with the address that it came from.
  socket.on("message", (data, sender) => {
    const from = endpoint(sender.address, sender.port);
    const text = decoder.decode(data, from);
    print(`${from} > ${visible(text)}`);
    if (options.once || isExit(text)) socket.close(); // gives the port back
  });
  // Bind takes the port: the system keeps what arrives for it.
  socket.bind(port, host);
  await bound(socket, port, stop);
  await ready(socket.address());
  await end;
}

if (import.meta.main) run("server", main);
