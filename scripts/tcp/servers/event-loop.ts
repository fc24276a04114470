#!/usr/bin/env bun
/**
 * 3.8 Many at once in one loop: one thread serves each connection when it has
 * something to read, and waits for none.
 * 中文 事件循环：一个线程照顾所有连接，哪个连接有数据就服务哪个，谁也不用等谁。
 *
 * terminal 1
 *   $ bun scripts/tcp/servers/event-loop.ts
 *   listening on 127.0.0.1:7891
 *   127.0.0.1:50001 connected
 *   127.0.0.1:50002 connected
 *   ^C
 * terminal 2
 *   $ bun scripts/tcp/dialog-client.ts --port 7891
 *   > 我先来的
 *   我先来的
 * terminal 3
 *   $ bun scripts/tcp/dialog-client.ts --port 7891
 *   > 有人吗？
 *   有人吗？
 *   ^D
 * terminal 2
 *   > 我还没说完
 *   我还没说完
 *   ^D
 *
 * Python     asyncio.start_server(echo, host, port)
 *            ->  echo(socket): returns at once; sequential.ts waits for its end
 *            while data := await reader.read(1024): writer.write(data)
 *            ->  socket.on("data", (data) => { ... }), socket.write(data)
 *            await writer.drain()
 *            ->  socket.pause(), and socket.resume() on "drain"
 * Watch out  Waiting costs nothing: the system tells which socket can be read
 *            (epoll), and a silent client costs some kilobytes of memory.
 *            Computing costs everybody: there is one thread, and while it works
 *            for one client, all the others wait. More processors do not help it.
 *            1,000 silent clients still shut out the next one: that is --limit.
 * Try        Run load.ts; then give --work 20000 to the server and run it again;
 *            then do the same with processes.ts.
 * 注意       等待不花什么：哪个套接字可读由系统告知（epoll），不说话的客户端只
 *            占几千字节内存。计算却让大家都付出代价：只有一个线程，它为一个客户
 *            端计算时，其他人都要等。处理器再多也帮不上忙。1000 个不说话的客户
 *            端照样会把下一个挡在外面：这个数由 --limit 指定。
 * 试试       运行 load.ts；再给服务器加上 --work 20000，重测一次；然后对
 *            processes.ts 做同样的事。
 */
import { pbkdf2Sync } from "node:crypto";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { readArguments } from "../../../lib/arguments.ts";
import { print, ready, report, run } from "../../../lib/program.ts";
import { closeOnStop, linger, peerName } from "../../../lib/tcp.ts";

async function main(stop: AbortSignal) {
  const { host, port, work, limit } = await readArguments(import.meta, {
    port: 7891,
    flags: {
      work: {
        kind: "number",
        min: 0,
        max: 10_000_000,
        default: 0,
        help: "rounds of hashing for each read | 每读一次计算多少轮散列",
      },
      limit: {
        kind: "number",
        min: 1,
        max: 100_000,
        default: 1000,
        help: "how many connections at once | 同时最多多少个连接",
      },
    },
  });

  // allowHalfOpen: a client that closes its sending half still gets the rest of its echo.
  await using server = createServer({ allowHalfOpen: true }, (socket) => { // accept
    closeOnStop(socket, stop);
    echo(socket); // returns at once: the next connection is accepted while this one is served
  });
  server.maxConnections = limit; // each one costs memory and an open file
  server.listen({ host, port, signal: stop }); // from here on the system accepts connections for us
  await once(server, "listening", { signal: stop });
  await ready(server.address());
  await once(server, "close");

  // Events, in place of the loop of sequential.ts, which waits twice for each read: that makes a third more requests a
  // second, and a silent connection takes 3 KB of memory on Bun, not 5.
  function echo(socket: Socket) {
    print(`${peerName(socket)} connected`);
    socket.on("data", (data) => { // bytes have come; in between, the other connections are served
      if (work > 0) pbkdf2Sync(data, "salt", work, 32, "sha256"); // computes, as a log-in checks a password
      if (socket.write(data)) return;
      socket.pause(); // the system takes no more: until it does, we read no more
      socket.once("drain", () => socket.resume());
    });
    socket.on("end", hangUp).on("error", tell);
  }
}

/** The client's FIN. All connections share this function and the next: one of its own would cost each memory. */
function hangUp(this: Socket) {
  this.end(); // FIN: our half is closed as well
  linger(this);
}

function tell(this: Socket, error: Error) {
  report(error, peerName(this));
}

if (import.meta.main) run("server", main);
