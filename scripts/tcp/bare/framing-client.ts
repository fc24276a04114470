#!/usr/bin/env bun
/**
 * 3.6 bare  Mark the messages in a stream:  bun framing-client.ts [PORT]
 * The lesson ../framing-client.ts adds messages by length, flags and GBK.
 * On the wire: make wire L=3.6
 *
 * terminal 1
 *   $ bun scripts/tcp/bare/framing-server.ts
 *   listening on 127.0.0.1:7892
 *   127.0.0.1:50001 connected
 *   127.0.0.1:50001 > 你好
 *   127.0.0.1:50001 > 再见
 *   127.0.0.1:50001 hung up
 *   ^C
 * terminal 2
 *   $ bun scripts/tcp/bare/framing-client.ts
 *   > 你好
 *   > 再见
 *   > exit
 */
import { connect } from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";

const HOST = "127.0.0.1";
const PORT = Number(process.argv[2] ?? 7892);

const socket = connect(PORT, HOST); //                                 s.connect((HOST, PORT))
socket.on("error", ({ code }: NodeJS.ErrnoException) => { // no server there, for example
  console.error(`error: ${HOST}:${PORT}: ${code}`);
  process.exit(1);
});
socket.resume(); // nothing comes but the end, which only a reader sees
socket.on("close", () => process.exit());
const prompt = () => process.stdin.isTTY && process.stdout.write("> ");

prompt();
for await (const text of createInterface({ input: process.stdin })) { // text = input("> ")
  if (text === "exit") break;
  socket.write(`${text}\n`); //                                        s.sendall(text.encode() + b"\n")
  prompt();
}
socket.end(); //                                                       s.close()
