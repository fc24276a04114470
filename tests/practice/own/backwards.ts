#!/usr/bin/env bun
import { type AddressInfo, createServer } from "node:net";
import process from "node:process";

const HOST = "127.0.0.1";
const PORT = Number(process.argv[2] ?? 7892);

const server = createServer((socket) => {
  const peer = `${socket.remoteAddress}:${socket.remotePort}`;
  socket.setEncoding("utf8"); // a character that is cut in two waits for its rest
  socket.on("error", () => {});
  let rest = ""; // so does a line
  socket.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      console.log(`${peer} > ${line}`);
      socket.write(`${[...line].reverse().join("")}\n`);
    }
  });
});
server.listen(PORT, HOST, () => {
  console.log(`listening on ${HOST}:${(server.address() as AddressInfo).port}`);
});
