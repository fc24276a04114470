#!/usr/bin/env bun
/**
 * 2.1 bare  Receive datagrams:  bun receive.ts [PORT]
 * The lesson ../receive.ts adds flags, IPv6 and GBK.
 * On the wire: make wire L=2.1
 *
 * terminal 1
 *   $ bun scripts/udp/bare/receive.ts
 *   listening on 127.0.0.1:7788
 *   127.0.0.1:50001 > 你好
 *   127.0.0.1:50001 > exit
 * terminal 2
 *   $ bun scripts/udp/bare/send.ts
 *   > 你好
 *   sent 6 bytes to 127.0.0.1:7788
 *   > exit
 *   sent 4 bytes to 127.0.0.1:7788
 */
import { createSocket } from "node:dgram";
import process from "node:process";

const HOST = "127.0.0.1";
const PORT = Number(process.argv[2] ?? 7788);
const visible = (text: string) => text.replace(/\p{Cc}/gu, encodeURIComponent); // no peer drives the terminal

const socket = createSocket("udp4"); //                     s = socket(AF_INET, SOCK_DGRAM)
socket.on("message", (data, { address, port }) => { //      data, (address, port) = s.recvfrom(65535)
  const text = data.toString(); //                          text = data.decode()
  console.log(`${address}:${port} > ${visible(text)}`);
  if (text === "exit") socket.close(); //                   s.close()
});
socket.on("error", ({ message }) => { // the port is taken, for example
  console.error(`error: ${message}`);
  process.exitCode = 1;
});
socket.bind(PORT, HOST, () => { //                          s.bind((HOST, PORT))
  console.log(`listening on ${HOST}:${socket.address().port}`); // s.getsockname()
});
