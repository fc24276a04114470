/** `make site` in a browser: Debian's Chromium, from disk. (thorough) */
/// <reference lib="dom" />
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { cpSync, existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Browser, type BrowserContextOptions, chromium, type Locator, type Page } from "playwright-core";
import { build } from "../../site/build.ts";
import { pageOf } from "../../site/lesson.ts";
import { play } from "../engine/engine.ts";
import { type Folder, temporaryFolder } from "../engine/files.ts";
import { barePrograms, find, lessonOf, lessons } from "../engine/lessons.ts";
import { ROOT } from "../engine/program.ts";

/** For one step in the browser, and for a test: both say what they waited for. A busy machine needs long for 140 pages. */
const LIMIT = 120_000;
setDefaultTimeout(5 * LIMIT);

/** Debian's, or the one of GitHub's machines. */
const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/google-chrome"].find((path) => existsSync(path));
const IS_HERE = CHROMIUM !== undefined;
const inBrowser = test.skipIf(!IS_HERE);

/** One page of each kind: a start page, a chapter, lessons with and without a bare program, calls, errors, a module. */
const KINDS = [
  "index.html",
  "chapter-3.html",
  "tcp/many-requests-server.html",
  "tcp/close-order.html",
  "calls.html",
  "errors.html",
  "lib/tcp.html",
];

let folder: Folder;
let browser: Browser;

beforeAll(async () => {
  folder = temporaryFolder();
  if (!IS_HERE) return;
  build(folder.at("out"));
  browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: ["--no-sandbox", "--disable-background-networking"],
  });
});
afterAll(async () => {
  await browser?.close();
  await folder[Symbol.asyncDispose]();
});

/** The address of a file of the site, perhaps with a fragment. */
const address = (name: string) => pathToFileURL(folder.at("out", "/")).href + name;

/** Opens a page; what it complains about, and what it wants from elsewhere, goes into `wrong`. */
async function open(name: string, options: BrowserContextOptions = {}): Promise<Page & { wrong: string[] }> {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 900 },
    permissions: ["clipboard-read", "clipboard-write"],
    ...options,
  });
  const wrong: string[] = [];
  const page = await context.newPage();
  page.setDefaultTimeout(LIMIT);
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) wrong.push(`${page.url()}: ${message.text()}`);
  });
  page.on("pageerror", ({ message }) => wrong.push(`${page.url()}: ${message}`));
  page.on("requestfailed", (request) => {
    const why = request.failure()?.errorText;
    if (why === "net::ERR_ABORTED") return; // we went to the next page while a picture was loading
    wrong.push(`${page.url()}: ${request.url()} failed: ${why}`);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(address(""))) wrong.push(`${page.url()} asks for ${request.url()}`);
  });
  await page.goto(address(name));
  return Object.assign(page, { wrong });
}

/** What sticks out of the page at its width, and code that is cut instead of scrolling. */
const tooWide = (page: Page) =>
  page.evaluate(() => {
    const { clientWidth, scrollWidth } = document.documentElement;
    const cut = [...document.querySelectorAll(".c, .command code, .terminal pre, td code")]
      .filter((element) => {
        const scrolls = element.closest(".code, .command code, .ladder");
        return !scrolls && element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0;
      }).map((element) => `cut: ${element.textContent?.slice(0, 60)}`);
    const broken = [...document.querySelectorAll(".flag")].filter((flag) => flag.getClientRects().length > 1)
      .map((flag) => `torn apart: ${flag.parentElement?.textContent?.slice(0, 60)}`);
    const wide = scrollWidth > clientWidth ? [`${scrollWidth} wide at ${clientWidth}`] : [];
    return [...wide, ...cut, ...broken];
  });

inBrowser(
  "every page in both languages: no error, nothing from elsewhere, fits (needs chromium)",
  async () => {
    const names = globSync("**/*.html", { cwd: folder.at("out") });
    expect(names.length).toBeGreaterThan(100);
    const wrong: string[] = [];
    await Promise.all([0, 1, 2].map(async (first) => {
      await using page = await open(names[first]);
      for (const [index, name] of names.entries()) {
        if (index % 3 !== first) continue;
        await page.goto(address(name));
        for (const width of [375, 1280]) {
          await page.setViewportSize({ width, height: 800 });
          wrong.push(...(await tooWide(page)).map((what) => `${name}: ${what}`));
        }
        // A program that is shown, not folded, is read without scrolling on a wide screen.
        const hidden = await page.evaluate(() =>
          [...document.querySelectorAll("figure .code")].some((code) => code.scrollWidth > code.clientWidth)
        );
        if (hidden) wrong.push(`${name}: its program is wider than its figure`);
      }
      wrong.push(...page.wrong);
    }));
    expect(wrong).toEqual([]);
  },
);

describe("axe finds nothing serious", () => {
  const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  inBrowser.each(["light", "dark"] as const)("%s (needs chromium)", async (colorScheme) => {
    await using page = await open("index.html", { colorScheme });
    const found: string[] = [];
    for (const name of KINDS.flatMap((name) => [name, `zh/${name}`])) {
      await page.goto(address(name));
      await page.evaluate(axe);
      const violations = await page.evaluate(async () => {
        // deno-lint-ignore no-explicit-any
        const { violations } = await (globalThis as any).axe.run();
        return violations as {
          id: string;
          impact: string;
          nodes: { html: string; failureSummary: string }[];
        }[];
      });
      for (const { id, impact, nodes } of violations) {
        if (!["serious", "critical"].includes(impact)) continue;
        found.push(`${name}: ${id}: ${nodes[0].html.slice(0, 120)} ${nodes[0].failureSummary}`);
      }
    }
    expect(found).toEqual([]);
  });
});

inBrowser("the system's wish decides between light and dark (needs chromium)", async () => {
  const colours = await Promise.all((["light", "dark"] as const).map(async (colorScheme) => {
    await using page = await open("index.html", { colorScheme });
    return await page.evaluate(() => {
      const { backgroundColor, color } = getComputedStyle(document.body);
      return { backgroundColor, color };
    });
  }));
  const bright = (colour: string) => Number(colour.match(/\d+/)?.[0]) > 127;
  expect(colours.map(({ backgroundColor }) => bright(backgroundColor))).toEqual([true, false]);
  expect(colours.map(({ color }) => bright(color))).toEqual([false, true]);
});

/** What a button says first, when it says something else, stays in its `data-said`: it says so for a moment only. */
const noteWords = (button: Locator) =>
  button.evaluate((button: HTMLElement) => {
    const note = () => button.dataset.said ??= button.textContent;
    new MutationObserver(note).observe(button, { childList: true });
  });

inBrowser(
  "what the copy buttons give runs in an empty folder: every bare program (needs chromium)",
  async () => {
    await using page = await open("index.html");
    const pasted = folder.at("pasted");
    for (const { path } of barePrograms().map((program) => ({ path: program.path, program }))) {
      await page.goto(address(pageOf(lessonOf({ path } as Parameters<typeof lessonOf>[0]))));
      const button = page.locator("figure .copy");
      await noteWords(button);
      await button.click();
      await button.and(page.locator("[data-said=Copied]")).waitFor();
      const text = await page.evaluate(() => navigator.clipboard.readText());
      mkdirSync(dirname(join(pasted, path)), { recursive: true });
      writeFileSync(join(pasted, path), text);
    }
    for (const name of ["scripts/tcp/phone.svg", "LICENSE"]) cpSync(join(ROOT, name), join(pasted, name));
    const todo = barePrograms();
    await Promise.all([0, 1, 2].map(async (worker) => {
      for (const [index, program] of todo.entries()) {
        if (index % 3 !== worker) continue;
        const own = folder.at(`played-${index}`);
        cpSync(pasted, own, { recursive: true });
        await play({ sections: program.head.sections }, { folder: own });
      }
    }));
  },
);

inBrowser("a command is copied without its $ (needs chromium)", async () => {
  await using page = await open("zh/udp/send.html");
  const button = page.locator(".run .copy").first();
  await noteWords(button);
  await button.click();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe("bun scripts/udp/receive.ts --once");
  await button.and(page.locator("[data-said=已复制]")).waitFor();
});

inBrowser("the switch stays on the page, and at its place (needs chromium)", async () => {
  await using page = await open("tcp/server.html#python");
  await page.locator(".switch").click();
  expect(page.url()).toBe(address("zh/tcp/server.html#python"));
  await page.goto(address("zh/tcp/server.html#watch-out"));
  await page.locator(".switch").click();
  expect(page.url()).toBe(address("tcp/server.html#watch-out"));
  expect(page.wrong).toEqual([]);
});

describe("the search", () => {
  const search = async (name: string, query: string) => {
    await using page = await open(name);
    await page.locator(".find input").fill(query);
    await page.locator(".found > *").first().waitFor();
    const found = await page.locator(".found a").evaluateAll((links) =>
      links.map((link) => (link as HTMLAnchorElement).href)
    );
    expect(page.wrong).toEqual([]);
    return found;
  };
  inBrowser.each([
    ["index.html", "datag", "udp/send.html"], // by the beginning of a word
    ["tcp/server.html", "ECONNREF", "errors.html#ECONNREFUSED"],
    ["zh/tcp/server.html", "没有人告诉你", "zh/udp/send.html"], // in the middle of a sentence
    ["zh/index.html", "挂断 recv", "zh/tcp/many-requests-server.html"],
    ["zh/index.html", "ECONNREFUSED", "zh/errors.html#ECONNREFUSED"],
  ])("from %s: %s (needs chromium)", async (from, query, to) => {
    expect(await search(from, query)).toContain(address(to));
  });
  inBrowser.each(["atagram", "nosuchwordatall", "没有这样的句子吧"])(
    "nothing for %s (needs chromium)",
    async (query) => {
      expect(await search("index.html", query)).toEqual([]);
    },
  );
  inBrowser("with the keyboard alone (needs chromium)", async () => {
    await using page = await open("zh/udp/send.html");
    await page.keyboard.press("/");
    await page.keyboard.type("挂断");
    await page.locator(".found a").first().waitFor();
    await page.keyboard.press("ArrowDown");
    const target = await page.evaluate(() => (document.activeElement as HTMLAnchorElement).href);
    await page.keyboard.press("Enter");
    await page.waitForURL(target);
    await page.keyboard.press("/");
    await page.keyboard.type("x");
    await page.keyboard.press("Escape");
    expect(await page.locator(".find input").inputValue()).toBe("");
  });
});

inBrowser("the player: step by step in the true order, or at once (needs chromium)", async () => {
  await using page = await open("tcp/many-requests-server.html");
  const shown = () =>
    page.locator(".terminals [data-at]").evaluateAll((steps) =>
      steps.filter((step) => getComputedStyle(step).visibility === "visible")
        .map((step) => ({ at: Number((step as HTMLElement).dataset.at), text: step.textContent?.trim() }))
        .sort((a, b) => a.at - b.at).map(({ text }) => text)
    );
  const all = await shown();
  const [{ head }] = find("tcp/many-requests-server");
  expect(all).toHaveLength(head.sections.flatMap(({ steps }) => steps).length);
  // The server hears what the client has typed before, although its terminal stands first in the head.
  expect(all.indexOf("> 查余额")).toBeLessThan(all.indexOf("127.0.0.1:50001 > 查余额"));
  for (let count = 1; count <= all.length; count++) {
    await page.locator('[data-do="step"]').click();
    expect(await shown()).toEqual(all.slice(0, count));
  }
  await page.locator('[data-do="play"]').click();
  expect((await shown()).length).toBeLessThan(all.length);
  await page.locator('[data-do="all"]').click();
  expect(await shown()).toEqual(all);
});

inBrowser("without JavaScript: all is there but the buttons (needs chromium)", async () => {
  await using page = await open("tcp/many-requests-server.html", { javaScriptEnabled: false });
  expect(await page.locator(".terminals").innerText()).toContain("127.0.0.1:50001 hung up");
  expect(await page.locator("figure .two").innerText()).toContain("createServer");
  expect(await page.locator("button:visible").count()).toBe(0);
  await page.locator("details.file summary").first().click();
  expect(await page.locator("details.file .code").first().isVisible()).toBe(true);
  await page.locator(".switch").click();
  expect(page.url()).toBe(address("zh/tcp/many-requests-server.html"));
});

inBrowser(
  "with the keyboard: the first Tab skips to the content, focus is seen (needs chromium)",
  async () => {
    await using page = await open("udp/send.html");
    await page.keyboard.press("Tab");
    expect(await page.evaluate(() => document.activeElement?.className)).toBe("skip");
    await page.keyboard.press("Enter");
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("content");
    const unseen: string[] = [];
    for (let count = 0; count < 12; count++) {
      await page.keyboard.press("Tab");
      unseen.push(
        ...await page.evaluate(() => {
          const element = document.activeElement!;
          return getComputedStyle(element).outlineStyle === "none" ? [element.outerHTML.slice(0, 80)] : [];
        }),
      );
    }
    expect(unseen).toEqual([]);
  },
);

inBrowser.each(["index.html", "tcp/server.html", "zh/apps/sftp.html", "calls.html"])(
  "the first paint of %s waits for no other file (needs chromium)",
  async (name) => {
    await using page = await open(name);
    const waits = await page.locator("link[rel~=stylesheet], script[src]:not([defer])").count();
    expect([waits, await page.locator("h1").isVisible()]).toEqual([0, true]);
  },
);

describe("the first paint leaves out what lies far below, and only the first", () => {
  const LAST = [
    ["index.html", "#chapter-5"],
    ["apps/sftp.html", "#whole"],
    ["calls.html", ".group:last-child"],
    ["errors.html", ".code-entry:last-child"],
  ];
  const isRendered = (page: Page, what: string) =>
    page.locator(what).evaluate((element) =>
      element.firstElementChild!.checkVisibility({ contentVisibilityAuto: true })
    );
  inBrowser.each(LAST)("%s: %s (needs chromium)", async (name, what) => {
    await using page = await open(name);
    await page.waitForFunction(() => document.documentElement.matches(".painted"));
    expect(await isRendered(page, what)).toBe(true);
    await using still = await open(name, { javaScriptEnabled: false });
    expect(await isRendered(still, what)).toBe(false);
  });

  const PLACES = ["apps/sftp.html#try", "zh/udp/send.html#wire", "index.html#chapter-4", "errors.html#EPIPE"];
  inBrowser.each(
    PLACES.flatMap((place) =>
      [375, 1280].flatMap((width) => [[place, width, true], [place, width, false]] as const)
    ),
  )(
    "a link to %s finds its place: %d wide, JavaScript %p (needs chromium)",
    async (place, width, javaScript) => {
      await using page = await open(place, {
        viewport: { width, height: 800 },
        javaScriptEnabled: javaScript,
      });
      if (javaScript) await page.waitForFunction(() => document.documentElement.matches(".painted"));
      const [top, padding] = await page.evaluate(() => [
        document.querySelector(":target")!.getBoundingClientRect().top,
        parseFloat(getComputedStyle(document.documentElement).scrollPaddingTop),
      ]);
      expect(Math.abs(top - padding)).toBeLessThan(2);
    },
  );
});

describe("a printed lesson", () => {
  inBrowser("takes two pages at most, each lesson in both languages (needs chromium)", async () => {
    const names = lessons().flatMap(({ path }) => [pageOf(path), `zh/${pageOf(path)}`]);
    expect(names.length).toBeGreaterThan(80);
    const tooLong: string[] = [];
    await Promise.all([0, 1, 2].map(async (first) => {
      await using page = await open("index.html");
      for (const [index, name] of names.entries()) {
        if (index % 3 !== first) continue;
        await page.goto(address(name));
        const pdf = await page.pdf({ format: "A4", preferCSSPageSize: true });
        const count = pdf.toString("latin1").match(/\/Type\s*\/Page\b/g)?.length ?? 0;
        if (count < 1 || count > 2) tooLong.push(`${name}: ${count} pages`);
      }
    }));
    expect(tooLong).toEqual([]);
  });

  inBrowser("has all of its program, and its ladder (needs chromium)", async () => {
    await using page = await open("index.html", { viewport: { width: 688, height: 1017 } }); // A4 within its margins
    await page.emulateMedia({ media: "print" });
    for (const { path } of barePrograms()) {
      const name = pageOf(lessonOf({ path } as Parameters<typeof lessonOf>[0]));
      await page.goto(address(name));
      const cut = await page.evaluate(() =>
        [...document.querySelectorAll(".program .code")].filter((code) => code.scrollWidth > code.clientWidth)
          .length
      );
      expect(`${name}: ${cut} cut`).toBe(`${name}: 0 cut`);
    }
    // Without being scrolled to, since nobody scrolls before they print.
    await page.setViewportSize({ width: 1280, height: 720 });
    await page.emulateMedia({ media: "screen" });
    await page.goto(address("apps/sftp.html")); // its ladder lies far below
    await page.waitForFunction(() =>
      document.images.length > 0 &&
      [...document.images].every(({ complete, naturalWidth }) => complete && naturalWidth)
    );
  });
});
