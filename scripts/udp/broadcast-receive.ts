#!/usr/bin/env bun
/**
 * 2.4 Hear a broadcast: a letter to all reaches every machine of the network and each program at its port.
 * 中文 收听广播：寄给所有人的信，网络里的每台机器、这个端口上的每个程序都会收到。
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
 *                                                ->  createSocket({ type: "udp4", reuseAddr: true })
 *            s.bind(("", 7789))                  ->  socket.bind(7789, "0.0.0.0")
 * Watch out  A receiver that is bound to 127.0.0.1 hears nothing: the letter bears another address.
 *            Windows binds no broadcast address: there, and for a real network, take --host 0.0.0.0.
 * Try        Start it with --host 0.0.0.0 on two machines, and send to the broadcast address that
 *            lesson 1.1 shows for your network.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint } from "../../lib/endpoint.ts";
import { Failure } from "../../lib/failure.ts";
import { isExit } from "../../lib/keyboard.ts";
import { print, ready, visible } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { Decoder } from "../../lib/text.ts";
import { datagrams } from "../../lib/udp.ts";

async function main(stop: AbortSignal) {
  const options = await readArguments(import.meta, {
    port: 7789,
    flags: {
      host: {
        kind: "text",
        default: "127.255.255.255",
        help: "a broadcast address, or 0.0.0.0 for every one",
      },
      once: { kind: "switch", help: "end after one datagram" },
    },
  });
  if (options.family === 6) {
    throw new Failure(options.host, "IPv6 has no broadcast, only groups", "EAFNOSUPPORT", {
      exitCode: 2,
      hint: "lesson 2.5 hears groups: bun scripts/udp/multicast-receive.ts",
    });
  }
  const decoder = new Decoder(options.encoding);

  await using socket = createSocket({ type: "udp4", reuseAddr: true, signal: stop }); // others may share the port
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
