#!/usr/bin/env bun
/**
 * 2.1 Send datagrams: UDP is a letter; it goes off, and nobody says whether it arrived.
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
 * Python     s = socket(AF_INET, SOCK_DGRAM)     ->  createSocket("udp4")
 *            s.bind(("", local_port))            ->  socket.bind(localPort)
 *            s.sendto(data, (host, port))        ->  socket.send(data, port, host)
 * Watch out  The second letter above found nobody, and its sender never learned that.
 * Try        Send without a message, and type line after line until exit: the port stays the same.
 *            Then take --local-port 9000, and look what the receiver shows.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint } from "../../lib/endpoint.ts";
import { isExit, messages } from "../../lib/keyboard.ts";
import { print } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { sendTo, sourceName } from "../../lib/udp.ts";

async function main(stop: AbortSignal) {
  const { host, family, port, encoding, localPort, words } = await readArguments(import.meta, {
    port: 7788,
    words: "[MESSAGE...]",
    flags: { localPort: { kind: "port", help: "send from this port" } },
  });
  await using socket = createSocket({ type: `udp${family}`, signal: stop });
  if (localPort !== undefined) {
    socket.bind(localPort);
    await once(socket, "listening", { signal: stop });
  }
  for await (const { text, bytes } of messages(words, encoding, stop)) {
    await sendTo(socket, bytes, port, host); // the first send gives an unbound socket its port
    await print(`sent ${bytes.length} bytes from ${sourceName(socket, host)} to ${endpoint(host, port)}`);
    if (isExit(text)) break;
  }
}

if (import.meta.main) run("client", main);
