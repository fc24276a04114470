#!/usr/bin/env bun
import { readFileSync, realpathSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join, sep } from "node:path";
import process from "node:process";

const HOST = "127.0.0.1";
const PORT = Number(process.argv[2] ?? 11500);
const FOLDER = process.argv[3] ?? "shared";

const server = createServer((socket) => {
  const peer = `${socket.remoteAddress}:${socket.remotePort}`;
  socket.setEncoding("utf8");
  socket.on("error", () => {});
  let request = "";
  socket.on("data", (text: string) => {
    request += text;
    if (!request.includes("\n")) return;
    const [name] = request.split("\n");
    console.log(`${peer} > ${name}`);
    const bytes = read(name);
    if (bytes === undefined) return socket.end("no such file\n");
    socket.write(`ok ${bytes.length}\n`);
    socket.end(bytes);
  });
});
server.listen(PORT, HOST, () => {
  console.log(`listening on ${HOST}:${(server.address() as AddressInfo).port}`);
});

function read(name: string): Buffer | undefined {
  try {
    const file = realpathSync(join(FOLDER, name));
    return file.startsWith(realpathSync(FOLDER) + sep) ? readFileSync(file) : undefined;
  } catch {
    return undefined;
  }
}
