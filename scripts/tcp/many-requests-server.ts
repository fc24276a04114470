#!/usr/bin/env bun
/**
 * 3.3 Serve a caller until they hang up: the caller's close is an empty read, because nobody can send nothing.
 * 中文 一直服务到对方挂断：对方关闭时读到的是空，因为谁也没法发送“空”。
 *
 * terminal 1
 *   $ bun scripts/tcp/many-requests-server.ts
 *   listening on 127.0.0.1:10500
 *   127.0.0.1:50001 connected
 *   127.0.0.1:50001 > 查余额
 *   127.0.0.1:50001 > exit
 *   127.0.0.1:50001 hung up
 *   ^C
 * terminal 2
 *   $ bun scripts/tcp/dialog-client.ts
 *   > 查余额
 *   ok, Processing Request Completion！
 *   > exit
 *   ok, Processing Request Completion！
 *
 * Python     data = connection.recv(1024)        ->  for await (const data of socket)
 *            if not data: break                  ->  the loop ends by itself
 * Watch out  Closing the listening socket refuses new callers and keeps the connected ones; closing an
 *            accepted socket ends that caller only. And one read is not always one request: see 3.6.
 * Try        Open a second dialog before the first one ends: it waits for its turn, as in the notes.
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
    port: 10500,
    flags: { reply: { kind: "text", default: "ok, Processing Request Completion！", help: "the answer" } },
  });
  const answer = encode(reply, encoding);

  await using server = createServer({ allowHalfOpen: true }, (socket) => survive(socket, stop));
  server.maxConnections = 1000; // those who wait cost memory: when 1000 are here, the next is turned away
  const callers = queueOf(server, stop);
  server.listen({ host, port, signal: stop });
  await once(server, "listening", { signal: stop });
  await ready(server.address());

  for await (const [socket] of callers) { // accept
    const caller = peerName(socket);
    await print(`${caller} connected`);
    try {
      for await (const request of texts(socket, encoding, caller)) { // recv, until nothing comes
        await print(`${caller} > ${visible(request)}`);
        await sendAll(socket, answer);
      }
      await print(`${caller} hung up`);
    } catch (error) {
      await report(error, caller);
    } finally {
      hangUp(socket);
    }
  }
}

if (import.meta.main) run("server", main);
