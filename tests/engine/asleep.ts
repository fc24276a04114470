/**
 * Whether programs still do anything, from /proc (proc(5)). A program that waits for what never comes is found at
 * once, and one that a busy machine makes wait is not taken for it: it can run, and has only no turn.
 */
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";

/** How often we look, in milliseconds. */
const PACE = 50;

/** The same where a person is about to type. */
const STEP = 10;

/** How long runtimes run between two looks while the program itself does nothing, in milliseconds. */
const NAP = 1;

/** What programs have done since they began; times are in nanoseconds. */
type Doing = {
  /** How many processes they are. */
  count: number;
  ran: number;
  /** How long their threads could have run, and had no turn. */
  waited: number;
  /** Whether one of their threads can run now. */
  isAwake: boolean;
};

/** What processes, their threads and their children do; undefined while one of them is just ending. */
function doingOf(pids: number[]): Doing | undefined {
  const sum: Doing = { count: 0, ran: 0, waited: 0, isAwake: false };
  const look = (pid: number) => {
    sum.count++;
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const read = (name: string) => readFileSync(`/proc/${pid}/task/${thread}/${name}`, "utf8");
      if (/^.*\) [RD]/s.test(read("stat"))) sum.isAwake = true; // PID (NAME) STATE ...; the name may hold anything
      const [ran, waited] = read("schedstat").split(" ").map(Number);
      sum.ran += ran;
      sum.waited += waited;
      read("children").split(" ").filter(Boolean).map(Number).forEach(look);
    }
  };
  try {
    pids.forEach(look);
    return sum;
  } catch {
    return undefined;
  }
}

/** How long programs may go on without a word, in milliseconds, and how many processes they may be. */
export type Patience = { asleep: number; awake: number; many: number };

/**
 * Resolves when programs say nothing any more: all of them have slept for some time ("asleep"), or have been awake so
 * long ("awake"). Time in which a busy machine gave them no turn does not count. It also resolves when they have become
 * too "many". Linux only: elsewhere it never resolves.
 * @param pids undefined while nothing is waited for
 * @param heard changes when something was heard of them
 * @param isOver true when nobody wants to know any more
 */
export async function whenSilent(
  pids: () => number[] | undefined,
  heard: () => number,
  patience: Patience,
  isOver: () => boolean,
): Promise<keyof Patience> {
  if (process.platform !== "linux") return await new Promise(() => {});
  let [asleep, awake, before, said] = [0, 0, undefined as Doing | undefined, ""];
  while (!isOver()) {
    await new Promise((resolve) => setTimeout(resolve, PACE));
    const all = pids();
    const now = all && doingOf(all);
    const isNews = `${heard()} ${all}` !== said;
    said = `${heard()} ${all}`;
    if (now && now.count > patience.many) return "many";
    if (isNews) awake = 0;
    if (!now || !before || isNews) asleep = 0;
    else {
      const [ran, waited] = [(now.ran - before.ran) / 1e6, (now.waited - before.waited) / 1e6];
      const isAsleep = !now.isAwake && ran < NAP;
      asleep = isAsleep ? asleep + PACE : 0;
      if (!isAsleep) awake += Math.max(0, now.isAwake ? ran : PACE - waited);
      if (asleep >= patience.asleep) return "asleep";
      if (awake >= patience.awake) return "awake";
    }
    before = now;
  }
  return "asleep";
}

/** How long a program may run on before it waits, in nanoseconds of its processor time. */
const TOO_LONG = 2e9;

/**
 * Resolves when a program has waited for a while, for its keyboard for example; at once where there is no /proc.
 * @param pid undefined when it has ended
 * @param calm how long it must sleep, in milliseconds
 * @param isReady true when it is known to be waiting
 */
export async function whenWaiting(
  pid: () => number | undefined,
  calm: number,
  isReady: () => boolean,
): Promise<void> {
  let begin: Doing | undefined, before: Doing | undefined, slept = 0;
  while (process.platform === "linux" && slept < calm && !isReady()) {
    await new Promise((resolve) => setTimeout(resolve, STEP));
    const own = pid();
    if (own === undefined) return;
    const now = doingOf([own]);
    begin ??= now;
    if (now && begin && now.ran - begin.ran > TOO_LONG) return;
    const isAsleep = now && before && !now.isAwake && (now.ran - before.ran) / 1e6 < NAP;
    slept = isAsleep ? slept + STEP : 0;
    before = now;
  }
}
