#!/usr/bin/env bun
/**
 * 3.2 Answer one caller after another: accept in a loop; the others wait.
 * 中文 一个接一个地接电话：循环调用 accept；这时打进来的人排队等候。
 *
 * terminal 1
 *   $ bun scripts/tcp/many-clients-server.ts
 *   listening on 127.0.0.1:7890
 * terminal 2
 *   $ bun scripts/tcp/client.ts
 * terminal 1
 *   127.0.0.1:50001 connected
 * terminal 3
 *   $ bun scripts/tcp/client.ts 我在等
 * terminal 1
 *   127.0.0.1:50002 waits
 * terminal 2
 *   > 我先来的
 *   ok, Processing Request Completion！
 * terminal 1
 *   127.0.0.1:50001 > 我先来的
 *   127.0.0.1:50002 connected
 *   127.0.0.1:50002 > 我在等
 *   ^C
 * terminal 3
 *   ok, Processing Request Completion！
 *
 * Python     s.listen(128)            ->  server.listen({ backlog: 128 })
 *            while True: s.accept()
 *            ->  accept(server, stop), which wraps server.on("connection")
 * Watch out  The backlog is a queue in the system, not the number of clients.
 *            The runtimes accept from it at once: waiting callers are already
 *            connected, and wait for our loop.
 * Try        Call with telnet 127.0.0.1 7890 and type nothing; then call with
 *            the client.
 * 注意       backlog 是系统里的队列，不是客户端的个数。运行时会立刻从队列里接听：
 *            排队的人其实已经连上了，等的是我们的循环。
 * 试试       用 telnet 127.0.0.1 7890 连上，什么也不键入；再运行客户端。
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

  await using server = createServer({ allowHalfOpen: true });
  const callers = accept(server, stop, (caller) => print(`${caller} waits`));
  server.listen({ host, port, backlog: 128, signal: stop }); // bind and listen: 128 calls may wait to be accepted
  await once(server, "listening", { signal: stop });
  await ready(server.address());

  for await (const [socket, caller] of callers) { // accept, again and again
    const decoder = new Decoder(encoding);
    let request = "";
    try {
      await print(`${caller} connected`);
      for await (const data of socket.iterator({ destroyOnReturn: false })) { // recv: waits for this caller alone
        request = decoder.read(data, caller);
        if (request !== "") break; // one request each
      }
      request ||= decoder.end(caller);
      if (request === "") continue; // the caller has closed without a word
      await print(`${caller} > ${visible(request)}`);
      await sent((done) => socket.write(answer, done)); // sendall
    } catch (error) {
      await report(error, caller); // one caller's error is not the end of the server
    } finally {
      socket.end(); // close: this caller's connection alone
      linger(socket);
    }
  }
}

if (import.meta.main) run("server", main);
