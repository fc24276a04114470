#!/usr/bin/env bun
import { once } from "node:events";
import net, { type AddressInfo, type Socket } from "node:net";
import process from "node:process";

async function serve(caller: Socket) {
  const peer = `${caller.remoteAddress}:${caller.remotePort}`;
  console.log(`${peer} connected`);
  const [request] = await once(caller, "data");
  console.log(`${peer} > ${request}`);
  caller.end("ok, Processing Request Completion！");
  await once(caller, "close");
}

const server = net.createServer((caller) => void serve(caller).catch(console.error));
await new Promise<void>((ready) => server.listen(Number(process.argv[2] ?? 7890), "127.0.0.1", ready));
console.log(`listening on 127.0.0.1:${(server.address() as AddressInfo).port}`);
