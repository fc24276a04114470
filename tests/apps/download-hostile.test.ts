/** Lesson 4.2: what a hostile client, or a hostile server, must not achieve. Their bytes are made with no code of ours. (thorough) */
import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, readdir, symlink, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { EVERYWHERE } from "../engine/program.ts";
import { dial, fetch, folder, frame, impostor, message, serve, sha256 } from "./download-peers.ts";

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

/** Names that lead elsewhere on Windows, and are names like any other on other systems. */
const OF_WINDOWS = [
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
];

test("hostile client: no name leads out of the root", async () => {
  await using outside = await folder();
  const root = join(outside.path, "root");
  await mkdir(root);
  for (const name of ["up", "b", "x"]) await writeFile(join(outside.path, name), "secret");
  await symlink("/etc", join(root, "etc"));
  await symlink("../up", join(root, "link"));
  await using server = serve(root);
  using caller = dial(await server.port());
  for (const name of [...HOSTILE, ...OF_WINDOWS, "etc/passwd", "link", "etc"]) {
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
  const names = [...HOSTILE, ...(process.platform === "win32" ? OF_WINDOWS : []), "link/x", "planted"];
  let asked = 0;
  await using server = await impostor(async (socket, next) => {
    while (true) {
      const request = await next() as { list?: string; get?: string };
      if (request.list !== undefined) {
        for (const name of names) socket.write(message({ entry: { name, size: 4, time: 1 } }));
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

test(
  "hostile server: what is not the protocol is told in one line, and leaves nothing but right bytes",
  async () => {
    const file = message({ file: { size: 4, time: 1 } });
    const zero = message({ from: 0 });
    const right = { sha256: sha256(Buffer.from("evil")) };
    // What came rightly stays in a part, for the next run to go on with.
    const keeps = ["less than was promised", "no hash", "an error in the middle"];
    const cases: [name: string, bytes: Buffer[], code: string][] = [
      ["nothing at all", [], "ECONNRESET"],
      ["a length beyond the limit", [frame(0, "{}", 0xffffffff)], "EMSGSIZE"],
      ["a length just beyond the limit", [frame(1, "", 131_073)], "EMSGSIZE"],
      ["no kind", [Buffer.alloc(4)], "EPROTO"],
      ["an unknown kind", [frame(7, "{}")], "EPROTO"],
      ["an empty message", [frame(0, "")], "EPROTO"],
      ["an empty piece", [file, zero, frame(1, "")], "EPROTO"],
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
      const left = (await readdir(out.path)).map((name) => name.replace(/^wanted\..*\.part$/, "PART"));
      expect([name, left]).toEqual([name, code === "" ? ["wanted"] : keeps.includes(name) ? ["PART"] : []]);
    }
  },
  60_000,
);

test("hostile server: a list of endless names is cut, and an error of endless words", async () => {
  await using out = await folder();
  const entry = message({ entry: { name: "n".repeat(130_000), size: 1, time: 1 } });
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
    ["an empty message", frame(0, "")],
    ["an empty piece", frame(1, "")],
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
  test(`on ${runtime}, a caller who never asks, and one who never reads, are dropped after the idle limit`, async () => {
    await using root = await folder();
    await writeFile(join(root.path, "file"), Buffer.alloc(50_000_000));
    await writeFile(join(root.path, "small"), "x");
    await using server = serve(root.path, ["--idle", "1"], runtime);
    const port = await server.port();
    using silent = dial(port);
    const deaf = connect(port, "127.0.0.1");
    deaf.on("error", () => {});
    deaf.write(Buffer.concat([message({ version: 1, get: "file" }), message({ from: 0 })]));
    using done = dial(port); // has got what it asked for, and stays
    done.socket.write(message({ version: 1, get: "small", from: 0 }));
    expect(await done.next()).toMatchObject({ file: { size: 1 } });
    expect(await silent.ended()).toBe("end");
    const told = [await server.next("stderr"), await server.next("stderr"), await server.next("stderr")];
    for (const line of told) {
      expect(line).toMatch(/^error: 127\.0\.0\.1:\d+: silent for 1 seconds \(ETIMEDOUT\)$/);
    }
    deaf.destroy();
    expect(await done.ended()).toBe("ECONNRESET"); // it has everything, but nobody can know
  });

  test(`on ${runtime}, a slow caller who says so until no more fits in is not silent`, async () => {
    await using root = await folder();
    const size = 30_000_000;
    await writeFile(root.at("file"), Buffer.alloc(size));
    await using server = serve(root.path, ["--idle", "1"], runtime);
    using slow = dial(await server.port());
    slow.socket.write(message({ version: 1, get: "file", from: 0 }));
    expect(await slow.next()).toMatchObject({ file: { size } });
    const waits = Array<Buffer>(400_000).fill(message({ wait: true })); // more than the system keeps, too
    slow.socket.write(Buffer.concat(waits));
    await Bun.sleep(2500); // only time can show that nothing happens
    expect(await slow.next()).toEqual({ from: 0 });
    for (let count = 0; count < size;) count += (await slow.next()).length;
    expect(await slow.next()).toHaveProperty("sha256");
  });
}
