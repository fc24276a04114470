#!/usr/bin/env bun
import { randomInt } from "node:crypto";
import dgram from "node:dgram";
import { on } from "node:events";
import process from "node:process";

const socket = dgram.createSocket("udp4");
socket.bind({ port: Number(process.argv[2]), address: "127.0.0.1" });
socket.on("listening", () => console.log(`listening on 127.0.0.1:${socket.address().port}`));
let secret = randomInt(1, 101);

function answer(guess: number): string {
  if (!Number.isInteger(guess)) return "what?";
  if (guess === secret) {
    secret = randomInt(1, 101);
    return "right";
  }
  return guess < secret ? "bigger" : "smaller";
}

for await (const [data, { address, port }] of on(socket, "message")) {
  socket.send(answer(Number(data.toString() || "?")), port, address);
}
