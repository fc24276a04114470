#!/usr/bin/env bun
/**
 * 3.1 Make a call: the caller needs no bind; the system picks a port for it.
 * 中文 打一个电话：打电话的一方不用绑定端口，系统会给这次通话分配一个。
 *
 * terminal 1
 *   $ bun scripts/tcp/client.ts 你好
 *   error: connect to 127.0.0.1:7890: connection refused (ECONNREFUSED)
 *   hint: nobody listens there; start the server first
 *   [exit 1]
 * terminal 2
 *   $ bun scripts/tcp/server.ts --reply 好的
 *   listening on 127.0.0.1:7890
 *   127.0.0.1:50001 connected
 *   127.0.0.1:50001 > 你好
 * terminal 1
 *   $ bun scripts/tcp/client.ts 你好
 *   好的
 *
 * Python     s.connect((host, port))  ->  connect({ host, port })
 *            s.sendall(request)       ->  socket.write(request, done)
 *            s.shutdown(SHUT_WR)      ->  socket.end()
 *            data = s.recv(1024)      ->  for await (const data of socket)
 * Watch out  Unlike a letter, a call to a port where nobody listens fails at
 *            once; it waits only where a machine is off, or a firewall silent.
 *            TCP has no empty message: an empty read means that the peer has
 *            closed.
 * Try        Call without a message, and type it. Call a server that was
 *            started with --encoding gbk.
 * 注意       打电话不像寄信：那个端口没有人接，马上就知道；机器没开，或者防火墙
 *            不作声，才要等。TCP 没有空消息：读到空，就是对方已经关闭。
 * 试试       不写消息就运行，连上以后再键入。再打给用 --encoding gbk 启动的服务
 *            器。
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint, sent } from "../../lib/socket.ts";
import { failAs, Failure } from "../../lib/failure.ts";
import { messages } from "../../lib/keyboard.ts";
import { print, run, visible } from "../../lib/program.ts";
import { Decoder } from "../../lib/text.ts";

async function main(stop: AbortSignal) {
  const { host, port, encoding, words } = await readArguments(import.meta, {
    port: 7890,
    words: "[MESSAGE]",
  });
  const server = endpoint(host, port);
  const requests = messages(words, encoding, stop);
  let request: Buffer | undefined;

  const socket = connect({ host, port, signal: stop }); // signal: Ctrl-C closes the socket
  socket.on("error", () => {}); // an error shows where we wait for something; unheard, it would end the program
  try {
    await once(socket, "connect"); // the server's system has accepted the call; the server may still be busy
    for await (const { bytes } of requests) {
      request = bytes;
      break; // one message, and nothing more is typed
    }
    if (!request) return;
    if (request.length === 0) {
      throw new Failure("the message", "TCP cannot send an empty one", "EINVAL", { exitCode: 2 });
    }
    await ask(socket, request, new Decoder(encoding), server).catch(failAs(server));
  } finally {
    socket.destroy(); // close: the connection is over; its port rests for a minute (lesson 1.4)
  }
}

async function ask(socket: Socket, request: Buffer, decoder: Decoder, server: string) {
  await sent((done) => socket.write(request, done)); // sendall: the system takes all the bytes
  socket.end(); // we send no more; the server reads the end, and can still reply
  let replied = false;
  for await (const data of socket) { // recv: what has come so far, until the server closes
    await print(visible(decoder.read(data, server)), "");
    replied = true;
  }
  if (!replied) throw new Failure(server, "hung up without a reply", "ENODATA");
  await print(visible(decoder.end(server)));
}

if (import.meta.main) run("client", main);
