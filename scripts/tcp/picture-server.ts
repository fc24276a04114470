#!/usr/bin/env bun
/**
 * 3.7 Send a picture to everybody at once: JSON carries its bytes as base64, and
 * nobody waits for a slow client.
 * 中文 同时给所有人发图片：图片的字节用 base64 放进 JSON，慢的客户端不耽误别人。
 *
 * terminal 1
 *   $ bun scripts/tcp/picture-server.ts scripts/tcp/phone.svg
 *   listening on 127.0.0.1:5566
 *   sent 311 bytes to 127.0.0.1:50001
 *   ^C
 * terminal 2
 *   $ mkdir album
 *   $ bun scripts/tcp/picture-client.ts --out album
 *   saved 311 bytes as album/phone.svg
 *   $ cmp scripts/tcp/phone.svg album/phone.svg
 *
 * Python     base64.b64encode(data)      ->  piece.toString("base64", 0, length)
 *            connection.sendall(text)    ->  socket.write(text, "latin1", done)
 *            connection.close()          ->  socket.end()
 *            Thread(target=send_picture, args=(connection,)).start()
 *            ->  sendPicture(socket), without await
 * Watch out  Base64 makes 4 characters of 3 bytes. One sendall of it all would
 *            keep the whole picture in memory for each slow client. Here each
 *            client costs one piece: the next one is read when the system has
 *            taken the last. A client that reads nothing, or next to nothing, for
 *            a minute is disconnected. But 1,000 clients that each read a piece
 *            now and then still shut out the next one.
 * Try        nc 127.0.0.1 5566. Then connect from another terminal and stop that
 *            client with Ctrl-Z: the others do not notice.
 * 注意       base64 把 3 个字节变成 4 个字符。如果一次 sendall 全部内容，每个慢客
 *            户端都要在内存里占一整张图。这里每个客户端只占一小段：系统收下上一
 *            段，才读下一段。一分钟不读、或者几乎不读的客户端会被断开。但是
 *            1,000 个偶尔读一小段的客户端，还是会把下一个挡在门外。
 * 试试       nc 127.0.0.1 5566。再从另一个终端连接，用 Ctrl-Z 停住那个客户端：
 *            别人毫无察觉。
 */
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { basename } from "node:path";
import { readArguments } from "../../lib/arguments.ts";
import { Failure } from "../../lib/failure.ts";
import { openFile } from "../../lib/files.ts";
import { closeOnStop, limitIdle, linger, peerName } from "../../lib/tcp.ts";
import { print, ready, report, run } from "../../lib/program.ts";
import { sent } from "../../lib/socket.ts";

/** Bytes of the picture in one piece: a multiple of 3, so that base64 has no padding before the end. */
const PIECE = 3 * 8192;

/** How long a client may take no byte, in milliseconds. */
const PATIENCE = 60_000;

async function main(stop: AbortSignal) {
  const { host, port, words: [path] } = await readArguments(import.meta, { port: 5566, words: "FILE" });
  await using file = await openFile(path);
  const name = ascii(JSON.stringify(basename(path)));

  // allowHalfOpen: a client that closes its sending half still gets the whole picture.
  await using server = createServer({ allowHalfOpen: true }, (socket) => {
    closeOnStop(socket, stop, "reset"); // stopped in the middle: half a picture must not look whole
    sendPicture(socket); // no await: the next connection is served at once
  });
  server.maxConnections = 1000; // each costs an open file and one piece
  server.listen({ host, port, signal: stop }); // from here on the system accepts connections for us
  await once(server, "listening", { signal: stop });
  await ready(server.address());
  await once(server, "close");

  async function sendPicture(socket: Socket) {
    const peer = peerName(socket);
    // Resolves when the system has taken the text: later, the slower the client reads.
    const send = (text: string) => sent((done) => socket.write(text, "latin1", done));
    limitIdle(socket, PATIENCE);
    try {
      const { size, mtimeMs } = await file.stat();
      const piece = Buffer.alloc(PIECE);
      await send(`{"filename": ${name}, "filedata": "`);
      for (let position = 0; position < size; position += PIECE) {
        const length = Math.min(PIECE, size - position);
        const { bytesRead } = await file.read({ buffer: piece, length, position });
        if (bytesRead < length) throw new Failure(path, "has become shorter", "EIO");
        await send(piece.toString("base64", 0, length));
      }
      if ((await file.stat()).mtimeMs !== mtimeMs) throw new Failure(path, "has changed meanwhile", "EIO");
      await send('"}');
      await print(`sent ${size} bytes to ${peer}`);
      socket.end(); // FIN: the client reads the end
    } catch (error) {
      socket.resetAndDestroy(); // RST: the client learns that something is missing
      if (!stop.aborted) await report(socket.errored ?? error, peer); // why it was closed, not that it is
    } finally {
      linger(socket); // waits until the client has closed, too
    }
  }
}

/** Turns JSON into ASCII, as `json.dumps` does: the client can read it in any encoding. */
function ascii(json: string): string {
  return json.replace(/[\x7f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

if (import.meta.main) run("server", main);
