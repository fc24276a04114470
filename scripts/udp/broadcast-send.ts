#!/usr/bin/env bun
/**
 * 2.4 Send to all: one letter to the broadcast address, and the network hands a copy to everybody on it.
 * 中文 广播：一封信寄到广播地址，网络给在场的每个人各送一份。
 *
 * terminal 1
 *   $ bun scripts/udp/broadcast-receive.ts --once
 *   listening on 127.255.255.255:7789
 *   127.0.0.1:50001 > 开饭了
 * terminal 2
 *   $ bun scripts/udp/broadcast-send.ts --no-broadcast 开饭了
 *   error: send to 127.255.255.255:7789: permission denied (EACCES)
 *   [exit 1]
 *   $ bun scripts/udp/broadcast-send.ts 开饭了
 *   sent 9 bytes from 127.0.0.1:50001 to 127.255.255.255:7789
 *
 * Python     s.setsockopt(SOL_SOCKET, SO_BROADCAST, 1)
 *                                                ->  socket.setBroadcast(true)
 *            s.sendto(data, ("<broadcast>", 7789))
 *                                                ->  socket.send(data, 7789, "255.255.255.255")
 * Watch out  To one is 2.1, to all is this, to many who asked for it is 2.5. A letter to all disturbs
 *            every machine, so the system wants SO_BROADCAST first, and no router lets one through.
 *            127.255.255.255 is "all" of this machine only, and only on Linux.
 * Try        --host 255.255.255.255 sends to all of the network that this machine is in.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint } from "../../lib/endpoint.ts";
import { Failure } from "../../lib/failure.ts";
import { isExit, messages } from "../../lib/keyboard.ts";
import { print } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { sendTo, sourceName } from "../../lib/udp.ts";

async function main(stop: AbortSignal) {
  const { host, family, port, encoding, noBroadcast, words } = await readArguments(import.meta, {
    port: 7789,
    words: "[MESSAGE...]",
    flags: {
      host: { kind: "text", default: "127.255.255.255", help: "the broadcast address of a network" },
      noBroadcast: { kind: "switch", help: "leave SO_BROADCAST out, and see what the system says" },
    },
  });
  if (family === 6) {
    throw new Failure(host, "IPv6 has no broadcast, only groups", "EAFNOSUPPORT", {
      exitCode: 2,
      hint: "lesson 2.5 sends to groups: bun scripts/udp/multicast-send.ts",
    });
  }

  await using socket = createSocket({ type: "udp4", signal: stop });
  socket.bind(); // an option can only be set on a socket that has its port
  await once(socket, "listening", { signal: stop });
  if (!noBroadcast) socket.setBroadcast(true);

  for await (const { text, bytes } of messages(words, encoding, stop)) {
    await sendTo(socket, bytes, port, host);
    await print(`sent ${bytes.length} bytes from ${sourceName(socket, host)} to ${endpoint(host, port)}`);
    if (isExit(text)) break;
  }
}

if (import.meta.main) run("client", main);
