#!/usr/bin/env bun
import { type AddressInfo, createServer } from "node:net";
import process from "node:process";

const HOST = "127.0.0.1";
const PORT = Number(process.argv[2] ?? 7891);

const server = createServer((socket) => {
  console.log(`${socket.remoteAddress}:${socket.remotePort} connected`);
  socket.setEncoding("utf8");
  socket.on("error", () => {});
  let count = 0;
  socket.on("data", (text: string) => {
    for (const _ of text.matchAll(/\n/g)) socket.write(`${++count}\n`);
  });
});
server.listen(PORT, HOST, () => {
  console.log(`listening on ${HOST}:${(server.address() as AddressInfo).port}`);
});
