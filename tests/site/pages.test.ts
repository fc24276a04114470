/** `make site`: what can be said of its files without a browser. (thorough) */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { globSync, readFileSync, statSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { dirname, join, posix } from "node:path";
import { CALLS } from "../../site/calls.ts";
import { twoColumns } from "../../site/code.ts";
import { ERRORS, NOT_SHOWN } from "../../site/errors.ts";
import { isDrawn, kept, order, shown, stepsOf } from "../../site/ladders.ts";
import { pageOf } from "../../site/lesson.ts";
import { unwrapped } from "../../site/page.ts";
import { fileServer } from "../../site/serve.ts";
import { aloneWords, CAN_BE_ALONE } from "../engine/alone.ts";
import { type Folder, temporaryFolder } from "../engine/files.ts";
import { compare, ladderOf, LADDERS } from "../engine/ladder.ts";
import { barePrograms, filesBelow, find, lessonOf, lessons } from "../engine/lessons.ts";
import { ROOT, start } from "../engine/program.ts";

setDefaultTimeout(180_000); // what waits in a test says itself for what it waited too long

const LIMIT = 170_000;
let folder: Folder;

/** All files of a folder, with their bytes. */
const contents = (path: string) =>
  new Map(
    globSync("**", { cwd: path }).filter((name) => statSync(join(path, name)).isFile()).sort()
      .map((name) => [name.replaceAll("\\", "/"), readFileSync(join(path, name))]),
  );
const pages = () => [...contents(folder.at("a"))].filter(([name]) => name.endsWith(".html"));
const page = (name: string) => readFileSync(folder.at("a", name), "utf8");

/** The text of some HTML, as a browser shows it. */
const text = (html: string) =>
  html.replaceAll(/<[^>]+>/g, "").replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&quot;", '"')
    .replaceAll("&amp;", "&");

beforeAll(async () => {
  folder = temporaryFolder();
  const words = (name: string) => ["bun", "site/build.ts", folder.at(name)];
  // Where it can be done, the second time without any network.
  const second = CAN_BE_ALONE ? ["unshare", "-Urn", ...words("b")] : words("b");
  const runs = await Promise.all(
    [words("a"), second].map((words) => start(words, { limit: LIMIT }).result()),
  );
  for (const { code, stderr } of runs) expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
});
afterAll(() => folder[Symbol.asyncDispose]());

test("built twice, the second time without a network: equal bytes", () => {
  const [a, b] = [contents(folder.at("a")), contents(folder.at("b"))];
  expect([...b.keys()]).toEqual([...a.keys()]);
  for (const [name, bytes] of a) expect(`${name} ${b.get(name)?.equals(bytes)}`).toBe(`${name} true`);
});

test("every page is there in both languages, one for each script", () => {
  const names = pages().map(([name]) => name);
  for (const { path } of lessons()) expect(names).toContain(pageOf(path));
  const english = names.filter((name) => !name.startsWith("zh/"));
  expect(names.filter((name) => name.startsWith("zh/"))).toEqual(english.map((name) => `zh/${name}`));
});

test("no dead link, no missing anchor, nothing from elsewhere", () => {
  const files = contents(folder.at("a"));
  const ids = new Map(
    pages().map(([name, bytes]) => {
      const found = Array.from(`${bytes}`.matchAll(/ id="([^"]+)"/g), ([, id]) => id);
      expect(`${name}: ${found.length} ids`).toBe(`${name}: ${new Set(found).size} ids`);
      return [name, new Set(found)];
    }),
  );
  const wrong: string[] = [];
  for (const [name, bytes] of pages()) {
    const links = [...`${bytes}`.matchAll(/ (?:href|src|data-index)="([^"]*)"/g)];
    expect(links.length).toBeGreaterThan(5);
    for (const [, link] of links) {
      const [path, fragment] = link.split("#");
      const target = path ? posix.join(dirname(name), path) : name;
      const isThere = files.has(target) && (!fragment || ids.get(target)?.has(fragment));
      if (!isThere || /^(?:\w+:|\/)/.test(link)) wrong.push(`${name}: ${link}`);
    }
  }
  expect(wrong).toEqual([]);
});

test("a lesson's page, with all it loads, is under 200 KB", () => {
  const size = (name: string) => statSync(folder.at("a", name)).size;
  const assets = ["page.js", "icon.svg"].reduce((sum, name) => sum + size(`assets/${name}`), 0);
  for (const { path } of lessons()) {
    for (const lang of ["", "zh/"]) {
      const name = lang + pageOf(path);
      const [, ladder = ""] = /<img src="[./]*([^"]+)"/.exec(page(name)) ?? [];
      const sum = size(name) + assets + (ladder ? size(ladder) : 0);
      expect(`${name} ${sum < 200_000 ? "fits" : sum}`).toBe(`${name} fits`);
    }
  }
});

describe("a lesson's page", () => {
  test.each(lessons().map((lesson) => [lesson.path, lesson] as const))("%s", (path, { head }) => {
    for (
      const [name, { title, idea }] of [[pageOf(path), head], [`zh/${pageOf(path)}`, head.chinese]] as const
    ) {
      const html = page(name);
      const shownText = text(html);
      expect(shownText).toContain(`${head.number} ${title}`);
      expect(shownText.toLowerCase()).toContain(idea.toLowerCase());
      // The terminals are those of the head, line by line.
      for (const [terminal, steps] of stepsOf(head)) {
        const column = html.split('<section class="terminal"').slice(1).find((part) =>
          RegExp(`<h3>(?:Terminal|终端) ${terminal}</h3>`).test(part)
        );
        const lines = /<pre[^>]*>([^]*?)<\/pre>/.exec(column ?? "")?.[1] ?? "";
        expect(text(lines)).toBe(steps.map((step) => `${shown(step)}\n`).join(""));
      }
      const labels = name.startsWith("zh/") ? ["注意", "试试"] : ["Watch out", "Try"];
      for (const { label, text } of head.notes) {
        if (labels.includes(label)) expect(shownText).toContain(unwrapped(text).replaceAll("`", ""));
      }
    }
  });
});

test("the section of an RFC is no link to a lesson, and the rows of a note are a table", () => {
  for (const name of ["udp/reliable-send.html", "zh/udp/reliable-send.html"]) {
    expect(page(name)).toContain("<td>RFC 9293, 3.1</td>");
    expect(text(page(name))).toContain("RFC 5681, 3.1");
    expect(page(name)).not.toMatch(/RFC \d+, <a/);
  }
});

test("a call in the tables has all of its brackets", () => {
  const calls = pages().flatMap(([name, bytes]) =>
    Array.from(
      `${bytes}`.matchAll(/<td><span><code>([^]*?)<\/code>/g),
      ([, code]) => ({ name, code: text(code) }),
    )
  );
  expect(calls.length).toBeGreaterThan(200);
  const open = calls.filter(({ code }) => {
    const count = (letters: string) => code.split("").filter((letter) => letters.includes(letter)).length;
    return count("({[") !== count(")}]");
  });
  expect(open).toEqual([]);
});

test("what is shown of a program is the program, character by character", () => {
  const files = filesBelow("scripts/**/*.ts");
  expect(files.length).toBeGreaterThan(50);
  for (const file of files) {
    const source = readFileSync(join(ROOT, file), "utf8");
    expect(text(twoColumns(source))).toBe(source);
  }
  for (const program of barePrograms()) {
    const [, figure = ""] =
      /<figure class="program">([^]*?)<\/figure>/.exec(page(pageOf(lessonOf(program)))) ??
        [];
    const parts = Array.from(figure.matchAll(/<pre class="src[^>]*>([^]*?)<\/pre>/g), ([, html]) => html);
    expect(text(parts.join(""))).toBe(readFileSync(join(ROOT, program.path), "utf8"));
  }
});

describe("the ladders", () => {
  test("are kept for chapters 2 to 4, fit their heads, and say each step once", () => {
    for (const lesson of lessons().filter(isDrawn)) {
      const found = kept(lesson);
      expect(`${lesson.path} ${Boolean(found)}`).toBe(`${lesson.path} true`);
      for (const [terminal, steps] of stepsOf(lesson.head)) {
        const said = order(lesson.head, found).filter((one) => one === terminal);
        expect(said).toHaveLength(steps.length);
      }
    }
  });

  test("a head that has changed since: the ladder is stale", () => {
    const [lesson] = find("udp/send");
    const [first, ...others] = lesson.head.sections;
    const longer = { ...first, steps: [...first.steps, { kind: "see" as const, text: "one line more" }] };
    expect(() => kept({ ...lesson, head: { ...lesson.head, sections: [longer, ...others] } })).toThrow(
      "site/ladders/udp/send.json is stale: make ladders",
    );
  });

  test("are those of tests/engine/ladders.txt, which make matrix compares with what the lessons do", () => {
    const all = lessons().filter(isDrawn).flatMap((lesson) => {
      const { moments, more } = kept(lesson)!;
      const expected = ladderOf(lesson.path, { server: "bun", client: "bun" }, LADDERS);
      if (more > 0 || !expected) return [];
      return [{
        path: lesson.path,
        difference: compare(moments.filter((one) => "conversation" in one), 0, expected),
      }];
    });
    expect(all.length).toBeGreaterThan(25);
    expect(all.filter(({ difference }) => difference)).toEqual([]);
  });
});

describe("the page of errors", () => {
  test("has each code of the scripts, in order", () => {
    const sources = [...filesBelow("scripts/**/*.ts"), ...filesBelow("lib/*.ts")]
      .map((file) => readFileSync(join(ROOT, file), "utf8")).join("\n");
    const inScripts = Array.from(sources.matchAll(/"(E[A-Z]{2,}|EAI_\w+)"/g), ([, code]) => code);
    const inHeads = lessons().flatMap(({ head }) =>
      head.sections.flatMap(({ steps }) => steps.map(shown)).flatMap((line) =>
        Array.from(line.matchAll(/\((E[A-Z_]+)\)$/g), ([, code]) => code)
      )
    );
    const codes = ERRORS.map(({ code }) => code);
    expect(inScripts.length).toBeGreaterThan(100);
    expect(new Set([...inScripts, ...inHeads]).difference(new Set([...codes, ...NOT_SHOWN]))).toEqual(
      new Set(),
    );
    expect(codes).toEqual(codes.toSorted());
  });

  /** The codes whose first command brings them about on any machine, without a server. */
  const PLAYED = [
    ...["EADDRNOTAVAIL", "EAFNOSUPPORT", "ECONNREFUSED", "EILSEQ", "EINVAL", "ENODEV", "ENOENT"],
    ...["ENOTDIR", "ERR_SOCKET_BAD_PORT"],
  ];
  test.skipIf(!CAN_BE_ALONE).each(PLAYED)("%s comes as it says (needs unshare, ip)", async (code) => {
    const { provoke } = ERRORS.find((error) => error.code === code)!;
    for (const told of [provoke.en, provoke.zh]) {
      const command = /`(bun [^`]*)`/.exec(told)?.[1] ?? "";
      await using program = start(aloneWords('exec "$@"', command.split(" ")), { limit: 60_000 });
      expect((await program.result()).stderr).toContain(`(${code})`);
    }
  });

  test("ENOSYS comes as it says", async () => {
    const { provoke } = ERRORS.find((error) => error.code === "ENOSYS")!;
    const words = /`([^`]*)`/.exec(provoke.en)?.[1].split(" ") ?? [];
    expect((await start(words, { limit: 60_000 }).result()).stderr).toContain("(ENOSYS)");
  });
});

test("the calls page names only calls of Bun and of Deno that are there", async () => {
  const rows = CALLS.flatMap(({ rows }) => rows);
  const names = (code: string) => [...new Set(code.match(/\b(?:Bun|Deno)(?:\.\w+)+/g) ?? [])];
  const asked = {
    bun: names(rows.map(({ bun }) => bun).join()),
    deno: names(rows.map(({ deno }) => deno).join()),
  };
  expect(asked.bun.length + asked.deno.length).toBeGreaterThan(8);
  for (
    const [runtime, words] of [["bun", ["bun", "-e"]], ["deno", ["deno", "eval", "--unstable-net"]]] as const
  ) {
    const code = `console.log(JSON.stringify([${asked[runtime].map((name) => `typeof ${name}`)}]))`;
    const { stdout } = await start([...words, code], { limit: 60_000 }).result();
    expect(JSON.parse(stdout)).toEqual(asked[runtime].map(() => "function"));
  }
});

test("make serve: the pages over HTTP, and nothing outside of them", async () => {
  const server = fileServer(folder.at("a"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const get = (path: string) => fetch(`http://127.0.0.1:${port}${path}`);
  const start = await get("/zh/");
  expect([start.status, start.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
  expect(await start.text()).toContain("看例子学套接字");
  for (const path of ["/nowhere.html", "/..%2f..%2f..%2f..%2fetc%2fhostname", "/%ff"]) {
    expect((await get(path)).status).toBe(404);
  }
  server.close();
  server.closeAllConnections();
});
