#!/usr/bin/env bun
/**
 * 3.1 Answer one call: TCP is a phone call; listen, accept, receive, send, hang up.
 * 中文 接一个电话：TCP 像打电话，监听、接听、收、发、挂断。
 *
 * terminal 1
 *   $ bun scripts/tcp/server.ts
 *   listening on 127.0.0.1:7890
 *   127.0.0.1:50001 connected
 *   127.0.0.1:50001 > 你好
 * terminal 2
 *   $ bun scripts/tcp/client.ts 你好
 *   ok, Processing Request Completion！
 *
 * Python     s.bind((host, port)); s.listen(128) ->  server.listen({ host, port })
 *            connection, peer = s.accept()       ->  server.on("connection", (socket) => ...)
 *            data = connection.recv(1024)        ->  for await (const data of socket)
 *            connection.sendall(data)            ->  socket.write(data, callback)
 *            connection.close()                  ->  socket.end()
 * Watch out  The listening socket is passive: it only accepts. Each accepted socket stands for one caller.
 * Try        Call with nc: printf hello | nc 127.0.0.1 7890
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
    port: 7890,
    flags: { reply: { kind: "text", default: "ok, Processing Request Completion！", help: "the answer" } },
  });
  const answer = encode(reply, encoding);

  await using server = createServer({ allowHalfOpen: true }, (socket) => survive(socket, stop));
  const callers = queueOf(server, stop);
  server.listen({ host, port, signal: stop }); // bind and listen
  await once(server, "listening", { signal: stop });
  await ready(server.address());

  for await (const [socket] of callers) { // accept
    const caller = peerName(socket);
    await print(`${caller} connected`);
    try {
      for await (const request of texts(socket, encoding, caller)) { // recv
        await print(`${caller} > ${visible(request)}`);
        await sendAll(socket, answer);
        return;
      }
      await print(`${caller} hung up without a word`); // so the next one is the one
    } catch (error) {
      await report(error, caller);
    } finally {
      hangUp(socket);
    }
  }
}

if (import.meta.main) run("server", main);
