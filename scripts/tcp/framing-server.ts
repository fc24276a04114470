#!/usr/bin/env bun
/**
 * 3.6 Find the messages in a stream: TCP delivers bytes in order, not messages; what was sent in one go may
 * arrive in several reads, and what was sent in several may arrive in one.
 * 中文 在字节流里找消息：TCP 只保证字节按顺序到达，不认得消息；一次发的可能分几次读到，几次发的也可能一次读到。
 *
 * terminal 1
 *   $ bun scripts/tcp/framing-server.ts --framing none
 *   listening on 127.0.0.1:7892
 *   127.0.0.1:50001 connected
 *   127.0.0.1:50001 > 12 bytes: 你好再见
 *   127.0.0.1:50001 hung up
 *   127.0.0.1:50002 connected
 *   127.0.0.1:50002 > 3 bytes: 你
 *   127.0.0.1:50002 > 1 bytes
 *   127.0.0.1:50002 > 4 bytes: 好
 *   127.0.0.1:50002 > 2 bytes: 再
 *   127.0.0.1:50002 > 2 bytes: 见
 *   127.0.0.1:50002 hung up
 * terminal 2
 *   $ bun scripts/tcp/framing-client.ts --framing none 你好 再见
 *   sent 12 bytes
 *   $ bun scripts/tcp/framing-client.ts --framing none --pieces --pause 100 你好 再见
 *   sent 12 bytes in pieces of 3, 1, 4, 2, 2
 * terminal 1
 *   ^C
 * terminal 1
 *   $ bun scripts/tcp/framing-server.ts --framing line
 *   listening on 127.0.0.1:7892
 *   127.0.0.1:50003 connected
 *   127.0.0.1:50003 > 6 bytes: 你好
 *   127.0.0.1:50003 > 6 bytes: 再见
 *   127.0.0.1:50003 hung up
 *   ^C
 * terminal 2
 *   $ bun scripts/tcp/framing-client.ts --framing line --pieces 你好 再见
 *   sent 14 bytes in pieces of 3, 1, 5, 2, 3
 *
 * Python     data = connection.recv(65536)       ->  for await (const bytes of socket)
 *            connection.makefile("rb")           ->  new Unframer("line", caller), in lib/framing.ts
 *            struct.unpack("!I", header)         ->  new Unframer("length", caller)
 * Watch out  Two messages above came glued into one read, then torn into five, in the middle of characters.
 *            Lesson 3.3 is spared that only because its client waits for each reply. And a peer may send
 *            a line without an end, or promise 4 GB: what exceeds the limit ends its connection at once,
 *            before memory is taken for it.
 * Try        Type lines to it with nc 127.0.0.1 7892 while it serves --framing line.
 */
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { readArguments } from "../../lib/arguments.ts";
import { Failure } from "../../lib/failure.ts";
import { FRAMINGS, Unframer } from "../../lib/framing.ts";
import { print, ready, report, visible } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { hangUp, peerName, survive } from "../../lib/tcp.ts";
import { Decoder } from "../../lib/text.ts";

async function main(stop: AbortSignal) {
  const { host, port, encoding, framing } = await readArguments(import.meta, {
    port: 7892,
    flags: {
      framing: { kind: "choice", choices: FRAMINGS, default: "length", help: "the same at both ends" },
    },
  });

  await using server = createServer({ allowHalfOpen: true }, (socket) => {
    survive(socket, stop);
    serve(socket); // not awaited: callers do not wait for each other
  });
  server.maxConnections = 1000; // each may keep the beginning of one message in memory
  server.listen({ host, port, signal: stop });
  await once(server, "listening", { signal: stop });
  await ready(server.address());
  await once(server, "close");

  async function serve(socket: Socket) {
    const caller = peerName(socket);
    const unframer = new Unframer(framing, caller);
    const decoder = new Decoder(encoding);
    try {
      await print(`${caller} connected`);
      for await (const bytes of socket.iterator({ destroyOnReturn: false })) { // recv: cut anywhere
        for (const message of unframer.messages(bytes)) {
          const text = decoder.decode(message, caller, { stream: framing === "none" });
          await print(`${caller} > ${message.length} bytes${text && `: ${visible(text)}`}`);
        }
      }
      if (decoder.pending) await print(`${caller} > ${decoder.decode(Buffer.alloc(0), caller)}`);
      if (unframer.pending) throw new Failure(caller, "hung up inside a message", "EPROTO");
      await print(`${caller} hung up`);
    } catch (error) {
      socket.resetAndDestroy(); // not a goodbye: the caller learns that something went wrong
      await report(error, caller);
    } finally {
      hangUp(socket);
    }
  }
}

if (import.meta.main) run("server", main);
