/**
 * `make lab`: opens a shell in a small internet, which ends with it. `RUN="alice bun scripts/udp/receive.ts"` runs one
 * line there instead, and ends with its exit code. `L=2.1` plays a transcript of tests/lab there. `T=1`: a pane of
 * tmux for each host.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import process from "node:process";
import { explain, Failure } from "../../lib/failure.ts";
import { report } from "../../lib/program.ts";
import { chalk, columns, WIDTH } from "../engine/columns.ts";
import { Mismatch, play } from "../engine/engine.ts";
import { environment, ROOT } from "../engine/environment.ts";
import { parseSections } from "../engine/head.ts";
import { makeLab, TOOLS } from "../engine/lab.ts";
import { whatIsMissing } from "../engine/network.ts";
import { choose } from "./choose.ts";
import { endInOrder } from "./interrupt.ts";

/** How often to look whether `make` is still there, in ms: killed, it could not tell us. */
const TICK = 200;

const SHELL = "lab; exec lab-shell lab";

/** A pane for each host, and one for the lab's own commands. */
const PANES = `tmux() { command tmux -S /run/lab/tmux -f /dev/null "$@"; }
tmux new-session -d -s lab 'lab; lab-shell lab'
tmux set -g mouse on
tmux set -g pane-border-status top
tmux select-pane -T lab
for host in alice bob carol dave erin server; do
  tmux split-window -t lab $host
  tmux select-pane -t lab -T $host
  tmux select-layout -t lab tiled
done
exec tmux -S /run/lab/tmux attach -t lab`;

/** The lessons that are shown between hosts. */
const transcripts = () =>
  globSync("*.txt", { cwd: join(ROOT, "tests", "lab") }).map((name) => basename(name, ".txt")).sort();

/** What is run in the lab. @throws Failure when there is no transcript of a lesson */
function chosen({ RUN, L, T }: NodeJS.ProcessEnv): string {
  if (L) {
    const [{ head }] = choose(L);
    if (!transcripts().includes(head.number)) {
      throw new Failure(`L=${L}`, "not shown between hosts", "ENOENT", { hint: transcripts().join(", ") });
    }
    return `exec bun tests/commands/lab.ts play ${head.number}`;
  }
  return RUN ?? (T ? PANES : SHELL);
}

async function main(): Promise<number> {
  const script = chosen(process.env);
  const missing = whatIsMissing([...TOOLS, ...(script === PANES ? ["tmux"] : [])]);
  if (missing) throw new Failure("make lab", missing.what, "ENOSYS", { hint: missing.hint });
  endInOrder();
  const parent = process.ppid;
  await using network = await makeLab();
  const env = environment({ TERM: process.env.TERM ?? "dumb", TMPDIR: "/run/lab/tmp" });
  if (chalk.level > 0) Object.assign(env, { NO_COLOR: "", FORCE_COLOR: "1" });
  env.PATH = `/run/lab/bin:${env.PATH}`;
  const [word, ...words] = [...network.inside, "sh", "-c", script];
  const shell = spawn(word, words, { env, stdio: "inherit" });
  const timer = setInterval(() => process.ppid === parent || shell.kill("SIGKILL"), TICK);
  const [code, signal] = await once(shell, "exit");
  clearInterval(timer);
  if (signal) return 1;
  return script === SHELL || script === PANES ? 0 : code; // in a shell, the last command's code is no failure of ours
}

/** Plays a transcript; in the lab. */
async function playInside(number: string): Promise<void> {
  endInOrder();
  const [title, ...lines] = readFileSync(join(ROOT, "tests", "lab", `${number}.txt`), "utf8").trimEnd().split(
    "\n",
  );
  const sections = parseSections(lines);
  const hosts: string[] = [];
  for (const { terminal, steps } of sections) {
    const host = steps.flatMap((step) =>
      step.kind === "run" ? /^(\w+) bun/.exec(step.command)?.[1] ?? [] : []
    )[0];
    hosts[terminal - 1] = host ?? hosts[terminal - 1] ?? "the lab";
  }
  console.log(`\n${chalk.bold(title)}\n`);
  await play({ sections }, { asWritten: true, pace: 400, onEvent: columns(hosts, WIDTH, console.log) });
}

try {
  const [action, number] = process.argv.slice(2);
  if (action === "play") await playInside(number);
  else process.exitCode = await main();
} catch (error) {
  if (error instanceof Mismatch) console.error(`\n${error.message}`);
  else await report(explain(error) ?? error);
  process.exitCode = 1;
}
