/** The temporary folders of tests, and the files in them: a program may have left anything there. */
import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import process from "node:process";
import { bytesOf, temporaryFolder } from "./files.ts";
import { ROOT, start } from "./program.ts";

/** Words that take root's right to write everywhere away: without a map of users, it has power over nothing. */
const POWERLESS = ["unshare", "-U"];
const canBePowerless = process.getuid?.() !== 0 || spawnSync("unshare", ["-U", "true"]).status === 0;
const canMount = spawnSync("unshare", ["-Urm", "true"]).status === 0;

test.skipIf(process.platform === "win32")("only a regular file has bytes", async () => {
  await using folder = temporaryFolder();
  mkdirSync(folder.at("a"));
  symlinkSync("/dev/zero", folder.at("endless"));
  spawnSync("mkfifo", [folder.at("fifo")]);
  writeFileSync(folder.at("file"), "你好");
  expect(`${bytesOf(folder.path, "file")}`).toBe("你好");
  for (const name of ["a", "endless", "fifo"]) {
    expect(bytesOf(folder.path, name)).toBe(
      `${name} is not there\n  (what has its name is no regular file)`,
    );
  }
  expect(bytesOf(folder.path, "none")).toBe("none is not there");
  expect(bytesOf(folder.path, "file/in")).toBe("file/in is not there\n  (it cannot be read: ENOTDIR)");
});

test.skipIf(process.platform === "win32" || !canBePowerless)(
  "a folder that a program has made read-only is removed all the same (needs unshare if run by root)",
  async () => {
    const source = `import { removeAll, temporaryFolder } from ${
      JSON.stringify(`${ROOT}tests/engine/files.ts`)
    };
    import { chmodSync, mkdirSync } from "node:fs";
    const make = () => {
      const folder = temporaryFolder();
      mkdirSync(folder.at("a", "b"), { recursive: true });
      chmodSync(folder.at("a"), 0o500);
      chmodSync(folder.path, 0);
      return folder;
    };
    await make()[Symbol.asyncDispose]();
    make();
    removeAll();`;
    await using folder = temporaryFolder();
    const words = [...(process.getuid?.() === 0 ? POWERLESS : []), process.execPath, "-e", source];
    await using program = start(words, { env: { TMPDIR: folder.path } });
    expect(await program.result()).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(readdirSync(folder.path)).toEqual([]);
  },
);

test.skipIf(!canMount)("one that cannot be removed is told, and ends nothing (needs unshare)", async () => {
  const source = `import { removeAll, temporaryFolder } from ${
    JSON.stringify(`${ROOT}tests/engine/files.ts`)
  };
  import { spawnSync } from "node:child_process";
  const [first, second] = [temporaryFolder(), temporaryFolder()];
  spawnSync("mount", ["-t", "tmpfs", "tmpfs", first.path]);
  removeAll();
  await first[Symbol.asyncDispose]();
  console.log("goes on");`;
  await using folder = temporaryFolder();
  await using program = start(["unshare", "-Urm", process.execPath, "-e", source], {
    env: { TMPDIR: folder.path },
  });
  const { code, stdout, stderr } = await program.result();
  expect({ code, stdout }).toEqual({ code: 0, stdout: "goes on\n" });
  expect(stderr.replaceAll(/(?<=sockets-)\w+/g, "X")).toMatch(
    /^(warning: \S+\/sockets-X is left behind: EBUSY.*\n){2}$/,
  );
  expect(readdirSync(folder.path).length).toBe(1); // the one on which something was mounted
});
