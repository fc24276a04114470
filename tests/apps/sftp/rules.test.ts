/** Lesson 4.5: the rules that need no connection: answers that are believed, transfers, places, prompts. */
import { describe, expect, jest, setDefaultTimeout, spyOn, test } from "bun:test";
import { EventEmitter } from "node:events";
import { chmodSync, chownSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import process from "node:process";
import {
  type AnyAuthMethod,
  type AuthContext,
  type Connection,
  type ParsedKey,
  type SFTPWrapper,
} from "ssh2";
import { Failure } from "../../../lib/failure.ts";
import { print } from "../../../lib/program.ts";
import { Root } from "../../../scripts/apps/root.ts";
import {
  Authentication,
  readAuthorizedKeys,
  WrongPasswords,
} from "../../../scripts/apps/sftp/authentication.ts";
import { type Caller, Callers } from "../../../scripts/apps/sftp/callers.ts";
import { fingerprint } from "../../../scripts/apps/sftp/known-hosts.ts";
import { Local } from "../../../scripts/apps/sftp/local.ts";
import { Login } from "../../../scripts/apps/sftp/login.ts";
import { parseKey } from "../../../scripts/apps/sftp/parse-key.ts";
import type { Prompter } from "../../../scripts/apps/sftp/prompt.ts";
import { Remote } from "../../../scripts/apps/sftp/remote.ts";
import { Sessions } from "../../../scripts/apps/sftp/sessions.ts";
import type { Entry, Facts, File, Side } from "../../../scripts/apps/sftp/side.ts";
import { copy, Transfer } from "../../../scripts/apps/sftp/transfer.ts";
import { temporaryFolder } from "../../engine/files.ts";
import { terminal } from "../../engine/terminal.ts";
import { makeKey } from "./server.ts";

setDefaultTimeout(60_000); // what waits in a test says itself for what it waited too long

const code = (error: unknown) => (error as Failure).code;
const FOLDER = { mode: 0o40755, isDirectory: () => true };
const FILE = { mode: 0o100644, size: 3, isDirectory: () => false };

type Done = (error?: unknown, answer?: unknown) => void;

/** The side of a server that answers so: what is not given is answered with undefined. */
function remote(
  answers: Record<string, (...words: never[]) => unknown>,
  limits: Record<string, number> = {},
) {
  const asked: string[] = [];
  const [gone, stop] = [new AbortController(), new AbortController()];
  const sftp = new Proxy({}, {
    get: (_, name: string) => {
      if (name.startsWith("_max")) return limits[name];
      if (name === "ext_openssh_rename" && !answers[name]) return undefined; // not announced
      return (...words: unknown[]) => {
        asked.push(name);
        const done = words.pop() as Done;
        try {
          const answer = answers[name]?.(...words as never[]);
          if (answer !== "never") done(undefined, answer);
        } catch (error) {
          done(error);
        }
      };
    },
  }) as SFTPWrapper;
  const socket = new Socket();
  const side = new Remote(sftp, socket, "server", gone.signal, stop.signal);
  return { side, asked, gone, stop, socket };
}

/** An error of the server, by its number. */
const told = (number: number, message: string) => Object.assign(new Error(message), { code: number });
const fails = (error: Error) => () => {
  throw error;
};

describe("what a server answers", () => {
  /** Lists a folder whose names come so, a thousand at once; then its end. */
  const lists = (names: string[]) => {
    let at = 0;
    return remote({
      opendir: () => Buffer.from("1"),
      readdir: () => {
        if (at >= names.length) throw told(1, "end");
        return names.slice(at, at += 1000).map((filename) => ({
          filename,
          longname: "drwxr-xr-x",
          attrs: {},
        }));
      },
    });
  };

  test("a list: its names in order, without the dots, and its handle is closed", async () => {
    const { side, asked } = lists(["b", ".", "..", "a", ".c"]);
    expect((await side.list("/")).map(({ name, kind }) => `${name} ${kind}`)).toEqual([
      ".c folder",
      "a folder",
      "b folder",
    ]);
    expect(asked).toEqual(["opendir", "readdir", "readdir", "close"]);
  });

  test("a list without end, and names that no file can have; the handle is closed all the same", async () => {
    const many = (count: number) => Array.from({ length: count }, (_, index) => `${index}`);
    expect(await lists(many(100_000)).side.list("/")).toHaveLength(100_000);
    const wrong = [many(100_001), [""], ["a/b"], ["../up"], ["a\0"], ["x".repeat(766)], ["猫".repeat(256)]];
    for (const names of wrong) {
      const { side, asked } = lists(names);
      expect(await side.list("/").catch(code)).toBe("EPROTO");
      expect(asked.at(-1)).toBe("close");
    }
    expect(await lists(["猫".repeat(255)]).side.list("/")).toHaveLength(1);
  });

  test("a list of dots without end ends, too", async () => {
    let left = 200; // more than enough
    const { side, asked } = remote({
      opendir: () => Buffer.from("1"),
      readdir: () => {
        if (left-- === 0) throw told(1, "end");
        return Array(1000).fill({ filename: ".", longname: "drwxr-xr-x", attrs: {} });
      },
    });
    expect(await side.list("/").catch(code)).toBe("EPROTO");
    expect([left, asked.at(-1)]).toEqual([99, "close"]);
  });

  test("of another kind than was asked for is no answer", async () => {
    for (const answer of [undefined, 7, "text", "", {}]) {
      const { side } = remote({
        stat: () => answer,
        opendir: () => answer,
        open: () => answer,
        realpath: () => answer,
      });
      for (const asked of [side.stat("x"), side.list("x"), side.open("x", "r"), side.realpath("x")]) {
        expect(await asked.catch(code)).toBe("EPROTO");
      }
    }
    const file = await remote({ open: () => Buffer.from("1"), read: () => 8 }).side.open("x", "r");
    expect(await file.read(Buffer.alloc(9), 0, 8, 0)).toBe(8);
    expect(await (file.read(Buffer.alloc(9), 0, 7, 0) as Promise<number>).catch(code)).toBe("EPROTO"); // more than there is room for
  });

  test("is asked for with whole paths, and with what was told of rights", async () => {
    const words: unknown[][] = [];
    const note = (...asked: unknown[]) => void words.push(asked);
    const names = ["mkdir", "rmdir", "unlink", "setstat", "rename", "opendir", "open"];
    const { side } = remote(Object.fromEntries(names.map((name) => [name, (...asked: unknown[]) => {
      note(name, ...asked);
      return Buffer.from("1");
    }])));
    await side.mkdir("a");
    side.folder = "/home/anna";
    await side.mkdir("a", 0o750);
    await side.finishFolder("/b", 0o700);
    await side.rmdir("../c");
    await side.unlink("d");
    await side.setRights("e", {});
    await side.setRights("e", { uid: 1, gid: 2 });
    await side.setRights("e", { uid: 1, mode: 0o600 });
    await side.rename("f", "/g");
    await side.open("h", "wx", 0o640);
    await side.open("h", "r");
    expect(words).toEqual([
      ["mkdir", "a", {}],
      ["mkdir", "/home/anna/a", { mode: 0o750 }],
      ["setstat", "/b", { mode: 0o700 }],
      ["rmdir", "/home/anna/../c"], // what .. is, only the server knows
      ["unlink", "/home/anna/d"],
      ["setstat", "/home/anna/e", { uid: 1, gid: 2 }],
      ["setstat", "/home/anna/e", { mode: 0o600 }],
      ["rename", "/home/anna/f", "/g"],
      ["open", "/home/anna/h", "wx", { mode: 0o640 }],
      ["open", "/home/anna/h", "r", {}],
    ]);
  });

  test("is asked for in one piece: the socket is corked while ssh2 writes, and no longer", async () => {
    let corked = 0;
    const { side, socket } = remote({ realpath: () => (corked = socket.writableCorked, "/") });
    expect(await side.realpath(".")).toBe("/");
    expect([corked, socket.writableCorked]).toEqual([1, 0]);
  });

  test("without attributes: the long name tells the kind, or whether it opens as a folder", async () => {
    const longNames = ["drwxr-xr-x a", "lrwxrwxrwx b", "-rw-r--r-- c", "?", "letters.txt", "docs.txt"];
    const names = longNames.map((longname, index) => ({
      ...{ filename: `${index}`, longname },
      attrs: index === 2 ? { mode: 0o40755, size: 7, mtime: 9, uid: 1, gid: 2 } : {},
    }));
    let isRead = false;
    const { side, asked } = remote({
      opendir: (path: string) => path === "/file" ? fails(told(4, "Failure"))() : Buffer.from("1"),
      readdir: () => isRead ? fails(told(1, "end"))() : (isRead = true, names),
      close: fails(told(4, "Failure")), // of a list, nobody needs to know
      stat: () => ({ isDirectory: () => false }),
    });
    const list = await side.list("/");
    expect(list.map(({ kind }) => kind)).toEqual(["folder", "link", "folder", "file", "file", "file"]);
    expect(list[2]).toEqual({ name: "2", kind: "folder", mode: 0o755, size: 7, time: 9, uid: 1, gid: 2 });
    expect((await side.stat("/file")).kind).toBe("file");
    expect(asked.at(-1)).toBe("opendir");
    const folder = remote({ opendir: () => Buffer.from("1"), stat: () => ({ isDirectory: () => false }) });
    expect((await folder.side.stat("/folder")).kind).toBe("folder");
    expect(folder.asked).toEqual(["stat", "opendir", "close"]);
  });

  test("how much one request moves: what both ends take, and little where ssh2 does not tell", async () => {
    const piece = async (limits: Record<string, number>) =>
      (await remote({ open: () => Buffer.from("1") }, limits).side.open("x", "r")).piece;
    expect(await piece({})).toBe(16_384);
    expect(await piece({ _maxReadLen: 2 ** 20, _maxWriteLen: 2 ** 20 })).toBe(261_120);
    expect(await piece({ _maxReadLen: 50_000, _maxWriteLen: 40_000 })).toBe(40_000);
    expect(await piece({ _maxReadLen: 30_000, _maxWriteLen: 40_000 })).toBe(30_000);
    expect(await piece({ _maxReadLen: 0, _maxWriteLen: 0 })).toBe(1);
  });

  test("to a close may be that the disk is full; after Ctrl-C it is not waited for", async () => {
    const { side, stop } = remote({ open: () => Buffer.from("1"), close: fails(told(4, "disk full")) });
    const [one, other] = [await side.open("x", "wx"), await side.open("x", "wx")];
    const closed = (file: File) => Promise.try(() => file[Symbol.asyncDispose]()).then(() => "closed", code);
    expect(await closed(one)).toBe("EREMOTEIO");
    stop.abort("stopped");
    expect(await closed(other)).toBe("closed");
  });

  test("in words: plain ones are ours, others are told as the server's", async () => {
    const words = async (error: Error) =>
      await remote({ stat: fails(error) }).side.stat("x").catch(({ message }) => message);
    expect(await words(told(2, "No such file"))).toBe("x: no such file or folder (ENOENT)");
    expect(await words(told(3, ""))).toBe("x: permission denied (EACCES)");
    expect(await words(told(2, "it is Monday"))).toBe("x: the server says: it is Monday (ENOENT)");
    expect(await words(told(4, "Failure"))).toBe("x: the server says: Failure (EREMOTEIO)");
    expect(await words(told(99, "what?"))).toBe("x: the server says: what? (EREMOTEIO)");
    expect(await words(new Error("No response from server"))).toBe(
      "server: connection closed by peer (EPIPE)",
    );
    expect(await words(new Error("Packet too long"))).toBe("server: Packet too long (EPROTO)");
  });

  test("a place that is no folder is not entered, and a folder that is there is one", async () => {
    const { side } = remote({
      stat: (path: string) => path === "/a" ? FOLDER : FILE,
      realpath: () => "/a",
      mkdir: fails(told(4, "Failure")),
    });
    expect(await side.enter("/b").catch(code)).toBe("ENOTDIR");
    await side.enter("/a");
    expect(side.folder).toBe("/a");
    expect(await side.needFolder("/a")).toBe(false);
    expect(await side.needFolder("/b").catch(code)).toBe("EREMOTEIO");
  });

  test("a rename that replaces, where the server has it, else the other one", async () => {
    const [with_, without] = [remote({ ext_openssh_rename: () => {} }), remote({})];
    for (const { side } of [with_, without]) await side.rename("a", "b");
    expect([with_.asked, without.asked]).toEqual([["ext_openssh_rename"], ["rename"]]);
  });

  test("none: the end of the connection, or Ctrl-C, ends the wait, and tidying up gets 350 ms", async () => {
    const { side, gone, stop } = remote({ stat: () => "never", unlink: () => "never" });
    const waits = [side.stat("a"), side.stat("b")].map((one) => one.catch((error) => error));
    stop.abort("stopped");
    expect(await Promise.all(waits)).toEqual(["stopped", "stopped"]);
    jest.useFakeTimers();
    try {
      let isOver = false;
      const tidied = side.unlink("a").catch((error) => (isOver = true, error));
      jest.advanceTimersByTime(349);
      await Promise.resolve();
      expect(isOver).toBe(false);
      jest.advanceTimersByTime(1);
      expect(await tidied).toBe("stopped");
    } finally {
      jest.useRealTimers();
    }
    gone.abort("gone");
    expect(await side.stat("a").catch((error) => error)).toBe("gone");
  });
});

/** A file of so many bytes, each of which says where it is; `short` reads bring fewer than asked for. */
function source(size: number, piece: number, short = piece): File {
  return {
    piece,
    read: (buffer, offset, length, place) => {
      const count = Math.max(0, Math.min(length, short, size - place));
      for (let at = 0; at < count; at++) buffer[offset + at] = (place + at) % 251;
      return Promise.resolve(count);
    },
    write: () => Promise.reject(new Error("not here")),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

function target(piece: number, full = Infinity) {
  const bytes = Buffer.alloc(10_000);
  let [length, writing, most] = [0, 0, 0];
  const file = {
    piece,
    async write(some: Buffer, place: number) {
      most = Math.max(most, ++writing);
      await Bun.sleep(0);
      writing--;
      if (place + some.length > full) throw new Failure("disk", "full", "ENOSPC");
      some.copy(bytes, place);
      length = Math.max(length, place + some.length);
    },
  } as unknown as File;
  return { file, whole: () => bytes.subarray(0, length), writing: () => writing, most: () => most };
}

describe("a copy", () => {
  const right = (size: number) => Buffer.from(Array.from({ length: size }, (_, at) => at % 251));

  test.each([[1000, 1000, 100, 100], [1000, 1000, 100, 33], [999, 999, 7, 7], [1000, 0, 64, 10], [
    0,
    0,
    100,
    100,
  ], [1, 1, 100, 100]])(
    "of %d bytes, %d announced, in pieces of %d, read by %d",
    async (size, announced, piece, short) => {
      const to = target(piece);
      let steps = 0;
      expect(await copy(source(size, piece, short), to.file, announced, "name", (bytes) => steps += bytes))
        .toBe(size);
      expect(to.whole().equals(right(size))).toBe(true);
      expect(steps).toBe(size);
      expect(to.most()).toBeLessThanOrEqual(64);
    },
  );

  test("of fewer bytes than were announced is an error; of more, all are copied", async () => {
    const fewer = copy(source(950, 100), target(100).file, 1000, "name", () => {});
    expect(await fewer.catch(({ message }) => message)).toBe("name: ended after 950 of 1000 bytes (EIO)");
    for (const piece of [100, 333, 999, 1000, 1001, 5000]) {
      for (const size of [1001, 1002, 2000, 2001]) {
        const to = target(piece);
        expect([piece, await copy(source(size, piece), to.file, 1000, "name", () => {})]).toEqual([
          piece,
          size,
        ]);
        expect(to.whole().equals(right(size))).toBe(true);
      }
    }
  });

  test("of a file that becomes longer with each look at its end has no holes", async () => {
    let size = 1000;
    const from: File = {
      ...source(0, 100),
      read: (...words) => {
        const now = source(size, 100).read(...words);
        if (words[3] + words[2] > size && size < 3000) size += 250; // behind what was read
        return now;
      },
    };
    const to = target(100);
    const copied = await copy(from, to.file, 1000, "name", () => {});
    expect(copied).toBeGreaterThanOrEqual(1000);
    expect(to.whole().equals(right(copied))).toBe(true);
  });

  test("asks for nothing more when a write has failed, though other requests go on", async () => {
    let reads = 0;
    const from: File = {
      ...source(10_000, 10),
      read: (...words) => (reads++, source(10_000, 10).read(...words)),
    };
    const write = (_: Uint8Array, place: number) =>
      place === 0 ? Promise.reject(new Failure("it", "broken", "EIO")) : Promise.resolve();
    const copied = copy(from, { ...from, write }, 10_000, "name", () => {});
    expect(await copied.catch(code)).toBe("EIO");
    expect(reads).toBeLessThan(100);
  });

  test("has 64 requests under way, or 2 MiB", async () => {
    for (const [piece, expected] of [[100, 64], [2 ** 17, 16], [2 ** 18, 8], [2 ** 22, 1]]) {
      let [reading, most] = [0, 0];
      const from: File = {
        ...source(0, piece),
        async read(_, __, length, place) {
          most = Math.max(most, ++reading);
          await Bun.sleep(0);
          reading--;
          return Math.min(length, 100 * piece - place);
        },
      };
      const to: File = { ...from, write: () => Promise.resolve() };
      expect(await copy(from, to, 100 * piece, "name", () => {})).toBe(100 * piece);
      expect([piece, most]).toEqual([piece, expected]);
    }
  });

  test("ends with the first error, though an earlier request still waits; and a later error is nobody's", async () => {
    const slow = (place: number) =>
      place === 0 ? Bun.sleep(5) : Promise.reject(new Failure("it", "broken", "EIO"));
    const from = source(1000, 100);
    const reads: File = { ...from, read: async (...words) => (await slow(words[3]), from.read(...words)) };
    expect(await copy(reads, target(100).file, 1000, "name", () => {}).catch(code)).toBe("EIO");
    const later: File = {
      ...from,
      read: async (...words) => (await Bun.sleep(words[3] ? 5 : 0), from.read(...words)),
    };
    const write = () => Promise.reject(new Failure("it", "full", "ENOSPC")); // while the next read is waited for
    expect(await copy(later, { ...from, write }, 1000, "name", () => {}).catch(code)).toBe("ENOSPC");
  });

  test("to a disk that is full ends when the writes have ended", async () => {
    const to = target(10, 500);
    expect(await copy(source(1000, 10), to.file, 1000, "name", () => {}).catch(code)).toBe("ENOSPC");
    expect(to.writing()).toBe(0);
  });
});

describe("a transfer", () => {
  /** Two sides in memory. What is done at the target is noted. */
  async function pass(
    entries: (path: string) => Entry[],
    more: {
      isNew?: boolean;
      mostNames?: number;
      to?: Partial<Side>;
      /** What is passed: a folder, if nothing else is told. */
      facts?: Partial<Facts>;
      isDeep?: boolean;
      stop?: AbortSignal;
      end?: AbortSignal;
      open?: (path: string) => Promise<File>;
      each?: (entries: Entry[], work: (entry: Entry) => Promise<unknown>) => Promise<boolean>;
    } = {},
  ) {
    const done: string[] = [];
    const note = (what: string) => (...words: unknown[]) =>
      Promise.resolve(void done.push([what, ...words].join(" ").replace(/incoming-\w+/, "incoming")));
    const from = {
      list: (path: string) => Promise.resolve(entries(path)),
      open: more.open ?? ((path: string) => Promise.resolve(source(path.endsWith("short") ? 2 : 3, 100))),
    } as unknown as Side;
    const to = {
      check: () => {},
      needFolder: (path: string, mode?: number) =>
        note("folder")(path, mode?.toString(8)).then(() => more.isNew ?? true),
      finishFolder: (path: string, mode: number) => note("finish")(path, mode.toString(8)),
      lstat: () => Promise.reject(new Failure("x", "", "ENOENT")),
      open: (path: string, flags: string, mode?: number) =>
        note("open")(path, flags, mode?.toString(8)).then(() => ({
          piece: 100,
          write: () => Promise.resolve(),
          [Symbol.asyncDispose]: note("close"),
        })),
      rename: note("rename"),
      unlink: note("unlink"),
      setRights: note("rights"),
      ...more.to,
    } as unknown as Side;
    const failed: string[] = [];
    const each = async (all: Entry[], work: (entry: Entry) => Promise<unknown>) => {
      for (const one of all) await work(one).catch((error) => failed.push((error as Failure).message));
      return true;
    };
    const shown: string[] = [];
    const write = (text: unknown, written: unknown) => {
      shown.push(`${text}`.trim().replaceAll(/incoming-\w+/g, "incoming"));
      (written as () => void)();
      return true;
    };
    const quiet = [process.stdout, process.stderr].map((stream) =>
      spyOn(stream, "write").mockImplementation(write as never)
    );
    try {
      const never = new AbortController().signal;
      const transfer = new Transfer(from, to, {
        isDeep: more.isDeep ?? true,
        mostNames: more.mostNames ?? 10,
        each: more.each ?? each,
        stop: more.stop ?? never,
        end: more.end ?? never,
      });
      const facts: Facts = { kind: "folder", mode: 0o2750, size: 0, time: 0, ...more.facts };
      await transfer.pass("from", "to", facts).catch((error) =>
        failed.push(error instanceof Failure ? error.message : error.name)
      );
    } finally {
      for (const one of quiet) one.mockRestore();
    }
    return { done, failed, shown };
  }
  const entry = (name: string, kind: Entry["kind"] = "file", more: Partial<Entry> = {}): Entry => ({
    name,
    kind,
    size: 3,
    time: 0,
    mode: 0o640,
    ...more,
  });

  test("a folder that is made gets its mode when it is full; one that was there keeps its own", async () => {
    const made = await pass(() => [entry("a")]);
    expect(made).toMatchObject({
      done: [
        "folder to 750",
        "open to/incoming.part wx 640",
        "close",
        "rename to/incoming.part to/a",
        "finish to 750",
      ],
      failed: [],
    });
    expect((await pass(() => [], { isNew: false })).done).toEqual(["folder to 750"]);
  });

  test("a tree without end, and a folder that is refused", async () => {
    const endless = await pass(() => [entry("d", "folder")], { mostNames: 5 });
    expect(endless.failed).toEqual(["from/d/d/d/d/d: is a tree without end (EPROTO)"]);
    const wide = (path: string) =>
      path === "from" ? [1, 2, 3, 4].map((n) => entry(`${n}`, "folder")) : [entry("a"), entry("b")];
    expect((await pass(wide, { mostNames: 6 })).failed).toEqual([]); // those of a folder that is done no longer wait
    expect((await pass(wide, { mostNames: 5 })).failed).toHaveLength(4);
  });

  test("a name that may not be one here is refused, and the next file comes", async () => {
    const check = (name: string) => {
      if (name === "../up") throw new Failure(name, "leads out", "EINVAL");
    };
    const { done, failed } = await pass(() => [entry("../up"), entry("b")], { to: { check } });
    expect(failed).toEqual(["../up: leads out (EINVAL)"]);
    expect(done.filter((what) => what.startsWith("rename"))).toEqual(["rename to/incoming.part to/b"]);
  });

  test("a file that is not whole leaves no part, and never gets the name", async () => {
    const { done, failed } = await pass(() => [entry("short")]);
    expect(failed).toEqual(["from/short: ended after 2 of 3 bytes (EIO)"]);
    expect(done.slice(1, -1)).toEqual(["open to/incoming.part wx 640", "close", "unlink to/incoming.part"]);
  });

  test("a file that is replaced keeps its owner and rights; one with two names is written in place", async () => {
    const old = { kind: "file", mode: 0o600, size: 1, time: 0, uid: 7, gid: 8 } as const;
    const at = (links: number) => ({
      lstat: (path: string) =>
        Promise.resolve(path.endsWith("part") ? { ...old, uid: 1, mode: 0o600 } : { ...old, links }),
    });
    const { done } = await pass(() => [entry("a")], { to: at(1) });
    expect(done.slice(1, 4)).toEqual([
      "open to/incoming.part wx 600",
      "rights to/incoming.part [object Object]",
      "close",
    ]);
    expect((await pass(() => [entry("a")], { to: at(2) })).done.slice(1, 3)).toEqual([
      "open to/a w ",
      "close",
    ]);
  });

  /** Passes one file to where there is another one. */
  const passFile = (to: Partial<Side>, more: Parameters<typeof pass>[1] = {}) =>
    pass(() => [], { facts: { kind: "file", mode: 0o640, size: 3 }, to, ...more });
  const OLD = { kind: "file", mode: 0o600, size: 1, time: 0, uid: 7, gid: 8, links: 1 } as const;
  const there = (old: Partial<Facts>, part: Partial<Facts> = {}) => ({
    lstat: (path: string) => Promise.resolve({ ...OLD, ...path.endsWith("part") ? part : old }),
  });
  const failing = (why: string) => () => Promise.reject(new Failure("it", why, "EACCES"));

  test("what is no file is not passed, nor a folder without -r; a folder is in the way of a file", async () => {
    const failed = async (facts: Partial<Facts>) => (await pass(() => [], { facts, isDeep: false })).failed;
    expect(await failed({ kind: "other" })).toEqual(["from: is not a file (EACCES)"]);
    expect(await failed({ kind: "folder" })).toEqual(["from: is a folder (EISDIR)"]);
    const blocked = await passFile(there({ kind: "folder" }));
    expect([blocked.failed, blocked.done]).toEqual([["to: is a folder (EISDIR)"], []]);
    const refused = await passFile({ lstat: failing("refused") });
    expect([refused.failed, refused.done]).toEqual([["it: refused (EACCES)"], []]);
    expect((await passFile({})).shown).toEqual(["from -> to  3 bytes"]);
  });

  test("a part gets the rights of what it replaces, if it does not have them yet", async () => {
    const rights = async (part: Partial<Facts>) => {
      const set: unknown[] = [];
      const setRights = (_: string, rights: unknown) => Promise.resolve(void set.push(rights));
      await passFile({ ...there({}, part), setRights });
      return set;
    };
    expect(await rights({})).toEqual([]);
    expect(await rights({ mode: 0o644 })).toEqual([{ mode: 0o600 }]);
    expect(await rights({ gid: 9 })).toEqual([{ mode: 0o600, uid: 7, gid: 8 }]);
  });

  test("what cannot be replaced with the same rights is written in place, which is told when it fails", async () => {
    const inPlace = ["open to w ", "close"];
    expect((await passFile(there({ mode: undefined }))).done).toEqual(inPlace); // a server that tells no mode
    const cannot = await passFile({ ...there({}, { uid: 9 }), setRights: failing("refused") });
    expect(cannot.done).toEqual([
      "open incoming.part wx 600",
      "close",
      "unlink incoming.part",
      ...inPlace,
    ]);
    const done: string[] = [];
    const open = (path: string, flags: string) => {
      done.push(`${path} ${flags}`.replace(/incoming-\w+/, "incoming"));
      if (flags === "wx") return failing("refused")();
      return Promise.resolve({
        piece: 100,
        read: () => Promise.resolve(0),
        write: () => Promise.reject(new Failure("to", "no space", "ENOSPC")),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      });
    };
    const full = await passFile({ ...there({}), open });
    expect(done).toEqual(["incoming.part wx", "to w"]); // we may not write in the folder
    expect(full.failed).toEqual(["to: no space (ENOSPC)"]);
    expect(full.shown).toEqual(["hint: to is not whole: it was written in place"]);
    const device = await passFile({ ...there({ kind: "other" }), open });
    expect([done.at(-1), device.shown]).toEqual(["to a", []]);
  });

  test("a disk that is full, or a server that fails, does not cost the file that is to be replaced", async () => {
    for (const code of ["ENOSPC", "EDQUOT", "EMFILE", "EREMOTEIO"]) {
      const flags: string[] = [];
      const open = (path: string, how: string) => {
        flags.push(how);
        return Promise.reject(new Failure(path, "no", code));
      };
      expect((await passFile({ ...there({}), open })).failed).toEqual([`to: no (${code})`]);
      expect(flags).toEqual(["wx"]);
    }
  });

  test("Ctrl-C ends it at any moment, and its part is removed", async () => {
    const ctrlC = () => Promise.reject(new DOMException("stopped", "AbortError"));
    for (const to of [{}, there({})]) {
      const flags: string[] = [];
      const open = (_: string, how: string) => (flags.push(how), ctrlC());
      const { failed, done } = await passFile({ ...to, open });
      expect([failed, done, flags]).toEqual([["AbortError"], [], ["wx"]]);
    }
    const late = await passFile({ ...there({}, { gid: 9 }), setRights: ctrlC });
    expect([late.failed, late.done.slice(0, 2)]).toEqual([["AbortError"], [
      "open incoming.part wx 600",
      "close",
    ]]);
    expect(late.done).not.toContain("open to w ");
    const stop = new AbortController();
    stop.abort();
    const signals = { stop: stop.signal, end: stop.signal };
    const stopped = await passFile({}, signals);
    expect(stopped.failed).toEqual(["AbortError"]);
    expect(stopped.done).toEqual(["open incoming.part wx 640", "close", "unlink incoming.part"]);
    expect(stopped.shown).toEqual(["hint: to: interrupted, and its part is removed"]);
    const unheard = await passFile({ open: ctrlC }, signals); // perhaps the server has made it
    expect(unheard.done).toEqual(["unlink incoming.part"]);
    const left = await passFile({ unlink: failing("refused") }, signals);
    expect(left.shown).toEqual(["hint: a part of it may be left, as incoming.part"]);
  });

  test("Ctrl-C, or the end, while a rename waits for its answer: the server may have done it, or not", async () => {
    /** Renames, where the end comes with the rename of a name; `is` tells what can be done after it. */
    async function interrupted(from: string, isDone: boolean, { replaces = false, isGone = false } = {}) {
      const [stop, gone] = [new AbortController(), new AbortController()];
      const files = new Map([["to", "old"], ["incoming.part", "new"]]);
      const over = () => new Failure("server", "connection closed by peer", "EPIPE");
      const move = (from: string, to: string) => {
        if (!files.has(from)) throw new Failure(from, "no such file", "ENOENT");
        if (files.has(to) && !replaces) throw new Failure(from, "failure", "EREMOTEIO");
        files.set(to, files.get(from) as string);
        files.delete(from);
      };
      const isEnd = () => stop.signal.aborted || gone.signal.aborted;
      let renames = 0;
      const rename = async (...names: [string, string]) => {
        if (isEnd() && isGone) throw over();
        const [source, goal] = names.map((name) => name.replace(/incoming-\w+/, "incoming"));
        const isNow = !isEnd() && source === from && (from === "to" || replaces || ++renames === 2);
        if (isDone || !isNow) await Promise.try(move, source, goal);
        if (!isNow) return;
        (isGone ? gone : stop).abort();
        throw isGone ? over() : new DOMException("stopped", "AbortError");
      };
      const unlink = (path: string) =>
        Promise.try(() => {
          if (isEnd() && isGone) throw over();
          if (!files.delete(path.replace(/incoming-\w+/, "incoming"))) throw new Failure(path, "", "ENOENT");
        });
      const end = AbortSignal.any([stop.signal, gone.signal]);
      const { shown } = await passFile({ ...there({ uid: undefined, gid: undefined }), rename, unlink }, {
        stop: stop.signal,
        end,
      });
      return [...[...files].map(([name, text]) => `${name} ${text}`).sort(), ...shown];
    }
    const removed = "hint: to: interrupted, and its part is removed";
    expect(await interrupted("incoming.part", true, { replaces: true })).toEqual([
      "to new",
      "hint: to: interrupted, but it is whole",
    ]);
    expect(await interrupted("incoming.part", false, { replaces: true })).toEqual(["to old", removed]);
    expect(await interrupted("to", true)).toEqual(["to old", removed]);
    expect(await interrupted("to", false)).toEqual(["to old", removed]);
    expect(await interrupted("incoming.part", false)).toEqual(["to old", removed]);
    const maybe =
      "hint: the old file may be incoming.old now, and the new one, which is whole, incoming.part";
    expect(await interrupted("to", true, { isGone: true })).toEqual([
      "incoming.old old",
      "incoming.part new",
      maybe,
    ]);
    expect(await interrupted("incoming.part", true)).toEqual(["incoming.old old", "to new", maybe]);
  });

  test("an error about the part is told with the name that was typed", async () => {
    const open = (path: string) => Promise.reject(new Failure(path, "disk full", "ENOSPC", { hint: "wait" }));
    const { failed } = await passFile({ open });
    expect(failed).toEqual(["to: disk full (ENOSPC)"]);
  });

  test("a rename that is refused for another reason moves nothing; where both fail, both files are told", async () => {
    const renamed: string[] = [];
    const refuse = (
      from: string,
    ) => (renamed.push(from.replace(/incoming-\w+/, "incoming")), failing("refused")());
    const denied = await passFile({ ...there({}), rename: refuse });
    expect([denied.failed, renamed]).toEqual([["it: refused (EACCES)"], ["incoming.part"]]);
    expect(denied.done.at(-1)).toBe("unlink incoming.part");
    const rename = (from: string, to: string) =>
      from.endsWith("to") && to.endsWith(".old")
        ? Promise.resolve()
        : Promise.reject(new Failure("x", "failure", "EREMOTEIO"));
    const why: Record<string, Failure> = {
      part: new Failure("x", "too many open files", "EREMOTEIO"),
      to: new Failure("to", "no such file", "ENOENT"),
    };
    // No file has the name: there is nothing to move aside.
    const alone = await passFile({ rename: (from) => Promise.reject(why[from.replace(/.*\./, "")]) });
    expect(alone.failed).toEqual(["x: too many open files (EREMOTEIO)"]);
    const stuck = await passFile({ ...there({}), rename });
    expect(stuck.done).not.toContain("unlink incoming.part");
    expect(stuck.shown).toEqual([
      "hint: the old file is incoming.old now, and the new one, which is whole, incoming.part",
    ]);
  });

  test.skipIf(process.platform !== "linux")(
    "a file that cannot be looked at is tried, and so told",
    async () => {
      await using here = temporaryFolder();
      for (const name of ["a\xff", "b"]) writeFileSync(Buffer.from(here.at(name), "latin1"), "");
      const local = new Local();
      const listed = await local.list(here.path);
      expect(listed.map(({ name, kind }) => `${name} ${kind}`)).toEqual(["a\uFFFD file", "b file"]);
      expect(await local.open(here.at(listed[0].name), "r").catch(code)).toBe("ENOENT");
    },
  );

  test("16 small files are begun ahead; one that fails is told in its turn, and all end before the end", async () => {
    let [open, most, ended] = [0, 0, 0];
    const to = {
      open: async () => {
        most = Math.max(most, ++open);
        await Bun.sleep(1);
        return {
          piece: 100,
          read: () => Promise.resolve(0),
          write: () => Promise.resolve(),
          [Symbol.asyncDispose]: () => Promise.resolve(void (open--, ended++)),
        };
      },
    };
    const small = Array.from({ length: 40 }, (_, index) => entry(`${index + 100}`));
    const { failed } = await pass(() => small, { mostNames: 100, to });
    expect([failed, ended, most]).toEqual([[], 40, 16]);
    const check = (name: string) => {
      if (name === "108") throw new Failure(name, "refused", "EINVAL"); // at once, and long before its turn
    };
    expect((await pass(() => small, { mostNames: 100, to: { ...to, check } })).failed)
      .toEqual(["108: refused (EINVAL)"]);
    [open, ended] = [0, 0];
    const each = async (entries: Entry[], work: (entry: Entry) => Promise<unknown>) => {
      await work(entries[0]);
      throw new Failure("each", "stopped", "ECANCELED");
    };
    expect((await pass(() => small, { mostNames: 100, to, each })).failed).toEqual([
      "each: stopped (ECANCELED)",
    ]);
    expect([open, ended]).toEqual([0, 16]);
  });

  test("where a rename replaces nothing, the old file is moved aside, and comes back if the new one cannot", async () => {
    let tries = 0;
    const refuse = (always: boolean) => (from: string) => {
      moved.push(from.replace(/incoming-\w+/, "incoming"));
      return from.endsWith(".part") && (always || tries++ === 0)
        ? Promise.reject(new Failure("x", "failure", "EREMOTEIO"))
        : Promise.resolve();
    };
    let moved: string[] = [];
    const { done } = await pass(() => [entry("a")], { to: { rename: refuse(false) } });
    expect(moved).toEqual(["to/incoming.part", "to/a", "to/incoming.part"]);
    expect(done).toContain("unlink to/incoming.old");
    moved = [];
    const { failed } = await pass(() => [entry("a")], { to: { rename: refuse(true) } });
    expect(moved).toEqual(["to/incoming.part", "to/a", "to/incoming.part", "to/incoming.old"]);
    expect(failed).toHaveLength(1);
  });
});

test("where a path leads is found out with 100,000 looks, or not at all", async () => {
  await using folder = temporaryFolder();
  const root = await Root.of(folder.at());
  const names = (path: string) => Promise.try(() => root.resolve(path, true).length).catch(code);
  const deep = (count: number) => "a/".repeat(count);
  mkdirSync(folder.at(deep(330)), { recursive: true });
  symlinkSync("a/../".repeat(800), folder.at("to and fro"));
  symlinkSync(`${deep(330)}${"../".repeat(330)}a`, folder.at("down and up"));
  expect([await names(deep(300)), await names(deep(330))]).toEqual([300, "ENAMETOOLONG"]);
  expect(await names("to and fro")).toBe("ENAMETOOLONG");
  expect(await names("down and up")).toBe("ENAMETOOLONG");
});

describe("a login", () => {
  const key = (text: string, type = "ssh-ed25519") => {
    const long = (part: string) => Buffer.concat([Buffer.of(0, 0, 0, part.length), Buffer.from(part)]);
    return Buffer.concat([long(type), long(text.padEnd(32))]);
  };
  const line = (name: string, bytes: Buffer) =>
    `${name} ${bytes.toString("latin1", 4, 4 + bytes[3])} ${bytes.toString("base64")}`;

  /** Logs in where these lines are known, and the user answers so. */
  async function prepared(known: string, answers: string[], key?: string) {
    const folder = temporaryFolder();
    const identity = key && folder.at("key");
    if (identity) writeFileSync(identity, key);
    const { HOME, SSH_AUTH_SOCK } = process.env;
    Object.assign(process.env, { HOME: folder.path });
    delete process.env.SSH_AUTH_SOCK;
    const knownHosts = folder.at("known");
    writeFileSync(knownHosts, known);
    const asked: string[] = [];
    const ask = (what: string) => Promise.resolve(void asked.push(what)).then(() => answers.shift());
    const failed = Promise.withResolvers<unknown>();
    const keyboard = { ask, askUnseen: ask, tell: print } as unknown as Prompter;
    const login = await Login.prepare({
      user: "me",
      server: "server",
      knownHosts,
      identity,
      keyboard,
      fail: failed.resolve,
    });
    const answered = (accepted: string[], isPartial: boolean | null) =>
      Promise.race([
        new Promise<AnyAuthMethod>((resolve) => login.next(accepted, isPartial, resolve)),
        failed.promise.then(code),
      ]);
    const shown: string[] = [];
    const write = (text: unknown, done: unknown) => (shown.push(String(text)), (done as () => void)(), true);
    const quiet = [process.stdout, process.stderr].map((one) =>
      spyOn(one, "write").mockImplementation(write as never)
    );
    return {
      ...{ login, asked, shown, failed: failed.promise.then(code) },
      saved: () => readFileSync(knownHosts, "utf8"),
      trusts: (bytes: Buffer) => new Promise<boolean>((resolve) => login.verify(bytes, resolve)),
      next: (...accepted: string[]) => answered(accepted, null),
      /** One step is done, and these are accepted as the next one. */
      goOn: (...accepted: string[]) => answered(accepted, true),
      async [Symbol.asyncDispose]() {
        for (const one of quiet) one.mockRestore();
        Object.assign(process.env, { HOME, ...(SSH_AUTH_SOCK === undefined ? {} : { SSH_AUTH_SOCK }) });
        await folder[Symbol.asyncDispose]();
      },
    };
  }

  test("trusts the key that is known, asks about one that is not, and refuses one that has changed or is revoked", async () => {
    const known = line("server", key("good"));
    {
      await using one = await prepared(known, []);
      expect([await one.trusts(key("good")), await one.trusts(key("good")), await one.trusts(key("bad"))])
        .toEqual([true, true, false]); // when the secret is renewed, only the same one
      expect(one.asked).toEqual([]);
    }
    for (
      const [lines, shown, answers, expected] of [
        [known, key("bad"), ["yes"], "EKEYREJECTED"],
        [`@revoked ${known}`, key("good"), ["yes"], "EKEYREVOKED"],
        ["", key("new"), ["no"], "EKEYREJECTED"],
        ["", key("new"), [], "EKEYREJECTED"],
        ["", key("new"), ["yes "], ""],
        ["", key("new"), [fingerprint(key("new"))], ""],
        [line("server", key("rsa", "ssh-rsa")), key("new"), ["yes"], ""],
      ] as const
    ) {
      await using one = await prepared(lines, [...answers]);
      expect(await one.trusts(shown)).toBe(expected === "");
      if (expected) expect(await one.failed).toBe(expected);
      else {
        expect(one.saved()).toBe(lines); // not before the server has proved that the key is its own
        await one.next("none");
        expect(one.saved()).toBe(`${lines && `${lines}\n`}${line("server", key("new"))}\n`);
      }
    }
  });

  test("three passwords, while the server takes them, and then it is over; no answer ends it at once", async () => {
    await using one = await prepared("", ["1", "2", "3", "4"]);
    expect(await one.next()).toMatchObject({ type: "none" });
    for (const password of ["1", "2", "3"]) {
      expect(await one.next("password")).toMatchObject({ type: "password", username: "me", password });
    }
    expect(await one.next("password")).toBe("EACCES");
    expect(one.shown.filter((text) => text.includes("wrong password"))).toHaveLength(2);
    await using other = await prepared("", []);
    await other.next();
    expect(await other.next("password")).toBe("EACCES");
    expect(other.asked).toHaveLength(1);
  });

  test("a login in steps: what the server did not take at first, it may take after a password", async () => {
    await using one = await prepared("", ["1"], makeKey().private);
    await one.next();
    expect(await one.next("password")).toMatchObject({ type: "password" });
    expect(await one.goOn("publickey")).toMatchObject({ type: "publickey" });
    expect(await one.next("publickey")).toBe("EACCES");
    await using endless = await prepared("", Array(20).fill("1"));
    await endless.next();
    let steps = 0;
    while (await endless.goOn("password") !== "EACCES") expect(++steps).toBeLessThan(20);
  });

  test("a server may ask 20 questions, each cut at 1,000 characters", async () => {
    await using one = await prepared("", Array(40).fill("answer"));
    await one.next();
    const round = async (count: number, prompt = "what?\x1b[2J") => {
      const method = await one.next("keyboard-interactive") as { prompt: (...words: unknown[]) => void };
      const answered = Promise.withResolvers<unknown>();
      method.prompt("", "", "", Array(count).fill({ prompt, echo: true }), answered.resolve);
      return await Promise.race([answered.promise, one.failed]);
    };
    expect(await round(9)).toHaveLength(9);
    expect(one.asked[0]).toBe("what?\\x1b[2J ");
    expect(await round(9, "x".repeat(5000))).toHaveLength(9); // each round counts, too
    expect(one.asked.at(-1)).toHaveLength(1001);
    expect(await round(0)).toBe("EPROTO");
  });
});

describe("who may log in", () => {
  const pairs = [1, 2].map(makeKey);
  const [mine, other] = pairs.map(({ private: text }) => parseKey(text) as ParsedKey);
  const keys = [parseKey(pairs[0].public) as ParsedKey];
  const blob = Buffer.from("what is signed");
  const context = (key: ParsedKey, more: object = {}) => ({
    ...{ method: "publickey", username: "anna", blob, signature: key.sign(blob) },
    key: { algo: key.type, data: key.getPublicSSH() },
    ...more,
  });
  const caller = { name: "192.0.2.1:1", source: "192.0.2.1", gone: new AbortController().signal };
  const right = (user: ConstructorParameters<typeof Authentication>[0], asked: object) =>
    new Authentication(user).isRight(asked as AuthContext, caller);

  test("who has signed with a key of the list, in the name of the user", async () => {
    const user = { name: "anna", keys };
    expect(new Authentication(user).methods).toEqual(["publickey"]);
    expect(await right(user, context(mine))).toBe(true);
    expect(await right(user, context(mine, { signature: undefined, blob: undefined }))).toBe(true); // it only asks
    const wrong: object[] = [
      { username: "berta" },
      { signature: other.sign(blob) },
      { signature: mine.sign(Buffer.from("another thing")) },
      { blob: undefined },
      { key: { algo: "ssh-rsa", data: mine.getPublicSSH() } },
      { key: { algo: mine.type, data: other.getPublicSSH() } },
      { method: "none" },
      { method: "hostbased" },
    ];
    for (const more of wrong) expect([more, await right(user, context(mine, more))]).toEqual([more, false]);
    expect(await right(user, context(other))).toBe(false);
    expect(await right({ name: "anna", keys: [] }, context(mine))).toBe(false);
  });

  test("RSA signs with SHA-2 only", async () => {
    const data = Buffer.from("rsa");
    const rsa = { type: "ssh-rsa", getPublicSSH: () => data, verify: () => true } as unknown as ParsedKey;
    const asked = (hashAlgo?: string) => context(mine, { key: { algo: "ssh-rsa", data }, hashAlgo });
    expect(await right({ name: "anna", keys: [rsa] }, asked("sha256"))).toBe(true);
    expect(await right({ name: "anna", keys: [rsa] }, asked())).toBe(false);
  });

  test("who knows the password, which is asked for only if there is one; a wrong one is told", async () => {
    const told: string[] = [];
    const write = (
      text: unknown,
      done: unknown,
    ) => (told.push(`${text}`.trim()), (done as () => void)(), true);
    using _stderr = spyOn(process.stderr, "write").mockImplementation(write as never);
    using waits = spyOn(WrongPasswords.prototype, "turn").mockResolvedValue();
    const user = { name: "anna", password: "secret", keys: [] };
    expect(new Authentication(user).methods).toEqual(["password"]);
    expect(new Authentication({ ...user, keys }).methods).toEqual(["publickey", "password"]);
    const asked = (password: unknown, username = "anna") => ({ method: "password", username, password });
    expect(await right(user, asked("secret"))).toBe(true);
    expect(told).toEqual([]);
    for (const password of ["", "Secret", "secret ", undefined, 7]) {
      expect(await right(user, asked(password))).toBe(false);
    }
    expect(await right(user, asked("secret", "berta"))).toBe(false);
    expect(told).toHaveLength(6);
    expect(told[5]).toBe("error: 192.0.2.1:1 as berta: wrong password (EACCES)");
    expect(waits.mock.calls).toEqual(
      [true, ...Array(6).fill(false)].map((isRight) => ["192.0.2.1", isRight, caller.gone]),
    );
    expect(await right({ name: "anna", keys }, asked(undefined))).toBe(false);
    expect(await right(user, { ...asked("secret"), method: "keyboard-interactive" })).toBe(false);
  });

  test("a list of keys: one a line, without options, and only its owner can write it", async () => {
    await using folder = temporaryFolder();
    const read = (text: string, mode = 0o644) => {
      writeFileSync(folder.at("keys"), text);
      chmodSync(folder.at("keys"), mode);
      return readAuthorizedKeys(folder.at("keys")).catch((error) =>
        `${error.message} ${error.hint ?? ""}`.trim()
      );
    };
    const list = `# mine\n\n${pairs[0].public} a comment\n  ${pairs[1].public}\n`;
    expect((await read(list) as ParsedKey[]).map((key) => key.getPublicSSH())).toEqual(
      [mine, other].map((key) => key.getPublicSSH()),
    );
    expect(await read("")).toEqual([]);
    for (const wrong of [`no-pty ${pairs[0].public}`, "ssh-ed25519 AAAA", "words", pairs[0].private]) {
      expect(await read(`${pairs[1].public}\n${wrong}\n`)).toMatch(
        /keys, line 2: not a key of ssh-ed25519, .*EINVAL\) options/,
      );
    }
    if (process.platform === "win32") return;
    for (const mode of [0o664, 0o646]) {
      expect(await read(list, mode)).toMatch(/another user could add a key .*\(EACCES\) chmod go-w \//);
    }
    if (process.getuid?.() !== 0) return;
    chownSync(folder.at("keys"), 12_345, 0);
    expect(await read(list)).toMatch(/another user could add a key .*\(EACCES\)$/);
  });

  test("one source gets one answer at a time, and all together ten in a second", async () => {
    jest.useFakeTimers();
    try {
      const wrong = new WrongPasswords();
      const answers: string[] = [];
      const guess = (source: string, isRight = false) => {
        wrong.turn(source, isRight, caller.gone).then(() => answers.push(`${source} ${Date.now() - begin}`));
      };
      const begin = Date.now();
      const pass = async (ms: number) => (await passes(ms), answers.splice(0));
      for (const source of ["a", "a", "b", "c"]) guess(source);
      expect(await pass(1700)).toEqual(["a 500", "b 600", "c 700", "a 1500"]); // 0.5 s, and then 1 s
      guess("d", true); // a right one does not wait for the wrong ones of others: one step of this clock
      guess("a", true);
      expect(await pass(1500)).toEqual(["d 1750", "a 2700"]);
    } finally {
      jest.useRealTimers();
    }
  });

  test("a password whose connection has gone counts, keeps nobody waiting, and is kept no longer", async () => {
    jest.useFakeTimers();
    try {
      const wrong = new WrongPasswords();
      const answers: string[] = [];
      const begin = Date.now();
      const guess = (name: string, isRight = false) => {
        const end = new AbortController();
        wrong.turn("a", isRight, end.signal).then(() => answers.push(`${name} ${Date.now() - begin}`));
        return end;
      };
      const dead = ["one", "two", "three", "four"].map((name) => guess(name));
      guess("right", true);
      await passes(200);
      expect([answers, wrong.isFull("a")]).toEqual([[], true]);
      for (const end of dead.slice(1)) end.abort(); // while they wait for their turns
      await passes(50);
      expect([answers.splice(0), wrong.isFull("a")]).toEqual([["two 200", "three 200", "four 200"], false]);
      dead[0].abort(); // in its turn
      await passes(3900);
      expect(answers.splice(0)).toEqual(["one 250"]);
      await passes(150);
      expect(answers.splice(0)).toEqual(["right 4250"]); // as after the last of four wrong ones
      // A right one that nobody waits for changes nothing: else the next wait would tell that it was right.
      expect([wrong.wait("a", false), wrong.wait("a", false)]).toEqual([500, 1000]);
      guess("gone", true).abort();
      await passes(50);
      expect(wrong.wait("a", false)).toBe(4000);
    } finally {
      jest.useRealTimers();
    }
  });

  test("wrong passwords of many sources hold up the others for a second at most", async () => {
    jest.useFakeTimers();
    try {
      const wrong = new WrongPasswords();
      let answered = 0;
      for (let source = 0; source < 200; source++) {
        wrong.turn(`${source}`, false, caller.gone).then(() => answered++);
      }
      await passes(500); // all have waited for their own sources
      let waited = 0;
      const [begin, before] = [Date.now(), answered];
      wrong.turn("friend", true, caller.gone).then(() => waited = Date.now() - begin);
      await passes(1500);
      expect(waited).toBeWithin(900, 1101);
      expect([before < 5, answered]).toEqual([true, 200]);
    } finally {
      jest.useRealTimers();
    }
  });

  test("five passwords of a source may wait: a sixth, right or wrong, is not looked at", async () => {
    const write = (_: unknown, done: unknown) => ((done as () => void)(), true);
    using stderr = spyOn(process.stderr, "write").mockImplementation(write as never);
    const logins = new Authentication({ name: "anna", password: "secret", keys: [] });
    const end = new AbortController();
    const asked = (password: string, more: object = {}) =>
      logins.isRight(
        { method: "password", username: "anna", password } as AuthContext,
        { ...caller, gone: end.signal, ...more },
      );
    const waiting = ["1", "2", "3", "4", "5"].map((password) => asked(password));
    expect(await asked("secret").catch(code)).toBe("EAGAIN");
    expect(await asked("6").catch(code)).toBe("EAGAIN");
    expect(stderr.mock.calls).toHaveLength(5);
    expect(await asked("secret", { source: "192.0.2.2", gone: caller.gone })).toBe(true);
    end.abort();
    expect(await Promise.all(waiting)).toEqual(Array(5).fill(false));
  });
});

/** Lets so much time pass on a clock of the test, and all that was waiting for it go on. */
async function passes(ms: number): Promise<void> {
  for (let step = 0; step < ms; step += 50) {
    for (let turn = 0; turn < 40; turn++) await Promise.resolve();
    jest.advanceTimersByTime(50);
    for (let turn = 0; turn < 40; turn++) await Promise.resolve();
  }
}

test("wrong passwords: each of a source waits longer, 5 s at most; they are forgotten after ten minutes", () => {
  const clock = spyOn(Date, "now").mockReturnValue(0);
  try {
    const wrong = new WrongPasswords();
    const wait = (source: string, isRight = false) => wrong.wait(source, isRight);
    expect(wait("new", true)).toBe(0);
    expect(Array.from({ length: 6 }, () => wait("a"))).toEqual([500, 1000, 2000, 4000, 5000, 5000]);
    expect(wait("b")).toBe(500);
    expect([wait("b", true), wait("b", true)]).toEqual([500, 1000]); // a right one waits as the last wrong one, and counts until it is answered
    wait("c");
    clock.mockReturnValue(599_999);
    expect(wait("c")).toBe(1000);
    clock.mockReturnValue(599_999 + 600_000);
    expect(wait("c")).toBe(500);
    for (let count = 0; count < 10_000; count++) wait(`${count}`);
    expect(wait("c")).toBe(500); // 10,000 sources are remembered
    expect([wait("9999"), wait("1"), wait("0")]).toEqual([1000, 1000, 500]);
  } finally {
    clock.mockRestore();
  }
});

describe("places", () => {
  function place(callers: Callers, remoteAddress: string) {
    const gone: string[] = [];
    const socket = Object.assign(new EventEmitter(), {
      ...{ remoteAddress, remotePort: 1, writable: false },
      destroy: () => void gone.push("at once"),
      end: () => void (gone.includes("told") || gone.push("told")), // once more by linger(), which wants to hear when all is sent
      destroyed: true,
    });
    return { caller: callers.admit(socket as unknown as Socket) as Caller, gone, socket };
  }

  test("half of all are for one address, a fifth until it has logged in; a stranger gives way, then who is idle", () => {
    const stderr = spyOn(process.stderr, "write").mockImplementation(
      ((_: unknown, done: () => void) => (done(), true)) as never,
    );
    const clock = spyOn(Date, "now").mockReturnValue(0);
    try {
      const callers = new Callers(30, { limit: 80, free: 1000 }); // ten places
      const [one, two, three] = [1, 2, 3].map(() => place(callers, "192.0.2.1"));
      expect([one.caller, two.caller, three.caller].map(Boolean)).toEqual([true, true, false]);
      expect(three.gone).toEqual(["at once"]);
      for (const { caller } of [one, two]) caller.loggedIn();
      for (let more = 0; more < 3; more++) place(callers, "192.0.2.1").caller.loggedIn();
      expect(place(callers, "192.0.2.1").caller).toBeUndefined(); // five of ten
      for (let more = 0; more < 4; more++) place(callers, "192.0.2.2").caller.loggedIn();
      const stranger = place(callers, "192.0.2.3");
      expect(stranger.gone).toEqual([]);
      const next = place(callers, "192.0.2.4");
      expect([stranger.gone, Boolean(next.caller)]).toEqual([["at once"], true]);
      next.caller.loggedIn();
      expect(place(callers, "192.0.2.5").caller).toBeUndefined(); // nobody is idle
      clock.mockReturnValue(59_999);
      for (const { caller } of [one, next]) caller.moved();
      expect(place(callers, "192.0.2.5").caller).toBeUndefined(); // nor now
      clock.mockReturnValue(60_000);
      expect(place(callers, "192.0.2.5").caller).toBeDefined();
      expect([one.gone, two.gone, next.gone]).toEqual([[], ["at once"], []]); // who was idle longest
    } finally {
      for (const spy of [stderr, clock]) spy.mockRestore();
    }
  });

  test("a place is taken once and given back once, however a caller comes and goes", () => {
    const told: string[] = [];
    const stderr = spyOn(process.stderr, "write").mockImplementation(
      ((text: unknown, done: () => void) => (told.push(`${text}`.trim()), done(), true)) as never,
    );
    try {
      const callers = new Callers(30, { limit: 80, free: 1000 }); // ten places, two for strangers of one address
      const comes = () => place(callers, "192.0.2.1");
      const [one, two] = [comes(), comes()];
      for (let twice = 0; twice < 2; twice++) one.caller.loggedIn();
      const three = comes();
      expect([three, comes()].map(({ caller }) => Boolean(caller))).toEqual([true, false]); // two strangers are there
      for (let twice = 0; twice < 2; twice++) two.socket.emit("close");
      two.caller.loggedIn(); // too late
      expect([one, two].map(({ caller }) => caller.gone.aborted)).toEqual([false, true]);
      expect([comes(), comes()].map(({ caller }) => Boolean(caller))).toEqual([true, false]);
      const full = new Callers(30, { limit: 8, free: 1000 }); // one place
      const first = place(full, "192.0.2.1");
      const second = place(full, "192.0.2.2");
      expect([first.gone, Boolean(second.caller), told]).toEqual([["at once"], true, [
        "error: 192.0.2.1:1: did not log in, and gives way to a new caller (ETIMEDOUT)",
      ]]);
      first.socket.emit("close"); // only now
      second.caller.loggedIn();
      expect(place(full, "192.0.2.3").caller).toBeUndefined();
    } finally {
      stderr.mockRestore();
    }
  });

  test("who has to leave is told why, if it still hears it, and its last words are read", () => {
    const told: string[] = [];
    const stderr = spyOn(process.stderr, "write").mockImplementation(
      ((text: unknown, done: () => void) => (told.push(`${text}`.trim()), done(), true)) as never,
    );
    try {
      const { caller, socket, gone } = place(new Callers(30, { limit: 80, free: 1000 }), "192.0.2.1");
      let isRead = false;
      Object.assign(socket, { destroyed: false, resume: () => (isRead = true), destroySoon: () => {} });
      caller.leave("says nothing");
      expect([told, gone, isRead]).toEqual([[], ["told"], true]);
      Object.assign(socket, { writable: true });
      caller.leave("says nothing", "ETIMEDOUT");
      caller.leave(new Failure("it", "is odd", "EPROTO"));
      expect(told).toEqual(["error: 192.0.2.1:1: says nothing (ETIMEDOUT)", "error: it: is odd (EPROTO)"]);
      socket.emit("close"); // ends the timers
    } finally {
      stderr.mockRestore();
    }
  });

  test("100 callers at once, however many files the system allows", () => {
    const callers = new Callers(30, { limit: Infinity, free: Infinity });
    const admitted = Array.from({ length: 101 }, (_, index) => {
      const { caller } = place(callers, `192.0.2.${index}`);
      caller?.loggedIn();
      return Boolean(caller);
    });
    expect(admitted).toEqual([...Array(100).fill(true), false]);
  });

  test("who does not log in in time has to leave; who has, or is gone, has not", () => {
    jest.useFakeTimers();
    try {
      const callers = new Callers(30, { limit: 800, free: 1000 });
      const [late, good, gone] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map((address) =>
        place(callers, address)
      );
      good.caller.loggedIn();
      gone.socket.emit("close");
      jest.advanceTimersByTime(29_999);
      expect(late.gone).toEqual([]);
      jest.advanceTimersByTime(1);
      expect([late.gone, good.gone, gone.gone]).toEqual([["told"], [], []]);
    } finally {
      jest.useRealTimers();
    }
  });

  test("100 files of one caller, half of all files for one address; what is given back can be taken", () => {
    const callers = new Callers(30, { limit: 80, free: 1000 }); // 926 descriptors, 463 for one address
    const [one, other] = ["192.0.2.1", "192.0.2.2"].map((address) => place(callers, address).caller);
    for (let count = 0; count < 100; count++) one.take(2);
    expect(() => one.take(1)).toThrow("100 files are open");
    one.give(2);
    one.take(1);
    one.give(1);
    one.take(2);
    const more = place(callers, "192.0.2.1").caller;
    for (let count = 0; count < 100; count++) more.take(2);
    const third = Array.from(
      { length: 5 },
      () => Promise.try(() => other.take(100)).then(() => "taken", code),
    );
    return Promise.all(third).then((found) =>
      expect(found).toEqual(["taken", "taken", "taken", "taken", "EMFILE"])
    ).then(() => {
      other.take(63);
      expect(() => other.take(1)).toThrow("too many files are open");
      other.give(63);
      other.take(63);
    });
  });

  test("who reads no replies is read no further, and sent away if it has not logged in", () => {
    const gone: string[] = [];
    let isPaused = false;
    const socket = Object.assign(new EventEmitter(), {
      writableLength: 2 ** 23 - 1,
      writableNeedDrain: false,
      pause: () => (isPaused = true),
      resume: () => (isPaused = false),
      isPaused: () => isPaused,
      destroy: () => void gone.push("destroyed"),
    });
    const caller = {
      socket,
      name: "a caller",
      isLoggedIn: true,
      leave: (why: string) => void gone.push(why),
    };
    new Sessions(new EventEmitter() as unknown as Connection, caller as unknown as Caller, {} as never);
    const comes = (what: object) => (Object.assign(socket, what).emit("data", Buffer.of(0)), isPaused);
    expect(comes({})).toBe(false);
    expect([comes({ writableNeedDrain: true }), comes({}), socket.listenerCount("drain")]).toEqual([
      true,
      true,
      1,
    ]);
    socket.emit("drain");
    expect([isPaused, socket.listenerCount("drain"), gone]).toEqual([false, 0, []]);
    comes({ writableNeedDrain: false, writableLength: 2 ** 23 });
    expect(gone.splice(0)).toEqual(["sends more than it may, or reads no answers", "destroyed"]);
    caller.isLoggedIn = false;
    comes({ writableLength: 2 ** 16 - 1 });
    expect(gone).toEqual([]);
    expect(comes({ writableNeedDrain: true })).toBe(false);
    expect(gone).toEqual(["sends more than it may, or reads no answers", "destroyed"]);
  });

  test("ten sessions of a connection, and no more", () => {
    const caller = { socket: new EventEmitter(), name: "a caller" } as unknown as Caller;
    const sessions = new Sessions(new EventEmitter() as unknown as Connection, caller, {} as never);
    let [accepted, rejected] = [0, 0];
    for (let count = 0; count < 12; count++) {
      sessions.open(() => (accepted++, new EventEmitter() as never), () => rejected++);
    }
    expect([accepted, rejected]).toEqual([10, 2]);
  });
});

test.skipIf(process.platform === "win32")(
  "what is typed unseen is shown nowhere, and the Up key brings back commands only",
  async () => {
    await using person = terminal(["bun", join(import.meta.dir, "asks.ts")]);
    await person.until("password: ");
    person.type("s3cret");
    person.press("Enter");
    await person.until("yes? ");
    person.type("word");
    person.press("Enter");
    await person.until("sftp> ");
    person.press("Up", "Up");
    person.type("pwd");
    person.press("Enter");
    await person.until('sftp> pwd\n"pwd"\nsftp> ');
    person.press("Up", "Enter");
    await person.until('sftp> pwd\n"pwd"\nsftp> pwd\n"pwd"');
    person.press("Ctrl-D");
    expect(await person.ended()).toBe(0);
    expect(person.isCooked).toBe(true);
    expect(person.written.match(/s3cret/g)).toHaveLength(1); // in the answer that the program itself shows
  },
);
