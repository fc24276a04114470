#!/usr/bin/env bun
/**
 * 2.2 bare  Answer datagrams:  bun echo-server.ts [PORT]
 * The lesson ../echo-server.ts adds flags, IPv6 and GBK.
 * On the wire: make wire L=2.2
 *
 * terminal 1
 *   $ bun scripts/udp/bare/echo-server.ts
 *   listening on 127.0.0.1:8080
 *   127.0.0.1:50001 > 在吗？
 *   ^C
 * terminal 2
 *   $ bun scripts/udp/bare/echo-client.ts
 *   > 在吗？
 *   在吗？
 *   > exit
 */
import { createSocket } from "node:dgram";
import process from "node:process";

const HOST = "127.0.0.1";
const PORT = Number(process.argv[2] ?? 8080);
const visible = (text: string) => text.replace(/\p{Cc}/gu, encodeURIComponent); // no peer drives the terminal

// One forged datagram makes two echo servers answer each other for ever, unless one leaves an answer out.
const MOST = 1000; // answers at once, and 100 more each second
let left = MOST;

const socket = createSocket("udp4"); //                     s = socket(AF_INET, SOCK_DGRAM)
socket.on("message", (data, { address, port }) => { //      data, (address, port) = s.recvfrom(65535)
  if (left === 0 || port === 0) return; // port 0: nobody hears an answer there
  left--;
  console.log(`${address}:${port} > ${visible(data.toString())}`);
  socket.send(data, port, address, (error) => { //          s.sendto(data, (address, port))
    if (error) socket.send(data, port, address); // on Bun, the error is an earlier one
  });
});
socket.on("error", ({ message, syscall }: NodeJS.ErrnoException) => { // the port is taken, for example
  if (syscall === "recvmsg") return; // on Bun: somebody has gone before the answer came
  console.error(`error: ${message}`);
  process.exitCode = 1;
});
socket.bind(PORT, HOST, () => { //                          s.bind((HOST, PORT))
  console.log(`listening on ${HOST}:${socket.address().port}`); // s.getsockname()
  setInterval(() => (left = Math.min(left + 100, MOST)), 1000);
});
