#!/usr/bin/env bun
import { type AddressInfo, createServer } from "node:net";
import process from "node:process";

const HOST = "127.0.0.1";
const PORT = Number(process.argv[2] ?? 7890);
const MOST = 3;
let here = 0;

const server = createServer((socket) => {
  const peer = `${socket.remoteAddress}:${socket.remotePort}`;
  socket.on("error", () => {});
  socket.resume();
  if (here === MOST) {
    console.log(`${peer} turned away`);
    socket.end("busy\n");
    return;
  }
  here++;
  console.log(`${peer} connected`);
  socket.write("welcome\n");
  socket.on("close", () => {
    here--;
    console.log(`${peer} hung up`);
  });
});
server.listen(PORT, HOST, () => {
  console.log(`listening on ${HOST}:${(server.address() as AddressInfo).port}`);
});
