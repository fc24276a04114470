#!/usr/bin/env bun
/**
 * 2.4 Send to all: a datagram to the broadcast address is copied to every
 * machine of the network.
 * 中文 广播：发往广播地址的数据报，网络给每台机器各送一份。
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
 *                ->  socket.setBroadcast(true)
 *            s.sendto(data, ("<broadcast>", 7789))
 *                ->  socket.send(data, port, "255.255.255.255")
 * Watch out  2.1 sends to one, this to all, 2.5 to those who have joined. A
 *            broadcast interrupts every machine, so the system wants
 *            SO_BROADCAST first, and no router passes one on. 127.255.255.255
 *            is "all" of this machine only, and only on Linux.
 * Try        --host 255.255.255.255 sends to all of the network that this
 *            machine is in.
 * 注意       2.1 发给一个，这里发给所有，2.5 发给加入了组的。广播会打扰每台机器，
 *            所以系统要求先设 SO_BROADCAST，路由器也不转发。127.255.255.255 的“所
 *            有”只是本机，而且只在 Linux 上有效。
 * 试试       --host 255.255.255.255 发给本机所在网络里的所有机器。
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import process from "node:process";
import { readArguments } from "../../lib/arguments.ts";
import { Failure } from "../../lib/failure.ts";
import { messages } from "../../lib/keyboard.ts";
import { print, report, run } from "../../lib/program.ts";
import { endpoint, sent } from "../../lib/socket.ts";
import { isExit } from "../../lib/text.ts";
import { sourceName } from "./source-name.ts";

async function main(stop: AbortSignal) {
  const { host, family, port, encoding, noBroadcast, words } = await readArguments(import.meta, {
    port: 7789,
    words: "[MESSAGE...]",
    flags: {
      host: {
        kind: "text",
        default: "127.255.255.255",
        help: "the broadcast address of a network | 一个网络的广播地址",
      },
      noBroadcast: {
        kind: "switch",
        help: "leave SO_BROADCAST out, and see what the system says | 不设 SO_BROADCAST，看系统怎么说",
      },
    },
  });
  if (family === 6) {
    throw new Failure(host, "IPv6 has no broadcast, only groups", "EAFNOSUPPORT", {
      exitCode: 2,
      hint: "lesson 2.5 sends to groups: bun scripts/udp/multicast-send.ts",
    });
  }

  // `signal: stop` closes the socket on Ctrl-C, and `await using` when main ends.
  await using socket = createSocket({ type: "udp4", signal: stop });
  // Without a port, bind takes any free one. Python needs no bind here; the runtimes set options only after it.
  socket.bind();
  await once(socket, "listening", { signal: stop });
  // Tells the system that we mean it: without SO_BROADCAST it refuses to send to a broadcast address.
  if (!noBroadcast) socket.setBroadcast(true);

  for await (const { text, bytes } of messages(words, encoding, stop)) {
    // One datagram goes out; the system addresses it to all, and each machine takes a copy.
    try {
      await sent((done) => socket.send(bytes, port, host, done));
      await print(`sent ${bytes.length} bytes from ${sourceName(socket, host)} to ${endpoint(host, port)}`);
    } catch (error) {
      stop.throwIfAborted();
      process.exitCode = 1;
      await report(error); // this datagram is lost, but perhaps not the next one
    }
    if (isExit(text) && words.length === 0) break; // typed
  }
}

if (import.meta.main) run("client", main);
