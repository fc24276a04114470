#!/usr/bin/env bun
/**
 * 3.4 Ask the time: connect, and read until the server closes.
 * 中文 问时间：连上去，一直读到对方关闭。
 *
 * terminal 1
 *   $ bun scripts/tcp/time-server.ts
 *   listening on 127.0.0.1:9999
 *   2026-11-20 17:04:30.293444 to 127.0.0.1:50001
 *   ^C
 * terminal 2
 *   $ bun scripts/tcp/time-client.ts
 *   2026-11-20 17:04:30.293444
 *
 * Python     s.connect((host, port))     ->  connect({ host, port })
 *            while data := s.recv(1024)  ->  for await (const data of socket)
 * Watch out  The time is the server's, in its time zone, and already old by
 *            its travel time.
 * Try        Call a server of the notes in Python: the bytes are the same.
 * 注意       得到的是服务器那边的时间和时区，路上花的时间也没有算进去。
 * 试试       打给笔记里用 Python 写的服务器：字节完全一样。
 */
import { once } from "node:events";
import { connect } from "node:net";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint } from "../../lib/socket.ts";
import { explain, Failure } from "../../lib/failure.ts";
import { print, run, visible } from "../../lib/program.ts";
import { Decoder } from "../../lib/text.ts";

async function main(stop: AbortSignal) {
  const { host, port, encoding } = await readArguments(import.meta, { port: 9999 });
  const server = endpoint(host, port);
  const decoder = new Decoder(encoding);

  const socket = connect({ host, port, signal: stop });
  socket.on("error", () => {}); // an error shows where we wait for something; unheard, it would end the program
  await once(socket, "connect");
  let told = false;
  try {
    for await (const data of socket) { // recv: what has come so far, until the server closes
      await print(visible(decoder.read(data, server)), "");
      told = true;
    }
  } catch (error) {
    throw explain(error, server) ?? error;
  }
  if (!told) throw new Failure(server, "hung up without a word", "ENODATA");
  await print(visible(decoder.end(server)));
}

if (import.meta.main) run("client", main);
