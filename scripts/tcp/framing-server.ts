#!/usr/bin/env bun
/**
 * 3.6 Find the messages in a stream: TCP delivers bytes in order, but no messages;
 * one write may arrive in several reads, and several writes may arrive in one.
 * 中文 在字节流里找消息：TCP 没有消息，写一次可能分几次读到，写几次也可能一次读到。
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
 * Python     data = connection.recv(65536)   ->  for await (const bytes of reads)
 *            connection.makefile("rb")       ->  new Unframer(framing, peer)
 *            for line in file: ...           ->  unframer.messages(bytes)
 *            struct.unpack("!I", header)     ->  the same call, --framing length
 * Watch out  Above, two messages first arrive glued into one read, then torn into
 *            five, in the middle of characters. 3.3 avoids this only because its
 *            client waits for each reply before it sends again. A peer may also
 *            send a line without an end, or announce 4 GB: what exceeds the limit
 *            ends its connection at once, before memory is taken for it. 1,000
 *            clients that send half a message and then nothing shut out the next
 *            one: a server that is kept needs a limit for silence, too.
 * Try        Type lines into nc 127.0.0.1 7892 while it serves --framing line.
 * 注意       上面的两条消息，先是粘在一起一次读到，后来又被拆成五次，断在字符中
 *            间。3.3 没有出问题，只是因为它的客户端每次都等到回复才再发。对方还可
 *            能一直不发换行，或者声称有 4 GB：超过上限的，马上断开，不会先为它占用
 *            内存。1,000 个客户端各发半条消息就不再出声，下一个就进不来：要长期运
 *            行的服务器，还得限制沉默的时间。
 * 试试       它用 --framing line 服务时，在 nc 127.0.0.1 7892 里键入几行。
 */
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { readArguments } from "../../lib/arguments.ts";
import { Failure } from "../../lib/failure.ts";
import { FRAMINGS, Unframer } from "../../lib/framing.ts";
import { print, ready, report, run, visible } from "../../lib/program.ts";
import { closeOnStop, linger, peerName } from "../../lib/tcp.ts";
import { Decoder } from "../../lib/text.ts";

async function main(stop: AbortSignal) {
  const { host, port, encoding, framing } = await readArguments(import.meta, {
    port: 7892,
    flags: {
      framing: {
        kind: "choice",
        choices: FRAMINGS,
        default: "length",
        help: "the same at both ends | 两端要相同",
      },
    },
  });

  // allowHalfOpen: when the client closes its half, we close ours ourselves, after its last message.
  await using server = createServer({ allowHalfOpen: true }, (socket) => {
    closeOnStop(socket, stop);
    receive(socket); // no await: the next connection does not wait for this one
  });
  server.maxConnections = 1000; // each may keep the beginning of one message in memory
  server.listen({ host, port, signal: stop }); // from here on the system accepts connections for us
  await once(server, "listening", { signal: stop });
  await ready(server.address());
  await once(server, "close");

  /** Shows the messages of one connection, until it ends. */
  async function receive(socket: Socket) {
    const peer = peerName(socket);
    const unframer = new Unframer(framing, peer);
    const decoder = new Decoder(encoding);
    const reads = socket.iterator({ destroyOnReturn: false }); // leaving the loop leaves the closing to us
    try {
      await print(`${peer} connected`);
      for await (const bytes of reads) { // whatever has arrived: the network may have cut it anywhere
        for (const message of unframer.messages(bytes)) {
          const text = decoder.decode(message, peer, { stream: framing === "none" });
          await print(`${peer} > ${message.length} bytes${text && `: ${visible(text)}`}`);
        }
      }
      const rest = decoder.end(peer); // half a character that nothing has completed
      if (rest) await print(`${peer} > ${rest}`);
      if (unframer.pending) throw new Failure(peer, "closed the connection inside a message", "EPROTO");
      await print(`${peer} hung up`);
    } catch (error) {
      socket.resetAndDestroy(); // RST, not FIN: the client learns that something went wrong
      await report(error, peer);
    } finally {
      socket.end(); // FIN: we send nothing more, either
      linger(socket); // waits until the client has closed, too
    }
  }
}

if (import.meta.main) run("server", main);
