#!/usr/bin/env bun
/**
 * 3.7 bare  Fetch a picture:  bun picture-client.ts [PORT]
 * The lesson ../picture-client.ts adds flags, GBK and a limit.
 * On the wire: make wire L=3.7
 *
 * terminal 1
 *   $ bun scripts/tcp/bare/picture-server.ts 5566 scripts/tcp/phone.svg
 *   listening on 127.0.0.1:5566
 *   sent 311 bytes to 127.0.0.1:50001
 *   ^C
 * terminal 2
 *   $ bun scripts/tcp/bare/picture-client.ts
 *   saved 311 bytes as album/phone.svg
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { basename, join } from "node:path";
import process from "node:process";

const HOST = "127.0.0.1";
const PORT = Number(process.argv[2] ?? 5566);
const FOLDER = "album";
const visible = (text: string) => text.replace(/\p{Cc}/gu, encodeURIComponent); // no peer drives the terminal

try {
  const socket = connect(PORT, HOST); //                    s.connect((HOST, PORT))
  socket.setEncoding("utf8");
  let json = "";
  for await (const text of socket) json += text; //         while text := s.recv(1024).decode(): json += text
  const { filename, filedata } = JSON.parse(json); //       json.loads(json)
  const picture = Uint8Array.fromBase64(filedata); //       base64.b64decode(filedata)
  const file = join(FOLDER, basename(visible(filename))); // whatever name was sent, it stays in the folder
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(file, picture, { flag: "wx" }); //          open(file, "xb").write(picture)
  console.log(`saved ${picture.length} bytes as ${file}`);
} catch (error) {
  const { message, code } = error as NodeJS.ErrnoException;
  console.error(`error: ${visible(message || `${code}`)}`);
  process.exitCode = 1;
}
