/**
 * The scripts of the table, as data: how each is started, what an honest end says to it and hears from it, and where
 * its contract under a fault differs from the usual one.
 */
import { frame as downloadFrame, message } from "../apps/download-peers.ts";
import { frame as messengerFrame, SECRET } from "../apps/messenger-peers.ts";
import { sha256 } from "../engine/files.ts";
import type { Runtime } from "../engine/program.ts";
import type { Fault } from "./faults.ts";

/** Why a cell is empty: the number stands in the cell. */
export const REASONS = {
  0: "only Bun has what it teaches",
  1: "it serves everybody at once: nobody waits",
  2: "it makes one connection: no crowd meets it",
  3: "no length stands in its protocol",
  4: "it says nothing that could be cut off",
  5: "it asks for nothing: that is a reset before the reply",
  6: "it ends after the first caller who says something: nobody waits behind them",
  7: "each of its answers ends so: b to s show it",
  8: "AF_UNIX knows no reset, and no call that was not accepted",
  9: "a bare program has no limits; its lesson has",
} as const;
export type Reason = keyof typeof REASONS;

/** Why a script has no row. */
export const NO_ROW: Record<string, string[]> = {
  "no peer, or both ends in one program": [
    ...["network/interfaces", "network/address", "network/port", "network/connections"],
    ...["tcp/close-order", "tcp/socket-calls"],
  ],
  "only sends datagrams, reads none": [
    ...["udp/send", "udp/broadcast-send", "udp/multicast-send"],
    ...["udp/bare/send", "udp/bare/broadcast-send", "udp/bare/multicast-send"],
  ],
  "talks to the kernel, which is no peer": ["raw/ping", "raw/wire"],
  "connects, and reads nothing": ["apps/bare/port-scan"],
};

/** What becomes of a fault, where it is not the usual: another outcome, or the reason of an empty cell. */
type But<Outcome> = Partial<Record<Fault, Outcome | { why: Reason }>>;

/** Its name, and its words behind the place. */
type Common = {
  script: string;
  words?: string[];
  bunOnly?: boolean;
};

/** A server; its caller is the table's own. */
export type Server = Common & {
  kind: "server";
  /** It ends after one caller; or serves one after another; or all at once. */
  serves: "one" | "in turn" | "at once";
  /** It listens at a path. */
  atPath?: boolean;
  /** What an honest caller says. Nothing: it only listens. */
  says?: (token: string) => string | Uint8Array;
  /** Whether it then closes its half. */
  closes?: boolean;
  /** What it hears. */
  hears?: (token: string) => string | RegExp;
  /** What the server prints then. */
  shows?: (token: string) => string;
  /** It speaks SSH: a library is the caller. */
  isSsh?: boolean;
  greets?: boolean;
  /** How much more memory a fault may take on a runtime, in MiB, where that is not the usual. */
  memory?: Partial<Record<Runtime, number>>;
  /** How much a caller sends that reads nothing, in MB. */
  flood?: number;
  /** Frames that promise more than anybody sends. */
  largest?: Uint8Array;
  /** Behind how many bytes a reset comes; the first, unless said. */
  middle?: number;
  /** Unusual: that an honest caller is not served through the fault, or perhaps not. */
  but?: But<"unserved" | "perhaps">;
  /** The same, on one runtime alone. */
  on?: Partial<Record<Runtime, But<"unserved" | "perhaps">>>;
};

/** A client, and the server that it calls through a relay. */
export type Client = Common & {
  kind: "client";
  server: string;
  /** How the place stands among its words. */
  at?: (place: string) => string[];
  typed?: string;
  /** What is typed when that is shown, so that it ends. */
  leave?: string;
  /** In its output, when all goes well. */
  shows: RegExp;
  /** The files that it leaves then, seen from the folder above its own. */
  leaves?: string[];
  /** It may leave them when the connection breaks, too. */
  leavesHalf?: boolean;
  /** Both ends begin with a line, which is passed on whole: ssh2 1.17 loses the second of three pieces of it. */
  greets?: boolean;
  /** Its request has no end but the read that it comes in: it is passed on whole. */
  asksAtOnce?: boolean;
  /** How many connections it makes: each may break in its own way, and every way is an error in one line. */
  connections?: number;
  largest?: Uint8Array;
  middle?: number;
  /** Its exit code; or it ends, with 0 or 1; or it waits, for its user or for its server to come back. */
  but?: But<number | "ends" | "waits">;
};

/** A receiver of datagrams; the sender is the table's own. */
export type Receiver = Common & {
  kind: "receiver";
  /** The address that its datagrams go to. */
  to?: string;
  typed?: string;
  /** It answers each; or passes each on to its --to. */
  then?: "answers" | "passes on";
};

/** Two programs that talk by datagrams through a relay: this one, and another one at the other end. */
export type Pair = Common & {
  kind: "pair";
  /** Which of the two is under test: this script, or its server. */
  server: string;
  isServer?: boolean;
  serverWords?: string[];
  typed?: string;
  /** What the client prints in the end, or its server: unless said for a fault. */
  shows: RegExp;
  but?: Partial<Record<Fault, RegExp>>;
};

export type Row = Server | Client | Receiver | Pair;

const REPLY = "ok, Processing Request Completion！";
/** The files in the folder of each program. */
export const FILES = {
  file: "what the file holds\n",
  large: "a file of more than one packet\n".repeat(1000),
  "picture.png": "no picture, but as good as one",
};
const PICTURE = Buffer.from(FILES["picture.png"]).toString("base64");

const GARBAGE = Buffer.alloc(64 * 1024, "x");
/** A length of 4 GB, and 64 KB of what it promises. */
const HUGE = Buffer.concat([Buffer.alloc(4, 0xff), GARBAGE]);
const HUGE_PIECE = Buffer.concat([downloadFrame(1, GARBAGE, 0xffffffff)]);
/** A packet of SSH that is as long as its length can say (RFC 4253, section 6), behind the version. */
const HUGE_PACKET = Buffer.concat([Buffer.from("SSH-2.0-hostile\r\n"), HUGE]);

const bare = (script: string) => script.replace("/", "/bare/");
const NO_LENGTH = { l: { why: 3 } } as const;

/** A server that is sent a text, and replies at once: both of its kinds. */
const replies = (script: string, serves: Server["serves"], more: Partial<Server> = {}): Server => ({
  ...{ kind: "server", script, serves, says: (token) => token, hears: () => REPLY },
  ...more,
  but: { ...NO_LENGTH, ...(serves === "at once" ? { w: { why: 1 } } : {}), ...more.but },
});
const echoes = (script: string, more: Partial<Server> = {}): Server =>
  replies(script, "at once", { hears: (token) => token, flood: 64, ...more });
/**
 * A server that talks, and does not listen. Deno 2.9 cannot write to a caller that has closed its half before the
 * first write: EPIPE, whatever allowHalfOpen says.
 */
const talks = (script: string, hears: Server["hears"], words?: string[]): Server => ({
  ...{ kind: "server", script, serves: "at once", hears, words },
  but: { ...NO_LENGTH, w: { why: 1 }, "<": { why: 4 } },
  on: { deno: { h: "perhaps" } },
});
const IN_TURN_NOT = { w: { why: 1 } } as const;
const UNIX = { r: { why: 8 }, w: { why: 8 } } as const;

const SERVERS: Server[] = [
  replies("tcp/server", "one", { but: { w: { why: 6 } } }),
  replies(bare("tcp/server"), "one", { but: { w: { why: 6 } } }),
  replies("tcp/many-clients-server", "in turn"),
  replies(bare("tcp/many-clients-server"), "at once"),
  replies("tcp/many-requests-server", "in turn"),
  replies(bare("tcp/many-requests-server"), "at once"),
  talks("tcp/time-server", () => /^\d{4}-\d\d-\d\d /),
  talks(bare("tcp/time-server"), () => /^\d{4}-\d\d-\d\d /),
  {
    ...{ kind: "server", script: "tcp/framing-server", serves: "at once", closes: true },
    says: (token) => Buffer.concat([token, "and", "more"].map((text) => messengerFrame(Buffer.from(text)))),
    shows: (token) => token,
    largest: HUGE,
    middle: 6,
    but: { ...IN_TURN_NOT, ">": { why: 4 } },
  },
  {
    ...{ kind: "server", script: bare("tcp/framing-server"), serves: "at once", closes: true },
    says: (token) => `${token}\nand\nmore\n`,
    shows: (token) => token,
    but: { ...IN_TURN_NOT, ...NO_LENGTH, ">": { why: 4 }, n: { why: 9 } },
  },
  talks("tcp/picture-server", () => PICTURE, ["picture.png"]),
  talks(bare("tcp/picture-server"), () => PICTURE, ["picture.png"]),
  replies("tcp/servers/sequential", "in turn", { hears: (token) => token, flood: 64 }),
  echoes("tcp/servers/event-loop"),
  // Deno 2.9 keeps what went to a thread and back until it collects it: 58 MiB for 5 MB, 71 for 10, 95 for 30.
  echoes("tcp/servers/worker-threads", { memory: { deno: 100 } }),
  echoes("tcp/servers/processes"),
  echoes("tcp/servers/bun-listen", { bunOnly: true }),
  replies("unix/server", "in turn", { atPath: true, but: UNIX }),
  replies(bare("unix/server"), "at once", { atPath: true, but: UNIX }),
  // The bytes of the name are the whole request, and nothing marks its end: one that comes in pieces is another name.
  ...["apps/download-basic-server", bare("apps/download-basic-server")].map((script): Server => ({
    ...{
      kind: "server",
      script,
      serves: "at once",
      words: script.includes("bare") ? ["."] : ["--root", "."],
    },
    says: () => "file",
    hears: () => FILES.file,
    but: {
      ...{ ...IN_TURN_NOT, ...NO_LENGTH, b: "perhaps", c: "perhaps", s: "perhaps" },
      ...(script.includes("bare") ? { h: "perhaps" } : {}), // a runtime closes both halves, unless told otherwise
    },
  })),
  {
    ...{ kind: "server", script: "apps/download-server", serves: "at once", words: ["--root", "."] },
    says: () => message({ version: 1, get: "file", from: 0 }),
    hears: () => sha256(Buffer.from(FILES.file)),
    largest: HUGE_PIECE,
    middle: 10,
    but: IN_TURN_NOT,
  },
  {
    ...{ kind: "server", script: "apps/messenger-server", serves: "at once" },
    says: (name) => messengerFrame({ type: "login", version: 1, name, secret: SECRET }),
    hears: () => "welcome",
    largest: HUGE,
    middle: 10,
    but: IN_TURN_NOT,
  },
  {
    ...{
      kind: "server",
      script: "apps/sftp-server",
      serves: "at once",
      isSsh: true,
      greets: true,
      largest: HUGE_PACKET,
    },
    ...{ words: ["--root", ".", "--user", "anna", "--authorized-keys", "../key.pub"], middle: 1000 },
    says: () => "SSH-2.0-hostile\r\n",
    but: { ...IN_TURN_NOT, h: "unserved" }, // SSH needs both directions to the end
  },
];

const client = (script: string, server: string, shows: RegExp, more: Partial<Client> = {}): Client => ({
  ...{ kind: "client", script, server, shows, ...more },
  but: { m: { why: 2 }, ...NO_LENGTH, ...(more.largest ? { l: 1 } : {}), ...more.but },
});
/** A client that asks for nothing. */
const listens = { "<": { why: 4 }, w: { why: 5 }, d: 0, h: { why: 7 } } as const;

/** Who asks in a dialog takes what one read brings for the answer: nothing marks its end. */
const DIALOG = { typed: "hello\n", leave: "exit\n" };
const HEARS_NOTHING = { ">": { why: 4 }, h: { why: 4 }, q: { why: 4 } } as const;

const CLIENTS: Client[] = [
  client("tcp/client", "tcp/many-clients-server", /^ok, /, {
    words: ["hello"],
    but: { h: { why: 7 }, n: 0 },
  }),
  client(bare("tcp/client"), "tcp/many-clients-server", /^ok, /, { but: { h: { why: 7 }, n: { why: 9 } } }),
  // A server that has hung up gets no more questions.
  client("tcp/dialog-client", "tcp/many-requests-server", /^o/, {
    ...DIALOG,
    but: { h: 1, n: "waits" }, // it reads the next answer when it has asked the next question
  }),
  client(bare("tcp/dialog-client"), "tcp/many-requests-server", /^o/, { ...DIALOG, but: { h: 1 } }),
  client("tcp/time-client", "tcp/time-server", /^\d{4}-/, { but: { ...listens, n: 0 } }),
  client(bare("tcp/time-client"), "tcp/time-server", /^\d{4}-/, { but: { ...listens, n: { why: 9 } } }),
  client("tcp/framing-client", "tcp/framing-server", /^sent 9 bytes/, { ...DIALOG, but: HEARS_NOTHING }),
  client(bare("tcp/framing-client"), bare("tcp/framing-server"), /^$/, {
    ...DIALOG,
    but: { ...HEARS_NOTHING, n: "ends" },
  }),
  client("tcp/picture-client", "tcp/picture-server", /^saved /, {
    words: ["--out", "../home", "--limit", "4"],
    leaves: ["home/picture.png"],
    but: listens,
  }),
  client(bare("tcp/picture-client"), "tcp/picture-server", /^saved /, {
    leaves: ["inside/album", "inside/album/picture.png"],
    but: listens,
  }),
  client("tcp/load", "tcp/servers/event-loop", /\n0 errors/, {
    words: ["--clients", "2", "--requests", "3", "--timeout", "3000"],
    connections: 2, // a reset reaches one while it writes (EPIPE), and the other one while it reads (ECONNRESET)
    but: { d: 1, q: 1, h: 1 },
  }),
  client("unix/client", "unix/server", /^o/, {
    ...{ at: (path) => ["--path", path], words: ["hello"] },
    but: { n: 0, ">": 0 }, // it ends behind the first read
  }),
  client(bare("unix/client"), "unix/server", /^o/, { at: (path) => [path], ...DIALOG, but: { h: 1 } }),
  client("apps/download-basic-client", "apps/download-basic-server", /^saved 20 bytes/, {
    ...{ words: ["file"], leaves: ["inside/copy-file"], asksAtOnce: true },
    but: { h: { why: 7 }, n: 0 },
  }),
  client(bare("apps/download-basic-client"), "apps/download-basic-server", /^saved 20 bytes/, {
    ...{ words: ["file"], leaves: ["inside/copy-file"], asksAtOnce: true, leavesHalf: true },
    but: { h: { why: 7 }, n: 0 },
  }),
  client("apps/download-client", "apps/download-server", /^saved 20 bytes/, {
    ...{ words: ["file", "--out", "../home"], leaves: ["home/file"], largest: HUGE_PIECE, middle: 20 },
    but: { h: 1 },
  }),
  client("apps/port-scan", "tcp/time-server", /^1 port: 1 open/m, {
    at: (port) => ["127.0.0.1", port],
    words: ["--banner", "--timeout", "500"],
    but: { ...listens, q: 0, r: 0, ">": 0, n: 0 }, // whatever it says, and however it ends: the port is open
  }),
  client("apps/messenger-client", "apps/messenger-server", /^logged in as anna/, {
    ...{ words: ["anna"], leave: "exit\n", largest: HUGE, middle: 10 },
  }),
  client("apps/sftp", "apps/sftp-server", /picture\.png/, {
    at: (port) => ["anna@127.0.0.1", "--port", port, "--identity", "../key"],
    ...{ typed: "ls\n", leave: "exit\n", largest: HUGE_PACKET, middle: 1000, greets: true, but: { h: 1 } },
  }),
];

const receiver = (script: string, more: Partial<Receiver> = {}): Receiver => ({
  ...{ kind: "receiver", script },
  ...more,
});

const RECEIVERS: (Receiver | Pair)[] = [
  receiver("udp/receive"),
  receiver(bare("udp/receive")),
  receiver("udp/echo-server", { then: "answers" }),
  receiver(bare("udp/echo-server"), { then: "answers" }),
  receiver("udp/chat", { words: ["--to", "127.0.0.1:1"] }),
  receiver(bare("udp/chat"), { words: ["1"], typed: "2\n".repeat(10) }),
  receiver("udp/broadcast-receive", { to: "127.255.255.255" }),
  receiver(bare("udp/broadcast-receive"), { to: "127.255.255.255" }),
  receiver("udp/multicast-receive", { to: "239.255.0.1" }),
  receiver(bare("udp/multicast-receive"), { to: "239.255.0.1" }),
  receiver("udp/lossy-link", { then: "passes on" }),
  // A datagram has no number that says what it answers, and a reply that comes late answers the next question.
  {
    ...{
      kind: "pair",
      script: "udp/echo-client",
      server: "udp/echo-server",
      typed: "one\ntwo\nthree\nexit\n",
    },
    shows: /^(no reply.*\n)*one\n((no reply.*|one|two|three)\n)+$/,
    but: { L: /^(no reply.*\n)+one\n((no reply.*|one|two|three)\n)+$/, C: /^(no reply.*\n)*o\n/ },
  },
  // The bare one does not ask again, and takes a datagram from anybody.
  {
    ...{ kind: "pair", script: bare("udp/echo-client"), server: "udp/echo-server" },
    ...{ typed: "one\ntwo\nthree\nexit\n", shows: /^((no reply|one|two|three)\n){3}$/ },
    but: { L: /^no reply\n/, C: /^(no reply|o)\n/, F: /^%1B\[2J forged.*\n/ },
  },
  ...[true, false].map((isServer): Pair => ({
    ...{ kind: "pair", script: "udp/reliable-send", words: ["large"], isServer },
    ...{ server: "udp/reliable-receive", serverWords: ["--out", "../home"] },
    shows: /31000 bytes/,
  })),
  ...[true, false].map((isServer): Pair => ({
    ...{ kind: "pair", script: "apps/messenger-client", words: ["anna"], typed: "exit\n", isServer },
    server: "apps/messenger-server",
    shows: /^logged in as anna, seen at 127\.0\.0\.1:/,
  })),
];

export const ROWS: Row[] = [...SERVERS, ...CLIENTS, ...RECEIVERS];
