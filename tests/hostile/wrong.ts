/** An echo server that breaks its contract, as it is told: a cell of the table must fail with each. */
import { writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Socket } from "node:net";
import process from "node:process";

const how = process.argv.at(-1);
const kept: unknown[] = [];

const server = createServer({ allowHalfOpen: true }, (socket: Socket) => {
  if (how !== "ends-at-a-reset") {
    socket.on(
      "error",
      (error) => how === "shows-a-stack" && console.error(error.stack),
    );
  }
  if (how === "keeps-all") {
    socket.on("data", (bytes: Buffer) => kept.push(...Array.from({ length: 20 }, () => Buffer.from(bytes))));
  }
  if (how === "drives-the-terminal") socket.on("data", (bytes) => console.log(`\x1b[2J${bytes}`));
  if (how === "writes-a-file") socket.once("data", () => writeFileSync(`../home/${kept.push(0)}`, ""));
  socket.on("data", (bytes) => {
    if (socket.write(bytes) || how === "keeps-what-is-not-read") return;
    socket.pause();
    socket.once("drain", () => socket.resume());
  });
  socket.on("end", () => how !== "keeps-its-connections" && socket.end());
});
server.listen(
  0,
  "127.0.0.1",
  () => console.log(`listening on 127.0.0.1:${(server.address() as AddressInfo).port}`),
);
