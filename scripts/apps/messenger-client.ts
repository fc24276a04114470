#!/usr/bin/env bun
/**
 * 4.4 Talk without a fixed port: through a server, or straight through the
 * NATs.
 * 中文 没有固定端口也能聊天：经服务器转发，或者穿过 NAT 直接对话。
 *
 * terminal 1
 *   $ bun scripts/apps/messenger-server.ts
 *   listening on 127.0.0.1:8000
 *   张三 logged in from 127.0.0.1:50001
 *   张三 is at 127.0.0.1:50002 by UDP
 *   李四 logged in from 127.0.0.1:50003
 *   李四 is at 127.0.0.1:50004 by UDP
 *   error: 李四: this name is taken (EEXIST)
 *   李四 and 张三 try a direct way
 *   李四 left
 *   张三 left
 *   ^C
 * terminal 2
 *   $ bun scripts/apps/messenger-client.ts 张三
 *   logged in as 张三, seen at 127.0.0.1:50002
 * terminal 3
 *   $ bun scripts/apps/messenger-client.ts 李四
 *   logged in as 李四, seen at 127.0.0.1:50004
 *   on line: 张三
 *   > 你好，在吗？
 * terminal 4
 *   $ bun scripts/apps/messenger-client.ts 李四
 *   error: 李四: this name is taken (EEXIST)
 *   hint: choose another; that of a vanished client is free in half a minute
 *   [exit 1]
 * terminal 2
 *   李四 is here
 *   李四 > 你好，在吗？
 * terminal 3
 *   > /direct 张三
 *   direct way to 张三: 127.0.0.1:50002
 *   > /to 张三 这句话服务器看不见
 * terminal 2
 *   direct way to 李四: 127.0.0.1:50004
 *   李四 (direct) > 这句话服务器看不见
 *   > /to 李四 收到
 * terminal 3
 *   张三 (direct) > 收到
 *   > /who
 *   on line: 张三, 李四
 *   > exit
 * terminal 2
 *   李四 is away
 *   > exit
 *
 * Python     s.connect((host, port))
 *                ->  connect({ host, port })
 *            s.sendall(data)
 *                ->  socket.write(frame, done)
 *            s.sendto(data, (address, port))
 *                ->  udp.send(data, port, address, done)
 *            data, sender = s.recvfrom(65536)
 *                ->  datagrams(udp), which wraps socket.on("message")
 * Watch out  A message has arrived when the other client has it, not when the
 *            server has: until then this client keeps it, and sends it once
 *            more after each reconnect. Nothing is encrypted. The direct way
 *            mostly fails where a NAT takes another port for each destination;
 *            then the relay carries on.
 * Try        /help. kill -9 the server while two clients talk: the direct way
 *            does not notice.
 * 注意       对方客户端收到了，消息才算送到，服务器收到不算：在那之前这个客户端
 *            留着它，每次重连后再发一次。什么都不加密。如果 NAT 对每个目的地换
 *            一个端口，直连多半不成功，仍由服务器转发。
 * 试试       /help。两个客户端说话时用 kill -9 杀掉服务器：直连毫无察觉。
 */
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { connect, type Socket } from "node:net";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint, sent } from "../../lib/socket.ts";
import { Failure } from "../../lib/failure.ts";
import { keyboard, type Typed } from "../../lib/keyboard.ts";
import { print, report, run } from "../../lib/program.ts";
import { closeOnStop } from "../../lib/tcp.ts";
import { encode, isExit } from "../../lib/text.ts";
import { datagrams } from "../../lib/udp.ts";
import { Conversation, say } from "./messenger/conversation.ts";
import { checkName } from "./messenger/names.ts";
import { PATIENCE } from "./messenger/outbox.ts";
import { KEEP_ALIVE, messageFrame, type ToClient } from "./messenger/protocol.ts";
import { Registrar } from "./messenger/registrar.ts";
import type { UdpEndpoint } from "./messenger/registration.ts";
import { Session } from "./messenger/session.ts";

const HELP = `TEXT           to all
/to NAME TEXT  to one: by the direct way, if there is one
/direct NAME   look for a direct way
/who           who is on line, and who is away
/help          this page
exit           leave; so does Ctrl-D`;

async function main(stop: AbortSignal) {
  const { host, family, port, encoding, words } = await readArguments(import.meta, {
    port: 8000,
    words: "NAME",
  });
  const name = checkName(words[0]);
  encode(name, encoding);
  const server = endpoint(host, port);
  const end = new AbortController();
  const over = AbortSignal.any([stop, end.signal]);

  await using udp = createSocket(`udp${family}`); // no bind: the first datagram makes the system pick a port
  const inbox = datagrams(udp);
  // A datagram that cannot be sent is a datagram that gets lost.
  const sendDatagram = (data: Buffer, { address, port }: UdpEndpoint) =>
    sent((done) => udp.send(data, port, address, done)).catch(() => {});
  const registrar = new Registrar(name, (data) => sendDatagram(data, { address: host, port }));
  const conversation = new Conversation({
    ...{ server, host, encoding, sendDatagram },
    post: (message) => session.post(message),
    canPost: () => session.isOpen,
  });
  const session = new Session({
    ...{ name, secret: randomBytes(16).toString("hex"), server, encoding },
    connect: () => closeOnStop(connect({ host, port }), over),
    handle,
    async broken() {
      registrar.end();
      await conversation.broken();
    },
  });

  const typed = keyboard(encoding, over);
  const talked = session.begun.then(() => talk(typed, { session, conversation, server, over }));
  try {
    await sendDatagram(Buffer.alloc(0), { address: host, port });
    await Promise.race([session.stay(over), receive(), stayReachable(), talked]);
  } finally {
    end.abort();
    await conversation.close();
  }

  async function handle(message: ToClient, socket: Socket) {
    if (message.type === "welcome") return await begin(message, socket);
    if (message.type === "warning") return await report(new Failure(name, message.why, message.code));
    await conversation.handle(message);
    if (message.type !== "message") return;
    const { id, from, instance } = message;
    const frame = messageFrame({ type: "have", id, from, instance }, encoding);
    await sent((done) => socket.write(frame, done)); // waits while the server does not read: then we do not, either
  }

  /** The server has let us in: now it shall see us by UDP, too. */
  async function begin({ token, here }: Extract<ToClient, { type: "welcome" }>, socket: Socket) {
    const own = { address: `${socket.localAddress}`, port: udp.address().port };
    await registrar.begin(Buffer.from(token, "hex"), own, over);
    const where = registrar.seen ? `seen at ${registrar.seen}` : "but not seen by UDP";
    await say(session.wasOpen ? "connected again" : `logged in as ${name}, ${where}`);
    await conversation.begin(here);
    session.open();
    conversation.pump();
  }

  async function receive() {
    for await (const [data, { address, port }] of inbox) {
      await registrar.receive(data);
      await conversation.receive(data, { address, port });
    }
  }

  /** Registers again and again, so that no NAT on the way forgets us. */
  async function stayReachable() {
    while (true) {
      await sleep(KEEP_ALIVE, undefined, { signal: over });
      await registrar.register();
    }
  }
}

type Talk = { session: Session; conversation: Conversation; server: string; over: AbortSignal };

/** Does what is typed, line by line, until the end; then leaves. */
async function talk(typed: AsyncIterable<Typed>, { session, conversation, server, over }: Talk) {
  // At a terminal, typed lines wait for the server; a pipe has nobody who could press Ctrl-C.
  const isHopeless = () => over.aborted || (!process.stdin.isTTY && session.goneFor > PATIENCE);
  for await (const { text } of typed) {
    if (isExit(text)) break;
    try {
      await obey(text, session, conversation);
    } catch (error) {
      process.exitCode = 1;
      await report(error);
    }
    if (await conversation.hasRoom(isHopeless)) continue;
    const why = `gone for ${PATIENCE / 1000} seconds: the rest of the input is not read`;
    if (!over.aborted) await report(new Failure(server, why, "ETIMEDOUT"));
    break;
  }
  if (over.aborted) return;
  await conversation.finish(isHopeless, over);
  await session.leave(over);
}

/** Does what a typed line asks for. */
async function obey(text: string, session: Session, conversation: Conversation) {
  const [, command, first = "", rest = ""] = /^\/(\S*) *(\S*) *(.*)$/s.exec(text) ?? [];
  if (text === "") return;
  if (command === undefined) return conversation.send(null, text);
  if (command === "help") return await print(HELP);
  if (command === "to" && rest) return conversation.send(checkName(first), rest);
  if (command !== "who" && (command !== "direct" || !first)) {
    throw new Failure(text, "no such command: /help shows what there is", "EINVAL");
  }
  if (!session.isOpen) throw new Failure(text, "not possible without the server", "ENOTCONN");
  if (command === "who") await conversation.who();
  else await conversation.askForDirectWay(checkName(first));
}

if (import.meta.main) run("client", main);
