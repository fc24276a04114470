#!/usr/bin/env bun
/**
 * 4.2 Serve files that one can rely on: the size in advance, an error in words, a hash at the end.
 * 中文 可靠的文件服务器：先告知大小，出错有话说，最后附上校验值。
 *
 * terminal 1
 *   $ bun scripts/apps/download-server.ts --root .
 *   listening on 127.0.0.1:11501
 *   127.0.0.1:50001 gets LICENSE
 *   127.0.0.1:50001 has LICENSE, 928 bytes
 *   error: ../secret: not inside the served folder (EACCES)
 *   ^C
 * terminal 2
 *   $ bun scripts/apps/download-client.ts LICENSE ../secret --out copies
 *   saved 928 bytes as copies/LICENSE
 *   error: ../secret: not inside the served folder (EACCES)
 *   [exit 1]
 *
 * Python     struct.pack("!IB", length, kind)    ->  header.writeUInt32BE(length), header.writeUInt8(kind)
 *            hashlib.sha256()                    ->  createHash("sha256")
 * Watch out  A stream has no messages: download/protocol.ts cuts it into frames, and shows their bytes.
 *            Callers are served side by side; one that is silent for a minute is hung up on.
 * Try        --list. Ctrl-C the client in the middle of a large file, and run it again.
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { readArguments } from "../../lib/arguments.ts";
import {
  expectMessage,
  type Frame,
  frames,
  hashStart,
  LONGEST,
  type Message,
  sendMessage,
  sendPiece,
  VERSION,
  whole,
} from "./download/protocol.ts";
import { explain, Failure } from "../../lib/failure.ts";
import { folderOf } from "../../lib/files.ts";
import { listInside, openInside } from "./served-folder.ts";
import { print, ready, report, visible } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { hangUp, limitIdle, peerName, survive } from "../../lib/tcp.ts";

async function main(stop: AbortSignal) {
  const { host, port, root, idle } = await readArguments(import.meta, {
    port: 11501,
    flags: {
      root: { kind: "text", required: true, help: "the folder whose files are served" },
      idle: {
        kind: "number",
        default: 60,
        min: 1,
        max: 86_400,
        help: "hang up after so many silent seconds",
      },
    },
  });
  await folderOf(root); // or an error, now rather than at the first file

  await using server = createServer({ allowHalfOpen: true }, (socket) => {
    survive(socket, stop, "reset");
    serve(socket);
  });
  server.maxConnections = 1000;
  server.listen({ host, port, signal: stop });
  await once(server, "listening", { signal: stop });
  await ready(server.address());
  await once(server, "close");

  /** Serves one caller: request after request, until they hang up. */
  async function serve(socket: Socket) {
    const caller = peerName(socket);
    limitIdle(socket, idle * 1000);
    try {
      const incoming = frames(socket, caller);
      for (let next = await incoming.next(); !next.done; next = await incoming.next()) {
        await answer(socket, caller, next.value, incoming);
      }
    } catch (error) {
      if (!stop.aborted) await report(error, caller);
    } finally {
      hangUp(socket);
    }
  }

  /** Answers one request. What is wrong with a file is told to the caller; what is wrong with the line ends it. */
  async function answer(socket: Socket, caller: string, frame: Frame, incoming: AsyncGenerator<Frame>) {
    const request: Message = frame.kind === "message" ? frame.message : {};
    try {
      if (request.version !== VERSION) {
        throw new Failure(caller, `this server speaks version ${VERSION}`, "EPROTO");
      }
      if (typeof request.get === "string") await send(socket, caller, request.get, incoming);
      else if (typeof request.list === "string") await list(socket, request.list, request.recursive === true);
      else throw new Failure(caller, "asked for nothing that there is", "EPROTO");
    } catch (error) {
      const failure = explain(error);
      if (!failure || socket.destroyed) throw error;
      await sendMessage(socket, { error: failure.why, code: failure.code });
      if (failure.code === "EPROTO") throw error;
      await report(failure);
    }
  }

  async function list(socket: Socket, path: string, recursive: boolean) {
    for await (const entry of listInside(root, path, recursive)) await sendMessage(socket, { entry });
    await sendMessage(socket, { end: true });
  }

  async function send(socket: Socket, caller: string, path: string, incoming: AsyncGenerator<Frame>) {
    await using file = await openInside(root, path);
    const { size, mtimeMs } = await file.stat();
    await sendMessage(socket, { file: { size, time: Math.trunc(mtimeMs) } });
    const wish = await expectMessage(incoming, "from", caller);
    const start = Math.min(whole(wish.from, caller), size);
    let hash = await hashStart(file, start, socket);
    const isOurs = start === 0 || hash.copy().digest("hex") === wish.sha256;
    const from = isOurs ? start : 0;
    if (!isOurs) hash = createHash("sha256");
    await print(`${caller} gets ${visible(path)}${from > 0 ? ` from byte ${from}` : ""}`);
    await sendMessage(socket, { from });

    const [one, other] = [Buffer.alloc(LONGEST), Buffer.alloc(LONGEST)];
    const read = async (buffer: Buffer, at: number) => {
      const { bytesRead } = await file.read(buffer, 0, Math.min(LONGEST, size - at), at);
      return buffer.subarray(0, bytesRead);
    };
    let [piece, spare] = [await read(one, from), other];
    for (let at = from + piece.length; piece.length > 0; at += piece.length) {
      // While a piece is on its way, it is hashed, and the next one is read.
      const [next] = await Promise.all([read(spare, at), sendPiece(socket, piece), hash.update(piece)]);
      spare = spare === one ? other : one;
      piece = next;
    }
    const now = await file.stat();
    if (now.size !== size || now.mtimeMs !== mtimeMs) {
      throw new Failure(path, "changed while it was sent", "ESTALE");
    }
    await sendMessage(socket, { sha256: hash.digest("hex") });
    await print(`${caller} has ${visible(path)}, ${size} bytes`);
  }
}

if (import.meta.main) run("server", main);
