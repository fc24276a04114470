/**
 * The bare programs: each says the truth in its head, runs alone in a folder outside the project, talks to the whole
 * lesson and to the Python program, and outlives what a peer can do.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { playBare } from "../engine/bare.ts";
import { play } from "../engine/engine.ts";
import { barePrograms } from "../engine/lessons.ts";
import { EVERYTHING, EVERYWHERE } from "../engine/program.ts";

setDefaultTimeout(60_000);

const NAMES = [
  ..."send receive echo-server echo-client chat broadcast-send broadcast-receive multicast-send multicast-receive"
    .split(" ").map((name) => `udp/${name}`),
  ..."server client many-clients-server many-requests-server dialog-client time-server time-client framing-server"
    .split(" ").map((name) => `tcp/${name}`),
  ...["tcp/framing-client", "tcp/picture-server", "tcp/picture-client", "unix/server", "unix/client"],
  ...["apps/download-basic-server", "apps/download-basic-client", "apps/port-scan"],
];
const all = barePrograms().map((program) => ({
  ...program,
  name: program.path.slice(8, -3).replace("/bare", ""),
}));

test("each lesson that must have a bare program has one", () => {
  expect(all.map(({ name }) => name)).toContainValues(NAMES);
});

/** Those that are tried with each other end also where time is short. */
const FIRST = [
  "udp/receive",
  "udp/echo-client",
  "tcp/many-requests-server",
  "tcp/dialog-client",
  "unix/server",
];

describe.concurrent.each(EVERYWHERE)("%s", (runtime) => {
  const cell = { server: runtime, client: runtime };

  const heads = Map.groupBy(all, ({ head }) => JSON.stringify(head.sections)); // two ends may have the same one
  for (const [{ name, head }] of heads.values()) test(`${name}: its head`, () => play(head, cell));

  for (const program of all.filter(({ name }) => EVERYTHING || FIRST.includes(name))) {
    test(`${program.name}, alone in a folder, and the whole lesson`, () => playBare(program, "lesson", cell));
    test.skipIf(!Bun.which("python3"))(
      `${program.name}, alone in a folder, and the Python program (needs python3)`,
      () => playBare(program, "python", cell),
    );
  }
});
