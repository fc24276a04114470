#!/usr/bin/env bun
/**
 * 2.5 bare  Join a group:  bun multicast-receive.ts [PORT]
 * The lesson ../multicast-receive.ts adds leaving, flags, IPv6 and GBK.
 * On the wire: make wire L=2.5
 *
 * terminal 1
 *   $ bun scripts/udp/bare/multicast-receive.ts
 *   listening on 239.255.0.1:7790
 *   127.0.0.1:50001 > 大家好
 *   127.0.0.1:50001 > exit
 * terminal 2
 *   $ bun scripts/udp/bare/multicast-receive.ts
 *   listening on 239.255.0.1:7790
 *   127.0.0.1:50001 > 大家好
 *   127.0.0.1:50001 > exit
 * terminal 3
 *   $ bun scripts/udp/bare/multicast-send.ts
 *   > 大家好
 *   sent 9 bytes to 239.255.0.1:7790
 *   > exit
 *   sent 4 bytes to 239.255.0.1:7790
 */
import { createSocket } from "node:dgram";
import process from "node:process";

const GROUP = "239.255.0.1";
const CARD = "127.0.0.1"; // the address of a network card; this one never leaves the machine
const PORT = Number(process.argv[2] ?? 7790);
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
socket.bind(PORT, GROUP, () => { //                                s.bind((GROUP, PORT))
  socket.addMembership(GROUP, CARD); //                            s.setsockopt(…, IP_ADD_MEMBERSHIP, …)
  console.log(`listening on ${GROUP}:${socket.address().port}`);
});
