/** Files by name: what is saved under a name from the network, and which names are refused. */
import { afterEach, beforeEach, describe, expect, mock, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { readdir, readFile, realpath, stat, symlink, writeFile } from "node:fs/promises";
import process from "node:process";
import { checkName, folderOf, openFile, renameToFree, saveInside } from "../../lib/files.ts";
import { type Folder, temporaryFolder } from "../engine/files.ts";

let folder: Folder;
beforeEach(async () => void (folder = await temporaryFolder()));
afterEach(() => folder[Symbol.asyncDispose]());

/** Saves "new" under a name; gives the code of the error, if there is one. */
async function save(name: string, into = folder.path): Promise<string | undefined> {
  try {
    await using saving = await saveInside(into, name);
    await saving.write(Buffer.from("ne"));
    await saving.write(Buffer.from("w"));
    await saving.finish();
  } catch (error) {
    return (error as { code: string }).code;
  }
}

const isLinux = process.platform === "linux";
const descriptors = async () => (await readdir("/proc/self/fd")).length;

/** Names that mean something else on Windows, and are names like any other elsewhere. */
const OF_WINDOWS = [
  "a\\b",
  "..\\a",
  "C:a",
  "a:b",
  "a.",
  "a ",
  "NUL",
  "con",
  "con.txt",
  "aux.c",
  "com1",
  "LPT9.tar.gz",
  "aux .txt",
];

test.each(OF_WINDOWS)("on Windows %s is refused", (name) => {
  expect(() => checkName(name, "win32")).toThrow("(EINVAL)");
  expect(() => checkName(name, "linux")).not.toThrow();
});

test("a name has 255 bytes at most, which is told before anything is opened", () => {
  for (const longest of ["n".repeat(255), "猫".repeat(85)]) {
    expect(() => checkName(longest)).not.toThrow();
    expect(() => checkName(`${longest}n`)).toThrow("name too long (ENAMETOOLONG)");
  }
});

describe("a plain name is saved", () => {
  const names = [
    "a.txt",
    ".hidden",
    "...a",
    "照片.png",
    "a b",
    "CONSOLE",
    "com10",
    "n".repeat(255),
    "-rf",
    "a%2Fb",
    ...(process.platform === "win32" ? [] : OF_WINDOWS),
  ];
  for (const name of names) {
    test(name.slice(0, 20), async () => {
      expect(await save(name)).toBeUndefined();
      expect(await readdir(folder.path)).toEqual([name]);
      expect(await readFile(folder.at(name), "utf8")).toBe("new");
    });
  }
});

describe("a hostile name is refused, and leaves nothing", () => {
  const names: [string, string][] = [
    ["", "EINVAL"],
    [".", "EINVAL"],
    ["..", "EINVAL"],
    ["../a", "EINVAL"],
    ["a/b", "EINVAL"],
    ["/etc/a", "EINVAL"],
    ["a\0b", "EINVAL"],
    ["a\nb", "EINVAL"],
    ["\x1b[2J", "EINVAL"],
    ["a\x7f", "EINVAL"],
    ["a\u202egnp.exe", "EINVAL"],
    ["a\ud800", "EINVAL"],
    ["n".repeat(256), "ENAMETOOLONG"],
    ["汉".repeat(86), "ENAMETOOLONG"], // 258 bytes
  ];
  for (const [name, code] of names) {
    test(JSON.stringify(name.slice(0, 20)), async () => {
      expect(await save(name)).toBe(code);
      expect(await readdir(folder.path)).toEqual([]);
    });
  }
});

test.skipIf(process.platform === "win32")("a new file gets the rights of the umask", async () => {
  expect(await save("a")).toBeUndefined();
  expect((await stat(folder.at("a"))).mode & 0o777).toBe(0o666 & ~process.umask());
});

test("what exists is not overwritten: a file, a folder, a link to nowhere", async () => {
  await writeFile(folder.at("file"), "old");
  await symlink(folder.at("nowhere"), folder.at("link"));
  expect(await save("file")).toBe("EEXIST");
  expect(await save("link")).toBe("EEXIST");
  expect((await readdir(folder.path)).sort()).toEqual(["file", "link"]);
  expect(await readFile(folder.at("file"), "utf8")).toBe("old");
});

test("a file that appears under the name meanwhile is not overwritten", async () => {
  {
    await using saving = await saveInside(folder.path, "a");
    await saving.write(Buffer.from("new"));
    await writeFile(folder.at("a"), "old");
    expect((await saving.finish().catch((error) => error)).message)
      .toBe("a: exists already, and is not overwritten (EEXIST)");
  }
  expect(await readdir(folder.path)).toEqual(["a"]);
  expect(await readFile(folder.at("a"), "utf8")).toBe("old");
});

test("until it is finished it is a .part; without a finish nothing is left", async () => {
  {
    await using saving = await saveInside(folder.path, "a");
    await saving.write(Buffer.from("new"));
    expect(await readdir(folder.path)).toEqual([expect.stringMatching(/^incoming-[0-9a-f]{8}\.part$/)]);
  }
  expect(await readdir(folder.path)).toEqual([]);
});

test("an output folder that does not exist, or is none, is said", async () => {
  expect(await save("a", folder.at("none"))).toBe("ENOENT");
  await writeFile(folder.at("file"), "");
  expect(await save("a", folder.at("file"))).toBe("ENOTDIR");
  const error = await saveInside(folder.at("none"), "a").catch((error) => error);
  expect(error.message).toBe(`${folder.at("none")}: no such file or folder (ENOENT)`);
});

test.skipIf(!isLinux)(
  "no descriptor stays open, with or without a finish, nor one of what is no file",
  async () => {
    const before = await descriptors();
    expect(await save("a")).toBeUndefined();
    await saveInside(folder.path, "b").then((saving) => saving[Symbol.asyncDispose]());
    expect((await openFile(folder.path).catch((error) => error)).code).toBe("EISDIR");
    expect(await descriptors()).toBe(before);
    const saving = await saveInside(folder.path, "c");
    await saving.finish(); // closing may tell of a full disk: it comes before the name
    expect(await descriptors()).toBe(before);
  },
);

test("a name that is taken is told before the first byte is asked for", async () => {
  await writeFile(folder.at("a"), "old");
  const error = await saveInside(folder.path, "a").catch((error) => error);
  expect(error.message).toBe("a: exists already, and is not overwritten (EEXIST)");
});

test("only a folder is a folder, and it is told by its real path", async () => {
  await writeFile(folder.at("file"), "");
  await symlink(folder.path, folder.at("link"));
  expect(await folderOf(folder.at("link"))).toBe(await realpath(folder.path));
  const told = (path: string) => folderOf(path).catch((error) => error.message);
  expect(await told(folder.at("file"))).toBe(`${folder.at("file")}: not a folder (ENOTDIR)`);
  expect(await told(folder.at("none"))).toBe(`${folder.at("none")}: no such file or folder (ENOENT)`);
});

test("only a file is opened, and a pipe without a writer is not waited for", async () => {
  await writeFile(folder.at("file"), "bytes");
  await using file = await openFile(folder.at("file"));
  expect(await file.readFile("utf8")).toBe("bytes");
  const told = (path: string) => openFile(path, "it").catch((error) => error.message);
  expect(await told(folder.path)).toBe("it: is a folder (EISDIR)");
  expect(await told(folder.at("none"))).toBe("it: no such file or folder (ENOENT)");
  if (spawnSync("mkfifo", [folder.at("pipe")]).status !== 0) return; // Windows
  expect(await told(folder.at("pipe"))).toBe("it: is not a file (EACCES)");
});

test("a file is renamed: the old name is free, and another error of link(2) is thrown", async () => {
  await writeFile(folder.at("a"), "a");
  await renameToFree(folder.at("a"), folder.at("b"));
  expect(await readdir(folder.path)).toEqual(["b"]);
  const code = await renameToFree(folder.at("none"), folder.at("c")).catch((error) => error.syscall);
  expect(code).toBe("link"); // and not the rename
});

test("where nothing can be linked, a file is renamed, but only to a name that is free", async () => {
  const real = { ...await import("node:fs") };
  const code = "ENOTSUP"; // as FAT and many networks say
  mock.module("node:fs", () => ({
    ...real,
    linkSync: () => {
      throw Object.assign(new Error(code), { code });
    },
  }));
  try {
    for (const name of ["a", "b"]) await writeFile(folder.at(name), name);
    expect((await renameToFree(folder.at("a"), folder.at("b")).catch((error) => error)).code).toBe("EEXIST");
    expect(await readFile(folder.at("b"), "utf8")).toBe("b");
    await renameToFree(folder.at("a"), folder.at("c"));
    expect((await readdir(folder.path)).sort()).toEqual(["b", "c"]);
  } finally {
    mock.module("node:fs", () => real);
  }
});

test("what cannot be taken away from its old name does not get a second one; what has gone keeps the new one", async () => {
  const real = { ...await import("node:fs") };
  let code = "EACCES"; // the old name's folder is read-only
  mock.module("node:fs", () => ({
    ...real,
    unlinkSync: (path: string) => {
      if (path.endsWith("a")) throw Object.assign(new Error(code), { code });
      real.unlinkSync(path);
    },
  }));
  try {
    await writeFile(folder.at("a"), "a");
    expect((await renameToFree(folder.at("a"), folder.at("b")).catch((error) => error)).code).toBe("EACCES");
    expect(await readdir(folder.path)).toEqual(["a"]);
    code = "ENOENT"; // somebody else has removed the old name
    await renameToFree(folder.at("a"), folder.at("b"));
    expect(await readFile(folder.at("b"), "utf8")).toBe("a");
  } finally {
    mock.module("node:fs", () => real);
  }
});
