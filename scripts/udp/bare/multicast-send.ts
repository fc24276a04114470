#!/usr/bin/env bun
/**
 * 2.5 bare  Send to a group:  bun multicast-send.ts [PORT]
 * The lesson ../multicast-send.ts adds flags, IPv6 and GBK.
 * On the wire: make wire L=2.5
 *
 * terminal 1
 *   $ bun scripts/udp/bare/multicast-receive.ts
 *   listening on 239.255.0.1:7790
 *   127.0.0.1:50001 > 大家好
 *   127.0.0.1:50001 > exit
 * terminal 2
 *   $ bun scripts/udp/bare/multicast-send.ts
 *   > 大家好
 *   sent 9 bytes to 239.255.0.1:7790
 *   > exit
 *   sent 4 bytes to 239.255.0.1:7790
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";

const GROUP = "239.255.0.1";
const CARD = "127.0.0.1"; // the address of a network card; this one never leaves the machine
const PORT = Number(process.argv[2] ?? 7790);

const socket = createSocket("udp4"); //                                s = socket(AF_INET, SOCK_DGRAM)
socket.bind(0, CARD); //                                               s.bind((CARD, 0))
await once(socket, "listening");
socket.setMulticastInterface(CARD); //                                 s.setsockopt(…, IP_MULTICAST_IF, …)
socket.setMulticastTTL(1); //                                          s.setsockopt(…, IP_MULTICAST_TTL, 1)
const prompt = () => process.stdin.isTTY && process.stdout.write("> ");

prompt();
for await (const text of createInterface({ input: process.stdin })) { // text = input("> ")
  const data = Buffer.from(text); //                                   data = text.encode()
  const error = await new Promise<Error | null>((sent) => {
    socket.send(data, PORT, GROUP, sent); //                           s.sendto(data, (GROUP, PORT))
  });
  console.log(error ? `not sent: ${error.message}` : `sent ${data.length} bytes to ${GROUP}:${PORT}`);
  if (text === "exit") break;
  prompt();
}
process.exit(); //                                                     s.close()
