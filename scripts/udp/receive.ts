#!/usr/bin/env bun
/**
 * 2.1 Receive datagrams: a letterbox has an address, and every letter in it carries its sender's.
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
 * Python     s = socket(AF_INET, SOCK_DGRAM)     ->  createSocket("udp4")
 *            s.bind((host, port))                ->  socket.bind(port, host)
 *            data, sender = s.recvfrom(65535)    ->  socket.on("message", (data, sender) => ...)
 * Watch out  Who must be found needs a bind; who only writes gets a port from the system.
 *            One recvfrom is one whole letter, and it gives the sender too; recv gives data alone.
 *            Windows terminals may speak GBK, the rest UTF-8: the encoding is part of the protocol.
 * Try        Start it twice. Then send with --encoding gbk, and look what arrives.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint } from "../../lib/endpoint.ts";
import { isExit } from "../../lib/keyboard.ts";
import { print, ready, visible } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { Decoder } from "../../lib/text.ts";
import { datagrams } from "../../lib/udp.ts";

async function main(stop: AbortSignal) {
  const options = await readArguments(import.meta, {
    port: 7788,
    flags: { once: { kind: "switch", help: "end after one datagram" } },
  });
  const decoder = new Decoder(options.encoding);

  await using socket = createSocket({ type: `udp${options.family}`, signal: stop });
  const inbox = datagrams(socket);
  socket.bind(options.port, options.host);
  await once(socket, "listening", { signal: stop });
  await ready(socket.address());

  for await (const [data, { address, port }] of inbox) {
    const sender = endpoint(address, port);
    const text = decoder.decode(data, sender);
    await print(`${sender} > ${visible(text)}`);
    if (options.once || isExit(text)) break;
  }
}

if (import.meta.main) run("server", main);
