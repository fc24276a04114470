#!/usr/bin/env bun
import net, { type AddressInfo, type Socket } from "node:net";
import process from "node:process";

const inside = new Set<Socket>();
const server = net.createServer(async (caller) => {
  const peer = `${caller.remoteAddress}:${caller.remotePort}`;
  if (inside.size >= 3) {
    console.log(peer + " turned away");
    caller.resume().end("busy\n");
    return;
  }
  inside.add(caller);
  console.log(peer + " connected");
  caller.write("welcome\n");
  try {
    for await (const _ of caller);
  } catch { /* it was reset */ }
  inside.delete(caller);
  console.log(peer + " hung up");
});
server.listen(Number(process.argv[2]), "127.0.0.1", () => {
  console.log("listening on 127.0.0.1:" + (server.address() as AddressInfo).port);
});
