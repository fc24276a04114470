/**
 * Whether programs still do anything, from /proc (proc(5)). A program that waits for what never comes is found at
 * once, and one that a busy machine makes wait is not taken for it: it can run, and has only no turn.
 */
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";

/** How often we look, in milliseconds. */
export const PACE = 50;

/** The same where a person is about to type. */
const STEP = 10;

/** After so long a sleep, those are woken that need not sleep, in milliseconds. */
const WHILE = 250;

/** How long runtimes run between two looks while the program itself does nothing, in milliseconds. */
const NAP = 1;

/** What programs have done since they began; times are in nanoseconds. */
export type Doing = {
  /** How many processes they are. */
  count: number;
  ran: number;
  /** How long their threads could have run, and had no turn. */
  waited: number;
  /** Whether one of their threads can run now. */
  isAwake: boolean;
  /** Whether one of them was just ending. */
  isEnding: boolean;
};

/**
 * Which part of the time counts as processor time while programs wake and sleep, or start and end. They may have begun
 * only now, on a busy machine, where each step of a start takes long.
 */
const RESTLESS = 0.2;

/** So many processes are too many for any program: we need not count on. */
const ENOUGH = 200;

/** What processes, their threads and their children do. One that is just ending does something. */
function doingOf(pids: number[]): Doing {
  const sum: Doing = { count: 0, ran: 0, waited: 0, isAwake: false, isEnding: false };
  const look = (pid: number) => {
    if (sum.count++ > ENOUGH) return;
    try {
      for (const thread of readdirSync(`/proc/${pid}/task`)) {
        const read = (name: string) => readFileSync(`/proc/${pid}/task/${thread}/${name}`, "utf8");
        if (/^.*\) [RD]/s.test(read("stat"))) sum.isAwake = true; // PID (NAME) STATE ...; the name may hold anything
        const [ran, waited] = read("schedstat").split(" ").map(Number);
        sum.ran += ran;
        sum.waited += waited;
        read("children").split(" ").filter(Boolean).map(Number).forEach(look);
      }
    } catch {
      sum.isEnding = true;
    }
  };
  pids.forEach(look);
  return sum;
}

/** How long programs may go on without a word, in milliseconds, and how many processes they may be. */
export type Patience = { asleep: number; awake: number; many: number };

/** Programs at which somebody looks again and again, until it is clear that they say nothing any more. */
export class Silence {
  readonly #patience: Patience;
  #before: Doing | undefined;
  #heard: unknown;
  #awake = 0;
  /** How long they had slept when they were stirred. */
  #beforeStir = 0;
  /** How long they have slept, all of them, without a word, in milliseconds. */
  asleep = 0;

  constructor(patience: Patience) {
    this.#patience = patience;
  }

  /**
   * Looks once more, PACE after the last look.
   * @param now undefined while nothing is waited for
   * @param heard changes when something was heard of them
   * @returns why they are given up: they sleep, they are awake without a word, or they have become too many
   */
  look(now: Doing | undefined, heard: unknown): keyof Patience | undefined {
    const { asleep, awake, many } = this.#patience;
    const before = this.#before;
    const isNews = heard !== this.#heard;
    this.#heard = heard;
    this.#before = now;
    if (now && now.count > many) return "many";
    if (isNews) [this.#awake, this.#beforeStir] = [0, 0];
    if (isNews || !now || !before) {
      this.asleep = 0;
      return undefined;
    }
    // A thread that ends during a look is missed with all that it has ever done, and a pause of the machine may count
    // as work: so one look adds no more than two cores can do in its time.
    const ran = Math.min(2 * PACE, Math.max(0, (now.ran - before.ran) / 1e6));
    const waited = Math.max(0, (now.waited - before.waited) / 1e6);
    const isAsleep = !now.isAwake && !now.isEnding && ran < NAP;
    this.asleep = isAsleep ? this.asleep + PACE : this.#beforeStir;
    if (now.isAwake && !now.isEnding) this.#awake += ran;
    else if (!isAsleep) this.#awake += RESTLESS * Math.max(0, PACE - waited);
    if (this.asleep >= asleep) return "asleep";
    return this.#awake >= awake ? "awake" : undefined;
  }

  /** Somebody has stirred them: that they wake once is no news. */
  stirred(): void {
    this.#beforeStir = this.asleep;
  }
}

/**
 * Looks at programs until they say nothing any more. Time in which a busy machine gave them no turn does not count.
 * Linux only: elsewhere nobody can look, and it never resolves.
 * @param pids undefined while nothing is waited for
 * @param heard changes when something was heard of them
 * @param isOver true when nobody wants to know any more
 * @param stir called when they have slept for a while, so that those can be woken that need not sleep: true if any was
 */
export async function whenSilent(
  pids: () => number[] | undefined,
  heard: () => number,
  patience: Patience,
  isOver: () => boolean,
  stir: () => boolean,
): Promise<keyof Patience> {
  if (process.platform !== "linux") return await new Promise(() => {});
  const silence = new Silence(patience);
  while (!isOver()) {
    await new Promise((resolve) => setTimeout(resolve, PACE));
    const all = pids();
    const why = silence.look(all && doingOf(all), `${heard()} ${all}`);
    if (why) return why;
    if (silence.asleep === WHILE && stir()) silence.stirred();
  }
  return "asleep";
}

/** How long a program may run on before it waits, in nanoseconds of its processor time. */
const TOO_LONG = 400e6;

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
    if (now.ran - begin.ran > TOO_LONG) return;
    const isAsleep = before && !now.isAwake && !now.isEnding && (now.ran - before.ran) / 1e6 < NAP;
    slept = isAsleep ? slept + STEP : 0;
    before = now;
  }
}
