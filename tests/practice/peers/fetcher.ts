/** Asks for each name that is typed, over a connection of its own, and compares what comes with the file itself. */
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { ROOT } from "../../engine/environment.ts";

const port = Number(process.argv[process.argv.indexOf("--port") + 1]);

async function fetched(name: string): Promise<string> {
  const socket = connect({ port, host: "127.0.0.1" });
  socket.write(`${name}\n`);
  const parts: Buffer[] = [];
  for await (const part of socket) parts.push(part);
  const all = Buffer.concat(parts);
  const end = all.indexOf("\n");
  const [first, bytes] = [all.subarray(0, Math.max(end, 0)).toString(), all.subarray(end + 1)];
  if (!first.startsWith("ok ")) {
    return end === all.length - 1 ? first : `${first}, and ${bytes.length} bytes more`;
  }
  const own = readFileSync(join(ROOT, "scripts/tcp", name));
  if (first !== `ok ${own.length}`) return `${first}, but it has ${own.length} bytes`;
  return bytes.equals(own) ? "whole" : "not as it is";
}

for await (const name of createInterface({ input: process.stdin })) {
  try {
    console.log(`${name}: ${await fetched(name)}`);
  } catch (error) {
    console.log(`${name}: ${(error as Error).message}`);
  }
}
