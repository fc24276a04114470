/** Lesson 4.2: files and folders arrive whole, whatever interrupts them. */
import { expect, test } from "bun:test";
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm, stat, truncate, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { EVERYTHING, EVERYWHERE, hurried, loaded, RUNTIMES, script, start } from "../engine/program.ts";
import { terminal } from "../engine/terminal.ts";
import { placeOf } from "../../scripts/apps/download/way.ts";
import {
  dial,
  fetch,
  folder,
  frame,
  impostor,
  message,
  partIn,
  partSize,
  saved,
  serve,
  sha256,
} from "./download-peers.ts";

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
  // Other bytes, of the same size and time: only --checksum sees that.
  const { atime, mtime } = await stat(join(out.path, "b/c"));
  await writeFile(join(out.path, "b/c"), "C");
  await utimes(join(out.path, "b/c"), atime, mtime);
  for (const [words, code] of [[[], 0], [["--checksum"], 1]] as const) {
    const again = await fetch(port, out.path, ["--recursive", "a/b", ...words]).result();
    expect([again.code, /EEXIST/.test(again.stderr)]).toEqual([code, code === 1]);
  }
});

test("one name that is missing does not keep the others away", async () => {
  await using root = await folder();
  await using out = await folder();
  await writeFile(join(root.path, "there"), "x");
  await using server = serve(root.path);
  const result = await fetch(await server.port(), out.path, ["missing", "there"]).result();
  expect(result.stderr).toBe("error: missing: no such file (ENOENT)\n");
  expect(result.stdout).toBe(saved(join(out.path, "there"), "x"));
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
  while (seen.kills < (EVERYTHING ? 100 : 5) || (seen.resumed === 0 && seen.kills < 1000)) {
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
    await using client = fetch(await first.port(), out.path, ["file", "--limit-rate", "2M"]);
    await first.next(); // gets file
    await partIn(out.path);
    first.signal(signal);
    const broken = await client.result();
    expect(broken.code).toBe(1);
    expect(broken.stderr).toMatch(/^error: .*\((ECONNRESET|EPROTO)\)\n/);
    expect(existsSync(join(out.path, "file"))).toBe(false);
  }
  await using second = serve(root.path);
  const whole = await fetch(await second.port(), out.path, ["file"]).result();
  expect(whole.stdout).toMatch(/^going on with .*file at byte [1-9]\d*\nsaved /);
  expect(whole.stdout).toEndWith(`\n${saved(join(out.path, "file"), bytes)}`);
  expect(sha256(await readFile(join(out.path, "file")))).toBe(sha256(bytes));
});

if (EVERYTHING) {
  test("a part that takes longer to read than the idle limit goes on, too", async () => {
    await using root = await folder();
    await using out = await folder();
    const size = 50_000_000; // of zeros, which take no room on the disk
    const file = join(root.path, "file");
    await writeFile(file, "");
    await truncate(file, size);
    await using server = serve(root.path, ["--idle", "5"]);
    const port = await server.port();
    await using first = fetch(port, out.path, ["file", "--limit-rate", "1M"]);
    await partIn(out.path);
    first.signal("SIGKILL");
    await first.ended();
    const [part] = await readdir(out.path);
    await truncate(join(out.path, part), size);
    const words = ["--port", `${port}`, "--out", out.path, "file"];
    await using client = start(loaded("bad-disk", "apps/download-client", words), {
      env: { SLOW_READ: "20" }, // 382 pieces, so 7.6 s and more
    });
    const { code, stdout, stderr } = await client.result();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toStartWith(
      `going on with ${join(out.path, "file")} at byte ${size}\nsaved ${size} bytes as ${
        join(out.path, "file")
      }\n`,
    );
  }, 60_000);
}

test("a file that has changed on the server starts afresh, and a part that was tampered with too", async () => {
  await using root = await folder();
  await using out = await folder();
  await writeFile(join(root.path, "file"), randomBytes(20_000_000));
  await using server = serve(root.path);
  const port = await server.port();
  const interrupt = async () => {
    await using client = fetch(port, out.path, ["file", "--limit-rate", "2M"]);
    await server.next();
    await partIn(out.path);
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

test("a file that is rewritten in the same size while it is sent gets no hash", async () => {
  await using root = await folder();
  const path = join(root.path, "file");
  await writeFile(path, "old bytes");
  await using server = serve(root.path);
  using caller = dial(await server.port());
  caller.socket.write(message({ version: 1, get: "file" }));
  expect((await caller.next()).file.size).toBe(9); // the server has opened it
  await writeFile(path, "new bytes");
  await utimes(path, new Date(), new Date(Date.now() + 10_000)); // a file system may count whole seconds
  caller.socket.write(message({ from: 0 }));
  expect(await caller.next()).toEqual({ from: 0 });
  expect(`${await caller.next()}`).toBe("new bytes");
  expect(await caller.next()).toEqual({ error: "changed while it was sent", code: "ESTALE" });
});

for (const runtime of EVERYWHERE) {
  test(`on ${runtime}, a server that is silent for a minute is left`, async () => {
    await using out = await folder();
    await using server = await impostor(async () => {});
    const words = ["--port", `${server.port}`, "--out", out.path, "file"];
    expect(await hurried(600, "apps/download-client", words, { runtime }).result()).toEqual({
      code: 1,
      stdout: "",
      stderr: `error: 127.0.0.1:${server.port}: silent for 60 seconds (ETIMEDOUT)\n`,
    });
    expect(await readdir(out.path)).toEqual([]);
  });
}

test("what was not asked for is not saved, though a server lists it", async () => {
  expect(placeOf("a/b/c/d", "a/b", "it")).toBe("b/c/d");
  expect(placeOf("a/b", "./a//b/", "it")).toBe("b");
  expect(placeOf("a/b", ".", "it")).toBe("a/b");
  for (const [path, asked] of [["x", "a"], ["a", "a/b"], ["ab/c", "a"], ["a/c/b", "a/b"], ["../a/b", "a"]]) {
    expect(() => placeOf(path, asked, "it")).toThrow("it: sent a file that was not asked for (EPROTO)");
  }
  await using out = await folder();
  const asked: unknown[] = [];
  await using server = await impostor(async (socket, next) => {
    await next();
    socket.write(
      Buffer.concat([message({ entry: { name: "x", size: 0, time: 1 } }), message({ end: true })]),
    );
    while (true) asked.push(await next());
  });
  expect(await fetch(server.port, out.path, ["--recursive", "a"]).result()).toEqual({
    code: 1,
    stdout: "",
    stderr: `error: 127.0.0.1:${server.port}: sent a file that was not asked for (EPROTO)\n`,
  });
  expect(asked).toEqual([]);
  expect(await readdir(out.path)).toEqual([]);
});

test("a file that appears under the name meanwhile is not overwritten, except with --force", async () => {
  await using out = await folder();
  const target = join(out.path, "file");
  const bytes = Buffer.from("fetched");
  await using server = await impostor(async (socket, next) => {
    while (true) {
      await next();
      socket.write(message({ file: { size: bytes.length, time: 1 } }));
      await next();
      await writeFile(target, "mine");
      socket.write(
        Buffer.concat([message({ from: 0 }), frame(1, bytes), message({ sha256: sha256(bytes) })]),
      );
    }
  });
  const { code, stdout, stderr } = await fetch(server.port, out.path, ["file"]).result();
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toBe(
    `error: ${target}: exists already, and is not overwritten (EEXIST)\nhint: --force overwrites\n`,
  );
  expect(await readFile(target, "utf8")).toBe("mine");
  expect(await readdir(out.path)).toEqual(["file"]);
  expect((await fetch(server.port, out.path, ["file", "--force"]).result()).code).toBe(0);
  expect(await readFile(target, "utf8")).toBe("fetched");
});

test("a server sends neither more than it announced nor nothing, though the hash fits", async () => {
  await using out = await folder();
  const bytes = Buffer.from("fetched");
  for (
    const pieces of [[Buffer.concat([bytes, bytes])], [bytes.subarray(1), bytes], [
      bytes.subarray(0, 0),
      bytes,
    ]]
  ) {
    await using server = await impostor(async (socket, next) => {
      await next();
      socket.write(message({ file: { size: bytes.length, time: 1 } }));
      await next();
      const all = pieces.map((piece) => frame(1, piece));
      socket.write(
        Buffer.concat([message({ from: 0 }), ...all, message({ sha256: sha256(Buffer.concat(pieces)) })]),
      );
    });
    const { code, stderr } = await fetch(server.port, out.path, ["file"]).result();
    const why = "sent something that is not the next piece (EPROTO)";
    expect({ code, stderr }).toEqual({ code: 1, stderr: `error: 127.0.0.1:${server.port}: ${why}\n` });
    expect((await readdir(out.path)).filter((name) => !name.endsWith(".part"))).toEqual([]);
  }
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
  await partIn(out.path);
  first.signal("SIGKILL");
  await first.result();
  const result = await fetch(port, out.path, [other]).result();
  expect(result).toEqual({ code: 0, stdout: saved(join(out.path, other), "x"), stderr: "" });
  expect(await partSize(out.path)).toBeGreaterThan(0);
});

if (EVERYTHING) {
  for (const runtime of EVERYWHERE) {
    test(
      `on ${runtime}, a slow download is not taken for a silent one, and the next file follows`,
      async () => {
        await using root = await folder();
        await using out = await folder();
        await writeFile(join(root.path, "large"), randomBytes(20_000_000));
        await writeFile(join(root.path, "middle"), randomBytes(400_000));
        await writeFile(join(root.path, "small"), "x");
        await using server = serve(root.path, ["--idle", "4"], runtime);
        const port = await server.port();
        await using client = fetch(port, out.path, ["large", "--limit-rate", "20K"], runtime);
        const words = ["middle", "small", "--limit-rate", "60K"]; // 6.5 s, with something to wait for
        expect(await fetch(port, out.path, words, runtime).result()).toEqual({
          code: 0,
          stdout: saved(join(out.path, "middle"), await readFile(join(root.path, "middle"))) +
            saved(join(out.path, "small"), "x"),
          stderr: "",
        });
        await Bun.sleep(8000); // twice as long as the server's patience
        client.signal("SIGINT");
        expect((await client.result()).stderr).toMatch(/^hint: \d+ bytes of .*large are kept/);
      },
      60_000,
    );
  }
}

for (const runtime of EVERYWHERE) {
  test(`on ${runtime}, two clients that save the same file do not meet in one part`, async () => {
    await using out = await folder();
    const bytes = randomBytes(200_000);
    const released = Promise.withResolvers<void>();
    await using server = await impostor(async (socket, next) => { // sends half of the file, and waits
      await next();
      socket.write(message({ file: { size: bytes.length, time: 1 } }));
      const { from } = await next() as { from: number };
      socket.write(Buffer.concat([message({ from }), frame(1, bytes.subarray(from, 100_000))]));
      await released.promise;
      socket.write(Buffer.concat([frame(1, bytes.subarray(100_000)), message({ sha256: sha256(bytes) })]));
    });
    const sizes = async () =>
      Promise.all((await readdir(out.path)).map(async (name) => (await stat(join(out.path, name))).size));
    const until = async (wanted: number[]) => {
      for (let n = 0; n < 1000 && (await sizes()).join() !== wanted.join(); n++) await Bun.sleep(10);
      expect(await sizes()).toEqual(wanted);
    };
    await using first = fetch(server.port, out.path, ["file"], runtime);
    await until([100_000]);
    await using second = fetch(server.port, out.path, ["file"], runtime);
    await until([100_000, 100_000]);
    second.signal("SIGINT");
    expect(await second.ended()).toBe(130);
    released.resolve();
    const { code, stdout } = await first.result();
    expect({ code, stdout }).toEqual({ code: 0, stdout: saved(join(out.path, "file"), bytes) });
    expect(await readFile(join(out.path, "file"))).toEqual(bytes);
    expect(await readdir(out.path)).toEqual(["file"]); // without the part of the second, which has ended
  });

  test(`on ${runtime}, Ctrl-C: what is kept is told, and the same command goes on from there`, async () => {
    await using root = await folder();
    await using out = await folder();
    const bytes = randomBytes(2_000_000);
    await writeFile(join(root.path, "file"), bytes);
    await using server = serve(root.path);
    const port = await server.port();
    await using client = fetch(port, out.path, ["file", "--limit-rate", "200K"], runtime);
    await partIn(out.path);
    client.signal("SIGINT");
    const { code, stdout, stderr } = await client.result();
    const size = await partSize(out.path);
    const file = join(out.path, "file");
    expect({ code, stdout, stderr }).toEqual({
      code: 130,
      stdout: "",
      stderr: `hint: ${size} bytes of ${file} are kept; the same command goes on from there\n`,
    });
    expect(await fetch(port, out.path, ["file"], runtime).result()).toEqual({
      code: 0,
      stdout: `going on with ${file} at byte ${size}\n${saved(file, bytes)}`,
      stderr: "",
    });
  });
}

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

test.skipIf(!canMount).each(
  EVERYWHERE.flatMap((runtime) => [[runtime, ""], [runtime, " --limit-rate 10M"]] as const),
)(
  "on %s, a full disk%s: told, nothing under the name, and the next run goes on (needs unshare)",
  async (runtime, rate) => {
    await using root = await folder();
    await using out = await folder();
    await writeFile(join(root.path, "file"), randomBytes(3_000_000));
    await using server = serve(root.path);
    const port = await server.port();
    const command = [...RUNTIMES[runtime], "scripts/apps/download-client.ts"].join(" ");
    const client = `${command} --port ${port} --out ${out.path} file${rate}`;
    await using run = start([
      "unshare",
      "-Urm",
      "sh",
      "-c",
      `
    mount -t tmpfs -o size=1m none ${out.path}
    ${client}; echo "exit $?"; test -e ${out.path}/file && echo present
    mount -o remount,size=9m none ${out.path}
    ${client}; echo "exit $?"; sha256sum <${out.path}/file`,
    ]);
    const { stdout, stderr } = await run.result();
    const lines = stdout.trim().split("\n");
    expect(stderr).toMatch(/^error: .*no space left on device \(ENOSPC\)\n$/);
    expect(lines[0]).toBe("exit 1");
    expect(lines[1]).toMatch(/^going on with .* at byte \d+$/);
    const hash = sha256(await readFile(join(root.path, "file")));
    expect(lines.slice(3)).toEqual([`  SHA-256 ${hash}`, "exit 0", `${hash}  -`]);
  },
);

test.skipIf(!canMount)(
  "a folder that cannot be written to: told, and the next file is fetched (needs unshare)",
  async () => {
    await using root = await folder();
    await using out = await folder();
    for (const name of ["a", "locked/b", "z"]) {
      await mkdir(join(root.path, name, ".."), { recursive: true });
      await writeFile(join(root.path, name), name);
    }
    await using server = serve(root.path);
    const port = await server.port();
    await using run = start([
      "unshare",
      "-Urm",
      "sh",
      "-c",
      `mkdir ${out.path}/locked; mount -t tmpfs -o ro none ${out.path}/locked
    bun scripts/apps/download-client.ts --port ${port} --out ${out.path} --recursive .`,
    ]);
    expect(await run.result()).toEqual({
      code: 1,
      stdout: ["a", "z"].map((name) => saved(join(out.path, name), name)).join(""),
      stderr: `error: ${join(out.path, "locked/b")}: read-only file system (EROFS)\n`,
    });
  },
);

test("wrong commands", async () => {
  await using out = await folder();
  for (const rate of ["0", "4095", "3K", "-1", "fast", "1.5M", "99999999999G"]) {
    const { code, stderr } = await fetch(1, out.path, ["x", "--limit-rate", rate]).result();
    expect([rate, code]).toEqual([rate, 2]);
    expect(stderr).toBe(
      `error: --limit-rate ${rate}: it is a number of bytes: 500K, 2M; at least 4K (EINVAL)\n`,
    );
  }
  for (const rate of ["4096", "4k", "1G"]) { // right ones; K is 1,024, or 4K would be too little
    const { stderr } = await fetch(1, out.path, ["x", "--limit-rate", rate]).result();
    expect([rate, stderr]).toEqual([rate, expect.stringContaining("ECONNREFUSED")]);
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
