#!/usr/bin/env bun
import { connect } from "node:net";
import process from "node:process";

const HOST = "127.0.0.1";
const PORT = Number(process.argv[2] ?? 7890);
const MESSAGE = process.argv[3] ?? "hello";
const LIMIT = 1000;

const socket = connect(PORT, HOST);
socket.setEncoding("utf8");
socket.write(MESSAGE);
const timer = setTimeout(() => fail(`no reply within ${LIMIT} ms`), LIMIT);
socket.once("data", (reply) => {
  clearTimeout(timer);
  console.log(`${reply}`);
  socket.destroy();
});
socket.on("error", ({ message }) => fail(message));

function fail(why: string) {
  console.error(`error: ${why}`);
  process.exit(1);
}
