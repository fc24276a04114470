/** Wrong programs, each of which the judge turns away, and right ones written in another way, which it accepts. */
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { ROOT } from "../engine/environment.ts";
import { parseBareHead } from "../engine/head.ts";
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

/** Where the last word that is typed ends a client: one that reads on. */
const ENDING: [RegExp, string] = [
  /^ *if \(text === "exit"\) break;\n/m,
  "",
];
const ENDED_BY_WORD = [
  "udp/send",
  "udp/broadcast-send",
  "udp/multicast-send",
  "udp/echo-client",
  "tcp/framing-client",
];

/** The words that the head shows, in the place of those that came. */
const HEARD: [RegExp, string][] = [
  [/visible\(data\.toString\(\)\)/, '"你好"'],
  [
    /visible\((?:text|reply|name)\)|(?<=> \$\{)visible\(message\)/,
    'String("ok, Processing Request Completion！")',
  ],
  [/visible\(time\)/, 'String("2026-11-20 17:04:30.293444")'],
];

/** What is wrong with a program of one's own: what stands in the solution, and what stands there instead. */
const SINS: Record<string, [name: string, from: string | RegExp, to: string, says: RegExp][]> = {
  "own/chat-log": [
    ["logs nothing", /^ *appendFileSync.*\n/m, "", /chat\.log is not there/],
    ["logs without a line end", "`${line}\\n`", "line", /chat\.log holds other lines/],
    [
      "a time that is not now",
      /const time = .*/,
      'const time = "2026-01-01 00:00:00.000000";',
      /not the current time/,
    ],
    ["no time", "`${time} ${address}", "`${address}", /expected on stdout/],
  ],
  "own/guess": [
    ["bigger and smaller mixed up", "number > Number(guess)", "number < Number(guess)", /but saw:/],
    ["always the same number", "1 + Math.floor(Math.random() * 100)", "42", /always the same number/],
    [
      "from 0 to 99",
      "1 + Math.floor(Math.random() * 100)",
      "Math.floor(Math.random() * 100)",
      /no number from 1/,
    ],
    ["from 1 to 99", "Math.floor(Math.random() * 100)", "Math.floor(Math.random() * 99)", /it was never 100/],
    [
      "answers whoever came first",
      /socket\.on\("message", \(data, \{ address, port \}\) => \{/,
      "let port: number, address: string;\nsocket.on('message', (data, sender) => {\nport ??= sender.port;\naddress ??= sender.address;",
      /nothing moves any more/,
    ],
    [
      "answers twice",
      "  socket.send(answer, port, address);",
      "socket.send(answer, port, address);\nsocket.send(answer, port, address);",
      /but saw:/,
    ],
    ["takes a word for a number", 'if (!/^\\d+$/.test(guess)) answer = "what?";\n  else ', "", /but saw:/],
  ],
  "own/roll-call": [
    ["answers everything", 'if (text === "who is there?") ', "", /but saw:/],
    [
      "answers twice",
      'if (text === "who is there?") ',
      'if (text === "who is there?") socket.send(NAME, port, address);\nif (text === "who is there?") ',
      /but saw:/,
    ],
    [
      "wants the port for itself",
      '{ type: "udp4", reuseAddr: true }',
      '"udp4"',
      /EADDRINUSE|before this line on stdout:\n {2}listening on/,
    ],
    ["does not end", /^.*socket\.close.*\n/m, "", /nothing moves any more/],
  ],
  "own/timeout": [
    ["waits for ever", /const timer = .*/, "const timer = undefined;", /nothing moves any more/],
    [
      "does not wait",
      "const LIMIT = 1000",
      "const LIMIT = 10",
      /10 ms|ended with exit code 1|hung up without a word/,
    ],
    ["says it on stdout", "console.error", "console.log", /but|before this line on stderr|nothing moves/],
    ["exit code 0", "process.exit(1)", "process.exit(0)", /exit code 0|nothing moves/],
    [
      "never sends",
      /^socket\.write.*\n/m,
      "",
      /still missing|no reply|before this line|hung up without a word/,
    ],
  ],
  "own/three-callers": [
    ["a fourth is welcome", "const MOST = 3", "const MOST = 4", /but saw:/],
    ["never forgets one", "    here--;\n", "", /but saw:/],
    [
      "does not hang up on the fourth",
      'socket.end("busy\\n")',
      'socket.write("busy\\n")',
      /still missing: this line on stdout:\n {2}hung up/,
    ],
  ],
  "own/upper-case": [
    ["lower case", "toUpperCase", "toLowerCase", /but saw:/],
    [
      "only English letters",
      "text.toUpperCase()",
      "text.replace(/[a-z]/g, (letter) => letter.toUpperCase())",
      /but saw:/,
    ],
    ["answers once", 'socket.on("data"', 'socket.once("data"', /still missing/],
    ["prints what it sends", "> ${text}`", "> ${text.toUpperCase()}`", /but saw:/],
    ["hangs up after an answer", "socket.write(", "socket.end(", /terminal/],
  ],
  "own/backwards": [
    ["takes one read for one line", "(rest + text)", "(text)", /terminal/],
    [
      "one half line for all callers",
      /(const server.*\n[^]*?)^ *let rest = "";.*\n/m,
      'let rest = "";\n$1',
      /terminal/,
    ],
    ["cuts a character in two", /^ *socket\.setEncoding.*\n/m, "", /terminal/],
    ["bytes backwards", '[...line].reverse().join("")', "Buffer.from(line).reverse().toString()", /but saw:/],
  ],
  "own/slow-and-fast": [
    [
      "counts all callers together",
      /(const server[^]*?)^ *let count = 0;\n/m,
      "let count = 0;\n$1",
      /but saw:/,
    ],
    ["takes one read for one line", "for (const _ of text.matchAll(/\\n/g)) ", "", /terminal/],
    [
      "one after the other",
      /const server = createServer\(\(socket\) => \{\n(.*\n)/,
      "let last = Promise.resolve();\nconst server = createServer(async (socket) => {\nconst before = last;\nlast = new Promise((done) => socket.on('close', () => done()));\nawait before;\n$1",
      /still missing|nothing moves/,
    ],
  ],
  "own/no-such-file": [
    ["leaves its folder", "file.startsWith(realpathSync(FOLDER) + sep)", "file", /no such file|but saw:/],
    ["silence for what is not there", 'socket.end("no such file\\n")', "socket.end()", /but saw:/],
    ["a size that is not it", "bytes.length}", "bytes.length + 1}", /but saw:/],
    ["forgets the bytes", "socket.end(bytes)", "socket.end()", /but saw:/],
    ["does not close", "socket.end(bytes)", "socket.write(bytes)", /still missing/],
  ],
  "own/closed-or-filtered": [
    [
      "takes a refusal for silence",
      '=== "AbortError" ? "filtered" : "closed"',
      '=== "AbortError" ? "filtered" : "filtered"',
      /but saw:|nothing moves/,
    ],
    ["takes silence for a refusal", '? "filtered"', '? "closed"', /but saw:|nothing moves/],
    ["waits for ever", ", { signal: AbortSignal.timeout(1000) }", "", /nothing moves any more/],
    ["all is open", /^ *await once.*\n/m, "", /but saw:/],
  ],
};

/** The wrong programs of an exercise: at least three. */
export function wrongOnes(exercise: Exercise): Program[] {
  const { name, solution, start } = exercise;
  const sins = SINS[name];
  if (!sins) return wrongBare(exercise);
  return [
    { name: "the start", source: start },
    ...sins.map(([name, from, to, says]) => ({ name, source: solution.replace(from, to), says })),
  ];
}

/** Those of a bare program's exercise. */
function wrongBare({ name, solution, start, holes }: Exercise): Program[] {
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
    ...(ENDED_BY_WORD.includes(name)
      ? [{ name: "reads on after the last word", source: solution.replace(...ENDING) }]
      : []),
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

/** As Python's input("> ") does it. */
const WITH_PROMPT: [RegExp, string][] = [
  [/"node:readline"/, '"node:readline/promises"'],
  [
    /^for await \(const text of (createInterface\(\{ input: process\.stdin) \}\)\) \{.*/m,
    'const keyboard = $1, output: process.stdout });\nwhile (true) {\nconst text = await keyboard.question("> ");',
  ],
  [/^const prompt = .*/m, "const prompt = () => {};"],
];

/** Behind a loop over the connection, its end is there without an event. */
const AFTER_LOOP: [RegExp, string] = [/^ {2}socket\.on\("end", \(\) => (console\.log\(.*\))\);/m, "  $1;"];

const rewritten = (source: string, by: [RegExp, string][]) =>
  by.reduce((text, [from, to]) => text.replace(from, to), source);

function inAnotherWay(solution: string): string {
  const source = rewritten(solution, OTHER_WAYS);
  return source.includes("async (socket)") ? rewritten(source, [AFTER_LOOP]) : source;
}

/** A client may close its sending half when it has sent all, as 3.1's does. */
const HALF_CLOSED: [RegExp, string] = [/^socket\.write\(MESSAGE\);/m, "socket.end(MESSAGE);"];

/** A server may end in good order at Ctrl-C. */
const IN_GOOD_ORDER = 'process.on("SIGINT", () => process.exit(0));\n';

/** The right programs of an exercise: the course's own, one written by hand in another style, and others. */
export function rightOnes({ name, solution }: Exercise): Program[] {
  const others = [
    ...(/createServer|\.bind\(/.test(solution) && !solution.includes("SIGINT")
      ? [{ name: "that ends in good order", source: solution + IN_GOOD_ORDER }]
      : []),
    { name: "closes its sending half", source: solution.replace(...HALF_CLOSED) },
    { name: "in other words", source: rewritten(solution, OTHER_WORDS) },
    { name: "in another way", source: inAnotherWay(solution) },
    ...(ENDED_BY_WORD.includes(name)
      ? [{ name: "asks with a prompt", source: rewritten(solution, WITH_PROMPT) }]
      : []),
  ];
  return [
    { name: "the course's own", source: solution },
    { name: "by hand", source: readFileSync(join(ROOT, `tests/practice/right/${name}.ts`), "utf8") },
    ...others.filter(({ source }) => source !== solution),
  ];
}
