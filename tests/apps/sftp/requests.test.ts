/** Lesson 4.5, the server: what each request of SFTP does. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { lstatSync, readdirSync } from "node:fs";
import { lstat, mkdir, readdir, readlink, stat, symlink, writeFile } from "node:fs/promises";
import { namesReply, OPEN, type Request, statvfsReply } from "../../../scripts/apps/sftp/protocol.ts";
import { ServedFiles } from "../../../scripts/apps/sftp/served-files.ts";
import { Root } from "../../../scripts/apps/root.ts";
import { EVERYWHERE, ROOT, start } from "../../engine/program.ts";
import { until } from "../../engine/sockets.ts";
import {
  BAD,
  bytesOf,
  CREATE,
  DENIED,
  dial,
  EOF,
  FAILED,
  type Field,
  meet,
  NO_SUCH_FILE,
  NOTHING,
  number,
  OK,
  packet,
  READ,
  UNSUPPORTED,
  WRITE,
} from "./packets.ts";
import { IS_LINUX, needs, serve, stage } from "./server.ts";

setDefaultTimeout(120_000); // what waits in a test says itself for what it waited too long

test("of a disk that does not know a number, -1 or 2^64 as the runtimes tell it, comes the largest one", () => {
  const disk = { bsize: 4096, blocks: 10, bfree: 5, bavail: 5, files: -1, ffree: 2 ** 64 };
  const reply = statvfsReply(1, disk, false);
  const fields = Array.from({ length: 11 }, (_, index) => reply.readBigUInt64BE(9 + 8 * index));
  const unknown = 2n ** 64n - 1n;
  expect(fields).toEqual([4096n, 4096n, 10n, 5n, 5n, unknown, unknown, unknown, 0n, 0n, 255n]);
});

describe("requests", () => {
  test("that write are refused with --read-only, all of them", async () => {
    for (const runtime of EVERYWHERE) {
      await using at = await stage();
      await mkdir(at.path("root", "folder"));
      await writeFile(at.path("root", "file"), "as it was");
      const state = () => {
        const { mode, size, mtimeMs, ctimeMs } = lstatSync(at.path("root", "file"));
        return { mode, size, mtimeMs, ctimeMs };
      };
      const before = state();
      await using server = await serve(at, ["--read-only"], { runtime });
      using client = await meet(server.port);
      const handle = await client.open("file");
      if (typeof handle === "number") throw new Error(`status ${handle}`);
      const writing: [number, ...Field[]][] = [
        ...[WRITE, READ | WRITE, WRITE | CREATE, 4, READ | CREATE, READ | 16, WRITE | CREATE | 32].map((
          flags,
        ): [number, ...Field[]] => [3, "file", flags, NOTHING]),
        [9, "file", 1, 0n],
        [9, "file", 4, 0o600],
        [9, "file", 8, 1, 1],
        [10, handle, 4, 0o600],
        [10, handle, 1, 0n],
        [13, "file"],
        [14, "new", NOTHING],
        [15, "folder"],
        [18, "file", "moved"],
        [20, "file", "link"],
        [200, "posix-rename@openssh.com", "file", "moved"],
      ];
      for (const words of writing) {
        expect([words, (await client.ask(...words)).code]).toEqual([words, DENIED]);
      }
      expect([OK, DENIED]).not.toContain((await client.ask(6, handle, 0n, "changed")).code); // opened to read
      expect(await client.read("file")).toBe("as it was");
      expect((await readdir(at.root)).sort()).toEqual(["file", "folder"]);
      expect(state()).toEqual(before);
      expect(server.program.seen.stderr[0]).toBe("error: file: this server is read-only (EROFS)");
    }
  });

  for (const runtime of EVERYWHERE) {
    test(`do what the draft says, on ${runtime}`, async () => {
      await using at = await stage();
      await writeFile(at.path("root", "a"), "aaa");
      await writeFile(at.path("root", "b"), "bbb");
      await mkdir(at.path("root", "folder"));
      await mkdir(at.path("root", "other"));
      await using server = await serve(at, [], { runtime });
      using client = await dial(server.port);
      const version = await client.next();
      const names = ["posix-rename@openssh.com", "1", "statvfs@openssh.com", "2", "fsync@openssh.com", "1"];
      expect(version?.rest).toEqual(Buffer.concat([...names, "limits@openssh.com", "1"].map(bytesOf)));
      const code = async (type: number, ...fields: Field[]) => (await client.ask(type, ...fields)).code;

      // A rename replaces nothing; that of POSIX does.
      expect(await code(18, "a", "b")).toBe(FAILED);
      expect(await code(18, "folder", "other")).toBe(FAILED);
      expect(await client.read("b")).toBe("bbb");
      expect(await code(18, "folder", "renamed")).toBe(OK);
      expect(await code(18, "renamed", "folder")).toBe(OK);
      expect(await code(200, "posix-rename@openssh.com", "a", "b")).toBe(OK);
      expect(await client.read("b")).toBe("aaa");
      expect(await code(18, "a", "c")).toBe(NO_SUCH_FILE);
      expect(await code(18, "folder", "folder/in/itself")).toBe(NO_SUCH_FILE);

      // A link is renamed itself, and what it leads to stays.
      await symlink("b", at.path("root", "link"));
      expect(await code(18, "link", "b")).toBe(FAILED);
      expect(await code(18, "link", "moved")).toBe(OK);
      expect(await readlink(at.path("root", "moved"))).toBe("b");
      expect(await readdir(at.path("root"))).toEqual(expect.not.arrayContaining(["link"]));

      // Flags of an open.
      expect(await code(3, "new", WRITE, NOTHING)).toBe(NO_SUCH_FILE);
      expect(await code(3, "b", WRITE | CREATE | 32, NOTHING)).toBe(FAILED);
      expect(await code(3, "folder", READ, NOTHING)).toBe(FAILED);
      const { rest: made } = await client.ask(3, "new", READ | WRITE | CREATE, 4, 0o600);
      expect(await code(6, made, 2n, "xyz")).toBe(OK);
      expect((await client.ask(5, made, 0n, 100)).rest.subarray(4)).toEqual(Buffer.from("\0\0xyz"));
      expect(await code(5, made, 5n, 100)).toBe(EOF);
      expect(await code(6, made, 0n, Buffer.concat([number(250_000), Buffer.alloc(250_000)]))).toBe(OK);
      expect(await code(6, made, 250_000n, Buffer.concat([number(250_000), Buffer.alloc(250_000)]))).toBe(OK);
      expect((await client.ask(5, made, 0n, 0xffffffff)).rest.length).toBe(4 + 261_120);
      expect(await code(200, "fsync@openssh.com", made)).toBe(OK);
      expect(await code(10, made, 1, 3n)).toBe(OK); // its size
      expect((await client.ask(8, made)).rest.subarray(0, 12)).toEqual(
        Buffer.concat([number(15), bytesOf(3n)]),
      );
      expect(await code(4, made)).toBe(OK);
      expect(await code(4, made)).toBe(FAILED);
      expect(await code(5, made, 0n, 1)).toBe(FAILED);
      expect((await stat(at.path("root", "new"))).mode & 0o777).toBe(0o600);
      const { rest: appending } = await client.ask(3, "b", 4, NOTHING);
      expect(await code(6, appending, 0n, "+")).toBe(OK);
      expect(await code(4, appending)).toBe(OK);
      expect(await client.read("b")).toBe("aaa+");

      // Attributes, of a file and through a link; those that are not ours to give are refused.
      await symlink("b", at.path("root", "link"));
      expect(await code(9, "link", 1 | 4 | 8, 2n, 0o640, 1000, 2000)).toBe(OK);
      const { size, mode, mtimeMs } = await stat(at.path("root", "b"));
      expect({ size, mode: mode & 0o7777, mtimeMs }).toEqual({ size: 2, mode: 0o640, mtimeMs: 2_000_000 });
      expect((await lstat(at.path("root", "link"))).isSymbolicLink()).toBe(true);
      expect(await code(9, "b", 4, 0)).toBe(OK);
      expect(await code(9, "b", 4, 0o644)).toBe(OK); // the owner may, whatever it was
      const { rest: open } = await client.ask(3, "b", READ, NOTHING);
      for (const mode of [0o4755, 0o2755, 0o6755]) {
        const answers = [await code(9, "b", 4, mode), await code(10, open, 4, mode)];
        expect([...answers, await code(3, "setid", WRITE | CREATE, 4, mode)]).toEqual(Array(3).fill(DENIED));
      }
      expect(await code(4, open)).toBe(OK);
      expect(readdirSync(at.root)).not.toContain("setid");
      for (
        const [name, attributes, rights] of [["private", [4, 0o700], 0o700], [
          "setid",
          [4, 0o6750],
          0o750,
        ]] as const
      ) {
        expect(await code(14, name, ...attributes)).toBe(OK);
        expect([name, (await stat(at.path("root", name))).mode & 0o6777]).toEqual([name, rights]);
      }
      expect(await code(9, "b", 2, 0, 0)).toBe(DENIED);
      expect((await client.ask(7, "link")).rest.readUInt32BE(20) & 0o170000).toBe(0o120000);
      expect(await code(20, "b", "link")).toBe(FAILED); // it is there already
      expect(await code(20, "a\0b", "zero")).toBe(BAD);
      expect(await code(20, Buffer.from([0, 0, 0, 1, 0xff]), "latin")).toBe(BAD);
      expect((await client.ask(17, "link")).rest.readUInt32BE(20)).toBe(0o100644);

      // What is not known, or not there.
      for (const type of [2, 21, 101, 199, 255]) {
        expect([type, await code(type)]).toEqual([type, UNSUPPORTED]);
      }
      expect(await code(200, "hardlink@openssh.com", "b", "c")).toBe(UNSUPPORTED);
      expect(await code(4, "no handle")).toBe(FAILED);
      expect(await code(12, number(4), number(77))).toBe(FAILED);
      expect(await code(15, "b")).toBe(NO_SUCH_FILE); // ENOTDIR
      expect(await code(13, "folder")).toBe(FAILED);
      expect(await code(6, appending, 2n ** 52n - 2n ** 19n, "far")).toBe(FAILED); // it is closed
      const { rest: far } = await client.ask(3, "far", WRITE | CREATE, NOTHING);
      expect(`${await code(6, far, 2n ** 52n - 2n ** 19n, "far")}`).toMatch(/[04]/); // EFBIG, on most file systems
      await writeFile(at.path("root", "folder", "x"), "");
      expect(await code(15, "folder")).toBe(FAILED);
      const { rest: limits } = await client.ask(200, "limits@openssh.com");
      expect(limits).toEqual(Buffer.concat([262_144n, 261_120n, 261_120n, 100n].map(bytesOf)));
      const { rest: disk } = await client.ask(200, "statvfs@openssh.com", "/");
      expect({ length: disk.length, names: disk.readBigUInt64BE(80) }).toEqual({ length: 88, names: 255n });
      const words = (await client.ask(15, "folder")).rest;
      expect(`${words.subarray(8, 8 + words.readUInt32BE(4))}`).not.toContain("/"); // no path of this machine
    });
  }

  test("open no more than a hundred files", async () => {
    await using at = await stage();
    await writeFile(at.path("root", "file"), "");
    await using server = await serve(at);
    using client = await meet(server.port);
    const handles = [];
    for (let index = 0; index < 50; index++) {
      handles.push((await client.ask(3, "file", READ, NOTHING)).rest, (await client.ask(11, "/")).rest);
    }
    expect(new Set(handles.map(String)).size).toBe(100);
    expect(await client.open("file")).toBe(FAILED);
    expect((await client.ask(11, "/")).code).toBe(FAILED);
    const open = () => IS_LINUX ? readdirSync(`/proc/${server.program.pid}/fd`).length : 0;
    const many = open();
    expect((await client.ask(4, handles[7])).code).toBe(OK);
    expect(await client.read("file")).toBe(EOF);
    client.client.end();
    await until(() => open() <= Math.max(0, many - 99), "its files to be closed");
  });

  test("give back as many descriptors as they take, also where they fail", async () => {
    await using at = await stage();
    await mkdir(at.path("root", "folder"));
    await writeFile(at.path("root", "file"), "");
    const taken: number[] = [];
    const descriptors = {
      ...{
        most: 100,
        take: (count: number) => void taken.push(count),
        give: (count: number) => void taken.push(-count),
      },
    };
    const root = await Root.of(at.root);
    const files = new ServedFiles({ root, readOnly: false, descriptors, say: () => Promise.resolve() });
    const ask = async (request: object) => {
      const reply = await files.answer({ id: 1, ...request } as Request).catch(({ code }) => `${code}`);
      return typeof reply === "string" ? reply : reply.readUInt32BE(reply.length - 4); // the handle
    };
    const open = (path: string) => ask({ kind: "open", path, flags: OPEN.read, attributes: {} });
    for (
      const [opened, most] of [
        [() => open("/file"), 1],
        [() => ask({ kind: "opendir", path: "/folder" }), 2],
        [() => open("/folder"), "EISDIR"],
        [() => open("/missing"), "ENOENT"],
        [() => ask({ kind: "opendir", path: "/file" }), "ENOTDIR"],
      ] as const
    ) {
      taken.length = 0;
      const handle = await opened();
      expect(typeof most === "string" ? handle : taken[0]).toBe(most);
      if (typeof handle === "number") await ask({ kind: "close", handle });
      expect(taken.length).toBe(2);
      expect(taken[0] + taken[1]).toBe(0);
    }
    taken.length = 0; // what a client leaves open is given back at its end
    await open("/file");
    await ask({ kind: "opendir", path: "/folder" });
    await files[Symbol.asyncDispose]();
    expect(taken.toSorted()).toEqual([-1, -2, 1, 2]);
  });

  test("list folders of any size, and names of any kind", async () => {
    await using at = await stage();
    const names = ["你好", "a b", "new\nline", "back\\slash", "-rf", "\x1b[2J", "x".repeat(255)];
    for (let index = 0; index < 1000; index++) names.push(`${index}`);
    for (const name of names) await writeFile(at.path("root", name), "");
    await using server = await serve(at);
    using client = await meet(server.port);
    const { rest: handle } = await client.ask(11, "/");
    const seen: string[] = [];
    for (let count = 1; count > 0;) {
      const { type, rest, code } = await client.ask(12, handle);
      count = type === 104 ? rest.readUInt32BE() : 0;
      expect(count > 0 || code === EOF).toBe(true);
      expect(count).toBeLessThanOrEqual(100);
      for (let at = 4, left = count; left > 0; left--) {
        const length = rest.readUInt32BE(at);
        seen.push(`${rest.subarray(at + 4, at + 4 + length)}`);
        at += 4 + length;
        at += 4 + rest.readUInt32BE(at) + 4 + 28; // the long name, and the attributes
      }
    }
    expect(seen.sort()).toEqual(names.sort());
    for (const name of names.slice(-7)) expect(await client.read(name)).toBe(EOF);
    expect((await client.ask(13, "\x1b[2J")).code).toBe(OK);
    await until(
      () => server.program.seen.stdout.some((line) => line.endsWith(" removed /\\x1b[2J")),
      "the line",
    );
  });

  test("list files of any date", async () => {
    for (const runtime of EVERYWHERE) {
      await using at = await stage();
      const dates = { far: "@100000000000000", old: "@-100000000000000", before: "@-1", soon: "@4294967295" };
      for (const [name, date] of Object.entries(dates)) {
        await writeFile(at.path("root", name), "");
        await start(["touch", "-d", date, at.path("root", name)]).ended(); // fails where the file system has no such date
      }
      await using server = await serve(at, [], { runtime });
      using client = await meet(server.port);
      const { rest: handle } = await client.ask(11, "/");
      const { type, rest } = await client.ask(12, handle);
      expect({ type, count: rest.readUInt32BE() }).toEqual({ type: 104, count: 4 });
      for (const name of Object.keys(dates)) expect(`${rest}`).toContain(` ${name}`);
      expect(await client.read("far")).toBe(EOF);
      expect(server.program.seen.stderr).toEqual([]);
    }
    // Not every file system has such dates: so a list of one that has.
    for (
      const [time, shown] of [[1e17, "Sep 13 275760"], [-1e17, "-271821"], [NaN, "275760"], [
        0,
        "Jan",
      ]] as const
    ) {
      const mtimeMs = time;
      const stats = Object.assign(lstatSync(ROOT), { mtimeMs, atimeMs: mtimeMs, mtime: new Date(mtimeMs) });
      expect(`${namesReply(1, [{ name: "far", stats }])}`).toContain(shown);
    }
  });

  test.skipIf(!Bun.which("mkfifo"))(
    `of what is no file are refused, and do not hang${needs("mkfifo")}`,
    async () => {
      await using at = await stage();
      await start(["mkfifo", at.path("root", "pipe")]).ended();
      await using server = await serve(at);
      using client = await meet(server.port);
      for (const flags of [READ, WRITE, READ | WRITE]) {
        expect(`${(await client.ask(3, "pipe", flags, NOTHING)).code}`).toMatch(/[34]/);
      }
    },
  );

  test("are answered in their order", async () => {
    await using at = await stage();
    await using server = await serve(at);
    using client = await meet(server.port);
    const handle = await client.open("file", READ | WRITE | CREATE);
    if (typeof handle === "number") throw new Error(`status ${handle}`);
    const count = 500;
    for (let id = 0; id < count; id++) {
      client.channel.write(packet(6, id, handle, 0n, `${id}`.padStart(4)));
      client.channel.write(packet(5, id + count, handle, 0n, 4));
    }
    for (let id = 0; id < count; id++) {
      expect(await client.next()).toMatchObject({ type: 101, id });
      expect(await client.next()).toEqual({ type: 103, id: id + count, rest: bytesOf(`${id}`.padStart(4)) });
    }
  });

  test("of many clients are answered side by side", async () => {
    await using at = await stage();
    await writeFile(at.path("root", "file"), "for all");
    await using server = await serve(at);
    const clients = await Promise.all(Array.from({ length: 20 }, () => meet(server.port)));
    const texts = await Promise.all(clients.map(async (client) => await client.read("file")));
    expect(texts).toEqual(Array(20).fill("for all"));
    for (const client of clients) client[Symbol.dispose]();
  });
});
