#!/usr/bin/env bun
import net, { type AddressInfo } from "node:net";
import process from "node:process";

const two = (number: number) => String(number).padStart(2, "0");

function now() {
  const date = new Date();
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  return `${day} ${time}.${String(date.getMilliseconds()).padStart(3, "0")}000`;
}

const server = net.createServer();
server.on("connection", (caller) => {
  const time = now();
  console.log(time, "to", `${caller.remoteAddress}:${caller.remotePort}`);
  caller.write(time, () => caller.end());
});
server.listen({ port: Number(process.argv[2] ?? 9999), host: "127.0.0.1" });
server.on("listening", () => console.log(`listening on 127.0.0.1:${(server.address() as AddressInfo).port}`));
