/** Sends each line that is typed as a datagram, and prints each datagram that comes. Ctrl-D ends it. */
import { createSocket } from "node:dgram";
import process from "node:process";
import { createInterface } from "node:readline";

const port = Number(process.argv[process.argv.indexOf("--port") + 1]);
const socket = createSocket("udp4");
socket.on("message", (data) => console.log(data.toString()));
for await (const line of createInterface({ input: process.stdin })) socket.send(line, port, "127.0.0.1");
socket.close();
