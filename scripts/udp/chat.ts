#!/usr/bin/env bun
/**
 * 2.3 Chat: one program that sends what is typed and shows what arrives, over one socket.
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
 * Python     threading.Thread(target=receive)    ->  both loops under way: Promise.race([listen(), talk()])
 * Watch out  Simplex is a radio: one only sends (with --to), one only receives (without). Half duplex is
 *            a walkie-talkie: the first word has the turn, and `over` passes it. Full duplex is a
 *            telephone. The socket is always full duplex; the rest is agreed between the two programs.
 *            `exit` ends both. Ctrl-D ends this one, and the other is not told: UDP has no hang-up. An
 *            `over` that gets lost leaves both waiting for the other: start one of them again.
 * Try        --mode full: let a line come in while you type. --mode menu: let two come in while you read
 *            the menu. Then send an `exit` by 2.1: who is not --to is shown, but not obeyed.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint, isLoopback } from "../../lib/endpoint.ts";
import { Failure } from "../../lib/failure.ts";
import { isExit, keyboard } from "../../lib/keyboard.ts";
import { hint, print, ready, visible } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { Decoder } from "../../lib/text.ts";
import { datagrams, sendTo } from "../../lib/udp.ts";
import { readEndpoint } from "./endpoint-flag.ts";

async function main(stop: AbortSignal) {
  const { host, family, port, encoding, localPort, mode, ...flags } = await readArguments(import.meta, {
    port: 7788,
    flags: {
      to: { kind: "text", help: "HOST:PORT of the other" },
      localPort: { kind: "port", help: "the same as --port" },
      mode: {
        kind: "choice",
        choices: ["full", "half", "simplex", "menu"],
        default: "full",
        help: "who may speak, and when",
      },
    },
  });
  const to = flags.to === undefined ? undefined : await readEndpoint("--to", flags.to);
  if (!to && mode !== "simplex") {
    throw new Failure("--to", "is needed; without it, --mode simplex only receives", "EINVAL", {
      exitCode: 2,
    });
  }
  const other = to && endpoint(to.host, to.port);
  if (to && (to.family !== family || (isLoopback(host) && !isLoopback(to.host)))) {
    const own = isLoopback(to.host) ? to.host : to.family === 6 ? "::" : "0.0.0.0";
    throw new Failure(`--to ${other}`, `cannot be reached from ${host}`, "EADDRNOTAVAIL", {
      exitCode: 2,
      hint: `take --host ${own} as well`,
    });
  }
  const decoder = new Decoder(encoding);
  const onlySends = mode === "simplex" && to !== undefined;

  await using socket = createSocket({ type: `udp${family}`, signal: stop });
  const inbox = datagrams(socket);
  socket.bind(localPort ?? (onlySends ? 0 : port), host); // who only sends need not be found
  await once(socket, "listening", { signal: stop });
  if (!onlySends) await ready(socket.address());

  const end = new AbortController();
  const typed = keyboard(encoding, AbortSignal.any([stop, end.signal]));
  /** Whose turn it is to speak, in half duplex. */
  let turn: "free" | "ours" | "theirs" = "free";

  async function send(bytes: Uint8Array) {
    if (to) await sendTo(socket, bytes, to.port, to.host);
  }

  /** Shows a letter, and gives its text if the other wrote it: a stranger is heard, but not obeyed. */
  async function show(data: Uint8Array, address: string, port: number) {
    const sender = endpoint(address, port);
    const text = decoder.decode(data, sender);
    await print(`${sender} > ${visible(text)}`);
    if (sender === other) return text;
  }

  async function listen() {
    for await (const [data, { address, port }] of inbox) {
      const text = await show(data, address, port);
      if (text === undefined) continue;
      if (isExit(text)) return;
      if (text === "over") turn = "ours";
      else if (turn === "free") turn = "theirs";
    }
  }

  async function talk() {
    for await (const { text, bytes } of typed) {
      if (mode === "half" && turn === "theirs" && !isExit(text)) {
        await hint('not sent: it is the other\'s turn, until "over" comes');
        continue;
      }
      turn = text === "over" ? "theirs" : "ours";
      await send(bytes);
      if (isExit(text)) return;
    }
  }

  async function menu() {
    while (true) {
      await print("1 send, 2 receive, 0 quit");
      const choice = (await typed.next()).value?.text ?? "0";
      if (choice === "0" || isExit(choice)) return;
      if (choice === "1") {
        await print("your message:");
        const line = (await typed.next()).value;
        if (!line) return;
        await send(line.bytes);
        if (isExit(line.text)) return;
      } else if (choice === "2") { // what came in the meantime has waited
        for await (const [data, { address, port }] of inbox) {
          if (isExit(await show(data, address, port) ?? "")) return;
          break;
        }
      }
    }
  }

  try {
    if (mode === "menu") await menu();
    else if (onlySends) await talk();
    else if (!other) await listen();
    else await Promise.race([listen(), talk()]);
  } finally {
    end.abort(); // gives the keyboard back
  }
}

if (import.meta.main) run("server", main);
