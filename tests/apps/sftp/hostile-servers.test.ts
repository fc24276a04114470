/** Lesson 4.5, the shell: against servers that lie. (thorough) */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import process from "node:process";
import ssh2 from "ssh2";
import { EVERYTHING, EVERYWHERE, ROOT, RUNTIMES, script, start } from "../../engine/program.ts";
import { until } from "../../engine/sockets.ts";
import {
  type Answers,
  atTerminal,
  FILE,
  FOLDER,
  folder,
  impostor,
  listing,
  logIn,
  makeKeys,
  PASSWORD,
  relay,
  session,
  type Sftp,
  shell,
  some,
  STATUS_CODE,
  tree,
  trust,
} from "./shell.ts";

makeKeys();
setDefaultTimeout(60_000); // what waits in a test says itself for what it waited too long

describe("servers that lie", () => {
  const typed = ["s3cret"];

  test.each(some(3, ["../up", "", "x".repeat(800), "/etc/passwd", "a/../../b", "sub/x"]))(
    "the name %j in a list",
    async (name) => {
      await using box = await folder();
      await using server = await impostor(listing(["good", name], FILE));
      await trust(box, server.port);
      const { code, stdout, stderr } = await session(shell(box, server.port, PASSWORD), [
        ...typed,
        "-get -r / x",
        "-get *",
        "ls",
      ]);
      const error = `error: [127.0.0.1]:${server.port}: sent a name that no file can have (EPROTO)\n`;
      expect({ code, stdout, stderr }).toEqual({ code: 1, stdout: "", stderr: error.repeat(3) });
      expect(await tree(box.path)).toEqual(
        expect.not.objectContaining({ up: expect.anything(), b: expect.anything() }),
      );
      expect(await readdir(box.here())).toEqual(["x"]); // the folder that was asked for
      expect(await readdir(box.here("x"))).toEqual([]);
    },
  );

  test("names that drive a terminal are shown harmless, and no file gets them", async () => {
    await using box = await folder();
    const names = ["a\x1b[2Jb", "c\nd", "e\u202ef"];
    await using server = await impostor({
      ...listing(names, { ...FILE, size: 0 }),
      OPEN: (sftp, id) => sftp.handle(id, Buffer.from("1")),
      READ: (sftp, id) => sftp.status(id, STATUS_CODE.EOF),
    });
    await trust(box, server.port);
    const { code, stdout, stderr } = await session(shell(box, server.port, PASSWORD), [
      ...typed,
      "ls",
      "-get *",
      "get -r / x",
    ]);
    expect({ code, stdout }).toEqual({
      code: 1,
      stdout: "a\\x1b[2Jb\nc\\nd\ne\\u202ef\n",
    });
    const errors = stderr.trimEnd().split("\n");
    expect(errors.slice(3)).toEqual(errors.slice(0, 3)); // with -r as without
    expect(errors.slice(3).sort()).toEqual([
      "error: a\\x1b[2Jb: has control characters (EINVAL)",
      "error: c\\nd: has control characters (EINVAL)",
      "error: e\\u202ef: has control characters (EINVAL)",
    ]);
    expect(await readdir(box.here())).toEqual(["x"]);
    expect(await readdir(box.here("x"))).toEqual([]);
  });

  test("a list without end, and a tree without end", async () => {
    await using box = await folder();
    let count = 0;
    const many = {
      READDIR: (sftp: Sftp, id: number) =>
        sftp.name(
          id,
          Array.from({ length: 1000 }, () => ({ filename: `f${count++}`, longname: "", attrs: FILE })),
        ),
    };
    await using endless = await impostor(many);
    await trust(box, endless.port);
    expect(await session(shell(box, endless.port, PASSWORD), [...typed, "ls"])).toEqual({
      code: 1,
      stdout: "",
      stderr: `error: [127.0.0.1]:${endless.port}: sent a list without end (EPROTO)\n`,
    });
    await using deep = await impostor(listing(["d".repeat(200)], FOLDER));
    await trust(box, deep.port);
    const { code, stderr } = await session(shell(box, deep.port, PASSWORD), [...typed, "get -r / x"]);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/^error: .*: name too long \(ENAMETOOLONG\)\n$/),
    });
  });

  test("back from Ctrl-Z it goes on", async () => {
    await using box = await folder();
    await using server = await impostor();
    await trust(box, server.port);
    await using person = atTerminal(box, server.port);
    await logIn(person);
    person.type("pw\x1a");
    await until(() => person.isCooked, "the shell's terminal");
    process.kill(person.pid, "SIGCONT"); // fg
    await until(() => !person.isCooked, "our own again");
    person.type("d\r");
    await person.until("pwd\n/\n");
    person.press("Ctrl-C");
    expect(await person.ended()).toBe(130);
  });

  test("Ctrl-C ends it while Tab waits for names", async () => {
    await using box = await folder();
    const asked = Promise.withResolvers<void>();
    await using server = await impostor({ READDIR: () => asked.resolve() });
    await trust(box, server.port);
    await using person = atTerminal(box, server.port);
    await logIn(person);
    person.type("get a\t");
    await asked.promise;
    person.press("Ctrl-C");
    expect(await person.ended()).toBe(130);
    expect(person.isCooked).toBe(true);
  });

  test("a time that is not told, a link that leads nowhere, and exit with a comment", async () => {
    await using box = await folder();
    await using server = await impostor({
      ...listing(["link"], { mode: 0o120777, size: 3 } as typeof FILE),
      STAT: (sftp, id, path: string) =>
        path === "/link" ? sftp.status(id, STATUS_CODE.NO_SUCH_FILE) : sftp.attrs(id, FOLDER),
      LSTAT: (sftp, id) => sftp.attrs(id, { mode: 0o120777, size: 3 } as typeof FILE),
    });
    await trust(box, server.port);
    const lines = [...typed, "ls -l", "ls *", "exit # done", "pwd"];
    const { code, stdout, stderr } = await session(shell(box, server.port, PASSWORD), lines);
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^lrwxrwxrwx .* 3 {2}19(69|70)-\d\d-\d\d \d\d:\d\d {2}link\nlink\n$/),
      stderr: "",
    });
  });

  if (EVERYTHING) {
    test("a tree whose folders are all full", async () => {
      await using box = await folder();
      let count = 0; // of the replies to a list: 90 of names, the first of which is a folder, and then its end
      await using server = await impostor({
        READDIR: (sftp, id) => {
          const part = count++ % 91;
          if (part === 90) return sftp.status(id, STATUS_CODE.EOF);
          const names = Array.from({ length: 1000 }, (_, index) => `f${part}_${index}`);
          sftp.name(
            id,
            names.map((filename) => ({ filename, longname: "", attrs: filename === "f0_0" ? FOLDER : FILE })),
          );
        },
      });
      await trust(box, server.port);
      await using program = shell(box, server.port, { ...PASSWORD, limit: 50_000 });
      for (const line of [...typed, "get -r / x"]) program.type(`${line}\n`);
      expect(await program.next("stderr")).toBe("error: /f0_0/f0_0: is a tree without end (EPROTO)");
      expect(await readdir(box.here("x", "f0_0"))).toContain("f0_0");
    }, 30_000);
  }

  test("a size that is not true: more, and less, than comes", async () => {
    await using box = await folder();
    const text = Buffer.from("0123456789");
    const file = (size: number): Answers => ({
      STAT: (sftp, id, path: string) => sftp.attrs(id, path === "/file" ? { ...FILE, size } : FOLDER),
      OPEN: (sftp, id) => sftp.handle(id, Buffer.from("1")),
      READ: (sftp, id, _: Buffer, place: number, length: number) =>
        place < text.length
          ? sftp.data(id, text.subarray(place, place + Math.min(3, length)))
          : sftp.status(id, STATUS_CODE.EOF),
    });
    for (
      const [size, saved] of [[0, "0123456789"], [4, "0123456789"], [10, "0123456789"], [11, undefined], [
        2 ** 52,
        undefined,
      ]] as const
    ) {
      await using server = await impostor(file(size));
      await trust(box, server.port);
      const { code, stdout, stderr } = await session(shell(box, server.port, PASSWORD), [
        ...typed,
        `get file ${size}`,
      ]);
      if (saved !== undefined) {
        expect({ code, stdout, stderr }).toEqual({
          code: 0,
          stdout: `file -> ${size}  ${saved.length} bytes\n`,
          stderr: "",
        });
        expect(await readFile(box.here(`${size}`), "utf8")).toBe(saved);
      } else {
        expect({ code, stdout, stderr }).toEqual({
          code: 1,
          stdout: "",
          stderr: `error: file: ended after 10 of ${size} bytes (EIO)\n`,
        });
      }
    }
    expect((await readdir(box.here())).sort()).toEqual(["0", "10", "4"]);
  });

  test("answers of another kind than was asked for", async () => {
    await using box = await folder();
    const ok = (sftp: Sftp, id: number) => sftp.status(id, STATUS_CODE.OK);
    const data = (sftp: Sftp, id: number) => sftp.data(id, Buffer.from("data"));
    const name = (sftp: Sftp, id: number) => sftp.name(id, [{ filename: "x", longname: "x", attrs: FILE }]);
    for (
      const [answers, line] of some(3, [
        [{
          STAT: (sftp, id, path: string) =>
            path === "." || path === "/" ? sftp.attrs(id, FOLDER) : ok(sftp, id),
        }, "cd x"],
        [
          { STAT: (sftp, id, path: string) => path === "." ? sftp.attrs(id, FOLDER) : data(sftp, id) },
          "cd x",
        ],
        [{ OPENDIR: ok }, "ls"],
        [{ OPENDIR: name }, "ls"],
        [{ READDIR: data }, "ls"],
        [
          { STAT: (sftp, id, path: string) => sftp.attrs(id, path === "/x" ? FILE : FOLDER), OPEN: ok },
          "get x",
        ],
      ] as [Answers, string][])
    ) {
      await using server = await impostor(answers);
      await trust(box, server.port);
      const { code, stdout, stderr } = await session(shell(box, server.port, PASSWORD), [...typed, line]);
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toBe(
        `error: [127.0.0.1]:${server.port}: sent an answer to another question (EPROTO)\n`,
      );
    }
    expect(await readdir(box.here())).toEqual([]);
  });

  test("a line on which somebody meddles in the middle", async () => {
    await using box = await folder();
    const asked = Promise.withResolvers<void>();
    await using server = await impostor({
      STAT: (sftp, id, path: string) => sftp.attrs(id, path === "/file" ? FILE : FOLDER),
      OPEN: (sftp, id) => sftp.handle(id, Buffer.from("1")),
      READ: () => asked.resolve(), // and no answer
    });
    await using line = await relay(server.port);
    await trust(box, line.port);
    await using program = shell(box, line.port, PASSWORD);
    program.type("s3cret\nget file\n");
    await asked.promise;
    line.spoil();
    const { code, stdout, stderr } = await program.result();
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^error: \[127\.0\.0\.1\]:\d+: .* \(EPROTO\)\n$/);
    expect(await readdir(box.here())).toEqual([]);
  });

  test("one that takes keys, too: piped lines are no passphrase of a key that nobody has named", async () => {
    await using box = await folder();
    const { private: key } = ssh2.utils.generateKeyPairSync("ed25519", {
      ...{ passphrase: "another", cipher: "aes256-cbc", rounds: 1 },
    });
    await mkdir(box.at("home", ".ssh"), { recursive: true });
    await writeFile(box.at("home", ".ssh", "id_ed25519"), key, { mode: 0o600 });
    await using server = await impostor({}, "s3cret", undefined, ["publickey", "password"]);
    await trust(box, server.port);
    const result = await session(shell(box, server.port, PASSWORD), [...typed, "pwd"]);
    expect(result).toEqual({ code: 0, stdout: "/\n", stderr: "" });
  });

  test("one that tells the dots first, and the names later", async () => {
    await using box = await folder();
    const name = (filename: string) => ({ filename, longname: "-rw-r--r--", attrs: FILE });
    const replies = [[name(".")], [name("..")], [name("a")], [name("b")]];
    await using server = await impostor({
      READDIR: (sftp, id) => {
        const names = replies.shift();
        if (names) sftp.name(id, names);
        else sftp.status(id, STATUS_CODE.EOF);
      },
    });
    await trust(box, server.port);
    const result = await session(shell(box, server.port, PASSWORD), [...typed, "ls"]);
    expect(result).toEqual({ code: 0, stdout: "a\nb\n", stderr: "" });
  });

  test("one that replaces nothing by a rename still gets the new file", async () => {
    await using box = await folder();
    await writeFile(box.here("new"), "new\n");
    const done: string[] = [];
    let isThere = true;
    await using server = await impostor({
      STAT: (sftp, id, path: string) =>
        path === "." || path === "/" ? sftp.attrs(id, FOLDER) : sftp.status(id, STATUS_CODE.NO_SUCH_FILE),
      OPEN: (sftp, id) => sftp.handle(id, Buffer.from("1")),
      WRITE: (sftp, id) => sftp.status(id, STATUS_CODE.OK),
      REMOVE: (sftp, id, path: string) => {
        done.push(`remove ${path}`);
        sftp.status(id, STATUS_CODE.OK);
      },
      RENAME: (sftp, id, from: string, to: string) => {
        done.push(`rename ${from} to ${to}`);
        if (to === "/old" && isThere) return sftp.status(id, STATUS_CODE.FAILURE);
        isThere = from !== "/old";
        sftp.status(id, STATUS_CODE.OK);
      },
    });
    await trust(box, server.port);
    const { code, stdout, stderr } = await session(shell(box, server.port, PASSWORD), [
      ...typed,
      "put new old",
    ]);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "new -> old  4 bytes\n", stderr: "" });
    const [part, aside] = [/incoming-\w+\.part/, /incoming-\w+\.old/];
    expect(done.map((one) => one.replace(part, "PART").replace(aside, "ASIDE"))).toEqual([
      "rename /PART to /old",
      "rename /old to /ASIDE",
      "rename /PART to /old",
      "remove /ASIDE",
    ]);
  });

  for (const runtime of EVERYWHERE) {
    test(`no SSH at all, and silence, on ${runtime}`, async () => {
      await using box = await folder();
      await using closed = shell(box, 1, { runtime, words: [] });
      expect(await session(closed, ["yes"])).toEqual({
        code: 1,
        stdout: "",
        stderr:
          "error: connect to 127.0.0.1:1: connection refused (ECONNREFUSED)\nhint: nobody listens there; start the server first\n",
      });
      for (
        const words of [
          "HTTP/1.1 400 Bad Request\r\n\r\n",
          "SSH-2.0-x\r\n\0\0\0\0garbage",
          "\x1b[2J".repeat(100_000),
          "",
        ]
      ) {
        const server = createServer((socket) => socket.on("error", () => {}).end(words));
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
        try {
          const { code, stdout, stderr } = await session(
            shell(box, (server.address() as AddressInfo).port, { runtime, words: [] }),
            ["yes"],
          );
          expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
          expect(stderr).toMatch(/^error: .*\n$/);
          expect(stderr).not.toContain("\x1b");
        } finally {
          server.close();
        }
      }
      const silent = createServer((socket) => socket.on("error", () => {}));
      await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
      const called = new Promise((resolve) => silent.once("connection", resolve));
      await using program = shell(box, (silent.address() as AddressInfo).port, { runtime, words: [] });
      await called;
      program.signal("SIGINT");
      expect(await program.result()).toEqual({ code: 130, stdout: "", stderr: "" });
      silent.close();
    });
  }

  test("hosts that are none", async () => {
    for (
      const [target, stderr] of [["me@", "error: me@: it is HOST or USER@HOST (EINVAL)\n"], [
        "",
        "error: : it is HOST or USER@HOST (EINVAL)\n",
      ]]
    ) {
      await using program = script("apps/sftp", [target]);
      expect(await session(program, [])).toEqual({ code: 2, stdout: "", stderr });
    }
    await using nobody = script("apps/sftp", ["me@no.such.invalid"]);
    expect(await session(nobody, [])).toEqual({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(/^error: look up no\.such\.invalid: /),
    });
    await using missing = script("apps/sftp");
    expect(await session(missing, [])).toEqual({
      code: 2,
      stdout: "",
      stderr: expect.stringMatching(/^error: \[USER@\]HOST: is needed \(EINVAL\)\n/),
    });
  });
});

test("typed bytes stay as they are: what is no UTF-8 is an error, and U+2028 ends no line", async () => {
  for (const runtime of EVERYWHERE) {
    await using box = await folder();
    const made: string[] = [];
    await using server = await impostor({
      MKDIR: (sftp, id, path: string) => {
        made.push(path);
        sftp.status(id, STATUS_CODE.OK);
      },
    });
    await trust(box, server.port);
    const typed = "s3cret\\nmkdir a\\342\\200\\250b\\nmkdir \\304\\343\\nmkdir c\\n";
    const words = [...RUNTIMES[runtime], join(ROOT, "scripts/apps/sftp.ts"), "me@127.0.0.1"];
    await using program = start([
      ...["sh", "-c", `printf '${typed}' | "$@"`, "sh", ...words, "--port", `${server.port}`],
    ], { cwd: box.here(), env: { HOME: box.at("home"), SSH_AUTH_SOCK: "" } });
    expect(await program.result()).toEqual({
      code: 1,
      stdout: "",
      stderr: "error: the typed line: bytes that are not valid utf-8 (EILSEQ)\n",
    });
    expect(made).toEqual(["/a\u2028b"]);
  }
});
