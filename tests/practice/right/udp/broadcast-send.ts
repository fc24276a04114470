#!/usr/bin/env bun
import dgram from "node:dgram";
import process from "node:process";

const HOST = "127.255.255.255";
const port = Number(process.argv[2] ?? 7789);
const socket = dgram.createSocket("udp4");
let rest = "";
socket.bind(() => {
  socket.setBroadcast(true);
  process.stdin.setEncoding("utf8").on("data", (text) => {
    rest += text;
    for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n")) {
      const line = rest.slice(0, end);
      rest = rest.slice(end + 1);
      socket.send(line, port, HOST, (error, bytes) => {
        console.log(error ? `not sent: ${error.message}` : `sent ${bytes} bytes to ${HOST}:${port}`);
        if (line === "exit") process.exit();
      });
    }
  });
});
