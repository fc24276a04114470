#!/usr/bin/env bun
/**
 * 3.7 bare  A picture for everybody:  bun picture-server.ts [PORT [FILE]]
 * The lesson ../picture-server.ts adds flags, limits, and reads piece by piece.
 * On the wire: make wire L=3.7
 *
 * terminal 1
 *   $ bun scripts/tcp/bare/picture-server.ts 5566 scripts/tcp/phone.svg
 *   listening on 127.0.0.1:5566
 *   sent 311 bytes to 127.0.0.1:50001
 *   ^C
 * terminal 2
 *   $ bun scripts/tcp/bare/picture-client.ts
 *   saved 311 bytes as album/phone.svg
 */
import { readFileSync, statSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { basename } from "node:path";
import process from "node:process";

const HOST = "127.0.0.1";
const PORT = Number(process.argv[2] ?? 5566);
const FILE = process.argv[3] ?? "picture.png";

if (!statSync(FILE, { throwIfNoEntry: false })?.isFile()) {
  console.error(`error: ${FILE}: no such file`);
  process.exit(1);
}
const picture = readFileSync(FILE); //                            picture = open(FILE, "rb").read()
const filedata = picture.toString("base64"); //                   base64.b64encode(picture).decode()
const json = JSON.stringify({ filename: basename(FILE), filedata });

const server = createServer((socket) => { //                      connection, peer = s.accept()
  if (!socket.remoteAddress) return socket.destroy(); // reset before it was accepted
  const peer = `${socket.remoteAddress}:${socket.remotePort}`;
  socket.on("error", ({ message }) => console.log(`${peer}: ${message}`)); // unhandled, it ends the server
  socket.end(json); //                                            connection.sendall(json.encode()); connection.close()
  socket.on("finish", () => console.log(`sent ${picture.length} bytes to ${peer}`));
  socket.resume(); // what the caller sends is read and thrown away
});
server.on("error", ({ message }) => { // the port is taken, for example
  console.error(`error: ${message}`);
  process.exitCode = 1;
});
server.listen(PORT, HOST, () => { //                              s.bind((HOST, PORT)); s.listen()
  const { port } = server.address() as AddressInfo; //            s.getsockname()
  console.log(`listening on ${HOST}:${port}`);
});
