/**
 * `make ladders`: plays each lesson of chapters 2 to 4 in a network of its own, and keeps what it put on the wire, and
 * in which order its terminals spoke, in site/ladders/. So `make site` needs no network, and writes the same bytes.
 *
 * Values that differ from run to run are kept as the head shows them. What the head does not show (a port that nobody
 * prints, say) gets a number of its own.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Arrow } from "../scripts/raw/wire/arrow.ts";
import { Picture } from "../scripts/raw/wire/picture.ts";
import { endInOrder } from "../tests/commands/interrupt.ts";
import { stop } from "../tests/commands/settings.ts";
import { serving } from "../tests/commands/wire.ts";
import type { Head, Step } from "../tests/engine/head.ts";
import { filesBelow, type Lesson, lessons } from "../tests/engine/lessons.ts";
import { matches, PORT } from "../tests/engine/normalise.ts";
import { ROOT } from "../tests/engine/program.ts";
import { missing, recordAlone, type Recording } from "../tests/engine/recording.ts";

/** A step of a terminal: the next one of its head. `at` is in ms from the beginning. */
type Spoke = { at: number; terminal: number };

/** What is kept of a lesson. Packets beyond MOST are only counted. */
export type Kept = { moments: (Arrow | Spoke)[]; more: number };

/** A lesson that exchanges hundreds of packets shows what it does long before the last one. */
const MOST = 60;

/** The first of the ports that stand for those that a head does not show. */
const UNSHOWN = 60001;

/** The lessons whose ladders are kept. */
export const isDrawn = ({ head }: Lesson): boolean => /^[234]\./.test(head.number);

const fileOf = (path: string) => join("site", "ladders", path.replace(/^scripts\/|ts$/g, "") + "json");

/** The steps of each terminal, from its first section to its last. */
export function stepsOf({ sections }: Pick<Head, "sections">): Map<number, Step[]> {
  const steps = new Map<number, Step[]>();
  for (const section of sections) {
    steps.set(section.terminal, [...(steps.get(section.terminal) ?? []), ...section.steps]);
  }
  return steps;
}

/** A step as a terminal shows it. */
export function shown(step: Step): string {
  if (step.kind === "run") return `$ ${step.command}`;
  if (step.kind === "type") return `> ${step.text}`;
  if (step.kind === "key") return step.key;
  return step.kind === "exit" ? `[exit ${step.code}]` : step.text;
}

/** Reads what is kept of a lesson; undefined where nothing is. @throws Error when its head has changed since */
export function kept({ path, head }: Lesson): Kept | undefined {
  const file = fileOf(path);
  if (!filesBelow(file).length) return undefined;
  const found: Kept = JSON.parse(readFileSync(join(ROOT, file), "utf8"));
  for (const [terminal, steps] of stepsOf(head)) {
    const spoke = found.moments.filter((moment) => "terminal" in moment && moment.terminal === terminal);
    if (spoke.length !== steps.length) throw new Error(`${file} is stale: make ladders`);
  }
  return found;
}

/** In which order the terminals of a head speak: as it was recorded, or else as it is written. */
export function order(head: Pick<Head, "sections">, found: Kept | undefined): number[] {
  if (!found) return head.sections.flatMap(({ terminal, steps }) => steps.map(() => terminal));
  return found.moments.flatMap((moment) => ("terminal" in moment ? moment.terminal : []));
}

/** Draws what is kept into an SVG file. @returns its height in pixels */
export function draw(head: Pick<Head, "sections">, { moments }: Kept, file: string): number {
  const picture = new Picture(file);
  const servers = serving(head);
  const steps = stepsOf(head);
  for (const moment of moments) {
    if ("conversation" in moment) picture.draw(moment);
    else {
      const step = steps.get(moment.terminal)?.shift();
      if (step) picture.say(servers.has(moment.terminal) ? "right" : "left", shown(step));
    }
  }
  picture.end();
  return Number(/viewBox="0 0 \d+ (\d+)/.exec(readFileSync(file, "utf8"))?.[1]);
}

/** Makes a recording fit to be kept. @throws Error where it does not fit its head */
export function keep(head: Pick<Head, "sections">, recording: Recording): Kept {
  if (recording.mismatch !== undefined) throw new Error(recording.mismatch);
  const steps = stepsOf(head);
  const values = new Map<string, string>(); // of the run, by those of the head
  const begin = recording.moments[0]?.at ?? 0;
  const at = (moment: { at: number }) => Math.round(moment.at - begin) + 1;
  for (const moment of recording.moments) {
    if ("conversation" in moment) continue;
    const step = steps.get(moment.terminal)?.shift();
    if (!step) throw new Error(`terminal ${moment.terminal} says more than its head: ${moment.text}`);
    if (step.kind !== "see") continue;
    matches(step.text, moment.text, values);
    const ports = [...moment.text.matchAll(PORT)];
    for (const [index, [port]] of [...step.text.matchAll(PORT)].entries()) {
      if (ports[index]) values.set(port, ports[index][0]);
    }
  }
  const heads = new Map(Array.from(values, ([head, run]) => [run, head]));
  let unshown = UNSHOWN;
  const asInHead = (text: string) => {
    for (const [run, head] of heads) if (run.length > 5) text = text.replaceAll(run, head);
    return text.replaceAll(/(?<!\d)\d{5}(?!\d)/g, (port) => heads.get(port) ?? port);
  };
  const endpoint = (text: string) =>
    text.replace(/(?<=:)\d+$/, (port) => {
      if (!heads.has(port) && Number(port) > 32767) heads.set(port, `${unshown++}`);
      return heads.get(port) ?? port;
    });
  let arrows = 0;
  const moments = recording.moments.flatMap((moment): (Arrow | Spoke)[] => {
    if (!("conversation" in moment)) return [{ at: at(moment), terminal: moment.terminal }];
    if (++arrows > MOST) return [];
    const [left, right] = [endpoint(moment.left), endpoint(moment.right)];
    return [{ ...moment, at: at(moment), left, right, text: asInHead(moment.text) }];
  });
  return { moments, more: Math.max(0, arrows - MOST) };
}

/** A moment a line: what changes is seen in a diff. */
const asText = ({ moments, more }: Kept) =>
  `{"more":${more},"moments":[\n${moments.map((moment) => JSON.stringify(moment)).join(",\n")}\n]}\n`;

if (import.meta.main) {
  if (missing) stop(`make ladders: ${missing.what} (ENOSYS)`, missing.hint);
  endInOrder();
  const texts = new Map<string, string>();
  for (const { path, head } of lessons().filter(isDrawn)) {
    const [recording] = await recordAlone({ path });
    texts.set(fileOf(path), asText(keep(head, recording)));
    console.log(fileOf(path));
  }
  rmSync(join(ROOT, "site", "ladders"), { recursive: true, force: true }); // all of the new ones are there
  for (const [path, text] of texts) {
    mkdirSync(dirname(join(ROOT, path)), { recursive: true });
    writeFileSync(join(ROOT, path), text);
  }
}
