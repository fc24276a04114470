/**
 * Broadcasts each line that is typed, from a socket of its own, and prints, sorted, the two answers to
 * `who is there?`; with them, what else was answered, which nobody should.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";

const port = Number(process.argv[process.argv.indexOf("--port") + 1]);
const wrong: string[] = [];

for await (const line of createInterface({ input: process.stdin })) {
  const socket = createSocket("udp4");
  const answers: string[] = [];
  const isCall = line === "who is there?";
  let wake = () => {};
  socket.on("message", (data) => {
    if (isCall && answers.length < 2) answers.push(data.toString());
    else wrong.push(`${line} was answered by ${data}`);
    wake();
  });
  socket.bind();
  await once(socket, "listening");
  socket.setBroadcast(true);
  await new Promise((sent) => socket.send(line, port, "127.255.255.255", sent));
  if (line === "exit") process.exit();
  while (isCall && answers.length < 2) await new Promise<void>((resolve) => (wake = resolve));
  if (isCall) console.log([...answers.sort(), ...wrong].join(", "));
}
