#!/usr/bin/env bun
import net from "node:net";
import process from "node:process";

const states = process.argv.slice(2).map((port) =>
  new Promise<string>((tell) => {
    const socket = net.connect(Number(port), "127.0.0.1");
    const timer = setTimeout(() => end("filtered"), 1000);
    socket.once("connect", () => end("open")).once("error", () => end("closed"));
    function end(state: string) {
      clearTimeout(timer);
      socket.destroy();
      tell(`127.0.0.1:${port}  ${state}`);
    }
  })
);
for (const state of states) console.log(await state);
