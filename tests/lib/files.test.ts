/** Files by name: what is saved under a name from the network, and which names are refused. */
import { afterEach, beforeEach, describe, expect, mock, test } from "bun:test";
import { readdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import process from "node:process";
import { checkName, renameToFree, saveInside } from "../../lib/files.ts";
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
