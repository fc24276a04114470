#!/usr/bin/env bun
/**
 * 2.3 bare  Chat by menu:  bun chat.ts [OWN_PORT [OTHER_PORT]]
 * The lesson ../chat.ts adds talking and hearing at once, flags and GBK.
 * On the wire: make wire L=2.3
 *
 * terminal 1
 *   $ bun scripts/udp/bare/chat.ts 7788 7789
 *   listening on 127.0.0.1:7788
 *   1 send, 2 receive, 0 quit
 *   > 2
 *   127.0.0.1:7789 > 你好
 *   1 send, 2 receive, 0 quit
 *   > 0
 * terminal 2
 *   $ bun scripts/udp/bare/chat.ts 7789 7788
 *   listening on 127.0.0.1:7789
 *   1 send, 2 receive, 0 quit
 *   > 1
 *   your message:
 *   > 你好
 *   1 send, 2 receive, 0 quit
 *   > 0
 */
import { createSocket, type RemoteInfo } from "node:dgram";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";

const HOST = "127.0.0.1";
const PORT = Number(process.argv[2] ?? 7788);
const OTHER = Number(process.argv[3] ?? 7789);
const visible = (text: string) => text.replace(/\p{Cc}/gu, encodeURIComponent); // no peer drives the terminal

const socket = createSocket("udp4"); //                          s = socket(AF_INET, SOCK_DGRAM)
socket.on("error", () => {}); // on Bun it may tell, later on, that nobody was there: that ends nothing
socket.bind(PORT, HOST); //                                      s.bind((HOST, PORT))
await once(socket, "listening").catch(({ message }) => {
  console.error(`error: ${message}`); // the port is taken, for example
  process.exit(1);
});
console.log(`listening on ${HOST}:${socket.address().port}`); // s.getsockname()
const inbox: [Buffer, RemoteInfo][] = []; // what comes while the menu is shown waits here
let wake = () => {};
socket.on("message", (...message) => (inbox.push(message), wake()));
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

while (true) {
  console.log("1 send, 2 receive, 0 quit");
  const { value: choice = "0" } = await lines.next(); //         choice = input()
  if (choice === "0") break;
  if (choice === "1") {
    console.log("your message:");
    const { value: text } = await lines.next(); //               text = input()
    if (text === undefined) break;
    await new Promise((sent) => socket.send(text, OTHER, HOST, sent)); // s.sendto(text.encode(), (HOST, OTHER))
  }
  if (choice === "2") {
    while (inbox.length === 0) await new Promise<void>((heard) => (wake = heard));
    const [data, { address, port }] = inbox.shift()!; //         data, (address, port) = s.recvfrom(65535)
    console.log(`${address}:${port} > ${visible(data.toString())}`);
  }
}
process.exit();
