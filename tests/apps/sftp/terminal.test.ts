/** Lesson 4.5, the shell: a person at a terminal; passwords and Tab. (thorough) */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { EVERYTHING, EVERYWHERE, hurried, loaded, RUNTIMES, start } from "../../engine/program.ts";
import { listen, until } from "../../engine/sockets.ts";
import { terminal } from "../../engine/terminal.ts";
import {
  atTerminal,
  contact,
  FILE,
  folder,
  HAS_SSHD,
  impostor,
  keys,
  listing,
  logIn,
  makeKeys,
  needsSshd,
  PASSWORD,
  session,
  shell,
  sshd,
  STATUS_CODE,
  trust,
  USER,
} from "./shell.ts";

makeKeys();
setDefaultTimeout(60_000); // what waits in a test says itself for what it waited too long

describe("passwords", () => {
  for (const runtime of EVERYWHERE) {
    test(`piped in on ${runtime}: asked at most three times`, async () => {
      await using box = await folder();
      await using server = await impostor();
      const who = `${USER}@[127.0.0.1]:${server.port}`;
      const wrong = `error: ${who}: wrong password (EACCES)\n`;
      const first = await session(shell(box, server.port, { runtime, words: [] }), [
        "yes",
        "wrong",
        "s3cret",
        "pwd",
      ]);
      expect(first).toEqual({ code: 0, stdout: `${contact(server.port)}/\n`, stderr: wrong });
      const never = await session(shell(box, server.port, { runtime, words: [] }), ["1", "2", "3", "4", "5"]);
      expect(never).toEqual({
        code: 1,
        stdout: "",
        stderr: `${wrong}${wrong}error: ${who}: login refused (EACCES)\n`,
      });
      expect(server.passwords).toEqual(["wrong", "s3cret", "1", "2", "3"]);
      const silent = await session(shell(box, server.port, { runtime, words: [] }), []);
      expect(silent).toEqual({ code: 1, stdout: "", stderr: `error: ${who}: login refused (EACCES)\n` });
    });

    test(`typed at a terminal on ${runtime}: unseen, edited, and in no history`, async () => {
      await using box = await folder();
      await using server = await impostor({ READDIR: (sftp, id) => sftp.status(id, STATUS_CODE.EOF) });
      await using person = atTerminal(box, server.port, runtime);
      await person.until("itself\n> ");
      person.type("yes\rahead\rmore"); // too quick to have seen what is asked next
      await person.until("password of me@[127.0.0.1]:");
      person.type("other");
      person.press("Ctrl-U");
      person.type("s3creX");
      person.press("Backspace");
      person.type("t");
      person.press("Up", "Down", "Enter");
      await person.until("sftp> ");
      person.press("Up");
      person.press("Up");
      person.type("pwd");
      person.press("Enter");
      await person.until("sftp> pwd\n/\nsftp> ");
      expect(server.passwords).toEqual(["s3cret"]);
      for (const secret of ["s3cre", "other", "ahead", "more"]) expect(person.written).not.toContain(secret);
      person.type("pwd\rpwd\rpw"); // typed ahead
      await person.until("sftp> pwd\n/\nsftp> pwd\n/\nsftp> pwd\n/\nsftp> pw");
      person.press("Ctrl-U");
      person.press("Ctrl-D");
      expect(await person.ended()).toBe(0);
      expect(person.isCooked).toBe(true);
      expect(person.screen).toEndWith("sftp> \n");

      // Ctrl-C in the middle of a password.
      await using other = atTerminal(box, server.port, runtime);
      await other.until("password of");
      other.type("secret");
      await Bun.sleep(50); // nothing shows that it was typed
      other.press("Ctrl-C");
      expect(await other.ended()).toBe(130);
      expect(other.isCooked).toBe(true);
      expect(other.written).not.toContain("secret");
    });
  }

  const QUESTIONS = [{ prompt: "Password: ", echo: false }, { prompt: "Code\x1b[2J: ", echo: true }];

  for (const runtime of EVERYWHERE) {
    test(`a server that asks questions instead, on ${runtime}: piped in, and typed`, async () => {
      await using box = await folder();
      await using server = await impostor({}, "s3cret", QUESTIONS);
      await trust(box, server.port);
      const who = `${USER}@[127.0.0.1]:${server.port}`;
      const lines = ["wrong", "1", "s3cret", "2", "pwd"];
      expect(await session(shell(box, server.port, { runtime, words: [] }), lines)).toEqual({
        code: 0,
        stdout: "Two \\x1b[2Jsteps\nLook at your phone.\n".repeat(2) + "/\n",
        stderr: `error: ${who}: wrong password (EACCES)\n`,
      });
      expect(server.passwords).toEqual(["wrong", "1", "s3cret", "2"]);
      await using person = atTerminal(box, server.port, runtime);
      await person.until("phone.\nPassword: ");
      person.type("s3cret");
      person.press("Enter");
      await person.until("Code\\x1b[2J: ");
      person.type("123456");
      await person.until(": 123456"); // seen
      person.press("Enter");
      await person.until("sftp> ");
      person.press("Ctrl-D");
      expect(await person.ended()).toBe(0);
      expect(person.written).not.toContain("s3cret");
      expect(person.written).not.toContain("\x1b[2J");
    });
  }

  test("where stdout is a file, questions and prompts are on the screen, and not in it", async () => {
    await using box = await folder();
    await using server = await impostor();
    const words = ["scripts/apps/sftp.ts", "me@127.0.0.1", "--port", `${server.port}`];
    const command = [...RUNTIMES.bun, ...words];
    await using person = terminal(["sh", "-c", 'exec "$@" >"$0"', box.at("out"), ...command], {
      env: { HOME: box.at("home"), SSH_AUTH_SOCK: "" },
    });
    await person.until("is this the right key? answer yes, or the fingerprint itself\n> ");
    expect(person.screen).toContain(" is unknown; its ED25519 key is\nSHA256:");
    person.type("yes");
    person.press("Enter");
    await logIn(person);
    person.type("pwd");
    person.press("Enter");
    await person.until("sftp> pwd\nsftp> ");
    person.press("Ctrl-D");
    expect(await person.ended()).toBe(0);
    expect(await readFile(box.at("out"), "utf8")).toBe("/\n");
  });

  test("a server that asks without end is left", async () => {
    await using box = await folder();
    const many = Array.from({ length: 100 }, () => ({ prompt: "?", echo: true }));
    await using server = await impostor({}, "s3cret", many);
    await trust(box, server.port);
    const result = await session(shell(box, server.port, PASSWORD), Array(200).fill("no"));
    expect(result).toEqual({
      code: 1,
      stdout: "",
      stderr: `error: [127.0.0.1]:${server.port}: asks without end (EPROTO)\n`,
    });
  });

  test("a server that hangs up while one types is told, and the terminal is as before", async () => {
    await using box = await folder();
    await using server = await impostor();
    await trust(box, server.port);
    for (const isIn of [false, true]) {
      await using person = atTerminal(box, server.port);
      if (!isIn) await person.until("password of");
      else {
        await logIn(person);
        person.type("ls");
        await person.until("sftp> ls");
      }
      server.hangUp();
      expect(await person.ended()).toBe(1);
      expect(person.screen).toEndWith(
        `\nerror: [127.0.0.1]:${server.port}: connection closed by peer (EPIPE)\n`,
      );
      expect(person.isCooked).toBe(true);
    }
  });
});

describe("the Tab key", () => {
  const NAMES = [
    "alpha.txt",
    "alpine",
    "two words",
    'a"quote',
    "it's",
    "report' '.bashrc",
    "c d",
    "c'd",
    "bad-猫",
    "bad-狗",
    "evil\x1b[2J",
    "evil\u202etxt",
  ];

  for (const runtime of EVERYWHERE) {
    test(`commands and names of both sides on ${runtime}`, async () => {
      await using box = await folder();
      await using server = await impostor(listing(NAMES, FILE));
      await trust(box, server.port);
      await mkdir(box.here("my folder"));
      await mkdir(box.at("home", "sub"));
      await using person = atTerminal(box, server.port, runtime);
      await logIn(person);
      const rows: [typed: string, completed: string][] = [
        ["lp", "lpwd "],
        ["get alpi", "get alpine "],
        ["get alp", "get alp"],
        ["get tw", "get two\\ words "],
        ["get 'tw", "get 'two words' "],
        ['get "a\\"', 'get "a\\"quote" '],
        ["get it", "get it\\'s "],
        ["get 'it", "get 'it'\\''s' "],
        ['get "it', `get "it's" `],
        ["get 'rep", "get 'report'\\'' '\\''.bashrc' "],
        ['get "rep', "get \"report' '.bashrc\" "],
        ["get rep", "get report\\'\\ \\'.bashrc "],
        ["get c", "get c"], // c d and c'd: half a backslash is not written
        ["get 'c", "get 'c"],
        ["get ba", "get bad-"], // what all have in common, in whole characters
        ["get -r 'tw", "get -r 'two words' "],
        ['put "', 'put "my folder/'],
        ["put '", "put 'my folder/"],
        ["lcd ~/s", "lcd ~/sub/"],
        ["lcd m", "lcd my\\ folder/"],
        ["put m", "put my\\ folder/"],
        ["get -r it", "get -r it\\'s "],
        ["rename alpine it", "rename alpine it\\'s "],
        ["get ev", "get ev"],
        ["nope al", "nope al"],
      ];
      for (const [typed, completed] of rows) {
        const shows = (text: string) => person.screen.includes(`sftp> ${text}`);
        while (true) {
          person.type(typed);
          await person.until(`sftp> ${typed}`);
          person.type("\t");
          if (completed !== typed) await person.until(`sftp> ${completed}`);
          else await Bun.sleep(50); // nothing shows that Tab was heard
          person.type(`|`); // a mark behind what is there
          await until(() => shows(`${completed}|`) || shows(`${typed}\t|`), completed);
          person.press("Ctrl-U");
          if (!shows(`${typed}\t|`)) break; // in one piece with the next key it is text: once more
          await until(() => !shows(typed), "an empty line");
        }
        person.type("help");
        await person.until("sftp> help");
        person.press("Ctrl-U");
        await Bun.sleep(5);
      }
      expect(person.written).not.toContain("\x1b[2J");
      expect(person.written).not.toContain("\u202e");
      person.press("Ctrl-C");
      expect(await person.ended()).toBe(130);
      expect(person.isCooked).toBe(true);
    });
  }
});

test("a server that is silent for a minute is left", async () => {
  for (const runtime of EVERYWHERE) {
    await using box = await folder();
    await using silent = await listen();
    const words = ["me@127.0.0.1", "--port", `${silent.port}`];
    await using program = hurried(600, "apps/sftp", words, { runtime, env: { HOME: box.at("home") } });
    const { code, stdout, stderr } = await program.result();
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^error: .*: silent for 60 seconds \(ETIMEDOUT\)\n$/);
  }
});

if (EVERYTHING) {
  for (const runtime of EVERYWHERE) {
    test.skipIf(!HAS_SSHD)(
      `a pipe whose reader pauses for longer than a minute, on ${runtime}${needsSshd}`,
      async () => {
        await using box = await folder();
        await using server = await sshd(box);
        await trust(box, server.port);
        await writeFile(box.there("file"), Buffer.alloc(700_001));
        await using reader = start(["sh", "-c", "mkfifo pipe; exec 3<pipe; sleep 6; wc -c <&3"], {
          cwd: box.here(),
        });
        await until(() => existsSync(box.here("pipe")), "the pipe");
        const words = ["127.0.0.1", "--port", `${server.port}`, "--identity", join(keys, "user")];
        const env = { HOME: box.at("home"), SSH_AUTH_SOCK: "" };
        await using program = hurried(20, "apps/sftp", words, { runtime, env, cwd: box.here() }); // a minute is three seconds
        program.type("get file pipe\n");
        program.endOfInput();
        expect(await program.result()).toEqual({
          code: 0,
          stdout: "file -> pipe  700001 bytes\n",
          stderr: "",
        });
        expect((await reader.result()).stdout.trim()).toBe("700001");
      },
    );
  }

  test("a person who types for longer than a minute is not hung up on, and a silent server is, afterwards", async () => {
    await using box = await folder();
    await using server = await impostor({ READDIR: () => {} }); // never says what a folder holds
    await trust(box, server.port);
    const words = ["me@127.0.0.1", "--port", `${server.port}`];
    await using person = terminal(loaded("hurry", "apps/sftp", words), {
      cwd: box.here(),
      env: { HOME: box.at("home"), SSH_AUTH_SOCK: "", HURRY: "20" }, // a minute is three seconds
    });
    await logIn(person);
    person.type("ls");
    await person.until("sftp> ls");
    await Bun.sleep(5000); // only time can show that nothing happens
    person.type(" -l");
    await person.until("sftp> ls -l");
    person.press("Enter");
    expect(await person.ended()).toBe(1);
    expect(person.screen).toEndWith(": silent for 60 seconds (ETIMEDOUT)\n");
  });
}
