/**
 * A caller whom a person, or a scene, drives: it sends each line that is typed, and prints each line that comes.
 * `\n` and `\xNN` in a line are a line end and a byte; a `\` at its end leaves out the line end. Ctrl-D hangs up.
 */
import { connect } from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";

const [word, port] = process.argv.slice(2); // --port PORT, or the path of a Unix socket
const isPort = word === "--port";
const socket = isPort ? connect({ port: Number(port), host: "127.0.0.1", noDelay: true }) : connect(word);
socket.on("connect", () => {
  console.log(isPort ? `connected from ${socket.localAddress}:${socket.localPort}` : "connected");
});
socket.on("error", ({ message }) => {
  console.error(`error: ${message}`);
  process.exit(1);
});

let rest = "";
socket.setEncoding("utf8");
socket.on("data", (text: string) => {
  const lines = (rest + text).split("\n");
  rest = lines.pop() ?? "";
  for (const line of lines) console.log(line);
});
socket.on("end", () => {
  if (rest) console.log(rest);
  console.log("hung up");
  socket.end(() => process.exit());
});

for await (const line of createInterface({ input: process.stdin })) {
  const escapes = /\\n|\\x([0-9a-f]{2})|\\$|([^\\]+)/g;
  const parts = Array.from(
    line.matchAll(escapes),
    ([part, byte, text]) =>
      text !== undefined
        ? Buffer.from(text)
        : byte
        ? Buffer.from(byte, "hex")
        : Buffer.from(part === "\\n" ? "\n" : ""),
  );
  socket.write(Buffer.concat([...parts, Buffer.from(line.endsWith("\\") ? "" : "\n")]));
}
socket.end();
