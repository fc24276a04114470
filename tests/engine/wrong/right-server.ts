/** No sin: takes its time, says that it listens, names its caller, and ends on Ctrl-C. */
import process from "node:process";
import { listen } from "./witness.ts";

const [, port] = await listen((socket) => {
  console.log(`127.0.0.1:${socket.remotePort} called`);
  socket.end("hello");
});
await new Promise((resolve) => setTimeout(resolve, 200));
process.on("SIGINT", () => process.exit(0));
console.log(`listening on 127.0.0.1:${port}`);
