#!/usr/bin/env bun
/**
 * 4.4 Bring people together who have no fixed port: they log in, and the server learns where each one is.
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
 * Python     struct.pack("!I", len(data)) + data ->  messageFrame(message, encoding), in messenger/protocol.ts
 *            data, address = s.recvfrom(65536)   ->  for await (const [data, sender] of datagrams(socket))
 * Watch out  Only the server's port is fixed: a client's is whatever the system, or a NAT on the way, gave it.
 *            It is learned from the letters that the client sends. Nobody proves a name with a password, and
 *            nothing is encrypted: who runs a server can read all, so this one at least never prints it. What
 *            it keeps for those who are away is in its memory, and ends with it.
 * Try        kill -9 the server, start it again, and look at the clients. Whatever was not acknowledged yet
 *            they hand in again.
 */
import { createHash, randomBytes, randomInt, timingSafeEqual } from "node:crypto";
import { createSocket, type Socket as Datagrams } from "node:dgram";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint } from "../../lib/endpoint.ts";
import { explain, Failure } from "../../lib/failure.ts";
import {
  Bucket,
  BURST,
  checkName,
  decodeRegistration,
  encodeSeen,
  messageFrame,
  messages,
  PING,
  RATE,
  SILENCE,
  TO_SERVER,
  type ToClient,
  type ToServer,
} from "./messenger/protocol.ts";
import { print, ready, report } from "../../lib/output.ts";
import { type Client, type Message, People, type Person } from "./messenger/roster.ts";
import { run } from "../../lib/run.ts";
import { hangUp, peerName, survive } from "../../lib/tcp.ts";
import { datagrams, sendTo } from "../../lib/udp.ts";
import { isPrivate } from "./private-address.ts";

/** How many connections there may be. */
const MOST_CALLERS = 100;

/** How many bytes wait for a client that does not read. */
const MOST_UNREAD = 1_000_000;

/** How long a caller may take to log in, in milliseconds. */
const LOGIN = 5000;

async function main(stop: AbortSignal) {
  const { host, family, port, encoding } = await readArguments(import.meta, { port: 8000 });
  const people = new People(post);
  const forgeries = new Bucket(3, 0.2);

  let served = 0; // at the moment
  await using server = createServer({ allowHalfOpen: true }, (socket) => {
    survive(socket, stop);
    if (served === MOST_CALLERS) return socket.destroy(); // nobody reads what is printed of those who have gone
    served++;
    serve(socket).catch(report).finally(() => served--);
  });
  server.maxConnections = MOST_CALLERS;
  await using udp = await openBoth(server, host, port, family, stop);
  const inbox = datagrams(udp);
  const timer = setInterval(hangUpOnSilent, PING);
  try {
    await ready(server.address());
    await Promise.all([learn(), once(server, "close")]);
  } finally {
    clearInterval(timer);
  }

  /** Learns from registrations where everybody is. */
  async function learn() {
    for await (const [data, { address, port }] of inbox) {
      const registration = decodeRegistration(data);
      const client = registration && people.get(registration.name)?.client;
      if (!client) continue; // a letter from a stranger gets no answer
      const { name, token, own } = registration;
      if (!timingSafeEqual(token, client.token)) {
        const forged = new Failure(
          endpoint(address, port),
          `registers as ${name}, with a wrong token`,
          "EACCES",
        );
        if (forgeries.take()) await report(forged);
        if (!client.isWarned) {
          post(client, { type: "warning", why: `somebody ${forged.why}`, code: "EACCES" });
        }
        client.isWarned = true;
        continue;
      }
      const seen = { address: address.replace(/^::ffff:(?=\d+\.)/, ""), port };
      if (client.seen?.address !== seen.address || client.seen.port !== port) {
        await print(`${name} is at ${endpoint(seen.address, port)} by UDP`);
      }
      Object.assign(client, { seen, own });
      await sendTo(udp, encodeSeen(token, seen), port, address).catch((error) => report(error, name));
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
        if (!person || !client) {
          clearTimeout(late);
          [person, client] = await logIn(message, socket, caller);
        } else {
          await obey(message, person, client);
        }
      }
      if (person && person.client === client) await print(`${person.name} left`);
    } catch (error) {
      const failure = explain(error, caller);
      if (failure && !socket.destroyed) {
        socket.write(messageFrame({ type: "refused", why: failure.why, code: failure.code }, encoding));
      }
      const isReplaced = client && person?.client !== client;
      if (!stop.aborted && !isReplaced) await report(error, person?.name ?? caller);
    } finally {
      clearTimeout(late);
      hangUp(socket);
      if (person && person.client === client) people.leave(person);
    }
  }

  async function logIn(message: ToServer, socket: Socket, caller: string): Promise<[Person, Client]> {
    if (message.type !== "login") throw new Failure(caller, "did not log in", "EPROTO");
    const name = checkName(message.name);
    const instance = createHash("sha256").update(message.secret).digest("hex").slice(0, 16);
    const known = people.get(name);
    if (known?.client && known.client.instance !== instance) {
      throw new Failure(name, "this name is taken", "EEXIST");
    }
    const person = people.place(name);
    // The same client again: its old connection is dead, and nobody has told us yet.
    const isMove = person.client !== undefined;
    person.client?.socket.destroy();
    const token = randomBytes(16);
    const limits = { bucket: new Bucket(BURST, RATE), patience: BURST, isWarned: false };
    const client: Client = { socket, instance, token, heard: performance.now(), ...limits };
    person.client = client;
    const told = print(`${name} logged in from ${caller}`);
    post(client, { type: "welcome", token: token.toString("hex"), here: people.here(name) });
    if (!isMove) people.tell({ type: "back", name, again: known !== undefined }, name);
    for (const kept of person.waiting) post(client, { ...kept, late: true });
    await told; // not before the welcome: others may write to this one at any moment
    return [person, client];
  }

  async function obey(message: ToServer, person: Person, client: Client) {
    client.heard = performance.now();
    if (message.type === "have" && people.confirm(person, message)) return; // as often as others write to it
    if (!client.bucket.take()) {
      const why = `too fast: ${BURST} at once, then ${RATE} a second`;
      if (--client.patience < 0) throw new Failure(person.name, why, "EBUSY");
      const id = message.type === "send" ? message.id : 0;
      return post(client, { type: "sorry", id, name: "", why, code: "EBUSY" });
    }
    if (message.type === "login") throw new Failure(person.name, "logged in twice", "EPROTO");
    if (message.type === "ping") post(client, { type: "pong" });
    if (message.type === "who") post(client, { type: "people", here: people.here(), away: people.away() });
    if (message.type === "send") send(message, person, client);
    if (message.type === "direct") await introduce(message.name, person, client);
  }

  /** Relays a message: to those on line at once, for the others it is kept. */
  function send({ id, to, text, also }: Extract<ToServer, { type: "send" }>, person: Person, client: Client) {
    const receivers = new Set(to === null ? people.names : people.get(to) ? [to] : []);
    // Those whom the sender knows from before: this server may have been started since, and they come yet.
    for (const name of also) receivers.add(checkName(name));
    receivers.delete(person.name);
    if (to !== null && receivers.size === 0) {
      const why = to === person.name ? "that is you" : "nobody of this name was here";
      return post(client, { type: "sorry", id, name: to, why, code: "ENOENT" });
    }
    const here = [...receivers].filter((name) => people.get(name)?.client || also.includes(name));
    const missing = [...receivers].filter((name) => !people.get(name)?.client);
    post(client, { type: "taken", id, here, away: missing });
    const { instance } = client;
    const message: Message = {
      ...{ type: "message", id, from: person.name, instance, all: to === null, text, time: Date.now() },
      late: false,
    };
    for (const name of receivers) people.deliver(message, name);
  }

  /** Tells two clients where the other is, and gives them a key of their own. */
  async function introduce(name: string, person: Person, client: Client) {
    const other = people.get(name)?.client;
    const refuse = (why: string) => post(client, { type: "sorry", id: 0, name, why, code: "ENOTCONN" });
    if (other === client) return refuse("that is you");
    if (!other) return refuse("not on line");
    if (!client.seen || !other.seen) return refuse("no letter of one of you two has come by UDP");
    if (client.seen.address.includes(":") !== other.seen.address.includes(":")) {
      return refuse("one of you two has IPv4, the other one IPv6");
    }
    const way = randomInt(2 ** 32);
    const key = randomBytes(32).toString("hex");
    const pair = { type: "direct", way, key } as const;
    await print(`${person.name} and ${name} try a direct way`);
    post(other, {
      ...pair,
      side: 1,
      name: person.name,
      instance: client.instance,
      endpoints: places(client, other),
    });
    post(client, { ...pair, side: 0, name, instance: other.instance, endpoints: places(other, client) });
  }

  function post(client: Client, message: ToClient) {
    const { socket } = client;
    socket.write(messageFrame(message, encoding));
    if (socket.writableLength < MOST_UNREAD) return;
    socket.destroy(new Failure(peerName(socket), "does not read what it gets", "ENOBUFS"));
  }

  /** A peer whose machine has lost its power sends no FIN: its silence tells. */
  function hangUpOnSilent() {
    for (const name of people.here()) {
      const client = people.get(name)?.client;
      if (!client || performance.now() - client.heard < SILENCE) continue;
      client.socket.destroy(new Failure(name, `silent for ${SILENCE / 1000} seconds`, "ETIMEDOUT"));
    }
  }
}

/** Where a client can be reached by another: behind one NAT, or on one machine, at its own card as well. */
function places({ seen, own }: Client, other: Client): string[] {
  const isNear = seen && own && seen.address === other.seen?.address && isPrivate(own.address);
  const all = [seen, isNear ? own : undefined].filter((place) => place !== undefined);
  return [...new Set(all.map(({ address, port }) => endpoint(address, port)))];
}

/** Listens and binds at the same number for TCP and UDP. With port 0 the system chooses one that is free for both. */
async function openBoth(
  server: Server,
  host: string,
  port: number,
  family: 4 | 6,
  stop: AbortSignal,
): Promise<Datagrams> {
  for (let tries = 1;; tries++) {
    server.listen({ host, port });
    await once(server, "listening", { signal: stop });
    const socket = createSocket({ type: `udp${family}`, signal: stop });
    try {
      const bound = once(socket, "listening", { signal: stop });
      socket.bind((server.address() as { port: number }).port, host);
      await bound;
      stop.addEventListener("abort", () => server.close());
      return socket;
    } catch (error) {
      socket.close();
      if (port !== 0 || tries === 10) throw error;
      server.close();
      await once(server, "close");
    }
  }
}

if (import.meta.main) run("server", main);
