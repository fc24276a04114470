/** Tries to get the last port that the diary knows, by UDP, and says how that came out. */
import { createSocket } from "node:dgram";
import { readFileSync } from "node:fs";
import process from "node:process";
import "./witness.ts";

const port = Number(readFileSync(process.argv[2], "utf8").match(/(?<= )\d+$/gm)?.at(-1));
const socket = createSocket("udp4");
socket.on("error", ({ code }: NodeJS.ErrnoException) => console.log(code));
socket.bind(port, "127.0.0.1", () => {
  console.log("free");
  socket.close();
});
