#!/usr/bin/env bun
/**
 * 4.1 Fetch a file: send its name, write what arrives, until the server closes.
 * 中文 下载文件：发送文件名，把收到的内容写入文件，直到服务器关闭连接。
 *
 * terminal 1
 *   $ bun scripts/apps/download-basic-server.ts --root scripts
 *   listening on 127.0.0.1:11500
 *   127.0.0.1:50001 > apps/none.ts
 *   error: apps/none.ts: no such file (ENOENT)
 *   127.0.0.1:50002 > apps
 *   error: apps: is a folder (EISDIR)
 *   ^C
 * terminal 2
 *   $ bun scripts/apps/download-basic-client.ts apps/none.ts
 *   error: apps/none.ts: nothing came: no such file, or an empty one (ENODATA)
 *   [exit 1]
 *   $ bun scripts/apps/download-basic-client.ts apps
 *   error: apps: nothing came: no such file, or an empty one (ENODATA)
 *   [exit 1]
 *
 * Python     s.connect((host, port))        ->  connect({ host, port })
 *            s.sendall(name.encode())       ->  socket.write(request, done)
 *            s.recv(1024)                   ->  for await (const bytes of socket)
 *            open("copy-" + name, "wb")     ->  open(part, "wx", ...)
 *            f.write(data)                  ->  file.appendFile(bytes)
 * Watch out  The close is the only sign of the end. If the connection is closed
 *            in the middle, half a file looks like a whole one. Lesson 4.2 tells
 *            the size in advance and the SHA-256 at the end.
 * Try        Fetch a large file, and press Ctrl-C in the middle: no half file
 *            is left behind.
 * 注意       关闭连接是结束的唯一标志。如果中途断开，半个文件看起来和整个一样。
 *            4.2 会先说明大小，最后给出 SHA-256。
 * 试试       下载一个大文件，中途按 Ctrl-C：不会留下半个文件。
 */
import { once } from "node:events";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { connect } from "node:net";
import { basename } from "node:path";
import { readArguments } from "../../lib/arguments.ts";
import { failAs, Failure } from "../../lib/failure.ts";
import { print, run, visible } from "../../lib/program.ts";
import { endpoint, sent } from "../../lib/socket.ts";
import { closeOnStop } from "../../lib/tcp.ts";
import { encode } from "../../lib/text.ts";
import { keepRights, replaceable } from "./replace.ts";

async function main(stop: AbortSignal) {
  const { host, port, encoding, words: [name] } = await readArguments(import.meta, {
    port: 11500,
    words: "NAME",
  });
  if (name === "") throw new Failure("the name", "TCP cannot send an empty one", "EINVAL", { exitCode: 2 });
  const request = encode(name, encoding);
  const copy = `copy-${basename(name)}`;

  // The system chooses a port of its own, and opens a connection with the server's.
  await using socket = closeOnStop(connect({ host, port }), stop);
  await once(socket, "connect");
  // The bytes of the name are the whole request: nothing marks its end.
  await sent((done) => socket.write(request, done));

  const part = `incoming-${crypto.randomUUID().slice(0, 8)}.part`; // only a whole file gets the name
  let file: FileHandle | undefined;
  let received = 0;
  try {
    // Each read brings what has arrived meanwhile. When the server has closed, the loop ends.
    try {
      for await (const bytes of socket) {
        file ??= await openPart(part, copy);
        await file.appendFile(bytes).catch(failAs(copy));
        received += bytes.length;
      }
    } catch (error) {
      failAs(endpoint(host, port))(error); // a reset does not name the server itself
    }
    if (!file) throw new Failure(name, "nothing came: no such file, or an empty one", "ENODATA");
    await file.close();
    await rename(part, copy);
  } finally {
    await file?.close().catch(() => {}); // closed already
    if (file) await rm(part, { force: true });
  }
  await print(`saved ${received} bytes as ${visible(copy)}`);
}

/** A new file, which is as private as the copy that it will replace. */
async function openPart(part: string, copy: string): Promise<FileHandle> {
  const replaced = await replaceable(copy);
  const file = await open(part, "wx", replaced ? 0o600 : 0o666).catch(failAs(copy));
  if (replaced) await keepRights(file, replaced);
  return file;
}

if (import.meta.main) run("client", main);
