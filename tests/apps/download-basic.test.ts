/** Lesson 4.1, the basic download: what is saved on this machine. (What peers can do is in tests/course/peers.test.ts.) */
import { expect, test } from "bun:test";
import { mkdir, readdir, readFile, stat, symlink, truncate, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { EVERYWHERE, hurried, loaded, ROOT, RUNTIMES, script, start } from "../engine/program.ts";
import { call, inTime, listen } from "../engine/sockets.ts";
import { folder } from "./download-peers.ts";

const isRoot = process.getuid?.() === 0;

for (const runtime of EVERYWHERE) {
  test.skipIf(process.platform === "win32")(
    `on ${runtime}, a copy that is replaced keeps its rights, and a new one gets those of the umask`,
    async () => {
      await using root = await folder();
      await using here = await folder();
      for (const name of ["old", "new"]) await writeFile(join(root.path, name), name);
      await writeFile(join(here.path, "copy-old"), "", { mode: 0o600 });
      if (isRoot) await Bun.$`chown 12345:12345 ${join(here.path, "copy-old")}`;
      await using server = script("apps/download-basic-server", ["--port", "0", "--root", root.path]);
      const port = await server.port();
      for (const [name, rights] of [["old", 0o600], ["new", 0o640]] as const) {
        const command = [...RUNTIMES[runtime], join(ROOT, "scripts/apps/download-basic-client.ts")];
        const words = ["sh", "-c", 'umask 027; exec "$@"', "sh", ...command, "--port", `${port}`, name];
        await using client = start(words, { cwd: here.path });
        expect((await client.result()).code).toBe(0);
        expect(await readFile(join(here.path, `copy-${name}`), "utf8")).toBe(name);
        expect((await stat(join(here.path, `copy-${name}`))).mode & 0o777).toBe(rights);
      }
      if (isRoot) expect((await stat(join(here.path, "copy-old"))).uid).toBe(12345);
    },
  );
}

test.skipIf(process.platform === "win32")(
  "only a file is replaced: no folder, no link, no device",
  async () => {
    await using root = await folder();
    await using here = await folder();
    for (const name of ["a", "b", "c"]) await writeFile(join(root.path, name), "new");
    await mkdir(join(here.path, "copy-a"));
    await writeFile(join(here.path, "precious"), "old");
    await symlink("precious", join(here.path, "copy-b"));
    await using fifo = start(["mkfifo", join(here.path, "copy-c")]);
    expect(await fifo.ended()).toBe(0);
    await using server = script("apps/download-basic-server", ["--port", "0", "--root", root.path]);
    const port = await server.port();
    for (
      const [name, error] of [
        [
          "a",
          "is a folder, which a file cannot replace (EISDIR)\nhint: rename one of them, or save in another folder",
        ],
        ["b", "is not a file, and is not replaced (EACCES)"],
        ["c", "is not a file, and is not replaced (EACCES)"],
      ]
    ) {
      await using client = script("apps/download-basic-client", ["--port", `${port}`, name], {
        cwd: here.path,
      });
      expect(await client.result()).toEqual({
        code: 1,
        stdout: "",
        stderr: `error: copy-${name}: ${error}\n`,
      });
    }
    expect((await readdir(here.path)).sort()).toEqual(["copy-a", "copy-b", "copy-c", "precious"]);
    expect(await readFile(join(here.path, "precious"), "utf8")).toBe("old");
  },
);

for (const runtime of EVERYWHERE) {
  test(`on ${runtime}, a disk that fails in the middle resets: half a file must not look whole`, async () => {
    await using root = await folder();
    await writeFile(join(root.path, "file"), Buffer.alloc(300_000, "x"));
    const words = ["--port", "0", "--root", root.path];
    await using server = start(loaded("bad-disk", "apps/download-basic-server", words, runtime), {
      env: { BAD_DISK: "100000" },
    });
    using caller = await call(await server.port());
    await caller.send("file");
    await caller.expect("x".repeat(65_536));
    expect(await caller.rest().then(String, ({ code }) => code)).toBe("ECONNRESET");
    expect(await server.next("stderr")).toMatch(/^error: .*\(EIO\)$/);
  });

  test(`on ${runtime}, a name may be as long as the copy's can be`, async () => {
    await using here = await folder();
    const name = "照".repeat(83); // 249 bytes; copy-NAME has 254, of 255
    await using listener = await listen();
    const client = join(ROOT, "scripts/apps/download-basic-client.ts");
    await using program = start([...RUNTIMES[runtime], client, "--port", `${listener.port}`, name], {
      cwd: here.path,
    });
    const line = await listener.accept();
    await line.expect(name);
    await line.send("content");
    line.hangUp();
    expect(await program.result()).toMatchObject({ code: 0, stderr: "" });
    expect(await readdir(here.path)).toEqual([`copy-${name}`]);
  });

  test(`on ${runtime}, a caller who is silent for a minute is disconnected`, async () => {
    await using root = await folder();
    const words = ["--port", "0", "--root", root.path];
    await using server = hurried(600, "apps/download-basic-server", words, { runtime });
    using caller = await call(await server.port());
    expect(String(await caller.rest())).toBe("");
    expect(await server.next("stderr")).toBe(`error: ${caller.name}: silent for 60 seconds (ETIMEDOUT)`);
  });

  test(`on ${runtime}, a caller who takes nothing for half an hour is reset: what it has is not the whole`, async () => {
    await using root = await folder();
    await writeFile(root.at("large"), "");
    await truncate(root.at("large"), 200 << 20);
    const words = ["--port", "0", "--root", root.path];
    await using server = hurried(600, "apps/download-basic-server", words, { runtime });
    const socket = connect({ host: "127.0.0.1", port: await server.port() });
    const reads = socket.iterator();
    const begin = performance.now();
    socket.write("large");
    await reads.next();
    await server.next(); // the name
    expect(await server.next("stderr")).toMatch(
      /^error: 127\.0\.0\.1:\d+: silent for 60 seconds \(ETIMEDOUT\)$/,
    );
    expect(performance.now() - begin).toBeGreaterThan(3000); // half an hour
    const end = (async () => {
      while (!(await reads.next()).done);
      return "end";
    })();
    expect(await inTime(end.catch(({ code }) => code), "the end")).toBe("ECONNRESET");
  });
}
