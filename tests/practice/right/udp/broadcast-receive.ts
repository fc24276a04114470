#!/usr/bin/env bun
import dgram from "node:dgram";
import { on, once } from "node:events";
import process from "node:process";

const socket = dgram.createSocket({ type: "udp4", reuseAddr: true });
socket.bind({ port: Number(process.argv[2] ?? 7789), address: "127.255.255.255", exclusive: false });
await once(socket, "listening");

console.log(`listening on 127.255.255.255:${socket.address().port}`);
for await (const [data, { address, port }] of on(socket, "message")) {
  console.log(`${address}:${port} > ${data}`);
  if (`${data}` === "exit") break;
}
socket.close();
