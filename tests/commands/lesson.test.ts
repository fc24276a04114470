/** `make lesson` and `make lessons`: what a learner sees beside the terminals. (thorough) */
import { expect, test } from "bun:test";
import process from "node:process";
import { find } from "../engine/lessons.ts";
import { CAN_BE_ALONE } from "../engine/alone.ts";
import { EVERYTHING, start } from "../engine/program.ts";
import { terminal } from "../engine/terminal.ts";

const LIMIT = 30_000;
const COLOUR = "\x1b[";

const lesson = (words: string[], env: Record<string, string> = {}) =>
  start(["bun", "tests/commands/lesson.ts", ...words], { env, limit: LIMIT }).result();

test("a lesson ends with what to watch out for, what to try, and the lesson that comes next", async () => {
  const { code, stdout, stderr } = await lesson(["3.4"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const [server, client] = find("3.4").map(({ head }) => head);
  for (const { title, idea } of [server, client]) {
    expect(stdout.replaceAll(/\s+/g, " ")).toContain(`3.4 ${title}: ${idea}`);
  }
  expect(stdout.match(/^Watch out {2}\S/gm)).toHaveLength(2);
  expect(stdout.match(/^Try {8}\S/gm)).toHaveLength(2);
  expect(stdout).toEndWith(`\nNext       make lesson L=3.5   3.5 ${find("3.5")[0].head.title}\n`);
}, LIMIT);

test("in Chinese where the person's programs speak it", async () => {
  const { head } = find("3.2")[0];
  const titleWith = async (env: Record<string, string>, title: string) =>
    expect((await lesson([], env)).stdout).toContain(` ${title}\n`);
  await titleWith({ LANG: "zh_CN.UTF-8" }, head.chinese.title);
  await titleWith({ LANG: "zh_CN", LC_ALL: "C" }, head.title);
  if (!EVERYTHING) return;
  await titleWith({ LANG: "de_DE", LC_MESSAGES: "zh_TW" }, head.chinese.title);
  await titleWith({ LANG: "" }, head.title);
  const { stdout } = await lesson(["3.5"], { LANG: "zh_CN.UTF-8" });
  expect(stdout).toContain(`3.5 ${find("3.5")[0].head.chinese.title}：`);
  for (const note of ["注意", "试试"]) {
    const { text } = find("3.5")[0].head.notes.find(({ label }) => label === note)!;
    const shown = stdout.slice(stdout.indexOf(`\n${note} `)).replaceAll(/\s+/g, "");
    expect(shown).toStartWith(note + text.replaceAll(/\s+/g, ""));
  }
  expect(stdout).not.toMatch(/^Watch out|^Try|[一-龥] [一-龥]/m);
  expect(stdout).toMatch(/^下一课 {5}make lesson L=3\.6 {3}3\.6 .*\n$/m);
}, LIMIT);

test("colours on a terminal alone, unless NO_COLOR or FORCE_COLOR says otherwise", async () => {
  const isColoured = async (env: Record<string, string>) =>
    (await lesson(["3.5"], { NO_COLOR: "", ...env })).stdout.includes(COLOUR); // an empty NO_COLOR does not count
  expect(await isColoured({ FORCE_COLOR: "1" })).toBe(true);
  if (process.platform === "win32") return; // no pseudo-terminal
  const isColouredInTerminal = async (env: Record<string, string>) => {
    const words = ["bun", "tests/commands/lesson.ts", "3.5"];
    await using person = terminal(words, { env: { NO_COLOR: "", ...env }, limit: LIMIT });
    expect(await person.ended()).toBe(0);
    return person.written.includes(COLOUR);
  };
  expect(await isColouredInTerminal({ NO_COLOR: "1" })).toBe(false);
  if (!EVERYTHING) return;
  expect(await isColoured({})).toBe(false);
  expect(await isColouredInTerminal({})).toBe(true);
  expect(await isColouredInTerminal({ FORCE_COLOR: "0" })).toBe(false);
}, LIMIT);

test.skipIf(!CAN_BE_ALONE)(
  "a lesson that needs the rights of root gets them in a network of its own (needs unshare, ip)",
  async () => {
    const { code, stdout, stderr } = await lesson(["5.2"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^ {5}\d\.\d{3} \|\\ {2}PSH ACK {2}seq 1 {2}ack 1 {2}6 bytes {2}"你好" +\|$/m); // not cut
    expect(stdout).toMatch(/^Watch out {2}Bun only/m);
  },
  LIMIT,
);

for (const name of EVERYTHING ? ["3.3", "3.8", "4.5"] : ["tcp/servers/worker-threads"]) {
  test.skipIf(process.platform === "win32")(`${name}: no line is wider than the terminal`, async () => {
    const words = ["bun", "tests/commands/lesson.ts", name];
    await using person = terminal(words, { columns: 80, limit: LIMIT });
    expect(await person.ended()).toBe(0);
    const lines = person.written.split("\r\n");
    expect(lines.filter((line) => Bun.stringWidth(line) > 80)).toEqual([]);
  }, LIMIT);
}
