#!/usr/bin/env bun
import { createServer, type Socket } from "node:net";
import process from "node:process";

const callers = new Map<Socket, string>();
const decoder = new TextDecoder();

const server = createServer({ allowHalfOpen: true }).on("connection", (caller) => {
  callers.set(caller, `${caller.remoteAddress}:${caller.remotePort}`);
  console.log("%s connected", callers.get(caller));
  caller.on("readable", () => {
    for (let bytes = caller.read(); bytes !== null; bytes = caller.read()) {
      console.log("%s > %s", callers.get(caller), decoder.decode(bytes));
      caller.write("ok, Processing Request Completion！");
    }
  });
  caller.on("end", () => {
    console.log("%s hung up", callers.get(caller));
    callers.delete(caller);
    caller.end();
  });
  caller.on("error", () => callers.delete(caller));
}).listen(Number(process.argv[2] ?? 10500), "127.0.0.1", () => {
  const { port } = server.address() as { port: number };
  console.log("listening on 127.0.0.1:%d", port);
});
