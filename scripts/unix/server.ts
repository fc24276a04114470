#!/usr/bin/env bun
/**
 * 3.10 Calls inside one machine: an AF_UNIX socket has a path instead of an address and a port.
 * 中文 本机通话：AF_UNIX 套接字没有地址和端口，只有一个路径。
 *
 * terminal 1
 *   $ bun scripts/unix/server.ts
 *   listening on lesson.sock
 *   caller 1 connected
 *   caller 1 > 你好
 *   caller 1 hung up
 *   ^C
 * terminal 2
 *   $ stat -c %A lesson.sock
 *   srw-------
 *   $ bun scripts/unix/client.ts 你好
 *   ok, Processing Request Completion！
 *
 * Python     s = socket(AF_UNIX, SOCK_STREAM)    ->  createServer()
 *            s.bind(path); s.listen()            ->  server.listen({ path })
 *            os.umask(0o177)                     ->  process.umask(0o177)
 * Watch out  A caller has no address. Who may call is written on the file, as who may read is on others;
 *            an abstract name, --path @lesson, has no file, and everybody on this machine may call it.
 *            On Windows such a path is a named pipe: --path \\.\pipe\lesson
 * Try        Start it twice. Then kill -9 the server: its file stays, and the next server replaces it.
 *            Call with nc -U lesson.sock
 */
import { once } from "node:events";
import { lstat, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { dirname } from "node:path";
import process from "node:process";
import { readArguments } from "../../lib/arguments.ts";
import { Failure } from "../../lib/failure.ts";
import { print, ready, report, visible } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { hangUp, queueOf, sendAll, survive } from "../../lib/tcp.ts";
import { encode, ENCODINGS, texts } from "../../lib/text.ts";
import { socketPath } from "./socket-path.ts";

async function main(stop: AbortSignal) {
  const { path: name, encoding, reply } = await readArguments(import.meta, {
    flags: {
      path: { kind: "text", default: "lesson.sock", help: "the socket's file; @NAME: an abstract name" },
      encoding: { kind: "choice", choices: ENCODINGS, default: "utf-8", help: "the same at both ends" },
      reply: { kind: "text", default: "ok, Processing Request Completion！", help: "the answer" },
    },
  });
  const answer = encode(reply, encoding);
  const path = socketPath(name);
  if (path === name) await makeRoom(path);

  await using server = createServer({ allowHalfOpen: true }, (socket) => survive(socket, stop));
  server.maxConnections = 1000;
  const callers = queueOf(server, stop);
  const umask = process.umask(0o177); // nobody else may call, from the first moment on
  server.listen({ path, signal: stop }); // bind makes the file, close removes it
  await once(server, "listening", { signal: stop });
  process.umask(umask);
  await ready(name);

  let number = 0;
  for await (const [socket] of callers) { // accept
    const caller = `caller ${++number}`;
    await print(`${caller} connected`);
    try {
      for await (const request of texts(socket, encoding, caller)) { // recv, until nothing comes
        await print(`${caller} > ${visible(request)}`);
        await sendAll(socket, answer);
      }
      await print(`${caller} hung up`);
    } catch (error) {
      await report(error, caller);
    } finally {
      hangUp(socket);
    }
  }
}

/** Removes the socket file that a dead server has left. Whether it is dead shows when one calls. */
async function makeRoom(path: string): Promise<void> {
  const folder = dirname(path);
  if (!await lstat(folder).catch(() => undefined)) throw new Failure(folder, "no such folder", "ENOENT");
  const file = await lstat(path).catch(() => undefined);
  if (!file) return;
  if (!file.isSocket()) throw new Failure(path, "is there already, and is not a socket", "EEXIST");
  const call = connect({ path });
  try {
    await once(call, "connect");
  } catch (error) {
    if ((error as { code?: string }).code !== "ECONNREFUSED") throw error;
    return await rm(path, { force: true });
  } finally {
    call.destroy();
  }
  throw new Failure(path, "a server lives there", "EADDRINUSE", { hint: "choose another place with --path" });
}

if (import.meta.main) run("server", main);
