import type { Runtime } from "./program.ts";

/**
 * What is known to differ between the runtimes: these cells of the matrix do not show what the head
 * says. A row has its reason; and it fails when it is no longer true.
 */
export type Difference = {
  /** scripts/tcp/server.ts */
  lesson: string;
  /** Only where this runtime serves, or calls; without either, everywhere. */
  server?: Runtime;
  client?: Runtime;
  /** What the engine says then. */
  mismatch: RegExp;
  reason: string;
};

export const DIFFERENCES: Difference[] = [
  ...(["node", "deno"] as const).map((server) => ({
    lesson: "scripts/tcp/servers/bun-listen.ts",
    server,
    mismatch: /only Bun has it \(ENOSYS\)/,
    reason: "Bun.listen is a call of Bun alone",
  })),
  {
    lesson: "scripts/udp/broadcast-send.ts",
    client: "deno",
    mismatch: /\(UNKNOWN\)/,
    reason: "Deno does not tell which error a send met: EACCES appears as UNKNOWN",
  },
];
