/** `make wire`: a lesson, and the ladder of what it puts on the wire. (thorough) */
import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { temporaryFolder } from "../engine/files.ts";
import { type Program, ROOT, start } from "../engine/program.ts";
import { missing } from "../engine/recording.ts";

const LIMIT = 60_000;
const wire = (lesson: string, env: Record<string, string> = {}) =>
  start(["bun", "tests/commands/wire.ts", lesson], { env, limit: LIMIT }).result();

/** How a picture looks, and what the programs say in it. */
const style = (svg: string) => /<style>[^]*<\/style>/.exec(svg)?.[0];
const saidIn = (svg: string) =>
  [...svg.matchAll(/class="say".*?>(.*)<\/text>/g)].map(([, text]) => text.replace(/(?<=:)\d{5}/, "PORT"))
    .sort();

test.skipIf(Boolean(missing))(
  "3.1: the packets, and what its programs print between them (needs unshare, nsenter, mount, ip)",
  async () => {
    await using folder = temporaryFolder();
    const [SVG, PCAP] = [folder.at("ladder.svg"), folder.at("ladder.pcap")];
    const { code, stdout, stderr } = await wire("3.1", { SVG, PCAP });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const order = [
      /\| +\[ listening on 127\.0\.0\.1:7890 \]\|/,
      /\|\[ \$ bun scripts\/tcp\/client\.ts 你好 \] +\|/,
      /^ +127\.0\.0\.1:\d+ +127\.0\.0\.1:7890$/m,
      /\\ {2}SYN {2}seq 0/,
      /SYN ACK {2}seq 0 {2}ack 1 {2}\//,
      /\\ {2}PSH ACK {2}seq 1 {2}ack 1 {2}6 bytes {2}"你好"/,
      /\| +\[ 127\.0\.0\.1:\d+ > 你好 \]\|/,
    ].map((line) => stdout.search(line));
    expect(order).not.toContain(-1);
    expect(order.toSorted((a, b) => a - b)).toEqual(order);
    expect(stdout.search(/\|\[ ok, Processing Request Completion！ \]/)).toBeGreaterThan(
      stdout.search(/PSH ACK {2}seq 1 {2}ack \d {2}36 bytes {2}"ok/),
    );
    expect(stdout.match(/FIN ACK {2}seq/g)).toHaveLength(2);
    const svg = readFileSync(SVG, "utf8");
    expect(svg.match(/class="head"/g)).toHaveLength(stdout.match(/`-+>\||\|<-+'/g)?.length ?? 0);
    expect(svg).toContain(">listening on 127.0.0.1:7890</text>");
    const readme = readFileSync(join(ROOT, "site/wire-3.1.svg"), "utf8"); // the same, made some time ago
    expect(style(readme)).toBe(style(svg));
    expect(saidIn(readme)).toEqual(saidIn(svg));
    expect(readFileSync(PCAP).readUInt32LE(0)).toBe(0xa1b23c4d);
  },
  LIMIT,
);

test.skipIf(Boolean(missing))(
  "a lesson without packets, a file that cannot be written, no lesson (needs unshare, nsenter, mount, ip)",
  async () => {
    const { code, stdout } = await wire("3.10");
    expect(code).toBe(0);
    expect(stdout).toEndWith("scripts/unix/server.ts: no packet at all\n");
    const SVG = "/no/such/ladder.svg";
    expect(await wire("2.1", { SVG })).toEqual({
      code: 1,
      stdout: "",
      stderr: `error: open ${SVG}: no such file or folder (ENOENT)\n`,
    });
    const PCAP = "/no/such/ladder.pcap";
    expect(await wire("2.1", { PCAP })).toEqual({
      code: 1,
      stdout: "",
      stderr: `error: open ${PCAP}: no such file or folder (ENOENT)\n`,
    });
    expect((await wire("9.9")).stderr).toStartWith("error: L=9.9: no such lesson (ENOENT)");
  },
  LIMIT,
);

test("where no network can be made, one sentence", () => {
  const env = { PATH: join(ROOT, "node_modules", ".bin") }; // without unshare and the rest
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, "tests/commands/wire.ts", "3.1"], {
    cwd: ROOT,
    env,
  });
  expect({ exitCode, stdout: `${stdout}` }).toEqual({ exitCode: 1, stdout: "" });
  const hint = "hint: install util-linux and iproute2\n";
  expect(`${stderr}`).toBe(
    process.platform === "linux"
      ? `error: make wire: unshare, nsenter, mount, ip: not found (ENOSYS)\n${hint}`
      : `error: make wire: network namespaces are a part of Linux, and this is ${process.platform} (ENOSYS)\n`,
  );
});

describe("in the middle of a lesson", () => {
  const itself = /^bun tests\/commands\/wire\.ts/;
  const parts: [signal: NodeJS.Signals, part: RegExp, code: number, stderr: RegExp][] = [
    ["SIGINT", itself, 130, /^$/],
    ["SIGTERM", itself, 143, /^$/],
    ["SIGHUP", itself, 129, /^$/],
    ["SIGKILL", itself, 137, /^$/],
    ["SIGKILL", /^bun \S+recording\.ts/, 1, /^ended with exit code 137\n$/],
    ["SIGKILL", /^nsenter .*recording\.ts/, 1, /^ended with exit code 137\n$/],
    ["SIGKILL", /^unshare /, 1, /^ended with exit code \d+\n$/],
    ["SIGKILL", /^cat$/, 1, /^ended with exit code \d+\n$/],
    ["SIGKILL", /^bun scripts\/raw\/wire\.ts/, 1, /^wire\.ts ended with exit code 137\n$/],
    [
      "SIGKILL",
      /^bun scripts\/apps\/messenger-server\.ts/,
      1,
      /^\nterminal 1: \$ bun scripts\/apps\/messenger-server\.ts\n/,
    ],
  ];
  for (const [signal, part, code, stderr] of parts) {
    test.skipIf(Boolean(missing))(
      `${signal} of ${part.source} leaves nothing (needs unshare, nsenter, mount, ip)`,
      async () => {
        await using folder = temporaryFolder();
        mkdirSync(folder.at("tmp"));
        const [SVG, PCAP] = [folder.at("ladder.svg"), folder.at("ladder.pcap")];
        writeFileSync(SVG, "an older picture");
        await using program = start(["bun", "tests/commands/wire.ts", "apps/messenger-client"], {
          env: { SVG, PCAP, TMPDIR: folder.at("tmp") },
          limit: LIMIT,
        });
        await until(
          program,
          (commands) => commands.some((command) => command.includes("messenger-client.ts 张三")),
        );
        const found = program.orphans().find(({ command }) => part.test(command));
        process.kill(found?.pid as number, signal);
        const result = await program.result();
        expect({ ...result, stdout: "" }).toEqual({
          code,
          stdout: "",
          stderr: expect.stringMatching(stderr),
        });
        await until(program, (commands) => commands.length === 0);
        expect(readdirSync(folder.at("tmp"))).toEqual([]);
        if (part.source.includes("messenger")) return; // what its programs did until then is drawn
        expect(result.stdout).toBe("");
        expect(readFileSync(SVG, "utf8")).toBe("an older picture");
        expect(existsSync(PCAP)).toBe(false);
      },
      LIMIT,
    );
  }

  test.skipIf(Boolean(missing))("SIGKILL of make itself (needs unshare, nsenter, mount, ip)", async () => {
    const words = ["sh", "-c", "bun tests/commands/wire.ts apps/messenger-client; :"];
    await using program = start(words, { limit: LIMIT });
    await until(
      program,
      (commands) => commands.some((command) => command.includes("messenger-client.ts 张三")),
    );
    process.kill(program.pid, "SIGKILL");
    await until(program, (commands) => commands.length === 0);
    expect(await program.result()).toEqual({ code: 137, stdout: "", stderr: "" }); // it was not played to its end
  }, LIMIT);
});

/** Waits until what a program has started is as wanted. */
async function until(program: Program, isWanted: (commands: string[]) => boolean): Promise<void> {
  const commands = () => program.orphans().map(({ command }) => command);
  for (const end = Date.now() + LIMIT; !isWanted(commands()); await Bun.sleep(20)) {
    if (Date.now() > end) throw new Error(commands().join("\n"));
  }
}
