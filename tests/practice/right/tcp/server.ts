#!/usr/bin/env bun
import net, { type Socket } from "node:net";
import process from "node:process";

const server = net.createServer();
server.on("connection", (caller: Socket) => {
  const { remoteAddress, remotePort } = caller;
  console.log(`${remoteAddress}:${remotePort} connected`);
  caller.on("data", (bytes) => {
    console.log(`${remoteAddress}:${remotePort} > ${bytes.toString("utf8")}`);
    caller.write("ok, Processing Request Completion！", () => caller.end());
    server.close(); // ends by itself: no more callers, and nothing else to do
  });
});
server.listen(parseInt(process.argv[2] ?? "7890"), "127.0.0.1");
server.once("listening", () => {
  const address = server.address();
  if (address && typeof address === "object") console.log(`listening on 127.0.0.1:${address.port}`);
});
