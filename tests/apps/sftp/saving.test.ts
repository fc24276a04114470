/** Lesson 4.5, the shell: what get and put leave behind, beside what OpenSSH's sftp leaves. (thorough) */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
} from "node:fs";
import { chmod, chown, link, mkdir, readdir, symlink, writeFile } from "node:fs/promises";
import process from "node:process";
import { Failure } from "../../../lib/failure.ts";
import { type File, type Flags, longLine, type Side } from "../../../scripts/apps/sftp/side.ts";
import { Transfer } from "../../../scripts/apps/sftp/transfer.ts";
import { sha256, sha256OfFile } from "../../engine/files.ts";
import { EVERYWHERE, start } from "../../engine/program.ts";
import { until } from "../../engine/sockets.ts";
import {
  type Answers,
  FILE,
  FOLDER,
  type Folder,
  folder,
  HAS_SSHD,
  impostor,
  makeKeys,
  needsSshd,
  openSsh,
  PASSWORD,
  session,
  shell,
  sshd,
  STATUS_CODE,
  trust,
} from "./shell.ts";

makeKeys();
setDefaultTimeout(60_000); // what waits in a test says itself for what it waited too long

const IS_ROOT = process.getuid?.() === 0;

/**
 * Makes a device like /dev/null (3) or /dev/full (7), man 4 null. Root gets one of its own: a program that replaces it
 * must not replace the machine's.
 */
function device(path: string, minor: 3 | 7): void {
  if (IS_ROOT) execFileSync("mknod", ["-m", "666", path, "c", "1", `${minor}`]);
  else symlinkSync(minor === 3 ? "/dev/null" : "/dev/full", path);
}

describe.skipIf(!HAS_SSHD)(`beside OpenSSH${needsSshd}`, () => {
  for (const runtime of EVERYWHERE) {
    test.concurrent(`a pipe and a device are written to, and stay, on ${runtime}`, async () => {
      await using box = await folder();
      await using server = await sshd(box);
      await trust(box, server.port);
      const bytes = randomBytes(700_001);
      for (const side of [box.here(), box.there()]) {
        await writeFile(`${side}/file`, bytes);
        execFileSync("mkfifo", [`${side}/pipe`]);
        device(`${side}/null`, 3);
        await symlink("file2", `${side}/link`);
        await writeFile(`${side}/file2`, "old");
      }
      for (const [verb, side] of [["get", box.here()], ["put", box.there()]]) {
        await using reader = start(["sh", "-c", `sha256sum < '${side}/pipe'`]);
        await using program = shell(box, server.port, { runtime });
        const lines = [`${verb} file pipe`, `${verb} file null`, `${verb} file link`];
        expect(await session(program, lines)).toEqual({
          code: 0,
          stdout: ["pipe", "null", "link"].map((name) => `file -> ${name}  700001 bytes\n`).join(""),
          stderr: "",
        });
        expect((await reader.result()).stdout).toBe(`${sha256(bytes)}  -\n`);
        expect(lstatSync(`${side}/pipe`).isFIFO()).toBe(true);
        expect(statSync(`${side}/null`).isCharacterDevice()).toBe(true);
        expect(lstatSync(`${side}/link`).isSymbolicLink()).toBe(true);
        expect(sha256OfFile(`${side}/file2`)).toBe(sha256(bytes));
        expect((await readdir(side)).sort()).toEqual(["file", "file2", "link", "null", "pipe"]);
      }
    });
  }

  test.concurrent("modes and owners stay as OpenSSH's sftp leaves them", async () => {
    await using box = await folder();
    await using server = await sshd(box);
    await trust(box, server.port);
    const sides = [box.here(), box.there()];
    const old: [name: string, mode: number][] = [["a", 0o600], ["b", 0o644], ["c", 0o640], ["e", 0o755]];
    if (IS_ROOT) old.push(["d", 0o444]); // OpenSSH writes into the file, and so cannot as an ordinary user
    /** Files and folders that are to pass, and files that are in their way. */
    async function prepare(name: "ours" | "theirs") {
      for (const side of sides) {
        const from = `${side}/from-${name}`;
        await mkdir(`${from}/sub`, { recursive: true });
        for (
          const [file, mode] of [["new", 0o640], ["open", 0o666], ["run", 0o777], ["none", 0o400]] as const
        ) {
          await writeFile(`${from}/${file}`, file);
          await chmod(`${from}/${file}`, mode);
        }
        await writeFile(`${from}/sub/deep`, "deep", { mode: 0o600 });
        await chmod(`${from}/sub`, 0o700);
        for (const [name, mode] of [["wide", 0o777], ["shut", 0o500]] as const) {
          await mkdir(`${from}/${name}`);
          await chmod(`${from}/${name}`, mode);
        }
        await chmod(from, 0o751);
        await mkdir(`${side}/to-${name}`);
        for (const [file, mode] of old) {
          await writeFile(`${side}/to-${name}/${file}`, "a longer one, which is replaced");
          await chmod(`${side}/to-${name}/${file}`, mode);
        }
        await writeFile(`${side}/to-${name}/foreign`, "of another user", { mode: 0o640 });
        if (IS_ROOT) await chown(`${side}/to-${name}/foreign`, 65_534, 65_533);
      }
      // With two names: SFTP does not tell it of a file there.
      await writeFile(box.here(`to-${name}`, "twice"), "with two names");
      await link(box.here(`to-${name}`, "twice"), box.here(`to-${name}`, "second"));
      const names = [...old.map(([file]) => file), "foreign"];
      const all = ["get", "put"].flatMap((verb) => [
        ...names.map((file) => `${verb} from-${name}/open to-${name}/${file}`),
        ...["new", "open", "run", "none"].map((file) => `${verb} from-${name}/${file} to-${name}/${file}`),
        `${verb} -r from-${name} to-${name}/tree`,
      ]);
      return [...all, `get from-${name}/open to-${name}/twice`];
    }
    /** What has become of them. */
    const left = (name: string) =>
      sides.map((side) =>
        Object.fromEntries(
          (readdirSync(`${side}/to-${name}`, { recursive: true }) as string[]).sort().map((file) => {
            const { mode, uid, gid, size, nlink } = statSync(`${side}/to-${name}/${file}`);
            return [file, { mode: mode.toString(8), uid, gid, nlink, size: mode & 0o040000 ? 0 : size }];
          }),
        )
      );
    await using program = shell(box, server.port);
    expect(await session(program, await prepare("ours"))).toMatchObject({ code: 0, stderr: "" });
    await using theirs = openSsh(box, server.port);
    expect(await session(theirs, await prepare("theirs"))).toMatchObject({ code: 0 });
    expect(left("ours")).toEqual(left("theirs"));
    const [here] = left("ours");
    expect(here.a).toMatchObject({ mode: "100600", size: 4 });
    expect(here["tree/sub"]).toMatchObject({ mode: "40700" });
    expect(here.second).toMatchObject({ nlink: 2, size: 4 });
    if (IS_ROOT) expect(here.foreign).toMatchObject({ uid: 65_534, gid: 65_533, mode: "100640" });
  });

  for (const runtime of EVERYWHERE) {
    test.concurrent(`Ctrl-C during put and get removes the part, and says so, on ${runtime}`, async () => {
      await using box = await folder();
      await using server = await sshd(box);
      await trust(box, server.port);
      for (const [verb, from, to] of [["put", box.here, box.there], ["get", box.there, box.here]] as const) {
        await writeFile(from("big"), "");
        truncateSync(from("big"), 4_000_000_000);
        for (let isRemoved = false; !isRemoved;) { // a machine that is busy has no time for it
          await using program = shell(box, server.port, { runtime, pace: 0.1 });
          program.type(`${verb} big copy\n`);
          await until(() => readdirSync(to()).some((name) => name.endsWith(".part")), "the part");
          program.signal("SIGINT");
          const { code, stdout, stderr } = await program.result();
          expect({ code, stdout }).toEqual({ code: 130, stdout: "" });
          isRemoved = stderr === "hint: copy: interrupted, and its part is removed\n";
          const left = readdirSync(to()).filter((name) => name !== "big");
          if (isRemoved) expect(left).toEqual([]);
          else expect(stderr).toMatch(/^hint: a part of it may be left, as incoming-\w+\.part\n$/);
          for (const name of left) rmSync(to(name));
        }
        rmSync(from("big"));
      }
    });
  }

  test.concurrent("a full disk is told with the name of the file", async () => {
    await using box = await folder();
    await using server = await sshd(box);
    await trust(box, server.port);
    await writeFile(box.there("file"), "1");
    device(box.here("full"), 7);
    expect(await session(shell(box, server.port), ["get file full"])).toEqual({
      code: 1,
      stdout: "",
      stderr: "error: full: no space left on device (ENOSPC)\n",
    });
  });

  test.concurrent("a list shows files of any date", async () => {
    await using box = await folder();
    await using server = await sshd(box);
    await trust(box, server.port);
    for (const side of [box.here(), box.there()]) {
      await writeFile(`${side}/far`, "");
      execFileSync("touch", ["-d", "@100000000000000", `${side}/far`]);
    }
    const { code, stdout, stderr } = await session(shell(box, server.port), ["lls -l", "ls -l"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^-rw.* {2}\d{4,6}-\d\d-\d\d \d\d:\d\d {2}far\n-rw.* {2}\d{4}-.* {2}far\n$/);
    for (const [time, shown] of [[1e14, "275760-"], [-1e14, "-271821-"], [NaN, "275760-"]] as const) {
      expect(longLine({ kind: "file", size: 0, time })).toContain(shown);
    }
  });

  test.concurrent("~ is the home folder here", async () => {
    await using box = await folder();
    await using server = await sshd(box);
    await trust(box, server.port);
    await mkdir(box.at("home", "sub"));
    await mkdir(box.here("~"));
    await writeFile(box.at("home", "sub", "file"), "1");
    const lines = ["lcd ~/sub", "lpwd", "lcd ~", "lpwd", "lls ~/s*", "put ~/sub/file", "lcd", "ls"];
    const { code, stdout, stderr } = await session(shell(box, server.port), [
      ...lines,
      `lcd ${box.here()}`,
      "lcd '~'",
      "lpwd",
    ]);
    const home = box.at("home");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toBe(
      `${home}/sub\n${home}\nfile\n${home}/sub/file -> file  1 bytes\nfile\n${box.here("~")}\n`,
    );
  });
});

/** A server with files in memory, which does what it is told to do otherwise. */
function memory(files: Map<string, Buffer>, otherwise: Answers = {}) {
  const done: string[] = [];
  const say = <A extends unknown[]>(name: string, answer: (...fields: A) => void) => (...fields: A) => {
    const names = fields.slice(2).filter((field) => typeof field === "string");
    done.push([name, ...names].join(" ").replace(/incoming-\w+\./g, "PART."));
    answer(...fields);
  };
  const opened: string[] = [];
  const answers: Answers = {
    STAT: (sftp, id, path: string) => {
      const bytes = files.get(path);
      if (path === "." || path === "/") sftp.attrs(id, FOLDER);
      else if (bytes) sftp.attrs(id, { ...FILE, size: bytes.length });
      else sftp.status(id, STATUS_CODE.NO_SUCH_FILE);
    },
    SETSTAT: (sftp, id) => sftp.status(id, STATUS_CODE.OK),
    OPEN: say("open", (sftp, id, path: string, flags: number) => {
      if (flags & 16) files.set(path, Buffer.alloc(0)); // truncate
      const handle = Buffer.alloc(4);
      handle.writeUInt32BE(opened.push(path) - 1);
      sftp.handle(id, handle);
    }),
    WRITE: (sftp, id, handle: Buffer, place: number, bytes: Buffer) => {
      const path = opened[handle.readUInt32BE()];
      const old = files.get(path) ?? Buffer.alloc(0);
      const all = Buffer.alloc(Math.max(old.length, place + bytes.length));
      all.set(old);
      all.set(bytes, place);
      files.set(path, all);
      sftp.status(id, STATUS_CODE.OK);
    },
    REMOVE: say("remove", (sftp, id, path: string) => {
      sftp.status(id, files.delete(path) ? STATUS_CODE.OK : STATUS_CODE.NO_SUCH_FILE);
    }),
    RENAME: say("rename", (sftp, id, from: string, to: string) => {
      if (files.has(to)) return sftp.status(id, STATUS_CODE.FAILURE);
      files.set(to, files.get(from) ?? Buffer.alloc(0));
      files.delete(from);
      sftp.status(id, STATUS_CODE.OK);
    }),
    ...otherwise,
  };
  return { answers, done };
}

/** Puts `here/new` over `/old` at a server. */
async function putOver(box: Folder, files: Map<string, Buffer>, otherwise: Answers = {}) {
  files.set("/old", Buffer.from("old"));
  await writeFile(box.here("new"), "new\n");
  const { answers, done } = memory(files, otherwise);
  await using server = await impostor(answers);
  await trust(box, server.port);
  const result = await session(shell(box, server.port, PASSWORD), ["s3cret", "put new old"]);
  return { ...result, done };
}

describe("put over a file, where a rename replaces nothing", () => {
  test("moves the old one aside, and removes it when the new one has the name", async () => {
    await using box = await folder();
    const files = new Map<string, Buffer>();
    expect(await putOver(box, files)).toEqual({
      code: 0,
      stdout: "new -> old  4 bytes\n",
      stderr: "",
      done: [
        "open /PART.part",
        "rename /PART.part /old",
        "rename /old /PART.old",
        "rename /PART.part /old",
        "remove /PART.old",
      ],
    });
    expect([...files].map(([name, bytes]) => `${name} ${bytes}`)).toEqual(["/old new\n"]);
  });

  test("keeps the old one, where no file can be renamed", async () => {
    await using box = await folder();
    const files = new Map<string, Buffer>();
    const refuse: Answers = { RENAME: (sftp, id) => sftp.status(id, STATUS_CODE.FAILURE, "no") };
    expect(await putOver(box, files, refuse)).toMatchObject({
      code: 1,
      stdout: "",
      stderr: "error: old: the server says: no (EREMOTEIO)\n",
    });
    expect([...files].map(([name, bytes]) => `${name} ${bytes}`)).toEqual(["/old old"]);
  });

  test("keeps both and tells their names, where the second rename fails, and the way back too", async () => {
    await using box = await folder();
    const files = new Map<string, Buffer>();
    const once: Answers = {
      RENAME: (sftp, id, from: string, to: string) => {
        if (from !== "/old") return sftp.status(id, STATUS_CODE.FAILURE, "no");
        files.set(to, files.get(from) as Buffer);
        files.delete(from);
        sftp.status(id, STATUS_CODE.OK);
      },
    };
    const { code, stdout, stderr } = await putOver(box, files, once);
    const [part, aside] = [...files.keys()].sort().reverse();
    expect(part).toMatch(/^\/incoming-\w+\.part$/);
    expect(aside).toMatch(/^\/incoming-\w+\.old$/);
    expect([files.get(part), files.get(aside)].map(String)).toEqual(["new\n", "old"]);
    expect({ code, stdout, stderr }).toEqual({
      code: 1,
      stdout: "",
      stderr:
        `hint: the old file is ${aside.slice(1)} now, and the new one, which is whole, ${part.slice(1)}\n` +
        "error: old: the server says: no (EREMOTEIO)\n",
    });
  });

  test("gives the old one its name back, where only the second rename fails", async () => {
    await using box = await folder();
    const files = new Map<string, Buffer>();
    const never: Answers = {
      RENAME: (sftp, id, from: string, to: string) => {
        if (from.endsWith(".part")) return sftp.status(id, STATUS_CODE.FAILURE, "no");
        files.set(to, files.get(from) as Buffer);
        files.delete(from);
        sftp.status(id, STATUS_CODE.OK);
      },
    };
    expect((await putOver(box, files, never)).code).toBe(1);
    expect([...files].map(([name, bytes]) => `${name} ${bytes}`)).toEqual(["/old old"]);
  });
});

test("put writes in place what it may not replace, or not with the same owner and mode", async () => {
  const call = (answer: unknown, ...fields: unknown[]) => (answer as (...all: unknown[]) => void)(...fields);
  for (const why of ["the folder", "the owner", "the mode"]) {
    await using box = await folder();
    const files = new Map<string, Buffer>();
    const { answers } = memory(files);
    const { code, stdout, stderr } = await putOver(box, files, {
      OPEN: (sftp, id, path: string, ...fields) => {
        if (path === "/old") call(answers.OPEN, sftp, id, path, ...fields);
        else if (why === "the folder") sftp.status(id, STATUS_CODE.PERMISSION_DENIED);
        else call(answers.OPEN, sftp, id, path, ...fields);
      },
      WRITE: answers.WRITE,
      OPENDIR: (sftp, id) => sftp.status(id, STATUS_CODE.FAILURE),
      LSTAT: (sftp, id, path: string) => {
        if (path !== "/old") sftp.attrs(id, { ...FILE, uid: why === "the owner" ? 1000 : 0 });
        else sftp.attrs(id, why === "the mode" ? ({ size: 3 } as typeof FILE) : FILE);
      },
      SETSTAT: (sftp, id) => sftp.status(id, STATUS_CODE.PERMISSION_DENIED),
      RENAME: (sftp, id) => sftp.status(id, STATUS_CODE.FAILURE, "it replaces a file"),
    });
    expect({ why, code, stdout, stderr }).toEqual({
      why,
      code: 0,
      stdout: "new -> old  4 bytes\n",
      stderr: "",
    });
    expect([...files].map(([name, bytes]) => `${name} ${bytes}`)).toEqual(["/old new\n"]);
  }
});

test("put writes in ascending order, with many requests under way", async () => {
  for (const runtime of EVERYWHERE) {
    await using box = await folder();
    const bytes = randomBytes(700_001);
    await writeFile(box.here("new"), bytes);
    let stored = Buffer.alloc(0);
    let unanswered: (() => void)[] | undefined = []; // until there are eleven
    const { answers } = memory(new Map(), {
      WRITE: (sftp, id, _: Buffer, place: number, piece: Buffer) => {
        if (place !== stored.length) return sftp.status(id, STATUS_CODE.FAILURE, "this server cannot seek");
        stored = Buffer.concat([stored, piece]);
        const answer = () => sftp.status(id, STATUS_CODE.OK);
        if (!unanswered) return answer();
        if (unanswered.push(answer) <= 10) return;
        unanswered.forEach((late) => late());
        unanswered = undefined;
      },
    });
    await using server = await impostor(answers);
    await trust(box, server.port);
    expect(await session(shell(box, server.port, { ...PASSWORD, runtime }), ["s3cret", "put new /new"]))
      .toEqual({
        code: 0,
        stdout: "new -> /new  700001 bytes\n",
        stderr: "",
      });
    expect(stored.equals(bytes)).toBe(true);
  }
});

test("Ctrl-C in the moment when a file is opened ends its transfer, though everything would still be answered", async () => {
  const stop = new AbortController();
  const done: string[] = [];
  const file: File = {
    piece: 10,
    read: (buffer, offset, length) => Promise.resolve(buffer.fill(0, offset, offset + length) && length),
    write: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const side = {
    open: (_: string, flags: Flags) => {
      done.push(`open ${flags}`);
      if (flags === "wx") stop.abort();
      return Promise.resolve(file);
    },
    lstat: () => Promise.reject(new Failure("x", "", "ENOENT")),
    rename: () => Promise.resolve(done.push("rename")),
    unlink: () => Promise.resolve(done.push("unlink")),
  } as unknown as Side;
  const each = () => Promise.resolve(true);
  const transfer = new Transfer(side, side, {
    ...{ isDeep: false, mostNames: 1, each },
    ...{ stop: stop.signal, end: stop.signal },
  });
  const passed = transfer.pass("x", "y", { kind: "file", mode: 0o644, size: 1_000_000, time: 0 });
  expect(await passed.catch(({ name }) => name)).toBe("AbortError");
  expect(done).toEqual(["open r", "open wx", "unlink"]);
});

test("Ctrl-C during put to a server that no longer answers tells what may be left", async () => {
  await using box = await folder();
  await writeFile(box.here("big"), "1");
  const asked = Promise.withResolvers<void>();
  const { answers } = memory(new Map(), { WRITE: () => asked.resolve() });
  await using server = await impostor({ ...answers, CLOSE: () => {}, REMOVE: () => {} });
  await trust(box, server.port);
  await using program = shell(box, server.port, { ...PASSWORD, pace: 0.3 });
  program.type("s3cret\nput big\n");
  await asked.promise;
  program.signal("SIGINT");
  const { code, stdout, stderr } = await program.result();
  expect({ code, stdout }).toEqual({ code: 130, stdout: "" });
  expect(stderr).toMatch(/^hint: a part of it may be left, as incoming-\w+\.part\n$/);
  expect(existsSync(box.there("big"))).toBe(false);
});

test("a server that tells no modes: what is a folder is found out", async () => {
  await using box = await folder();
  const text = "0123456789";
  const folders = ["/", "/sub"];
  const listed = new Set<string>();
  const nothing = { size: undefined } as never;
  const all = (path: string) => path.replace(/\/?\.$/, "") || "/";
  await using server = await impostor({
    STAT: (sftp, id, path: string) =>
      [...folders, "/file", "/sub/file"].includes(all(path))
        ? sftp.attrs(id, nothing)
        : sftp.status(id, STATUS_CODE.NO_SUCH_FILE),
    OPENDIR: (sftp, id, path: string) => {
      if (!folders.includes(all(path))) return sftp.status(id, STATUS_CODE.FAILURE);
      listed.delete(all(path));
      sftp.handle(id, Buffer.from(all(path)));
    },
    READDIR: (sftp, id, handle: Buffer) => {
      if (listed.has(`${handle}`)) return sftp.status(id, STATUS_CODE.EOF);
      listed.add(`${handle}`);
      const file = { filename: "file", longname: "-rw-r--r-- file", attrs: nothing };
      const sub = { filename: "sub", longname: "drwxr-xr-x sub", attrs: nothing };
      sftp.name(id, `${handle}` === "/" ? [file, sub] : [file]);
    },
    OPEN: (sftp, id) => sftp.handle(id, Buffer.from("1")),
    READ: (sftp, id, _: Buffer, place: number) =>
      place === 0 ? sftp.data(id, Buffer.from(text)) : sftp.status(id, STATUS_CODE.EOF),
  });
  await trust(box, server.port);
  const lines = [
    "s3cret",
    "pwd",
    "ls",
    "ls sub",
    "-get sub",
    "get file",
    "get -r sub",
    "get -r / all",
    "get -r / all", // which is there now: all of / goes into it
    "-get none",
    "ls -l file",
  ];
  const { code, stdout, stderr } = await session(shell(box, server.port, PASSWORD), lines);
  expect({ code, stderr }).toEqual({
    code: 0,
    stderr: "error: sub: is a folder (EISDIR)\nhint: -r takes folders too\n" +
      "error: none: no such file or folder (ENOENT)\n",
  });
  expect(stdout).toStartWith(
    "/\nfile\nsub\nfile\nfile -> file  10 bytes\nsub/file -> sub/file  10 bytes\n" +
      "/file -> all/file  10 bytes\n/sub/file -> all/sub/file  10 bytes\n" +
      "/file -> all/file  10 bytes\n/sub/file -> all/sub/file  10 bytes\n-?????????     ?     ? ",
  );
  expect(readFileSync(box.here("sub", "file"), "utf8")).toBe(text);
});
