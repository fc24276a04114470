/**
 * Plays every head as it is written, the very ports of the page, one after the other. It needs a network
 * of its own, where nobody else has them:
 *
 *     unshare -Urn sh -c 'ip link set lo up; exec bun tests/engine/as-written.ts'
 */
import { playInTime } from "./differences.ts";
import { play } from "./engine.ts";
import { barePrograms, lessons } from "./lessons.ts";

for (const { path, head } of [...lessons(), ...barePrograms()]) {
  await playInTime(path, () => play(head, { asWritten: true }));
  console.log(path);
}
