#!/usr/bin/env bun
/**
 * 3.4 bare  Tell the time:  bun time-server.ts [PORT]
 * The lesson ../time-server.ts adds flags, IPv6, GBK and limits.
 * On the wire: make wire L=3.4
 *
 * terminal 1
 *   $ bun scripts/tcp/bare/time-server.ts
 *   listening on 127.0.0.1:9999
 *   2026-11-20 17:04:30.293444 to 127.0.0.1:50001
 *   ^C
 * terminal 2
 *   $ bun scripts/tcp/bare/time-client.ts
 *   2026-11-20 17:04:30.293444
 */
import { type AddressInfo, createServer } from "node:net";
import process from "node:process";

const HOST = "127.0.0.1";
const PORT = Number(process.argv[2] ?? 9999);

const server = createServer((socket) => { //                      connection, peer = s.accept()
  if (!socket.remoteAddress) return socket.destroy(); // reset before it was accepted
  const peer = `${socket.remoteAddress}:${socket.remotePort}`;
  socket.on("error", () => {}); // unhandled, a reset ends the server
  const now = Temporal.Now.plainDateTimeISO(); //                 now = datetime.now()
  const time = now.toString({ fractionalSecondDigits: 6 }).replace("T", " ");
  socket.end(time); //                                            connection.sendall(time.encode()); connection.close()
  socket.resume(); // what the caller sends is read and thrown away
  console.log(`${time} to ${peer}`);
});
server.on("error", ({ message }) => { // the port is taken, for example
  console.error(`error: ${message}`);
  process.exitCode = 1;
});
server.listen(PORT, HOST, () => { //                              s.bind((HOST, PORT)); s.listen()
  const { port } = server.address() as AddressInfo; //            s.getsockname()
  console.log(`listening on ${HOST}:${port}`);
});
