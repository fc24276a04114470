/** Lesson 3.10: paths instead of ports. What they leave behind, who may call, and Python at the other end. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { once } from "node:events";
import { chmod, lstat, readFile, symlink, writeFile } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import process from "node:process";
import { EVERYWHERE, type Program, script, start } from "../engine/program.ts";
import { inTime } from "../engine/sockets.ts";
import { type Folder, temporaryFolder } from "../engine/files.ts";

setDefaultTimeout(60_000); // what waits in a test says itself for what it waited too long

const NEEDS_LINUX = process.platform === "linux" ? "" : " (needs Linux)";
const NEEDS_ROOT = process.getuid?.() === 0 ? "" : " (needs root)";
const NEEDS_PYTHON = Bun.which("python3") ? "" : " (needs python3)";

let folder: Folder;
beforeEach(async () => void (folder = await temporaryFolder()));
afterEach(() => folder[Symbol.asyncDispose]());

const exists = (path: string) => lstat(path).then(() => true, () => false);

/** What a program prints that fails. */
const failure = (what: string, code = 1) => ({ code, stdout: "", stderr: `error: ${what}\n` });

for (const runtime of EVERYWHERE) {
  describe(`on ${runtime}`, () => {
    const serve = (words: string[] = []) => script("unix/server", words, { cwd: folder.path, runtime });
    const call = (words: string[] = []) => script("unix/client", words, { cwd: folder.path, runtime });

    async function isServed(words: string[] = []): Promise<void> {
      await using client = call([...words, "你好"]);
      const stdout = "ok, Processing Request Completion！\n";
      expect(await client.result()).toEqual({ code: 0, stdout, stderr: "" });
    }

    /** Leaves the file of a server that was killed. */
    async function leaveStale(): Promise<void> {
      await using server = serve();
      expect(await server.next()).toBe("listening on lesson.sock");
      server.signal("SIGKILL");
      await server.ended();
      expect((await lstat(folder.at("lesson.sock"))).isSocket()).toBe(true);
    }

    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      test(`a file only for its owner, that ${signal} removes`, async () => {
        await using server = serve();
        expect(await server.next()).toBe("listening on lesson.sock");
        const path = folder.at("lesson.sock");
        expect(((await lstat(path)).mode & 0o777).toString(8)).toBe("600");
        await isServed();
        for (const line of ["connected", "> 你好", "hung up"]) {
          expect(await server.next()).toBe(`caller 1 ${line}`);
        }
        server.signal(signal);
        const { code, stderr } = await server.result();
        expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
        expect(server.seen.stdout).toHaveLength(4);
        expect(await exists(path)).toBe(false);
      });
    }

    test("the file of a dead server is replaced", async () => {
      await leaveStale();
      await using client = call(["hello"]);
      expect(await client.result()).toEqual(failure(
        "connect to lesson.sock: connection refused (ECONNREFUSED)\nhint: nobody listens there; start the server first",
      ));
      await using server = serve();
      expect(await server.next()).toBe("listening on lesson.sock");
      await isServed();
    });

    test("that of a living one is not", async () => {
      await using first = serve();
      await first.next();
      await using second = serve();
      expect(await second.result()).toEqual(failure(
        "lesson.sock: another server listens there (EADDRINUSE)\nhint: choose another place with --path",
      ));
      await isServed();
    });

    // On Bun 1.4 a full queue is ECONNREFUSED, too, and nothing tells its server from a dead one.
    if (runtime !== "bun") {
      test.skipIf(NEEDS_LINUX !== "")(
        `nor that of one that is too busy to be asked${NEEDS_LINUX}`,
        async () => {
          await using first = serve();
          await first.next();
          first.signal("SIGSTOP"); // it accepts nobody, and its queue fills up
          const callers: Socket[] = [];
          const full = Promise.withResolvers<string>();
          while (callers.length < 600) { // the queue has 512 places
            const caller = connect(folder.at("lesson.sock"));
            callers.push(caller.on("error", ({ code }: NodeJS.ErrnoException) => full.resolve(`${code}`)));
          }
          try {
            expect(await inTime(full.promise, "a full queue")).toBe("ECONNREFUSED"); // so Bun calls it; it is EAGAIN
            await using second = serve();
            const { code, stdout, stderr } = await second.result();
            expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
            expect(stderr).toEndWith(" (EAGAIN)\n");
          } finally {
            for (const caller of callers) caller.destroy();
          }
          first.signal("SIGCONT");
          await isServed();
        },
      );
    }

    test("nor is anything else", async () => {
      const path = folder.at("lesson.sock");
      await writeFile(path, "dear");
      await symlink("nowhere", folder.at("link"));
      for (const name of ["lesson.sock", "link"]) {
        await using server = serve(["--path", name]);
        expect(await server.result()).toEqual(
          failure(`${name}: exists already, and is not a socket (EEXIST)`),
        );
      }
      expect(await readFile(path, "utf8")).toBe("dear");
      expect(await exists(folder.at("link"))).toBe(true);
    });

    test("a folder that cannot be looked at is not a missing one", async () => {
      await symlink("loop", folder.at("loop"));
      await using server = serve(["--path", "loop/x/lesson.sock"]);
      expect((await server.result()).stderr).toMatch(/^error: loop\/x: .*\(ELOOP\)\n$/);
    });

    test("a folder that does not exist", async () => {
      await using server = serve(["--path", "none/lesson.sock"]);
      expect(await server.result()).toEqual(failure("none: no such folder (ENOENT)"));
      await using client = call(["--path", "none/lesson.sock", "hello"]);
      expect(await client.result()).toEqual(
        failure("connect to none/lesson.sock: no such file or folder (ENOENT)"),
      );
    });

    test.skipIf(NEEDS_LINUX !== "")(`a path of 107 bytes, and of 108${NEEDS_LINUX}`, async () => {
      const [longest, tooLong] = ["好".repeat(35) + "ab", "好".repeat(36)];
      await using server = serve(["--path", longest]);
      expect(await server.next()).toBe(`listening on ${longest}`);
      await isServed(["--path", longest]);
      for (const program of [serve(["--path", tooLong]), call(["--path", tooLong, "hello"])]) {
        await using _ = program;
        const what = `${tooLong}: a socket's path has at most 107 bytes (ENAMETOOLONG)`;
        expect(await program.result()).toEqual(failure(what, 2));
      }
    });

    test.skipIf(NEEDS_LINUX !== "")(`the longest abstract name, and a longer one${NEEDS_LINUX}`, async () => {
      // sun_path has 108 bytes, and the first is the zero byte. Bun 1.4 leaves the last one free.
      const most = runtime === "bun" ? 106 : 107;
      const unique = folder.path.padEnd(most, "x");
      const name = `@${unique}`;
      await using server = serve(["--path", name]);
      expect(await server.next()).toBe(`listening on ${name}`);
      const kernel = await readFile("/proc/net/unix", "utf8");
      expect(kernel.split("\n").some((line) => line.endsWith(` ${name}`))).toBe(true);
      await isServed(["--path", name]);
      for (const program of [serve(["--path", `${name}y`]), call(["--path", `${name}y`, "hello"])]) {
        await using _ = program;
        const what = `${name.slice(0, 100)}...: an abstract name has at most ${most} bytes (ENAMETOOLONG)`;
        expect(await program.result()).toEqual(failure(what, 2));
      }
    });

    test.skipIf(NEEDS_LINUX !== "")(`an abstract name is no file${NEEDS_LINUX}`, async () => {
      const name = `@${folder.path}`;
      await using server = serve(["--path", name]);
      expect(await server.next()).toBe(`listening on ${name}`);
      const kernel = await readFile("/proc/net/unix", "utf8"); // man 5 proc: an @ stands for the zero byte
      expect(kernel.split("\n").some((line) => line.endsWith(` ${name}`))).toBe(true);
      expect(await exists(folder.at(name))).toBe(false);
      await isServed(["--path", name]);
      await using second = serve(["--path", name]);
      expect(await second.result()).toEqual(failure(
        `listen on ${name}: address already in use (EADDRINUSE)\n` +
          "hint: another program listens there; choose another place with --path",
      ));
    });

    test("a dialog: one call, many questions", async () => {
      await using server = serve(["--reply", "好的", "--encoding", "gbk"]);
      await server.next();
      await using client = call(["--encoding", "gbk"]);
      client.type("一\n\nexit()\nnot sent\n");
      expect(await client.result()).toEqual({
        code: 0,
        stdout: "好的\n好的\n",
        stderr: "hint: a stream cannot carry an empty message\n",
      });
      expect(await server.next()).toBe("caller 1 connected");
      expect(await server.next()).toBe("caller 1 > 一");
      expect(await server.next()).toBe("caller 1 > exit()");
      expect(await server.next()).toBe("caller 1 hung up");
    });

    test("a server that hangs up without a reply", async () => {
      await using server: Server = createServer((socket) => socket.once("data", () => socket.end()));
      await once(server.listen(folder.at("lesson.sock")), "listening");
      await using client = call(["hello"]);
      expect(await client.result()).toEqual(failure("lesson.sock: closed the connection (EPIPE)"));
    });

    test.skipIf(NEEDS_PYTHON !== "")(`Python calls, and is called${NEEDS_PYTHON}`, async () => {
      await using server = serve();
      await server.next();
      await using caller = python(`
s.connect("lesson.sock"); s.sendall("你好".encode())
print(s.recv(1024).decode())`);
      expect((await caller.result()).stdout).toBe("ok, Processing Request Completion！\n");

      await using listener = python(`
s.bind("python.sock"); s.listen(); print("ready", flush=True)
c, peer = s.accept(); print(repr(peer), c.recv(1024).decode()); c.sendall("好的".encode()); c.close()`);
      expect(await listener.next()).toBe("ready");
      await using client = call(["--path", "python.sock", "你好"]);
      expect(await client.result()).toEqual({ code: 0, stdout: "好的\n", stderr: "" });
      expect(await listener.next()).toBe("'' 你好");
    });

    test.skipIf(NEEDS_ROOT + NEEDS_PYTHON !== "")(
      `another user may not call${NEEDS_ROOT}${NEEDS_PYTHON}`,
      async () => {
        await chmod(folder.path, 0o755);
        await using server = serve();
        await server.next();
        const stranger = "import os; os.setuid(65534)\ntry: s.connect('lesson.sock'); print('served')\n" +
          "except PermissionError: print('EACCES')";
        await using refused = python(stranger);
        expect((await refused.result()).stdout).toBe("EACCES\n");
        await chmod(folder.at("lesson.sock"), 0o666); // it is the file that has kept the other out
        await using served = python(stranger);
        expect((await served.result()).stdout).toBe("served\n");
      },
    );
  });
}

/** Runs a program in Python, which has a socket `s`. */
function python(program: string): Program {
  const words = ["python3", "-c", `import socket; s = socket.socket(socket.AF_UNIX)\n${program}`];
  return start(words, { cwd: folder.path });
}
