#!/usr/bin/env bun
/**
 * 3.1 bare  Answer one call:  bun server.ts [PORT]
 * The lesson ../server.ts adds flags, IPv6 and GBK.
 * On the wire: make wire L=3.1
 *
 * terminal 1
 *   $ bun scripts/tcp/bare/server.ts
 *   listening on 127.0.0.1:7890
 *   127.0.0.1:50001 connected
 *   127.0.0.1:50001 > 你好
 * terminal 2
 *   $ bun scripts/tcp/bare/client.ts 7890 你好
 *   ok, Processing Request Completion！
 */
import { type AddressInfo, createServer } from "node:net";
import process from "node:process";

const HOST = "127.0.0.1";
const PORT = Number(process.argv[2] ?? 7890);
const REPLY = "ok, Processing Request Completion！";
const visible = (text: string) => text.replace(/\p{Cc}/gu, encodeURIComponent); // no peer drives the terminal

const server = createServer((socket) => { //                      connection, peer = s.accept()
  if (!socket.remoteAddress) return socket.destroy(); // reset before it was accepted
  const peer = `${socket.remoteAddress}:${socket.remotePort}`;
  socket.on("error", ({ message }) => console.log(`${peer}: ${message}`)); // unhandled, it ends the server
  console.log(`${peer} connected`);
  socket.setEncoding("utf8"); // half a character waits for its rest
  socket.once("data", (text: string) => { //                      text = connection.recv(1024).decode()
    console.log(`${peer} > ${visible(text)}`);
    socket.end(REPLY); //                                         connection.sendall(REPLY.encode())
    socket.on("close", () => process.exit()); //                  connection.close(); s.close()
  });
});
server.on("error", ({ message }) => { // the port is taken, for example
  console.error(`error: ${message}`);
  process.exitCode = 1;
});
server.listen(PORT, HOST, () => { //                              s.bind((HOST, PORT)); s.listen()
  const { port } = server.address() as AddressInfo; //            s.getsockname()
  console.log(`listening on ${HOST}:${port}`);
});
