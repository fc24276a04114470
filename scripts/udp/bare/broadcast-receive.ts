#!/usr/bin/env bun
/**
 * 2.4 bare  Hear a broadcast:  bun broadcast-receive.ts [PORT]
 * The lesson ../broadcast-receive.ts adds flags and GBK.
 * On the wire: make wire L=2.4
 *
 * terminal 1
 *   $ bun scripts/udp/bare/broadcast-receive.ts
 *   listening on 127.255.255.255:7789
 *   127.0.0.1:50001 > 开会了
 *   127.0.0.1:50001 > exit
 * terminal 2
 *   $ bun scripts/udp/bare/broadcast-receive.ts
 *   listening on 127.255.255.255:7789
 *   127.0.0.1:50001 > 开会了
 *   127.0.0.1:50001 > exit
 * terminal 3
 *   $ bun scripts/udp/bare/broadcast-send.ts
 *   > 开会了
 *   sent 9 bytes to 127.255.255.255:7789
 *   > exit
 *   sent 4 bytes to 127.255.255.255:7789
 */
import { createSocket } from "node:dgram";
import process from "node:process";

const HOST = "127.255.255.255"; // "0.0.0.0" for a real network, and on Windows
const PORT = Number(process.argv[2] ?? 7789);
const visible = (text: string) => text.replace(/\p{Cc}/gu, encodeURIComponent); // no peer drives the terminal

const socket = createSocket({ type: "udp4", reuseAddr: true }); // s.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
socket.on("message", (data, { address, port }) => { //             data, (address, port) = s.recvfrom(65535)
  const text = data.toString(); //                                 text = data.decode()
  console.log(`${address}:${port} > ${visible(text)}`);
  if (text === "exit") socket.close(); //                          s.close()
});
socket.on("error", ({ message }) => { // the port is taken, for example
  console.error(`error: ${message}`);
  process.exitCode = 1;
});
socket.bind(PORT, HOST, () => { //                                 s.bind((HOST, PORT))
  console.log(`listening on ${HOST}:${socket.address().port}`); // s.getsockname()
});
