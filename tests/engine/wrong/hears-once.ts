/** No sin: hears one datagram, and ends. */
import { createSocket } from "node:dgram";
import { appendFileSync } from "node:fs";
import process from "node:process";
import "./witness.ts";

const socket = createSocket("udp4").bind(0, "127.0.0.1", () => {
  const { port } = socket.address();
  appendFileSync(process.argv[2], `${process.pid} ${process.cwd()} ${port}\n`);
  console.log(`listening on 127.0.0.1:${port}`);
});
socket.on("message", (data) => {
  console.log(`${data}`);
  socket.close();
});
