#!/usr/bin/env bun
import dgram from "node:dgram";
import { on, once } from "node:events";
import fs from "node:fs";
import process from "node:process";

const log = fs.createWriteStream("chat.log", { flags: "a" });
const socket = dgram.createSocket("udp4");
socket.bind(Number(process.argv[2]), "127.0.0.1");
await once(socket, "listening");
console.log(`listening on 127.0.0.1:${socket.address().port}`);
for await (const [data, { address, port }] of on(socket, "message")) {
  const text = data.toString();
  const now = new Date();
  const local = new Date(now.getTime() - now.getTimezoneOffset() * 60_000);
  const time = local.toISOString().replace("T", " ").replace("Z", "000");
  const line = `${time} ${address}:${port} > ${text}`;
  console.log(line);
  log.write(line + "\n");
  if (text === "exit") break;
}
log.end(() => socket.close());
