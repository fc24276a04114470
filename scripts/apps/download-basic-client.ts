#!/usr/bin/env bun
/**
 * 4.1 Fetch a file: send its name, write what comes, until the server hangs up.
 * 中文 下载文件：发送文件名，收到什么就写什么，直到服务器挂断。
 *
 * terminal 1
 *   $ bun scripts/apps/download-basic-server.ts --root scripts
 *   listening on 127.0.0.1:11500
 *   127.0.0.1:50001 > tcp/none.ts
 *   error: tcp/none.ts: no such file (ENOENT)
 *   127.0.0.1:50002 > tcp
 *   error: tcp: is a folder (EISDIR)
 *   ^C
 * terminal 2
 *   $ bun scripts/apps/download-basic-client.ts tcp/none.ts
 *   error: tcp/none.ts: nothing came: there is no such file, or it is empty (ENODATA)
 *   [exit 1]
 *   $ bun scripts/apps/download-basic-client.ts tcp
 *   error: tcp: nothing came: there is no such file, or it is empty (ENODATA)
 *   [exit 1]
 *
 * Python     with open("copy-" + name, "wb"):    ->  await using file = await open(part, "wx")
 *            f.write(s.recv(1024))               ->  for await (const chunk of socket)
 * Watch out  The hang-up is the only sign of the end: a connection that breaks off cleanly in the middle
 *            looks like a whole file. Lesson 4.2 tells the size and the SHA-256 in advance.
 * Try        Fetch something large, and Ctrl-C in the middle: no half file stays behind.
 */
import { once } from "node:events";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { connect } from "node:net";
import { basename } from "node:path";
import process from "node:process";
import { readArguments } from "../../lib/arguments.ts";
import { failAs, Failure } from "../../lib/failure.ts";
import { print, visible } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { sendAll, survive } from "../../lib/tcp.ts";
import { encode } from "../../lib/text.ts";

async function main(stop: AbortSignal) {
  const { host, port, encoding, words: [name] } = await readArguments(import.meta, {
    port: 11500,
    words: "NAME",
  });
  if (name === "") throw new Failure("the name", "TCP cannot send an empty one", "EINVAL", { exitCode: 2 });
  const request = encode(name, encoding);
  const copy = `copy-${basename(name)}`;
  const part = `${copy}.${process.pid}.part`; // only a whole file gets the name

  await using socket = survive(connect({ host, port }), stop);
  await once(socket, "connect");
  await sendAll(socket, request);

  let received = 0;
  let file: FileHandle | undefined;
  try {
    for await (const chunk of socket) { // recv, until the server hangs up
      file ??= await open(part, "wx");
      await file.appendFile(chunk).catch(failAs(copy));
      received += chunk.length;
    }
    if (!file) throw new Failure(name, "nothing came: there is no such file, or it is empty", "ENODATA");
    await rename(part, copy);
  } finally {
    await file?.close();
    if (file) await rm(part, { force: true });
  }
  await print(`saved ${received} bytes as ${visible(copy)}`);
}

if (import.meta.main) run("client", main);
