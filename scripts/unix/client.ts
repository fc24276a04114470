#!/usr/bin/env bun
/**
 * 3.10 Connect inside one machine: the same stream as over TCP, without a network.
 * 中文 在一台机器里连接：和 TCP 一样的字节流，只是不经过网络。
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
 * Python     s = socket(AF_UNIX, SOCK_STREAM)
 *            s.connect(path)             ->  connect({ path })
 *            s.sendall(data)             ->  socket.write(bytes, done)
 *            data = s.recv(1024)         ->  await reads.next()
 * Watch out  The rest is as in 3.1 and 3.3: a stream of bytes, and an empty read
 *            at the end. But nothing leaves this machine: there is no address, no
 *            port, and no packet that a sniffer could see.
 * Try        ss -xl | grep lesson shows the listening socket. Then use --path
 *            @lesson at both ends: where is the file?
 * 注意       其余和 3.1、3.3 一样：字节流，结束时读到空。但是什么都不离开这台机
 *            器：没有地址，没有端口，也没有抓得到的报文。
 * 试试       ss -xl | grep lesson 会列出监听的套接字。再让两端都用 --path
 *            @lesson：文件在哪里？
 */
import { once } from "node:events";
import { connect } from "node:net";
import { readArguments } from "../../lib/arguments.ts";
import { failAs, Failure } from "../../lib/failure.ts";
import { messages } from "../../lib/keyboard.ts";
import { hint, print, run, visible } from "../../lib/program.ts";
import { sent } from "../../lib/socket.ts";
import { closeOnStop } from "../../lib/tcp.ts";
import { Decoder, ENCODINGS, isExit } from "../../lib/text.ts";
import { socketPath } from "./socket-path.ts";

async function main(stop: AbortSignal) {
  const { path: name, encoding, words } = await readArguments(import.meta, {
    words: "[MESSAGE...]",
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
    },
  });
  const path = socketPath(name);
  const decoder = new Decoder(encoding);

  await using socket = closeOnStop(connect({ path }), stop); // the system looks for the file
  await once(socket, "connect"); // and its server has room in the queue
  const reads = socket.iterator({ destroyOnReturn: false });

  for await (const { text, bytes } of messages(words, encoding, stop)) {
    if (bytes.length === 0) {
      await hint("a stream cannot carry an empty message");
      continue;
    }
    await sent((done) => socket.write(bytes, done)).catch(failAs(name)); // copied to the server's socket
    let reply = "";
    while (reply === "") { // until the reply's last character is complete
      const { value: data, done } = await reads.next().catch(failAs(name)); // waits for bytes, or for the end
      if (done) throw new Failure(name, "closed the connection", "EPIPE");
      reply = decoder.read(data, name);
    }
    await print(visible(reply));
    if (isExit(text)) break;
  }
}

if (import.meta.main) run("client", main);
