#!/usr/bin/env bun
import fs from "node:fs";
import net from "node:net";
import process from "node:process";

const [port = "11500", name = "hello.txt"] = process.argv.slice(2);
const socket = net.connect(Number(port), "127.0.0.1");
const file = fs.createWriteStream(`copy-${name}`);
socket.on("connect", () => socket.write(name));
socket.pipe(file);
file.on("finish", () => console.log(`saved ${file.bytesWritten} bytes as copy-${name}`));
