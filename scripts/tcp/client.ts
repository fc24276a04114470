#!/usr/bin/env bun
/**
 * 3.1 Make a call: the caller needs no bind; the system gives the call a port of its own.
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
 * Python     s.connect((host, port))             ->  connect({ host, port })
 *            s.sendall(data)                     ->  socket.write(data, callback)
 *            s.shutdown(SHUT_WR)                 ->  socket.end()
 *            data = s.recv(1024)                 ->  for await (const data of socket)
 * Watch out  Unlike a letter, a call to nobody fails at once. An empty read is the other side's hang-up:
 *            nobody can send nothing, so an empty message does not exist.
 * Try        Call without a message, and type it. Ask a server with --encoding gbk in utf-8.
 */
import { once } from "node:events";
import { connect } from "node:net";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint } from "../../lib/endpoint.ts";
import { Failure } from "../../lib/failure.ts";
import { messages } from "../../lib/keyboard.ts";
import { print, visible } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { sendAll, survive } from "../../lib/tcp.ts";
import { texts } from "../../lib/text.ts";

async function main(stop: AbortSignal) {
  const { host, port, encoding, words } = await readArguments(import.meta, {
    port: 7890,
    words: "[MESSAGE]",
  });
  const server = endpoint(host, port);

  for await (const { bytes } of messages(words, encoding, stop)) {
    if (bytes.length === 0) {
      throw new Failure("the message", "TCP cannot send an empty one", "EINVAL", { exitCode: 2 });
    }
    const socket = survive(connect({ host, port }), stop);
    await once(socket, "connect");
    await sendAll(socket, bytes);
    socket.end(); // nothing more to say: half a hang-up, the other half is the server's

    let replied = false;
    for await (const reply of texts(socket, encoding, server)) { // recv, until the server hangs up
      await print(visible(reply), "");
      replied = true;
    }
    if (!replied) throw new Failure(server, "hung up without a reply", "ENODATA");
    await print("");
    break;
  }
}

if (import.meta.main) run("client", main);
