#!/usr/bin/env bun
import { createSocket } from "node:dgram";
import process from "node:process";

const HOST = "127.255.255.255";
const PORT = Number(process.argv[2] ?? 7789);
const NAME = process.argv[3] ?? "anna";

const socket = createSocket({ type: "udp4", reuseAddr: true });
socket.on("message", (data, { address, port }) => {
  const text = data.toString();
  console.log(`${address}:${port} > ${text}`);
  if (text === "who is there?") socket.send(NAME, port, address);
  if (text === "exit") socket.close();
});
socket.bind(PORT, HOST, () => {
  console.log(`listening on ${HOST}:${socket.address().port}`);
});
