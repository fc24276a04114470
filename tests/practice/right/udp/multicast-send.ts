#!/usr/bin/env bun
import dgram from "node:dgram";
import process from "node:process";
import { promisify } from "node:util";
import { createInterface } from "node:readline/promises";

const GROUP = "239.255.0.1";
const port = Number(process.argv[2] ?? 7790);
const socket = dgram.createSocket("udp4");
await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
socket.setMulticastInterface("127.0.0.1");
const send = promisify((text: string, done: (error: Error | null, bytes: number) => void) =>
  socket.send(text, port, GROUP, done)
);
for await (const line of createInterface({ input: process.stdin })) {
  console.log(`sent ${await send(line)} bytes to ${GROUP}:${port}`);
  if (line === "exit") break;
}
socket.close();
process.stdin.destroy();
