#!/usr/bin/env bun
/**
 * 3.4 Tell the time: a server may send first, the date and time, and close.
 * 中文 报时：服务器也可以先开口；连上来就告诉对方日期和时间，然后关闭。
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
 * Python     connection, peer = s.accept()
 *            ->  createServer({ ... }, (socket) => ...)
 *            connection.sendall(now.encode()); connection.close()
 *            ->  socket.end(data), which sends the data and then closes
 * Watch out  Callers do not wait here: each is answered when it is accepted.
 * Try        Other clients: telnet 127.0.0.1 9999, or nc 127.0.0.1 9999
 * 注意       这里不用排队：谁连上来就马上回答谁。
 * 试试       别的客户端也行：telnet 127.0.0.1 9999，或者 nc 127.0.0.1 9999
 */
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { readArguments } from "../../lib/arguments.ts";
import { print, ready, run } from "../../lib/program.ts";
import { closeOnStop, linger, peerName } from "../../lib/tcp.ts";
import { encode } from "../../lib/text.ts";

async function main(stop: AbortSignal) {
  const { host, port, encoding } = await readArguments(import.meta, { port: 9999 });

  await using server = createServer({ allowHalfOpen: true }, (socket) => { // accept: called for each caller
    closeOnStop(socket, stop); // also, a caller's reset must not end the server
    setImmediate(tell, socket); // when all that call now are accepted: Bun 1.4 sees no hang-up before
  });
  server.maxConnections = 1000; // a flood of callers must not use up memory and open files
  server.listen({ host, port, signal: stop }); // bind and listen
  await once(server, "listening", { signal: stop });
  await ready(server.address());
  await once(server, "close"); // until Ctrl-C

  function tell(socket: Socket) {
    const now = Temporal.Now.plainDateTimeISO().toString({ fractionalSecondDigits: 6 }).replace("T", " ");
    const data = encode(now, encoding);
    socket.end(data); // sendall and close: the caller reads the time, then the end
    linger(socket);
    print(`${now} to ${peerName(socket)}`);
  }
}

if (import.meta.main) run("server", main);
