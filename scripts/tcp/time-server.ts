#!/usr/bin/env bun
/**
 * 3.4 Tell the time: a server may speak first; whoever calls hears the date and time, then the end.
 * 中文 报时：服务器也可以先开口；谁打进来就告诉他日期和时间，然后挂断。
 *
 * terminal 1
 *   $ bun scripts/tcp/time-server.ts
 *   listening on 127.0.0.1:9999
 *   2026-11-20 17:04:30.293444 to 127.0.0.1:50001
 *   2026-11-20 17:04:31.518002 to 127.0.0.1:50002
 *   ^C
 * terminal 2
 *   $ bun scripts/tcp/time-client.ts
 *   2026-11-20 17:04:30.293444
 *   $ bun scripts/tcp/time-client.ts
 *   2026-11-20 17:04:31.518002
 *
 * Python     connection.sendall(str(datetime.now()).encode()); connection.close()
 *            ->  socket.end(bytes): send, then hang up
 * Watch out  Nobody waits here: a caller is answered when they are accepted, not in a loop of ours.
 * Try        Other clients: telnet 127.0.0.1 9999, or nc 127.0.0.1 9999
 */
import { once } from "node:events";
import { createServer } from "node:net";
import { readArguments } from "../../lib/arguments.ts";
import { print, ready } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { hangUp, peerName, survive } from "../../lib/tcp.ts";
import { encode } from "../../lib/text.ts";

async function main(stop: AbortSignal) {
  const { host, port, encoding } = await readArguments(import.meta, { port: 9999 });

  await using server = createServer({ allowHalfOpen: true }, async (socket) => {
    survive(socket, stop);
    const now = Temporal.Now.plainDateTimeISO().toString({ fractionalSecondDigits: 6 }).replace("T", " ");
    socket.write(encode(now, encoding));
    hangUp(socket);
    await print(`${now} to ${peerName(socket)}`);
  });
  server.maxConnections = 1000; // a flood of callers fills neither memory nor the table of open files
  server.listen({ host, port, signal: stop });
  await once(server, "listening", { signal: stop });
  await ready(server.address());
  await once(server, "close");
}

if (import.meta.main) run("server", main);
