#!/usr/bin/env bun
/**
 * 3.4 bare  Ask the time:  bun time-client.ts [PORT]
 * The lesson ../time-client.ts adds flags, IPv6 and GBK.
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
import { connect } from "node:net";
import process from "node:process";

const HOST = "127.0.0.1";
const PORT = Number(process.argv[2] ?? 9999);
const visible = (text: string) => text.replace(/\p{Cc}/gu, encodeURIComponent); // no peer drives the terminal

const socket = connect(PORT, HOST); //    s.connect((HOST, PORT))
socket.on("error", ({ code }: NodeJS.ErrnoException) => { // no server there, for example
  console.error(`error: ${HOST}:${PORT}: ${code}`);
  process.exit(1);
});
socket.setEncoding("utf8");
let time = "";
for await (const text of socket) { //     while text := s.recv(1024).decode():
  time += text; //                            time += text
}
console.log(visible(time) || "the server hung up without a word");
