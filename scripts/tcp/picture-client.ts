#!/usr/bin/env bun
/**
 * 3.7 Fetch a picture: the bytes come from a stranger, so they are checked before
 * anything is saved.
 * 中文 接收图片：收到的字节来自陌生人，先检查，再保存。
 *
 * terminal 1
 *   $ bun scripts/tcp/picture-server.ts scripts/tcp/phone.svg
 *   listening on 127.0.0.1:5566
 *   sent 311 bytes to 127.0.0.1:50001
 *   sent 311 bytes to 127.0.0.1:50002
 *   ^C
 * terminal 2
 *   $ mkdir album
 *   $ bun scripts/tcp/picture-client.ts --out album
 *   saved 311 bytes as album/phone.svg
 *   $ bun scripts/tcp/picture-client.ts --out album
 *   error: phone.svg: exists already, and is not overwritten (EEXIST)
 *   [exit 1]
 *
 * Python     s.connect((host, port))     ->  connect({ host, port })
 *            while data := s.recv(1024)  ->  for await (const data of socket)
 *            json.loads(text)            ->  JSON.parse(json)
 *            base64.b64decode(text)      ->  Uint8Array.fromBase64(filedata, ...)
 * Watch out  Nothing says how long the answer is: it ends when the server closes,
 *            and may never end. So there is a limit: 64 MiB, or --limit. And a
 *            name such as ../.bashrc must not lead out of the folder.
 * Try        Be a hostile server: printf '{"filename": "../x", "filedata": ""}' |
 *            nc -lN 5566
 * 注意       没有任何东西说明回答有多长：服务器关闭才算结束，也可能永远不结束。
 *            所以要有上限：64 MiB，或由 --limit 指定。文件名如 ../.bashrc 也不
 *            能跑出这个文件夹。
 * 试试       扮演恶意的服务器：printf '{"filename": "../x", "filedata": ""}' |
 *            nc -lN 5566
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint } from "../../lib/socket.ts";
import { failAs, Failure } from "../../lib/failure.ts";
import { saveInside } from "../../lib/files.ts";
import { print, run, visible } from "../../lib/program.ts";
import { closeOnStop } from "../../lib/tcp.ts";
import { decode } from "../../lib/text.ts";

async function main(stop: AbortSignal) {
  const { host, port, encoding, out, limit } = await readArguments(import.meta, {
    port: 5566,
    flags: {
      out: { kind: "text", required: true, help: "the folder to save it in | 保存到哪个文件夹" },
      limit: {
        kind: "number",
        min: 1,
        max: 500,
        default: 64,
        help: "MiB, the longest answer | 回答最长多少 MiB",
      },
    },
  });
  const server = endpoint(host, port);

  await using socket = closeOnStop(connect({ host, port }), stop); // SYN: asks for a connection
  await once(socket, "connect"); // SYN-ACK: the server has one for us
  const answer = await receiveAll(socket, limit << 20, server).catch(failAs(server));

  const { filename, filedata } = parse(decode(answer, encoding, server), server);
  await using saving = await saveInside(out, filename);
  await saving.write(filedata);
  await saving.finish();
  await print(`saved ${filedata.length} bytes as ${visible(join(out, filename))}`);
}

/**
 * Receives until the server closes the connection.
 * @param limit in bytes
 * @throws Failure EFBIG above the limit; the error of the connection
 */
async function receiveAll(socket: Socket, limit: number, server: string): Promise<Buffer> {
  let answer = Buffer.alloc(0);
  let received = 0;
  for await (const data of socket) { // waits for the next bytes; ends with the server's FIN
    const length = received + data.length;
    if (length > limit) throw new Failure(server, `sends more than ${limit >> 20} MiB`, "EFBIG");
    if (length > answer.length) { // doubled: a list of single bytes would take hundreds of times their memory
      answer = Buffer.concat([answer.subarray(0, received)], Math.max(length, 2 * answer.length));
    }
    received += data.copy(answer, received);
  }
  return answer.subarray(0, received);
}

/** Takes the picture out of the JSON. @throws Failure EPROTO where there is none */
function parse(json: string, server: string): { filename: string; filedata: Uint8Array } {
  try {
    const { filename, filedata } = JSON.parse(json);
    if (typeof filename === "string" && typeof filedata === "string") {
      return { filename, filedata: Uint8Array.fromBase64(filedata, { lastChunkHandling: "strict" }) };
    }
  } catch {
    // told below: no JSON, null, or no base64
  }
  throw new Failure(server, "sent no picture, or only a part of one", "EPROTO");
}

if (import.meta.main) run("client", main);
