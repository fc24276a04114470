/** Lesson 4.5, the server: against OpenSSH's sftp and scp, curl, paramiko and sshfs. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { existsSync, lstatSync, readFileSync } from "node:fs";
import {
  appendFile,
  chmod,
  mkdir,
  readdir,
  readFile,
  readlink,
  stat,
  utimes,
  writeFile,
} from "node:fs/promises";
import { sha256OfFile } from "../../engine/files.ts";
import { EVERYTHING, EVERYWHERE, start } from "../../engine/program.ts";
import { HAS_IPV6, until } from "../../engine/sockets.ts";
import { IS_LINUX, needs, OPENSSH, peak, PRIVATELY, serve, sftp, stage } from "./server.ts";

setDefaultTimeout(120_000); // what waits in a test says itself for what it waited too long

describe("OpenSSH's sftp", () => {
  for (const runtime of EVERYWHERE) {
    test.skipIf(OPENSSH !== "")(`does all it can, on ${runtime}${OPENSSH}`, async () => {
      await using at = await stage();
      await mkdir(at.path("root", "photos", "old"), { recursive: true });
      await writeFile(at.path("root", "LICENSE"), "free\n");
      await utimes(at.path("root", "LICENSE"), 0, 86_400 * 365.25 * 30); // in 2000
      await chmod(at.path("root", "LICENSE"), 0o640);
      await writeFile(at.path("root", "photos", "猫.jpg"), "a cat");
      await writeFile(at.path("root", "photos", "old", "dog.jpg"), "a dog");
      const large = randomBytes(600_000);
      await writeFile(at.path("root", "large"), large);
      await mkdir(at.path("mine", "deep"), { recursive: true });
      await writeFile(at.path("mine", "one"), "1");
      await writeFile(at.path("mine", "deep", "two"), "22");
      await writeFile(at.path("mine", "empty"), "");
      await writeFile(at.path("half"), large.subarray(0, 300_000));
      await writeFile(at.path("copy"), large.subarray(0, 500_000));

      await using server = await serve(at, [], { runtime });
      const { code, stdout, stderr } = await sftp(at, server.port, [
        ...["pwd", "ls -1", "ls -l LICENSE", "cd photos", "pwd", "ls -1", "ls -1 *.jpg", "cd .."],
        ...[
          "get LICENSE got",
          "get -p LICENSE old",
          "get -r photos",
          "get photos/*.jpg first.jpg",
          "reget large copy",
        ],
        ...[
          "put half whole",
          "reput copy whole",
          "put -p old kept",
          "put -r mine",
          "mkdir made",
          "put mine/o* made/",
        ],
        ...["rename made/one made/eins", "chmod 600 made/eins", "ln -s eins made/link", "ls -1 made"],
        ...[
          "symlink /LICENSE made/up",
          "get made/up up",
          "rm made/link",
          "rename made/up made/on",
          "df",
          "bye",
        ],
      ]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      const seen = stdout.split("\n").filter((line) => !/^(sftp> |Retrieving |Entering )/.test(line));
      const [, avail] = seen.splice(seen.findIndex((line) => /Avail/.test(line)), 2).join(" ").split(
        "%Capacity",
      );
      expect(avail).toMatch(/^( +\d+){4} +\d+%$/);
      expect(seen[4]).toMatch(/^-rw-r----- +[1?] \d+ +\d+ +5 Jan {2}1 {2}2000 LICENSE$/);
      seen.splice(4, 1);
      expect(seen).toEqual([
        ...["Remote working directory: /", "LICENSE", "large", "photos"],
        ...["Remote working directory: /photos", "old", "猫.jpg", "猫.jpg", "made/eins", "made/link", ""],
      ]);
      const texts = [
        "got",
        "old",
        "photos/猫.jpg",
        "photos/old/dog.jpg",
        "first.jpg",
        "up",
        "root/mine/deep/two",
      ];
      expect(texts.map((name) => readFileSync(at.path(name), "utf8"))).toEqual(
        ["free\n", "free\n", "a cat", "a dog", "a cat", "free\n", "22"],
      );
      expect(sha256OfFile(at.path("copy"))).toBe(sha256OfFile(at.path("root", "large")));
      expect(sha256OfFile(at.path("root", "whole"))).toBe(sha256OfFile(at.path("root", "large")));
      const { size, mtimeMs, mode } = await stat(at.path("root", "kept"));
      expect({ size, mtimeMs, mode: mode & 0o777 }).toEqual({
        size: 5,
        mtimeMs: 946_728_000_000,
        mode: 0o640,
      });
      expect((await stat(at.path("root", "made", "eins"))).mode & 0o777).toBe(0o600);
      expect((await readdir(at.path("root", "mine"))).sort()).toEqual(["deep", "empty", "one"]);
      expect((await readdir(at.path("root", "made"))).sort()).toEqual(["eins", "on"]);
      expect(await readlink(at.path("root", "made", "on"))).toBe("../LICENSE"); // not of this machine's root

      const gone = await sftp(at, server.port, ["rm made/*", "rmdir made", "rm mine/*", "pwd"]);
      expect(gone).toMatchObject({ code: 1, stderr: "remote delete /mine/deep: Failure\r\n" });
      expect(gone.stdout).not.toContain("working directory");
      expect((await readdir(at.root)).sort()).toEqual([
        "LICENSE",
        "kept",
        "large",
        "mine",
        "photos",
        "whole",
      ]);

      server.program.signal("SIGTERM");
      const told = await server.program.result();
      expect({ code: told.code, stderr: told.stderr }).toEqual({ code: 0, stderr: "" });
      const lines = told.stdout.split("\n").slice(3, -1).map((line) =>
        line.replace(/^127\.0\.0\.1:\d+ /, "")
      );
      expect(lines.sort()).toEqual([ // a folder has its names in no order
        ...["logged in", "fetched /LICENSE, 5 bytes", "fetched /LICENSE, 5 bytes"],
        ...["fetched /photos/old/dog.jpg, 5 bytes", "fetched /photos/猫.jpg, 5 bytes"],
        ...["fetched /photos/猫.jpg, 5 bytes", "fetched /large, 100000 bytes"],
        ...["stored /whole, 300000 bytes", "stored /whole, 300000 bytes", "stored /kept, 5 bytes"],
        ...["made the folder /mine", "stored /mine/one, 1 bytes", "stored /mine/empty, 0 bytes"],
        ...["made the folder /mine/deep", "stored /mine/deep/two, 2 bytes", "made the folder /made"],
        ...["changed /mine/deep", "changed /mine"],
        ...["stored /made/one, 1 bytes", "renamed /made/one to /made/eins", "changed /made/eins"],
        ...["made the link /made/link", "made the link /made/up", "fetched /made/up, 5 bytes"],
        ...["removed /made/link", "renamed /made/up to /made/on"],
        ...["logged in", "removed /made/eins", "removed /made/on", "removed the folder /made"],
      ].sort());
    });
  }
});

/** The Python of the system, which has its packages. */
const PYTHON = existsSync("/usr/bin/python3") ? "/usr/bin/python3" : "python3";
const PARAMIKO = Bun.which(PYTHON) && Bun.spawnSync([PYTHON, "-c", "import paramiko"]).success
  ? ""
  : " (needs python3-paramiko)";
const CURL = Bun.which("curl") && /\bsftp\b/.test(`${Bun.spawnSync(["curl", "-V"]).stdout}`)
  ? ""
  : " (needs curl with SFTP)";
const SSHFS = existsSync("/dev/fuse") && Bun.which("sshfs") ? "" : " (needs sshfs and /dev/fuse)";

describe("other clients", () => {
  for (const runtime of EVERYWHERE) {
    test.skipIf(needs("scp") !== "")(`scp, which speaks SFTP now, on ${runtime}${needs("scp")}`, async () => {
      await using at = await stage();
      await mkdir(at.path("mine", "deep"), { recursive: true });
      await writeFile(at.path("mine", "deep", "file"), "deep");
      await writeFile(at.path("mine", "run"), "run", { mode: 0o755 });
      await using server = await serve(at, [], { runtime });
      for (
        const words of [["-r", "-p", at.path("mine"), "anna@127.0.0.1:/"], [
          "-r",
          "anna@127.0.0.1:/mine",
          at.path("back"),
        ]]
      ) {
        await using program = start(["scp", "-q", ...PRIVATELY(at), "-P", `${server.port}`, ...words]);
        expect(await program.result()).toEqual({ code: 0, stdout: "", stderr: "" });
      }
      expect(await readFile(at.path("back", "deep", "file"), "utf8")).toBe("deep");
      expect((await stat(at.path("root", "mine", "run"))).mode & 0o777).toBe(0o755);
    });

    test.skipIf(CURL !== "")(`curl, on ${runtime}${CURL}`, async () => {
      await using at = await stage();
      await mkdir(at.path("root", "folder"));
      await writeFile(at.path("mine"), randomBytes(300_000));
      await using server = await serve(at, ["--password", "right"], { runtime });
      const url = (path: string) => `sftp://127.0.0.1:${server.port}/${path}`;
      const log = ["-sS", "--insecure", "-u", "anna:right"];
      for (
        const words of [
          ["-T", at.path("mine"), url("folder/theirs")],
          [url("folder/theirs"), "-o", at.path("back")],
          ["-r", "100000-199999", url("folder/theirs"), "-o", at.path("middle")],
          ["-Q", "rename /folder/theirs /moved", "-Q", "rmdir /folder", url(""), "-o", at.path("list")],
        ]
      ) {
        await using program = start(["curl", ...log, ...words]);
        expect(await program.result()).toEqual({ code: 0, stdout: "", stderr: "" });
      }
      const mine = await readFile(at.path("mine"));
      expect(mine.equals(await readFile(at.path("back")))).toBe(true);
      expect(mine.subarray(100_000, 200_000).equals(await readFile(at.path("middle")))).toBe(true);
      expect(await readFile(at.path("list"), "utf8")).toMatch(/^-rw-r--r--.* 300000 .* moved\n$/);
    });

    if (EVERYTHING) {
      test.skipIf(PARAMIKO !== "")(`Python's paramiko, on ${runtime}${PARAMIKO}`, async () => {
        await using at = await stage();
        await using server = await serve(at, [], { runtime });
        await writeFile(
          at.path("talk.py"),
          `
import paramiko, stat, sys
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect("127.0.0.1", ${server.port}, "anna", key_filename="${
            at.path("key")
          }", look_for_keys=False, allow_agent=False)
sftp = client.open_sftp()
sftp.mkdir("folder")
sftp.chdir("folder")
assert sftp.getcwd() == "/folder"
with sftp.open("file", "w+") as file:
    file.set_pipelined(True)
    for line in range(20000): file.write(f"line {line}\\n")
    file.flush(); file.seek(10); file.truncate(500); assert file.stat().st_size == 500
with sftp.open("file", "a") as file: file.write("end")
with sftp.open("file", "r") as file:
    file.prefetch()
    text = file.read()
assert len(text) == 503 and text.endswith(b"end"), text
sftp.chmod("file", 0o600); sftp.utime("file", (1, 2)); sftp.symlink("file", "link")
assert sftp.readlink("link") == "file" and stat.S_ISLNK(sftp.lstat("link").st_mode)
assert sftp.stat("link").st_mtime == 2 and stat.S_IMODE(sftp.stat("link").st_mode) == 0o600
try: sftp.open("nothing"); raise SystemExit("opened")
except FileNotFoundError: pass
try: sftp.rename("file", "link"); raise SystemExit("renamed")
except IOError: pass
sftp.posix_rename("file", "link")
assert sftp.listdir() == ["link"] and sftp.normalize("..") == "/"
sftp.remove("link"); sftp.chdir("/"); sftp.rmdir("folder")
assert sftp.listdir() == []
client.close()
`,
        );
        await using program = start([PYTHON, "-W", "ignore", at.path("talk.py")], { limit: 60_000 });
        expect(await program.result()).toEqual({ code: 0, stdout: "", stderr: "" });
      });
    }
  }

  if (EVERYTHING) {
    test.skipIf(SSHFS !== "")(`sshfs, which makes a folder of it${SSHFS}`, async () => {
      await using at = await stage();
      await mkdir(at.path("mount"));
      await using server = await serve(at);
      const options = [
        `IdentityFile=${at.path("key")}`,
        `UserKnownHostsFile=${at.path("known")}`,
        "StrictHostKeyChecking=no",
      ];
      const words = ["anna@127.0.0.1:/", at.path("mount"), "-f", "-p", `${server.port}`];
      await using mounted = start(["sshfs", ...words, ...options.flatMap((option) => ["-o", option])]);
      const here = (path: string) => at.path("mount", path);
      await until(
        () => mounted.code !== undefined || lstatSync(at.path("mount")).dev !== lstatSync(at.path()).dev,
        "sshfs",
      );
      expect(mounted.seen.stderr).toEqual([]);
      await using work = start([
        "sh",
        "-ec",
        `
      cd "${at.path("mount")}"; mkdir -p a/b; seq 100000 >a/b/numbers; cp a/b/numbers copy; mv copy a/copy
      cmp a/copy a/b/numbers; echo more >>a/copy; tail -1 a/copy; ln -s copy a/link; cat a/link | wc -l
      truncate -s 5 a/copy; cat a/copy | wc -c; chmod 600 a/copy; rm -r a/b; ls a; df . | wc -l`,
      ]);
      expect(await work.result()).toEqual({
        code: 0,
        stdout: "more\n100001\n5\ncopy\nlink\n2\n",
        stderr: "",
      });
      expect((await stat(here("a/copy"))).mode & 0o777).toBe(0o600);
      await start(["fusermount", "-u", at.path("mount")]).ended();
    });
  }
});

test.skipIf(needs("sftp") !== "")(`new keys in the middle of files${needs("sftp")}`, async () => {
  for (const runtime of EVERYWHERE) {
    await using at = await stage();
    await writeFile(at.path("root", "file"), randomBytes(2 ** 23));
    await using server = await serve(at, [], { runtime });
    const result = await sftp(at, server.port, ["get file", "put file back"], ["-q", "-o", "RekeyLimit=1M"]);
    expect(result).toEqual({ code: 0, stdout: "sftp> get file\nsftp> put file back\n", stderr: "" });
    expect(sha256OfFile(at.path("root", "back"))).toBe(sha256OfFile(at.path("root", "file")));
  }
});

test.skipIf(!HAS_IPV6 || needs("sftp") !== "")(
  `over IPv6${needs("sftp")}${HAS_IPV6 ? "" : " (needs IPv6)"}`,
  async () => {
    await using at = await stage();
    await using server = await serve(at, ["--host", "::1"]);
    await using program = start(["sftp", ...PRIVATELY(at), "-P", `${server.port}`, "-b", "-", "anna@[::1]"]);
    program.type("mkdir made\n");
    program.endOfInput();
    expect(await program.result()).toMatchObject({ code: 0, stderr: "" });
    expect(await server.program.next()).toMatch(/^\[::1\]:\d+ logged in$/);
  },
);

if (EVERYTHING) {
  test.skipIf(!IS_LINUX || needs("sftp") !== "")(
    `1 GiB there and back${needs("sftp")}`,
    async () => {
      for (const runtime of EVERYWHERE) {
        await using at = await stage();
        for (let piece = 0; piece < 16; piece++) await appendFile(at.path("file"), randomBytes(2 ** 26));
        await using server = await serve(at, [], { runtime });
        expect(await sftp(at, server.port, ["put file there", "get there back"])).toMatchObject({
          code: 0,
          stderr: "",
        });
        await using same = start(["cmp", at.path("file"), at.path("back")], { limit: 60_000 });
        expect(await same.result()).toEqual({ code: 0, stdout: "", stderr: "" });
        expect((await stat(at.path("root", "there"))).size).toBe(2 ** 30);
        console.log(`1 GiB on ${runtime}: at most ${peak(server.program).toFixed()} MiB of memory`);
        expect(peak(server.program)).toBeLessThan({ bun: 205, node: 300, deno: 300 }[runtime]); // Bun, if it collects late: 215 to 310
      }
    },
    1_200_000,
  );
}
