#!/usr/bin/env bun
import { open } from "node:fs/promises";
import net, { type AddressInfo, type Socket } from "node:net";
import path from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";

const [port, folder] = process.argv.slice(2);

async function serve(caller: Socket) {
  for await (const name of createInterface({ input: caller })) {
    console.log(`${caller.remoteAddress}:${caller.remotePort} > ${name}`);
    if (path.relative(folder, path.resolve(folder, name)).startsWith("..")) break;
    try {
      await using file = await open(path.resolve(folder, name));
      const { size } = await file.stat();
      caller.write(`ok ${size}\n`);
      caller.end(await file.readFile());
      return;
    } catch {
      break;
    }
  }
  caller.end("no such file\n");
}

const server = net.createServer(serve).listen(Number(port), "127.0.0.1", () => {
  console.log(`listening on 127.0.0.1:${(server.address() as AddressInfo).port}`);
});
