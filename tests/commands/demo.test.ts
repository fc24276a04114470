/** `make demo`: what it ends with. (thorough) */
import { expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";
import { temporaryFolder } from "../engine/files.ts";
import { ROOT, start } from "../engine/program.ts";
import { missing } from "../engine/recording.ts";
import { terminal } from "../engine/terminal.ts";

setDefaultTimeout(120_000);

const DEMO = ["bun", "tests/commands/demo.ts"];
const limit = 60_000;

/** What must be there in any case. */
function expectWhole(text: string): void {
  expect(text).toMatch(/listening on 127\.0\.0\.1:\d+ +\|/);
  expect(text).toMatch(/\| ok, Processing Request Completion！/);
  expect(text).toContain("They are equal.\n");
  expect(text.trimEnd()).toEndWith("README.md");
}

/** The ladder of the dialog: one connection, two questions, two answers, two ends. */
function expectLadder(text: string): void {
  const order = [
    "The dialog again",
    "[ listening on 127.0.0.1:10500 ]|",
    "\\  SYN  seq 0",
    "SYN ACK  seq 0  ack 1  /|",
    '9 bytes  "查余额"',
    "36 bytes",
    '4 bytes  "exit"',
    "36 bytes",
    "FIN ACK",
    "FIN ACK",
  ];
  expect(text).toContain("hung up ]|");
  let at = 0;
  for (const part of order) {
    const found = text.indexOf(part, at);
    expect(found, part).toBeGreaterThan(-1);
    at = found + part.length;
  }
}

test.skipIf(Boolean(missing))(
  "in a pipe: the ladder of its own dialog (needs unshare, nsenter, mount, ip)",
  async () => {
    await using program = start(DEMO, { limit });
    const { code, stdout, stderr } = await program.result();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expectWhole(stdout);
    expectLadder(stdout);
  },
);

for (const columns of [80, 76]) {
  test.skipIf(Boolean(missing))(
    `in a terminal of ${columns} columns (needs unshare, nsenter, mount, ip)`,
    async () => {
      await using person = terminal(DEMO, { limit, columns });
      expect(await person.ended()).toBe(0);
      if (columns === 80) expectLadder(person.screen);
      else expect(person.screen).not.toContain("seq 0"); // no room for it
      expect(person.screen).toContain("They are equal.");
    },
  );
}

test.skipIf(process.platform === "win32")("where no network can be made, it ends without", async () => {
  await using folder = temporaryFolder();
  symlinkSync("/bin/sh", folder.at("sh")); // and no unshare
  const env = { PATH: [join(ROOT, "node_modules/.bin"), folder.path].join(delimiter), TMPDIR: folder.path };
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, ...DEMO.slice(1)], {
    cwd: ROOT,
    env,
  });
  expect({ exitCode, stderr: `${stderr}` }).toEqual({ exitCode: 0, stderr: "" });
  expectWhole(`${stdout}`);
  expect(`${stdout}`).not.toContain("seq 0");
});

test.skipIf(Boolean(missing))(
  "where packets cannot be watched, it ends without (needs unshare, nsenter, mount, ip, setpriv)",
  async () => {
    await using folder = temporaryFolder();
    mkdirSync(folder.at("bin"));
    const real = Bun.which("unshare");
    writeFileSync(
      folder.at("bin/unshare"),
      `#!/bin/sh\nflags=$1; shift\nexec ${real} $flags setpriv --bounding-set=-net_raw --inh-caps=-net_raw "$@"\n`,
    );
    chmodSync(folder.at("bin/unshare"), 0o755);
    await using program = start(DEMO, {
      env: { PATH: [folder.at("bin"), process.env.PATH].join(delimiter) },
      limit,
    });
    const { code, stdout, stderr } = await program.result();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expectWhole(stdout);
    expect(stdout).not.toContain("seq 0");
  },
);
