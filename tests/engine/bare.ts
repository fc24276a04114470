/** The bare programs: played alone in a folder outside the project, with another program at the other end. */
import { cp, mkdir, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Cell } from "./alone.ts";
import { play, quoted } from "./engine.ts";
import { temporaryFolder } from "./files.ts";
import type { Section, Step } from "./head.ts";
import type { BareProgram } from "./lessons.ts";
import { ROOT } from "./program.ts";

/** Who is at the other end: the whole lesson, or the program of the Python notes. */
export type Other = "lesson" | "python";

/** What the other end does differently from the bare program in whose place it is. */
type Difference = {
  /** The file of a Python program, in tests/python. */
  python?: string;
  /** Its words, from those of the bare program: without the port, which the engine adds to a lesson. */
  words?: (words: string[]) => string;
  /** Its steps for one step of the bare program: another line, one more, or none. */
  steps?: (step: Step, words: string[]) => Step[];
};

const see = (text: string): Step => ({ kind: "see", text });
const type = (text: string): Step => ({ kind: "type", text });

/** Changes the lines that are seen; one that becomes undefined is not printed. */
const lines = (change: (line: string) => string | undefined) => (step: Step): Step[] => {
  if (step.kind !== "see" || step.text.startsWith("listening on ")) return [step];
  const text = change(step.text);
  return text === undefined ? [] : [see(text)];
};
const fromWhere = lines((line) => line.replace(" to ", " from 127.0.0.1:50001 to "));

const LESSONS: Record<string, Difference> = {
  "udp/send": { steps: fromWhere },
  "udp/chat": { words: ([own, other]) => `--mode menu --local-port ${own} --to 127.0.0.1:${other}` },
  "udp/broadcast-send": { steps: fromWhere },
  "udp/multicast-send": { steps: fromWhere },
  "tcp/framing-server": {
    words: () => "--framing line",
    steps: lines((line) =>
      line.replace(/ > (.*)/, (_, text) => ` > ${Buffer.byteLength(text)} bytes: ${text}`)
    ),
  },
  "tcp/framing-client": {
    words: () => "--framing line",
    steps: (step) =>
      step.kind === "type" && step.text !== "exit"
        ? [step, see(`sent ${Buffer.byteLength(step.text) + 1} bytes`)]
        : [step],
  },
  "tcp/picture-client": {
    words: () => "--out album",
    steps: (step) => (step.kind === "run" ? [{ kind: "run", command: "mkdir album" }, step] : [step]),
  },
  "apps/download-basic-server": { words: ([, folder]) => `--root ${folder}` },
};

/** The notes print each text with its bytes. */
const hex = (text: string) => `${Buffer.from(text).toString("hex")} = ${text}`;
/** Of the lines of a server, they print the requests alone. */
const requests = lines((line) => / > (.*)/.exec(line)?.slice(1).map(hex)[0]);
const replies = lines(hex);
const silent = lines(() => undefined);
/** What is a word of the bare program is typed. */
const typed = (steps: (step: Step) => Step[]) => (step: Step, [, word]: string[]): Step[] =>
  step.kind === "run" ? [step, type(word)] : steps(step);

const PYTHON: Record<string, Difference> = {
  "udp/receive": { python: "udp_receive.py", steps: lines((line) => line.replace(/(?<= > ).*/, hex)) },
  "udp/send": { python: "udp_send.py", steps: silent },
  "udp/echo-server": { python: "udp_echo_server.py", steps: requests },
  "udp/echo-client": { python: "udp_echo_client.py", steps: replies },
  "udp/chat": { python: "udp_chat.py", words: ([own, other]) => `${own} utf-8 ${other}` },
  "udp/broadcast-receive": { python: "udp_broadcast_receive.py" },
  "udp/broadcast-send": { python: "udp_broadcast_send.py", steps: silent },
  "udp/multicast-receive": { python: "udp_multicast_receive.py" },
  "udp/multicast-send": { python: "udp_multicast_send.py", steps: silent },
  "tcp/server": { python: "tcp_server.py", steps: requests },
  "tcp/client": { python: "tcp_client.py", words: ([port]) => `${port} utf-8`, steps: typed(replies) },
  "tcp/many-clients-server": { python: "tcp_many_clients_server.py", steps: requests },
  "tcp/many-requests-server": {
    python: "tcp_many_requests_server.py",
    steps: lines((
      line,
    ) => (line.endsWith(" hung up") ? "hung up" : / > (.*)/.exec(line)?.slice(1).map(hex)[0])),
  },
  "tcp/dialog-client": { python: "tcp_dialog_client.py", steps: replies },
  "tcp/time-server": { python: "date_server.py", steps: lines((line) => line.replace(/ to .*/, "")) },
  "tcp/time-client": { python: "date_client.py" },
  "tcp/framing-server": { python: "framing_server.py" },
  "tcp/framing-client": { python: "framing_client.py" },
  "tcp/picture-server": {
    python: "picture_server.py",
    words: ([port, file]) => `${port} utf-8 ${file}`,
    steps: silent,
  },
  "tcp/picture-client": { python: "picture_client.py" },
  "unix/server": { python: "unix_server.py", words: () => "lesson.sock utf-8" },
  "unix/client": { python: "unix_client.py", words: () => "lesson.sock utf-8" },
  "apps/download-basic-server": {
    python: "download_server.py",
    words: ([port]) => `${port} utf-8`,
    steps: lines((line) => / > (.*)/.exec(line)?.[1]),
  },
  "apps/download-basic-client": {
    python: "download_client.py",
    words: ([port]) => `${port} utf-8`,
    steps: typed(silent),
  },
};

/** The name of a script, udp/send, in the command of a bare program; undefined for another command. */
const nameOf = (command: string) => {
  const [, chapter, name] = /^bun scripts\/(\w+)\/bare\/(\S+)\.ts/.exec(command) ?? [];
  return name && `${chapter}/${name}`;
};

/** The terminals in which another program can be: those of the others, or else each but one. */
export function otherTerminals({ path, head }: BareProgram): number[][] {
  const all = head.sections.map(({ terminal, steps: [first] }) => ({
    terminal,
    isOwn: first.kind === "run" && first.command.includes(path),
  }));
  const others = all.filter(({ isOwn }) => !isOwn).map(({ terminal }) => terminal);
  return others.length > 0 ? [others] : all.map(({ terminal }) => [terminal]);
}

/**
 * The terminals of a bare program, which lies in a folder bare/, with other programs in some of them.
 * @param terminals where the other programs are
 */
export function withOthers({ head }: BareProgram, terminals: number[], other: Other): Section[] {
  return head.sections.map(({ terminal, steps }) => {
    if (!terminals.includes(terminal)) return { terminal, steps: steps.map(inBareFolder) };
    let name = "";
    let words: string[] = [];
    return {
      terminal,
      steps: steps.flatMap((step): Step[] => {
        if (step.kind === "run") {
          name = nameOf(step.command) ?? "";
          words = step.command.split(" ").slice(2).map(inProject);
          const { python, words: change } = difference();
          const rest = change?.(words) ?? (python ? "utf-8" : words.slice(1).join(" "));
          const script = python
            ? `python3 ${inProject("tests/python/run.py")} ${inProject(`tests/python/${python}`)}`
            : `bun ${inProject(`scripts/${name}.ts`)}`;
          step = { kind: "run", command: `${script} ${rest}`.trim() };
        }
        if (step.kind === "exit" && other === "lesson") return []; // a lesson handles its ^C: exit code 0
        return difference().steps?.(step, words) ?? [step];
      }),
    };

    function difference(): Difference {
      return (other === "lesson" ? LESSONS[name] : PYTHON[name]) ?? {};
    }
  });
}

/** A word that is a path of the project, from anywhere. */
export const inProject = (word: string) =>
  /^(?:scripts|tests)(\/|$)/.test(word) ? quoted(join(ROOT, word)) : word;

/** A command of a bare program, where it lies alone in the folder bare/. */
function inBareFolder(step: Step): Step {
  if (step.kind !== "run") return step;
  const command = step.command.replace(/scripts\/\w+\/(?=bare\/)/, "").split(" ").map(inProject).join(" ");
  return { kind: "run", command };
}

/**
 * Plays the head of a bare program, which lies alone in a folder outside the project, with other programs in
 * the other terminals.
 * @param playOne what plays it: a bare program that two other programs can talk to is played twice
 * @param outer where its folder is made, if not in a temporary one: a runtime that keeps what it has compiled finds it
 * by its path
 * @throws Mismatch
 */
export async function playBare(
  program: BareProgram,
  other: Other,
  cell: Cell = {},
  playOne: typeof play = play,
  outer?: string,
): Promise<void> {
  await using own = outer === undefined ? temporaryFolder() : undefined;
  const folder = join(outer ?? own?.path ?? "", "alone");
  for (const terminals of otherTerminals(program)) {
    await rm(folder, { recursive: true, force: true });
    await mkdir(join(folder, "bare"), { recursive: true });
    await cp(join(ROOT, program.path), join(folder, "bare", basename(program.path)));
    if (other === "python") await cp(join(ROOT, "scripts/tcp/phone.svg"), join(folder, "phone.svg"));
    await playOne({ sections: withOthers(program, terminals, other) }, { ...cell, folder });
  }
}
