#!/usr/bin/env bun
import { readFile } from "node:fs/promises";
import net, { type AddressInfo } from "node:net";
import path from "node:path";
import process from "node:process";

const [port = "5566", file = "picture.png"] = process.argv.slice(2);
const server = net.createServer(async (caller) => {
  const peer = `${caller.remoteAddress}:${caller.remotePort}`;
  const bytes = await readFile(file);
  const json = `{"filename": "${path.basename(file)}", "filedata": "${bytes.toBase64()}"}`;
  for (const letter of json.match(/.{1,100}/g) ?? []) caller.write(letter);
  caller.end(() => console.log(`sent ${bytes.length} bytes to ${peer}`));
});
server.listen(Number(port), "127.0.0.1", () => {
  console.log(`listening on 127.0.0.1:${(server.address() as AddressInfo).port}`);
});
