/** Wrong programs, each of which the judge turns away, and right ones written in another way, which it accepts. */
import { parseBareHead } from "../engine/head.ts";
import { basename } from "node:path";
import type { Exercise } from "./exercise.ts";
import { cut } from "./holes.ts";

/** A program, and, of a wrong one, what the judge says of it. */
export type Program = { name: string; source: string; says?: RegExp };

/** What a bare program sends, in a line of its own: said twice, the other end hears it twice. */
const SENDING: [RegExp, string][] = [
  [/^( *)(socket\.send\(data, (?:port, address|PORT, \w+))(?:, sent\)|, \(error\) => \{)/m, "$1$2);\n$&"],
  [
    /^( *)await new Promise\(\(sent\) => socket\.send\(text, OTHER, HOST, sent\)\);/m,
    "$1socket.send(text, OTHER, HOST);\n$&",
  ],
  [/^( *)socket\.send\(text, PORT, HOST\);/m, "$&$&"],
  [/^( *)socket\.write\((?:REPLY|text|`\$\{text\}\\n`)\);/m, "$&\n$&"],
  [/^( *)socket\.end\((REPLY|json|time)\);/m, "$1socket.write($2);\n$&"],
];

/** A line that is printed, printed twice. */
const PRINTING = /^( *)console\.log\((.*)\);$/m;

/** The words that the head shows, in the place of those that came. */
const HEARD: [RegExp, string][] = [
  [/visible\(data\.toString\(\)\)/, '"你好"'],
  [/visible\((?:text|reply|name)\)|(?<=> \$\{)visible\(message\)/, '"ok, Processing Request Completion！"'],
  [/visible\(time\)/, '"2026-11-20 17:04:30.293444"'],
];

/** The wrong programs of a bare program's exercise: at least three. */
export function wrongOnes({ name, solution, start, holes }: Exercise): Program[] {
  const isWhole = !/^import /m.test(start); // nobody can tell which of its calls is missing
  const open = (isWhole ? [] : holes).map((hole): Program => ({
    name: `open: ${hole.python}`,
    source: cut(solution, [hole]),
  }));
  const twice = SENDING.find(([sends]) => sends.test(solution)) ??
    (name === "tcp/client" || name === "apps/download-basic-client"
      ? undefined
      : [PRINTING, "$&\n$&"] as const);
  const deaf = HEARD.find(([heard]) => heard.test(solution));
  return [
    { name: "the start", source: start },
    ...open,
    {
      name: "ends at once",
      source: "process.exit(0);\n",
      says: /ended with exit code 0 before|nothing moves any more/,
    },
    { name: "prints all lines without a socket", source: cheat(name, solution) },
    ...(twice ? [{ name: "says it twice", source: solution.replace(twice[0], twice[1]) }] : []),
    ...(deaf
      ? [{ name: "says what the head shows, whatever came", source: solution.replace(deaf[0], deaf[1]) }]
      : []),
  ];
}

/** A program that prints what its head shows, and reads what is typed, without any socket. */
function cheat(name: string, solution: string): string {
  const { sections } = parseBareHead(solution, `${basename(name)}.ts`);
  const own = sections.filter(({ steps: [first] }) =>
    first.kind === "run" && first.command.includes(`/bare/${basename(name)}.ts`)
  );
  const lines = own[0].steps.flatMap((step) => (step.kind === "see" ? step.text : []));
  const serves = own.some(({ steps }) => steps.some((step) => step.kind === "key" && step.key === "^C"));
  return `for (const line of ${JSON.stringify(lines)}) console.log(line);\n${
    serves ? "setInterval(() => {}, 1000);\n" : "process.exit();\n"
  }`;
}

/** The same calls in other words. */
const OTHER_WORDS: [RegExp, string][] = [
  [/createSocket\("udp4"\)/, 'createSocket({ type: "udp4" })'],
  [/socket\.on\("message",/, 'socket.addListener("message",'],
  [/socket\.bind\(PORT, (\w+), \(\)/, "socket.bind({ port: PORT, address: $1 }, ()"],
  [/socket\.send\(data, PORT, (\w+), sent\)/, "socket.send(data, 0, data.length, PORT, $1, sent)"],
  [/socket\.send\(text, (\w+), HOST/, "socket.send(Buffer.from(text), $1, HOST"],
  [
    /const server = createServer\(\((\w+)\) => \{/,
    'const server = createServer();\nserver.on("connection", ($1) => {',
  ],
  [/server\.listen\(PORT, HOST,/, "server.listen({ port: PORT, host: HOST },"],
  [/server\.listen\(PATH,/, "server.listen({ path: PATH },"],
  [/connect\((\w+), HOST\)/, "connect({ port: $1, host: HOST })"],
  [/connect\(PATH\)/, "connect({ path: PATH })"],
  [/socket\.end\((\w+)\);/, "socket.write(Buffer.from($1));\nsocket.end();"],
  [/socket\.write\((REPLY|text)\);/, "socket.write(Buffer.from($1));"],
];

/** Callbacks where the course has a loop, and a loop where it has callbacks. */
const OTHER_WAYS: [RegExp, string][] = [
  [
    /^( *)for await \(const (\w+) of socket\) \{(.*)\n([^]*?)^\1\}/m,
    '$1socket.on("data", ($2) => {\n$4$1});\n$1await new Promise((resolve) => socket.on("close", resolve));',
  ],
  [
    /^( *)for await \(const (\w+) of socket\) (\S.*;)/m,
    '$1socket.on("data", ($2) => {$3\n$1});\n$1await new Promise((resolve) => socket.on("close", resolve));',
  ],
  [
    /^(const server = createServer\()\(socket\)([^]*?)^ {2}socket\.on\("data", \(text: string\) => \{(.*)\n([^]*?)^ {2}\}\);/m,
    "$1async (socket)$2  for await (const text of socket) {\n$4  }",
  ],
  [
    /^for await \(const text of createInterface\(\{ input: process\.stdin \}\)\) \{/m,
    "const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();\nwhile (true) {\nconst { value: text, done } = await lines.next();\nif (done) break;",
  ],
];

/** Behind a loop over the connection, its end is there without an event. */
const AFTER_LOOP: [RegExp, string] = [/^ {2}socket\.on\("end", \(\) => (console\.log\(.*\))\);/m, "  $1;"];

const rewritten = (source: string, by: [RegExp, string][]) =>
  by.reduce((text, [from, to]) => text.replace(from, to), source);

function inAnotherWay(solution: string): string {
  const source = rewritten(solution, OTHER_WAYS);
  return source.includes("async (socket)") ? rewritten(source, [AFTER_LOOP]) : source;
}

/** The right programs of a bare program's exercise: the course's own, and others. */
export function rightOnes({ solution }: Exercise): Program[] {
  const others = [
    { name: "in other words", source: rewritten(solution, OTHER_WORDS) },
    { name: "in another way", source: inAnotherWay(solution) },
  ];
  return [
    { name: "the course's own", source: solution },
    ...others.filter(({ source }) => source !== solution),
  ];
}
