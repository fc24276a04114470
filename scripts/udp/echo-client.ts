#!/usr/bin/env bun
/**
 * 2.2 Ask by datagram: whoever wants to know whether a letter arrived waits for an answer, not for ever.
 * 中文 用数据报提问：想知道信到没到，就等回信，但不能永远等下去。
 *
 * terminal 1
 *   $ bun scripts/udp/echo-client.ts --timeout 200 --tries 2
 *   > 有人吗？
 *   no reply within 200 ms
 *   no reply within 200 ms
 *   error: 127.0.0.1:8080: no reply after 2 tries (ETIMEDOUT)
 *   hint: is the server running? Datagrams to nobody are lost without a word
 *   [exit 1]
 * terminal 2
 *   $ bun scripts/udp/echo-server.ts
 *   listening on 127.0.0.1:8080
 *   127.0.0.1:50001 > 有人吗？
 *   ^C
 * terminal 1
 *   $ bun scripts/udp/echo-client.ts
 *   > 有人吗？
 *   有人吗？
 *   ^D
 *
 * Python     s.settimeout(seconds)               ->  a timer beside the waiting
 *            s.sendto(data, (host, port))        ->  socket.send(data, port, host)
 *            data, sender = s.recvfrom(65535)    ->  socket.on("message", (data, sender) => ...)
 * Watch out  A letter that is sent again may arrive twice, and a late answer may belong to an older one.
 *            Lesson 2.6 numbers its letters for that.
 * Try        Ctrl-C the server in the middle and type on; start it again within the tries.
 */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint } from "../../lib/endpoint.ts";
import { Failure, isStop } from "../../lib/failure.ts";
import { isExit, keyboard } from "../../lib/keyboard.ts";
import { print, visible } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { Decoder } from "../../lib/text.ts";
import { sendTo } from "../../lib/udp.ts";

async function main(stop: AbortSignal) {
  const { host, family, port, encoding, timeout, tries } = await readArguments(import.meta, {
    port: 8080,
    flags: {
      timeout: { kind: "number", min: 1, max: 3_600_000, default: 1000, help: "ms to wait for a reply" },
      tries: { kind: "number", min: 1, max: 1000, default: 3, help: "how often a message is sent" },
    },
  });
  const server = endpoint(host, port);
  const decoder = new Decoder(encoding);

  await using socket = createSocket({ type: `udp${family}`, signal: stop });
  for await (const { text, bytes } of keyboard(encoding, stop)) {
    if (isExit(text)) break;
    for (let attempt = 1;; attempt++) {
      const reply = receive(socket, server, AbortSignal.any([stop, AbortSignal.timeout(timeout)]));
      await sendTo(socket, bytes, port, host);
      const data = await reply;
      if (stop.aborted) return;
      if (data) {
        await print(visible(decoder.decode(data, server)));
        break;
      }
      await print(`no reply within ${timeout} ms`);
      if (attempt === tries) {
        throw new Failure(server, `no reply after ${tries} tries`, "ETIMEDOUT", {
          hint: "is the server running? Datagrams to nobody are lost without a word",
        });
      }
    }
  }
}

/** Waits for a datagram of the server; those of anybody else are not the answer. */
async function receive(socket: Socket, server: string, signal: AbortSignal): Promise<Buffer | undefined> {
  try {
    while (true) {
      const [data, { address, port }] = await once(socket, "message", { signal });
      if (endpoint(address, port) === server) return data;
    }
  } catch (error) {
    if (!isStop(error)) throw error;
  }
}

if (import.meta.main) run("client", main);
