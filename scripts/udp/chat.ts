#!/usr/bin/env bun
/**
 * 2.3 Chat: one program that sends what is typed and shows what arrives, over
 * one socket.
 * 中文 聊天程序：一个程序、一个套接字，键入的就发出去，收到的就显示出来。
 *
 * terminal 1
 *   $ bun scripts/udp/chat.ts --local-port 7788 --to 127.0.0.1:7789 --mode half
 *   listening on 127.0.0.1:7788
 *   127.0.0.1:7789 > 听到请回答
 * terminal 2
 *   $ bun scripts/udp/chat.ts --local-port 7789 --to 127.0.0.1:7788 --mode half
 *   listening on 127.0.0.1:7789
 *   > 听到请回答
 * terminal 1
 *   > 听到了
 *   hint: not sent: it is the other's turn, until "over" comes
 * terminal 2
 *   > over
 * terminal 1
 *   127.0.0.1:7789 > over
 *   > 听到了
 *   > exit
 * terminal 2
 *   127.0.0.1:7788 > 听到了
 *   127.0.0.1:7788 > exit
 *
 * Python     s.bind(("", port))           ->  socket.bind(port, host)
 *            s.sendto(data, (host, port)) ->  socket.send(bytes, port, host)
 *            data, sender = s.recvfrom(65535)
 *                ->  datagrams(socket), which wraps socket.on("message")
 *            threading.Thread(target=receive).start(); send()
 *                ->  Promise.race([chat.listen(), chat.talk(lines)])
 * Watch out  Simplex is a radio: one end only sends (with --to), the other
 *            only receives (without). Half duplex is a walkie-talkie: the first
 *            to speak has the turn, and `over` passes it. Full duplex is a
 *            telephone. A socket is always full duplex; the rest is agreed
 *            between the two programs. `exit` ends both. Ctrl-D ends this one
 *            without a word to the other: UDP has no close. If an `over` gets
 *            lost, both wait for each other: start one of them again.
 * Try        --mode full: let a line come in while you type. --mode menu: let
 *            two come in while you read the menu. Then send an `exit` by 2.1:
 *            messages from others are shown, but cannot end the chat.
 * 注意       单工像电台：一端只发（用 --to），另一端只收（不用）。半双工像对讲机：
 *            先开口的有话语权，说 `over` 就交给对方。全双工像打电话。套接字本身始
 *            终是全双工，其余都是两个程序之间的约定。`exit` 结束两端。Ctrl-D 只结
 *            束这一端，不通知对方：UDP 没有“挂断”。`over` 要是丢了，两边就会互相
 *            等下去：重新启动其中一个即可。
 * 试试       --mode full：正在键入时让一行消息进来。--mode menu：看菜单时让两条消
 *            息进来。再用 2.1 发一个 `exit`：别人的消息会显示，但结束不了聊天。
 */
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { readArguments } from "../../lib/arguments.ts";
import { Failure } from "../../lib/failure.ts";
import { keyboard } from "../../lib/keyboard.ts";
import { hint, print, ready, report, run, visible } from "../../lib/program.ts";
import { endpoint, isLoopback, sent } from "../../lib/socket.ts";
import { Decoder, type Encoding, isExit } from "../../lib/text.ts";
import { datagrams } from "../../lib/udp.ts";
import { readEndpoint, type Target } from "./endpoint-flag.ts";
import { isSameAddress } from "./same-address.ts";
import { bound } from "./bound.ts";

/** Where a chat is found. */
const OWN_PORT = 7788;

async function main(stop: AbortSignal) {
  const { host, family, port, encoding, localPort, mode, ...flags } = await readArguments(import.meta, {
    port: OWN_PORT,
    flags: {
      to: { kind: "text", help: "HOST:PORT of the other | 对方的 HOST:PORT" },
      localPort: { kind: "port", help: "the same as --port | 与 --port 相同" },
      mode: {
        kind: "choice",
        choices: ["full", "half", "simplex", "menu"],
        default: "full",
        help: "who may speak, and when | 谁在什么时候可以说话",
      },
    },
  });
  const to = flags.to === undefined ? undefined : await readEndpoint("--to", flags.to);
  if (to) checkReach(to, host, family);
  else if (mode !== "simplex") {
    throw new Failure("--to", "is needed; without it, --mode simplex only receives", "EINVAL", {
      exitCode: 2,
    });
  }
  const onlySends = mode === "simplex" && to !== undefined;

  // One socket does both. `signal: stop` closes it on Ctrl-C, and `await using` when main ends.
  await using socket = createSocket({ type: `udp${family}`, signal: stop });
  const chat = new Chat(socket, encoding, to);
  // Bind takes a port, so that the other can find us. A program that only sends gets the one of --port, or any free
  // one (0).
  const ownPort = localPort ?? (onlySends && port === OWN_PORT ? 0 : port);
  socket.bind(ownPort, host);
  await bound(socket, ownPort, stop, localPort === undefined ? "--port" : "--local-port");
  if (!onlySends) await ready(socket.address());

  const end = new AbortController();
  const lines = keyboard(encoding, AbortSignal.any([stop, end.signal]));
  try {
    if (mode === "menu") await chat.menu(lines);
    else if (onlySends) await chat.talk(lines);
    else if (!to) await chat.listen();
    else {
      if (mode === "half") chat.turn = new Turn();
      await Promise.race([chat.listen(), chat.talk(lines)]); // both at once; the first to end ends the chat
    }
  } finally {
    end.abort(); // gives the keyboard back
  }
}

/** @throws Failure EADDRNOTAVAIL, exit code 2, when a socket bound to `host` cannot send to `to` */
function checkReach(to: Target, host: string, family: 4 | 6): void {
  if (to.family === family && (!isLoopback(host) || isLoopback(to.host))) return;
  const own = isLoopback(to.host) ? to.host : to.family === 6 ? "::" : "0.0.0.0";
  const what = `--to ${endpoint(to.host, to.port)}`;
  throw new Failure(what, `cannot be reached from ${host}`, "EADDRNOTAVAIL", {
    exitCode: 2,
    hint: `take --host ${own} as well`,
  });
}

type Lines = ReturnType<typeof keyboard>;

/** A conversation with `to`, over one socket. */
class Chat {
  /** Only in half duplex. */
  turn: Turn | undefined;
  readonly #socket: Socket;
  readonly #inbox: ReturnType<typeof datagrams>;
  readonly #decoder: Decoder;
  readonly #other: Other | undefined;

  constructor(socket: Socket, encoding: Encoding, to: Target | undefined) {
    this.#socket = socket;
    this.#inbox = datagrams(socket); // collects from now on what arrives
    this.#decoder = new Decoder(encoding);
    this.#other = to && new Other(to);
  }

  /** Shows what arrives, until the other says exit. */
  async listen(): Promise<void> {
    for await (const [data, sender] of this.#inbox) { // waits for the next datagram
      const text = await this.#show(data, sender);
      if (text === undefined) continue;
      if (isExit(text)) return;
      this.turn?.heard(text);
    }
  }

  /** Sends what is typed, until exit. */
  async talk(lines: Lines): Promise<void> {
    for await (const { text, bytes } of lines) {
      if (this.turn?.isTheirs && !isExit(text)) {
        await hint('not sent: it is the other\'s turn, until "over" comes');
        continue;
      }
      this.turn?.said(text); // before it is sent: the answer may come at once
      if (!await this.#send(bytes)) this.turn?.said(""); // the other has not heard that it is theirs
      if (isExit(text)) return;
    }
  }

  /** Sends or receives one message at a time, as the menu is answered. */
  async menu(lines: Lines): Promise<void> {
    while (true) {
      await print("1 send, 2 receive, 0 quit");
      const choice = (await lines.next()).value?.text ?? "0";
      if (choice === "0" || isExit(choice)) return;
      if (choice === "1") {
        await print("your message:");
        const line = (await lines.next()).value;
        if (!line) return;
        await this.#send(line.bytes);
        if (isExit(line.text)) return;
      } else if (choice === "2") {
        for await (const [data, sender] of this.#inbox) { // a datagram that came during the menu has waited
          if (isExit(await this.#show(data, sender) ?? "")) return;
          break;
        }
      }
    }
  }

  async #send(bytes: Uint8Array): Promise<boolean> {
    if (!this.#other) return false;
    const { host, port } = this.#other.to;
    this.#other.isAsked = true;
    // Hands the datagram to the system, which sends it off; nobody says whether it arrives. If it cannot be
    // sent (the network is down, say), this one is lost, and the chat goes on.
    const sending = sent((done) => this.#socket.send(bytes, port, host, done)).then(() => true);
    return await sending.catch(async (error) => (await report(error), false));
  }

  /** Shows a message, and gives its text if the other sent it: messages from others are shown, not obeyed. */
  async #show(data: Buffer, { address, port }: RemoteInfo): Promise<string | undefined> {
    const sender = endpoint(address, port);
    const text = this.#decoder.decode(data, sender);
    await print(`${sender} > ${visible(text)}`);
    if (await this.#other?.is(address, port)) return text;
  }
}

/**
 * The other end of a chat: the program at `to`. Its machine may have several addresses, and then it may answer from
 * another one. So the first answer from the right port counts as the other's, as long as `to` itself is silent.
 */
class Other {
  readonly to: Target;
  /** Whether anything was sent to it: only then a datagram can be an answer. */
  isAsked = false;
  /** Where it was heard. */
  #address: string | undefined;

  constructor(to: Target) {
    this.to = to;
  }

  async is(address: string, port: number): Promise<boolean> {
    if (port !== this.to.port) return false;
    if (isSameAddress(address, this.to.host)) this.#address = this.to.host;
    else if (this.#address === undefined && this.isAsked) {
      this.#address = address;
      await hint(`${endpoint(this.to.host, port)} answers from ${endpoint(address, port)}`);
    }
    return this.#address !== undefined && isSameAddress(address, this.#address);
  }
}

/** Whose turn it is to speak, in half duplex: the first to speak takes it, and `over` passes it. */
class Turn {
  #whose: "free" | "ours" | "theirs" = "free";

  get isTheirs(): boolean {
    return this.#whose === "theirs";
  }

  said(text: string): void {
    this.#whose = text === "over" ? "theirs" : "ours";
  }

  heard(text: string): void {
    if (text === "over") this.#whose = "ours";
    else if (this.#whose === "free") this.#whose = "theirs";
  }
}

if (import.meta.main) run("server", main);
