/** Lesson 4.5, the shell: against OpenSSH's sshd. (thorough) */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, statSync, truncateSync } from "node:fs";
import { mkdir, readdir, readFile, rm, rmdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import * as knownHosts from "../../../scripts/apps/sftp/known-hosts.ts";
import { sha256OfFile } from "../../engine/files.ts";
import { EVERYTHING, EVERYWHERE, ROOT, start } from "../../engine/program.ts";
import { until } from "../../engine/sockets.ts";
import {
  blob,
  contact,
  FILES,
  fill,
  folder,
  HAS_SSHD,
  keygen,
  keys,
  line,
  makeKeys,
  needsSshd,
  openSsh,
  relay,
  session,
  sha256Big,
  shell,
  some,
  sshd,
  tree,
  trust,
  USER,
} from "./shell.ts";

makeKeys();
setDefaultTimeout(60_000); // what waits in a test says itself for what it waited too long

describe.skipIf(!HAS_SSHD)(`OpenSSH's sshd${needsSshd}`, () => {
  for (const runtime of EVERYWHERE) {
    test.concurrent(`every command on ${runtime}`, async () => {
      await using box = await folder();
      await using server = await sshd(box);
      await fill(box.there());
      const { code, stdout, stderr } = await session(
        shell(box, server.port, {
          runtime,
          words: ["--identity", join(keys, "user"), "--known-hosts", box.at("known")],
        }),
        [
          "yes",
          "# a comment, and an empty line",
          "",
          "pwd",
          "lpwd",
          "ls",
          "ls -a sub",
          "ls *.txt",
          "lmkdir new",
          "lcd new",
          "lpwd",
          "mkdir made",
          "cd made",
          "pwd",
          "cd",
          "get 'two words.txt'",
          "get a.txt copy",
          "get a.txt copy",
          'get "it\'s" .',
          "get -r sub",
          "lls",
          "put copy made",
          "put copy made/other",
          "put copy made/other",
          "put -r sub made/tree",
          "ls made",
          "rename made/other made/renamed",
          "rm made/renamed",
          "rm made/c*",
          "-rmdir made",
          "-get [x].md",
          "get \\[x].md",
          "cd sub/deep",
          "rmdir empty",
          "ls",
          "help",
          "exit",
          "rm never",
        ],
      );
      const there = box.there();
      const here = box.here("new");
      expect(stdout.split("pwd                ")[0]).toBe(
        contact(server.port) +
          [
            there,
            box.here(),
            "[x].md",
            "a.txt",
            "it's",
            "sub",
            "two words.txt",
            "deep",
            "a.txt",
            "two words.txt",
            here,
            `${there}/made`,
            "two words.txt -> two words.txt  4 bytes",
            "a.txt -> copy  4 bytes",
            "a.txt -> copy  4 bytes",
            "it's -> it's  0 bytes",
            "sub/deep/six -> sub/deep/six  300000 bytes",
            "copy",
            "it's",
            "sub",
            "two words.txt",
            "copy -> made/copy  4 bytes",
            "copy -> made/other  4 bytes",
            "copy -> made/other  4 bytes",
            "sub/deep/six -> made/tree/deep/six  300000 bytes",
            "copy",
            "other",
            "tree",
            "[x].md -> [x].md  4 bytes",
            "six",
            "",
          ].join("\n"),
      );
      expect(stdout.split("\n").filter((one) => /^\w+ .* {2}\w|^\w+ {5,}\w/.test(one)).length)
        .toBeGreaterThan(10);
      expect({ code, stderr }).toEqual({
        code: 0,
        stderr: "error: made: the server says: Failure (EREMOTEIO)\n" +
          "error: [x].md: no file has such a name (ENOENT)\n",
      });
      const six = sha256OfFile(box.there("sub/deep/six"));
      expect(await tree(here)).toEqual({
        "[x].md": sha256OfFile(box.there("[x].md")),
        "copy": sha256OfFile(box.there("a.txt")),
        "it's": sha256OfFile(box.there("it's")),
        "sub": "folder",
        "sub/deep": "folder",
        "sub/deep/empty": "folder",
        "sub/deep/six": six,
        "two words.txt": sha256OfFile(box.there("two words.txt")),
      });
      expect(await tree(box.there("made"))).toEqual({
        "tree": "folder",
        "tree/deep": "folder",
        "tree/deep/empty": "folder",
        "tree/deep/six": six,
      });
    });
  }

  test.concurrent("get ./* . and put ./* .: files yes, folders with -r", async () => {
    await using box = await folder();
    await using server = await sshd(box);
    await trust(box, server.port);
    await fill(box.there());
    const files = Object.keys(FILES).filter((name) => !name.startsWith("."));
    const flat = await session(shell(box, server.port), ["get ./* .", "pwd"]);
    expect({ code: flat.code, stderr: flat.stderr }).toEqual({
      code: 1, // and what follows is not done
      stderr: "error: ./sub: is a folder (EISDIR)\nhint: -r takes folders too\n",
    });
    expect(flat.stdout).not.toContain(`${box.there()}\n`);
    expect(await readdir(box.here())).toEqual(expect.arrayContaining(files));
    expect(await readdir(box.here())).toHaveLength(files.length);

    const deep = await session(shell(box, server.port), [
      "get -r ./* .",
      "mkdir back",
      "cd back",
      "put -r ./* .",
    ]);
    expect({ code: deep.code, stderr: deep.stderr }).toEqual({ code: 0, stderr: "" });
    const all = await tree(box.here());
    expect(Object.keys(all)).toEqual(expect.arrayContaining([...files, "sub/deep/six", "sub/deep/empty"]));
    expect(await tree(box.there("back"))).toEqual(all);
  });

  test.concurrent("symbolic links: the one that is named is followed, others are left out", async () => {
    await using box = await folder();
    await using server = await sshd(box);
    await trust(box, server.port);
    for (const side of [box.here(), box.there()]) {
      await mkdir(join(side, "sub"));
      await writeFile(join(side, "sub", "file"), "1");
      await symlink("..", join(side, "sub", "loop"));
      await symlink("file", join(side, "sub", "link"));
      await symlink("sub/file", join(side, "top"));
    }
    const commands = ["get -r sub got", "get top top2", "put -r sub stored", "put top top2"];
    const { code, stdout, stderr } = await session(shell(box, server.port), commands);
    expect(code).toBe(0);
    expect(stderr.match(/hint: sub\/(loop|link) is neither file nor folder, and left out\n/g)).toHaveLength(
      4,
    );
    expect(stdout.split("\n")).toHaveLength(5);
    expect(await readdir(box.here("got"))).toEqual(["file"]);
    expect(await readdir(box.there("stored"))).toEqual(["file"]);
    expect(await readFile(box.there("top2"), "utf8")).toBe("1");
    // A link that waits here for a folder of the server is not followed.
    await symlink(box.at("home"), box.here("trap"));
    await mkdir(box.there("deep", "trap"), { recursive: true });
    await writeFile(box.there("deep", "trap", "x"), "x");
    await mkdir(box.here("deep"));
    await symlink(box.at("home"), box.here("deep", "trap"));
    const trapped = await session(shell(box, server.port), ["get -r deep"]);
    expect({ code: trapped.code, stderr: trapped.stderr }).toEqual({
      code: 1,
      stderr: "error: deep/trap: is in the way of a folder (ENOTDIR)\n",
    });
    expect(await readdir(box.at("home"))).not.toContain("x");
    // Nor is one that waits here for a file of the server: it is replaced. Only a link that was typed is followed.
    await writeFile(box.at("home", "precious"), "old");
    await mkdir(box.there("many"));
    for (const name of ["a", "b", "d", "e"]) {
      await writeFile(box.there("many", name), "new");
      await mkdir(box.here("many"), { recursive: true });
      await symlink(box.at("home", "precious"), box.here("many", name));
    }
    await writeFile(box.there("many", "c"), "new");
    await symlink(box.at("home", "folder"), box.here("many", "c"));
    await mkdir(box.at("home", "folder"));
    const replaced = await session(shell(box, server.port), [
      "lcd many",
      "get many/[ab] .",
      "lcd ..",
      "-get -r many",
    ]);
    expect({ code: replaced.code, stderr: replaced.stderr }).toEqual({
      code: 0,
      stderr: "error: many/c: is a folder (EISDIR)\n",
    });
    expect(await readFile(box.at("home", "precious"), "utf8")).toBe("old");
    for (const name of ["a", "b", "d", "e"]) {
      expect(await readFile(box.here("many", name), "utf8")).toBe("new");
    }
    await symlink(box.at("home", "precious"), box.here("typed"));
    expect((await session(shell(box, server.port), ["get many/a typed"])).code).toBe(0);
    expect(await readFile(box.at("home", "precious"), "utf8")).toBe("new");
  });

  test.concurrent("errors are told in words; the first one ends a batch, a - before it does not", async () => {
    await using box = await folder();
    await using server = await sshd(box);
    await trust(box, server.port);
    await mkdir(box.there("sub"));
    await writeFile(box.there("file"), "1");
    const wrong: [line: string, error: string][] = [
      ["nope", "error: nope: unknown command (EINVAL)\nhint: help lists the commands"],
      ["constructor", "error: constructor: unknown command (EINVAL)\nhint: help lists the commands"],
      ["get", "error: get: the usage is: get [-r] PATH [LOCAL] (EINVAL)"],
      ["ls -x", "error: ls -x: the usage is: ls [-al] [PATH] (EINVAL)"],
      ["pwd now", "error: pwd now: the usage is: pwd (EINVAL)"],
      ["ls 'a", "error: ls 'a: the quotation ' has no end (EINVAL)"],
      ["cd none", "error: none: no such file or folder (ENOENT)"],
      ["cd file", "error: file: not a folder (ENOTDIR)"],
      ["lcd none", "error: none: no such file or folder (ENOENT)"],
      ["ls none", "error: none: no such file or folder (ENOENT)"],
      ["ls n*", "error: n*: no file has such a name (ENOENT)"],
      ["lls none", "error: none: no such file or folder (ENOENT)"],
      ["get none", "error: none: no such file or folder (ENOENT)"],
      ["get file none/x", "error: none/x: no such file or folder (ENOENT)"],
      ["get sub", "error: sub: is a folder (EISDIR)\nhint: -r takes folders too"],
      ["put none", "error: none: no such file or folder (ENOENT)"],
      ["rm none", "error: none: no such file or folder (ENOENT)"],
      ["rmdir none", "error: none: no such file or folder (ENOENT)"],
      ["mkdir sub", "error: sub: the server says: Failure (EREMOTEIO)"],
      ["rename none other", "error: none: no such file or folder (ENOENT)"],
      ["lmkdir none/x", "error: none/x: no such file or folder (ENOENT)"],
    ];
    const all = await session(shell(box, server.port), wrong.map(([line]) => `-${line}`));
    expect(all).toEqual({ code: 0, stdout: "", stderr: wrong.map(([, error]) => `${error}\n`).join("") });
    const first = await session(shell(box, server.port), ["cd none", "rm file"]);
    expect(first).toEqual({ code: 1, stdout: "", stderr: `${wrong[6][1]}\n` });
    expect(existsSync(box.there("file"))).toBe(true);
    await using silent = shell(box, server.port);
    expect(await session(silent, [])).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  test.concurrent("the key of a host: asked about once; only yes or the fingerprint goes on", async () => {
    await using box = await folder();
    await using server = await sshd(box);
    const refused = {
      code: 1,
      stdout: contact(server.port),
      stderr: `error: [127.0.0.1]:${server.port}: its key is not trusted (EKEYREJECTED)\n`,
    };
    for (const answer of some(1, ["no", "", "y", knownHosts.fingerprint(blob("other"))])) {
      expect(await session(shell(box, server.port), [answer, "pwd"])).toEqual(refused);
    }
    await using silent = shell(box, server.port);
    expect(await session(silent, [])).toEqual(refused);
    expect(existsSync(box.knownHosts)).toBe(false);
    const first = await session(shell(box, server.port), [knownHosts.fingerprint(blob("host")), "pwd"]);
    expect(first).toEqual({ code: 0, stdout: `${contact(server.port)}${box.there()}\n`, stderr: "" });
    expect(keygen("-f", box.knownHosts, "-F", `[127.0.0.1]:${server.port}`)).toContain("line 1");
    expect(await session(shell(box, server.port), ["pwd"])).toEqual({
      code: 0,
      stdout: `${box.there()}\n`,
      stderr: "",
    });
    // OpenSSH's client believes it too.
    await using sftp = openSsh(box, server.port, ["StrictHostKeyChecking=yes"]);
    expect((await session(sftp, ["pwd"])).code).toBe(0);
  });

  test.concurrent("a changed key and a revoked one end all, and nothing is asked", async () => {
    await using box = await folder();
    await using server = await sshd(box);
    const name = `[127.0.0.1]:${server.port}`;
    await mkdir(box.at("home", ".ssh"));
    await writeFile(box.knownHosts, `# one\n${line(name, "other")}`);
    expect(await session(shell(box, server.port), ["yes", "pwd"])).toEqual({
      code: 1,
      stdout: "",
      stderr:
        `error: ${name}: its ED25519 key is now ${
          knownHosts.fingerprint(blob("host"))
        }, not the one in ${box.knownHosts}, line 2 (EKEYREJECTED)\n` +
        `hint: another machine may pretend to be the server; if its key has really changed: ssh-keygen -f ${box.knownHosts} -R '${name}'\n`,
    });
    await writeFile(box.knownHosts, `@revoked ${line("*", "host")}${line(name, "host")}`);
    expect(await session(shell(box, server.port), ["yes", "pwd"])).toEqual({
      code: 1,
      stdout: "",
      stderr: `error: ${name}: its ED25519 key is revoked in ${box.knownHosts}, line 1 (EKEYREVOKED)\n`,
    });
    await writeFile(box.knownHosts, line(name, "rsa"));
    expect(await session(shell(box, server.port), ["no"])).toEqual({
      code: 1,
      stdout: contact(server.port),
      stderr: `hint: another type of key is known, in ${box.knownHosts}, line 1; why is it not shown?\n` +
        `error: ${name}: its key is not trusted (EKEYREJECTED)\n`,
    });
  });

  for (const runtime of EVERYTHING ? EVERYWHERE : []) {
    test.concurrent(`keys on ${runtime}: an encrypted one, the usual ones, those of the agent`, async () => {
      await using box = await folder();
      await using server = await sshd(box);
      await trust(box, server.port);
      const fine = { code: 0, stdout: `${box.there()}\n`, stderr: "" };
      const locked = ["--identity", join(keys, "locked")];
      expect(
        await session(shell(box, server.port, { runtime, words: locked }), ["wrong", "open sesame", "pwd"]),
      ).toEqual({
        ...fine,
        stderr: `error: ${join(keys, "locked")}: wrong passphrase (EACCES)\n`,
      });
      await writeFile(box.at("home", ".ssh", "id_ed25519"), readFileSync(join(keys, "user")), {
        mode: 0o600,
      });
      expect(await session(shell(box, server.port, { runtime, words: [] }), ["pwd"])).toEqual(fine);
      await mkdir(box.at("home", ".ssh", "id_rsa"));
      expect(await session(shell(box, server.port, { runtime, words: [] }), ["pwd"]))
        .toEqual({ ...fine, stderr: expect.stringContaining("(EISDIR)\n") });
      await rmdir(box.at("home", ".ssh", "id_rsa"));
      await rm(box.at("home", ".ssh", "id_ed25519"));
      const refused = {
        code: 1,
        stdout: "",
        stderr: `error: ${USER}@[127.0.0.1]:${server.port}: login refused (EACCES)\n`,
      };
      expect(await session(shell(box, server.port, { runtime, words: [] }), ["pwd"])).toEqual(refused);
      const SSH_AUTH_SOCK = box.at("agent");
      await using agent = start(["ssh-agent", "-D", "-a", SSH_AUTH_SOCK]);
      expect(await agent.next()).toContain("SSH_AUTH_SOCK");
      execFileSync("ssh-add", ["-q", join(keys, "user")], {
        env: { ...process.env, SSH_AUTH_SOCK },
        stdio: "ignore",
      });
      expect(await session(shell(box, server.port, { runtime, words: [], env: { SSH_AUTH_SOCK } }), ["pwd"]))
        .toEqual(fine);
      const nobody = { SSH_AUTH_SOCK: box.at("nobody") };
      expect(await session(shell(box, server.port, { runtime, words: [], env: nobody }), ["pwd"])).toEqual(
        refused,
      );
    });
  }

  for (const runtime of EVERYTHING ? EVERYWHERE : []) {
    test.concurrent(`the secret is changed in the middle of a file, on ${runtime}`, async () => {
      await using box = await folder();
      await using server = await sshd(box, ["host"], ["RekeyLimit 2M"]);
      await trust(box, server.port);
      await writeFile(box.there("file"), randomBytes(10_000_000));
      const { code, stderr } = await session(shell(box, server.port, { runtime }), [
        "get file",
        "put file back",
      ]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      const hash = sha256OfFile(box.there("file"));
      expect([sha256OfFile(box.here("file")), sha256OfFile(box.there("back"))]).toEqual([hash, hash]);
    });
  }

  test.concurrent("a key file that is none", async () => {
    await using box = await folder();
    for (
      const [file, why] of [["none", "no such file or folder (ENOENT)"], [
        join(keys, "user.pub"),
        "not a private key (EINVAL)",
      ], [join(ROOT, "LICENSE"), "Unsupported key format (EINVAL)"]]
    ) {
      await using program = shell(box, 1, { words: ["--identity", file] });
      expect(await session(program, [])).toEqual({ code: 1, stdout: "", stderr: `error: ${file}: ${why}\n` });
    }
  });

  for (const runtime of EVERYTHING ? EVERYWHERE : []) {
    test.concurrent(`interrupted on ${runtime}: 130, and no half file`, async () => {
      await using box = await folder();
      await using server = await sshd(box);
      await trust(box, server.port);
      await writeFile(box.there("big"), "");
      truncateSync(box.there("big"), 4_000_000_000);
      await using program = shell(box, server.port, { runtime, pace: 0.1 });
      program.type("get big\n");
      await until(async () => (await readdir(box.here())).some((name) => name.endsWith(".part")), "a part");
      program.signal("SIGINT");
      expect(await program.result()).toEqual({
        code: 130,
        stdout: "",
        stderr: "hint: big: interrupted, and its part is removed\n",
      });
      expect(await readdir(box.here())).toEqual([]);
    });

    test.concurrent(`a line that breaks on ${runtime}: told at once, in the middle and while it waits`, async () => {
      await using box = await folder();
      await using server = await sshd(box);
      await using line = await relay(server.port);
      await trust(box, line.port);
      await writeFile(box.here("big"), "");
      truncateSync(box.here("big"), 400_000_000);
      await using busy = shell(box, line.port, { runtime });
      await using waiting = shell(box, line.port, { runtime });
      waiting.type("pwd\n");
      expect(await waiting.next()).toBe(box.there());
      busy.type("put big\n");
      await until(async () => (await readdir(box.there())).some((name) => name.endsWith(".part")), "a part");
      line.cut();
      for (const one of [busy, waiting]) {
        const { code, stderr } = await one.result();
        const hint = one === busy ? "hint: a part of it may be left, as incoming-\\w+\\.part\n" : "";
        const error = `error: \\[127.0.0.1\\]:${line.port}: (connection (reset|closed) by peer) \\(\\w+\\)\n`;
        expect(stderr).toMatch(RegExp(`^${hint}${error}$`));
        expect(code).toBe(1);
      }
      expect(await readdir(box.there())).not.toContain("big");
    });
  }

  if (EVERYTHING) {
    test.concurrent("what it writes is what OpenSSH's sftp writes: modes by umask, over what there is", async () => {
      await using box = await folder();
      await using server = await sshd(box);
      await trust(box, server.port);
      await writeFile(box.here("run"), "#!/bin/sh\n", { mode: 0o755 });
      await writeFile(box.here("secret"), "s", { mode: 0o600 });
      const commands = [
        "put run x-run",
        "put secret x-secret",
        "get x-run y-run",
        "get x-secret y-secret",
        "mkdir x-folder",
      ];
      const { code, stderr } = await session(shell(box, server.port), commands);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      const ours = [
        box.there("x-run"),
        box.there("x-secret"),
        box.here("y-run"),
        box.here("y-secret"),
        box.there("x-folder"),
      ];
      await using sftp = openSsh(box, server.port);
      expect((await session(sftp, commands.map((command) => command.replaceAll(/\b([xy])-/g, "$1$1-")))).code)
        .toBe(0);
      for (const path of ours) {
        const theirs = path.replace(/([xy])(-[a-z]+)$/, "$1$1$2");
        expect({ path, mode: statSync(path).mode }).toEqual({ path, mode: statSync(theirs).mode });
      }
    });

    test.concurrent("a file that OpenSSH has written, with hashed names, is believed", async () => {
      await using box = await folder();
      await using server = await sshd(box, ["rsa", "ecdsa", "host"]);
      await mkdir(box.at("home", ".ssh"));
      for (const type of ["rsa-sha2-512", "ecdsa-sha2-nistp256"]) {
        await writeFile(box.knownHosts, "");
        const newcomer = ["UpdateHostKeys=no", "HashKnownHosts=yes", "StrictHostKeyChecking=accept-new"];
        await using sftp = openSsh(box, server.port, [`HostKeyAlgorithms=${type}`, ...newcomer]);
        expect((await session(sftp, ["pwd"])).code).toBe(0);
        expect(await readFile(box.knownHosts, "utf8")).toStartWith("|1|");
        // The server has three keys: it must show the one that is known.
        expect(await session(shell(box, server.port), ["pwd"])).toEqual({
          code: 0,
          stdout: `${box.there()}\n`,
          stderr: "",
        });
      }
    });

    for (const runtime of ["bun", "node", "deno"] as const) {
      test(`1 GiB both ways on ${runtime}, in bounded memory`, async () => {
        await using box = await folder();
        await using server = await sshd(box);
        await trust(box, server.port);
        execFileSync("sh", ["-c", `head -c 1073741824 /dev/urandom > ${box.there("big")}`]);
        const begin = performance.now();
        await using program = shell(box, server.port, { runtime, limit: 300_000 });
        program.type("get big\nput big back\n");
        expect(await program.next()).toBe("big -> big  1073741824 bytes");
        const middle = performance.now();
        expect(await program.next()).toBe("big -> back  1073741824 bytes");
        const end = performance.now();
        const most = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${program.pid}/status`, "utf8"))?.[1];
        program.endOfInput();
        expect(await program.ended()).toBe(0);
        const hash = sha256Big(box.there("big"));
        expect([sha256Big(box.here("big")), sha256Big(box.there("back"))]).toEqual([hash, hash]);
        console.log(
          `${runtime}: get ${Math.round(middle - begin)} ms, put ${
            Math.round(end - middle)
          } ms, at most ${most} kB`,
        );
        expect(Number(most)).toBeLessThan(400_000);
      }, 1_200_000);
    }
  }
});
