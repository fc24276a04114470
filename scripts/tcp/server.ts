#!/usr/bin/env bun
/**
 * 3.1 Answer one call: TCP is a phone call; listen, accept, receive, send, close.
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
 * Python     s.bind((host, port)); s.listen()  ->  server.listen({ host, port })
 *            connection, peer = s.accept()
 *            ->  accept(server, stop), which wraps server.on("connection")
 *            data = connection.recv(1024)      ->  for await (const data of socket
 *            connection.sendall(answer)        ->  socket.write(answer, done)
 *            connection.close()                ->  socket.end()
 * Watch out  The listening socket is passive: it only accepts. Each accepted
 *            socket stands for one caller.
 * Try        Call with nc: printf hello | nc 127.0.0.1 7890
 * 注意       监听套接字是被动的，只管接听。每次接听后得到的套接字代表一个打进来
 *            的人。
 * 试试       用 nc 打过来：printf hello | nc 127.0.0.1 7890
 */
import { once } from "node:events";
import { createServer } from "node:net";
import { readArguments } from "../../lib/arguments.ts";
import { print, ready, report, run, visible } from "../../lib/program.ts";
import { sent } from "../../lib/socket.ts";
import { linger } from "../../lib/tcp.ts";
import { Decoder, encode } from "../../lib/text.ts";
import { accept } from "./accept.ts";

async function main(stop: AbortSignal) {
  const { host, port, encoding, reply } = await readArguments(import.meta, {
    port: 7890,
    flags: {
      reply: { kind: "text", default: "ok, Processing Request Completion！", help: "the reply | 回复的内容" },
    },
  });
  const answer = encode(reply, encoding);

  // allowHalfOpen: a caller that has closed its half of the connection still gets the reply.
  await using server = createServer({ allowHalfOpen: true });
  const callers = accept(server, stop);
  server.listen({ host, port, signal: stop }); // bind and listen: the system answers calls from now on
  await once(server, "listening", { signal: stop });
  await ready(server.address());

  for await (const [socket, caller] of callers) { // accept: a socket of its own for this caller
    const decoder = new Decoder(encoding);
    let request = "";
    try {
      await print(`${caller} connected`);
      // recv: waits until some bytes have come. destroyOnReturn: leaving the loop does not close the socket.
      for await (const data of socket.iterator({ destroyOnReturn: false })) {
        request = decoder.read(data, caller); // "" when only a part of a character has come
        if (request !== "") break;
      }
      request ||= decoder.end(caller);
      if (request === "") {
        await print(`${caller} hung up without a word`); // so serve the next caller instead
        continue;
      }
      await print(`${caller} > ${visible(request)}`);
      await sent((done) => socket.write(answer, done)); // sendall: the system takes all the bytes
      return;
    } catch (error) {
      await report(error, caller);
    } finally {
      socket.end(); // close: the caller reads the end of the stream
      linger(socket);
    }
  }
}

if (import.meta.main) run("server", main);
