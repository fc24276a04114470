#!/usr/bin/env bun
/**
 * 3.10 Serve inside one machine: an AF_UNIX socket has a path instead of an
 * address and a port.
 * 中文 在一台机器里服务：AF_UNIX 套接字没有地址和端口，只有一个路径。
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
 * Python     s = socket(AF_UNIX, SOCK_STREAM)    ->  createServer(...)
 *            os.umask(0o177)                     ->  process.umask(0o177)
 *            s.bind(path); s.listen()            ->  server.listen({ path, ... })
 *            connection, _ = s.accept()
 *            ->  for await (const [socket] of accepted)
 *            data = connection.recv(1024)
 *            ->  for await (const data of reads)
 *            connection.sendall(reply)           ->  socket.write(bytes, done)
 * Watch out  A client has no address. The permissions of the file decide who may
 *            connect: the owner only. An abstract name, --path @lesson, has no
 *            file: everybody on this machine may connect. The server serves one
 *            client after another, as in 3.3: a silent one makes all the others
 *            wait. On Windows the path is a named pipe: --path \\.\pipe\lesson
 * Try        Start it twice. Then kill -9 the server: its file stays, and the next
 *            server replaces it. Connect with nc -U lesson.sock
 * 注意       客户端没有地址。谁能连接，由文件的权限决定：只有所有者。抽象名字
 *            --path @lesson 没有文件：这台机器上谁都能连。它和 3.3 一样一个一个地
 *            服务：一个沉默的客户端，让别人都等着。在 Windows 上，路径是命名管道：
 *            --path \\.\pipe\lesson
 * 试试       启动两次看看。再用 kill -9 杀掉服务器：文件还在，下一个服务器会换
 *            掉它。用 nc -U lesson.sock 连接。
 */
import { once } from "node:events";
import { lstat, rm } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import process from "node:process";
import { readArguments } from "../../lib/arguments.ts";
import { failAs, Failure } from "../../lib/failure.ts";
import { print, ready, report, run, visible } from "../../lib/program.ts";
import { sent } from "../../lib/socket.ts";
import { linger } from "../../lib/tcp.ts";
import { Decoder, encode, ENCODINGS } from "../../lib/text.ts";
import { socketPath } from "./socket-path.ts";
import { accept } from "../tcp/accept.ts";

async function main(stop: AbortSignal) {
  const { path: name, encoding, reply } = await readArguments(import.meta, {
    flags: {
      path: {
        kind: "text",
        default: "lesson.sock",
        help: "the socket's file; @NAME: an abstract name | 套接字文件；@NAME 是抽象名字",
      },
      encoding: {
        kind: "choice",
        choices: ENCODINGS,
        default: "utf-8",
        help: "the same at both ends | 两端要相同",
      },
      reply: {
        kind: "text",
        default: "ok, Processing Request Completion！",
        help: "the answer | 回复的内容",
      },
    },
  });
  const bytes = encode(reply, encoding);
  const path = socketPath(name);
  if (path === name) await removeStale(path);

  // allowHalfOpen: when a client closes its half, we close ours ourselves, after the last answer.
  await using server: Server = createServer({ allowHalfOpen: true });
  const accepted = accept(server, stop);
  const umask = process.umask(0o177); // the file is made without rights for others: srw-------
  server.listen({ path, signal: stop }); // bind makes the file; closing the server removes it
  await once(server, "listening", { signal: stop });
  process.umask(umask);
  await ready(name);

  let number = 0;
  for await (const [socket] of accepted) { // one connection after another, as in 3.3
    const caller = `caller ${++number}`; // there is no address to show
    await print(`${caller} connected`);
    await serve(socket, caller);
  }

  /** Answers each request of one connection, until its client closes it. */
  async function serve(socket: Socket, caller: string) {
    const decoder = new Decoder(encoding);
    const answer = async (request: string) => {
      if (request === "") return; // of the first character, only a part has come
      await print(`${caller} > ${visible(request)}`);
      await sent((done) => socket.write(bytes, done)); // copied to the client's socket
    };
    const reads = socket.iterator({ destroyOnReturn: false }); // at the end of the loop our half is still open
    try {
      for await (const data of reads) { // waits for bytes; ends when the client has closed
        await answer(decoder.read(data, caller));
      }
      await answer(decoder.end(caller)); // of a character that was never completed
      await print(`${caller} hung up`);
    } catch (error) {
      await report(error, caller);
    } finally {
      socket.end(); // the client reads the end
      linger(socket);
    }
  }
}

/**
 * Removes the socket file that a killed server has left. Only a connection shows whether the server still runs.
 * @throws Failure EADDRINUSE if it does; EEXIST for any other file, ENOENT for a missing folder
 */
async function removeStale(path: string): Promise<void> {
  const folder = dirname(path);
  if (!await lstat(folder).catch(unlessMissing)) throw new Failure(folder, "no such folder", "ENOENT");
  const file = await lstat(path).catch(unlessMissing);
  if (!file) return;
  if (!file.isSocket()) throw new Failure(path, "exists already, and is not a socket", "EEXIST");
  const socket = connect({ path });
  try {
    await once(socket, "connect");
  } catch (error) {
    if ((error as { code?: string }).code !== "ECONNREFUSED") throw error;
    return await rm(path, { force: true });
  } finally {
    socket.destroy();
  }
  throw new Failure(path, "another server listens there", "EADDRINUSE", {
    hint: "choose another place with --path",
  });
}

/** Nothing is there; or there may be something that we may not see. */
function unlessMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") failAs(`${error.path}`)(error);
}

if (import.meta.main) run("server", main);
