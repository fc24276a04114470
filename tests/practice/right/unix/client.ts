#!/usr/bin/env bun
import net from "node:net";
import process from "node:process";
import readline from "node:readline";

const socket = net.createConnection({ path: process.argv[2] ?? "lesson.sock" });
const keyboard = readline.createInterface({ input: process.stdin });
socket.setEncoding("utf8").on("data", (reply) => process.stdout.write(`${reply}\n`));
keyboard.on("line", (line) => {
  if (line === "exit") keyboard.close();
  else socket.write(line);
});
keyboard.on("close", () => socket.end());
