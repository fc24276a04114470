/**
 * How a TCP server ends a connection, server by server: a peer that does not close is left, and what breaks off in the
 * middle does not look whole.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { truncateSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { dirname } from "node:path";
import { message } from "../apps/download-peers.ts";
import { temporaryFolder } from "../engine/files.ts";
import { EVERYWHERE, hurried, script } from "../engine/program.ts";
import { inTime } from "../engine/sockets.ts";

setDefaultTimeout(60_000); // what waits in a test says itself for what it waited too long

/** A client that never closes: it sends, and reads until the server has closed its half. */
async function halfClosed(port: number, request: Uint8Array | string) {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  const { promise: broken, resolve } = Promise.withResolvers<string>();
  socket.on("error", ({ code }: NodeJS.ErrnoException) => resolve(`${code}`));
  const ended = new Promise<void>((resolve) => socket.once("end", resolve));
  socket.resume().write(request);
  await inTime(ended, "the server's close");
  return { socket, broken };
}

describe.concurrent("after its own close, a server waits 5 s for the peer's", () => {
  const servers: [name: string, request: Uint8Array | string][] = [
    ["tcp/many-clients-server", "hello"],
    ["tcp/time-server", ""],
    ["apps/messenger-server", Buffer.alloc(4, 0xff)], // a frame that is too long
  ];
  for (const runtime of EVERYWHERE) {
    for (const [name, request] of servers) {
      test(`${name} on ${runtime}`, async () => {
        await using server = hurried(20, name, ["--port", "0"], { runtime });
        const { socket, broken } = await halfClosed(await server.port(), request);
        // What comes in these 5 s, a quarter of a second here, is read; after them, it is answered with a reset.
        const sending = setInterval(() => socket.write("more"), 10);
        try {
          expect(await inTime(broken, "the reset of a connection that was left")).toBeOneOf([
            "ECONNRESET",
            "EPIPE",
          ]);
        } finally {
          clearInterval(sending);
          socket.destroy();
        }
      });
    }
  }
});

describe.concurrent("a server that is stopped in the middle resets: half of it must not look whole", () => {
  const servers: [name: string, words: (file: string) => string[], request: Uint8Array | string][] = [
    ["tcp/picture-server", (file) => [file], ""],
    ["apps/download-basic-server", (file) => ["--root", dirname(file)], "file"],
    [
      "apps/download-server",
      (file) => ["--root", dirname(file)],
      Buffer.concat([message({ version: 1, get: "file" }), message({ from: 0 })]),
    ],
  ];
  for (const runtime of EVERYWHERE) {
    for (const [name, words, request] of servers) {
      test(`${name} on ${runtime}`, async () => {
        await using folder = temporaryFolder();
        await writeFile(folder.at("file"), "");
        truncateSync(folder.at("file"), 64 << 20); // more than the system takes for a client that does not read
        await using server = script(name, [...words(folder.at("file")), "--port", "0"], { runtime });
        const socket = connect(await server.port(), "127.0.0.1");
        const ended = new Promise<string>((resolve) => {
          socket.once("end", () => resolve("end")).on(
            "error",
            ({ code }: NodeJS.ErrnoException) => resolve(`${code}`),
          );
        });
        socket.write(request);
        await inTime(new Promise((resolve) => socket.once("data", resolve)), "the first bytes");
        socket.pause();
        server.signal("SIGINT");
        expect(await server.ended()).toBe(0);
        socket.resume();
        expect(await inTime(ended, "the end")).toBe("ECONNRESET");
        socket.destroy();
      });
    }
  }
});
