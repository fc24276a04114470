/** Lessons 4.1 and 4.2: what an attacker tries who knows the code: races, planted parts, places, work. (thorough) */
import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  chown,
  link,
  mkdir,
  readdir,
  readFile,
  rename,
  stat,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { Parts } from "../../scripts/apps/download/part.ts";
import { FrameStream } from "../../scripts/apps/download/protocol.ts";
import { EVERYTHING, EVERYWHERE, hurried, ROOT, RUNTIMES, script, start } from "../engine/program.ts";
import { dial, fetch, folder, impostor, message, partIn, saved, serve, sha256 } from "./download-peers.ts";

const IS_LINUX = process.platform === "linux";

/** A program that puts a link to the outside in the place of a folder, and the folder back, without a pause. */
const SWAPPER = `
  const { renameSync, symlinkSync, unlinkSync } = require("node:fs");
  const [folder, away, outside] = process.argv.slice(1);
  const pause = (most) => {
    const end = performance.now() + Math.random() * most;
    while (performance.now() < end);
  };
  console.log("listening on :1");
  while (true) {
    pause(0.3);
    renameSync(folder, away);
    symlinkSync(outside, folder);
    pause(0.3);
    unlinkSync(folder);
    renameSync(away, folder);
  }`;

for (const runtime of EVERYWHERE) {
  test.skipIf(!IS_LINUX)(
    `on ${runtime}, a folder that is swapped for a link to the outside: no reply leads out`,
    async () => {
      await using box = await folder();
      const path = (...names: string[]) => join(box.path, ...names);
      for (const name of ["root/d/e", "outside/e"]) await mkdir(path(name), { recursive: true });
      for (const name of ["root/d/e", "outside/e"]) {
        await writeFile(path(name, "f"), name === "outside/e" ? "SECRET" : "inside");
      }
      await writeFile(path("outside/e/hidden"), "");
      await using server = serve(path("root"), [], runtime);
      const port = await server.port();
      await using basic = script("apps/download-basic-server", ["--port", "0", "--root", path("root")], {
        runtime,
      });
      const basicPort = await basic.port();
      await using swapper = start([
        "node",
        "-e",
        SWAPPER,
        path("root/d"),
        path("root/away"),
        path("outside"),
      ]);
      await swapper.port();

      const seen = { inside: 0, refused: 0, SECRET: 0, listed: 0 };
      const most = EVERYTHING ? 10_000 : 300;
      const ask = async () => {
        using caller = dial(port);
        for (let asked = 0; seen.inside + seen.refused < most; asked++) {
          const ahead = asked % 2 === 0 ? { from: 0 } : {}; // read at once, or opened and then read
          caller.socket.write(message({ version: 1, get: "d/e/f", ...ahead }));
          if ((await caller.next()).error) {
            seen.refused++;
            continue;
          }
          if (ahead.from === undefined) caller.socket.write(message({ from: 0 }));
          await caller.next();
          const answer = await caller.next();
          if (!Buffer.isBuffer(answer)) {
            continue; // it was moved while it was sent: an error in words
          }
          seen[answer.toString() as "inside" | "SECRET"]++;
          await caller.next();
          caller.socket.write(message({ version: 1, list: "d/e", recursive: true }));
          for (let next = await caller.next(); !next.end && !next.error; next = await caller.next()) {
            seen.listed++;
            expect(next.entry.name).toBe("d/e/f");
          }
        }
      };
      await Promise.all([ask(), ask(), ask(), ask()]);
      for (let n = 0; n < most / 5; n++) {
        const socket = connect(basicPort, "127.0.0.1", () => socket.write("d/e/f"));
        const bytes = Buffer.concat(await Array.fromAsync(socket));
        expect(bytes.toString()).toBeOneOf(["inside", ""]);
      }
      expect(seen.SECRET).toBe(0);
      expect(seen.inside).toBeGreaterThan(0);
      expect(seen.refused).toBeGreaterThan(0); // the race was run
    },
    120_000,
  );
}

/** A part that a run has left, which was killed. */
async function leftPart(port: number, out: string): Promise<string> {
  await using client = fetch(port, out, ["file", "--limit-rate", "200K"]);
  await partIn(out);
  client.signal("SIGKILL");
  await client.ended();
  return join(out, (await readdir(out)).find((name) => name.endsWith(".part")) as string);
}

test("a part that is a hard link to another file is not written to", async () => {
  await using root = await folder();
  await using out = await folder();
  const bytes = randomBytes(500_000);
  await writeFile(join(root.path, "file"), bytes);
  await using server = serve(root.path);
  const port = await server.port();
  const part = await leftPart(port, out.path);
  const victim = join(root.path, "victim");
  await rename(part, victim);
  await link(victim, part);
  const before = await readFile(victim);
  const result = await fetch(port, out.path, ["file"]).result();
  expect(result).toEqual({ code: 0, stdout: saved(join(out.path, "file"), bytes), stderr: "" });
  expect(await readFile(victim)).toEqual(before);
  expect((await stat(join(out.path, "file"))).nlink).toBe(1);
});

test.skipIf(process.getuid?.() !== 0)(
  "another owner's part does not become the file (needs root)",
  async () => {
    await using root = await folder();
    await using out = await folder();
    const bytes = randomBytes(500_000);
    await writeFile(join(root.path, "file"), bytes);
    await using server = serve(root.path);
    const port = await server.port();
    const part = await leftPart(port, out.path);
    await chown(part, 12345, 12345);
    const { ino } = await stat(part);
    const result = await fetch(port, out.path, ["file"]).result();
    expect(result).toEqual({ code: 0, stdout: saved(join(out.path, "file"), bytes), stderr: "" });
    expect((await stat(join(out.path, "file"))).uid).toBe(0);
    expect((await stat(part)).ino).toBe(ino); // not ours to remove, either
  },
);

test("on a file system that gives all files another owner, a part is saved and found again all the same", async () => {
  await using out = await folder();
  const target = join(out.path, "file");
  const { getuid } = process;
  process.getuid = () => 4242; // as NFS does that maps all users to one, or FAT that another user has mounted
  try {
    const first = (await new Parts().open(target, "state")).part;
    await first.append(Buffer.from("cont"));
    await first[Symbol.asyncDispose]();
    await rename(first.path, first.path.replace(/-[^-]+-[^-]+\.part$/, "-zzzzz-0.part")); // of a process that has ended
    await using part = (await new Parts().open(target, "state")).part;
    expect(part.size).toBe(4);
    await part.append(Buffer.from("ent"));
    await part.finish(1e12, false);
  } finally {
    process.getuid = getuid;
  }
  expect(await readdir(out.path)).toEqual(["file"]);
  expect(await readFile(target, "utf8")).toBe("content");
});

test("a hostile server cannot make the client remove a file whose name looks like a part's", async () => {
  await using out = await folder();
  const names = [
    "victim.0123456789.part",
    "victim.0123456789abcdef.part",
    "victim.0123456789abcdef.1c3f-2s8-kq0d.part", // as a part, but for the six digits that prove it
  ];
  for (const name of names) {
    await writeFile(join(out.path, name), "precious");
    await utimes(join(out.path, name), new Date(1e12), new Date(1e12)); // no process writes it any more
  }
  await using server = await impostor(async (socket, next) => {
    while (true) {
      const { list, get } = await next() as { list?: string; get?: string };
      if (list !== undefined) {
        socket.write(message({ entry: { name: "victim", size: 0, time: 1 } }));
        socket.write(message({ end: true }));
      } else if (get !== undefined) {
        socket.write(message({ file: { size: 0, time: 1 } }));
        await next();
        socket.write(Buffer.concat([message({ from: 0 }), message({ sha256: sha256(Buffer.alloc(0)) })]));
      }
    }
  });
  expect((await fetch(server.port, out.path, ["--recursive", "."]).result()).code).toBe(0);
  expect((await readdir(out.path)).sort()).toEqual(["victim", ...names].sort());
  for (const name of names) expect(await readFile(join(out.path, name), "utf8")).toBe("precious");
});

test("a peer that says for ever that it is reading has an end", async () => {
  await using out = await folder();
  const wait = message({ wait: true });
  await using server = await impostor(async (socket, next) => {
    await next();
    while (!socket.destroyed) {
      socket.write(wait);
      await Bun.sleep(100);
    }
  });
  expect(await fetch(server.port, out.path, ["file"]).result()).toEqual({
    code: 1,
    stdout: "",
    stderr: `error: 127.0.0.1:${server.port}: keeps us waiting for nothing (ETIMEDOUT)\n`,
  });
  // Where it may say so, it may for ten minutes and the time to read so many bytes: here, for 0.3 s in all.
  const socket = connect(server.port, "127.0.0.1");
  socket.on("error", () => {});
  await once(socket, "connect");
  const frames = new FrameStream(socket, "peer");
  await frames.send({});
  frames.allowWait(-600_000 * 10_000 + 3_000_000);
  const begin = performance.now();
  const error = await frames.expect("from").catch((error) => error);
  expect(error.message).toBe("peer: keeps us waiting for nothing (ETIMEDOUT)");
  expect(performance.now() - begin).toBeGreaterThan(290);
  socket.destroy();
});

for (const runtime of EVERYWHERE) {
  test(`on ${runtime}, single bytes now and then do not keep a place`, async () => {
    await using root = await folder();
    await using server = serve(root.path, ["--idle", "3"], runtime);
    using caller = dial(await server.port());
    const bytes = message({ version: 1, list: "x".repeat(4000), recursive: false });
    let at = 0;
    const timer = setInterval(() => caller.socket.write(bytes.subarray(at, ++at)), 200);
    expect(await caller.ended()).toBeOneOf(["end", "ECONNRESET"]);
    clearInterval(timer);
    expect(await server.next("stderr")).toMatch(/sent no whole frame in 3 seconds \(ETIMEDOUT\)$/);
  });

  test.skipIf(!IS_LINUX)(
    `on ${runtime}, callers who fill all places from one address shut nobody else out`,
    async () => {
      await using root = await folder();
      await writeFile(join(root.path, "file"), "content");
      for (const lesson of ["download-server", "download-basic-server"]) {
        const command = [...RUNTIMES[runtime], join(ROOT, `scripts/apps/${lesson}.ts`)];
        const words = ["--port", "0", "--root", root.path];
        await using server = start(["sh", "-c", 'ulimit -n 160; exec "$@"', "sh", ...command, ...words], {
          limit: 20_000,
        });
        const port = await server.port();
        // Deno accepts all who wait before it tells of the first: with 300 at once it now and then meets its limit of
        // open files, which no program could prevent, and accepts nobody any more.
        const atOnce = runtime === "deno" ? 50 : 300;
        const drips: Socket[] = [];
        while (drips.length < 300) {
          const some = Array.from({ length: atOnce }, () => {
            const socket = connect({ port, host: "127.0.0.1", localAddress: "127.0.0.2" });
            return socket.on("error", () => {});
          });
          await Promise.all(some.map((socket) => once(socket, "connect").catch(() => {})));
          drips.push(...some);
        }
        // Of 4.1 the first byte would be the name already, and be answered.
        const request = lesson === "download-server"
          ? message({ version: 1, list: "x".repeat(4000) })
          : Buffer.alloc(0);
        let at = 0;
        const drip = setInterval(() => {
          for (const socket of drips) if (!socket.destroyed) socket.write(request.subarray(at, at + 1));
          at++;
        }, 100);
        for (let n = 0; n < 20; n++) {
          using caller = dial(port);
          if (lesson === "download-basic-server") {
            const socket = connect(port, "127.0.0.1", () => socket.write("file"));
            expect(Buffer.concat(await Array.fromAsync(socket)).toString()).toBe("content");
          } else {
            caller.socket.write(message({ version: 1, get: "file" }));
            expect((await caller.next()).file.size).toBe(7);
          }
        }
        clearInterval(drip);
        for (const socket of drips) socket.destroy();
      }
    },
    60_000,
  );

  test.skipIf(!IS_LINUX)(`on ${runtime}, wrong beginnings cost little processor time`, async () => {
    await using root = await folder();
    const size = 300_000_000;
    await writeFile(join(root.path, "file"), "");
    await truncate(join(root.path, "file"), size); // of zeros, which take no room on the disk
    await using server = serve(root.path, [], runtime);
    const port = await server.port();
    const ask = async () => {
      using caller = dial(port);
      caller.socket.write(message({ version: 1, get: "file" }));
      await caller.next();
      caller.socket.write(message({ from: size, sha256: "0".repeat(64) }));
      let answer = await caller.next();
      while (answer.wait) answer = await caller.next();
      return answer;
    };
    const before = server.processorTime;
    const first = await ask();
    const once = server.processorTime - before;
    const answers = [];
    for (let n = 0; n < 9; n++) answers.push(await ask());
    const all = server.processorTime - before;
    expect(first).toEqual({ from: 0 });
    for (const { error, code } of answers) {
      expect(code).toBe("EAGAIN");
      expect(error).toMatch(/^too much was compared for your address: try again in \d+ seconds$/);
    }
    expect(all).toBeLessThan(2 * once + 0.3); // ten times as much without a limit
  }, 60_000);
}

for (const runtime of EVERYWHERE) {
  test(
    `on ${runtime}, of the lists that nobody reads eight stay, and the next caller gets its own`,
    async () => {
      await using root = await folder();
      const names = Array.from({ length: 20_000 }, (_, n) => `${n}-`.padEnd(250, "x")); // 6 MB: more than the system keeps
      for (const name of names) writeFileSync(join(root.path, name), "");
      const words = ["--port", "0", "--root", root.path];
      await using server = hurried(5, "apps/download-server", words, { runtime });
      const port = await server.port();
      const deaf = Array.from({ length: 9 }, () => {
        const socket = connect(port, "127.0.0.1");
        socket.on("error", () => {});
        socket.write(message({ version: 1, list: "" }));
        return socket;
      });
      const way = /^error: 127\.0\.0\.1: gives way to another list: this one was not read \(EAGAIN\)$/;
      expect(await server.next("stderr")).toMatch(way); // for the ninth, after five seconds: here, one
      const list = await fetch(port, root.path, ["--list"], runtime).result();
      expect({ ...list, stdout: list.stdout.split("\n").length }).toEqual({
        code: 0,
        stdout: 20_001,
        stderr: "",
      });
      for (const socket of deaf) socket.destroy();
    },
    60_000,
  );
}
