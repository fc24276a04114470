#!/usr/bin/env bun
/**
 * 3.7 Give a picture to everybody at once: bytes travel in JSON as base64, and nobody waits for a slow caller.
 * 中文 同时给所有人发图片：图片的字节用 base64 放进 JSON，慢的人不耽误别人。
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
 * Python     base64.b64encode(data).decode()     ->  buffer.toString("base64")
 *            json.dumps({"filename": name, "filedata": text})
 *            ->  the same bytes, but written in pieces: {"filename": NAME, "filedata": "...
 *            Thread(target=send_picture, args=(connection,)).start()  ->  a function without await
 * Watch out  Base64 makes 4 characters of 3 bytes. One sendall of it all would keep the whole picture in
 *            memory for each caller who reads slowly; in pieces, each sent when the last one has been taken,
 *            it is one piece.
 * Try        nc 127.0.0.1 5566. Then call from a terminal and stop it with Ctrl-Z: the others do not notice.
 */
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { basename } from "node:path";
import { readArguments } from "../../lib/arguments.ts";
import { Failure } from "../../lib/failure.ts";
import { openFile } from "../../lib/files.ts";
import { print, ready, report } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { hangUp, limitIdle, peerName, sendAll, survive } from "../../lib/tcp.ts";

/** Bytes of the picture in one piece: a multiple of 3, so that base64 has no padding before the end. */
const PIECE = 3 * 8192;

async function main(stop: AbortSignal) {
  const { host, port, words: [path] } = await readArguments(import.meta, { port: 5566, words: "FILE" });
  await using file = await openFile(path);
  const name = ascii(JSON.stringify(basename(path)));

  await using server = createServer({ allowHalfOpen: true }, (socket) => {
    survive(socket, stop, "reset"); // stopped in the middle, half a picture must not look whole
    sendPicture(socket); // no await: the next caller is served at once
  });
  server.maxConnections = 1000;
  server.listen({ host, port, signal: stop });
  await once(server, "listening", { signal: stop });
  await ready(server.address());
  await once(server, "close");

  async function sendPicture(socket: Socket) {
    const caller = peerName(socket);
    limitIdle(socket, 60_000);
    try {
      const { size } = await file.stat();
      const piece = Buffer.alloc(PIECE);
      await sendAll(socket, Buffer.from(`{"filename": ${name}, "filedata": "`));
      for (let position = 0; position < size; position += PIECE) {
        const length = Math.min(PIECE, size - position);
        const { bytesRead } = await file.read({ buffer: piece, length, position });
        if (bytesRead < length) throw new Failure(path, "has become shorter", "EIO");
        await sendAll(socket, Buffer.from(piece.toString("base64", 0, length)));
      }
      await sendAll(socket, Buffer.from('"}'));
      await print(`sent ${size} bytes to ${caller}`);
    } catch (error) {
      socket.resetAndDestroy();
      if (!stop.aborted) await report(error, caller);
    } finally {
      hangUp(socket);
    }
  }
}

/** Writes a JSON text in ASCII, as `json.dumps` does: any encoding at the other end reads it. */
function ascii(json: string): string {
  return json.replace(/[\x7f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

if (import.meta.main) run("server", main);
