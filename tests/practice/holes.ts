/**
 * How an exercise is cut out of a bare program. A comment behind code that holds a call of Python's socket names a
 * hole: the code goes, Python's call stays, with `TODO`.
 */

/** Code that is taken out. */
export type Hole = {
  /** "s.sendto(data, (HOST, PORT))" */
  python: string;
  /** The line of the code in the solution, counted from 1. */
  line: number;
  /** The code without its comment; where the block that it opens goes too, that as well. */
  code: string[];
};

/** How much is left open: the one central call, each call, or all but the head and the constants. */
export type Depth = "one" | "calls" | "head";

/** Code, and behind it Python's call, or what an empty read means there. */
const LINE = /^( *)(\S.*?) *\/\/ +((?:.*\b(?:s|connection)\.\w+\(|.*= socket\(|if not \w+:).*)$/;

/**
 * No judge sees from outside whether these are there, so nobody is asked for them. (A group is heard without joining
 * it, while any program of the machine is a member.)
 */
const UNSEEN = [
  /^s\.getsockname\(/,
  /^s\.settimeout\(/,
  /^if not reply:/,
  /IP_(?:MULTICAST_IF|MULTICAST_TTL|ADD_MEMBERSHIP)/,
];

/** The call without which nothing is said, and the one without which nothing is heard. */
const CENTRAL = [/\.send\w*\(/, /\.recv\w*\(/];

/** The comment at the top of a program, with its shebang. */
const HEAD = /^#!.*\n\/\*\*[^]*?\*\/\n/;

/** The block that a line opens: where it ends, and whether it goes too, because it repeats the call, or is the call. */
function blockAt(lines: string[], at: number): { end: number; goes: boolean } | undefined {
  const [, indent = "", code = "", python = ""] = LINE.exec(lines[at]) ?? [];
  if (!code.endsWith("{")) return undefined;
  const end = lines.findIndex((line, index) => index > at && line.startsWith(`${indent}}`));
  const call = /([\w.]+)\(/.exec(code)?.[1] ?? "";
  const repeats = lines.slice(at + 1, end).some((line) => line.includes(`${call}(`));
  return { end, goes: repeats || python.endsWith(": ...") };
}

/** The holes that can be cut into a program, from top to bottom. */
export function holesOf(source: string): Hole[] {
  const lines = source.split("\n");
  const first = HEAD.exec(source)?.[0].split("\n").length ?? 1;
  let open = first - 1;
  return lines.flatMap((line, at): Hole[] => {
    const [, , code, python] = LINE.exec(line) ?? [];
    if (at < open || code === undefined || UNSEEN.some((unseen) => unseen.test(python))) return [];
    const block = blockAt(lines, at);
    if (block?.goes) open = block.end + 1;
    const rest = block?.goes ? lines.slice(at + 1, block.end + 1) : [];
    return [{ python, line: at + 1, code: [code, ...rest.map((line) => line.trim())] }];
  });
}

/** The holes of an exercise. */
export function chosenHoles(source: string, depth: Depth): Hole[] {
  const all = holesOf(source);
  if (depth === "head") return all;
  if (depth === "calls") return all.filter(({ code }) => code[0] !== "process.exit();"); // it closes more than a socket
  const central = CENTRAL.flatMap((call) => all.filter(({ python }) => call.test(python)));
  return central.slice(0, 1);
}

/** What is left of a program when some holes are cut into it. */
export function cut(source: string, holes: Hole[]): string {
  const lines = source.split("\n");
  for (const { line, python, code } of holes.toReversed()) { // from below: the lines above keep their numbers
    const at = line - 1;
    const [, indent, own] = LINE.exec(lines[at]) ?? [];
    const todo = `// TODO: ${python}`;
    const block = blockAt(lines, at);
    const condition = /^if \(.*?\) (?=\S+;$)/.exec(own)?.[0];
    if (block && !block.goes) {
      lines[block.end] = `${indent}}`;
      lines.splice(at, 1, `${indent}${todo} ...`, `${indent}{`);
    } else if (condition) {
      lines.splice(at, 1, `${indent}${condition}{`, `${indent}  ${todo}`, `${indent}}`);
    } else lines.splice(at, code.length, `${indent}${todo}`);
  }
  return lines.join("\n");
}

/** A program of which only its head is left, and what its constants are; Python's calls stand below. */
export function headAlone(source: string): string {
  const constants = source.match(/^const [A-Z]+ = .*\n/gm) ?? [];
  const python = holesOf(source).map((hole) => `// TODO: ${hole.python}\n`);
  return [HEAD.exec(source)?.[0], ...constants, ...python].join("");
}
