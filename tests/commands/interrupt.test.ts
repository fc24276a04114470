/** Ctrl-C in demo, lesson and test: the command ends at once, and nothing of it stays. (thorough) */
import { expect, setDefaultTimeout, test } from "bun:test";
import { readdir } from "node:fs/promises";
import process from "node:process";
import { temporaryFolder } from "../engine/files.ts";
import { EVERYTHING, type Program, start } from "../engine/program.ts";

setDefaultTimeout(60_000); // what waits in a test says itself for what it waited too long

/** Waits until a program has printed a text. */
async function seen(program: Program, text: string): Promise<void> {
  for (let line = await program.next(); !line?.includes(text); line = await program.next()) {
    if (line === undefined) throw new Error(`it has ended without ${text}`);
  }
}

/** The commands, and the moments: what was printed last. */
const MOMENTS: [command: string, name: string, moments: string[]][] = [
  ["demo", "", ["A dialog over TCP", "listening on", "> 查余额", "A real file of", "> bin/bun.exe"]],
  ["lesson", "3.3", ["Serve", "listening on", "> 查余额", "Keep"]],
  ["lesson", "4.5", ["logged in"]],
];

for (const [command, name, moments] of MOMENTS) {
  for (const moment of EVERYTHING ? moments : moments.slice(1, 2)) {
    test.skipIf(process.platform === "win32")(`${command} ${name}, at "${moment}"`, async () => {
      await using folder = await temporaryFolder();
      await using program = start(["bun", `tests/commands/${command}.ts`, name], {
        env: { TMPDIR: folder.path },
        limit: 30_000,
      });
      await seen(program, moment);
      program.signal("SIGINT");
      expect(await program.result()).toMatchObject({ code: 130, stderr: "" });
      expect(program.orphans()).toEqual([]);
      expect(await readdir(folder.path)).toEqual([]);
    });
  }
}

for (const signal of EVERYTHING ? ["SIGINT", "SIGTERM", "SIGHUP"] as const : ["SIGINT"] as const) {
  test.skipIf(process.platform === "win32")(`test, ${signal}`, async () => {
    await using folder = await temporaryFolder();
    const words = ["bun", "tests/commands/test.ts", "2.6"];
    await using program = start(words, { env: { TMPDIR: folder.path }, limit: 30_000 });
    const isUnderTest = () => program.orphans().some(({ command }) => /\bscripts\/udp\b/.test(command));
    for (const end = Date.now() + 30_000; !isUnderTest(); await Bun.sleep(20)) {
      if (Date.now() > end) throw new Error("no lesson is under test");
    }
    program.signal(signal);
    expect(await program.ended()).toBe({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 }[signal]);
    expect(program.orphans()).toEqual([]);
    expect(await readdir(folder.path)).toEqual([]);
  });
}
