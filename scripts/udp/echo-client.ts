#!/usr/bin/env bun
/**
 * 2.2 Ask by datagram: to know that it arrived, wait for a reply, with a timeout.
 * 中文 用数据报提问：想知道信到没到，就等回信，但要限定时间。
 *
 * terminal 1
 *   $ bun scripts/udp/echo-client.ts --timeout 200 --tries 2
 *   > 有人吗？
 *   no reply within 200 ms
 *   no reply within 200 ms
 *   error: 127.0.0.1:8080: no reply after 2 tries (ETIMEDOUT)
 *   hint: is the server running? A datagram to no receiver is lost silently
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
 * Python     s.settimeout(seconds)             ->  AbortSignal.timeout(ms)
 *            s.sendto(data, (host, port))      ->  socket.send(data, port, host)
 *            data, sender = s.recvfrom(65535)  ->  on(socket, "message", ...)
 * Watch out  A datagram that is sent again may arrive twice, and a late reply
 *            may belong to an earlier one. Lesson 2.6 numbers its datagrams.
 * Try        Ctrl-C the server in the middle and type on; start it again
 *            within the tries.
 * 注意       重发的数据报可能到两次；迟到的回复也可能是回答前一个的。2.6 给数据
 *            报编了号。
 * 试试       中途按 Ctrl-C 停掉服务器，继续键入；在重试用完之前再把它启动起来。
 */
import { createSocket, type Socket } from "node:dgram";
import { on } from "node:events";
import { readArguments } from "../../lib/arguments.ts";
import { Failure, isStop } from "../../lib/failure.ts";
import { keyboard } from "../../lib/keyboard.ts";
import { hint, print, report, run, visible } from "../../lib/program.ts";
import { endpoint, sent } from "../../lib/socket.ts";
import { Decoder, isExit } from "../../lib/text.ts";
import { isSameAddress } from "./same-address.ts";
import { isPassing } from "./send-errors.ts";

async function main(stop: AbortSignal) {
  const { host, family, port, encoding, timeout, tries } = await readArguments(import.meta, {
    port: 8080,
    flags: {
      timeout: {
        kind: "number",
        min: 1,
        max: 3_600_000,
        default: 1000,
        help: "ms to wait for a reply | 等回复的毫秒数",
      },
      tries: { kind: "number", min: 1, max: 1000, default: 3, help: "how often to send | 最多发几次" },
    },
  });
  const server = endpoint(host, port);
  const decoder = new Decoder(encoding);
  let answersFrom = host;

  await using socket = createSocket({ type: family === 4 ? "udp4" : "udp6", signal: stop });
  for await (const { text, bytes: data } of keyboard(encoding, stop)) {
    if (isExit(text)) break;
    for (let attempt = 1;; attempt++) {
      const reply = receive(socket, port, AbortSignal.any([stop, AbortSignal.timeout(timeout)]));
      // The datagram may be lost on its way, and so may the reply: only the timeout tells.
      // One that cannot be sent (the network is down, say) is lost as well.
      await sent((done) => socket.send(data, port, host, done)).catch((error) => {
        if (!isPassing(error)) throw error;
        return report(error);
      });
      const answer = await reply;
      if (stop.aborted) return;
      if (answer) {
        const { address } = answer.sender;
        if (!isSameAddress(address, answersFrom)) {
          await hint(`${server} answers from ${endpoint(address, port)}`);
        }
        answersFrom = address;
        await print(visible(decoder.decode(answer.data, server)));
        break;
      }
      await print(`no reply within ${timeout} ms`);
      if (attempt === tries) {
        throw new Failure(server, `no reply after ${tries} tries`, "ETIMEDOUT", {
          hint: "is the server running? A datagram to no receiver is lost silently",
        });
      }
    }
  }
}

/**
 * Waits for a datagram from the server's port; one from any other port is not the answer. The address may differ:
 * a server on every address of its machine (0.0.0.0) answers from the one that leads back to us.
 */
async function receive(socket: Socket, port: number, signal: AbortSignal) {
  try {
    // on, not once in a loop: of two datagrams that come together, Deno gives the second before we listen again.
    for await (const [data, sender] of on(socket, "message", { signal })) { // recvfrom, until the timeout
      if (sender.port === port) return { data, sender };
    }
  } catch (error) {
    if (!isStop(error)) throw error;
  }
}

if (import.meta.main) run("client", main);
