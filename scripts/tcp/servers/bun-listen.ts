#!/usr/bin/env bun
/**
 * 3.8 Bun's own sockets: one set of functions for all callers, and a write that says how much it took.
 * 中文 Bun 自带的套接字：所有来客共用一组回调函数，write 会告诉你写进去了多少。
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
 * Python     sent = s.send(data)                 ->  const sent = socket.write(data)
 *            class Echo(asyncio.Protocol): ...   ->  Bun.listen({ socket: { open, data, drain, end } })
 * Watch out  Bun only; Node and Deno have no such call. Like send of Python, and unlike sendall, a write
 *            takes what fits into the system's buffer: the rest is ours to keep, and to send on "drain".
 * Try        bun scripts/tcp/load.ts here and at event-loop.ts.
 */
import { once } from "node:events";
import type { Socket } from "bun";
import { readArguments } from "../../../lib/arguments.ts";
import { endpoint } from "../../../lib/endpoint.ts";
import { Failure } from "../../../lib/failure.ts";
import { print, ready, report } from "../../../lib/output.ts";
import { run } from "../../../lib/run.ts";

/** What is kept for a caller: the bytes that the system has not taken yet, and whether more will come. */
type Caller = { name: string; unsent: Uint8Array; ended: boolean };

async function main(stop: AbortSignal) {
  const { host, port } = await readArguments(import.meta, { port: 7891 });
  if (typeof Bun === "undefined") throw new Failure("Bun.listen", "only Bun has it", "ENOSYS");

  let callers = 0;
  const server = Bun.listen<Caller>({
    hostname: host,
    port,
    allowHalfOpen: true,
    socket: {
      open(socket) {
        const name = endpoint(socket.remoteAddress, socket.remotePort);
        socket.data = { name, unsent: Buffer.alloc(0), ended: false };
        if (++callers > 1000) socket.terminate(); // a flood of callers fills no memory
        else print(`${name} connected`);
      },
      data(socket, bytes) { // recv
        socket.data.unsent = Buffer.concat([socket.data.unsent, bytes]);
        send(socket);
      },
      drain: send,
      end(socket) { // the empty read: the caller says nothing more, but still listens
        socket.data.ended = true;
        send(socket);
      },
      close(socket, error) {
        callers--;
        if (error) report(error, socket.data.name);
      },
    },
  });
  stop.addEventListener("abort", () => server.stop(true));
  await ready({ address: server.hostname, port: server.port, family: "" });
  if (!stop.aborted) await once(stop, "abort");
}

/** Sends what the system takes; and while something is left, reads no more. */
function send(socket: Socket<Caller>) {
  const caller = socket.data;
  const sent = socket.write(caller.unsent);
  caller.unsent = caller.unsent.subarray(Math.max(0, sent)); // -1: closed meanwhile
  if (caller.unsent.length > 0) return socket.pause();
  socket.resume();
  if (caller.ended) socket.end();
}

if (import.meta.main) run("server", main);
