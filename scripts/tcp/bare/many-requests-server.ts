#!/usr/bin/env bun
/**
 * 3.3 bare  Serve until they hang up:  bun many-requests-server.ts [PORT]
 * The lesson ../many-requests-server.ts adds flags, GBK, limits and a queue.
 * On the wire: make wire L=3.3
 *
 * terminal 1
 *   $ bun scripts/tcp/bare/many-requests-server.ts
 *   listening on 127.0.0.1:10500
 *   127.0.0.1:50001 connected
 *   127.0.0.1:50001 > 查余额
 *   127.0.0.1:50001 hung up
 *   ^C
 * terminal 2
 *   $ bun scripts/tcp/bare/dialog-client.ts
 *   > 查余额
 *   ok, Processing Request Completion！
 *   ^D
 */
import { type AddressInfo, createServer } from "node:net";
import process from "node:process";

const HOST = "127.0.0.1";
const PORT = Number(process.argv[2] ?? 10500);
const REPLY = "ok, Processing Request Completion！";
const visible = (text: string) => text.replace(/\p{Cc}/gu, encodeURIComponent); // no peer drives the terminal

const server = createServer((socket) => { //                      connection, peer = s.accept()
  if (!socket.remoteAddress) return socket.destroy(); // reset before it was accepted
  const peer = `${socket.remoteAddress}:${socket.remotePort}`;
  socket.on("error", ({ message }) => console.log(`${peer}: ${message}`)); // unhandled, it ends the server
  console.log(`${peer} connected`);
  socket.setEncoding("utf8"); // half a character waits for its rest
  socket.on("data", (text: string) => { //                        text = connection.recv(1024).decode()
    console.log(`${peer} > ${visible(text)}`);
    socket.write(REPLY); //                                       connection.sendall(REPLY.encode())
  });
  socket.on("end", () => console.log(`${peer} hung up`)); //      if not text: break
});
server.on("error", ({ message }) => { // the port is taken, for example
  console.error(`error: ${message}`);
  process.exitCode = 1;
});
server.listen(PORT, HOST, () => { //                              s.bind((HOST, PORT)); s.listen()
  const { port } = server.address() as AddressInfo; //            s.getsockname()
  console.log(`listening on ${HOST}:${port}`);
});
