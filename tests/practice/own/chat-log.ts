#!/usr/bin/env bun
import { createSocket } from "node:dgram";
import { appendFileSync } from "node:fs";
import process from "node:process";

const HOST = "127.0.0.1";
const PORT = Number(process.argv[2] ?? 7788);

const socket = createSocket("udp4");
socket.on("message", (data, { address, port }) => {
  const time = Temporal.Now.plainDateTimeISO().toString({ fractionalSecondDigits: 6 }).replace("T", " ");
  const line = `${time} ${address}:${port} > ${data}`;
  console.log(line);
  appendFileSync("chat.log", `${line}\n`);
  if (data.toString() === "exit") socket.close();
});
socket.bind(PORT, HOST, () => {
  console.log(`listening on ${HOST}:${socket.address().port}`);
});
