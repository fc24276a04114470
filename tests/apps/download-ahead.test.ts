/** Lesson 4.2: a folder of small files is asked for ahead, and older servers and clients are understood all the same. */
import { expect, test } from "bun:test";
import { once } from "node:events";
import { readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { FrameStream } from "../../scripts/apps/download/protocol.ts";
import { EVERYWHERE } from "../engine/program.ts";
import { until } from "../engine/sockets.ts";
import { dial, fetch, folder, frame, impostor, message, saved, serve, sha256 } from "./download-peers.ts";

type Request = { list?: string; get?: string; from?: number; check?: string; cancel?: boolean };

const TIME = 1e12;
const entry = (name: string, size: number) => message({ entry: { name, size, time: TIME } });

/** The whole answer to a request for all of a file. */
const whole = (text: string) =>
  Buffer.concat([
    message({ file: { size: text.length, time: TIME } }),
    message({ from: 0 }),
    ...(text ? [frame(1, text)] : []),
    message({ sha256: sha256(Buffer.from(text)) }),
  ]);

for (const runtime of EVERYWHERE) {
  test(`on ${runtime}, a server answers requests that did not wait for each other, in order`, async () => {
    await using root = await folder();
    const large = "x".repeat(300_000);
    for (const [name, text] of [["a", "one"], ["empty", ""], ["large", large]]) {
      await writeFile(join(root.path, name), text);
    }
    await using server = serve(root.path, [], runtime);
    using caller = dial(await server.port());
    const get = (name: string, more: object) => message({ version: 1, get: name, ...more });
    caller.socket.write(Buffer.concat([
      get("a", { from: 0 }),
      get("none", { from: 0 }), // an error in the middle of them
      get("empty", { from: 0 }),
      get("large", { from: 100_000, sha256: sha256(Buffer.from(large.slice(0, 100_000))) }),
      get("a", {}), // as older clients ask
      message({ from: 0 }),
      get("a", {}),
      message({ cancel: true }),
      get("a", { from: 0 }),
    ]));
    const told = async (): Promise<unknown> => {
      const { file, ...rest } = await caller.next();
      return rest.wait ? await told() : file?.size ?? rest; // it may take half a second to read a file
    };
    const text = async () => (await caller.next()).toString();
    const hash = (text: string) => ({ sha256: sha256(Buffer.from(text)) });
    expect([await told(), await told(), await text(), await told()]).toEqual([
      3,
      { from: 0 },
      "one",
      hash("one"),
    ]);
    expect(await told()).toEqual({ error: "no such file", code: "ENOENT" });
    expect([await told(), await told(), await told()]).toEqual([0, { from: 0 }, hash("")]);
    expect([await told(), await told()]).toEqual([300_000, { from: 100_000 }]);
    expect(`${await text()}${await text()}`).toBe(large.slice(100_000));
    expect(await told()).toEqual(hash(large));
    expect([await told(), await told(), await text(), await told()]).toEqual([
      3,
      { from: 0 },
      "one",
      hash("one"),
    ]);
    expect(await told()).toBe(3);
    expect([await told(), await told(), await text(), await told()]).toEqual([
      3,
      { from: 0 },
      "one",
      hash("one"),
    ]);
  });

  test(`on ${runtime}, a client asks ahead where the server says so, and only there`, async () => {
    for (const ahead of [true, false]) {
      await using out = await folder();
      const names = Array.from({ length: ahead ? 300 : 20 }, (_, n) => `file ${n}`);
      let unanswered = 0;
      let most = 0;
      await using server = await impostor(async (socket, next) => {
        await next();
        socket.write(
          Buffer.concat([...names.map((name) => entry(name, name.length)), message({ end: true, ahead })]),
        );
        const waiting: string[] = [];
        for (let asked = 0; asked < names.length;) {
          const { get, from } = await next() as Request;
          asked++;
          if (!ahead) {
            expect(from).toBeUndefined();
            socket.write(
              whole(get as string).subarray(0, message({ file: { size: get?.length, time: TIME } }).length),
            );
            expect(await next()).toMatchObject({ from: 0 });
            socket.write(
              whole(get as string).subarray(message({ file: { size: get?.length, time: TIME } }).length),
            );
            continue;
          }
          expect(from).toBe(0);
          waiting.push(get as string);
          most = Math.max(most, waiting.length);
          // Answers only when as many wait as come without an answer, or no more will come.
          if (waiting.length >= 64 || asked === names.length) {
            for (const name of waiting.splice(0)) socket.write(whole(name));
          }
        }
        unanswered = waiting.length;
      });
      const { code, stdout, stderr } = await fetch(server.port, out.path, ["--recursive", "."], runtime)
        .result();
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(stdout).toBe(names.map((name) => saved(join(out.path, name), name)).join(""));
      expect(most).toBe(ahead ? 64 : 0);
      expect(unanswered).toBe(0);
    }
  });
}

test("of files that were asked for ahead, one that cannot be saved keeps none of the others away", async () => {
  await using out = await folder();
  await using server = await impostor(async (socket, next) => {
    await next();
    const names = ["a", "gone/large", "gone/small", "c", "broken", "damaged", "elsewhere", "none", "d"];
    socket.write(
      Buffer.concat([...names.map((name) => entry(name, 5)), message({ end: true, ahead: true })]),
    );
    for (const name of names) {
      expect(await next() as Request).toEqual({ version: 1, get: name, from: 0 } as Request);
    }
    await rm(join(out.path, "gone"), { recursive: true });
    socket.write(Buffer.concat([
      whole("AAAAA"),
      message({ file: { size: 50_000, time: TIME } }),
      message({ from: 0 }),
      frame(1, "B".repeat(20_000)),
      frame(1, "B".repeat(30_000)),
      message({ sha256: "its end" }),
      whole("SMALL"),
      whole("CCCCC"),
      message({ file: { size: 5, time: TIME } }),
      message({ from: 0 }),
      frame(1, "12"),
      message({ error: "changed while it was sent", code: "ESTALE" }),
      message({ file: { size: 5, time: TIME } }),
      message({ from: 0 }),
      frame(1, "12345"),
      message({ sha256: sha256(Buffer.from("12346")) }),
      message({ error: "is not a file", code: "EACCES" }),
      message({ error: "no such file", code: "ENOENT" }),
      whole("DDDDD"),
    ]));
  });
  const lost = (name: string) => `error: ${join(out.path, name)}: no such file or folder (ENOENT)\n`;
  expect(await fetch(server.port, out.path, ["--recursive", "."]).result()).toEqual({
    code: 1,
    stdout: ["A", "C", "D"].map((letter) => saved(join(out.path, letter.toLowerCase()), letter.repeat(5)))
      .join(""),
    stderr: lost("gone/large") + lost("gone/small") +
      "error: broken: changed while it was sent (ESTALE)\n" +
      `error: ${join(out.path, "damaged")}: arrived damaged (EBADMSG)\n` +
      "error: elsewhere: is not a file (EACCES)\nerror: none: no such file (ENOENT)\n",
  });
  expect((await readdir(out.path)).sort()).toEqual(["a", "c", "d"]);
});

test("a file that appears after it was asked for: the question about it comes behind the answers", async () => {
  await using out = await folder();
  const path = (name: string) => join(out.path, name);
  const asked: Request[] = [];
  await using server = await impostor(async (socket, next) => {
    await next();
    const names = ["same", "other", "last"];
    socket.write(
      Buffer.concat([...names.map((name) => entry(name, 4)), message({ end: true, ahead: true })]),
    );
    for (let n = 0; n < 3; n++) asked.push(await next());
    await writeFile(path("same"), "same");
    await utimes(path("same"), new Date(), new Date(TIME));
    await writeFile(path("other"), "else"); // of the same size, at another time
    socket.write(Buffer.concat([whole("same"), whole("othr"), whole("last")]));
    while (true) {
      asked.push(await next());
      socket.write(message({ same: false }));
    }
  });
  expect(await fetch(server.port, out.path, ["--recursive", "."]).result()).toEqual({
    code: 1,
    stdout: saved(path("last"), "last") + "already here and skipped: 1 of 3 files\n",
    stderr: `error: ${
      path("other")
    }: exists already, and is not overwritten (EEXIST)\nhint: --force overwrites\n`,
  });
  expect(asked.slice(0, 3).map(({ get }) => get)).toEqual(["same", "other", "last"]);
  expect(asked.slice(3).map(({ check }) => check)).toEqual(["other", "other"]); // before and after it asks again
  expect(await readFile(path("other"), "utf8")).toBe("else");
  expect((await readdir(out.path)).sort()).toEqual(["last", "other", "same"]);
});

test("with --force, a file that appears after it was asked for is replaced, and a place that is none ends all", async () => {
  await using out = await folder();
  await using server = await impostor(async (socket, next) => {
    await next();
    socket.write(Buffer.concat([entry("file", 3), entry("next", 3), message({ end: true, ahead: true })]));
    for (let n = 0; n < 2; n++) await next();
    await writeFile(join(out.path, "file"), "old");
    socket.write(
      Buffer.concat([whole("new"), message({ file: { size: 3, time: TIME } }), message({ from: 1 })]),
    );
  });
  expect(await fetch(server.port, out.path, ["--recursive", ".", "--force"]).result()).toEqual({
    code: 1,
    stdout: saved(join(out.path, "file"), "new"),
    stderr: `error: 127.0.0.1:${server.port}: goes on at another place (EPROTO)\n`,
  });
  expect(await readdir(out.path)).toEqual(["file"]);
  const { mtimeMs } = await stat(join(out.path, "file"));
  expect([await readFile(join(out.path, "file"), "utf8"), mtimeMs]).toEqual(["new", TIME]);
});

test("a file that an earlier run has begun goes on, among others that are asked for ahead", async () => {
  await using root = await folder();
  await using out = await folder();
  const text = "0123456789".repeat(100_000);
  for (let n = 0; n < 20; n++) await writeFile(join(root.path, `${n}`), `${n}`);
  await writeFile(join(root.path, "11 is large"), text);
  await using server = serve(root.path);
  const port = await server.port();
  await using first = fetch(port, out.path, ["--recursive", ".", "--limit-rate", "100K"]);
  const isBegun = async () => {
    const part = (await readdir(out.path)).find((name) => name.startsWith("11 is large."));
    return part !== undefined && (await stat(join(out.path, part))).size > 0;
  };
  await until(isBegun, "the first bytes of the large file");
  first.signal("SIGKILL");
  await first.ended();
  const { code, stdout, stderr } = await fetch(port, out.path, ["--recursive", "."]).result();
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatch(/going on with .*11 is large at byte [1-9]\d*\nsaved 1000000 bytes as /);
  expect(await readFile(join(out.path, "11 is large"), "utf8")).toBe(text);
  expect((await readdir(out.path)).length).toBe(21);
});

test("what is held back leaves in one write, and says when it is time", async () => {
  await using server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const accepted = once(server, "connection") as Promise<[Socket]>;
  using caller = dial(port);
  const [socket] = await accepted;
  const frames = new FrameStream(socket, "the test");
  expect(frames.hold({ entry: 1 })).toBe(false);
  await Bun.sleep(150); // longer than anything is held back; but it leaves with the next, not by itself
  expect(socket.bytesWritten).toBe(0);
  expect(frames.hold({ entry: 2 })).toBe(true); // the first has waited for long
  await frames.flush();
  expect([await caller.next(), await caller.next()]).toEqual([{ entry: 1 }, { entry: 2 }]);
  expect(frames.hold({ entry: "x".repeat(60_000) })).toBe(false);
  expect(frames.hold({ entry: "y".repeat(6_000) })).toBe(true); // many bytes
  await frames.send({ end: true });
  expect((await caller.next()).entry.length).toBe(60_000);
  expect((await caller.next()).entry.length).toBe(6_000);
  expect(await caller.next()).toEqual({ end: true });
  socket.destroy();
});
