#!/usr/bin/env bun
/**
 * 2.1 bare  Send datagrams:  bun send.ts [PORT]
 * The lesson ../send.ts adds flags, IPv6, GBK and messages as words.
 * On the wire: make wire L=2.1
 *
 * terminal 1
 *   $ bun scripts/udp/bare/receive.ts
 *   listening on 127.0.0.1:7788
 *   127.0.0.1:50001 > 你好
 *   127.0.0.1:50001 > exit
 * terminal 2
 *   $ bun scripts/udp/bare/send.ts
 *   > 你好
 *   sent 6 bytes to 127.0.0.1:7788
 *   > exit
 *   sent 4 bytes to 127.0.0.1:7788
 */
import { createSocket } from "node:dgram";
import process from "node:process";
import { createInterface } from "node:readline";

const HOST = "127.0.0.1";
const PORT = Number(process.argv[2] ?? 7788);

const socket = createSocket("udp4"); //                                s = socket(AF_INET, SOCK_DGRAM)
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
