/**
 * What a solved program puts on the wire: its first scene is played once more, in a network of its own, while wire.ts
 * watches. Where that cannot be, it is what the lesson put there when `make ladders` was last run.
 */
import process from "node:process";
import { type Arrow, labelOf } from "../../scripts/raw/wire/arrow.ts";
import { fit } from "../../scripts/raw/wire/ladder.ts";
import { kept, shown, stepsOf } from "../../site/ladders.ts";
import { draw, serving } from "../commands/wire.ts";
import type { Event } from "../engine/engine.ts";
import { temporaryFolder } from "../engine/files.ts";
import type { Section } from "../engine/head.ts";
import { lessons } from "../engine/lessons.ts";
import { makeNetwork } from "../engine/network.ts";
import { type Runtime, start } from "../engine/program.ts";
import { missing, record, type Recording, type Said } from "../engine/recording.ts";
import { type Exercise, exercises } from "./exercise.ts";
import { layOut } from "./judge.ts";

export type Wire = Pick<Recording, "moments"> & { sections: Section[] };

/** How long a run may take, in milliseconds; without a ladder, nothing is lost. */
const LIMIT = 60_000;

/** Plays a solved program, and gives what was on the wire; undefined where nothing was. */
export async function onTheWire(
  exercise: Exercise,
  source: string,
  runtime: Runtime,
): Promise<Wire | undefined> {
  const wire = missing ? ofLesson(exercise) : await played(exercise, source, runtime);
  return wire?.moments.some((moment) => "conversation" in moment) ? wire : undefined;
}

async function played({ name }: Exercise, source: string, runtime: Runtime): Promise<Wire> {
  await using network = await makeNetwork("ip link set lo up; mkdir /run/tmp\n", []);
  await using program = start([...network.inside, "bun", import.meta.path, name, runtime], {
    env: { TMPDIR: "/run/tmp" }, // goes with the network
    limit: LIMIT,
  });
  program.type(source);
  program.endOfInput();
  const { code, stdout, stderr } = await program.result();
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

/** What is kept of the lesson from which an exercise is cut. */
export function ofLesson({ name }: Exercise): Wire | undefined {
  const lesson = lessons().find(({ path }) => path === `scripts/${name}.ts`);
  const found = lesson && kept(lesson);
  if (!found) return undefined;
  const steps = stepsOf(lesson.head);
  const moments = found.moments.flatMap((moment): (Arrow | Said)[] => {
    if (!("terminal" in moment)) return [moment];
    const step = steps.get(moment.terminal)?.shift();
    return step ? [{ ...moment, kind: "stdout", text: shown(step) }] : [];
  });
  return { moments, sections: lesson.head.sections };
}

/** The whole ladder, as `make wire` draws it. */
export function ladder({ moments, sections }: Wire, say: (event: Event) => string): string[] {
  const lines: string[] = [];
  const said = moments.map((moment) =>
    "terminal" in moment && moment.kind === "command" ? { ...moment, text: say(moment) } : moment
  );
  draw({ moments: said }, serving({ sections }), undefined, (text) => lines.push(...text.split("\n")));
  return lines;
}

/** Each packet in one line, for a screen that has room for little else. */
export function packets({ moments }: Wire, width: number): string[] {
  let last: number | undefined;
  return moments.filter((moment): moment is Arrow => "conversation" in moment).flatMap((arrow) => {
    const { conversation, left, right, isToRight, isLost } = arrow;
    const ends = `${left}${" ".repeat(Math.max(1, width - left.length - right.length))}${right}`;
    const head = conversation === last ? [] : [ends];
    last = conversation;
    const label = fit(labelOf(arrow), width - 8);
    const line = "-".repeat(width - 4 - Bun.stringWidth(label));
    return [
      ...head,
      isToRight ? `| ${label} ${line}${isLost ? "X" : ">"}` : `${isLost ? "X" : "<"}${line} ${label} |`,
    ];
  });
}

if (import.meta.main) {
  const [name, runtime] = process.argv.slice(2);
  const exercise = exercises().find((exercise) => exercise.name === name);
  if (!exercise) throw new Error(`${name}: no such exercise`);
  await using outer = temporaryFolder();
  const [{ sections }] = exercise.scenes();
  const options = layOut(exercise, await Bun.stdin.text(), runtime as Runtime, outer.at("folder"));
  const { moments } = await record({ sections }, { ...options, asWritten: false });
  console.log(JSON.stringify({ moments, sections }));
}
