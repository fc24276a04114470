#!/usr/bin/env bun
import { existsSync, unlinkSync } from "node:fs";
import net from "node:net";
import process from "node:process";

const path = process.argv[2] ?? "lesson.sock";
let last = 0;

const server = net.createServer(async (caller) => {
  const name = `caller ${++last}`;
  console.log(name, "connected");
  try {
    for await (const bytes of caller) {
      console.log(name, ">", bytes.toString());
      caller.write("ok, Processing Request Completion！");
    }
  } catch { /* it was reset */ }
  console.log(name, "hung up");
});
server.listen({ path }, () => console.log("listening on", path));
process.on("SIGINT", () => {
  if (existsSync(path)) unlinkSync(path);
  process.exit(130);
});
