#!/usr/bin/env bun
/**
 * 2.4 bare  Send to all:  bun broadcast-send.ts [PORT]
 * The lesson ../broadcast-send.ts adds flags, GBK and messages as words.
 * On the wire: make wire L=2.4
 *
 * terminal 1
 *   $ bun scripts/udp/bare/broadcast-receive.ts
 *   listening on 127.255.255.255:7789
 *   127.0.0.1:50001 > 开会了
 *   127.0.0.1:50001 > exit
 * terminal 2
 *   $ bun scripts/udp/bare/broadcast-send.ts
 *   > 开会了
 *   sent 9 bytes to 127.255.255.255:7789
 *   > exit
 *   sent 4 bytes to 127.255.255.255:7789
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";

const HOST = "127.255.255.255"; // this machine; "255.255.255.255" is its whole network
const PORT = Number(process.argv[2] ?? 7789);

const socket = createSocket("udp4"); //                                s = socket(AF_INET, SOCK_DGRAM)
socket.bind(); //                                                      s.bind(("", 0))
await once(socket, "listening");
socket.setBroadcast(true); //                                        s.setsockopt(SOL_SOCKET, SO_BROADCAST, 1)
const prompt = () => process.stdin.isTTY && process.stdout.write("> ");

prompt();
for await (const text of createInterface({ input: process.stdin })) { // text = input("> ")
  const data = Buffer.from(text); //                                   data = text.encode()
  const error = await new Promise<Error | null>((sent) => {
    socket.send(data, PORT, HOST, sent); //                            s.sendto(data, (HOST, PORT))
  });
  console.log(error ? `not sent: ${error.message}` : `sent ${data.length} bytes to ${HOST}:${PORT}`);
  if (text === "exit") break;
  prompt();
}
process.exit(); //                                                     s.close()
