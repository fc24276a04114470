#!/usr/bin/env bun
import net from "node:net";
import process from "node:process";
import readline from "node:readline";

const socket = net.connect({ host: "127.0.0.1", port: Number(process.argv[2] ?? 7892) }, () => {
  const keyboard = readline.createInterface(process.stdin);
  keyboard.on("line", (line) => {
    if (line === "exit") keyboard.close();
    else socket.write(Buffer.concat([Buffer.from(line), Buffer.from([10])]));
  });
  keyboard.on("close", () => {
    socket.end();
    process.stdin.destroy();
  });
});
