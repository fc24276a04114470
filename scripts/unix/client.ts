#!/usr/bin/env bun
/**
 * 3.10 Call inside one machine: the same call as over TCP, and no network in between.
 * 中文 拨打本机电话：和 TCP 一样地打，只是不经过网络。
 *
 * terminal 1
 *   $ bun scripts/unix/client.ts
 *   error: connect to lesson.sock: no such file or folder (ENOENT)
 *   [exit 1]
 * terminal 2
 *   $ bun scripts/unix/server.ts --reply 请讲
 *   listening on lesson.sock
 *   caller 1 connected
 *   caller 1 > 喂
 *   caller 1 > 再见
 *   caller 1 hung up
 *   ^C
 * terminal 1
 *   $ bun scripts/unix/client.ts
 *   > 喂
 *   请讲
 *   > 再见
 *   请讲
 *   ^D
 *
 * Python     s = socket(AF_UNIX, SOCK_STREAM); s.connect(path)
 *            ->  connect({ path })
 * Watch out  The rest is as in lessons 3.1 and 3.3: a stream of bytes, and an empty read at the end. But
 *            nothing leaves this machine: no address, no port, no packets for a sniffer to see.
 * Try        ss -xl | grep lesson shows who listens. Then --path @lesson at both ends: where is the file?
 */
import { once } from "node:events";
import { connect } from "node:net";
import { readArguments } from "../../lib/arguments.ts";
import { Failure } from "../../lib/failure.ts";
import { isExit, messages } from "../../lib/keyboard.ts";
import { hint, print, visible } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { sendAll, survive } from "../../lib/tcp.ts";
import { ENCODINGS, texts } from "../../lib/text.ts";
import { socketPath } from "./socket-path.ts";

async function main(stop: AbortSignal) {
  const { path, encoding, words } = await readArguments(import.meta, {
    words: "[MESSAGE...]",
    flags: {
      path: { kind: "text", default: "lesson.sock", help: "the socket's file; @NAME: an abstract name" },
      encoding: { kind: "choice", choices: ENCODINGS, default: "utf-8", help: "the same at both ends" },
    },
  });

  await using socket = survive(connect({ path: socketPath(path) }), stop);
  await once(socket, "connect");
  const replies = texts(socket, encoding, path);
  for await (const { text, bytes } of messages(words, encoding, stop)) {
    if (bytes.length === 0) {
      await hint("a stream cannot carry an empty message");
      continue;
    }
    await sendAll(socket, bytes);
    const { value: reply } = await replies.next(); // recv
    if (reply === undefined) throw new Failure(path, "hung up", "EPIPE");
    await print(visible(reply));
    if (isExit(text)) break;
  }
}

if (import.meta.main) run("client", main);
