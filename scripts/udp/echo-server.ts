#!/usr/bin/env bun
/**
 * 2.2 Answer datagrams: one socket both receives and sends; the answer goes to the sender's address.
 * 中文 回复数据报：同一个套接字既收又发，回信寄到寄信人的地址。
 *
 * terminal 1
 *   $ bun scripts/udp/echo-server.ts --reply 收到
 *   listening on 127.0.0.1:8080
 *   127.0.0.1:50001 > 在吗？
 *   ^C
 * terminal 2
 *   $ bun scripts/udp/echo-client.ts
 *   > 在吗？
 *   收到
 *   > exit
 *
 * Python     data, sender = s.recvfrom(65535)    ->  socket.on("message", (data, sender) => ...)
 *            s.sendto(data, sender)              ->  socket.send(data, sender.port, sender.address)
 * Watch out  The sender's address is only a claim: UDP checks nothing, and a letter can bear a false one.
 * Try        Leave out --reply: every letter comes back as it was. Two clients at once need no more code.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint } from "../../lib/endpoint.ts";
import { print, ready, report, visible } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { Decoder, encode } from "../../lib/text.ts";
import { datagrams, sendTo } from "../../lib/udp.ts";

async function main(stop: AbortSignal) {
  const { host, family, port, encoding, reply } = await readArguments(import.meta, {
    port: 8080,
    flags: { reply: { kind: "text", help: "answer with this text instead of an echo" } },
  });
  const answer = reply === undefined ? undefined : encode(reply, encoding);
  const decoder = new Decoder(encoding);

  await using socket = createSocket({ type: `udp${family}`, signal: stop });
  const inbox = datagrams(socket);
  socket.bind(port, host);
  await once(socket, "listening", { signal: stop });
  await ready(socket.address());

  for await (const [data, { address, port }] of inbox) {
    const sender = endpoint(address, port);
    await print(`${sender} > ${visible(decoder.decode(data, sender))}`);
    await sendTo(socket, answer ?? data, port, address).catch((error) => report(error));
  }
}

if (import.meta.main) run("server", main);
