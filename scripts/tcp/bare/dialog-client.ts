#!/usr/bin/env bun
/**
 * 3.3 bare  Keep the line open:  bun dialog-client.ts [PORT]
 * The lesson ../dialog-client.ts adds flags, IPv6 and GBK.
 * On the wire: make wire L=3.3
 *
 * terminal 1
 *   $ bun scripts/tcp/bare/many-requests-server.ts
 *   listening on 127.0.0.1:10500
 *   127.0.0.1:50001 connected
 *   127.0.0.1:50001 > 查余额
 *   127.0.0.1:50001 hung up
 *   ^C
 * terminal 2
 *   $ bun scripts/tcp/bare/dialog-client.ts
 *   > 查余额
 *   ok, Processing Request Completion！
 *   ^D
 */
import { once } from "node:events";
import { connect } from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";

const HOST = "127.0.0.1";
const PORT = Number(process.argv[2] ?? 10500);
const visible = (text: string) => text.replace(/\p{Cc}/gu, encodeURIComponent); // no peer drives the terminal

const socket = connect(PORT, HOST); //                                 s.connect((HOST, PORT))
socket.on("error", ({ code }: NodeJS.ErrnoException) => fail(code)); // no server there, for example
socket.on("end", () => fail("hung up")); //                             if not reply: break
await once(socket, "connect");
socket.setEncoding("utf8");
const prompt = () => process.stdin.isTTY && process.stdout.write("> ");
prompt();
for await (const text of createInterface({ input: process.stdin })) { // text = input("> ")
  if (text !== "") { // TCP has no empty message
    socket.write(text); //                                             s.sendall(text.encode())
    const [reply] = await once(socket, "data"); //                     reply = s.recv(1024).decode()
    console.log(visible(reply));
  }
  if (text === "exit") break;
  prompt();
}
process.exit(); //                                                     s.close()

function fail(why?: string) {
  console.error(`error: ${HOST}:${PORT}: ${why}`);
  process.exit(1);
}
