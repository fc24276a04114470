#!/usr/bin/env bun
import net from "node:net";
import process from "node:process";

const [port, message] = process.argv.slice(2);

function ask(): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(Number(port), "127.0.0.1", () => socket.write(message));
    socket.setTimeout(1000);
    socket.on("timeout", () => socket.destroy(new Error("no reply within 1000 ms")));
    socket.on("data", (data) => {
      resolve(data.toString());
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

try {
  console.log(await ask());
} catch (error) {
  console.error(`error: ${(error as Error).message}`);
  process.exitCode = 1;
}
