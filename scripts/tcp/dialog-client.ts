#!/usr/bin/env bun
/**
 * 3.3 Keep the line open: many questions and answers in one call.
 * 中文 一次通话，多问多答：连接一直开着。
 *
 * terminal 1
 *   $ bun scripts/tcp/many-requests-server.ts --reply 请讲
 *   listening on 127.0.0.1:10500
 *   127.0.0.1:50001 connected
 *   127.0.0.1:50001 > 喂
 *   127.0.0.1:50001 > 再见
 *   127.0.0.1:50001 hung up
 *   127.0.0.1:50002 connected
 * terminal 2
 *   $ bun scripts/tcp/dialog-client.ts
 *   > 喂
 *   请讲
 *   > 再见
 *   请讲
 *   ^D
 * terminal 3
 *   $ bun scripts/tcp/dialog-client.ts
 * terminal 1
 *   ^C
 * terminal 3
 *   error: 127.0.0.1:10500: hung up (EPIPE)
 *   [exit 1]
 *
 * Python     while True: text = input("> ")      ->  for await (const { text } of keyboard(...))
 *            s.sendall(text.encode("gbk"))       ->  socket.write(bytes, callback)
 *            print(s.recv(1024).decode("gbk"))   ->  replies.next()
 * Watch out  A program that waits for the keyboard must hear the line too: the read is always under way,
 *            so that a server which hangs up is noticed while nothing is typed.
 * Try        Ctrl-C the server in the middle of a dialog. Type an empty line.
 */
import { once } from "node:events";
import { connect } from "node:net";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint } from "../../lib/endpoint.ts";
import { Failure } from "../../lib/failure.ts";
import { isExit, keyboard } from "../../lib/keyboard.ts";
import { hint, print, visible } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { sendAll, survive } from "../../lib/tcp.ts";
import { texts } from "../../lib/text.ts";

async function main(stop: AbortSignal) {
  const { host, port, encoding } = await readArguments(import.meta, { port: 10500 });
  const server = endpoint(host, port);

  // allowHalfOpen: when the server has said all it wants to say, we may still speak.
  await using socket = survive(connect({ host, port, allowHalfOpen: true }), stop);
  await once(socket, "connect");
  const replies = texts(socket, encoding, server);
  const gone = new AbortController();

  async function receive(): Promise<string | undefined> {
    try {
      const { value: reply } = await replies.next(); // recv
      if (reply === undefined) gone.abort(new Failure(server, "hung up", "EPIPE"));
      return reply;
    } catch (error) {
      gone.abort(error);
    }
  }

  let reply = receive();
  for await (const { text, bytes } of keyboard(encoding, AbortSignal.any([stop, gone.signal]))) {
    if (bytes.length === 0) {
      await hint("TCP cannot send an empty message");
      continue;
    }
    await sendAll(socket, bytes);
    const answer = await reply;
    if (answer !== undefined) await print(visible(answer));
    if (isExit(text)) return;
    if (answer === undefined) break;
    reply = receive();
  }
  gone.signal.throwIfAborted();
}

if (import.meta.main) run("client", main);
