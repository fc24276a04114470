/** Lesson 4.2: the downloader, against peers that speak its bytes with no code of ours. */
import { expect, test } from "bun:test";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, truncate, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  EVERYTHING,
  EVERYWHERE,
  type Program,
  type Runtime,
  RUNTIMES,
  script,
  start,
} from "../engine/program.ts";
import { terminal } from "../engine/terminal.ts";

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** A folder of its own, that is removed at the end. */
async function folder() {
  const path = await mkdtemp(join(tmpdir(), "sockets-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

function serve(root: string, words: string[] = [], runtime: Runtime = "bun"): Program {
  return script("apps/download-server", ["--port", "0", "--root", root, ...words], { runtime });
}

function fetch(port: number, out: string, words: string[], runtime: Runtime = "bun"): Program {
  return script("apps/download-client", ["--port", `${port}`, "--out", out, ...words], {
    runtime,
    limit: 30_000,
  });
}

/** The frame of the figure in download/protocol.ts, written by hand. */
function frame(kind: number, payload: Uint8Array | string, length = 1 + Buffer.byteLength(payload)): Buffer {
  const bytes = Buffer.from(payload);
  return Buffer.concat([
    Buffer.from([length >>> 24, (length >>> 16) & 255, (length >>> 8) & 255, length & 255, kind]),
    bytes,
  ]);
}
const message = (value: unknown) => frame(0, JSON.stringify(value));

/** Reads frames off a socket. */
function reader(socket: Socket) {
  let bytes = Buffer.alloc(0);
  const chunks = socket[Symbol.asyncIterator]();
  const take = async (count: number) => {
    while (bytes.length < count) {
      const { value } = await chunks.next();
      if (!value) throw new Error(`end after ${bytes.length} of ${count} bytes`);
      bytes = Buffer.concat([bytes, value]);
    }
    const taken = bytes.subarray(0, count);
    bytes = bytes.subarray(count);
    return taken;
  };
  return {
    async next() {
      const header = await take(5);
      const payload = await take(header.readUInt32BE(0) - 1);
      return header[4] === 0 ? JSON.parse(payload.toString()) : payload;
    },
    /** Resolves when the other end has hung up or reset. */
    async ended() {
      try {
        while (!(await chunks.next()).done);
        return "end";
      } catch (error) {
        return (error as { code?: string }).code ?? "error";
      }
    },
  };
}

/** How much there is of the file that is on its way into a folder, in bytes. */
async function partSize(path: string): Promise<number> {
  const part = (await readdir(path)).find((name) => name.endsWith(".part"));
  return part ? (await stat(join(path, part))).size : 0;
}

function dial(port: number) {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  return { socket, ...reader(socket), [Symbol.dispose]: () => void socket.destroy() };
}

/** A server of the test: answers each connection with `answer`. */
async function impostor(answer: (socket: Socket, next: () => Promise<never>) => Promise<void>) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    answer(socket, reader(socket).next as () => Promise<never>).catch(() => {});
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Names that must never become a file: a table for both directions. */
const HOSTILE = [
  "../up",
  "..",
  ".",
  "a/../../b",
  "../../../../etc/passwd",
  "/etc/passwd",
  "//etc/passwd",
  "a/..",
  "./../x",
  "..\\up",
  "a\\..\\..\\b",
  "\\windows",
  "C:\\x",
  "C:x",
  "c:/x",
  "\\\\host\\share\\x",
  "file:stream",
  "a:b",
  "nul",
  "NUL",
  "con",
  "CON.txt",
  "aux",
  "prn.log",
  "com1",
  "COM9.x",
  "lpt1",
  "conin$",
  "nul .txt",
  "dot.",
  "space ",
  "a./b",
  "a /b",
  "tab\there",
  "esc\u001b[2J",
  "nul\u0000byte",
  "new\nline",
  "c1\u009b",
  "rtl\u202egpj",
  "del\u007f",
  "a//b",
  "a/",
  "",
  "x".repeat(300),
  `${"y/".repeat(3000)}z`,
  "lone\ud800",
];

test("files and folders of every kind arrive as they are", async () => {
  await using root = await folder();
  await using out = await folder();
  const files: Record<string, Buffer> = {
    "empty": Buffer.alloc(0),
    "one": Buffer.from("1"),
    "图片/猫 咪.bin": randomBytes(200_000),
    "图片/深/更深/frame": randomBytes(65_536),
    "big": randomBytes(3_000_001),
  };
  for (const [name, bytes] of Object.entries(files)) {
    await mkdir(join(root.path, name, ".."), { recursive: true });
    await writeFile(join(root.path, name), bytes);
  }
  await using server = serve(root.path);
  const port = await server.port();
  const list = await fetch(port, out.path, ["--list", "--recursive"]).result();
  expect(list.stdout.trim().split("\n").map((line) => line.trim().split("  ").join(" ")).sort()).toEqual(
    Object.entries(files).map(([name, bytes]) => `${bytes.length} ${name}`).sort(),
  );
  expect(await fetch(port, out.path, ["--quiet", "--recursive", "."]).result()).toEqual({
    code: 0,
    stdout: "",
    stderr: "",
  });
  for (const [name, bytes] of Object.entries(files)) {
    expect(sha256(await readFile(join(out.path, name)))).toBe(sha256(bytes));
  }
  expect((await readdir(out.path, { recursive: true })).filter((name) => name.endsWith(".part"))).toEqual([]);
});

test("a folder is asked for by its name, and lands under its last part", async () => {
  await using root = await folder();
  await using out = await folder();
  await mkdir(join(root.path, "a/b"), { recursive: true });
  await writeFile(join(root.path, "a/b/c"), "c");
  await using server = serve(root.path);
  const port = await server.port();
  expect((await fetch(port, out.path, ["--recursive", "a/b"]).result()).code).toBe(0);
  expect(await readFile(join(out.path, "b/c"), "utf8")).toBe("c");
  const folderAlone = await fetch(port, out.path, ["a"]).result();
  expect(folderAlone.code).toBe(1);
  expect(folderAlone.stderr).toBe("error: a: is a folder (EISDIR)\nhint: --recursive fetches folders\n");
});

test("one name that is missing does not keep the others away", async () => {
  await using root = await folder();
  await using out = await folder();
  await writeFile(join(root.path, "there"), "x");
  await using server = serve(root.path);
  const result = await fetch(await server.port(), out.path, ["missing", "there"]).result();
  expect(result.stderr).toBe("error: missing: no such file (ENOENT)\n");
  expect(result.stdout).toBe(`saved 1 bytes as ${join(out.path, "there")}\n`);
  expect(result.code).toBe(1);
});

test("killed at random moments, the next run goes on, and the file is whole", async () => {
  await using root = await folder();
  await using out = await folder();
  const bytes = randomBytes(40_000_000);
  await writeFile(join(root.path, "file"), bytes);
  await using server = serve(root.path);
  const port = await server.port();
  const target = join(out.path, "file");
  const seen = { kills: 0, resumed: 0, whole: 0 };
  while (seen.kills < (EVERYTHING ? 100 : 5)) {
    await using client = fetch(port, out.path, ["file", "--limit-rate", "400M"]);
    while (!(await server.next())?.includes(" gets ")); // from here on, the file is under way
    const timer = setTimeout(() => client.signal("SIGKILL"), Math.random() * 100);
    const code = await client.ended();
    clearTimeout(timer);
    if ((await client.next())?.startsWith("going on")) seen.resumed++;
    if (code === 137) {
      seen.kills++;
      if (!existsSync(target)) continue; // else it was killed behind its work
    } else expect(code).toBe(0);
    expect(sha256(await readFile(target))).toBe(sha256(bytes));
    await rm(target);
    seen.whole++;
  }
  expect((await fetch(port, out.path, ["file", "--force"]).result()).code).toBe(0);
  expect(sha256(await readFile(target))).toBe(sha256(bytes));
  expect(await readdir(out.path)).toEqual(["file"]);
  expect(seen.resumed).toBeGreaterThan(0);
}, 120_000);

test("a server killed in the middle, and a part that goes on with the next one", async () => {
  await using root = await folder();
  await using out = await folder();
  const bytes = randomBytes(30_000_000);
  await writeFile(join(root.path, "file"), bytes);
  for (const signal of ["SIGKILL", "SIGINT"] as const) {
    await using first = serve(root.path);
    await using client = fetch(await first.port(), out.path, ["file", "--limit-rate", "20M"]);
    await first.next(); // gets file
    while (await partSize(out.path) === 0) await Bun.sleep(5);
    first.signal(signal);
    const broken = await client.result();
    expect(broken.code).toBe(1);
    expect(broken.stderr).toMatch(/^error: .*\((ECONNRESET|EPROTO)\)\n/);
    expect(existsSync(join(out.path, "file"))).toBe(false);
  }
  await using second = serve(root.path);
  const whole = await fetch(await second.port(), out.path, ["file"]).result();
  expect(whole.stdout).toMatch(/^going on with .*file at byte [1-9]\d*\nsaved 30000000 bytes as .*file\n$/);
  expect(sha256(await readFile(join(out.path, "file")))).toBe(sha256(bytes));
});

if (EVERYTHING) {
  test("a part that takes longer to read than the idle limit goes on, too", async () => {
    await using root = await folder();
    await using out = await folder();
    const size = 3 * 2 ** 29; // of zeros, which take no room on the disk
    const file = join(root.path, "file");
    await writeFile(file, "");
    await truncate(file, size);
    const state = sha256(Buffer.from(`file\n${size}\n${Math.trunc((await stat(file)).mtimeMs)}`)).slice(
      0,
      10,
    );
    await writeFile(join(out.path, `file.${state}.part`), "");
    await truncate(join(out.path, `file.${state}.part`), size);
    await using server = serve(root.path, ["--idle", "1"]);
    await using client = fetch(await server.port(), out.path, ["file"]);
    expect(await client.result()).toEqual({
      code: 0,
      stdout: `going on with ${join(out.path, "file")} at byte ${size}\nsaved ${size} bytes as ${
        join(out.path, "file")
      }\n`,
      stderr: "",
    });
  }, 60_000);
}

test("a file that has changed on the server starts afresh, and a part that was tampered with too", async () => {
  await using root = await folder();
  await using out = await folder();
  await writeFile(join(root.path, "file"), randomBytes(20_000_000));
  await using server = serve(root.path);
  const port = await server.port();
  const interrupt = async () => {
    await using client = fetch(port, out.path, ["file", "--limit-rate", "20M"]);
    await server.next();
    while (await partSize(out.path) === 0) await Bun.sleep(5);
    client.signal("SIGINT");
    expect(await client.ended()).toBe(130);
  };
  await interrupt();
  const changed = randomBytes(1_000_000);
  await writeFile(join(root.path, "file"), changed);
  const afresh = await fetch(port, out.path, ["file"]).result();
  expect(afresh.stdout).toMatch(/^.*file has changed on the server: starting afresh\nsaved 1000000 bytes/);
  expect(sha256(await readFile(join(out.path, "file")))).toBe(sha256(changed));
  await rm(join(out.path, "file"));

  await writeFile(join(root.path, "file"), randomBytes(20_000_000));
  await interrupt();
  const [part] = await readdir(out.path);
  await writeFile(join(out.path, part), randomBytes(1000));
  const mended = await fetch(port, out.path, ["file"]).result();
  expect(mended.stdout).toMatch(/^saved 20000000 bytes/);
  expect(sha256(await readFile(join(out.path, "file")))).toBe(
    sha256(await readFile(join(root.path, "file"))),
  );
});

test("a file that shrinks while it is sent is told, and does not get its name", async () => {
  await using root = await folder();
  await using out = await folder();
  await writeFile(join(root.path, "file"), randomBytes(20_000_000));
  await using server = serve(root.path);
  await using client = fetch(await server.port(), out.path, ["file", "--limit-rate", "5M"]);
  await server.next();
  await truncate(join(root.path, "file"), 1000);
  const { code, stderr } = await client.result();
  expect(stderr).toBe("error: file: changed while it was sent (ESTALE)\n");
  expect(code).toBe(1);
  expect(existsSync(join(out.path, "file"))).toBe(false);
});

test("hostile client: no name leads out of the root", async () => {
  await using outside = await folder();
  const root = join(outside.path, "root");
  await mkdir(root);
  for (const name of ["up", "b", "x"]) await writeFile(join(outside.path, name), "secret");
  await symlink("/etc", join(root, "etc"));
  await symlink("../up", join(root, "link"));
  await using server = serve(root);
  using caller = dial(await server.port());
  for (const name of [...HOSTILE, "etc/passwd", "link", "etc"]) {
    caller.socket.write(message({ version: 1, get: name }));
    const answer = await caller.next();
    expect([name, Object.keys(answer)]).toEqual([name, ["error", "code"]]);
    caller.socket.write(message({ version: 1, list: name, recursive: true }));
    for (let next = await caller.next(); !next.error && !next.end; next = await caller.next()) {
      expect(next.entry.name).not.toMatch(/secret|passwd|up$/);
    }
  }
});

test("hostile server: no name leads out of the folder, and no link is followed", async () => {
  await using outside = await folder();
  const out = join(outside.path, "out");
  await mkdir(out);
  await symlink(outside.path, join(out, "link"));
  await symlink(join(outside.path, "victim"), join(out, "planted"));
  const names = [...HOSTILE, "link/x", "planted"];
  let asked = 0;
  await using server = await impostor(async (socket, next) => {
    while (true) {
      const request = await next() as { list?: string; get?: string };
      if (request.list !== undefined) {
        for (const name of names) socket.write(message({ entry: { name, size: 4 } }));
        socket.write(message({ end: true }));
      } else {
        asked++;
        socket.write(message({ file: { size: 4, time: 1 } }));
        await next();
        socket.write(
          Buffer.concat([
            message({ from: 0 }),
            frame(1, "evil"),
            message({ sha256: sha256(Buffer.from("evil")) }),
          ]),
        );
      }
    }
  });
  const { code, stderr } = await fetch(server.port, out, ["--recursive", "."]).result();
  expect(code).toBe(1);
  expect(stderr.split("\n").filter((line) => line.startsWith("error: ")).length).toBe(names.length);
  expect(stderr.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\u202e]/u);
  expect(asked).toBe(0);
  expect((await readdir(outside.path)).sort()).toEqual(["out"]);
  expect((await readdir(out)).sort()).toEqual(["link", "planted"]);
});

test("hostile server: what is not the protocol is told in one line, and leaves no file", async () => {
  const file = message({ file: { size: 4, time: 1 } });
  const zero = message({ from: 0 });
  const right = { sha256: sha256(Buffer.from("evil")) };
  const cases: [name: string, bytes: Buffer[], code: string][] = [
    ["nothing at all", [], "ECONNRESET"],
    ["a length beyond the limit", [frame(0, "{}", 0xffffffff)], "EMSGSIZE"],
    ["a length just beyond the limit", [frame(1, "", 131_073)], "EMSGSIZE"],
    ["no kind", [Buffer.alloc(4)], "EPROTO"],
    ["an unknown kind", [frame(7, "{}")], "EPROTO"],
    ["no JSON", [frame(0, "{")], "EPROTO"],
    ["an array", [message([])], "EPROTO"],
    ["null", [message(null)], "EPROTO"],
    ["a frame cut off", [frame(0, "{", 3)], "EPROTO"],
    ["a piece first", [frame(1, "x")], "EPROTO"],
    ["no state of the file", [message({ file: null })], "EPROTO"],
    ["a negative size", [message({ file: { size: -1, time: 1 } })], "EPROTO"],
    ["half a byte", [message({ file: { size: 0.5, time: 1 } })], "EPROTO"],
    ["a size beyond counting", [message({ file: { size: 1e300, time: 1 } })], "EPROTO"],
    ["a size in words", [message({ file: { size: "4", time: 1 } })], "EPROTO"],
    ["another place", [file, message({ from: 3 })], "EPROTO"],
    ["more than was promised", [file, zero, frame(1, "evil!")], "EPROTO"],
    ["less than was promised", [file, zero, frame(1, "evi")], "ECONNRESET"],
    ["a wrong hash", [file, zero, frame(1, "evil"), message({ sha256: "0" })], "EBADMSG"],
    ["no hash", [file, zero, frame(1, "evil")], "ECONNRESET"],
    ["an error that is none", [message({ error: 1, code: 2 })], "EPROTO"],
    ["an error that drives the terminal", [message({ error: "\u001b[2Jgone", code: "ENOENT" })], "ENOENT"],
    [
      "an error in the middle",
      [file, zero, frame(1, "ev"), message({ error: "broken", code: "EIO" })],
      "EIO",
    ],
    ["the right bytes", [file, zero, frame(1, "evil"), message(right)], ""],
  ];
  for (const [name, bytes, code] of cases) {
    await using out = await folder();
    await using server = await impostor(async (socket, next) => {
      await next();
      const [first, ...others] = bytes;
      if (first) socket.write(first);
      if (others.length > 0) await next(); // the place to begin at
      socket.end(Buffer.concat(others));
    });
    const result = await fetch(server.port, out.path, ["wanted"]).result();
    const { stderr } = result;
    expect([name, /\((E[A-Z]+)\)\n/.exec(stderr)?.[1] ?? ""]).toEqual([name, code]);
    expect([name, result.code]).toEqual([name, code ? 1 : 0]);
    expect(stderr.includes("\u001b")).toBe(false);
    expect(stderr).not.toContain("    at ");
    expect(existsSync(join(out.path, "wanted"))).toBe(code === "");
  }
}, 60_000);

test("hostile server: a list of endless names is cut, and an error of endless words", async () => {
  await using out = await folder();
  const entry = message({ entry: { name: "n".repeat(130_000), size: 1 } });
  let sent = 0;
  await using server = await impostor(async (socket, next) => {
    if ((await next() as { get?: string }).get) {
      return void socket.end(message({ error: "e".repeat(130_000), code: "EIO" }));
    }
    for (; sent < 1000 && !socket.destroyed; sent++) {
      if (!socket.write(entry)) await once(socket, "drain");
    }
    socket.end(message({ end: true }));
  });
  const list = await fetch(server.port, out.path, ["--list"]).result();
  expect(list).toEqual({
    code: 1,
    stdout: "",
    stderr: `error: 127.0.0.1:${server.port}: sent a list without end (EPROTO)\n`,
  });
  expect(sent).toBeLessThan(1000);
  const { stderr } = await fetch(server.port, out.path, ["x"]).result();
  expect(stderr).toBe(`error: x: ${"e".repeat(220)}... (EIO)\n`);
});

test("the parts of two files whose long names begin alike do not meet", async () => {
  await using root = await folder();
  await using out = await folder();
  const [one, other] = ["1", "2"].map((end) => `${"长".repeat(75)}${end}.mp4`);
  await writeFile(join(root.path, one), randomBytes(3_000_000));
  await writeFile(join(root.path, other), "x");
  await using server = serve(root.path);
  const port = await server.port();
  await using first = fetch(port, out.path, ["--limit-rate", "500K", one]);
  while (await partSize(out.path) === 0) await Bun.sleep(10);
  first.signal("SIGKILL");
  await first.result();
  const result = await fetch(port, out.path, [other]).result();
  expect(result).toEqual({ code: 0, stdout: `saved 1 bytes as ${join(out.path, other)}\n`, stderr: "" });
  expect(await partSize(out.path)).toBeGreaterThan(0);
});

test("what this machine refuses in the middle is told once, and by its own name", async () => {
  await using root = await folder();
  await using out = await folder();
  for (const name of ["a", "b"]) await writeFile(join(root.path, name), name);
  const { size, mtimeMs } = await stat(join(root.path, "a"));
  const state = sha256(Buffer.from(`a\n${size}\n${Math.trunc(mtimeMs)}`)).slice(0, 10);
  await symlink("nowhere", join(out.path, `a.${state}.part`));
  await using server = serve(root.path);
  expect(await fetch(await server.port(), out.path, ["a", "b"]).result()).toEqual({
    code: 1,
    stdout: "",
    stderr: `error: ${join(out.path, "a")}: too many symbolic links (ELOOP)\n`,
  });
});

for (const runtime of EVERYWHERE) {
  test.skipIf(process.platform === "win32")(
    `Ctrl-C in a slow download shows the cursor again, on ${runtime}`,
    async () => {
      await using root = await folder();
      await using out = await folder();
      await writeFile(join(root.path, "big"), randomBytes(3_000_000));
      await using server = serve(root.path);
      const words = ["--port", `${await server.port()}`, "--out", out.path, "--limit-rate", "20K", "big"];
      await using person = terminal([...RUNTIMES[runtime], "scripts/apps/download-client.ts", ...words]);
      await person.until("4%");
      person.press("Ctrl-C");
      expect(await person.ended()).toBe(130);
      expect(person.written.lastIndexOf("\x1b[?25h")).toBeGreaterThan(
        person.written.lastIndexOf("\x1b[?25l"),
      );
    },
  );
}

test("hostile client: what is not the protocol ends that caller only", async () => {
  await using root = await folder();
  await writeFile(join(root.path, "file"), "1234");
  await using server = serve(root.path);
  const port = await server.port();
  const get = message({ version: 1, get: "file" });
  const cases: [name: string, bytes: Buffer][] = [
    ["a length beyond the limit", frame(0, "", 0xffffffff)],
    ["no kind", Buffer.alloc(4)],
    ["an unknown kind", frame(9, "x")],
    ["no JSON", frame(0, "hello")],
    ["another version", message({ version: 2, get: "file" })],
    ["nothing that there is", message({ version: 1, put: "file" })],
    ["a piece", frame(1, "x")],
    ["a negative place", Buffer.concat([get, message({ from: -1 })])],
    ["a place that is no number", Buffer.concat([get, message({ from: "0" })])],
    ["a message in between", Buffer.concat([get, get])],
    ["GET / HTTP/1.1", Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n")],
    ["noise", randomBytes(100_000).fill(255, 0, 4)],
  ];
  for (const [name, bytes] of cases) {
    using caller = dial(port);
    caller.socket.write(bytes);
    expect([name, await caller.ended()]).toEqual([name, "end"]);
  }
  using honest = dial(port);
  honest.socket.write(get);
  expect((await honest.next()).file.size).toBe(4);
  honest.socket.write(message({ from: 99, sha256: "no" })); // a place behind the end, and a hash that is not its own
  expect(await honest.next()).toEqual({ from: 0 });
  expect((await honest.next()).toString()).toBe("1234");
  expect(await honest.next()).toEqual({ sha256: sha256(Buffer.from("1234")) });
});

for (const runtime of EVERYWHERE) {
  test(`on ${runtime}, who never asks and who never reads is dropped after the idle limit`, async () => {
    await using root = await folder();
    await writeFile(join(root.path, "file"), Buffer.alloc(50_000_000));
    await using server = serve(root.path, ["--idle", "1"], runtime);
    const port = await server.port();
    using silent = dial(port);
    const deaf = connect(port, "127.0.0.1");
    deaf.on("error", () => {});
    deaf.write(Buffer.concat([message({ version: 1, get: "file" }), message({ from: 0 })]));
    expect(await silent.ended()).toBe("end");
    const told = [await server.next("stderr"), await server.next("stderr")];
    for (const line of told) {
      expect(line).toMatch(/^error: 127\.0\.0\.1:\d+: silent for 1 seconds \(ETIMEDOUT\)$/);
    }
    deaf.destroy();
  });
}

test("100 callers at once each get a file whole", async () => {
  await using root = await folder();
  const bytes = randomBytes(EVERYTHING ? 10_000_000 : 1_000_000);
  await writeFile(join(root.path, "file"), bytes);
  await using server = serve(root.path);
  const port = await server.port();
  const sums = await Promise.all(Array.from({ length: 100 }, async () => {
    using caller = dial(port);
    caller.socket.write(Buffer.concat([message({ version: 1, get: "file" }), message({ from: 0 })]));
    await caller.next();
    await caller.next();
    const hash = createHash("sha256");
    for (let at = 0; at < bytes.length;) {
      const piece = await caller.next() as Buffer;
      hash.update(piece);
      at += piece.length;
    }
    return [hash.digest("hex"), (await caller.next()).sha256];
  }));
  expect(new Set(sums.flat())).toEqual(new Set([sha256(bytes)]));
}, 60_000);

const canMount = process.platform === "linux" &&
  (await start(["unshare", "-Urm", "sh", "-c", "mount -t tmpfs none /mnt"]).ended()) === 0;

test.skipIf(!canMount).each(EVERYWHERE)(
  "on %s, a full disk: told, nothing under the name, and the next run goes on (needs unshare)",
  async (runtime) => {
    await using root = await folder();
    await using out = await folder();
    await writeFile(join(root.path, "file"), randomBytes(3_000_000));
    await using server = serve(root.path);
    const port = await server.port();
    const command = [...RUNTIMES[runtime], "scripts/apps/download-client.ts"].join(" ");
    const client = `${command} --port ${port} --out ${out.path} file`;
    await using run = start([
      "unshare",
      "-Urm",
      "sh",
      "-c",
      `
    mount -t tmpfs -o size=1m none ${out.path}
    ${client}; echo "exit $?"; test -e ${out.path}/file && echo present
    mount -o remount,size=9m ${out.path}
    ${client}; echo "exit $?"; sha256sum <${out.path}/file`,
    ]);
    const { stdout, stderr } = await run.result();
    const lines = stdout.trim().split("\n");
    expect(stderr).toMatch(/^error: .*no space left on device \(ENOSPC\)\n$/);
    expect(lines[0]).toBe("exit 1");
    expect(lines[1]).toMatch(/^going on with .* at byte \d+$/);
    expect(lines.slice(3)).toEqual(["exit 0", `${sha256(await readFile(join(root.path, "file")))}  -`]);
  },
);

test("wrong commands", async () => {
  await using out = await folder();
  for (const rate of ["0", "1K", "-1", "fast", "1.5M", "99999999999G"]) {
    const { code, stderr } = await fetch(1, out.path, ["x", "--limit-rate", rate]).result();
    expect([rate, code]).toEqual([rate, 2]);
    expect(stderr).toBe(
      `error: --limit-rate ${rate}: it is a number of bytes: 500K, 2M; at least 4K (EINVAL)\n`,
    );
  }
});

test("a server whose root is not there, or is no folder, does not start", async () => {
  await using out = await folder();
  const file = join(out.path, "file");
  await writeFile(file, "");
  for (const server of ["download-basic-server", "download-server"]) {
    for (
      const [root, why] of [[join(out.path, "none"), "no such file or folder (ENOENT)"], [
        file,
        "not a folder (ENOTDIR)",
      ]]
    ) {
      const program = script(`apps/${server}`, ["--port", "0", "--root", root]);
      expect(await program.result()).toEqual({ code: 1, stdout: "", stderr: `error: ${root}: ${why}\n` });
    }
  }
});
