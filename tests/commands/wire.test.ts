/** `make wire`: a lesson, and the ladder of what it puts on the wire. (thorough) */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { CAN_BE_ALONE } from "../engine/alone.ts";
import { temporaryFolder } from "../engine/files.ts";
import { ROOT, start } from "../engine/program.ts";

const LIMIT = 60_000;
const wire = (lesson: string, env: Record<string, string> = {}) =>
  start(["bun", "tests/commands/wire.ts", lesson], { env, limit: LIMIT }).result();

/** How a picture looks, and what the programs say in it. */
const style = (svg: string) => /<style>[^]*<\/style>/.exec(svg)?.[0];
const saidIn = (svg: string) =>
  [...svg.matchAll(/class="say".*?>(.*)<\/text>/g)].map(([, text]) => text.replace(/(?<=:)\d{5}/, "PORT"))
    .sort();

test.skipIf(!CAN_BE_ALONE)(
  "3.1: the packets, and what its programs print between them (needs unshare, ip)",
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
    const readme = readFileSync(join(ROOT, "docs/wire-3.1.svg"), "utf8"); // the same, made some time ago
    expect(style(readme)).toBe(style(svg));
    expect(saidIn(readme)).toEqual(saidIn(svg));
    expect(readFileSync(PCAP).readUInt32LE(0)).toBe(0xa1b23c4d);
  },
  LIMIT,
);

test.skipIf(!CAN_BE_ALONE)(
  "a lesson without packets, a file that cannot be written, no lesson (needs unshare, ip)",
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
  const env = { PATH: join(ROOT, "node_modules", ".bin") }; // without unshare
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, "tests/commands/wire.ts", "3.1"], {
    cwd: ROOT,
    env,
  });
  expect({ exitCode, stdout: `${stdout}`, stderr: `${stderr}` }).toEqual({
    exitCode: 1,
    stdout: "",
    stderr: "error: make wire: this machine lets us make no network (unshare -Urn, ip) (ENOSYS)\n",
  });
});
