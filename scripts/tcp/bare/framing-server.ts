#!/usr/bin/env bun
/**
 * 3.6 bare  Find the messages in a stream:  bun framing-server.ts [PORT]
 * The lesson ../framing-server.ts adds messages by length, a limit, flags and GBK.
 * On the wire: make wire L=3.6
 *
 * terminal 1
 *   $ bun scripts/tcp/bare/framing-server.ts
 *   listening on 127.0.0.1:7892
 *   127.0.0.1:50001 connected
 *   127.0.0.1:50001 > 你好
 *   127.0.0.1:50001 > 再见
 *   127.0.0.1:50001 hung up
 *   ^C
 * terminal 2
 *   $ bun scripts/tcp/bare/framing-client.ts
 *   > 你好
 *   > 再见
 *   > exit
 */
import { type AddressInfo, createServer } from "node:net";
import process from "node:process";

const HOST = "127.0.0.1";
const PORT = Number(process.argv[2] ?? 7892);
const visible = (text: string) => text.replace(/\p{Cc}/gu, encodeURIComponent); // no peer drives the terminal

const server = createServer((socket) => { //                      connection, peer = s.accept()
  if (!socket.remoteAddress) return socket.destroy(); // reset before it was accepted
  const peer = `${socket.remoteAddress}:${socket.remotePort}`;
  socket.on("error", ({ message }) => console.log(`${peer}: ${message}`)); // unhandled, it ends the server
  console.log(`${peer} connected`);
  socket.setEncoding("utf8"); // half a character waits for its rest
  let rest = ""; // a read may end in the middle of a message
  socket.on("data", (text: string) => { //                        for message in connection.makefile(): ...
    const messages = (rest + text).split("\n");
    rest = messages.pop() ?? "";
    for (const message of messages) console.log(`${peer} > ${visible(message)}`);
  });
  socket.on("end", () => console.log(`${peer} hung up${rest && " inside a message"}`));
});
server.on("error", ({ message }) => { // the port is taken, for example
  console.error(`error: ${message}`);
  process.exitCode = 1;
});
server.listen(PORT, HOST, () => { //                              s.bind((HOST, PORT)); s.listen()
  const { port } = server.address() as AddressInfo; //            s.getsockname()
  console.log(`listening on ${HOST}:${port}`);
});
