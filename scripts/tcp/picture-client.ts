#!/usr/bin/env bun
/**
 * 3.7 Fetch a picture: what comes is a stranger's word, and is checked before anything is saved.
 * 中文 接收图片：收到的只是对方的一面之词，先检查，再保存。
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
 * Python     while data := s.recv(1024): json_text += data      ->  for await (const data of socket)
 *            json.loads(json_text)                              ->  JSON.parse(text)
 *            base64.b64decode(picture["filedata"])              ->  Uint8Array.fromBase64(filedata)
 * Watch out  Nobody says how long the answer is: it ends with the hang-up, and may never end. So there is a
 *            limit, 64 MiB or as --limit says. And a name such as ../.bashrc must not lead out of the folder.
 * Try        Send something else: printf '{"filename": "../x", "filedata": ""}' | nc -lN 5566
 */
import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint } from "../../lib/endpoint.ts";
import { Failure } from "../../lib/failure.ts";
import { saveInside } from "../../lib/files.ts";
import { print, visible } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { survive } from "../../lib/tcp.ts";
import { decode } from "../../lib/text.ts";

async function main(stop: AbortSignal) {
  const { host, port, encoding, out, limit } = await readArguments(import.meta, {
    port: 5566,
    flags: {
      out: { kind: "text", required: true, help: "the folder in which it is saved" },
      limit: { kind: "number", min: 1, max: 500, default: 64, help: "MiB, the longest answer that is taken" },
    },
  });
  const server = endpoint(host, port);

  await using socket = survive(connect({ host, port }), stop);
  await once(socket, "connect");
  let answer = Buffer.alloc(0);
  let received = 0;
  for await (const piece of socket) { // recv, until the server hangs up
    const length = received + piece.length;
    if (length > limit << 20) throw new Failure(server, `sends more than ${limit} MiB`, "EFBIG");
    if (length > answer.length) { // a list of single bytes would take hundreds of times their memory
      answer = Buffer.concat([answer.subarray(0, received)], Math.max(length, 2 * answer.length));
    }
    received += piece.copy(answer, received);
  }

  const { filename, filedata } = parse(decode(answer.subarray(0, received), encoding, server), server);
  await using saving = await saveInside(out, filename);
  await saving.write(filedata);
  await saving.finish();
  await print(`saved ${filedata.length} bytes as ${visible(join(out, filename))}`);
}

/** Reads the picture out of the JSON. @throws Failure EPROTO */
function parse(json: string, server: string): { filename: string; filedata: Uint8Array } {
  try {
    const { filename, filedata } = JSON.parse(json);
    if (typeof filename === "string" && typeof filedata === "string") {
      return { filename, filedata: Uint8Array.fromBase64(filedata, { lastChunkHandling: "strict" }) };
    }
  } catch {
    // told below: no JSON, null, or no base64
  }
  throw new Failure(server, "sent no picture, or only a part of it", "EPROTO");
}

if (import.meta.main) run("client", main);
