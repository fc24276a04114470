/**
 * The exercises: one for each bare program, cut out of it, and those with a text of their own (own.ts). An exercise is
 * data: what the learner finds, what solves it, and the scenes that the judge plays.
 */
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { Event } from "../engine/engine.ts";
import { parseSections, type Section } from "../engine/head.ts";
import { inProject, otherTerminals, withOthers } from "../engine/bare.ts";
import { type BareProgram, barePrograms, type Lesson, lessonOf, lessons } from "../engine/lessons.ts";
import { ROOT } from "../engine/program.ts";
import { chosenHoles, cut, type Depth, headAlone, type Hole } from "./holes.ts";
import { OWN, type Own } from "./own.ts";
import { reworded, scenesOf } from "./scenes.ts";

/** A text in both languages. */
export type Words = { en: string; zh: string };

/** Terminals that the judge plays. The learner's program is `bun bare/NAME.ts` there. */
export type Scene = {
  sections: Section[];
  /** How often it is played before it turns a program away: more than once where a busy machine could be too slow. */
  tries?: number;
  /** How long the programs may be busy without a word, where they have more to do than elsewhere, in milliseconds. */
  awake?: number;
  /** Looks at what the programs have left in their folder, and says what is wrong with it. */
  after?: (folder: string, events: Event[]) => string | undefined;
};

export type Exercise = {
  /** The number of its lesson. */
  number: string;
  /** "tcp/many-requests-server", or "own/upper-case" */
  name: string;
  /** The learner's file: "3.3-many-requests-server.ts". */
  file: string;
  title: Words;
  /** What was learned, in one sentence. */
  idea: Words;
  /** What the learner's file holds at first. */
  start: string;
  solution: string;
  /** Where the solution stands, from the top of the project. */
  path: string;
  holes: Hole[];
  /** The last one is the answer itself; there are three. */
  hints: (done: (hole: Hole) => boolean) => Words[];
  /** Made anew for each judgement, with other words each time. */
  scenes: () => Scene[];
};

/** The first lesson of a chapter leaves one call open, the last program of a chapter only its head. */
const FIRST = ["2.1", "3.1", "4.1"];
const LAST = ["udp/multicast-send", "unix/client", "apps/port-scan"];

/** All exercises, in the order of the course. */
export function exercises(): Exercise[] {
  const all = lessons();
  const bare = new Map(barePrograms().map((program) => [lessonOf(program), program]));
  const made = all.flatMap((lesson) => {
    const program = bare.get(lesson.path);
    return program ? [ofBare(program, lesson)] : [];
  });
  const place = ({ number }: Exercise) => all.findIndex(({ head }) => head.number === number);
  return [...made, ...OWN.map(ofOwn)].toSorted((a, b) => place(a) - place(b));
}

/** What is learned where a bare program does not do what its lesson does. */
const IDEAS: Record<string, Words> = {
  "tcp/many-clients-server": {
    en: "each caller has a socket of its own, and nobody waits.",
    zh: "每个呼叫者都有自己的套接字，谁也不用等。",
  },
};

function ofBare(program: BareProgram, { head }: Lesson): Exercise {
  const source = readFileSync(join(ROOT, program.path), "utf8");
  const name = program.path.replace(/^scripts\/|bare\/|\.ts$/g, "");
  const depth: Depth = LAST.includes(name) ? "head" : FIRST.includes(head.number) ? "one" : "calls";
  const holes = chosenHoles(source, depth);
  const file = `${head.number}-${basename(name)}.ts`;
  const rest = depth === "head" ? headAlone(source) : cut(source, holes);
  const terminals = program.head.text.split("\n");
  const begin = terminals.findIndex((line) => /^terminal \d+$/.test(line));
  const own = withOwnFile(terminals.slice(begin), `bun ${program.path}`, file);
  return {
    number: head.number,
    name,
    file,
    title: { en: head.title, zh: head.chinese.title },
    idea: IDEAS[name] ?? { en: head.idea, zh: head.chinese.idea },
    start: rest.replace(
      /\/\*\*[^]*?\*\//,
      () =>
        comment([
          `${head.number} ${program.head.title}: each TODO is yours.`,
          "The comment there is what Python would say.",
          `${head.chinese.title}：每个 TODO 由你来写，注释里是 Python 的写法。`,
          "",
          ...own,
        ]),
    ),
    solution: source,
    path: program.path,
    holes,
    hints: (done) => hintsOf(holes.find((hole) => !done(hole)) ?? holes[0]),
    scenes: () =>
      scenesOf(name, otherTerminals(program).map((others) => withOthers(program, others, "lesson"))),
  };
}

/** Three hints for a hole: Python's words, the name of the call, and the line itself. */
function hintsOf({ python, code }: Hole): Words[] {
  const call = /(?:new )?[\w.]+(?=\()(?!.*\bawait once)|once\(\w+, "\w+"/.exec(
    code[0].replace(/^(?:const|let) .*?= |^for await \(.*? of /, ""),
  )?.[0] ?? code[0];
  const isInCall = code[0].split("(").length > code[0].split(")").length;
  const isOpen = code.length === 1 && code[0].endsWith("{"); // its block stands in the learner's file
  const lines = [...code, ...(isOpen ? ["  ...", isInCall ? "});" : "}"] : [])].join("\n");
  return [
    { en: `Python: ${python}`, zh: `Python 的写法：${python}` },
    { en: `The call is ${call}...`, zh: `要用的调用是 ${call}...` },
    { en: lines, zh: lines },
  ];
}

function ofOwn({ number, name, title, idea, text, hints, scenes = [], ...first }: Own): Exercise {
  const file = `${number}-${name}.ts`;
  const path = `tests/practice/own/${name}.ts`;
  const solution = readFileSync(join(ROOT, path), "utf8");
  const head = [
    `${number} ${title.en}`,
    "",
    ...text.en.split("\n"),
    "",
    `${title.zh}`,
    "",
    ...text.zh.split("\n"),
    "",
  ];
  const lines = first.terminals.trim().split("\n");
  return {
    number,
    name: `own/${name}`,
    file,
    title,
    idea,
    start: `#!/usr/bin/env bun\n${
      comment([...head, ...withOwnFile(lines, `bun bare/${name}.ts`, file)])
    }\n// TODO\n`,
    solution,
    path,
    holes: [],
    hints: () => [...hints, { en: solution, zh: solution }],
    scenes: () =>
      [first, ...scenes].map(({ terminals, ...rest }) => ({
        ...rest,
        sections: reworded(transcript(terminals)),
      })),
  };
}

/** The lines of a comment, as a head shows them. */
const comment = (lines: string[]) => `/**\n${lines.map((line) => ` * ${line}`.trimEnd()).join("\n")}\n */`;

/** The terminals with the learner's file in the place of a program. */
const withOwnFile = (lines: string[], command: string, file: string) =>
  lines.map((line) => line.replace(`$ ${command}`, `$ bun practice/${file}`));

/** The terminals of a text. `bun scripts/...` and `bun tests/...` are programs of the project. */
export function transcript(text: string): Section[] {
  return parseSections(text.trim().split("\n")).map(({ terminal, steps }) => ({
    terminal,
    steps: steps.map((step) =>
      step.kind === "run" ? { kind: "run", command: step.command.split(" ").map(inProject).join(" ") } : step
    ),
  }));
}

/** What `make check` insists on: a bare program of which nothing can be taken out makes no exercise. */
export function withoutHole(): string[] {
  return exercises().filter(({ name, holes }) => !name.startsWith("own/") && holes.length === 0)
    .map(({ path }) => `${path}: no call to take out: a comment behind it must hold Python's`);
}
