#!/usr/bin/env bun
import dgram from "node:dgram";
import { on, once } from "node:events";
import process from "node:process";

const socket = dgram.createSocket({ type: "udp4", reuseAddr: true });
socket.bind({ port: Number(process.argv[2] ?? 7790), address: "239.255.0.1", exclusive: false });
await once(socket, "listening");
socket.addMembership("239.255.0.1", "127.0.0.1");
console.log(`listening on 239.255.0.1:${socket.address().port}`);
for await (const [data, { address, port }] of on(socket, "message")) {
  console.log(`${address}:${port} > ${data}`);
  if (`${data}` === "exit") break;
}
socket.close();
