#!/usr/bin/env bun
import fs from "node:fs";
import net, { type AddressInfo } from "node:net";
import path from "node:path";
import process from "node:process";

const [port = "11500", folder = "shared"] = process.argv.slice(2);
const server = net.createServer((caller) => {
  const peer = `${caller.remoteAddress}:${caller.remotePort}`;
  caller.on("error", () => {});
  caller.on("data", (request) => {
    const name = request.toString().trim();
    console.log(`${peer} > ${name}`);
    fs.readFile(path.join(folder, path.basename(name)), (error, bytes) => {
      if (error) return caller.destroy();
      caller.end(bytes, () => console.log(`sent ${bytes.length} bytes to ${peer}`));
    });
  });
});
server.listen(Number(port), "127.0.0.1", () => {
  console.log(`listening on 127.0.0.1:${(server.address() as AddressInfo).port}`);
});
