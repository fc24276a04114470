#!/usr/bin/env bun
import { once } from "node:events";
import { connect } from "node:net";
import process from "node:process";

const HOST = "127.0.0.1";

for (const port of process.argv.slice(2).map(Number)) {
  const socket = connect(port, HOST);
  let state = "open";
  try {
    await once(socket, "connect", { signal: AbortSignal.timeout(1000) });
  } catch (error) {
    state = (error as Error).name === "AbortError" ? "filtered" : "closed";
  }
  socket.on("error", () => {});
  socket.destroy();
  console.log(`${HOST}:${port}  ${state}`);
}
