#!/usr/bin/env bun
/**
 * 3.3 Serve a caller until they hang up: an empty read means that they closed.
 * 中文 一直服务到对方挂断：读到空，就是对方关闭了连接。
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
 * Python     data = connection.recv(1024)   ->  for await (const data of socket
 *            connection.sendall(answer)     ->  socket.write(answer, done)
 *            if not data: break             ->  the loop ends by itself
 * Watch out  Closing the listening socket refuses new callers and keeps the
 *            connected ones; closing an accepted socket ends that caller only.
 *            TCP has no empty message: an empty read means that the peer has
 *            closed. And one read is not always one request: see 3.6.
 * Try        Open a second dialog before the first one ends: it waits.
 * 注意       关闭监听套接字，新的人打不进来，已经连上的不受影响；关闭接听后得到
 *            的套接字，只结束那一个人。TCP 没有空消息：读到空，就是对方已经关闭。
 *            还有，读一次不一定是一个请求：见 3.6。
 * 试试       第一个对话还没结束时再开第二个：它要等。
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
    port: 10500,
    flags: {
      reply: { kind: "text", default: "ok, Processing Request Completion！", help: "the reply | 回复的内容" },
    },
  });
  const answer = encode(reply, encoding);

  await using server = createServer({ allowHalfOpen: true });
  const callers = accept(server, stop, (caller) => print(`${caller} waits`));
  server.listen({ host, port, signal: stop }); // bind and listen
  await once(server, "listening", { signal: stop });
  await ready(server.address());

  for await (const [socket, caller] of callers) { // accept
    const serve = async (request: string) => {
      if (request === "") return; // only a part of a character has come
      await print(`${caller} > ${visible(request)}`);
      await sent((done) => socket.write(answer, done)); // sendall: waits while the caller does not read
    };
    const decoder = new Decoder(encoding);
    try {
      await print(`${caller} connected`);
      // recv, until the caller closes. destroyOnReturn: our half of the connection stays open until close.
      for await (const data of socket.iterator({ destroyOnReturn: false })) {
        await serve(decoder.read(data, caller));
      }
      await serve(decoder.end(caller));
      await print(`${caller} hung up`);
    } catch (error) {
      await report(error, caller);
    } finally {
      socket.end(); // close our half too
      linger(socket);
    }
  }
}

if (import.meta.main) run("server", main);
