/**
 * `make wire L=3.1`, or `L=udp/send`: plays a lesson in a network of its own, and draws the ladder of its packets, with
 * what its programs print between the arrows. `SVG=file` also draws a picture, `PCAP=file` writes what Wireshark opens.
 */
import { closeSync, existsSync, openSync, unlinkSync, writeFileSync } from "node:fs";
import process from "node:process";
import { Ladder } from "../../scripts/raw/wire/ladder.ts";
import { Picture } from "../../scripts/raw/wire/picture.ts";
import { explain, Failure } from "../../lib/failure.ts";
import { report, visible } from "../../lib/program.ts";
import { Mismatch } from "../engine/engine.ts";
import type { Head } from "../engine/head.ts";
import { READY } from "../engine/program.ts";
import { missing, recordAlone, type Recording } from "../engine/recording.ts";
import { choose } from "./choose.ts";
import { endInOrder } from "./interrupt.ts";
import { atHome } from "./settings.ts";

/** How often to look whether `make` is still there, in ms: killed, it could not tell us. */
const TICK = 200;

/** The terminals in which a program serves: their words stand on the right. */
export function serving({ sections }: Pick<Head, "sections">): Set<number> {
  return new Set(
    sections.flatMap(({ terminal, steps }) =>
      steps.some((step) => step.kind === "see" && READY.test(step.text)) ? [terminal] : []
    ),
  );
}

/** Prints the ladder of a recording, and draws it into a picture. @throws the error of its file */
export function draw(
  { moments }: Pick<Recording, "moments">,
  servers: Set<number>,
  picture?: Picture,
  print: (lines: string) => void = console.log,
): void {
  const ladder = new Ladder();
  for (const moment of moments) {
    if ("conversation" in moment) {
      print(ladder.draw(moment).join("\n"));
      picture?.draw(moment);
      continue;
    }
    const side = servers.has(moment.terminal) ? "right" : "left";
    const text = visible(`${moment.kind === "command" ? "$ " : ""}${moment.text}`);
    print(ladder.say(side, text).join("\n"));
    picture?.say(side, text);
  }
  picture?.end();
}

/** Whether a file can be written; it is left as it is. @throws the error of open(2) */
function tryFile(path: string): void {
  const isNew = !existsSync(path);
  closeSync(openSync(path, "a"));
  if (isNew) unlinkSync(path);
}

async function main(name: string | undefined): Promise<number> {
  const [lesson] = choose(name);
  const [SVG, PCAP] = [process.env.SVG ?? "", process.env.PCAP ?? ""].map(atHome);
  if (missing) throw new Failure("make wire", missing.what, "ENOSYS", { hint: missing.hint });
  for (const path of [SVG, PCAP]) if (path) tryFile(path); // told at once; written at the end, or not at all
  endInOrder();
  const parent = process.ppid;
  setInterval(() => process.ppid === parent || process.exit(1), TICK).unref();

  const [recording] = await recordAlone(lesson, { capture: Boolean(PCAP) });
  draw(recording, serving(lesson.head), SVG ? new Picture(SVG) : undefined);
  if (PCAP) writeFileSync(PCAP, recording.capture ?? "", "base64");
  if (!recording.moments.some((moment) => "conversation" in moment)) {
    console.log(`${lesson.path}: no packet at all`);
  }
  if (recording.mismatch === undefined) return 0;
  console.error(`\n${recording.mismatch}`);
  return 1;
}

if (import.meta.main) {
  try {
    process.exitCode = await main(process.argv[2]);
  } catch (error) {
    if (error instanceof Mismatch) console.error(error.message);
    else await report(explain(error) ?? error);
    process.exitCode = 1;
  }
}
