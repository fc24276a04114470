/** The faults of the table, as data: their marks, their names, and what a relay does for them. */
import type { Trouble, Ways } from "./peer.ts";

/** The longest line, and how many connect and say nothing. */
export const MB = 1024 * 1024;
export const CROWD = 2000;

/** 10 MB without a line end. */
export function* endless(): Generator<Uint8Array> {
  const piece = Buffer.alloc(64 * 1024, "x");
  for (let sent = 0; sent < 10 * MB; sent += piece.length) yield piece;
}

type Row = {
  name: string;
  /** What a relay does on the way to a server under test, and on the way from a client under test. */
  atServer?: Ways;
  atClient?: Ways;
  /** Of UDP. */
  trouble?: Trouble;
};

const both = (way: Ways["up"]): Pick<Row, "atServer" | "atClient"> => ({
  atServer: { up: way, down: way },
  atClient: { up: way, down: way },
});

/** By their marks, in the order of the columns. What has no ways for a server is done by a caller: see table.ts. */
export const FAULTS = {
  b: { name: "byte by byte", ...both({ cut: "bytes" }) },
  a: { name: "all at once", ...both({ cut: "once" }) },
  c: { name: "cut anywhere", ...both({ cut: "anywhere" }) },
  s: { name: "slow", ...both({ cut: "quarters", pause: 10 }) },
  h: { name: "half-closed", atServer: { up: { ends: true } }, atClient: { down: { ends: true } } },
  d: { name: "deaf: reads nothing", atClient: { up: { deaf: true } } },
  q: { name: "quiet: says nothing", atClient: { down: { mute: true } } },
  r: { name: "reset before accept", atClient: { up: { resetAfter: 0 } } },
  w: { name: "reset while waiting", atClient: { up: { resetsWhenQuiet: true } } },
  "<": {
    name: "reset in the request",
    atServer: { up: { resetAfter: 1 } },
    atClient: { up: { resetAfter: 1 } },
  },
  ">": {
    name: "reset in the reply",
    atServer: { down: { resetAfter: 1 } },
    atClient: { down: { resetAfter: 1 } },
  },
  m: { name: "2,000 silent ones" },
  n: { name: "10 MB, no line end", atClient: { down: { instead: endless } } },
  l: { name: "the largest length" },
  L: { name: "lost", trouble: "lost" },
  D: { name: "doubled", trouble: "doubled" },
  S: { name: "swapped", trouble: "swapped" },
  C: { name: "cut", trouble: "cut" },
  F: { name: "forged", trouble: "forged" },
} satisfies Record<string, Row>;

export type Fault = keyof typeof FAULTS;

export const OF_TCP = (Object.keys(FAULTS) as Fault[]).filter((mark) => !/[A-Z]/.test(mark));
export const OF_UDP = (Object.keys(FAULTS) as Fault[]).filter((mark) => /[A-Z]/.test(mark));

export const fault = (mark: Fault): Row => FAULTS[mark];
