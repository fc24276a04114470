/** Lesson 4.5, the server: no client leaves the folder that it serves. (thorough) */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, readlink, realpath, stat, symlink, writeFile } from "node:fs/promises";
import { EVERYTHING, EVERYWHERE, start } from "../../engine/program.ts";
import {
  BAD,
  CREATE,
  DENIED,
  FAILED,
  type Field,
  meet,
  NO_SUCH_FILE,
  NOTHING,
  OK,
  WRITE,
} from "./packets.ts";
import { IS_LINUX, serve, stage } from "./server.ts";

setDefaultTimeout(120_000); // what waits in a test says itself for what it waited too long

describe("the root", () => {
  for (const runtime of EVERYWHERE) {
    test(`is all there is, on ${runtime}`, async () => {
      await using at = await stage();
      await mkdir(at.path("root", "a", "b"), { recursive: true });
      await mkdir(at.path("out", "b"), { recursive: true });
      await writeFile(at.path("root", "in"), "inside");
      await writeFile(at.path("root", "a", "b", "file"), "deep");
      await writeFile(at.path("secret"), "outside");
      await writeFile(at.path("out", "b", "file"), "outside");
      await mkdir(at.path("root-too")); // a name that begins as that of the root
      await writeFile(at.path("root-too", "file"), "outside");
      const links: Record<string, string> = {
        "leads/in": "../in",
        "leads/absolutely-in": at.path("root", "in"),
        "leads/folder": "../a/b",
        "leads/round": "folder/../../in", // through a link, and back from where it leads
        "leads/out": "../../secret",
        "leads/absolutely-out": at.path("secret"),
        "leads/beside": "../../root-too",
        "leads/absolutely-beside": at.path("root-too"),
        "leads/folder-out": "../../out",
        "leads/far-out": "/etc",
        "leads/loop": "loop",
        "leads/nowhere": "nothing",
        "leads/nowhere-out": "../../nothing",
      };
      await mkdir(at.path("root", "leads"));
      for (const [name, target] of Object.entries(links)) await symlink(target, at.path("root", name));

      await using server = await serve(at, [], { runtime });
      using client = await meet(server.port);
      const seen: Record<string, string | number> = {};
      const paths = [
        ...["in", "/in", "../in", "/../../in", "a/../in", "a/b/file", ...Object.keys(links)],
        ...["leads/folder/file", "leads/folder-out/b/file", "leads/far-out/passwd", "leads/beside/file"],
        ...["/etc/passwd", "../secret", "leads/../../secret", at.path("root", "in"), "in/", "in/x", "a\\0b"],
      ];
      for (const path of paths) seen[path] = await client.read(path.replace("\\0", "\0"));
      expect(seen).toEqual({
        ...{ in: "inside", "/in": "inside", "../in": "inside", "/../../in": "inside", "a/../in": "inside" },
        ...{
          "a/b/file": "deep",
          "leads/in": "inside",
          "leads/absolutely-in": "inside",
          "leads/folder": FAILED,
        },
        ...{ "leads/round": "inside", "leads/folder/file": "deep", "leads/loop": NO_SUCH_FILE },
        ...{ "leads/nowhere": NO_SUCH_FILE, "leads/out": DENIED, "leads/absolutely-out": DENIED },
        ...{
          "leads/absolutely-beside": DENIED,
          "leads/beside": DENIED,
          "leads/folder-out": DENIED,
          "leads/far-out": DENIED,
          "leads/nowhere-out": DENIED,
        },
        ...{ "leads/folder-out/b/file": DENIED, "leads/far-out/passwd": DENIED, "leads/beside/file": DENIED },
        ...{ "/etc/passwd": NO_SUCH_FILE, "../secret": NO_SUCH_FILE, "leads/../../secret": NO_SUCH_FILE },
        ...{ [at.path("root", "in")]: NO_SUCH_FILE, "in/": "inside", "in/x": NO_SUCH_FILE, "a\\0b": BAD },
      });

      // All that takes a path, with a folder in it that leads out: nothing is told, made, changed or removed there.
      const out = "leads/folder-out/b";
      const asked: [number, ...Field[]][] = [
        ...([7, 17, 11, 13, 15, 16, 19] as const).map((type): [number, string] => [type, `${out}/file`]),
        [3, `${out}/new`, WRITE | CREATE, NOTHING],
        [3, "leads/nowhere-out", WRITE | CREATE, NOTHING],
        [3, `${out}/file`, WRITE | 16, NOTHING],
        [9, `${out}/file`, 4, 0o777],
        [9, "leads/out", 4, 0o777],
        [14, `${out}/new`, NOTHING],
        [18, `${out}/file`, "stolen"],
        [18, "in", `${out}/in`],
        [20, "in", `${out}/link`],
        [200, "posix-rename@openssh.com", `${out}/file`, "stolen"],
        [200, "posix-rename@openssh.com", "in", `${out}/file`],
        [200, "statvfs@openssh.com", out],
        [17, "leads/out"],
        [19, "leads/absolutely-out"],
        [19, "leads/absolutely-beside"],
        ...["out", "beside", "folder-out", "nowhere-out"].map((
          name,
        ): [number, string] => [19, `leads/${name}`]),
      ];
      for (const words of asked) expect([words, (await client.ask(...words)).code]).toEqual([words, DENIED]);
      expect(await readdir(at.path("out", "b"))).toEqual(["file"]);
      expect(await readFile(at.path("out", "b", "file"), "utf8")).toBe("outside");
      expect((await stat(at.path("secret"))).mode & 0o777).toBe(0o644);
      expect(existsSync(at.path("nothing"))).toBe(false);

      // A link may not be made to lead out.
      for (const target of ["../secret", "/../../secret", "a/../../secret", "../root/in"]) {
        const { code } = await client.ask(20, target, "made");
        expect([target, code]).toEqual([target, target.startsWith("/") ? OK : DENIED]);
      }
      expect(await readlink(at.path("root", "made"))).toBe("secret");
      expect((await client.ask(20, "../../in", "a/b/up")).code).toBe(OK);
      expect(await client.read("a/b/up")).toBe("inside");
      const names = async (type: number, path: string) => {
        const { rest } = await client.ask(type, path);
        return `${rest.subarray(8, 8 + rest.readUInt32BE(4))}`;
      };
      expect(await names(19, "leads/absolutely-in")).toBe("/in");
      expect(await names(19, "leads/in")).toBe("../in");
      expect(await names(16, "leads/round")).toBe("/in");
      expect(await names(16, "../../..")).toBe("/");
      expect(await names(16, "not/there")).toBe("/not/there");

      // The root itself cannot be taken away.
      for (const words of [[15, "/"], [13, "/"], [18, "/", "x"], [18, "in", "/"]] as [number, ...Field[]][]) {
        expect([OK, undefined]).not.toContain((await client.ask(...words)).code);
      }
      expect(await client.read("in")).toBe("inside");
      expect(server.program.seen.stderr).toContain(
        "error: leads/out: leads out of the served folder (EACCES)",
      );
      expect(`${server.program.seen.stderr}`).not.toContain(at.path());
    });
  }

  test.skipIf(!IS_LINUX)(
    "is not left through a folder that is swapped for a link meanwhile (needs Linux)",
    async () => {
      await using at = await stage();
      await mkdir(at.path("root", "d", "sub"), { recursive: true });
      await mkdir(at.path("out", "sub"), { recursive: true });
      await writeFile(at.path("root", "d", "sub", "file"), "inside");
      await writeFile(at.path("out", "sub", "file"), "outside");
      await symlink(at.path("out"), at.path("root", "link"));
      await using server = await serve(at);
      using thief = await meet(server.port);
      using swapper = await meet(server.port);
      let isOver = false;
      const move = (from: string, to: string) => swapper.ask(200, "posix-rename@openssh.com", from, to);
      const swapping = (async () => {
        while (!isOver) {
          await move("d", "away");
          await move("link", "d");
          await move("d", "link");
          await move("away", "d");
        }
      })();
      const seen = new Map<string | number, number>();
      for (let round = 0; round < (EVERYTHING ? 3000 : 150); round++) {
        const text = await thief.read("d/sub/file");
        seen.set(text, (seen.get(text) ?? 0) + 1);
        const handle = await thief.open("d/sub/new", WRITE | CREATE);
        if (typeof handle !== "number") await thief.ask(4, handle);
      }
      isOver = true;
      await swapping;
      expect(seen.get("inside")).toBeGreaterThan(0);
      expect(seen.get(DENIED)).toBeGreaterThan(0);
      expect(seen.has(FAILED)).toBe(false); // every round has raced
      expect(seen.has("outside")).toBe(false);
      expect(await readdir(at.path("out", "sub"))).toEqual(["file"]);
    },
  );

  test("is not left by links that clients plant, in one step or in several", async () => {
    for (const runtime of EVERYWHERE) {
      await using at = await stage();
      await mkdir(at.path("root", "a", "b", "c"), { recursive: true });
      await mkdir(at.path("root", "p", "q"), { recursive: true });
      await writeFile(at.path("root", "in"), "inside");
      await writeFile(at.path("secret"), "outside");
      await using server = await serve(at, [], { runtime });
      using client = await meet(server.port);
      const code = async (type: number, ...fields: Field[]) => (await client.ask(type, ...fields)).code;
      const move = (from: string, to: string) => code(200, "posix-rename@openssh.com", from, to);

      // It is made deep, and then moved upwards: the link itself, a folder around it, a folder around that.
      expect(await code(20, "../../in", "a/b/link")).toBe(OK);
      expect(await code(20, "../../../in", "a/b/c/link")).toBe(OK);
      expect(await code(18, "a/b/link", "link")).toBe(DENIED);
      expect(await move("a/b/link", "a/link")).toBe(DENIED);
      expect(await move("a/b", "b")).toBe(DENIED);
      expect(await code(18, "a/b/c", "c")).toBe(DENIED);
      expect(await move("a", "p/q/a")).toBe(OK); // downwards it stays inside
      expect(await move("p/q/a", "p/a")).toBe(OK); // and up again to where it was right
      expect(await move("p/a/b", "b")).toBe(DENIED);
      expect(await move("p/a", "a")).toBe(OK);
      expect(await client.read("a/b/link")).toBe("inside");

      // It is made through another link, which is less deep than its path.
      expect(await code(20, "../..", "p/q/up")).toBe(OK);
      expect(await code(20, "../../secret", "p/q/up/link")).toBe(DENIED);
      expect(await code(20, "../secret", "p/q/up/link")).toBe(DENIED);
      // Its target leads through another link, or a folder that becomes one.
      expect(await code(20, "p/q/up/../secret", "link")).toBe(OK); // p/q/secret: .. come first, or not at all
      expect(await readlink(at.path("root", "link"))).toBe("p/q/secret");
      expect(await code(20, "a/../../secret", "other")).toBe(DENIED);

      await using found = start(["find", at.root, "-type", "l"]);
      const links = (await found.result()).stdout.trimEnd().split("\n");
      expect(links.length).toBe(4);
      for (const link of links) {
        const real = await realpath(link).catch(() => at.root); // or it leads nowhere
        expect(`${real}/`).toStartWith(`${await realpath(at.root)}/`);
      }
    }
  });

  test.skipIf(!IS_LINUX)("a folder is moved upwards only if all of it can be looked at", async () => {
    await using at = await stage();
    await mkdir(at.path("root", "a", "b"), { recursive: true });
    const name = "n".repeat(250);
    // Deeper than a path can be long (PATH_MAX), where a link would lead out.
    const deep = `for _ in $(seq 20); do mkdir ${name} && cd -P ${name} || exit 1; done; ln -s ${
      "../".repeat(22)
    }secret link`;
    await using making = start(["bash", "-c", deep], { cwd: at.path("root", "a", "b") });
    expect(await making.result()).toEqual({ code: 0, stdout: "", stderr: "" });
    await using server = await serve(at);
    using client = await meet(server.port);
    expect((await client.ask(18, "a/b", "b")).code).toBe(DENIED);
    await using clearing = start(["rm", "-r", at.path("root", "a")]);
    expect(await clearing.ended()).toBe(0);
  });

  test("a folder with many files is moved upwards only while they can be searched for links", async () => {
    await using at = await stage();
    await mkdir(at.path("root", "a", "b"), { recursive: true });
    for (let index = 0; index < 10_001; index++) await writeFile(at.path("root", "a", "b", `${index}`), "");
    await using server = await serve(at);
    using client = await meet(server.port);
    expect((await client.ask(18, "a/b", "b")).code).toBe(DENIED);
    expect((await client.ask(13, "a/b/7")).code).toBe(OK);
    expect((await client.ask(18, "a/b", "b")).code).toBe(OK);
  });

  test("a path of any length and shape costs little time", async () => {
    for (const runtime of EVERYWHERE) {
      await using at = await stage();
      await mkdir(at.path("root", "a"));
      await symlink("a/".repeat(2000), at.path("root", "link")); // which cannot be followed far
      await using server = await serve(at, ["--read-only"], { runtime });
      using friend = await meet(server.port);
      using rogue = await meet(server.port);
      const before = IS_LINUX ? server.program.processorTime : 0;
      const long = ["a/".repeat(130_000), "../a/".repeat(52_000), "/".repeat(261_000), "a".repeat(261_000)];
      for (const path of [...long, "猫".repeat(2000)]) {
        for (const type of [17, 16, 19, 11, 13]) {
          expect([type, (await rogue.ask(type, path)).code]).toEqual([type, BAD]); // ENAMETOOLONG
        }
      }
      expect((await rogue.ask(20, "b/".repeat(130_000), "new")).code).toBe(DENIED); // it is read-only
      for (const path of ["a/".repeat(2047), "link/".repeat(800)]) {
        expect([NO_SUCH_FILE, BAD]).toContain((await rogue.ask(17, path)).code as number);
      }
      expect(await friend.read("nothing")).toBe(NO_SUCH_FILE);
      if (IS_LINUX) expect(server.program.processorTime - before).toBeLessThan(2); // of 29 requests together
    }
  });
});
