#!/usr/bin/env bun
/**
 * 3.1 bare  Make a call:  bun client.ts [PORT [MESSAGE]]
 * The lesson ../client.ts adds flags, IPv6, GBK and a typed message.
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
import { connect } from "node:net";
import process from "node:process";

const HOST = "127.0.0.1";
const PORT = Number(process.argv[2] ?? 7890);
const MESSAGE = process.argv[3] ?? "hello";
const visible = (text: string) => text.replace(/\p{Cc}/gu, encodeURIComponent); // no peer drives the terminal

const socket = connect(PORT, HOST); //    s.connect((HOST, PORT))
socket.on("error", ({ code }: NodeJS.ErrnoException) => { // no server there, for example
  console.error(`error: ${HOST}:${PORT}: ${code}`);
  process.exit(1);
});
socket.setEncoding("utf8");
socket.end(MESSAGE); //                   s.sendall(MESSAGE.encode()); s.shutdown(SHUT_WR)
let reply = "";
for await (const text of socket) { //     while text := s.recv(1024).decode():
  reply += text; //                           reply += text
}
console.log(visible(reply) || "the server hung up without a reply");
