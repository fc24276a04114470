/** Lesson 3.7: pictures in JSON, to many at once and from anybody. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdir, open, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { EVERYWHERE, hurried, type Program, script, start } from "../engine/program.ts";
import { isRead, type Line, listen } from "../engine/sockets.ts";
import { type Folder, temporaryFolder } from "../engine/files.ts";

setDefaultTimeout(60_000); // what waits in a test says itself for what it waited too long

const IS_LINUX = process.platform === "linux";
const NEEDS_LINUX = IS_LINUX ? "" : " (needs Linux)";
const NEEDS_PYTHON = Bun.which("python3") ? "" : " (needs python3)";

let folder: Folder;
beforeEach(async () => {
  folder = await temporaryFolder();
  await mkdir(folder.at("out"));
});
afterEach(() => folder[Symbol.asyncDispose]());

/** What is in the folder of the client. */
const saved = () => readdir(folder.at("out"));

/** Bytes that do not repeat soon. */
const bytes = (length: number) => Buffer.from(Array.from({ length }, (_, at) => (at * at + (at >> 8)) & 255));

/** Runs a program in Python. */
function python(program: string): Program {
  const words = ["python3", "-c", `import socket, sys, json, base64\n${program}`];
  return start(words, { cwd: folder.path, env: { PYTHONIOENCODING: "utf-8" } });
}

for (const runtime of EVERYWHERE) {
  const serve = (file: string) =>
    script("tcp/picture-server", [file, "--port", "0"], { cwd: folder.path, runtime });
  const fetch = (port: number, words: string[] = [], out = "out") =>
    script("tcp/picture-client", ["--port", `${port}`, "--out", out, ...words], {
      cwd: folder.path,
      runtime,
    });

  describe(`on ${runtime}`, () => {
    for (
      const [name, length] of [
        ["a.png", 0],
        ["a.png", 1],
        ["a.png", 2],
        ['照片 "1" \\ é😀\x7f.png', 49_151],
        ["b.png", 49_152],
        ["c.png", 49_153],
        ["d.png", 300_000],
      ] as const
    ) {
      test.skipIf(NEEDS_PYTHON !== "")(
        `${length} bytes as ${JSON.stringify(name)}: as Python writes them${NEEDS_PYTHON}`,
        async () => {
          await writeFile(folder.at(name), bytes(length));
          await using server = serve(name);
          const port = await server.port();
          await using original = python(`
data = open(sys.stdin.readline().rstrip("\\n"), "rb").read()
s = socket.create_connection(("127.0.0.1", ${port})); answer = s.makefile("rb").read()
ours = json.loads(answer); assert base64.b64decode(ours["filedata"]) == data
print(answer == json.dumps({"filename": ours["filename"], "filedata": base64.b64encode(data).decode()}).encode())
print(json.dumps(ours["filename"]))`);
          original.type(`${name}\n`);
          const { stdout, stderr } = await original.result();
          expect(stderr).toBe("");
          const [same, shown] = stdout.split("\n");
          expect({ same, name: JSON.parse(shown) }).toEqual({ same: "True", name });
          expect(await server.next()).toStartWith(`sent ${length} bytes to 127.0.0.1:`);
        },
      );
    }

    test.skipIf(NEEDS_PYTHON !== "")(`a picture from Python${NEEDS_PYTHON}`, async () => {
      const picture = bytes(200_000);
      await writeFile(folder.at("in.png"), picture);
      for (const [ensureAscii, encoding] of [["True", "utf-8"], ["False", "utf-8"], ["False", "gbk"]]) {
        await using server = python(`
l = socket.create_server(("127.0.0.1", 0)); print("listening on 127.0.0.1:%d" % l.getsockname()[1], flush=True)
c, _ = l.accept(); data = base64.b64encode(open("in.png", "rb").read()).decode()
c.sendall(json.dumps({"filename": "照片.png", "filedata": data}, ensure_ascii=${ensureAscii}).encode("${encoding}")); c.close()`);
        await using client = fetch(await server.port(), ["--encoding", encoding]);
        expect(await client.result()).toEqual({
          code: 0,
          stdout: `saved 200000 bytes as ${join("out", "照片.png")}\n`,
          stderr: "",
        });
        expect(await saved()).toEqual(["照片.png"]);
        expect(picture.equals(await readFile(folder.at("out", "照片.png")))).toBe(true);
        await rm(folder.at("out", "照片.png"));
      }
    });

    /** Lets the client call, and answers. */
    async function answer(give: (line: Line) => unknown, words: string[] = [], out?: string) {
      await using server = await listen();
      await using client = fetch(server.port, words, out);
      const line = await server.accept();
      await give(line);
      const { code, stdout, stderr } = await client.result();
      expect(stdout).toBe("");
      expect(await saved()).toEqual([]);
      return { code, stderr: stderr.replace(`127.0.0.1:${server.port}`, "SERVER") };
    }
    const say = (data: string | Uint8Array) => (line: Line) => line.socket.end(data);

    const noPicture = "error: SERVER: sent no picture, or only a part of one (EPROTO)\n";
    const whole = JSON.stringify({ filename: "a.png", filedata: "AAAA" });
    const wrong: [what: string, give: (line: Line) => unknown, stderr: string | RegExp][] = [
      ["nothing", say(""), noPicture],
      ["a broken off picture", say(whole.slice(0, -3)), noPicture],
      ["more after the picture", say(`${whole}{}`), noPicture],
      ["no JSON", say("hello"), noPicture],
      ["null", say("null"), noPicture],
      ["a list", say("[]"), noPicture],
      ["no name", say('{"filedata": "AAAA"}'), noPicture],
      ["no data", say('{"filename": "a.png"}'), noPicture],
      ["a number as the name", say('{"filename": 1, "filedata": "AAAA"}'), noPicture],
      ["a list as the data", say('{"filename": "a.png", "filedata": ["AAAA"]}'), noPicture],
      ["half base64", say('{"filename": "a.png", "filedata": "AAA"}'), noPicture],
      ["no base64", say('{"filename": "a.png", "filedata": "A*=="}'), noPicture],
      [
        "bytes that are no text",
        say(Buffer.from([0xff, 0xfe, 0x00])),
        "error: SERVER: bytes that are not valid utf-8 (EILSEQ)\n" +
        "hint: if the other end speaks gbk, use --encoding gbk here\n",
      ],
      [
        "a reset in the middle",
        async (line) => {
          await line.send(whole.slice(0, 20));
          await isRead(line);
          line.reset();
        },
        "error: SERVER: connection reset by peer (ECONNRESET)\n",
      ],
    ];
    for (
      const name of [
        "",
        ".",
        "..",
        "../a.png",
        "/tmp/a.png",
        "a\0b",
        "a\nb",
        "a/b",
      ]
    ) {
      const data = JSON.stringify({ filename: name, filedata: "AAAA" });
      wrong.push([`the name ${JSON.stringify(name)}`, say(data), /^error: .*: .+ \(EINVAL\)\n$/]);
    }
    test("one clear error, and nothing is saved", async () => {
      for (const [what, give, stderr] of wrong) {
        const seen = await answer(give);
        expect({ what, ...seen }).toEqual({
          what,
          code: 1,
          stderr: typeof stderr === "string" ? stderr : expect.stringMatching(stderr),
        });
      }
      expect((await readdir(folder.path)).sort()).toEqual(["out"]);
    });

    test("an answer without an end, and one that is just not too long", async () => {
      let sent = 0;
      const endless = async (line: Line) => {
        const piece = Buffer.alloc(1 << 16, "x");
        while (await line.send(piece).then(() => true, () => false)) sent += piece.length;
      };
      expect(await answer(endless, ["--limit", "1"])).toEqual({
        code: 1,
        stderr: "error: SERVER: sends more than 1 MiB (EFBIG)\n",
      });
      expect(sent).toBeLessThan(24 << 20); // what was taken, and what the buffers of both ends hold
      const [begin, end] = ['{"filename": "a", "filedata": "', '"}'];
      const spaces = " ".repeat((1 << 20) - begin.length - end.length);
      expect(await answer(say(`${begin}${spaces} ${end}`), ["--limit", "1"])).toEqual({
        code: 1,
        stderr: "error: SERVER: sends more than 1 MiB (EFBIG)\n", // by a byte
      });
      await using server = await listen();
      await using client = fetch(server.port, ["--limit", "1"]);
      (await server.accept()).socket.end(begin + spaces + end); // base64 may have spaces in it
      expect((await client.result()).code).toBe(0);
      expect(await saved()).toEqual(["a"]);
    });

    test("a folder that is none", async () => {
      await writeFile(folder.at("file"), "");
      expect(await answer(say(whole), [], "none")).toEqual({
        code: 1,
        stderr: "error: none: no such file or folder (ENOENT)\n",
      });
      expect(await answer(say(whole), [], "file")).toEqual({
        code: 1,
        stderr: "error: file: not a folder (ENOTDIR)\n",
      });
    });

    test("a file that has the name already stays", async () => {
      await using server = await listen();
      await writeFile(folder.at("out", "a.png"), "mine");
      await using client = fetch(server.port);
      (await server.accept()).socket.end(whole);
      expect(await client.result()).toEqual({
        code: 1,
        stdout: "",
        stderr: "error: a.png: exists already, and is not overwritten (EEXIST)\n",
      });
      expect(await saved()).toEqual(["a.png"]);
      expect(await readFile(folder.at("out", "a.png"), "utf8")).toBe("mine");
    });

    test.skipIf(!IS_LINUX)(
      `a named pipe is no picture, and nobody waits for its writer${NEEDS_LINUX}`,
      async () => {
        execFileSync("mkfifo", [folder.at("pipe")]);
        await using server = serve("pipe");
        expect((await server.result()).stderr).toEndWith(": is not a file (EACCES)\n");
      },
    );

    test("a picture that is none", async () => {
      for (
        const [file, error] of [["none.png", /no such file or folder \(ENOENT\)/], [
          "out",
          /\(EISDIR\)/,
        ]] as const
      ) {
        await using server = serve(file);
        const { code, stdout, stderr } = await server.result();
        expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
        expect(stderr).toMatch(error);
        expect(stderr.split("\n")).toHaveLength(2);
      }
    });

    test("a picture that becomes shorter meanwhile is reset, not filled up", async () => {
      await writeFile(folder.at("a.png"), "");
      await truncate(folder.at("a.png"), 200 << 20); // far more than the buffers of both ends hold
      await using server = serve("a.png");
      const socket = connect({ host: "127.0.0.1", port: await server.port() });
      const reads = socket[Symbol.asyncIterator]();
      await reads.next(); // it has begun
      await truncate(folder.at("a.png"), 1000);
      const end = (async () => {
        while (!(await reads.next()).done);
        return "end";
      })();
      expect(await end.catch(({ code }) => code)).toBe("ECONNRESET");
      expect(await server.next("stderr")).toBe("error: a.png: has become shorter (EIO)");
    });

    test("a picture that is written anew meanwhile is not sent half and half", async () => {
      await writeFile(folder.at("a.png"), "");
      await truncate(folder.at("a.png"), 20 << 20); // more than the buffers of the system hold
      await using server = serve("a.png");
      const socket = connect({ host: "127.0.0.1", port: await server.port() });
      const reads = socket[Symbol.asyncIterator]();
      await reads.next(); // it has begun
      const file = await open(folder.at("a.png"), "r+");
      await file.write("another");
      await file.close();
      const end = (async () => {
        while (!(await reads.next()).done);
        return "end";
      })();
      expect(await end.catch(({ code }) => code)).toBe("ECONNRESET");
      expect(await server.next("stderr")).toBe("error: a.png: has changed meanwhile (EIO)");
    });

    test("a client that reads nothing for a minute is disconnected", async () => {
      await writeFile(folder.at("a.png"), "");
      await truncate(folder.at("a.png"), 200 << 20);
      await using server = hurried(30, "tcp/picture-server", ["a.png", "--port", "0"], {
        cwd: folder.path,
        runtime,
      });
      const deaf = connect({ host: "127.0.0.1", port: await server.port() });
      const reads = deaf.iterator();
      await reads.next();
      expect(await server.next("stderr")).toMatch(
        /^error: 127\.0\.0\.1:\d+: silent for 60 seconds \(ETIMEDOUT\)$/,
      );
      const end = (async () => {
        while (!(await reads.next()).done);
        return "end";
      })();
      expect(await end.catch(({ code }) => code)).toBe("ECONNRESET"); // something is missing
    });

    test.skipIf(!IS_LINUX)(
      `200 are served while ten read nothing, who cost no memory${NEEDS_LINUX}`,
      async () => {
        const small = bytes(100_000);
        const large = 48 << 20; // far more than the buffers of both ends hold
        await writeFile(folder.at("a.png"), small);
        await using server = serve("a.png");
        const port = await server.port();
        await callers(200, small.length); // warms up
        await truncate(folder.at("a.png"), large);
        await callers(1, large);
        const before = memory(server.pid);
        const idle = Array.from({ length: 10 }, () => connect({ host: "127.0.0.1", port }).pause());
        await callers(3, large);
        await truncate(folder.at("a.png"), small.length);
        await callers(200, small.length);
        const growth = memory(server.pid) - before;
        for (const socket of idle) socket.destroy();
        expect(growth).toBeLessThan(large); // one picture for all ten

        async function callers(count: number, length: number): Promise<void> {
          const expected = '{"filename": "a.png", "filedata": ""}'.length + Math.ceil(length / 3) * 4;
          await Promise.all(Array.from({ length: count }, async () => {
            let received = 0;
            for await (const piece of connect({ host: "127.0.0.1", port })) received += piece.length;
            expect(received).toBe(expected);
          }));
        }
      },
    );
  });
}

const unshare = Bun.spawnSync(["unshare", "-Urm", "true"]).exitCode === 0;
const NEEDS_NAMESPACES = IS_LINUX && unshare ? "" : " (needs user and mount namespaces)";
test.skipIf(NEEDS_NAMESPACES !== "")(`a full disk leaves nothing behind${NEEDS_NAMESPACES}`, async () => {
  await using server = await listen();
  const command = `mount -t tmpfs -o size=64k none out && cd out && "$@"; code=$?; ls -A; exit $code`;
  const client = [
    "bun",
    join(import.meta.dir, "../../scripts/tcp/picture-client.ts"),
    "--port",
    `${server.port}`,
  ];
  await using shell = start(
    ["unshare", "-Urm", "sh", "-c", command, "sh", ...client, "--out", "."],
    { cwd: folder.path },
  );
  const filedata = bytes(100_000).toString("base64");
  (await server.accept()).socket.end(JSON.stringify({ filename: "a.png", filedata }));
  expect(await shell.result()).toEqual({
    code: 1,
    stdout: "",
    stderr: "error: .: no space left on device (ENOSPC)\n",
  });
});

/** The memory that a process really uses, in bytes (proc_pid_status(5)). */
function memory(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
}
