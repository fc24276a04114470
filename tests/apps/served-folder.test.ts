/** Lessons 4.1, 4.2 and 4.5, the folder that a server serves: no name from a caller leads out of it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";
import { join } from "node:path";
import process from "node:process";
import { $ } from "zx/core";
import { ServedFolder } from "../../scripts/apps/served-folder.ts";
import { type Folder, temporaryFolder } from "../engine/files.ts";

let folder: Folder;
let top: string;
let root: string;
beforeAll(async () => {
  folder = await temporaryFolder();
  top = folder.path;
  root = join(top, "root");
  await mkdir(join(root, "sub", "deep"), { recursive: true });
  await mkdir(join(top, "root-beside"));
  await writeFile(join(top, "secret"), "secret");
  await writeFile(join(top, "root-beside", "secret"), "secret");
  for (const name of ["a.txt", "..b", "c..", "照片.png", "a b", "sub/deep/d.txt", "%2e%2e", "-rf", "con"]) {
    await writeFile(join(root, name), "inside");
  }
  const links = {
    "to-file": "a.txt",
    "to-folder": "sub",
    "to-itself": join(root, "a.txt"), // absolute, and inside
    "to-secret": "../secret",
    "to-etc": "/etc/passwd",
    "to-top": "..",
    "to-beside": "../root-beside",
    "broken": "nothing",
    "circle": "circle",
    "sub/up": "../a.txt", // up, and still inside
    "sub/up-and-out": "../../secret",
  };
  for (const [name, target] of Object.entries(links)) await symlink(target, join(root, name));
  await $`mkfifo ${join(root, "pipe")}`;
  await symlink(root, join(top, "root-link"));
});
afterAll(() => folder[Symbol.asyncDispose]());

/** What a name means: the text of a file, or a code. Read as a small file, it means the same. */
async function ask(name: string, from = root): Promise<string> {
  const served = await ServedFolder.at(from);
  const small = served.readSmall(name, 100, 3)?.bytes.toString("utf8", 3);
  const found = await opened(served, name);
  expect([name, small ?? found.code]).toEqual([name, found.text ?? found.code]);
  return `${found.text ?? found.code}`;
}

async function opened(served: ServedFolder, name: string): Promise<{ text?: string; code?: string }> {
  try {
    await using file = await served.open(name);
    return { text: await file.readFile("utf8") };
  } catch (error) {
    return { code: (error as { code: string }).code };
  }
}

test("a small file is read with its time, a larger one is not, and none stays open", async () => {
  const served = await ServedFolder.at(root);
  const openFiles = () => readdirSync("/proc/self/fd").length;
  const before = openFiles();
  for (let n = 0; n < 100; n++) {
    const { mtimeMs } = statSync(join(root, "a.txt"));
    expect(served.readSmall("a.txt", 6, 0)).toMatchObject({
      bytes: Buffer.from("inside"),
      stat: { mtimeMs },
    });
    for (const name of ["sub", "pipe", "none", "a.txt/"]) {
      expect(served.readSmall(name, 100, 0)).toBeUndefined();
    }
    expect(served.readSmall("a.txt", 5, 0)).toBeUndefined();
  }
  expect(openFiles()).toBeLessThan(before + 20);
});

test.skipIf(process.platform !== "linux")("a list has no name that nobody could ask for", async () => {
  const folder = join(root, "names");
  mkdirSync(folder);
  for (const name of ["a\xff", "b", "c\xef\xbf\xbd"]) {
    writeFileSync(Buffer.from(`${folder}/${name}`, "latin1"), "");
  }
  const listed = await Array.fromAsync((await ServedFolder.at(folder)).list("", true));
  expect(listed.map(({ name }) => name)).toEqual(["b"]);
});

describe("a file inside is opened", () => {
  const names = [
    "a.txt",
    "./a.txt",
    "sub/deep/d.txt",
    "sub//deep/./d.txt",
    "..b",
    "c..",
    "照片.png",
    "a b",
    "%2e%2e",
    "-rf",
    "to-file",
    "to-folder/deep/d.txt",
    "to-itself",
    "sub/up",
  ];
  test.each(names)("%s", async (name) => expect(await ask(name)).toBe("inside"));

  test("below a root that is a symbolic link itself, or ends in /", async () => {
    expect(await ask("a.txt", join(top, "root-link"))).toBe("inside");
    expect(await ask("a.txt", `${root}/`)).toBe("inside");
    expect(await ask("a.txt", join(root, "to-folder", ".."))).toBe("inside");
  });

  test.skipIf(process.platform === "win32")(
    "below a root whose name ends in a backslash: not the one beside it",
    async () => {
      await mkdir(join(top, "name\\", "sub"), { recursive: true });
      await mkdir(join(top, "name", "sub"), { recursive: true });
      await writeFile(join(top, "name", "sub", "x"), "outside");
      await writeFile(join(top, "name\\", "sub", "y"), "inside");
      expect(await ask("sub/x", join(top, "name\\"))).toBe("ENOENT");
      expect(await ask("sub/y", join(top, "name\\"))).toBe("inside");
    },
  );

  test("below a root that is /", async () => {
    expect(await ask(join(root, "a.txt").slice(1), "/")).toBe("inside");
  });
});

/** A backslash or a colon means something on Windows only: elsewhere it is part of a name like any other. */
const OF_WINDOWS = process.platform === "win32" ? "EACCES" : "ENOENT";

describe("a hostile name is refused", () => {
  const names: [name: string, code: string][] = [
    ["../secret", "EACCES"],
    ["sub/../../secret", "EACCES"],
    ["sub/../a.txt", "EACCES"], // inside, but nobody needs it
    ["..", "EACCES"],
    ["./..", "EACCES"],
    ["../root-beside/secret", "EACCES"],
    ["../root/a.txt", "EACCES"],
    ["/etc/passwd", "EACCES"],
    ["//etc/passwd", "EACCES"],
    ["..\\secret", OF_WINDOWS],
    ["sub\\..\\..\\secret", OF_WINDOWS],
    ["\\etc\\passwd", OF_WINDOWS],
    ["C:\\secret", OF_WINDOWS],
    ["c:/secret", OF_WINDOWS],
    ["\\\\server\\share", OF_WINDOWS],
    ["a.txt\0", "EACCES"],
    ["a.txt\0.png", "EACCES"],
    ["\0", "EACCES"],
    ["to-secret", "EACCES"],
    ["to-etc", "EACCES"],
    ["to-top/secret", "EACCES"],
    ["to-top/root/a.txt", "EACCES"], // out, though in again
    ["to-beside/secret", "EACCES"], // its path begins as the root's does
    ["sub/up-and-out", "EACCES"],
    ["nothing", "ENOENT"],
    ["sub/nothing", "ENOENT"],
    ["broken", "ENOENT"],
    ["%2e%2e/secret", "ENOTDIR"],
    ["a.txt/", "ENOTDIR"],
    ["a.txt/x", "ENOTDIR"],
    ["circle", "ELOOP"],
    ["sub", "EISDIR"],
    [".", "EISDIR"],
    ["to-folder", "EISDIR"],
    ["pipe", "EACCES"], // and nobody waits for its writer
    ["n".repeat(256), "ENAMETOOLONG"],
    ["n".repeat(4097), "ENAMETOOLONG"],
    ["名".repeat(1366), "ENAMETOOLONG"], // 4098 bytes
    ["x".repeat(1_000_000), "ENAMETOOLONG"],
    ["a.txt\n", "ENOENT"],
    ["\x1b[2J", "ENOENT"],
    ["\uD83D", "ENOENT"],
  ];
  for (const [name, code] of names) {
    test(JSON.stringify(name).slice(0, 30), async () => expect(await ask(name)).toBe(code));
  }

  test.skipIf(process.platform === "win32")("a Unix socket", async () => {
    const server = createServer().listen(join(root, "socket"));
    await once(server, "listening");
    expect(await ask("socket")).toBeOneOf(["ENXIO", "EACCES"]);
    server.close();
  });

  test("an empty name", async () => expect(await ask("")).toMatch(/^E/));

  test("the error shows the name that was asked for, not where it leads", async () => {
    const folder = await ServedFolder.at(root);
    const error = await folder.open("to-secret").catch((error) => error);
    expect(error.message).toBe("to-secret: not inside the served folder (EACCES)");
    const long = await folder.open("n".repeat(5000)).catch((error) => error);
    expect(long.message).toBe(`${"n".repeat(100)}...: name too long (ENAMETOOLONG)`);
  });
});
