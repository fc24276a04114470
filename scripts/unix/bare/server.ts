#!/usr/bin/env bun
/**
 * 3.10 bare  Calls inside one machine:  bun server.ts [PATH]
 * The lesson ../server.ts adds flags, GBK, a queue, permissions and cleanup.
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
import { rmSync } from "node:fs";
import { createServer } from "node:net";
import process from "node:process";

const PATH = process.argv[2] ?? "lesson.sock";
const REPLY = "ok, Processing Request Completion！";
const visible = (text: string) => text.replace(/\p{Cc}/gu, encodeURIComponent); // no peer drives the terminal

let number = 0; // a caller has no address
const server = createServer((socket) => { //                      connection, _ = s.accept()
  const caller = `caller ${++number}`;
  socket.on("error", ({ message }) => console.log(`${caller}: ${message}`)); // unhandled, it ends the server
  console.log(`${caller} connected`);
  socket.setEncoding("utf8"); // half a character waits for its rest
  socket.on("data", (text: string) => { //                        text = connection.recv(1024).decode()
    console.log(`${caller} > ${visible(text)}`);
    socket.write(REPLY); //                                       connection.sendall(REPLY.encode())
  });
  socket.on("end", () => console.log(`${caller} hung up`)); //    if not text: break
});
server.on("error", ({ message }) => { // another server listens there, for example
  console.error(`error: ${message}`);
  process.exitCode = 1;
});
server.listen(PATH, () => { //                                    s.bind(PATH); s.listen()
  console.log(`listening on ${PATH}`);
  process.on("SIGINT", () => {
    rmSync(PATH, { force: true }); //                             os.unlink(PATH)
    process.exit(130);
  });
});
