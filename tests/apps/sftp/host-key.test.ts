/** Lesson 4.5, the server: its host key. (thorough) */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, chown, mkdir, readdir, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { readHostKey } from "../../../scripts/apps/sftp/host-key.ts";
import { hasNamespaces } from "../../engine/network.ts";
import { EVERYTHING, EVERYWHERE, ROOT, RUNTIMES, script, start } from "../../engine/program.ts";
import { KEY, needs, OPENSSH, serve, stage } from "./server.ts";

setDefaultTimeout(120_000); // what waits in a test says itself for what it waited too long

describe("the host key", () => {
  test.skipIf(OPENSSH !== "")(
    `is made once, for its owner only, and OpenSSH reads it${OPENSSH}`,
    async () => {
      for (const runtime of EVERYWHERE) {
        await using at = await stage();
        const seen: string[] = [];
        for (let start = 0; start < 2; start++) {
          await using server = await serve(at, [], { runtime });
          seen.push(server.program.seen.stdout[1]);
          server.program.signal("SIGINT");
          expect(await server.program.ended()).toBe(0);
        }
        const file = at.path("root.host-key");
        expect((await stat(file)).mode & 0o777).toBe(0o600);
        await using told = start(["ssh-keygen", "-l", "-f", file]);
        const [, fingerprint, kind] =
          /^256 (SHA256:\S{43}) .*\((\w+)\)\n$/.exec((await told.result()).stdout) ?? [];
        expect({ kind, seen }).toEqual({
          kind: "ED25519",
          seen: Array(2).fill(`host key ${fingerprint} (ssh-ed25519)`),
        });
      }
    },
  );

  const small = ["unshare", "-Urm", "sh", "-ec"];
  test.skipIf(!hasNamespaces)("is not left half written on a full disk (needs unshare)", async () => {
    await using at = await stage();
    await mkdir(at.path("full"));
    const path = at.path("full", "key");
    const words = ["--port", "0", "--root", at.root, "--user", "anna", "--host-key", path];
    const script = `mount -t tmpfs -o size=4k none "${at.path("full")}"; head -c 4096 /dev/zero >"${
      at.path("full", "x")
    }"
      "$@" || true; ls "${at.path("full")}"`;
    const server = [...RUNTIMES.bun, join(ROOT, "scripts/apps/sftp-server.ts"), ...words];
    await using program = start([...small, script, "sh", ...server]);
    expect(await program.result()).toEqual({
      code: 0,
      stdout: "x\n",
      stderr: expect.stringMatching(/^error: \S+\/full\/key: .*\(ENOSPC\)\n$/) as unknown as string,
    });
  });

  test("is not used if others can read it, if it is none, or if it would be served", async () => {
    await using at = await stage();
    await writeFile(at.path("open"), KEY.private, { mode: 0o644 });
    await writeFile(at.path("none"), "nothing", { mode: 0o600 });
    await symlink(at.path("root"), at.path("to-root"));
    await writeFile(at.path("root", "key"), KEY.private, { mode: 0o600 });
    await symlink(at.path("root", "key"), at.path("to-key"));
    await mkdir(at.path("folder"), { mode: 0o700 });
    await writeFile(at.path("nobody"), "# nobody\n");
    const used = (name: string) => ["--host-key", at.path(name)];
    const inside = (name: string, flag: string) => `${flag} ${name}: is inside the served folder (EINVAL)`;
    for (
      const [words, code, error] of [
        [used("open"), 1, `${at.path("open")}: others can read this private key, so it is not used (EACCES)`],
        [used("folder"), 1, `${at.path("folder")}: is a folder (EISDIR)`],
        [
          ["--authorized-keys", at.path("nobody")],
          1,
          `${at.path("nobody")}: has no key: nobody could log in (EINVAL)`,
        ],
        [used("none"), 1, `${at.path("none")}: is not a private key, or has a passphrase (EINVAL)`],
        [used("root/new"), 2, inside(at.path("root/new"), "--host-key")],
        [used("to-root/new"), 2, inside(at.path("to-root/new"), "--host-key")],
        [used("to-key"), 2, inside(at.path("to-key"), "--host-key")],
        [["--root", "/"], 2, inside("/.host-key", "--host-key")],
        [["--authorized-keys", at.path("root/key")], 2, inside(at.path("root/key"), "--authorized-keys")],
        [used("missing/key"), 1, `${at.path("missing/key")}: no such file or folder (ENOENT)`],
        [["--root", at.path("missing")], 1, `${at.path("missing")}: no such file or folder (ENOENT)`],
        [["--root", at.path("key")], 1, `${at.path("key")}: not a folder (ENOTDIR)`],
      ] as const
    ) {
      await using program = script("apps/sftp-server", ["--port", "0", "--root", at.root, ...words]);
      const result = await program.result();
      expect({ ...result, stderr: result.stderr.split("\n")[0] }).toEqual({
        code,
        stdout: "",
        stderr: `error: ${error}`,
      });
    }
    expect((await readdir(at.root)).sort()).toEqual(["key"]);
    expect(existsSync("/.host-key")).toBe(false);
  });
});

test.skipIf(process.getuid?.() !== 0)("files of another user are not trusted (needs root)", async () => {
  for (const runtime of EVERYWHERE) {
    await using at = await stage();
    await writeFile(at.path("host"), KEY.private, { mode: 0o600 });
    await chown(at.path("host"), 65_534, 65_534); // who could pretend to be this server
    await writeFile(at.path("keys"), `${KEY.public}\n`);
    await chown(at.path("keys"), 65_534, 65_534); // who could let anybody in
    await writeFile(at.path("open"), `${KEY.public}\n`);
    await chmod(at.path("open"), 0o666);
    for (
      const [words, error] of [
        [["--host-key", at.path("host")], `${at.path("host")}: this private key belongs to another user`],
        [["--authorized-keys", at.path("keys")], `${at.path("keys")}: another user could add a key to it`],
        [["--authorized-keys", at.path("open")], `${at.path("open")}: another user could add a key to it`],
      ] as const
    ) {
      const all = ["--port", "0", "--root", at.root, ...words];
      await using program = script("apps/sftp-server", all, { runtime });
      const { code, stdout, stderr } = await program.result();
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toStartWith(`error: ${error}, so it is not used (EACCES)\n`);
      expect(stderr.includes(`hint: chmod go-w ${at.path("open")}\n`)).toBe(words[1] === at.path("open"));
    }
  }
});

test("a new host key can always be read", async () => {
  await using at = await stage();
  for (let index = 0; index < (EVERYTHING ? 3000 : 100); index++) {
    const file = at.path(`new${index}`);
    const { fingerprint } = await readHostKey(file); // made, and read back
    if (index % 500 > 0 || needs("ssh-keygen")) continue;
    await using told = start(["ssh-keygen", "-y", "-f", file]); // the public half, as OpenSSH finds it
    const [type, half, ...comment] = (await told.result()).stdout.trimEnd().split(" ");
    const hash = createHash("sha256").update(Buffer.from(half, "base64")).digest("base64").slice(0, 43);
    expect(fingerprint).toBe(`SHA256:${hash} (${type})`);
    expect(comment.join(" ")).toBe("sockets by example");
  }
});
