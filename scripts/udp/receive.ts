#!/usr/bin/env bun
/**
 * 2.1 Receive datagrams: a letterbox has an address, and so has each sender.
 * 中文 接收数据报：信箱有地址，每封信上也都写着寄信人的地址。
 *
 * terminal 1
 *   $ bun scripts/udp/receive.ts
 *   listening on 127.0.0.1:7788
 *   127.0.0.1:50001 > 你好
 *   127.0.0.1:50001 > how are you?
 *   127.0.0.1:50001 > exit
 * terminal 2
 *   $ bun scripts/udp/send.ts
 *   > 你好
 *   sent 6 bytes from 127.0.0.1:50001 to 127.0.0.1:7788
 *   > how are you?
 *   sent 12 bytes from 127.0.0.1:50001 to 127.0.0.1:7788
 *   > exit
 *   sent 4 bytes from 127.0.0.1:50001 to 127.0.0.1:7788
 *
 * Python     s = socket(AF_INET, SOCK_DGRAM)  ->  createSocket({ type: "udp4" })
 *            s.bind((host, port))             ->  socket.bind(port, host)
 *            data, sender = s.recvfrom(65535)
 *            ->  socket.on("message", (data, sender) => ...)
 * Watch out  A receiver binds so that others can find it; an unbound sender
 *            gets a port from the system. One recvfrom gives one whole
 *            datagram and its sender; recv gives the data alone. Windows
 *            terminals may speak GBK, the rest UTF-8: the encoding is part of
 *            the protocol.
 * Try        Start it twice. Then send with --encoding gbk and see what comes.
 * 注意       接收方要绑定端口，别人才找得到它；没有绑定的发送方由系统分配一个。
 *            recvfrom 一次给出一个完整的数据报和它的发送方；recv 只给数据。
 *            Windows 终端可能用 GBK，其他系统用 UTF-8：编码是协议的一部分。
 * 试试       启动两次看看。再用 --encoding gbk 发送，看收到的是什么。
 */
import { createSocket } from "node:dgram";
import { readArguments } from "../../lib/arguments.ts";
import { print, ready, run, visible } from "../../lib/program.ts";
import { endpoint } from "../../lib/socket.ts";
import { Decoder, isExit } from "../../lib/text.ts";
import { closed } from "../../lib/udp.ts";
import { bound } from "./bound.ts";

async function main(stop: AbortSignal) {
  const options = await readArguments(import.meta, {
    port: 7788,
    flags: { once: { kind: "switch", help: "end after one datagram | 收到一个数据报就结束" } },
  });
  const decoder = new Decoder(options.encoding);

  // signal: Ctrl-C closes the socket. await using: so does every way out of this function.
  await using socket = createSocket({ type: options.family === 4 ? "udp4" : "udp6", signal: stop });
  const end = closed(socket);
  let isOver = false;
  socket.on("message", (data, sender) => { // a whole datagram has come: what recvfrom returns
    if (isOver) return;
    const from = endpoint(sender.address, sender.port);
    const text = decoder.decode(data, from);
    print(`${from} > ${visible(text)}`);
    isOver = options.once || isExit(text);
    if (isOver) socket.close(); // from now on the port is free, and datagrams to it are lost
  });
  socket.bind(options.port, options.host); // the system keeps datagrams to this port for us
  await bound(socket, options.port, stop);
  await ready(socket.address());
  await end;
}

if (import.meta.main) run("server", main);
