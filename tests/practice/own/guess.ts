#!/usr/bin/env bun
import { createSocket } from "node:dgram";
import process from "node:process";

const HOST = "127.0.0.1";
const PORT = Number(process.argv[2] ?? 8080);

const think = () => 1 + Math.floor(Math.random() * 100);
let number = think();

const socket = createSocket("udp4");
socket.on("message", (data, { address, port }) => {
  const guess = data.toString().trim();
  let answer = "right";
  if (!/^\d+$/.test(guess)) answer = "what?";
  else if (number > Number(guess)) answer = "bigger";
  else if (number < Number(guess)) answer = "smaller";
  else number = think();
  socket.send(answer, port, address);
});
socket.bind(PORT, HOST, () => {
  console.log(`listening on ${HOST}:${socket.address().port}`);
});
