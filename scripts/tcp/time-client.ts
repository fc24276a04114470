#!/usr/bin/env bun
/**
 * 3.4 Ask the time: call, and listen until the other side hangs up.
 * 中文 问时间：打过去，一直听到对方挂断。
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
 * Python     while data := s.recv(1024): ...     ->  for await (const data of socket)
 * Watch out  The time is the server's, in its time zone, and as old as its way here.
 * Try        Call a server of the notes in Python: the bytes are the same.
 */
import { once } from "node:events";
import { connect } from "node:net";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint } from "../../lib/endpoint.ts";
import { Failure } from "../../lib/failure.ts";
import { print, visible } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { survive } from "../../lib/tcp.ts";
import { texts } from "../../lib/text.ts";

async function main(stop: AbortSignal) {
  const { host, port, encoding } = await readArguments(import.meta, { port: 9999 });
  const server = endpoint(host, port);

  await using socket = survive(connect({ host, port }), stop);
  await once(socket, "connect");

  let told = false;
  for await (const time of texts(socket, encoding, server)) { // recv, until the server hangs up
    await print(visible(time), "");
    told = true;
  }
  if (!told) throw new Failure(server, "hung up without a word", "ENODATA");
  await print("");
}

if (import.meta.main) run("client", main);
