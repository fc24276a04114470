#!/usr/bin/env bun
import dgram from "node:dgram";
import process from "node:process";

const [port, name] = process.argv.slice(2);
const socket = dgram.createSocket({ type: "udp4", reuseAddr: true });
const reactions: Record<string, (port: number, address: string) => void> = {
  "who is there?": (port, address) => socket.send(Buffer.from(name), port, address),
  exit: () => setImmediate(() => process.exit(0)),
};
socket.on("message", (data, from) => {
  console.log(`${from.address}:${from.port} > ${data}`);
  reactions[String(data)]?.(from.port, from.address);
});
socket.once("listening", () => console.log(`listening on 127.255.255.255:${socket.address().port}`));
socket.bind(Number(port), "127.255.255.255");
