/** The sockets of the tests themselves. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { ROOT, start } from "./program.ts";
import { freePort } from "./sockets.ts";

setDefaultTimeout(60_000); // what waits in a test says itself for what it waited too long

test("a port that was given comes again only when 98 others have", async () => {
  const ports: number[] = [];
  for (let count = 0; count < 99; count++) ports.push(await freePort("udp"));
  expect(new Set(ports).size).toBe(99);
  expect(await freePort("udp")).toBe(ports[0]);
});

test("no two processes give the same port, though both begin at the same place", async () => {
  const source = `
    import { freePort } from "./tests/engine/sockets.ts";
    const { random } = Math;
    let asked = 0;
    Math.random = () => asked++ ? random() : 0.5;
    const ports = [];
    for (let count = 0; count < 99; count++) ports.push(await freePort("udp"));
    console.log(ports.join(" "));
    process.stdin.on("data", () => {}); // the ports are its own until it is ended
  `;
  await using one = start(["bun", "-e", source], { cwd: ROOT });
  const first = (await one.next())?.split(" ") ?? [];
  await using other = start(["bun", "-e", source], { cwd: ROOT });
  const second = (await other.next())?.split(" ") ?? [];
  expect([first.length, second.length, new Set([...first, ...second]).size]).toEqual([99, 99, 198]);
});
