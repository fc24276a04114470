#!/usr/bin/env bun
/**
 * 2.1 Send datagrams: UDP is a letter; it leaves, and nobody confirms it.
 * 中文 发送数据报：UDP 像寄信，寄出去就完了，没有人告诉你到没到。
 *
 * terminal 1
 *   $ bun scripts/udp/receive.ts --once
 *   listening on 127.0.0.1:7788
 *   127.0.0.1:50001 > 你好
 * terminal 2
 *   $ bun scripts/udp/send.ts 你好
 *   sent 6 bytes from 127.0.0.1:50001 to 127.0.0.1:7788
 *   $ bun scripts/udp/send.ts "Is anybody there?"
 *   sent 17 bytes from 127.0.0.1:50002 to 127.0.0.1:7788
 *
 * Python     s = socket(AF_INET, SOCK_DGRAM)  ->  createSocket({ type: "udp4" })
 *            s.bind(("", local_port))         ->  socket.bind(localPort)
 *            s.sendto(data, (host, port))     ->  socket.send(data, port, host)
 * Watch out  The second letter found no receiver, and its sender never knew.
 * Try        Send without a message and type line after line until exit: the
 *            port stays the same. Then give --local-port 9000.
 * 注意       上面的第二封信没有人收，寄信的一方始终不知道。
 * 试试       不写消息就运行，一行一行地键入，直到 exit：端口一直不变。再加上
 *            --local-port 9000。
 */
import { createSocket } from "node:dgram";
import process from "node:process";
import { readArguments } from "../../lib/arguments.ts";
import { messages } from "../../lib/keyboard.ts";
import { print, report, run } from "../../lib/program.ts";
import { endpoint, sent } from "../../lib/socket.ts";
import { isExit } from "../../lib/text.ts";
import { sourceName } from "./source-name.ts";
import { bound } from "./bound.ts";

async function main(stop: AbortSignal) {
  const { host, family, port, encoding, localPort, words } = await readArguments(import.meta, {
    port: 7788,
    words: "[MESSAGE...]",
    flags: { localPort: { kind: "port", help: "send from this port | 从这个端口发送" } },
  });
  // signal: Ctrl-C closes the socket. await using: so does every way out of this function.
  await using socket = createSocket({ type: family === 4 ? "udp4" : "udp6", signal: stop });
  if (localPort !== undefined) {
    socket.bind(localPort); // the system reserves this port for us, if it is free
    await bound(socket, localPort, stop, "--local-port");
  }
  for await (const { text, bytes: data } of messages(words, encoding, stop)) {
    try {
      // The system takes the datagram and sends it off; the first send gives an unbound socket its port.
      await sent((done) => socket.send(data, port, host, done));
      await print(`sent ${data.length} bytes from ${sourceName(socket, host)} to ${endpoint(host, port)}`);
    } catch (error) {
      stop.throwIfAborted();
      process.exitCode = 1;
      await report(error); // the network is down, say: this letter is lost, but perhaps not the next one
    }
    if (isExit(text) && words.length === 0) break; // typed
  }
}

if (import.meta.main) run("client", main);
