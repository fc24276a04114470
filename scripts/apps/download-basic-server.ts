#!/usr/bin/env bun
/**
 * 4.1 Serve files: the client sends a name, the server sends the bytes and hangs up.
 * 中文 提供下载：客户端发来文件名，服务器发送文件内容，然后挂断。
 *
 * terminal 1
 *   $ bun scripts/apps/download-basic-server.ts --root .
 *   listening on 127.0.0.1:11500
 *   127.0.0.1:50001 > LICENSE
 *   sent 928 bytes to 127.0.0.1:50001
 *   127.0.0.1:50002 > ../secret
 *   error: ../secret: not inside the served folder (EACCES)
 *   ^C
 * terminal 2
 *   $ bun scripts/apps/download-basic-client.ts LICENSE
 *   saved 928 bytes as copy-LICENSE
 *   $ bun scripts/apps/download-basic-client.ts ../secret
 *   error: ../secret: nothing came: there is no such file, or it is empty (ENODATA)
 *   [exit 1]
 *
 * Python     with open(name, "rb") as f: ...     ->  await using file = await openInside(root, name)
 *            connection.sendall(f.read(1024))    ->  for await (const chunk of file.createReadStream())
 * Watch out  A name from the network is a stranger's wish: it may ask for ../../etc/passwd. And this
 *            protocol cannot say no: a missing file is silence. Lesson 4.2 has words for it.
 * Try        Ask with nc: printf LICENSE | nc 127.0.0.1 11500
 */
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { readArguments } from "../../lib/arguments.ts";
import { folderOf } from "../../lib/files.ts";
import { openInside } from "./served-folder.ts";
import { print, ready, report, visible } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { hangUp, limitIdle, peerName, sendAll, survive } from "../../lib/tcp.ts";
import { texts } from "../../lib/text.ts";

async function main(stop: AbortSignal) {
  const { host, port, encoding, root } = await readArguments(import.meta, {
    port: 11500,
    flags: { root: { kind: "text", required: true, help: "the folder whose files are served" } },
  });
  await folderOf(root); // or an error, now rather than at the first file

  await using server = createServer({ allowHalfOpen: true }, (socket) => {
    survive(socket, stop, "reset"); // stopped in the middle, half a file must not look whole
    serve(socket);
  });
  server.maxConnections = 1000;
  server.listen({ host, port, signal: stop });
  await once(server, "listening", { signal: stop });
  await ready(server.address());
  await once(server, "close");

  async function serve(socket: Socket) {
    const caller = peerName(socket);
    limitIdle(socket, 60_000);
    try {
      for await (const name of texts(socket, encoding, caller)) { // recv: the name
        await print(`${caller} > ${visible(name)}`);
        await using file = await openInside(root, name.replace(/\r?\n$/, ""));
        let sent = 0;
        for await (const chunk of file.createReadStream()) {
          await sendAll(socket, chunk);
          sent += chunk.length;
        }
        await print(`sent ${sent} bytes to ${caller}`);
        break;
      }
    } catch (error) {
      if (socket.bytesWritten > 0) socket.resetAndDestroy();
      if (!stop.aborted) await report(error, caller);
    } finally {
      hangUp(socket);
    }
  }
}

if (import.meta.main) run("server", main);
