/**
 * The judge: whether a learner's program solves an exercise. The engine plays the scenes with it at one end and a
 * program of the course at the other: what that one says decides too, so that printing without talking is not enough.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import process from "node:process";
import { type Event, Mismatch, play } from "../engine/engine.ts";
import { temporaryFolder } from "../engine/files.ts";
import { ROOT, type Runtime, start } from "../engine/program.ts";
import type { Exercise, Scene } from "./exercise.ts";

export type Verdict = {
  solved: boolean;
  /** Why not: the terminal and its command, then what was expected, what was seen. */
  why: string;
  /** The line of the learner's file that is wrong, or that threw. */
  line?: number;
  /** What happened in the terminals until then. */
  events: Event[];
  ms: number;
};

/** How long all programs may sleep while something is awaited: what is on its way through this machine is never on
 * its way that long, and who has no turn does not sleep. */
const PATIENCE = 1000;
/** How long a line may take where nobody sleeps, in milliseconds, and how much a program may print, in bytes. */
const LIMIT = 10_000;
const MOST = 200_000;

/** Runs a program that can write in its own folder alone. It needs a namespace, which not every machine lets us make. */
const SHUT_IN =
  'd=$(pwd); mount --bind "$d" "$d" && mount -o remount,bind,ro / && cd "$d" || exit 1; exec "$@"';
const shutIn = (words: string[]) => ["unshare", "-Urm", "sh", "-c", SHUT_IN, "sh", ...words];
let canShutIn: boolean | undefined;

/**
 * Judges a file.
 * @param runtime what runs the program, and the one at the other end
 */
export async function judge(exercise: Exercise, file: string, runtime: Runtime): Promise<Verdict> {
  const began = performance.now();
  const types = typesOf(file);
  types.catch(() => {}); // told below
  const verdict = await scenesWith(exercise, file, runtime);
  const wrong = await types;
  const first = wrong ? { solved: false, events: [], ...wrong } : verdict;
  return { ...first, ms: Math.round(performance.now() - began) };
}

async function scenesWith(exercise: Exercise, file: string, runtime: Runtime): Promise<Omit<Verdict, "ms">> {
  let shown: Event[] | undefined;
  for (const scene of exercise.scenes()) {
    const events: Event[] = [];
    shown ??= events;
    const why = await mistake(exercise, scene, file, runtime, events);
    if (why === undefined) continue;
    const place = RegExp(`${RegExp.escape(nameIn(exercise))}:(\\d+)`);
    const threw = said(events, place);
    const error = said(
      events,
      /^\s*(?:error: )?(?:Uncaught )?(?:\(in promise\) )?(\w*Error: .*|E[A-Z]+: .*)/,
    );
    const text = error ? `${why}\nit said: ${error}` : why;
    return {
      solved: false,
      why: text.split("\n").map(inBounds).join("\n"),
      events,
      ...(threw && { line: Number(threw) }),
    };
  }
  return { solved: true, why: "", events: shown ?? [] };
}

/** The first that fits of what was said on stderr. */
function said(events: Event[], pattern: RegExp): string | undefined {
  const texts = events.filter(({ kind }) => kind === "stderr").map(({ text }) => pattern.exec(text)?.[1]);
  return texts.find((text) => text !== undefined);
}

/** A line as long as somebody reads one. */
const inBounds = (line: string) => (line.length > 200 ? `${line.slice(0, 200)}…` : line);

/** The file of a learner's program where it is played. */
const nameIn = ({ name }: Exercise) => `bare/${basename(name)}.ts`;

/** Plays a scene. @returns what is wrong */
async function mistake(
  exercise: Exercise,
  scene: Scene,
  file: string,
  runtime: Runtime,
  events: Event[],
): Promise<string | undefined> {
  await using outer = temporaryFolder();
  const folder = outer.at("folder");
  mkdirSync(join(folder, "bare"), { recursive: true });
  cpSync(file, join(folder, nameIn(exercise)));
  cpSync(join(ROOT, "scripts/tcp/phone.svg"), join(folder, "phone.svg"));
  canShutIn ??= process.platform === "linux" &&
    spawnSync("unshare", ["-Urm", "sh", "-c", SHUT_IN, "sh", "true"], { cwd: folder }).status === 0;
  try {
    await play({ sections: scene.sections }, {
      server: runtime,
      client: runtime,
      folder,
      limit: LIMIT,
      most: MOST,
      patience: scene.patience ?? PATIENCE,
      wrap: (words, command) => (canShutIn && command.startsWith("bun bare/") ? shutIn(words) : words),
      onEvent: (event) => events.push({ ...event, text: inBounds(event.text) }),
    });
  } catch (error) {
    if (!(error instanceof Mismatch)) throw error;
    const [why] = error.message.split("\n\nUntil then:\n");
    if (!why.endsWith("ended with exit code 0, not 130")) return why; // one that handles its Ctrl-C is as right
  }
  const strangers = readdirSync(outer.path).filter((name) => name !== "folder");
  if (strangers.length > 0) return `wrote outside of its folder: ${strangers.join(", ")}`;
  return scene.after?.(folder, events);
}

const OPTIONS =
  "--ignoreConfig --noEmit --pretty false --target esnext --lib esnext --module esnext --moduleResolution bundler --types node --skipLibCheck --allowImportingTsExtensions --strict false --erasableSyntaxOnly"
    .split(" ");

/** The first mistake in the syntax or the types of a file. Less is asked than of the course: `any` is welcome. */
async function typesOf(file: string): Promise<Pick<Verdict, "why" | "line"> | undefined> {
  await using tsc = start(["tsc", ...OPTIONS, "--typeRoots", join(ROOT, "node_modules/@types"), file], {
    limit: 60_000,
  });
  const { code, stdout } = await tsc.result();
  if (code === 0) return undefined;
  const [, line, why] = /\((\d+),\d+\): error TS\d+: (.*)/.exec(stdout) ?? [];
  return { why: why ?? stdout, ...(line && { line: Number(line) }) };
}
