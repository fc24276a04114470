/**
 * The judge: whether a learner's program solves an exercise. The engine plays the scenes with it at one end and a
 * program of the course at the other: what that one says decides too, so that printing without talking is not enough.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { basename, join } from "node:path";
import process from "node:process";
import { type Event, Mismatch, type Options, play } from "../engine/engine.ts";
import { temporaryFolder } from "../engine/files.ts";
import { KEEPER, ROOT, type Runtime, RUNTIMES } from "../engine/program.ts";
import type { Exercise, Scene } from "./exercise.ts";
import { typesOf } from "./types.ts";

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

/**
 * How long all programs may be silent while something is awaited, in milliseconds, and how many processes they may be.
 * When all of them sleep, only a timer can wake one. The kernel's own (a delayed acknowledgement, 200 ms at most) are
 * shorter than that, and those that the exercises ask for, too: a second. A program that has no turn does not sleep.
 * Awake is processor time: Node needs a tenth of it for its start.
 */
const PATIENCE = { asleep: 1200, awake: 1000, many: 32 };
/** The same where nobody can see whether they sleep; and how much a program may print, in bytes. */
const LIMIT = process.platform === "linux" ? 300_000 : 10_000;
const MOST = 200_000;

/**
 * How many processes and threads the system lets a program have: it counts those of a user namespace since Linux 5.14,
 * before that all of a person; it does not bind root. `ulimit` calls it -p in dash, -u in other shells.
 */
const THREADS = 512;
const [major, minor] = release().split(".").map(Number);
const LIMITED = major > 5 || major === 5 && minor >= 14
  ? `ulimit -p ${THREADS} 2>&- || ulimit -u ${THREADS} 2>&-; `
  : "";

/**
 * From now on, all that is mounted can only be read: by one call for the whole tree, mount_setattr(2), a system call of
 * Linux 5.12 for which mount(8) has no word before version 2.39; else by one call for each.
 */
const READ_ONLY = `
  perl -e '$p = "/"; $a = pack "Q4", 1; exit(syscall(442, -100, $p, 0x8000, $a, 32) != 0)' 2>&- ||
  while read -r _ _ _ _ place how _; do
    case $how in ro|ro,*) ;; *) mount -o remount,bind,ro "$(printf %b "$place")" || exit 1 ;; esac
  done </proc/self/mountinfo`;

/**
 * Runs a program that can write in its own folder alone (and, that it need not wait for its cache, Deno in that), and
 * that cannot escape: its PID namespace has a keeper, and ends with it. It needs namespaces, which not every machine lets
 * us make.
 */
const shutInOf = (isDeno: boolean) => `
  d=$(pwd)
  cache=${isDeno ? '; mkdir -p "$DENO_DIR" 2>&- && cache=$DENO_DIR' : ""}
  for own in "$d" \${cache:+"$cache"}; do mount --bind "$own" "$own" || exit 1; done
  ${READ_ONLY}
  for own in "$d" \${cache:+"$cache"}; do mount -o remount,bind,rw "$own" || exit 1; done
  cd "$d" || exit 1
  exec unshare -p sh -c "$0" sh "$@"`;
/**
 * The first child of this shell is the first process of the namespace. A signal for all of them is the program's alone:
 * the shell goes on to its exit code.
 */
const kept = (end: string) => `trap : HUP INT TERM; ${LIMITED}${KEEPER} <&- >&- 2>&- & "$@"; ${end}`;
export function shutIn(words: string[], end = "exit $?"): string[] {
  return ["unshare", "-Urm", "sh", "-c", shutInOf(words.includes("deno")), kept(end), ...words];
}

/** Bun looks each second whether there is garbage. A program in which that is all that happens must be seen to sleep. */
const QUIETLY = process.platform === "linux" ? ["env", "BUN_GC_TIMER_DISABLE=1"] : [];

/** A program of the course runs in the learner's folder, and reads no bunfig.toml and no .env that may lie there. */
const unmoved = ([program, ...words]: string[]) =>
  program === "bun"
    ? [program, `--config=${join(ROOT, "bunfig.toml")}`, "--no-env-file", ...words]
    : [program, ...words];

let canShutIn: boolean | undefined;

/**
 * Judges a program.
 * @param runtime what runs it; the programs of the course at the other end run on Bun, as this one does
 */
export async function judge(exercise: Exercise, source: string, runtime: Runtime): Promise<Verdict> {
  const began = performance.now();
  const stop = new AbortController();
  const types = typesOf(source);
  types.then((wrong) => wrong && stop.abort(), () => stop.abort()); // told below
  const verdict = await scenesWith(exercise, source, runtime, stop.signal);
  const wrong = await types;
  const first = wrong ? { solved: false, events: [], ...wrong } : verdict;
  return { ...first, ms: Math.round(performance.now() - began) };
}

async function scenesWith(
  exercise: Exercise,
  source: string,
  runtime: Runtime,
  stop: AbortSignal,
): Promise<Omit<Verdict, "ms">> {
  let shown: Event[] | undefined;
  for (const scene of exercise.scenes()) {
    if (stop.aborted) break;
    const events: Event[] = [];
    shown ??= events;
    let why: string | undefined;
    for (let tries = scene.tries ?? 1; tries > 0; tries--) {
      events.length = 0;
      why = await mistake(exercise, scene, source, runtime, events, stop);
      if (why === undefined || stop.aborted) break;
    }
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

/** What the engine says of a program that prints the port of the head: the line of the head, its own, the right one. */
const PORT_OF_HEAD =
  /(?<=^expected on \w+:\n {2})[^\n]*(\nbut saw:\n {2}[^\n]*)\nbut the port is another one here:\n {2}([^\n]*)$/m;
const EXAMPLE = "the port in the head is an example; the real one is another";

/** What the engine says of a program that handles its Ctrl-C, and of nothing else: that is as right. */
const HANDLES_CTRL_C = /^terminal \d+: \$ bun bare\/[^\n]*\nended with exit code 0, not 130$/;

/** Whether a command runs the learner's program. */
const isOwn = (command: string) => command.startsWith("bun bare/");

/** Lays out a program in a folder, and says how it is played there: shut in, with the course's own at the other end. */
export function layOut(exercise: Exercise, source: string, runtime: Runtime, folder: string): Options {
  mkdirSync(join(folder, "bare"), { recursive: true });
  writeFileSync(join(folder, nameIn(exercise)), source);
  cpSync(join(ROOT, "scripts/tcp/phone.svg"), join(folder, "phone.svg"));
  canShutIn ??= process.platform === "linux" &&
    spawnSync("unshare", shutIn(["true"], "code=$?; kill -KILL $!; exit $code").slice(1), { cwd: folder })
        .status === 0;
  const wrap = (words: string[], command: string) => {
    if (!isOwn(command)) return [...QUIETLY, ...unmoved(words)];
    const own = [...QUIETLY, ...RUNTIMES[runtime], ...words.slice(1)];
    return canShutIn ? shutIn(own) : own;
  };
  return { server: "bun", client: "bun", folder, wrap, asPerson: isOwn };
}

/** Plays a scene. @returns what is wrong */
async function mistake(
  exercise: Exercise,
  scene: Scene,
  source: string,
  runtime: Runtime,
  events: Event[],
  stop: AbortSignal,
): Promise<string | undefined> {
  await using outer = temporaryFolder();
  const folder = outer.at("folder");
  const on = (text: string) =>
    text.replace(/^(terminal \d+: \$ )?bun (?=bare\/)/, `$1${RUNTIMES[runtime].join(" ")} `);
  try {
    await play({ sections: scene.sections }, {
      ...layOut(exercise, source, runtime, folder),
      limit: LIMIT,
      most: MOST,
      patience: { ...PATIENCE, awake: scene.awake ?? PATIENCE.awake },
      stop,
      onEvent: ({ terminal, kind, text }) =>
        events.push({ terminal, kind, text: inBounds(kind === "command" ? on(text) : text) }),
    });
  } catch (error) {
    if (!(error instanceof Mismatch)) throw error;
    const why = error.message.split("\n\nUntil then:\n")[0].replace(PORT_OF_HEAD, `$2$1\n${EXAMPLE}`);
    if (!HANDLES_CTRL_C.test(why)) return on(why);
  }
  const strangers = readdirSync(outer.path).filter((name) => name !== "folder");
  if (strangers.length > 0) return `wrote outside of its folder: ${strangers.join(", ")}`;
  return scene.after?.(folder, events);
}
