#!/usr/bin/env bun
import net from "node:net";
import process from "node:process";

const first = Number(process.argv[2] ?? 1);
const last = Number(process.argv[3] ?? first);

const call = (port: number) =>
  new Promise<string>((tell) => {
    const socket = net.connect({ host: "127.0.0.1", port });
    socket.setTimeout(1500);
    socket.on("connect", () => done("open"));
    socket.on("timeout", () => done("filtered"));
    socket.on("error", () => done("closed"));
    function done(state: string) {
      socket.destroy();
      tell(state);
    }
  });

const states: string[] = [];
for (let port = first; port <= last; port++) {
  const state = await call(port);
  states.push(state);
  if (state === "open") console.log(`127.0.0.1:${port}  open`);
}
const count = (wanted: string) => states.filter((state) => state === wanted).length;
console.log(`${count("open")} open, ${count("closed")} closed, ${count("filtered")} filtered`);
