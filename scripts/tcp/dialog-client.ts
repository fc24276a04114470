#!/usr/bin/env bun
/**
 * 3.3 Keep the connection open: many questions and answers on one connection.
 * 中文 一次连接，多问多答：连接一直开着。
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
 * Python     text = input("> ")     ->  keyboard(...), which wraps readline
 *            s.sendall(question)    ->  socket.write(question, done)
 *            answer = s.recv(1024)  ->  for await (const data of socket
 * Watch out  A program that waits for the keyboard must also watch its
 *            connection: a read is always under way, so that it notices at
 *            once when the server closes.
 * Try        Ctrl-C the server in the middle of a dialog. Type an empty line.
 * 注意       等键盘的程序也要留意连接：读一直在进行，服务器一关闭，马上就能发现。
 * 试试       对话进行到一半，用 Ctrl-C 停掉服务器。再键入一个空行。
 */
import { once } from "node:events";
import { connect } from "node:net";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint, sent } from "../../lib/socket.ts";
import { explain, failAs, Failure } from "../../lib/failure.ts";
import { keyboard } from "../../lib/keyboard.ts";
import { hint, print, run, visible } from "../../lib/program.ts";
import { Decoder, isExit } from "../../lib/text.ts";

async function main(stop: AbortSignal) {
  const { host, port, encoding } = await readArguments(import.meta, { port: 10500 });
  const server = endpoint(host, port);
  const decoder = new Decoder(encoding);

  // allowHalfOpen: when the server has closed its half, we may still send.
  const socket = connect({ host, port, allowHalfOpen: true, signal: stop });
  socket.on("error", () => {}); // an error shows where we wait for something; unheard, it would end the program
  const gone = new AbortController(); // aborted when the server has closed
  try {
    await once(socket, "connect");
    let answer = receive();
    for await (const { text, bytes: question } of keyboard(encoding, AbortSignal.any([stop, gone.signal]))) {
      if (question.length === 0) {
        await hint("TCP cannot send an empty message");
        continue;
      }
      await sent((done) => socket.write(question, done)).catch(failAs(server)); // sendall
      const received = await answer;
      if (received !== undefined) await print(visible(received));
      if (isExit(text)) return;
      if (received === undefined) break;
      answer = receive();
    }
    gone.signal.throwIfAborted();
  } finally {
    socket.destroy(); // close
  }

  /** The next answer; undefined when the server has closed. */
  async function receive(): Promise<string | undefined> {
    try {
      // recv: waits until some bytes have come. destroyOnReturn: an answer is not the end of the connection.
      for await (const data of socket.iterator({ destroyOnReturn: false })) {
        const received = decoder.read(data, server);
        if (received !== "") return received;
      }
      const rest = decoder.end(server);
      if (rest !== "") return rest;
      gone.abort(new Failure(server, "hung up", "EPIPE"));
    } catch (error) {
      gone.abort(explain(error, server) ?? error);
    }
  }
}

if (import.meta.main) run("client", main);
