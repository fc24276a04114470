#!/usr/bin/env bun
import net from "node:net";
import process from "node:process";

const socket = new net.Socket();
const parts: Buffer[] = [];
socket.on("connect", () => {
  socket.write(process.argv[3] ?? "hello");
  socket.end();
});
socket.on("data", (part: Buffer) => parts.push(part));
socket.on("close", () => console.log(Buffer.concat(parts).toString()));
socket.connect({ host: "127.0.0.1", port: Number(process.argv[2] ?? 7890) });
