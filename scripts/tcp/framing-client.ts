#!/usr/bin/env bun
/**
 * 3.6 Mark the messages in a stream: with a line end after each, or its length
 * before it, the receiver finds them again, however they arrive.
 * 中文 给字节流里的消息做标记：每条后面加换行，或者前面写长度，接收方就能还原。
 *
 * terminal 1
 *   $ bun scripts/tcp/framing-server.ts --framing length
 *   listening on 127.0.0.1:7892
 *   127.0.0.1:50001 connected
 *   127.0.0.1:50001 > 6 bytes: 你好
 *   127.0.0.1:50001 > 0 bytes
 *   127.0.0.1:50001 > 6 bytes: 再见
 *   127.0.0.1:50001 hung up
 *   127.0.0.1:50002 connected
 *   error: 127.0.0.1:50002: announces a message of 3837632741 bytes; the limit is 131072 (EMSGSIZE)
 *   ^C
 * terminal 2
 *   $ bun scripts/tcp/framing-client.ts --framing length --pieces 你好 "" 再见
 *   sent 24 bytes in pieces of 5, 1, 8, 4, 6
 *   $ bun scripts/tcp/framing-client.ts --framing line 你好
 *   sent 7 bytes
 *   error: 127.0.0.1:7892: connection reset by peer (ECONNRESET)
 *   [exit 1]
 *
 * Python     s.sendall(message + b"\n")
 *            ->  socket.write(piece, done), after frame(message, framing)
 *            s.sendall(struct.pack("!I", len(message)) + message)
 *            ->  the same, with --framing length
 *            s.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
 *            ->  connect({ host, port, noDelay: true })
 *            s.shutdown(SHUT_WR)
 *            ->  socket.end()
 * Watch out  The framing is part of the protocol: above, the server took the first
 *            bytes of 你好, E4 BD A0 E5, for a length. An empty message, which TCP
 *            alone cannot carry (3.1), exists again. A line cannot contain a line
 *            end; a message with its length can contain anything. The byte of a
 *            line end, 0x0A, is part of no other character, neither in UTF-8 nor
 *            in GBK; the byte of a backslash, 0x5C, is part of some in GBK.
 * Try        Start the client without words and type the messages. Then use
 *            --framing line at both ends, or another --seed.
 * 注意       分帧是协议的一部分：上面的服务器把“你好”的前四个字节 E4 BD A0 E5 当
 *            成了长度。单靠 TCP 发不出的空消息（3.1），在这里又有了。按行分帧的
 *            消息不能含有换行；带长度的消息什么都可以有。换行的字节 0x0A 在
 *            UTF-8 和 GBK 里都不会出现在别的字符中；反斜杠的字节 0x5C 却是某些
 *            GBK 字符的一部分。
 * 试试       不带消息启动客户端，逐条键入。再让两端都用 --framing line，或者换
 *            一个 --seed。
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint, sent } from "../../lib/socket.ts";
import { explain, Failure } from "../../lib/failure.ts";
import { frame, FRAMINGS } from "../../lib/framing.ts";
import { keyboard } from "../../lib/keyboard.ts";
import { print, run } from "../../lib/program.ts";
import { closeOnStop } from "../../lib/tcp.ts";
import { encode, isExit } from "../../lib/text.ts";

async function main(stop: AbortSignal) {
  const { host, port, encoding, words, framing, pieces, pause, seed } = await readArguments(import.meta, {
    port: 7892,
    words: "[MESSAGE...]",
    flags: {
      framing: {
        kind: "choice",
        choices: FRAMINGS,
        default: "length",
        help: "the same at both ends | 两端要相同",
      },
      pieces: { kind: "switch", help: "cut the sending at random places | 在随机的位置切开发送" },
      pause: {
        kind: "number",
        min: 0,
        max: 10_000,
        default: 20,
        help: "ms between two pieces | 两段之间的毫秒数",
      },
      seed: {
        kind: "number",
        min: 0,
        max: 2 ** 31,
        default: 1,
        help: "cut at other places | 换别的位置切开",
      },
    },
  });
  const server = endpoint(host, port);
  const glued = Buffer.concat(words.map((word) => frame(encode(word, encoding), framing)));
  const random = randomNumbers(seed);

  // noDelay: each piece goes off at once. Otherwise the system collects small pieces while an acknowledgement
  // is missing (Nagle's algorithm, RFC 896).
  await using socket = closeOnStop(connect({ host, port, noDelay: true }), stop);
  await once(socket, "connect"); // SYN, SYN-ACK, ACK: the connection is open
  const lost = new AbortController(); // aborted when the server closes before us
  const either = AbortSignal.any([stop, lost.signal]);
  let isDone = false;
  const closing = waitForClose();
  try {
    if (words.length > 0) await send(glued); // all messages in one go
    else {
      for await (const { text, bytes: message } of keyboard(encoding, either)) {
        if (isExit(text)) break;
        await send(frame(message, framing));
      }
      lost.signal.throwIfAborted();
    }
    isDone = true;
    socket.end(); // FIN: no more messages
    await closing;
    lost.signal.throwIfAborted();
  } catch (error) {
    throw explain(lost.signal.reason ?? error, server) ?? error;
  }

  async function send(bytes: Buffer) {
    const sizes: number[] = [];
    for (const piece of pieces ? cut(bytes, random) : [bytes]) {
      if (pause > 0 && sizes.length > 0) await wait(pause, undefined, { signal: either });
      await sent((done) => socket.write(piece, done)); // the system has taken it, and sends it
      sizes.push(piece.length);
    }
    await print(`sent ${bytes.length} bytes${pieces ? ` in pieces of ${sizes.join(", ")}` : ""}`);
  }

  /** Discards what the server sends: this protocol has no replies. When it closes before us, that is an error. */
  async function waitForClose() {
    try {
      for await (const _ of socket.iterator({ destroyOnReturn: false }));
      if (!isDone) throw new Failure(server, "closed the connection", "EPIPE");
    } catch (error) {
      lost.abort(error);
    }
  }
}

/** Cuts bytes into pieces of random length, none longer than a third, rounded up. */
function* cut(bytes: Buffer, random: () => number): Generator<Buffer> {
  for (let at = 0; at < bytes.length;) {
    const size = 1 + Math.floor(random() * bytes.length / 3);
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

/** Numbers from 0 to 1 that look random, the same for the same seed: Math.random() takes none. */
function randomNumbers(seed: number): () => number {
  let count = 0;
  return () => createHash("sha256").update(`${seed} ${count++}`).digest().readUInt32BE() / 2 ** 32;
}

if (import.meta.main) run("client", main);
