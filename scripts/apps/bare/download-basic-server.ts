#!/usr/bin/env bun
/**
 * 4.1 bare  Serve files:  bun download-basic-server.ts [PORT [FOLDER]]
 * The lesson ../download-basic-server.ts adds flags, GBK and limits.
 * On the wire: make wire L=4.1
 *
 * terminal 1
 *   $ bun scripts/apps/bare/download-basic-server.ts 11500 scripts/tcp
 *   listening on 127.0.0.1:11500
 *   127.0.0.1:50001 > phone.svg
 *   sent 311 bytes to 127.0.0.1:50001
 *   ^C
 * terminal 2
 *   $ bun scripts/apps/bare/download-basic-client.ts 11500 phone.svg
 *   saved 311 bytes as copy-phone.svg
 */
import { createReadStream, realpathSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join, sep } from "node:path";
import process from "node:process";
import { pipeline } from "node:stream/promises";

const HOST = "127.0.0.1";
const PORT = Number(process.argv[2] ?? 11500);
const FOLDER = process.argv[3] ?? "shared";
const visible = (text: string) => text.replace(/\p{Cc}/gu, encodeURIComponent); // no peer drives the terminal
const server = createServer({ allowHalfOpen: true }, (socket) => { // connection, peer = s.accept()
  if (!socket.remoteAddress) return socket.destroy(); // reset before it was accepted
  const peer = `${socket.remoteAddress}:${socket.remotePort}`;
  socket.on("error", ({ message }) => console.log(`${peer}: ${visible(message)}`));
  socket.once("end", () => socket.bytesRead || socket.destroy()); // allowHalfOpen: whoever asked gets all
  socket.setEncoding("utf8").once("data", async (name: string) => { // name = connection.recv(1024).decode()
    console.log(`${peer} > ${visible(name)}`);
    try {
      const file = realpathSync(join(FOLDER, name.trimEnd())); // where its links lead to
      if (!file.startsWith(realpathSync(FOLDER) + sep)) throw new Error("not inside the folder");
      await pipeline(createReadStream(file), socket); //          connection.sendfile(open(name, "rb"))
      console.log(`sent ${socket.bytesWritten} bytes to ${peer}`);
    } catch (error) {
      socket.destroy(error as Error); // told above
    }
  });
});
server.on("error", ({ message }) => { // the port is taken, for example
  console.error(`error: ${message}`);
  process.exitCode = 1;
});
server.listen(PORT, HOST, () => { //                              s.bind((HOST, PORT)); s.listen()
  console.log(`listening on ${HOST}:${(server.address() as AddressInfo).port}`);
});
