/** Lesson 4.5, the server: against clients that respect no rule. (thorough) */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { once } from "node:events";
import { mkdir, truncate, writeFile } from "node:fs/promises";
import type { Socket } from "node:net";
import ssh2, { type Client, type ClientChannel } from "ssh2";
import { EVERYTHING, EVERYWHERE, loaded, start } from "../../engine/program.ts";
import { inTime, settled, until } from "../../engine/sockets.ts";
import {
  CREATE,
  dial,
  FAILED,
  INIT,
  inside,
  meet,
  NO_SUCH_FILE,
  number,
  OK,
  openNot,
  openWide,
  packet,
  WRITE,
} from "./packets.ts";
import { IS_LINUX, KEY, peak, serve, stage } from "./server.ts";

setDefaultTimeout(120_000); // what waits in a test says itself for what it waited too long

for (const runtime of EVERYWHERE) {
  test(`who goes in the middle leaves no file open, on ${runtime}`, async () => {
    await using at = await stage();
    await writeFile(at.path("root", "large"), "");
    await truncate(at.path("root", "large"), 2 ** 24);
    await using server = await serve(at, [], { runtime });
    for (let round = 0; round < 20; round++) {
      using client = await meet(server.port);
      const handle = await client.open("large");
      if (typeof handle === "number") throw new Error(`status ${handle}`);
      for (let id = 0; id < 100; id++) client.channel.write(packet(5, id, handle, 0n, 2 ** 18));
      for (let reads = 0; reads < round; reads++) await client.next();
      inside(client.client)._sock.resetAndDestroy();
    }
    const parts = () =>
      server.program.seen.stdout.filter((line) => line.includes(" fetched a part of /large, "));
    await until(() => parts().length === 20, "their ends");
    expect(
      server.program.seen.stderr.filter((line) => !/connection reset by peer|connection closed/.test(line)),
    )
      .toEqual([]);
  });
}

describe("who breaks the rules", () => {
  test("of SFTP loses the session, and nobody else", async () => {
    for (const runtime of EVERYWHERE) {
      await using at = await stage();
      await writeFile(at.path("root", "file"), "here");
      await using server = await serve(at, [], { runtime });
      using friend = await meet(server.port);
      const wrong: Record<string, Buffer> = {
        "a packet of 0 bytes": number(0),
        "a packet of 262145 bytes": number(262_145),
        "a packet of 4294967295 bytes": number(0xffffffff),
        "a packet that ends too early": packet(5, 7, "1234", 0n),
        "a packet that ends too early ": packet(17, 7, number(0xffffffff)),
        "a packet that ends too early  ": packet(3),
        "no init packet first": INIT,
        "a place beyond the end of any file": packet(5, 7, "1234", 2n ** 63n, 1),
      };
      for (const [why, bytes] of Object.entries(wrong)) {
        using rogue = await meet(server.port);
        rogue.channel.write(bytes);
        expect([why, await rogue.next()]).toEqual([why, undefined]);
        const name = `error: 127.0.0.1:${(rogue.client as unknown as { _sock: Socket })._sock.localPort}`;
        await until(() => server.program.seen.stderr.length > 0, "the error");
        expect(server.program.seen.stderr.splice(0)).toEqual([
          `${name}: does not speak SFTP: ${why.trim()} (EPROTO)`,
        ]);
      }
      using early = await dial(server.port, undefined, packet(17, 7, "/"));
      expect(await early.next()).toBe(undefined);
      expect(await friend.read("file")).toBe("here");
    }
  });

  test("of SSH gets no shell, no command and no way to elsewhere", async () => {
    await using at = await stage();
    await using server = await serve(at);
    using friend = await meet(server.port);
    const { client } = friend;
    const refused = (call: (done: (error?: Error) => void) => void) =>
      inTime(
        new Promise<string>((resolve) => call((error) => resolve(error ? "refused" : "granted"))),
        "an answer",
      );
    expect(await refused((done) => client.shell(done))).toBe("refused");
    expect(await refused((done) => client.exec("id", done))).toBe("refused");
    expect(await refused((done) => client.subsys("other", done))).toBe("refused");
    expect(await refused((done) => client.forwardOut("127.0.0.1", 1, "127.0.0.1", server.port, done))).toBe(
      "refused",
    );
    expect(await refused((done) => client.forwardIn("127.0.0.1", 0, (error) => done(error)))).toBe("refused");
    expect(await refused((done) => client.openssh_forwardOutStreamLocal("/run/x", done))).toBe("refused");
    expect(await friend.read("nothing")).toBe(NO_SUCH_FILE);
    // Twice on the same channel: the second one is refused, and the first one goes on.
    const { id } = (friend.channel as unknown as { outgoing: { id: number } }).outgoing;
    inside(client)._protocol.subsystem(id, "sftp", false);
    expect(await friend.read("nothing")).toBe(NO_SUCH_FILE);
    // Ten sessions at once, and no eleventh. Those that were opened for something else count.
    for (let session = 5; session <= 10; session++) {
      expect(await refused((done) => client.subsys("sftp", done))).toBe("granted");
    }
    expect(await refused((done) => client.subsys("sftp", done))).toBe("refused");
    friend.channel.end();
    await inTime(once(friend.channel, "close"), "its end");
    expect(await refused((done) => client.subsys("sftp", done))).toBe("granted");
    expect(server.program.seen.stderr).toEqual([]); // and no warning of the runtime
  });

  test("of SSH is sent away if it takes no bytes, or takes few at a time", async () => {
    for (const runtime of EVERYWHERE) {
      await using at = await stage();
      await using server = await serve(at, [], { runtime });
      using friend = await meet(server.port);
      for (const size of [0, 1]) {
        const client = new ssh2.Client();
        client.on("error", () => {});
        client.connect({ host: "127.0.0.1", port: server.port, username: "anna", privateKey: KEY.private });
        await inTime(once(client, "ready"), "a login");
        const protocol = inside(client)._protocol;
        const session = protocol.session.bind(protocol);
        protocol.session = (channel, window) => session(channel, window, size);
        client.subsys("sftp", (_, channel) => channel?.write(INIT));
        expect(await server.program.next("stderr")).toEndWith(
          `: takes only ${size} bytes at a time (EPROTO)`,
        );
      }
      expect(await friend.read("nothing")).toBe(NO_SUCH_FILE);
    }
  });

  test("of SSH by closing no session gets no more of them", async () => {
    await using at = await stage();
    await using server = await serve(at);
    using rude = await dial(server.port);
    await rude.next();
    (rude.channel as unknown as { close: () => void }).close = () => {};
    rude.channel.write(number(0)); // no SFTP: the server ends the session
    for (let session = 2; session <= 10; session++) {
      const channel = await new Promise<ClientChannel>((resolve, reject) => {
        rude.client.subsys("sftp", (error, channel) => (error ? reject(error) : resolve(channel)));
      });
      (channel as unknown as { close: () => void }).close = () => {};
      channel.write(number(0));
    }
    await until(() => server.program.seen.stderr.length === 10, "their ends");
    const last = await new Promise((resolve) => rude.client.subsys("sftp", (error) => resolve(error)));
    expect(`${last}`).toContain("Channel open failure");
  });

  if (EVERYTHING) {
    test("of many requests that cost nothing does not keep the others waiting", async () => {
      for (const runtime of EVERYWHERE) {
        await using at = await stage();
        await using server = await serve(at, [], { runtime });
        using friend = await meet(server.port);
        using busy = await meet(server.port);
        const count = 220_000; // a window full
        let answered = 0; // in bytes
        busy.channel.removeAllListeners("data").on("data", (bytes: Buffer) => answered += bytes.length);
        busy.channel.write(Buffer.concat(Array.from({ length: count }, (_, id) => packet(99, id))));
        await until(() => answered > 0, "the first answer");
        for (let round = 0; round < 5; round++) expect(await friend.read("nothing")).toBe(NO_SUCH_FILE);
        expect(answered).toBeLessThan(count * 34); // a status has 34 bytes: these were not all
      }
    });
  }
});

for (const runtime of EVERYWHERE) {
  test(`a client that puts gets no further than two windows while the disk stands still, on ${runtime}`, async () => {
    await using at = await stage();
    const words = [
      "--port",
      "0",
      "--root",
      at.root,
      "--user",
      "anna",
      "--authorized-keys",
      at.path("key.pub"),
    ];
    await using server = start(loaded("fixtures/still-disk", "apps/sftp-server", words, runtime));
    const port = await server.port();
    using client = await meet(port);
    using friend = await meet(port);
    const handle = await client.open("file", WRITE | CREATE);
    if (typeof handle === "number") throw new Error(`status ${handle}`);
    const piece = Buffer.alloc(261_120); // what the server takes at once
    const { _sock: socket } = inside(client.client);
    const before = socket.bytesWritten;
    for (let id = 0; id < 64; id++) { // as many as OpenSSH's sftp has on the way: 16 MiB
      client.channel.write(packet(6, id, handle, BigInt(id * piece.length), piece.length, piece));
    }
    const asked = () => server.seen.stdout.filter((line) => line === "the disk was asked").length;
    await until(() => asked() > 0 && socket.bytesWritten - before > 2 ** 20, "a window of it");
    const taken = await settled(() => socket.bytesWritten) - before;
    // ssh2 opens its window of 2 MiB once more while less than that waits to be read.
    expect(taken).toBeWithin(2 ** 20, 4 * 2 ** 20 + 2 * piece.length);
    expect(await friend.read("nothing")).toBe(NO_SUCH_FILE);
    expect(asked()).toBe(1);
  });
}

if (EVERYTHING) {
  test("renames that search a large tree for links keep only each other waiting", async () => {
    await using at = await stage();
    await mkdir(at.path("root", "below", "full"), { recursive: true });
    await writeFile(at.path("root", "taken"), "");
    for (let index = 0; index < 5000; index++) {
      await writeFile(at.path("root", "below", "full", `${index}`), "");
    }
    await using server = await serve(at);
    const movers = await Promise.all(Array.from({ length: 20 }, () => meet(server.port)));
    try {
      using friend = await meet(server.port);
      let moved = 0;
      const moves = movers.map(async (mover) => {
        const { code } = await mover.ask(18, "below/full", "taken"); // RENAME, which replaces nothing
        moved++;
        return code;
      });
      await Promise.any(moves); // by now the server has all of them
      expect(await friend.ask(17, "taken")).toMatchObject({ type: 105 }); // STAT
      expect(moved).toBeLessThan(4); // sixteen are worked on at once: in their queue, it would be the last
      expect(new Set(await Promise.all(moves))).toEqual(new Set([FAILED]));
    } finally {
      for (const mover of movers) mover[Symbol.dispose]();
    }
  });
}

if (EVERYTHING) {
  for (const runtime of EVERYWHERE.filter((runtime) => runtime !== "deno")) { // Deno stands in write(2) meanwhile
    test(`a stdout that nobody reads stops nobody's work, on ${runtime}`, async () => {
      await using at = await stage();
      await using server = await serve(at, [], { runtime });
      using client = await meet(server.port);
      server.program.stopReading();
      const name = "x".repeat(200);
      for (let count = 0; count < 1500; count++) { // each prints a line, 600 KB in all
        expect((await client.ask(14, name, 0)).code).toBe(OK);
        expect((await client.ask(15, name)).code).toBe(OK);
      }
      server.program.startReading();
    });
  }
}

describe("a client that takes nothing costs little memory", () => {
  for (const runtime of EVERYWHERE) {
    test.skipIf(!IS_LINUX)(`on ${runtime} (needs Linux)`, async () => {
      await using at = await stage();
      await writeFile(at.path("root", "file"), "here");
      await writeFile(at.path("root", "large"), "");
      await truncate(at.path("root", "large"), 2 ** 27);
      await using server = await serve(at, [], { runtime });
      using friend = await meet(server.port);

      /** Asks for a gigabyte at once, and reads nothing of it. */
      async function glutton(then: (client: Client) => void = () => {}) {
        const client = await dial(server.port, openWide);
        await client.next();
        const handle = await client.open("large");
        if (typeof handle === "number") throw new Error(`status ${handle}`);
        inside(client.client)._sock.pause();
        const reads = Array.from({ length: 4096 }, (_, id) => packet(5, id, handle, 0n, 2 ** 18));
        client.channel.write(Buffer.concat(reads));
        then(client.client);
        return client;
      }
      using silent = await glutton();
      using stalled = await glutton((client) => inside(client)._protocol.rekey());
      await settled(() => peak(server.program)); // a gigabyte would take longer, and never stand still meanwhile
      expect(await friend.read("file")).toBe("here");
      expect(peak(server.program)).toBeLessThan(300);

      // One that sends on although the window is shut is read no further, or sent away if it opens no window to us.
      const flood = ({ channel, client }: Awaited<ReturnType<typeof dial>>) => {
        const { outgoing } = channel as unknown as { outgoing: { window: number; packetSize: number } };
        outgoing.window = Infinity;
        outgoing.packetSize = 32_767; // ssh2 notes a window that is shut, but not one that is less than shut
        for (let piece = 0; piece < 20; piece++) channel.write(Buffer.alloc(999_983));
        return inside(client)._sock;
      };
      using shut = await dial(server.port, openNot);
      flood(silent);
      const name = `127.0.0.1:${flood(shut).localPort}`;
      const error = `error: ${name}: sends more than it may, or reads no answers (ENOBUFS)`;
      await until(() => server.program.seen.stderr.includes(error), "its end");
      expect(server.program.seen.stderr).toHaveLength(1);
      expect(await friend.read("file")).toBe("here");
      expect(peak(server.program)).toBeLessThan(300);
      inside(stalled.client)._sock.destroy();
      await until(
        () => server.program.seen.stdout.some((line) => line.includes("fetched a part of /large")),
        "its end",
      );
      expect(await friend.read("file")).toBe("here");
    });
  }

  if (EVERYTHING) {
    test.skipIf(!IS_LINUX)(
      "nor does one that sends byte by byte what is not read yet (needs Linux)",
      async () => {
        for (const runtime of EVERYWHERE) {
          await using at = await stage();
          await using server = await serve(at, [], { runtime });
          const client = new ssh2.Client();
          client.on("error", () => {});
          client.connect({ host: "127.0.0.1", port: server.port, username: "anna", privateKey: KEY.private });
          await inTime(once(client, "ready"), "a login");
          const { _sock: socket, _protocol: protocol } = inside(client);
          const name = `127.0.0.1:${socket.localPort}`;
          openNot(client); // the greeting of the server waits
          const channel = await new Promise<ClientChannel>((resolve) => {
            client.subsys("sftp", (_, channel) => resolve(channel));
          });
          channel.write(INIT);
          const { id } = (channel as unknown as { outgoing: { id: number } }).outgoing;
          for (let sent = 0; sent < 1_000_000 && server.program.seen.stderr.length === 0; sent++) {
            protocol.channelData(id, Buffer.of(0));
            if (sent % 1000 === 0) await new Promise((resolve) => setImmediate(resolve));
          }
          await until(() => server.program.seen.stderr.length > 0, "its end");
          expect(server.program.seen.stderr).toEqual([
            `error: ${name}: sends more than it may, or reads no answers (ENOBUFS)`,
          ]);
          expect(peak(server.program)).toBeLessThan(300);
          socket.destroy();
        }
      },
    );
  }

  for (const runtime of EVERYWHERE) {
    test.skipIf(!IS_LINUX)(`nor one that reads no answers, on ${runtime} (needs Linux)`, async () => {
      await using at = await stage();
      await writeFile(at.path("root", "file"), "here");
      await using server = await serve(at, [], { runtime });
      using friend = await meet(server.port);
      const { program } = server;

      /** Asks for as many answers as the system takes questions. @returns how many bytes it has taken in all */
      const ask = (client: Client) => {
        const { _sock: socket, _protocol: protocol } = inside(client);
        socket.cork(); // all in one write
        for (let some = 0; some < 1000 && !socket.writableNeedDrain; some++) protocol.ping();
        socket.uncork();
        return socket.bytesWritten;
      };

      // Before it has logged in it is sent away.
      const stranger = new ssh2.Client().on("error", () => {});
      const config = { host: "127.0.0.1", port: server.port, username: "anna", authHandler: () => false };
      stranger.connect(config as never);
      await inTime(once(stranger, "handshake"), "the keys");
      const { _sock: socket } = inside(stranger);
      socket.pause();
      const error =
        `error: 127.0.0.1:${socket.localPort}: sends more than it may, or reads no answers (ENOBUFS)`;
      await until(() => ask(stranger) > 0 && program.seen.stderr.includes(error), "its end");

      // Later it is read no further, until it reads: then all answers come.
      using rude = await meet(server.port);
      const before = peak(program);
      const { _sock: unread } = inside(rude.client);
      unread.pause();
      const asking = setInterval(() => ask(rude.client), 5);
      await until(() => unread.bytesWritten > 2 ** 20, "much of it");
      const taken = await settled(() => unread.bytesWritten, 1000); // else it would never stand still
      clearInterval(asking);
      expect(taken).toBeGreaterThan(2 ** 20);
      expect(await friend.read("file")).toBe("here");
      expect(peak(program) - before).toBeLessThan(60);
      unread.resume();
      expect(await rude.read("file")).toBe("here"); // after all those answers
      expect(program.seen.stderr).toEqual([error]);
    });
  }
});
