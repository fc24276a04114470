/**
 * The bare programs: each says the truth in its head, runs alone in a folder outside the project, talks to the whole
 * lesson and to the Python program, and outlives what a peer can do.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { playBare } from "../engine/bare.ts";
import { playInTime } from "../engine/differences.ts";
import { play } from "../engine/engine.ts";
import { barePrograms } from "../engine/lessons.ts";
import {
  EVERYTHING,
  EVERYWHERE,
  type Program,
  ROOT,
  RUNTIMES,
  script,
  start as run,
} from "../engine/program.ts";
import { temporaryFolder } from "../engine/files.ts";
import { call, isReceived, letterbox, listen, settled } from "../engine/sockets.ts";

setDefaultTimeout(60_000);

const NAMES = [
  ..."send receive echo-server echo-client chat broadcast-send broadcast-receive multicast-send multicast-receive"
    .split(" ").map((name) => `udp/${name}`),
  ..."server client many-clients-server many-requests-server dialog-client time-server time-client framing-server"
    .split(" ").map((name) => `tcp/${name}`),
  ...["tcp/framing-client", "tcp/picture-server", "tcp/picture-client", "unix/server", "unix/client"],
  ...["apps/download-basic-server", "apps/download-basic-client", "apps/port-scan"],
];
const all = barePrograms().map((program) => ({
  ...program,
  name: program.path.slice(8, -3).replace("/bare", ""),
}));

test("each lesson that must have a bare program has one", () => {
  expect(all.map(({ name }) => name)).toContainValues(NAMES);
});

/** Those that are tried with each other end also where time is short. */
const FIRST = [
  "udp/receive",
  "udp/echo-client",
  "tcp/many-requests-server",
  "tcp/dialog-client",
  "unix/server",
];

/** What stands word for word in every bare program of a kind: it has no lib/ that would do it once for all. */
const SAID: [whose: RegExp, lines: (string | RegExp)[]][] = [
  [/^tcp\/.*server|^apps\/.*server/, ["if (!socket.remoteAddress) return socket.destroy();"]],
  [/^(tcp|unix|apps)\/.*server$/, [
    /^ +socket\.on\("error", /m,
    /^server\.on\("error", .* => \{/m,
    "process.exitCode = 1;",
  ]],
  [/^(tcp|unix)\/(?!picture).*client$/, [/^socket\.on\("error", \(\{ code \}/m, "process.exit(1);"]],
  [/^udp\/(.*receive|echo-server)$/, [/^socket\.on\("error", /m, "process.exitCode = 1;"]],
  [/^(tcp|unix)\/(?!time-server|picture-server|framing-client)/, ['socket.setEncoding("utf8")']],
  [/^tcp\/dialog-client$|^unix\/client$/, [
    'socket.on("end", () => fail("hung up"));',
    'if (text !== "") {',
  ]],
  [/^tcp\/(time|picture)-server$/, ["socket.resume();"]],
];

test("the lines that each bare program of a kind needs, word for word", () => {
  for (const [whose, lines] of SAID) {
    const found = all.filter(({ name }) => whose.test(name));
    expect(found.length, `${whose}`).toBeGreaterThan(1);
    for (const { name, path } of found) {
      const source = readFileSync(join(ROOT, path), "utf8");
      for (const line of lines) {
        expect([name, line, typeof line === "string" ? source.includes(line) : line.test(source)]).toEqual([
          name,
          line,
          true,
        ]);
      }
    }
  }
});

test("no bare program shows what came from a peer as it is", () => {
  let shown = 0;
  for (const { name, path } of all) {
    // What a peer has said; the time of a server is its own.
    const said = /time-server/.test(name) ? "-" : "text|reply|name|filename|time|data\\.toString\\(\\)";
    const plain = RegExp(`(?<![.\\w])(${said}|(?<= > \\$\\{)message)\\b`);
    for (const [line] of readFileSync(join(ROOT, path), "utf8").matchAll(/console\.(log|error)\(.*/g)) {
      const rest = line.replace(/visible\(.*?\)/g, () => `${shown++}`).replace(/"[^"]*"| \/\/.*/g, "");
      expect([name, line, plain.exec(rest)?.[0]]).toEqual([name, line, undefined]);
    }
  }
  expect(shown).toBeGreaterThan(15);
});

describe.concurrent.each(EVERYWHERE)("%s", (runtime) => {
  /** Starts a bare program in a folder, where there may be files before. */
  const start = (name: string, words: unknown[], cwd = ROOT): Program =>
    script(name.replace("/", "/bare/"), words.map(String), { runtime, cwd });

  test("udp/echo-client: a server that is silent is not waited for", async () => {
    await using letters = await letterbox();
    await using program = start("udp/echo-client", [letters.port]);
    program.type("one\ntwo\n");
    expect(await letters.text()).toBe("one");
    expect(await program.next()).toBe("no reply");
    expect(await letters.text()).toBe("two");
  });

  test("tcp/client and tcp/time-client: a server that says nothing is told", async () => {
    for (const [name, words] of [["tcp/client", "without a reply"], ["tcp/time-client", "without a word"]]) {
      await using server = await listen();
      await using program = start(name, [server.port]);
      (await server.accept()).hangUp();
      expect(await program.result()).toEqual({
        code: 0,
        stdout: `the server hung up ${words}\n`,
        stderr: "",
      });
    }
  });

  test("tcp/picture-client: a name leads nowhere else, and replaces nothing", async () => {
    await using folder = temporaryFolder();
    await mkdir(folder.at("in/album"), { recursive: true });
    await writeFile(folder.at("in/album/old"), "old");
    await using server = await listen();
    await using program = start("tcp/picture-client", [server.port], folder.at("in"));
    (await server.accept()).socket.end(JSON.stringify({ filename: "../../old", filedata: "bmV3" }));
    const { code, stdout, stderr } = await program.result();
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^error: .*EEXIST.*\n$/);
    expect(await readFile(folder.at("in/album/old"), "utf8")).toBe("old");
    expect(await readdir(folder.path)).toEqual(["in"]);
  });

  test("apps/download-basic-client: silence creates nothing, and the copy stays here", async () => {
    await using folder = temporaryFolder();
    await mkdir(folder.at("in"));
    await using server = await listen();
    for (const [answer, name] of [["", "none"], ["bytes", "../../up"]]) {
      await using program = start("apps/download-basic-client", [server.port, name], folder.at("in"));
      const line = await server.accept();
      await line.expect(name);
      line.socket.end(answer);
      expect((await program.result()).code).toBe(answer ? 0 : 1);
    }
    expect((await readdir(folder.path, { recursive: true })).sort()).toEqual(["in", "in/copy-up"]);
  });

  test("apps/download-basic-server: no name leads out of the folder", async () => {
    await using folder = temporaryFolder();
    await mkdir(folder.at("shared"));
    for (const name of ["secret", "shared-not", "shared/open"]) await writeFile(folder.at(name), name);
    await symlink("../secret", folder.at("shared/link"));
    await using program = start("apps/download-basic-server", [0, "shared"], folder.path);
    const port = await program.port();
    for (const name of ["../secret", "link", "../shared-not", "none", "open"]) {
      using line = await call(port);
      await line.send(name);
      const answer = line.rest().catch(({ code }) => code === "ECONNRESET" ? "" : code);
      expect([name, String(await answer)]).toEqual([name, name === "open" ? "shared/open" : ""]);
    }
  });

  test("udp/echo-server: after a long quiet time there are no more answers than at first", async () => {
    const preload = ["--preload", "--import", "--preload"][Object.keys(RUNTIMES).indexOf(runtime)];
    const words = [...RUNTIMES[runtime], preload, join(ROOT, "tests/engine/fixtures/a-minute-at-once.ts")];
    await using program = run([...words, join(ROOT, "scripts/udp/bare/echo-server.ts"), "0"]);
    const port = await program.port();
    await using letters = await letterbox();
    await letters.send("a minute", port); // the fixture lets one pass
    await letters.next();
    for (let sent = 0; sent < 1200; sent++) {
      await letters.send("x", port);
      if (sent % 20 === 0) await isReceived(port); // so that none is dropped
    }
    const lines = await settled(() => program.seen.stdout.length);
    expect(lines).toBe(1 + 1 + 1000); // ready, "a minute", and as many answers as at first
  });

  const cell = { server: runtime, client: runtime };

  const heads = Map.groupBy(all, ({ head }) => JSON.stringify(head.sections)); // two ends may have the same one
  for (const [{ name, path, head }] of heads.values()) {
    test(`${name}: its head`, () => playInTime(path, () => play(head, cell)));
  }

  for (const program of all.filter(({ name }) => EVERYTHING || FIRST.includes(name))) {
    const against = (other: "lesson" | "python") => () =>
      playInTime(program.path, () => playBare(program, other, cell));
    test(`${program.name}, alone in a folder, and the whole lesson`, against("lesson"));
    test.skipIf(!Bun.which("python3"))(
      `${program.name}, alone in a folder, and the Python program (needs python3)`,
      against("python"),
    );
  }
});
