#!/usr/bin/env bun
import { type AddressInfo, createServer } from "node:net";
import process from "node:process";

const HOST = "127.0.0.1";
const PORT = Number(process.argv[2] ?? 10500);

const server = createServer((socket) => {
  const peer = `${socket.remoteAddress}:${socket.remotePort}`;
  socket.setEncoding("utf8");
  socket.on("error", () => {});
  socket.on("data", (text: string) => {
    console.log(`${peer} > ${text}`);
    socket.write(text.toUpperCase());
  });
});
server.listen(PORT, HOST, () => {
  console.log(`listening on ${HOST}:${(server.address() as AddressInfo).port}`);
});
