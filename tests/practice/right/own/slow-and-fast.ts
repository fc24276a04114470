#!/usr/bin/env bun
import net, { type AddressInfo, type Socket } from "node:net";
import process from "node:process";

const counts = new Map<Socket, number>();
const server = net.createServer((caller) => {
  console.log(`${caller.remoteAddress}:${caller.remotePort} connected`);
  counts.set(caller, 0);
  caller.on("data", (bytes) => {
    for (const byte of bytes) {
      if (byte !== 10) continue;
      const count = (counts.get(caller) ?? 0) + 1;
      counts.set(caller, count);
      caller.write(count + "\n");
    }
  });
  caller.on("close", () => counts.delete(caller));
});
server.listen(Number(process.argv[2]), "127.0.0.1", () => {
  console.log(`listening on 127.0.0.1:${(server.address() as AddressInfo).port}`);
});
