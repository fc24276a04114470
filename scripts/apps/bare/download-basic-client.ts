#!/usr/bin/env bun
/**
 * 4.1 bare  Fetch a file:  bun download-basic-client.ts [PORT [NAME]]
 * The lesson ../download-basic-client.ts adds flags, GBK, and leaves no half file.
 * On the wire: make wire L=4.1
 *
 * terminal 1
 *   $ bun scripts/apps/bare/download-basic-server.ts 11500 scripts/tcp
 *   listening on 127.0.0.1:11500
 *   127.0.0.1:50001 > phone.svg
 *   sent 311 bytes to 127.0.0.1:50001
 *   ^C
 * terminal 2
 *   $ bun scripts/apps/bare/download-basic-client.ts 11500 phone.svg
 *   saved 311 bytes as copy-phone.svg
 */
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { basename } from "node:path";
import process from "node:process";

const HOST = "127.0.0.1";
const PORT = Number(process.argv[2] ?? 11500);
const NAME = process.argv[3] ?? "hello.txt";

try {
  const socket = connect(PORT, HOST); //                    s.connect((HOST, PORT))
  socket.write(NAME); //                                    s.sendall(NAME.encode())
  const copy = `copy-${basename(NAME)}`;
  let received = 0;
  for await (const data of socket) { //                     while data := s.recv(1024):
    writeFileSync(copy, data, { flag: received === 0 ? "w" : "a" }); // f.write(data)
    received += data.length;
  }
  if (received === 0) throw new Error(`${NAME}: nothing came: there is no such file, or it is empty`);
  console.log(`saved ${received} bytes as ${copy}`);
} catch (error) {
  const { message, code } = error as NodeJS.ErrnoException;
  console.error(`error: ${message || code}`);
  process.exitCode = 1;
}
