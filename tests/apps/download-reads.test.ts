/** Lesson 4.2: the client reads into the same two buffers, in turn. */
import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFile, truncate, writeFile } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DoubleBuffer } from "../../scripts/apps/download/double-buffer.ts";
import { EVERYTHING, EVERYWHERE, hurried, loaded, start } from "../engine/program.ts";
import { inTime, isRead, until } from "../engine/sockets.ts";
import { dial, fetch, folder, frame, impostor, message, saved, serve, sha256 } from "./download-peers.ts";

/** A connection to a server of the test, and its reads. */
async function connected(serve: (socket: Socket) => void) {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    serve(socket);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const buffers = new DoubleBuffer();
  const { port } = server.address() as { port: number };
  const socket = connect({ port, host: "127.0.0.1", onread: buffers.onread });
  socket.on("error", () => {});
  await once(socket, "connect");
  return {
    socket,
    buffers,
    reads: buffers.reads(socket),
    [Symbol.dispose]: () => {
      socket.destroy();
      server.close();
    },
  };
}

test("all bytes come, in order, in two buffers and no more, until the end", async () => {
  const sent = randomBytes(5_000_000);
  using one = await connected((socket) => socket.end(sent));
  const found: Buffer[] = [];
  const places = new Set<unknown>();
  let last: Buffer | undefined;
  for (let read = await one.reads.next(); !read.done; read = await inTime(one.reads.next(), "a read")) {
    places.add(read.value.buffer);
    found.push(Buffer.from(read.value));
    if (last) expect(last.equals(found.at(-2) as Buffer)).toBe(true); // still there while the next one came
    last = read.value;
  }
  expect(Buffer.concat(found).equals(sent)).toBe(true);
  expect(places.size).toBe(2);
});

test("who does not ask reads nothing: the sender has to wait", async () => {
  let taken = 0;
  using one = await connected((socket) => {
    const piece = Buffer.alloc(65_536);
    const send = () => socket.write(piece, (error) => error ?? (taken += piece.length, send()));
    send();
  });
  await one.reads.next();
  let before = -1;
  await until(async () => {
    const hasStopped = taken === before;
    before = taken;
    await sleep(300);
    return hasStopped;
  }, "the sender waits");
  expect(taken).toBeLessThan(50_000_000); // what the system keeps for both ends
  expect(taken).toBeGreaterThan(0);
});

test("a reset, and a close of our own, are thrown where it is read", async () => {
  using reset = await connected((socket) =>
    socket.write("x", () => setTimeout(() => socket.resetAndDestroy(), 50))
  );
  expect(`${(await reset.reads.next()).value}`).toBe("x");
  expect(await inTime(reset.reads.next(), "the reset").catch(({ code }) => code)).toBe("ECONNRESET");

  using closed = await connected((socket) => socket.write("x"));
  await closed.reads.next();
  setTimeout(() => closed.socket.destroy(new Error("stopped")), 50);
  expect(await inTime(closed.reads.next(), "the close").catch(({ message }) => message)).toBe("stopped");
});

test("whether anything has come is told once", async () => {
  using one = await connected((socket) => socket.write("x"));
  await one.reads.next();
  expect([one.buffers.hasMoved(), one.buffers.hasMoved()]).toEqual([true, false]);
});

for (const runtime of EVERYWHERE) {
  test(`on ${runtime}, a server that sends now and then, for longer than a minute, is not silent`, async () => {
    await using out = await folder();
    const text = "0123456789".repeat(2);
    await using server = await impostor(async (socket, next) => {
      await next();
      socket.write(message({ file: { size: text.length, time: 1 } }));
      await next();
      socket.write(message({ from: 0 }));
      for (const letter of text) {
        await sleep(150); // 3 s in all, and the client takes 2 for a minute
        socket.write(frame(1, letter));
      }
      socket.write(message({ sha256: sha256(Buffer.from(text)) }));
    });
    const words = ["--port", `${server.port}`, "--out", out.path, "file"];
    expect(await hurried(30, "apps/download-client", words, { runtime }).result()).toEqual({
      code: 0,
      stdout: saved(join(out.path, "file"), text),
      stderr: "",
    });
  });

  test(`on ${runtime}, what is written is what was read, though the buffers are used again`, async () => {
    await using root = await folder();
    await using out = await folder();
    const bytes = randomBytes(EVERYTHING ? 200_000_000 : 30_000_000);
    await writeFile(join(root.path, "file"), bytes);
    await using server = serve(root.path, [], runtime);
    const { code } = await fetch(await server.port(), out.path, ["file", "--quiet"], runtime).result();
    expect(code).toBe(0);
    expect((await readFile(join(out.path, "file"))).equals(bytes)).toBe(true);
  });

  test(`on ${runtime}, a header that comes in two reads overwrites nothing that is still being written`, async () => {
    await using out = await folder();
    const first = randomBytes(100_000);
    const second = randomBytes(100_000);
    const whole = Buffer.concat([first, second]);
    await using server = await impostor(async (socket, next) => {
      socket.setNoDelay();
      await next();
      socket.write(message({ file: { size: whole.length, time: 1 } }));
      await next();
      socket.write(message({ from: 0 }));
      const reads = [
        Buffer.concat([frame(1, first), frame(1, second).subarray(0, 2)]),
        frame(1, second).subarray(2, 3), // no frame yet: it reads once more, into the buffer of the first piece
        Buffer.concat([frame(1, second).subarray(3), message({ sha256: sha256(whole) })]),
      ];
      for (const bytes of reads) {
        await isRead({ socket });
        socket.write(bytes);
      }
    });
    const words = ["--port", `${server.port}`, "--out", out.path, "file"];
    await using client = start(loaded("bad-disk", "apps/download-client", words, runtime), {
      env: { SLOW_DISK: "300" },
    });
    expect((await client.result()).code).toBe(0);
    expect((await readFile(join(out.path, "file"))).equals(whole)).toBe(true);
  });
}

test("who was told of a large file may take the time to read it, before asking whether it is the same", async () => {
  await using root = await folder();
  await writeFile(join(root.path, "large"), "");
  await truncate(join(root.path, "large"), 10 ** 12); // 100,000 seconds at 10 MB/s, and 100 s here
  await writeFile(join(root.path, "small"), "small");
  const words = ["--port", "0", "--root", root.path, "--idle", "86400"];
  await using server = hurried(1000, "apps/download-server", words);
  using caller = dial(await server.port());
  caller.socket.write(message({ version: 1, list: "", recursive: true }));
  while (!(await caller.next()).end);
  await sleep(1200); // only time can show that it is not given up: ten minutes are 0.6 s here
  caller.socket.write(message({ wait: true }));
  caller.socket.write(message({ version: 1, check: "small", size: 5, sha256: sha256(Buffer.from("small")) }));
  let answer = await caller.next();
  while (answer.wait) answer = await caller.next(); // its clock is fast
  expect(answer).toEqual({ same: true });
});

test(
  "where many callers do not read, the next ones get shorter pieces; later, they are long again",
  async () => {
    await using root = await folder();
    await writeFile(join(root.path, "file"), "");
    await truncate(join(root.path, "file"), 50_000_000); // more than the system keeps for one caller
    await using server = serve(root.path);
    const port = await server.port();
    const get = Buffer.concat([message({ version: 1, get: "file" }), message({ from: 0 })]);
    const firstPiece = async () => {
      using caller = dial(port);
      caller.socket.write(get);
      expect([(await caller.next()).file.size, await caller.next()]).toEqual([50_000_000, { from: 0 }]);
      return (await caller.next()).length;
    };
    const deaf = Array.from({ length: 150 }, () => {
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => {});
      socket.write(get);
      return socket;
    });
    for (const _ of deaf) expect(await server.next()).toEndWith(" gets file");
    const among = await firstPiece();
    expect(among).toBeLessThan(100_000);
    expect(among).toBeGreaterThanOrEqual(4096);
    for (const socket of deaf) socket.destroy();
    await until(async () => await firstPiece() === 131_071, "the longest pieces");
  },
  20_000,
);

for (const runtime of EVERYWHERE) {
  test(
    `on ${runtime}, who says for ever that it is not ready, and takes nothing, has half an hour`,
    async () => {
      await using root = await folder();
      await writeFile(join(root.path, "file"), "");
      await truncate(join(root.path, "file"), 50_000_000);
      const words = ["--port", "0", "--root", root.path, "--idle", "1700"];
      await using server = hurried(900, "apps/download-server", words, { runtime }); // half an hour is 2 s
      const deaf = connect(await server.port(), "127.0.0.1");
      deaf.on("error", () => {});
      deaf.write(Buffer.concat([message({ version: 1, get: "file" }), message({ from: 0 })]));
      const timer = setInterval(() => deaf.write(message({ wait: true })), 50);
      try {
        expect(await inTime(server.next("stderr"), "the end")).toMatch(
          /^error: 127\.0\.0\.1:\d+: did not take what was sent in 1800 seconds \(ETIMEDOUT\)$/,
        );
      } finally {
        clearInterval(timer);
        deaf.destroy();
      }
    },
    20_000,
  );
}
