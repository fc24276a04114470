#!/usr/bin/env bun
/**
 * 4.4 Talk without a fixed port: through the server, or through the NATs straight to the other.
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
 *   hint: choose another; the name of a client that has vanished is free after half a minute
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
 * Python     s.sendto(data, address)             ->  socket.send(data, port, address); no bind: any port will do
 *            hmac.new(key, data, "sha256")       ->  createHmac("sha256", key).update(data)
 * Watch out  A message counts as arrived when the other's client has it, not when the server has: until then
 *            this client keeps it, and hands it in again after each reconnect. Nothing is encrypted. The direct
 *            way fails where a NAT takes another port for each destination; then the relay carries on.
 * Try        /help. kill -9 the server while two talk: the direct way does not notice.
 */
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { EventEmitter, once } from "node:events";
import { connect, type Socket } from "node:net";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { readArguments } from "../../lib/arguments.ts";
import { Ways } from "./messenger/hole-punching.ts";
import { endpoint } from "../../lib/endpoint.ts";
import { explain, Failure } from "../../lib/failure.ts";
import { isExit, keyboard } from "../../lib/keyboard.ts";
import {
  checkName,
  checkText,
  decodeSeen,
  dropOldest,
  encodeRegistration,
  type Endpoint,
  KEEP_ALIVE,
  messageFrame,
  messages,
  MOST_NAMES,
  PING,
  readEndpoint,
  Shown,
  SILENCE,
  TO_CLIENT,
  type ToClient,
  type ToServer,
  VERSION,
} from "./messenger/protocol.ts";
import { type Kept, Outbox, PATIENCE } from "./messenger/outbox.ts";
import { hint, print, report, visible } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { sendAll, survive } from "../../lib/tcp.ts";
import { Decoder, encode } from "../../lib/text.ts";
import { datagrams, sendTo } from "../../lib/udp.ts";

const HELP = `TEXT           to all
/to NAME TEXT  to one: by the direct way, if there is one
/direct NAME   look for a direct way
/who           who is on line, and who is away
/help          this page
exit           leave; so does Ctrl-D`;

/** How many messages may be under way: more typed lines wait. */
const MOST_UNDER_WAY = 50;

/** The pause before the server is called again grows from the first to the last, in milliseconds. */
const FIRST_PAUSE = 500;
const LAST_PAUSE = 15_000;

async function main(stop: AbortSignal) {
  const { host, family, port, encoding, words } = await readArguments(import.meta, {
    port: 8000,
    words: "NAME",
  });
  const name = checkName(words[0]);
  encode(name, encoding);
  const server = endpoint(host, port);
  const secret = randomBytes(16).toString("hex");
  const end = new AbortController();
  const over = AbortSignal.any([stop, end.signal]);
  const changes = new EventEmitter();
  const decoder = new Decoder(encoding);
  const shown = new Shown();
  const outbox = new Outbox({ direct: (to) => ways.to(to), canRelay: () => line !== undefined, relay });
  const acknowledged = (other: string, id: number) => outbox.confirmed(id, other);
  const ways = new Ways({ send: sendLetter, opened, message, acknowledged, ended });
  /** Who is on line; and who was, when the connection broke, and has not come back yet. */
  const online = new Set<string>();
  const absent = new Set<string>();
  let line: Socket | undefined;
  let own = { address: host, port: 0 };
  let token: Buffer | undefined;
  let seen: string | undefined;
  let refused: Failure | undefined;
  let wasIn = false;
  let isLeaving = false;
  /** What the direct ways have told: a server that opens them without end waits until somebody has read it. */
  let told = Promise.resolve();

  await using udp = createSocket(`udp${family}`); // without bind: the first letter makes the system pick a port
  const inbox = datagrams(udp);
  const typed = keyboard(encoding, over);
  try {
    await sendLetter(Buffer.alloc(0), { address: host, port });
    const loggedIn = once(changes, "logged in", { signal: over });
    await Promise.race([stayConnected(), receive(), stayReachable(), loggedIn.then(talk)]);
  } finally {
    end.abort();
    await ways.close();
  }

  /** Calls the server again whenever the connection breaks, after pauses that grow, and differ for each client. */
  async function stayConnected() {
    for (let pause = FIRST_PAUSE; !isLeaving;) {
      const begin = performance.now();
      try {
        await session();
      } catch (error) {
        if (over.aborted || !wasIn || error === refused || !explain(error)) throw error;
      }
      if (line && !isLeaving) await say("the server is gone: trying again, with growing pauses");
      line = token = undefined;
      for (const one of online) absent.add(one);
      dropOldest(absent, MOST_NAMES);
      online.clear();
      outbox.again(({ state }) => state !== "direct");
      if (performance.now() - begin > LAST_PAUSE) pause = FIRST_PAUSE;
      if (!isLeaving) await sleep(pause * (0.5 + Math.random() / 2), undefined, { signal: over });
      pause = Math.min(2 * pause, LAST_PAUSE);
    }
  }

  /** One connection to the server, from the login to the end. */
  async function session() {
    await using socket = survive(connect({ host, port }), over);
    let heard = performance.now();
    const timer = setInterval(() => {
      if (performance.now() - heard > SILENCE) {
        socket.destroy(new Failure(server, `silent for ${SILENCE / 1000} seconds`, "ETIMEDOUT"));
      } else post({ type: "ping" });
    }, PING);
    try {
      await once(socket, "connect");
      own = { address: `${socket.localAddress}`, port: udp.address().port };
      socket.write(messageFrame({ type: "login", version: VERSION, name, secret }, encoding));
      for await (const message of messages(socket, encoding, TO_CLIENT, server)) {
        heard = performance.now();
        await handle(message, socket);
      }
      if (!isLeaving) throw new Failure(server, "hung up", "ECONNRESET");
    } finally {
      clearInterval(timer);
    }
  }

  async function handle(message: ToClient, socket: Socket) {
    if (message.type === "welcome") {
      token = Buffer.from(message.token, "hex");
      await beSeen();
      for (const one of message.here) isHere(one);
      line = socket;
      const where = seen ? `seen at ${seen}` : "but not seen by UDP";
      await say(wasIn ? "connected again" : `logged in as ${name}, ${where}`);
      wasIn = true;
      if (message.here.length > 0) await say(`on line: ${message.here.join(", ")}`);
      changes.emit("logged in");
      outbox.pump();
    } else if (message.type === "refused") {
      const taken = "choose another; the name of a client that has vanished is free after half a minute";
      const failure = new Failure(name, message.why, message.code, {
        hint: message.code === "EEXIST" ? taken : undefined,
      });
      if (message.code !== "EBUSY") refused = failure;
      throw failure;
    } else if (message.type === "message") {
      const { id, from, instance, text, all, late, time } = message;
      const marks = [...(all ? [] : ["to you"]), ...(late ? [localTime(time)] : [])];
      if (shown.add(instance, id)) await show(from, text, marks);
      await sendAll(socket, messageFrame({ type: "have", id, from, instance }, encoding));
    } else if (message.type === "taken") {
      const sent = outbox.taken(message.id, message.here);
      if (!sent?.to || sent.isTold || message.away.length === 0) return;
      sent.isTold = true;
      await say(`${sent.to} is away: the server keeps it`);
    } else if (message.type === "had") {
      outbox.confirmed(message.id, message.name);
    } else if (message.type === "sorry") {
      process.exitCode = 1;
      if (message.name === "") outbox.drop(message.id);
      else outbox.confirmed(message.id, message.name); // there is nothing more to wait for
      await report(new Failure(message.name || server, message.why, message.code));
    } else if (message.type === "people") {
      const away = message.away.length > 0 ? `; away: ${message.away.join(", ")}` : "";
      await say(`on line: ${message.here.join(", ")}${away}`);
    } else if (message.type === "back") {
      const isBack = message.again || absent.has(message.name);
      isHere(message.name);
      await say(`${message.name} is ${isBack ? "back" : "here"}`);
    } else if (message.type === "away") {
      online.delete(message.name);
      await say(`${message.name} is away`);
    } else if (message.type === "warning") {
      await report(new Failure(name, message.why, message.code));
    } else if (message.type === "direct") {
      const { way, side, key, instance } = message;
      const endpoints = message.endpoints.map(readEndpoint).filter((place) => place !== undefined);
      await told;
      await ways.look(message.name, { instance, way, side, key: Buffer.from(key, "hex"), endpoints });
    }
  }

  function isHere(one: string) {
    online.add(one);
    dropOldest(online, MOST_NAMES);
    absent.delete(one);
  }

  /** Registers until the server says at which endpoint it sees us: four letters may get lost. */
  async function beSeen() {
    seen = undefined;
    for (let tries = 0; tries < 4 && !seen; tries++) {
      const signal = AbortSignal.any([over, AbortSignal.timeout(250)]);
      const answer = once(changes, "seen", { signal }).catch(() => {});
      await register();
      await answer;
    }
  }

  async function register() {
    if (token) await sendLetter(encodeRegistration({ token, own, name }), { address: host, port });
  }

  /** Registers again and again, so that no NAT on the way forgets us. */
  async function stayReachable() {
    while (true) {
      await sleep(KEEP_ALIVE, undefined, { signal: over });
      await register();
    }
  }

  async function receive() {
    for await (const [data, sender] of inbox) {
      const place = token && decodeSeen(data, token);
      if (place) seen = endpoint(place.address, place.port);
      if (place) changes.emit("seen");
      await ways.receive(data, { address: sender.address, port: sender.port });
    }
  }

  /** A letter that cannot be sent is a letter that gets lost. */
  async function sendLetter(data: Buffer, to: Endpoint) {
    await sendTo(udp, data, to.port, to.address).catch(() => {});
  }

  /** A direct way is open. */
  function opened(other: string, { address, port }: Endpoint) {
    told = say(`direct way to ${other}: ${endpoint(address, port)}`);
    outbox.pump();
  }

  /** Something has come by a direct way. */
  async function message(other: string, instance: string, id: number, bytes: Buffer) {
    if (!shown.add(instance, id)) return;
    await show(other, decoder.decode(bytes, other), ["direct"]);
  }

  function ended(other: string, hasLeft: boolean) {
    if (!hasLeft) told = say(`no direct way to ${other}: the relay carries on`);
    outbox.again(({ to, state }) => to === other && state === "direct");
  }

  function relay({ id, to, text, missing, isAgain }: Kept) {
    const also = [...missing].filter((one) => isAgain || absent.has(one)).slice(0, MOST_NAMES);
    post({ type: "send", id, to, text, also });
  }

  function post(message: ToServer) {
    line?.write(messageFrame(message, encoding));
  }

  async function talk() {
    for await (const { text } of typed) {
      if (isExit(text)) break;
      try {
        await obey(text);
      } catch (error) {
        process.exitCode = 1;
        await report(error);
      }
      await outbox.below(MOST_UNDER_WAY, online, over);
    }
    if (!over.aborted) await leave();
  }

  async function obey(text: string) {
    const [, command, first = "", rest = ""] = /^\/(\S*) *(\S*) *(.*)$/s.exec(text) ?? [];
    if (text === "") return;
    if (command === undefined) return send(null, text);
    if (command === "help") return await print(HELP);
    if (command === "to" && rest) return send(checkName(first), rest);
    if (command !== "who" && (command !== "direct" || !first)) {
      throw new Failure(text, "no such command: /help shows what there is", "EINVAL");
    }
    if (!line) throw new Failure(text, "not possible without the server", "ENOTCONN");
    await outbox.turn();
    post(command === "who" ? { type: "who" } : { type: "direct", name: checkName(first) });
  }

  function send(to: string | null, text: string) {
    const bytes = encode(text, encoding);
    checkText(bytes);
    outbox.add(to, text, bytes, to === null ? [...online, ...absent] : [to]);
  }

  /** Leaves when all that can be acknowledged is, and tells what is not. */
  async function leave() {
    await outbox.below(1, online, over, PATIENCE);
    isLeaving = true;
    for (const [one, count] of outbox.unconfirmed(server)) {
      const messages = count === 1 ? "1 message" : `${count} messages`;
      if (line && one !== server && !online.has(one)) {
        await hint(`${one} is away: the server keeps ${messages} of yours`);
        continue;
      }
      process.exitCode = 1;
      await report(new Failure(one, `has not acknowledged ${messages}`, "ETIMEDOUT"));
    }
    line?.end();
    if (line) await sleep(1000, undefined, { signal: over }); // until the server has hung up as well
  }
}

async function say(text: string) {
  await print(visible(text));
}

async function show(from: string, text: string, marks: string[]) {
  await say(`${from}${marks.length > 0 ? ` (${marks.join(", ")})` : ""} > ${text}`);
}

/** 2026-11-20 22:15 */
function localTime(time: number): string {
  const zone = new Date(time).getTimezoneOffset() * 60_000;
  return new Date(time - zone).toISOString().slice(0, 16).replace("T", " ");
}

if (import.meta.main) run("client", main);
