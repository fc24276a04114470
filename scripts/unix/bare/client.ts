#!/usr/bin/env bun
/**
 * 3.10 bare  Call inside one machine:  bun client.ts [PATH]
 * The lesson ../client.ts adds flags, GBK and abstract names.
 * On the wire: make wire L=3.10
 *
 * terminal 1
 *   $ bun scripts/unix/bare/server.ts
 *   listening on lesson.sock
 *   caller 1 connected
 *   caller 1 > 你好
 *   caller 1 hung up
 *   ^C
 * terminal 2
 *   $ bun scripts/unix/bare/client.ts
 *   > 你好
 *   ok, Processing Request Completion！
 *   ^D
 */
import { once } from "node:events";
import { connect } from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";

const PATH = process.argv[2] ?? "lesson.sock";
const visible = (text: string) => text.replace(/\p{Cc}/gu, encodeURIComponent); // no peer drives the terminal

const socket = connect(PATH); //                                       s.connect(PATH)
socket.on("error", ({ code }: NodeJS.ErrnoException) => fail(code)); // no server there, for example
socket.on("end", () => fail("hung up")); //                             if not reply: break
await once(socket, "connect");
socket.setEncoding("utf8");
const prompt = () => process.stdin.isTTY && process.stdout.write("> ");

prompt();
for await (const text of createInterface({ input: process.stdin })) { // text = input("> ")
  if (text !== "") { // a stream has no empty message
    socket.write(text); //                                             s.sendall(text.encode())
    const [reply] = await once(socket, "data"); //                     reply = s.recv(1024).decode()
    console.log(visible(reply));
  }
  if (text === "exit") break;
  prompt();
}
process.exit(); //                                                     s.close()

function fail(why?: string) {
  console.error(`error: ${PATH}: ${why}`);
  process.exit(1);
}
