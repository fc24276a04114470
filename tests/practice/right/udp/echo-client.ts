#!/usr/bin/env bun
import dgram from "node:dgram";
import process from "node:process";
import readline from "node:readline";

const port = Number(process.argv[2] ?? 8080);
const socket = dgram.createSocket("udp4");
const keyboard = readline.createInterface({ input: process.stdin });
let timer: NodeJS.Timeout | undefined;

socket.on("message", (reply) => {
  clearTimeout(timer);
  console.log(reply.toString());
});
keyboard.on("line", (line) => {
  if (line === "exit") return keyboard.close();
  socket.send(line, port, "localhost".replace("localhost", "127.0.0.1"));
  timer = setTimeout(() => console.log("no reply"), 5000);
});
keyboard.on("close", () => socket.close());
