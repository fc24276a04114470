#!/usr/bin/env bun
/**
 * 2.2 Answer datagrams: one socket receives, and replies to each sender.
 * 中文 回复数据报：同一个套接字既收又发，按寄信人的地址回信。
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
 * Python     data, sender = s.recvfrom(65535)
 *            ->  socket.on("message", (data, sender) => ...)
 *            s.sendto(data, sender)
 *            ->  socket.send(data, sender.port, sender.address)
 * Watch out  The sender's address is only a claim: UDP checks nothing, and
 *            anybody can forge it. A single datagram with the address of
 *            another echo server makes the two answer each other for ever
 *            (CERT CA-1996-01 describes it for echo and chargen). So a peer
 *            gets at most 1000 answers at once, and 20 more each second: one
 *            answer that is left out ends the loop.
 * Try        Leave out --reply: each datagram comes back as it was. Two
 *            clients at once need no more code.
 * 注意       发送方的地址只是自称：UDP 不作检查，谁都能伪造。一个数据报只要冒用
 *            另一台回显服务器的地址，两台服务器就会没完没了地互相回复（CERT
 *            CA-1996-01 讲的是 echo 和 chargen）。所以每个对方最多连续得到 1000
 *            个回复，之后每秒 20 个：少回一次，循环就断了。
 * 试试       去掉 --reply：每个数据报原样返回。同时来两个客户端，也不用多写一行
 *            代码。
 */
import { createSocket } from "node:dgram";
import { readArguments } from "../../lib/arguments.ts";
import { print, ready, report, run, visible } from "../../lib/program.ts";
import { endpoint, sent } from "../../lib/socket.ts";
import { Decoder, encode } from "../../lib/text.ts";
import { closed } from "../../lib/udp.ts";
import { AnswerLimit } from "./answer-limit.ts";
import { bound } from "./bound.ts";

async function main(stop: AbortSignal) {
  const { host, family, port, encoding, reply } = await readArguments(import.meta, {
    port: 8080,
    flags: { reply: { kind: "text", help: "answer with this text, not an echo | 用这段文字回复，不再回显" } },
  });
  const answer = reply === undefined ? undefined : encode(reply, encoding);
  const decoder = new Decoder(encoding);
  const limit = new AnswerLimit();

  await using socket = createSocket({ type: family === 4 ? "udp4" : "udp6", signal: stop });
  const end = closed(socket);
  socket.on("message", (received, sender) => { // a whole datagram, and the endpoint that it claims to be from
    const from = endpoint(sender.address, sender.port);
    if (!limit.allows(from)) return;
    const data = answer ?? received;
    // The same socket sends: the client sees an answer from the very port that it asked.
    sent((done) => socket.send(data, sender.port, sender.address, done)).catch((error) =>
      report(error, from)
    );
    print(`${from} > ${visible(decoder.decode(received, from))}`); // after the answer: nobody waits for this line
  });
  socket.bind(port, host); // a server needs a known port, so that clients can find it
  await bound(socket, port, stop);
  await ready(socket.address());
  await end;
}

if (import.meta.main) run("server", main);
