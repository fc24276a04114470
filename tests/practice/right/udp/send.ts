#!/usr/bin/env bun
import dgram from "node:dgram";
import process from "node:process";
import readline from "node:readline";

const socket = dgram.createSocket({ type: "udp4" });
const port = parseInt(process.argv[2] ?? "7788");
socket.connect(port, "127.0.0.1", () => {
  const keyboard = readline.createInterface({ input: process.stdin });
  keyboard.on("line", (line) => {
    const bytes = new TextEncoder().encode(line);
    socket.send(bytes, (error) => {
      if (error) throw error;
      console.log(`sent ${bytes.length} bytes to 127.0.0.1:${port}`);
      if (line === "exit") {
        keyboard.close();
        socket.close();
      }
    });
  });
});
