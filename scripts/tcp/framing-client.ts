#!/usr/bin/env bun
/**
 * 3.6 Mark the messages in a stream: with a line end after each, or its length before it, they are found
 * again however they arrive.
 * 中文 给字节流里的消息做标记：每条后面加换行，或前面写上长度，不管怎么到达都能还原。
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
 * Python     s.sendall(message + b"\n")          ->  socket.write(frame(message, "line"))
 *            s.sendall(struct.pack("!I", len(message)) + message)
 *            ->  socket.write(frame(message, "length")), in lib/framing.ts
 *            s.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
 *            ->  connect({ host, port, noDelay: true })
 * Watch out  The framing is part of the protocol: above, the bytes of 你 were taken for a length. An empty
 *            message, which TCP alone cannot send (3.1), exists again. A line cannot contain a line end; a
 *            message after its length can contain anything. The byte of the line end, 0x0A, is never part
 *            of another character in UTF-8 or GBK; that of the backslash, 0x5C, can be, in GBK.
 * Try        Type the messages, without words. Take --framing line at both ends, or another --seed.
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint } from "../../lib/endpoint.ts";
import { explain, Failure } from "../../lib/failure.ts";
import { frame, FRAMINGS } from "../../lib/framing.ts";
import { isExit, keyboard } from "../../lib/keyboard.ts";
import { print } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { sendAll, survive } from "../../lib/tcp.ts";
import { encode } from "../../lib/text.ts";

async function main(stop: AbortSignal) {
  const { host, port, encoding, words, framing, pieces, pause, seed } = await readArguments(import.meta, {
    port: 7892,
    words: "[MESSAGE...]",
    flags: {
      framing: { kind: "choice", choices: FRAMINGS, default: "length", help: "the same at both ends" },
      pieces: { kind: "switch", help: "cut the sending at random places" },
      pause: { kind: "number", min: 0, max: 10_000, default: 20, help: "ms between two pieces" },
      seed: { kind: "number", min: 0, max: 2 ** 31, default: 1, help: "another one cuts at other places" },
    },
  });
  const server = endpoint(host, port);
  const glued = Buffer.concat(words.map((word) => frame(encode(word, encoding), framing)));
  const random = randomNumbers(seed);

  // Without noDelay the system gathers small pieces while it waits for an acknowledgement (RFC 896).
  await using socket = survive(connect({ host, port, noDelay: true }), stop);
  await once(socket, "connect");
  const gone = new AbortController();
  const either = AbortSignal.any([stop, gone.signal]);
  let done = false;
  const silence = listen();
  try {
    if (words.length > 0) await send(glued); // all in one go
    else {
      for await (const { text, bytes } of keyboard(encoding, either)) {
        if (isExit(text)) break;
        await send(frame(bytes, framing));
      }
      gone.signal.throwIfAborted();
    }
    done = true;
    socket.end();
    await silence;
    gone.signal.throwIfAborted();
  } catch (error) {
    throw explain(gone.signal.reason ?? error, server) ?? error;
  }

  async function send(bytes: Buffer) {
    const sizes: number[] = [];
    for (const piece of pieces ? cut(bytes, random) : [bytes]) {
      if (pause > 0 && sizes.length > 0) await wait(pause, undefined, { signal: either });
      await sendAll(socket, piece);
      sizes.push(piece.length);
    }
    await print(`sent ${bytes.length} bytes${pieces ? ` in pieces of ${sizes.join(", ")}` : ""}`);
  }

  /** The server says nothing. Its hang-up comes after ours, or something went wrong. */
  async function listen() {
    try {
      for await (const _ of socket.iterator({ destroyOnReturn: false }));
      if (!done) throw new Failure(server, "hung up", "EPIPE");
    } catch (error) {
      gone.abort(error);
    }
  }
}

function* cut(bytes: Buffer, random: () => number): Generator<Buffer> {
  for (let at = 0; at < bytes.length;) {
    const size = 1 + Math.floor(random() * bytes.length / 3);
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

/** Numbers from 0 to 1 that look random, and are the same each time for the same seed. */
function randomNumbers(seed: number): () => number {
  let count = 0;
  return () => createHash("sha256").update(`${seed} ${count++}`).digest().readUInt32BE() / 2 ** 32;
}

if (import.meta.main) run("client", main);
