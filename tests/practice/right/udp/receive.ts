#!/usr/bin/env bun
import dgram from "node:dgram";
import { on } from "node:events";
import process from "node:process";

const socket = dgram.createSocket("udp4").bind(Number(process.argv[2] ?? 7788), "127.0.0.1");
socket.once("listening", () => console.log("listening on 127.0.0.1:%d", socket.address().port));
for await (const [bytes, from] of on(socket, "message")) {
  const text = new TextDecoder().decode(bytes);
  console.log("%s:%d > %s", from.address, from.port, text);
  if (text === "exit") break;
}
process.exit();
