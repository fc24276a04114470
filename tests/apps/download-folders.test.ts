/** Lesson 4.2: folders, run after run: what is here already, what has changed, and what cannot be read. (thorough) */
import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { chmod, mkdir, readdir, readFile, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { EVERYTHING, EVERYWHERE, RUNTIMES, start } from "../engine/program.ts";
import { until } from "../engine/sockets.ts";
import { fetch, folder, impostor, message, saved, serve } from "./download-peers.ts";

/** Writes files; `/` in a name makes folders. */
async function write(root: string, files: Record<string, string>) {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, name)), { recursive: true });
    await writeFile(join(root, name), text);
  }
}

const many = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [`${n % 3}/file ${n}`, `${n}`.repeat(1000)]));

/** All the files below a folder, with what is in them. */
async function tree(path: string): Promise<Record<string, string>> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
    .sort();
  return Object.fromEntries(
    await Promise.all(files.map(async (file) => [file.slice(path.length + 1), await readFile(file, "utf8")])),
  );
}

const sorted = (files: Record<string, string>) => Object.fromEntries(Object.entries(files).sort());

for (const runtime of EVERYWHERE) {
  test(`on ${runtime}, a folder that was interrupted: the next run skips what is whole, and ends well`, async () => {
    await using root = await folder();
    await using out = await folder();
    const files = many(600);
    await write(root.path, files);
    await using server = serve(root.path, [], runtime);
    const port = await server.port();
    await using first = fetch(port, out.path, ["--recursive", "."], runtime);
    for (let count = 0; count < 10; count++) await first.next();
    first.signal("SIGKILL");
    await first.ended();
    const whole = Object.keys(await tree(out.path)).filter((name) => !name.endsWith(".part")).length;
    expect(whole).toBeGreaterThan(0);
    expect(whole).toBeLessThan(600);

    const second = await fetch(port, out.path, ["--recursive", "."], runtime).result();
    expect({ code: second.code, stderr: second.stderr }).toEqual({ code: 0, stderr: "" });
    expect(second.stdout).toEndWith(`\nalready here and skipped: ${whole} of 600 files\n`);
    expect(await tree(out.path)).toEqual(sorted(files));
    const third = await fetch(port, out.path, ["--recursive", "--force", "."], runtime).result();
    expect(third).toEqual({ code: 0, stdout: "already here and skipped: 600 of 600 files\n", stderr: "" });
  });
}

test("what is here is known by size and time, or else by its SHA-256; what differs needs --force", async () => {
  await using root = await folder();
  await using out = await folder();
  const files = { a: "a", b: "b", c: "c", d: "d" };
  await write(root.path, files);
  await using server = serve(root.path);
  const port = await server.port();
  const run = (...words: string[]) => fetch(port, out.path, ["--recursive", ".", ...words]).result();
  expect((await run()).code).toBe(0);
  const here = (name: string) => join(out.path, name);
  const past = new Date(1e12);
  await utimes(here("a"), past, past); // the same bytes, at another time
  await writeFile(here("b"), "B"); // other bytes at another time
  await writeFile(here("c"), "longer");
  const { atime, mtime } = await stat(here("d"));
  await writeFile(here("d"), "D"); // other bytes of the same size and time: only their hash tells
  await utimes(here("d"), atime, mtime);

  const error = (name: string) =>
    `error: ${here(name)}: exists already, and is not overwritten (EEXIST)\nhint: --force overwrites\n`;
  const skipped = (count: number) => `already here and skipped: ${count} of 4 files\n`;
  expect(await run()).toEqual({ code: 1, stdout: skipped(2), stderr: error("b") + error("c") });
  expect(await run("--checksum")).toEqual({
    code: 1,
    stdout: skipped(1),
    stderr: error("b") + error("c") + error("d"),
  });
  expect(await run("--checksum", "--force")).toEqual({
    code: 0,
    stdout: ["b", "c", "d"].map((name) => saved(here(name), name)).join("") + skipped(1),
    stderr: "",
  });
  expect(await tree(out.path)).toEqual(files);
  expect((await stat(here("a"))).mtimeMs).toBeCloseTo((await stat(join(root.path, "a"))).mtimeMs, -1);
});

for (const runtime of EVERYWHERE) {
  test(`on ${runtime}, two runs into one folder: both end well, each file is whole, no part is left`, async () => {
    await using root = await folder();
    await using out = await folder();
    const files = many(60);
    await write(root.path, files);
    await using server = serve(root.path, [], runtime);
    const port = await server.port();
    const runs = [1, 2].map(() => fetch(port, out.path, ["--recursive", "."], runtime));
    for (const run of runs) {
      const { code, stderr } = await run.result();
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    }
    expect(await tree(out.path)).toEqual(sorted(files));
  });

  test(`on ${runtime}, a file from before 1970 keeps its time, and ends nothing`, async () => {
    await using root = await folder();
    await using out = await folder();
    await write(root.path, { a: "a", old: "old", z: "z" });
    await utimes(join(root.path, "old"), new Date(), new Date(-86_400_500));
    await using server = serve(root.path, [], runtime);
    const { code, stderr } = await fetch(await server.port(), out.path, ["--recursive", "."], runtime)
      .result();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(await tree(out.path)).toEqual({ a: "a", old: "old", z: "z" });
    expect((await stat(join(out.path, "old"))).mtimeMs).toBeCloseTo(-86_400_500, -1);
  });
}

test("a part that a run left of a file which is whole meanwhile is removed", async () => {
  await using root = await folder();
  await using out = await folder();
  await write(root.path, { file: "x".repeat(1_000_000) });
  await using server = serve(root.path);
  const port = await server.port();
  await using slow = fetch(port, out.path, ["--recursive", ".", "--limit-rate", "100K"]);
  await until(async () => (await readdir(out.path)).length > 0, "a part");
  expect((await fetch(port, out.path, ["--recursive", "."]).result()).code).toBe(0);
  expect((await readdir(out.path)).length).toBe(2); // the part of the slow run, which is still alive
  slow.signal("SIGKILL");
  await slow.ended();
  expect(await fetch(port, out.path, ["--recursive", "."]).result()).toEqual({
    code: 0,
    stdout: "already here and skipped: 1 of 1 files\n",
    stderr: "",
  });
  expect(await readdir(out.path)).toEqual(["file"]);
});

const isRoot = process.getuid?.() === 0;
test.skipIf(process.platform === "win32" || (isRoot && !Bun.which("setpriv")))(
  "a folder that the server cannot read is told, and the others are fetched (needs setpriv if run by root)",
  async () => {
    await using root = await folder();
    await using out = await folder();
    await write(root.path, { "a/1": "1", "b/2": "2", "c/3": "3", "d/4": "4" });
    await chmod(root.path, 0o755);
    await chmod(join(root.path, "b"), 0);
    await chmod(join(root.path, "d"), 0o444); // its names can be read, and nothing else
    await writeFile(join(root.path, "secret"), "5", { mode: 0o600 });
    await symlink("secret", join(root.path, "to-secret"));
    const asNobody = isRoot ? ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] : [];
    const words = ["scripts/apps/download-server.ts", "--port", "0", "--root", root.path];
    await using server = start([...asNobody, Bun.which("bun") ?? "bun", ...words]);
    const result = await fetch(await server.port(), out.path, ["--recursive", "."]).result();
    for (const name of ["b", "d"]) await chmod(join(root.path, name), 0o755);
    expect(result).toEqual({
      code: 1,
      stdout: saved(join(out.path, "a/1"), "1") + saved(join(out.path, "c/3"), "3"),
      stderr: ["to-secret", "b/", "d/", "secret"].map((name) =>
        `error: ${name}: permission denied (EACCES)\n`
      ).join(""),
    });
  },
);

test.skipIf(process.platform === "win32")(
  "names that mean something on Windows only are fetched elsewhere",
  async () => {
    await using root = await folder();
    await using out = await folder();
    const names = [
      "a:b",
      "aux.c",
      "con",
      "trail.",
      "trail ",
      "back\\slash",
      "..\\up",
      "C:\\x",
      "nul/com1",
      "one\\two/three",
      "日本:語",
    ];
    const files = Object.fromEntries(names.map((name) => [name, name]));
    await write(root.path, files);
    await using server = serve(root.path);
    const port = await server.port();
    expect((await fetch(port, out.path, ["--recursive", "."]).result()).code).toBe(0);
    expect(await tree(out.path)).toEqual(sorted(files));
    await rm(join(out.path, "one\\two"), { recursive: true });
    expect((await fetch(port, out.path, ["--recursive", "one\\two"]).result()).stdout).toBe(
      saved(join(out.path, "one\\two/three"), "one\\two/three"),
    );
    await rm(join(out.path, "a:b"));
    expect((await fetch(port, out.path, ["a:b"]).result()).stdout).toBe(saved(join(out.path, "a:b"), "a:b"));
  },
);

test("a name that is refused is told with the whole path, and the next file is fetched", async () => {
  await using root = await folder();
  await using out = await folder();
  await write(root.path, { "a/b\x1b[2J/c": "1", "z": "2" });
  await using server = serve(root.path);
  expect(await fetch(await server.port(), out.path, ["--recursive", "."]).result()).toEqual({
    code: 1,
    stdout: saved(join(out.path, "z"), "2"),
    stderr: "error: a/b\\x1b[2J/c: b\\x1b[2J has control characters (EINVAL)\n",
  });
});

test("a list that has to wait its turn is waited for", async () => {
  await using out = await folder();
  await using server = await impostor(async (socket, next) => {
    await next();
    for (let count = 0; count < 3; count++) socket.write(message({ wait: true }));
    socket.write(message({ entry: { name: "a", size: 3, time: 1 } }));
    socket.write(message({ wait: true })); // a server that is still at it
    socket.write(message({ end: true }));
  });
  const { code, stdout, stderr } = await fetch(server.port, out.path, ["--list"]).result();
  expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "           3  a\n", stderr: "" });
});

test.skipIf(!EVERYTHING)("a list of 150,000 files has an end", async () => {
  await using out = await folder();
  await using server = await impostor(async (socket, next) => {
    await next();
    for (let n = 0; n < 150; n++) {
      const entries = Array.from(
        { length: 1000 },
        (_, m) => message({ entry: { name: `${n * 1000 + m}`, size: 1, time: 1 } }),
      );
      if (!socket.write(Buffer.concat(entries))) {
        await new Promise((resolve) => socket.once("drain", resolve));
      }
    }
    socket.write(message({ end: true }));
  });
  const { code, stdout, stderr } = await fetch(server.port, out.path, ["--list"]).result();
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout.split("\n").length).toBe(150_001);
  expect(stdout).toEndWith("\n           1  149999\n");
});

for (const runtime of EVERYWHERE) {
  test.skipIf(process.platform === "win32")(
    `on ${runtime}, a file that is replaced keeps its rights, and a new one gets those of the umask`,
    async () => {
      await using root = await folder();
      await using out = await folder();
      await write(root.path, { old: "x".repeat(300_000), new: "y" });
      await writeFile(join(out.path, "old"), "", { mode: 0o600 });
      if (isRoot) await Bun.$`chown 12345:12345 ${join(out.path, "old")}`;
      await using server = serve(root.path);
      const command = [
        ...RUNTIMES[runtime],
        "scripts/apps/download-client.ts",
        "--port",
        `${await server.port()}`,
      ];
      const words = ["--out", out.path, "new", "old", "--force", "--limit-rate", "300K"];
      await using run = start(["sh", "-c", `umask 027; exec ${[...command, ...words].join(" ")}`]);
      const part = async () => (await readdir(out.path)).find((name) => name.startsWith("old."));
      await until(async () => await part() !== undefined, "a part");
      expect((await stat(join(out.path, `${await part()}`))).mode & 0o777).toBe(0o600);
      expect((await run.result()).code).toBe(0);
      const rights = async (name: string) => ((await stat(join(out.path, name))).mode & 0o777).toString(8);
      expect([await rights("old"), await rights("new")]).toEqual(["600", "640"]);
      expect((await stat(join(out.path, "old"))).size).toBe(300_000);
      if (isRoot) expect((await stat(join(out.path, "old"))).uid).toBe(12345);
    },
  );

  test(`on ${runtime}, what a file cannot replace is told before anything is fetched`, async () => {
    await using root = await folder();
    await using out = await folder();
    await write(root.path, { file: "new" });
    await mkdir(join(out.path, "file"));
    await using server = serve(root.path, [], runtime);
    expect(await fetch(await server.port(), out.path, ["file", "--force"], runtime).result()).toEqual({
      code: 1,
      stdout: "",
      stderr: `error: ${join(out.path, "file")}: is a folder, which a file cannot replace (EISDIR)\n` +
        "hint: rename one of them, or save in another folder\n",
    });
    server.signal("SIGINT");
    expect((await server.result()).stdout).not.toContain("gets");
    expect(existsSync(join(out.path, "file"))).toBe(true);
  });
}
