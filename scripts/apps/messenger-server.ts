#!/usr/bin/env bun
/**
 * 4.4 Bring people together who have no fixed port: they log in, and the
 * server learns where each one is.
 * 中文 让没有固定端口的人互相找到：客户端登录，服务器记住每个人在哪里。
 *
 * terminal 1
 *   $ bun scripts/apps/messenger-server.ts
 *   listening on 127.0.0.1:8000
 *   张三 logged in from 127.0.0.1:50001
 *   张三 is at 127.0.0.1:50002 by UDP
 *   李四 logged in from 127.0.0.1:50003
 *   李四 is at 127.0.0.1:50004 by UDP
 *   李四 left
 *   王五 logged in from 127.0.0.1:50005
 *   王五 is at 127.0.0.1:50006 by UDP
 *   李四 logged in from 127.0.0.1:50007
 *   李四 is at 127.0.0.1:50008 by UDP
 *   李四 left
 *   王五 left
 *   张三 left
 *   ^C
 * terminal 2
 *   $ bun scripts/apps/messenger-client.ts 张三
 *   logged in as 张三, seen at 127.0.0.1:50002
 * terminal 3
 *   $ bun scripts/apps/messenger-client.ts 李四
 *   logged in as 李四, seen at 127.0.0.1:50004
 *   on line: 张三
 *   > 大家好，我一会儿回来
 *   > exit
 * terminal 2
 *   李四 is here
 *   李四 > 大家好，我一会儿回来
 *   李四 is away
 *   > /to 李四 文件放在桌上
 *   李四 is away: the server keeps it
 * terminal 4
 *   $ bun scripts/apps/messenger-client.ts 王五
 *   logged in as 王五, seen at 127.0.0.1:50006
 *   on line: 张三
 *   > 李四呢？
 * terminal 2
 *   王五 is here
 *   王五 > 李四呢？
 * terminal 3
 *   $ bun scripts/apps/messenger-client.ts 李四
 *   logged in as 李四, seen at 127.0.0.1:50008
 *   on line: 张三, 王五
 *   张三 (to you, 2026-11-20 22:15) > 文件放在桌上
 *   王五 (2026-11-20 22:16) > 李四呢？
 *   > 回来了，谢谢
 *   > exit
 * terminal 4
 *   李四 is back
 *   李四 > 回来了，谢谢
 *   李四 is away
 *   > exit
 * terminal 2
 *   李四 is back
 *   李四 > 回来了，谢谢
 *   李四 is away
 *   王五 is away
 *   > exit
 *
 * Python     s.bind((host, port)); s.listen()
 *                ->  server.listen({ host, port })
 *            connection, address = s.accept()
 *                ->  createServer({ allowHalfOpen: true }, (socket) => ...)
 *            connection.sendall(struct.pack("!I", len(data)) + data)
 *                ->  socket.write(messageFrame(message, encoding)), which
 *                    wraps frame(data, "length")
 *            data, sender = s.recvfrom(65536)
 *                ->  datagrams(udp), which wraps socket.on("message")
 *            s.sendto(data, sender)
 *                ->  udp.send(answer, port, address, done)
 * Watch out  Only the server's port is fixed: the system, or a NAT on the way,
 *            gives a client any port, and the server learns it from the
 *            client's datagrams. No password proves a name, and nothing is
 *            encrypted: the server could read all messages, so this one at
 *            least never prints them. What it keeps for clients that are away
 *            is in its memory, and ends with it.
 * Try        kill -9 the server, start it again, and look at the clients: what
 *            was not acknowledged yet they send once more.
 * 注意       只有服务器的端口是固定的：客户端的端口由系统或路上的 NAT 决定，服
 *            务器从客户端的数据报里得知。名字没有密码作证，什么都不加密：服务器
 *            读得到所有消息，至少这一个从不打印。替离开的客户端留的消息只在内存
 *            里，服务器一停就没有了。
 * 试试       用 kill -9 杀掉服务器，再启动，看客户端：没有得到确认的，它们会再
 *            发一次。
 */
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { readArguments } from "../../lib/arguments.ts";
import { explain, Failure } from "../../lib/failure.ts";
import { print, ready, report, run } from "../../lib/program.ts";
import { sent } from "../../lib/socket.ts";
import { closeOnStop, linger, peerName } from "../../lib/tcp.ts";
import type { Encoding } from "../../lib/text.ts";
import { datagrams } from "../../lib/udp.ts";
import { Rounds } from "./messenger/limits.ts";
import { messageFrame, messages, PING, SILENCE, TO_SERVER, type ToClient } from "./messenger/protocol.ts";
import { Registry } from "./messenger/registry.ts";
import { Requests } from "./messenger/requests.ts";
import { type Client, type Person, Roster } from "./messenger/roster.ts";
import { Places } from "./messenger/shares.ts";
import { sourceOf } from "./source-of.ts";

/** How many connections there may be. */
const MOST_CALLERS = 100;

/** How many bytes wait for a client that does not read. */
const MOST_UNREAD = 1_000_000;

/** How long a caller may take to log in, in milliseconds. */
const LOGIN = 5000;

/** How often news that had to wait are told, in milliseconds. */
const NEWS = 500;

async function main(stop: AbortSignal) {
  const { host, family, port, encoding } = await readArguments(import.meta, { port: 8000 });
  const post = (client: Client, message: ToClient) => send(client.socket, message, encoding);
  const roster = new Roster(post);
  const registry = new Registry(roster, post);
  const requests = new Requests(roster, post);
  const places = new Places<Socket>(MOST_CALLERS, (socket) => {
    const address = sourceOf(socket.remoteAddress);
    socket.destroy(new Failure(peerName(socket), `too many connections from ${address}`, "EBUSY"));
  });

  await using server = createServer({ allowHalfOpen: true }, (socket) => {
    closeOnStop(socket, stop);
    if (!places.take(socket, sourceOf(socket.remoteAddress))) return socket.destroy();
    // A peer that does not read stays connected for a while after it has been served.
    const closed = new Promise((resolve) => socket.once("close", resolve));
    Promise.all([serve(socket).catch(report), closed]).finally(() => places.leave(socket));
  });
  await using udp = await openBoth(server, host, port, family, stop);
  const inbox = datagrams(udp);
  const rounds = new Rounds();
  const timers = [setInterval(disconnectSilent, PING), setInterval(() => roster.tellNews(), NEWS)];
  try {
    await ready(server.address());
    await Promise.all([answerRegistrations(), once(server, "close")]);
  } finally {
    for (const timer of timers) clearInterval(timer);
  }

  async function answerRegistrations() {
    for await (const [data, { address, port }] of inbox) {
      const answer = await registry.take(data, { address, port });
      // A datagram that cannot be sent is a datagram that gets lost.
      if (answer) await sent((done) => udp.send(answer, port, address, done)).catch(() => {});
    }
  }

  /** Serves one caller, from the login to the end. */
  async function serve(socket: Socket) {
    const caller = peerName(socket);
    const late = setTimeout(() => {
      socket.destroy(new Failure(caller, `no login within ${LOGIN / 1000} seconds`, "ETIMEDOUT"));
    }, LOGIN);
    let person: Person | undefined;
    let client: Client | undefined;
    try {
      for await (const message of messages(socket, encoding, TO_SERVER, caller)) {
        clearTimeout(late);
        if (person && client) await requests.handle(message, person, client);
        else [person, client] = await requests.logIn(message, socket, caller);
      }
      if (person && person.client === client) await print(`${person.name} left`);
    } catch (error) {
      const failure = explain(error, caller);
      if (failure && !socket.destroyed) {
        send(socket, { type: "refused", why: failure.why, code: failure.code }, encoding);
      }
      const isReplaced = client && person?.client !== client; // by the same client, on a new connection
      if (!stop.aborted && !isReplaced) await report(error, person?.name ?? caller);
    } finally {
      clearTimeout(late);
      socket.end();
      linger(socket); // the refusal must arrive
      if (person && person.client === client) roster.leave(person);
    }
  }

  /** A peer whose machine has lost its power sends no FIN: only its silence shows it. */
  function disconnectSilent() {
    if (!rounds.begin()) return;
    for (const name of roster.here()) {
      const client = roster.get(name)?.client;
      if (!client || performance.now() - client.heard < SILENCE) continue;
      client.socket.destroy(new Failure(name, `silent for ${SILENCE / 1000} seconds`, "ETIMEDOUT"));
    }
  }
}

/** Sends a message without waiting: a client that does not read is disconnected. */
function send(socket: Socket, message: ToClient, encoding: Encoding): void {
  socket.write(messageFrame(message, encoding));
  if (socket.writableLength < MOST_UNREAD) return;
  socket.destroy(new Failure(peerName(socket), "does not read what it gets", "ENOBUFS"));
}

/** Listens and binds at the same number for TCP and UDP. With port 0 the system picks one that is free for both. */
async function openBoth(
  server: Server,
  host: string,
  port: number,
  family: 4 | 6,
  stop: AbortSignal,
): Promise<UdpSocket> {
  for (let tries = 1;; tries++) {
    server.listen({ host, port });
    await once(server, "listening", { signal: stop });
    const socket = createSocket({ type: `udp${family}`, signal: stop });
    try {
      const { port } = server.address() as { port: number };
      socket.bind(port, host);
      await once(socket, "listening", { signal: stop });
      stop.addEventListener("abort", () => server.close());
      return socket;
    } catch (error) {
      socket.close();
      if (port !== 0 || tries === 10) throw Object.assign(error as Error, { port }); // Bun does not say which port
      server.close();
      await once(server, "close");
    }
  }
}

if (import.meta.main) run("server", main);
