#!/usr/bin/env bun
import { createConnection } from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";

const socket = createConnection({ port: Number(process.argv[2] ?? 10500), host: "127.0.0.1" });
const keyboard = createInterface({ input: process.stdin });
const typed: string[] = [];
let isWaiting = false;

function sendNext() {
  const line = typed[0];
  if (isWaiting || line === undefined) return;
  isWaiting = true;
  socket.write(line);
}

socket.on("data", (reply) => {
  console.log(reply.toString());
  isWaiting = false;
  if (typed.shift() === "exit") process.exit();
  sendNext();
});
keyboard.on("line", (line) => {
  typed.push(line);
  sendNext();
});
keyboard.on("close", () => socket.end());
