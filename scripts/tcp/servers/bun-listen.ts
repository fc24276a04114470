#!/usr/bin/env bun
/**
 * 3.8 Bun's own sockets: one set of functions for all connections, and a write
 * that says how many bytes the system took.
 * 中文 Bun 自带的套接字：所有连接共用一组回调函数，write 会说系统收下了多少字节。
 *
 * terminal 1
 *   $ bun scripts/tcp/servers/bun-listen.ts
 *   listening on 127.0.0.1:7891
 *   127.0.0.1:50001 connected
 *   127.0.0.1:50002 connected
 *   ^C
 * terminal 2
 *   $ bun scripts/tcp/client.ts --port 7891 你好
 *   你好
 *   $ bun scripts/tcp/client.ts --port 7891 再见
 *   再见
 *
 * Python     class Echo(asyncio.Protocol): ...
 *            ->  Bun.listen<Connection>({ ..., socket: { open, data, ... } })
 *            sent = s.send(data)
 *            ->  const sent = socket.write(connection.unsent)
 * Watch out  Bun only. It is the fastest of the five: no stream object, no
 *            promise, no closure for each connection. The price is that what a
 *            stream does is ours to do: like Python's send, and unlike sendall, a
 *            write takes what fits into the system's buffer; we keep the rest,
 *            read no more meanwhile, and send it on "drain". It is one thread, as
 *            event-loop.ts.
 * Try        Run load.ts against this server and event-loop.ts.
 * 注意       只能用 Bun。它是五种里最快的：没有流对象，没有 promise，也没有每个
 *            连接各自的闭包。代价是流替我们做的事要自己做：像 Python 的 send 而
 *            不像 sendall，一次写入只收下系统缓冲区装得下的部分；其余的我们留着，
 *            这时不再读，等 "drain" 时再发。和 event-loop.ts 一样，它只有一个线
 *            程。
 * 试试       用 load.ts 分别测这个服务器和 event-loop.ts。
 */
import { once } from "node:events";
import type { Socket } from "bun";
import { readArguments } from "../../../lib/arguments.ts";
import { endpoint } from "../../../lib/socket.ts";
import { Failure } from "../../../lib/failure.ts";
import { print, ready, report, run } from "../../../lib/program.ts";

/** What is kept for a connection: the bytes that the system has not taken yet, and whether the client has closed. */
type Connection = { peer: string; unsent: Uint8Array; isEnded: boolean };

async function main(stop: AbortSignal) {
  const { host, port } = await readArguments(import.meta, { port: 7891 });
  if (typeof Bun === "undefined") throw new Failure("Bun.listen", "only Bun has it", "ENOSYS");

  let connections = 0;
  const server = Bun.listen<Connection>({
    hostname: host,
    port,
    allowHalfOpen: true, // a client that closes its sending half still gets the rest of its echo
    socket: {
      open(socket) { // accept
        // One that was reset before it was accepted has no address any more.
        const peer = socket.remoteAddress ? endpoint(socket.remoteAddress, socket.remotePort) : "a caller";
        socket.data = { peer, unsent: Buffer.alloc(0), isEnded: false };
        if (++connections > 1000) socket.terminate(); // RST: each one costs memory and an open file
        else print(`${peer} connected`);
      },
      data(socket, bytes) { // recv: bytes have arrived
        const { unsent } = socket.data;
        const sent = unsent.length === 0 ? Math.max(0, socket.write(bytes)) : 0; // -1: closed meanwhile
        if (sent === bytes.length) return; // so it is nearly always: nothing needs to be kept
        socket.data.unsent = Buffer.concat([unsent, bytes.subarray(sent)]);
        socket.pause(); // while something is left, reads no more: the client's sending then stands still
      },
      drain: send, // the system has room again
      end(socket) { // the client's FIN: it sends nothing more, but still reads
        socket.data.isEnded = true;
        send(socket);
      },
      close(socket, error) {
        connections--;
        if (error) report(error, socket.data.peer);
      },
    },
  });
  stop.addEventListener("abort", () => server.stop(true)); // true: closes the connections, too
  await ready({ address: server.hostname, port: server.port, family: "" });
  if (!stop.aborted) await once(stop, "abort");
}

/** Sends what was left, as far as the system takes it; then reads on, or closes. */
function send(socket: Socket<Connection>) {
  const connection = socket.data;
  const sent = socket.write(connection.unsent);
  connection.unsent = connection.unsent.subarray(Math.max(0, sent));
  if (connection.unsent.length > 0) return;
  socket.resume();
  if (connection.isEnded) socket.end(); // FIN
}

if (import.meta.main) run("server", main);
