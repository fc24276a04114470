/**
 * `make wire L=3.1`, or `L=udp/send`: plays a lesson in a network of its own, and draws the ladder of its packets, with
 * what its programs print between the arrows. `SVG=file` also draws a picture, `PCAP=file` writes what Wireshark opens.
 */
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import process from "node:process";
import { Ladder } from "../../scripts/raw/wire/ladder.ts";
import { Picture } from "../../scripts/raw/wire/picture.ts";
import { explain, Failure } from "../../lib/failure.ts";
import { report, visible } from "../../lib/program.ts";
import { aloneWords, CAN_BE_ALONE } from "../engine/alone.ts";
import { Mismatch } from "../engine/engine.ts";
import { environment } from "../engine/environment.ts";
import type { Head } from "../engine/head.ts";
import { READY } from "../engine/program.ts";
import { record, type Recording } from "../engine/recording.ts";
import { choose } from "./choose.ts";
import { endInOrder } from "./interrupt.ts";

/** The terminals in which a program serves: their words stand on the right. */
export function serving({ sections }: Pick<Head, "sections">): Set<number> {
  return new Set(
    sections.flatMap(({ terminal, steps }) =>
      steps.some((step) => step.kind === "see" && READY.test(step.text)) ? [terminal] : []
    ),
  );
}

/** Prints the ladder of a recording, and draws it into a picture. @throws the error of its file */
export function draw({ moments }: Recording, servers: Set<number>, picture?: Picture): void {
  const ladder = new Ladder();
  for (const moment of moments) {
    if ("conversation" in moment) {
      console.log(ladder.draw(moment).join("\n"));
      picture?.draw(moment);
      continue;
    }
    const side = servers.has(moment.terminal) ? "right" : "left";
    const text = visible(`${moment.kind === "command" ? "$ " : ""}${moment.text}`);
    console.log(ladder.say(side, text).join("\n"));
    picture?.say(side, text);
  }
  picture?.end();
}

async function main(name: string | undefined, isInside: boolean): Promise<number> {
  const [lesson] = choose(name);
  const { SVG, PCAP } = process.env;
  if (!CAN_BE_ALONE) {
    throw new Failure("make wire", "this machine lets us make no network (unshare -Urn, ip)", "ENOSYS");
  }
  if (!isInside) {
    const words = aloneWords('exec "$@"', ["bun", import.meta.path, lesson.path, "inside"]);
    const files = { ...(SVG && { SVG: resolve(SVG) }), ...(PCAP && { PCAP: resolve(PCAP) }) };
    return spawnSync(words[0], words.slice(1), { env: environment(files), stdio: "inherit" }).status ?? 1;
  }
  endInOrder();
  const picture = SVG ? new Picture(SVG) : undefined; // first: a file that cannot be written is told at once
  const recording = await record(lesson.head, { pcap: PCAP });
  draw(recording, serving(lesson.head), picture);
  if (!recording.moments.some((moment) => "conversation" in moment)) {
    console.log(`${lesson.path}: no packet at all`);
  }
  if (recording.mismatch === undefined) return 0;
  console.error(`\n${recording.mismatch}`);
  return 1;
}

if (import.meta.main) {
  const [name, inside] = process.argv.slice(2);
  try {
    process.exitCode = await main(name, inside === "inside");
  } catch (error) {
    if (error instanceof Mismatch) console.error(error.message);
    else await report(explain(error) ?? error);
    process.exitCode = 1;
  }
}
