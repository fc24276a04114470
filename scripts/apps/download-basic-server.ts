#!/usr/bin/env bun
/**
 * 4.1 Serve files: the client sends a name, the server sends the file and closes.
 * 中文 提供下载：客户端发来文件名，服务器发送文件内容，然后关闭连接。
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
 *   error: ../secret: nothing came: no such file, or an empty one (ENODATA)
 *   [exit 1]
 *
 * Python     s.bind((host, port)); s.listen()  ->  server.listen({ host, port })
 *            connection, peer = s.accept()     ->  createServer((socket) => ...)
 *            name = connection.recv(1024)      ->  for await (const bytes of
 *                                                    socket.iterator(...))
 *            open(name, "rb")                  ->  folder.open(name)
 *            f.read(1024)                      ->  file.read(buffer)
 *            connection.sendall(data)          ->  socket.write(piece, done)
 *            connection.close()                ->  socket.end()
 * Watch out  A name from the network may be any text: ../../etc/passwd, say. And
 *            this protocol has no word for "no": a missing file is silence. In
 *            lesson 4.2 the server answers with an error.
 * Try        Ask with nc: printf LICENSE | nc 127.0.0.1 11500
 * 注意       网络来的名字可以是任何文字，比如 ../../etc/passwd。这个协议又没有
 *            说“没有”的办法：文件不存在就是沉默。4.2 的服务器会用错误来回答。
 * 试试       用 nc 请求：printf LICENSE | nc 127.0.0.1 11500
 */
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { readArguments } from "../../lib/arguments.ts";
import { closeOnStop, limitIdle, linger, peerName } from "../../lib/tcp.ts";
import { print, ready, report, run, visible } from "../../lib/program.ts";
import { sent } from "../../lib/socket.ts";
import { Decoder } from "../../lib/text.ts";
import { Callers } from "./download/callers.ts";
import { ServedFolder } from "./served-folder.ts";

/** How long a caller may be silent; and how long one may take for what was sent at once (see 4.2). In milliseconds. */
const [PATIENCE, LONGEST_WRITE] = [60_000, 1_800_000];
/** How many bytes of a file are read at once: for a caller alone, and where there are many, who share the memory. */
const [MOST, LEAST] = [262_144, 65_536];

async function main(stop: AbortSignal) {
  const { host, port, encoding, root } = await readArguments(import.meta, {
    port: 11500,
    flags: {
      root: { kind: "text", required: true, help: "the folder whose files are served | 对外提供的文件夹" },
    },
  });
  const folder = await ServedFolder.at(root);
  const callers = new Callers(); // a flood of callers must not use up memory and open files

  // Each connection that the system has accepted comes here as a socket of its own. allowHalfOpen: a caller who has
  // finished sending (nc, at the end of its input) still gets the answer.
  await using server = createServer({ allowHalfOpen: true }, (socket) => {
    closeOnStop(socket, stop, "reset"); // if the server is stopped, half a file must not look like a whole one
    if (callers.admit(socket)) serve(socket); // not awaited: callers are served side by side
  });
  // From here on the system accepts connections to this port. `signal` closes the server on Ctrl-C.
  server.listen({ host, port, backlog: callers.most, signal: stop });
  await once(server, "listening", { signal: stop });
  await ready(server.address());
  await once(server, "close");

  async function serve(socket: Socket) {
    const caller = peerName(socket);
    let sentAt = -Infinity;
    limitIdle(socket, PATIENCE, () => performance.now() - sentAt < LONGEST_WRITE);
    try {
      const name = await receiveName(socket, caller);
      if (name === "") return; // the caller has closed without a word
      await print(`${caller} > ${visible(name)}`);
      await using file = await folder.open(name.replace(/\r?\n$/, ""));
      let count = 0;
      const buffer = Buffer.allocUnsafe(Math.max(LEAST, Math.trunc(MOST / callers.count)));
      while (true) {
        const { bytesRead } = await file.read(buffer); // goes on where the last one ended
        if (bytesRead === 0) break; // the end of the file
        const piece = buffer.subarray(0, bytesRead);
        sentAt = performance.now();
        // Waits while the buffers are full: a caller who reads slowly costs time, but no memory.
        await sent((done) => socket.write(piece, done));
        callers.moved(socket);
        count += bytesRead;
      }
      await print(`sent ${count} bytes to ${caller}`);
    } catch (error) {
      // The close says that the file is whole. A reset (RST) says that it is not.
      if (socket.bytesWritten > 0) socket.resetAndDestroy();
      if (!stop.aborted) await report(socket.errored ?? error, caller);
    } finally {
      socket.end(); // close: after the last byte, the caller reads the end
      linger(socket);
    }
  }

  /** What the first read brings; more only if it ends inside a character. */
  async function receiveName(socket: Socket, caller: string): Promise<string> {
    const decoder = new Decoder(encoding);
    for await (const bytes of socket.iterator({ destroyOnReturn: false })) {
      const name = decoder.read(bytes, caller);
      if (name !== "") return name;
    }
    return decoder.end(caller);
  }
}

if (import.meta.main) run("server", main);
