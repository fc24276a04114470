/**
 * `make demo`: a dialog over TCP, and a real file downloaded; both ends side by side. Where the machine lets us make a
 * network, the dialog is played in it, and its packets are shown at the end.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { pipeline } from "node:stream/promises";
import { parseSections } from "../engine/head.ts";
import { chalk, columns, WIDTH } from "../engine/columns.ts";
import { copyOfProject, type Event, Mismatch, play } from "../engine/engine.ts";
import { find, type Lesson, lessons } from "../engine/lessons.ts";
import { missing, recordAlone, type Recording } from "../engine/recording.ts";
import { WIDTH as LADDER } from "../../scripts/raw/wire/ladder.ts";
import { endInOrder } from "./interrupt.ts";
import { draw, serving } from "./wire.ts";

/** The lesson that people begin with. */
const FIRST = "2.1";

endInOrder();
await using copy = copyOfProject();
const folder = copy.path;
try {
  console.log(chalk.bold("\nA dialog over TCP: one call, many questions and answers\n"));
  const [dialog] = find("tcp/many-requests-server");
  const recording = await playDialog(dialog);

  const original = join(folder, "node_modules", "bun", "bin", "bun.exe");
  const { size } = await stat(original);
  console.log(chalk.bold(`\nA real file of ${(size / 1e6).toFixed(0)} MB over TCP: Bun's own executable\n`));
  const sections = parseSections([
    "terminal 1",
    "  $ bun scripts/apps/download-basic-server.ts --root node_modules/bun",
    "  listening on 127.0.0.1:11500",
    "  127.0.0.1:50001 > bin/bun.exe",
    `  sent ${size} bytes to 127.0.0.1:50001`,
    "  ^C",
    "terminal 2",
    "  $ bun scripts/apps/download-basic-client.ts bin/bun.exe",
    `  saved ${size} bytes as copy-bun.exe`,
  ]);
  await play({ sections }, { folder, onEvent: columns(["the server", "the client"]) });
  const sums = [await sha256(original), await sha256(join(folder, "copy-bun.exe"))];
  console.log(`\nSHA-256 of the original  ${sums[0]}\nSHA-256 of the copy      ${sums[1]}`);
  if (sums[0] !== sums[1]) throw new Mismatch("the copy is not the original");
  console.log(chalk.green("They are equal."));
  if (recording && WIDTH >= LADDER) {
    console.log(chalk.bold("\nThe dialog again: the packets that made it, and what was said between them\n"));
    draw(recording, serving(dialog.head));
    console.log("\nThat of each lesson: make wire L=2.1");
  }
  const [first] = lessons().filter(({ head }) => head.number === FIRST);
  console.log(`Begin with ${FIRST}, ${first.head.title}: make lesson L=${FIRST}`);
  console.log("All lessons: make lessons. What each shows, and how to read it: README.md\n");
} catch (error) {
  if (!(error instanceof Mismatch)) throw error;
  console.error(`\n${error.message}`);
  process.exitCode = 1;
}

/** Plays it while its packets are watched; where they cannot be, without that. */
async function playDialog(dialog: Lesson): Promise<Recording | undefined> {
  const show = columns(["the server", "the client"]);
  let hasBegun = false;
  const onEvent = (event: Event) => {
    hasBegun = true;
    show(event);
  };
  const options = { folder, pace: 500, onEvent };
  try {
    if (!missing) return (await recordAlone(dialog, options))[0];
  } catch (error) {
    if (hasBegun) throw error;
  }
  await play(dialog.head, options);
}

async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return hash.digest("hex");
}
