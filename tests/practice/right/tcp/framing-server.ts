#!/usr/bin/env bun
import net, { type AddressInfo, type Socket } from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";

async function lines(caller: Socket) {
  const peer = `${caller.remoteAddress}:${caller.remotePort}`;
  console.log(`${peer} connected`);
  for await (const line of createInterface({ input: caller })) console.log(`${peer} > ${line}`);
  console.log(`${peer} hung up`);
}

const server = net.createServer(lines).listen(Number(process.argv[2] ?? 7892), "127.0.0.1", () => {
  console.log(`listening on 127.0.0.1:${(server.address() as AddressInfo).port}`);
});
