#!/usr/bin/env bun
import dgram from "node:dgram";
import process from "node:process";
import readline from "node:readline";

const [own = "7788", other = "7789"] = process.argv.slice(2);
const socket = dgram.createSocket("udp4");
const waiting: string[] = [];
let state: "menu" | "message" | "hearing" = "menu";

function menu() {
  state = "menu";
  console.log("1 send, 2 receive, 0 quit");
}

function hear() {
  const line = waiting.shift();
  if (line === undefined) return;
  console.log(line);
  menu();
}

socket.on("message", (data, from) => {
  waiting.push(`${from.address}:${from.port} > ${data}`);
  if (state === "hearing") hear();
});
socket.bind({ port: +own, address: "127.0.0.1" }, () => {
  console.log(`listening on 127.0.0.1:${socket.address().port}`);
  menu();
  const keyboard = readline.createInterface({ input: process.stdin });
  keyboard.on("line", (line) => {
    if (state === "message") socket.send(line, +other, "127.0.0.1", menu);
    else if (line === "0") {
      keyboard.close();
      socket.close();
    } else if (line === "1") {
      state = "message";
      console.log("your message:");
    } else if (line === "2") {
      state = "hearing";
      hear();
    } else menu();
  });
});
