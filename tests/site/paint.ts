/**
 * `bun tests/site/paint.ts`: how soon Debian's Chromium paints the pages from disk, in turns with an empty page. Only on a
 * quiet machine are the times worth something; processor time and the ratio to the empty page say more. ROUNDS= (15).
 */
/// <reference lib="dom" />
import { writeFileSync } from "node:fs";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";
import { build } from "../../site/build.ts";
import { temporaryFolder } from "../engine/files.ts";

/** A start page, lessons from short to long, and the longest page of all. */
const PAGES = ["index", "udp/send", "tcp/server", "zh/apps/download-client", "apps/sftp", "calls"];

type Paint = { wall: number; processor: number };

const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1];

async function measure(folder: string): Promise<void> {
  await using browser = await chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: ["--no-sandbox"],
  });
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  page.setDefaultTimeout(120_000);
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Performance.enable", { timeDomain: "threadTicks" });
  const processor = async () => {
    const { metrics } = await devtools.send("Performance.getMetrics");
    return metrics.find(({ name }) => name === "TaskDuration")!.value * 1000;
  };
  const paint = async (name: string): Promise<Paint> => {
    await page.goto(`${pathToFileURL(folder)}/empty.html`);
    const before = await processor();
    await page.goto(`${pathToFileURL(folder)}/${name}.html`);
    const wall = await page.evaluate(async () => {
      for (;;) {
        const [first] = performance.getEntriesByName("first-contentful-paint");
        if (first) return first.startTime;
        await new Promise(requestAnimationFrame);
      }
    });
    return { wall, processor: await processor() - before };
  };
  const names = ["empty", ...PAGES];
  for (const name of names) await paint(name); // the fonts are looked up once
  const found = new Map(names.map((name) => [name, [] as Paint[]]));
  for (let round = 0; round < Number(process.env.ROUNDS ?? 15); round++) {
    for (const name of names) found.get(name)!.push(await paint(name));
  }
  const empty = median(found.get("empty")!.map(({ wall }) => wall));
  console.log(`${"first paint, ms".padEnd(26)} least  median  of empty  main thread's processor, ms`);
  for (const [name, paints] of found) {
    const walls = paints.map(({ wall }) => wall);
    const figures = [
      Math.min(...walls).toFixed().padStart(5),
      median(walls).toFixed().padStart(7),
      (median(walls) / empty).toFixed(2).padStart(9),
      median(paints.map(({ processor }) => processor)).toFixed(1).padStart(6),
    ];
    console.log(name.padEnd(26), ...figures);
  }
}

await using folder = temporaryFolder();
build(folder.path);
writeFileSync(folder.at("empty.html"), "<!doctype html><meta charset=utf-8><title>empty</title><p>empty");
await measure(folder.path);
