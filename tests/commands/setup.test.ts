/** `make setup` mends what an interruption has left, and does nothing where all is there. The installer is a fake one. (thorough) */
import { expect, setDefaultTimeout, test } from "bun:test";
import { chmod, copyFile, mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import process from "node:process";
import { CAN_BE_ALONE } from "../engine/alone.ts";
import { type Folder, temporaryFolder } from "../engine/files.ts";
import { ROOT, start } from "../engine/program.ts";

setDefaultTimeout(60_000); // what waits in a test says itself for what it waited too long

/** Where programs are that are not below node_modules. */
const PATH = (process.env.PATH ?? "").split(delimiter).filter((path) => !path.includes("node_modules")).join(
  delimiter,
);
const SCRIPT = join(ROOT, "tests", "commands", "setup.sh");

/** A bun that has our version, and "installs" tools that do nothing; what is in `fake` is run before it ends. */
const FAKE = `#!/bin/sh
if [ "$1" = --version ]; then sed -n 's/.*"bun": "\\(.*\\)".*/\\1/p' package.json; exit; fi
echo install >>log
mkdir -p node_modules/.bin node_modules/deno
for tool in bun node deno tsc zx; do
  printf '#!/bin/sh\\n' >node_modules/.bin/$tool
  chmod +x node_modules/.bin/$tool
done
echo >node_modules/deno/install.cjs
. ./fake
`;

async function project(): Promise<Folder> {
  const folder = temporaryFolder();
  for (const name of ["package.json", "bun.lock"]) await copyFile(join(ROOT, name), folder.at(name));
  await mkdir(folder.at("bin"));
  await writeFile(folder.at("bin", "bun"), FAKE);
  await chmod(folder.at("bin", "bun"), 0o755);
  await writeFile(folder.at("fake"), "");
  await writeFile(folder.at("log"), "");
  return folder;
}

/** Runs the set-up. @returns how it ended, and how often something was installed until now */
async function setUp(folder: Folder): Promise<{ code: number; installed: number; stderr: string }> {
  const env = { PATH: `${folder.at("bin")}${delimiter}${PATH}` };
  await using program = start(["sh", SCRIPT], { cwd: folder.path, env });
  const { code, stderr } = await program.result();
  return { code, installed: (await readFile(folder.at("log"), "utf8")).split("\n").length - 1, stderr };
}

test.skipIf(process.platform === "win32")("once is enough; what has gone is made anew", async () => {
  await using folder = await project();
  expect(await setUp(folder)).toMatchObject({ code: 0, installed: 1 });
  expect(await setUp(folder)).toMatchObject({ code: 0, installed: 1 });
  await rm(folder.at("node_modules", ".bin", "node"));
  expect(await setUp(folder)).toMatchObject({ code: 0, installed: 2 });
  await writeFile(folder.at("node_modules", "of another installer"), "");
  expect(await setUp(folder)).toMatchObject({ code: 0, installed: 3 });
  expect(await readdir(folder.at("node_modules"))).not.toContain("of another installer");
  await writeFile(folder.at("bun.lock"), "another one");
  expect(await setUp(folder)).toMatchObject({ code: 0, installed: 4 });
  await mkdir(folder.at("node_modules", ".cache"));
  await writeFile(folder.at("node_modules", ".cache", "what tests keep"), "");
  expect(await setUp(folder)).toMatchObject({ code: 0, installed: 4 });
});

test.skipIf(process.platform === "win32")("broken off in the middle, it is made anew", async () => {
  const breaks = ["exit 1", "kill -INT $PPID; exit 0", "kill -KILL $PPID; exit 0", "rm node_modules/.bin/zx"];
  for (const fake of breaks) {
    await using folder = await project();
    await writeFile(folder.at("fake"), fake);
    expect((await setUp(folder)).code).not.toBe(0);
    await writeFile(folder.at("fake"), "");
    expect(await setUp(folder)).toMatchObject({ code: 0, installed: 2, stderr: "" });
  }
});

test.skipIf(process.platform === "win32")(
  "of several at once, one installs, and the others wait for it",
  async () => {
    await using folder = await project();
    await writeFile(folder.at("fake"), "sleep 1; [ -d node_modules/deno ] || echo removed >>log");
    const all = await Promise.all([1, 2, 3].map(() => setUp(folder)));
    expect(all.map(({ code, stderr }) => ({ code, stderr }))).toEqual(Array(3).fill({ code: 0, stderr: "" }));
    expect(await setUp(folder)).toMatchObject({ code: 0, installed: 1 });
    expect(await readdir(folder.path)).not.toContain(".setup-lock");
  },
);

test.skipIf(process.platform === "win32")(
  "the lock of one that has gone is broken; without one, it says so",
  async () => {
    await using folder = await project();
    await using gone = start(["true"]);
    await gone.ended();
    for (const owners of [[], [gone.pid]]) { // killed before, and after it had written its number
      await rm(folder.at("node_modules"), { recursive: true, force: true });
      await mkdir(folder.at(".setup-lock"));
      for (const owner of owners) await writeFile(folder.at(".setup-lock", `${owner}`), "");
      expect(await setUp(folder)).toMatchObject({ code: 0, stderr: "" });
      expect(await readdir(folder.path)).not.toContain(".setup-lock");
    }
    await rm(folder.at("node_modules"), { recursive: true });
    await writeFile(folder.at(".setup-lock"), "no folder");
    expect(await setUp(folder)).toMatchObject({
      code: 1,
      installed: 2,
      stderr: "error: make setup: cannot make the folder .setup-lock\n" +
        "hint: can this folder be written? if so, rm -r .setup-lock\n",
    });
  },
);

test.skipIf(process.platform === "win32")("without npm it says so", async () => {
  await using folder = await project();
  await rm(folder.at("bin", "bun"));
  for (const tool of ["sed", "rm", "mkdir", "rmdir", "sh"]) {
    await symlink(`${Bun.which(tool)}`, folder.at("bin", tool));
  }
  await using program = start([`${Bun.which("sh")}`, SCRIPT], {
    cwd: folder.path,
    env: { PATH: folder.at("bin") },
  });
  expect(await program.result()).toEqual({
    code: 1,
    stdout: "",
    stderr: "error: make setup: npm is not there\nhint: it comes with Node\n",
  });
});

test.skipIf(!CAN_BE_ALONE || !Bun.which("npm", { PATH }))(
  "without a network it says so within seconds (needs unshare, ip and npm)",
  async () => {
    await using folder = await project();
    const before = Date.now();
    await using program = start(["unshare", "-Urn", "sh", SCRIPT], {
      cwd: folder.path,
      env: { PATH, HOME: folder.path },
      limit: 30_000,
    });
    const { code, stderr } = await program.result();
    expect(code).toBe(1);
    expect(stderr).toMatch(/error: make setup: npm cannot get bun@\S+\nhint: is there a network\?.*\n$/);
    expect(Date.now() - before).toBeLessThan(20_000);
  },
);
