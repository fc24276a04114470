#!/usr/bin/env bun
/**
 * 2.2 bare  Ask by datagram:  bun echo-client.ts [PORT]
 * The lesson ../echo-client.ts adds flags, IPv6, GBK, and tries again.
 * On the wire: make wire L=2.2
 *
 * terminal 1
 *   $ bun scripts/udp/bare/echo-server.ts
 *   listening on 127.0.0.1:8080
 *   127.0.0.1:50001 > 在吗？
 *   ^C
 * terminal 2
 *   $ bun scripts/udp/bare/echo-client.ts
 *   > 在吗？
 *   在吗？
 *   > exit
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";

const HOST = "127.0.0.1";
const PORT = Number(process.argv[2] ?? 8080);
const visible = (text: string) => text.replace(/\p{Cc}/gu, encodeURIComponent); // no peer drives the terminal

const socket = createSocket("udp4"); //                                s = socket(AF_INET, SOCK_DGRAM)
const prompt = () => process.stdin.isTTY && process.stdout.write("> ");

prompt();
for await (const text of createInterface({ input: process.stdin })) { // text = input("> ")
  if (text === "exit") break;
  socket.send(text, PORT, HOST); //                                    s.sendto(text.encode(), (HOST, PORT))
  try {
    const signal = AbortSignal.timeout(1000); //                       s.settimeout(1)
    const [data] = await once(socket, "message", { signal }); //       data = s.recv(65535)
    console.log(visible(data.toString()));
  } catch {
    console.log("no reply");
  }
  prompt();
}
process.exit(); //                                                     s.close()
