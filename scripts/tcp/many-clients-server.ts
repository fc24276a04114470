#!/usr/bin/env bun
/**
 * 3.2 Answer one caller after another: accept in a loop; whoever calls meanwhile waits in a queue.
 * 中文 一个接一个地接电话：循环调用 accept；这时打进来的人排队等候。
 *
 * terminal 1
 *   $ bun scripts/tcp/many-clients-server.ts
 *   listening on 127.0.0.1:8080
 *   127.0.0.1:50001 connected
 *   127.0.0.1:50001 > 第一个
 *   127.0.0.1:50002 connected
 *   127.0.0.1:50002 > 第二个
 *   ^C
 * terminal 2
 *   $ bun scripts/tcp/client.ts --port 8080 第一个
 *   ok, Processing Request Completion！
 * terminal 3
 *   $ bun scripts/tcp/client.ts --port 8080 第二个
 *   ok, Processing Request Completion！
 *
 * Python     while True: s.accept()              ->  for await (const [socket] of callers)
 *            s.listen(128)                       ->  server.listen({ backlog: 128 })
 * Watch out  The backlog is a queue in the system, not the number of clients. And the runtimes accept
 *            from it at once: those who wait here are connected already, and wait for our loop.
 * Try        Call with telnet 127.0.0.1 8080, say nothing, and call with the client too: it waits.
 */
import { once } from "node:events";
import { createServer } from "node:net";
import { readArguments } from "../../lib/arguments.ts";
import { print, ready, report, visible } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { hangUp, peerName, queueOf, sendAll, survive } from "../../lib/tcp.ts";
import { encode, texts } from "../../lib/text.ts";

async function main(stop: AbortSignal) {
  const { host, port, encoding, reply } = await readArguments(import.meta, {
    port: 8080,
    flags: { reply: { kind: "text", default: "ok, Processing Request Completion！", help: "the answer" } },
  });
  const answer = encode(reply, encoding);

  await using server = createServer({ allowHalfOpen: true }, (socket) => survive(socket, stop));
  server.maxConnections = 1000; // those who wait cost memory: when 1000 are here, the next is turned away
  const callers = queueOf(server, stop);
  server.listen({ host, port, signal: stop });
  await once(server, "listening", { signal: stop });
  await ready(server.address());

  for await (const [socket] of callers) { // accept, again and again
    const caller = peerName(socket);
    await print(`${caller} connected`);
    try {
      for await (const request of texts(socket, encoding, caller)) { // recv
        await print(`${caller} > ${visible(request)}`);
        await sendAll(socket, answer);
        break; // one request each
      }
    } catch (error) {
      await report(error, caller);
    } finally {
      hangUp(socket);
    }
  }
}

if (import.meta.main) run("server", main);
