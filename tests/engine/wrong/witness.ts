/**
 * What every wrong program does beside its sin: it leaves word of itself for the test, in the file that its
 * first word names: a line with its process, its folder and, of a server, its port.
 */
import { spawn, type SpawnOptions } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, readFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";

appendFileSync(process.argv[2], `${process.pid} ${process.cwd()}\n`);

/** Listens on a free port; says nothing. */
export async function listen(
  serve: (socket: Socket) => unknown = (socket) => socket.end("hello"),
): Promise<[Server, number]> {
  const server = createServer(serve).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  appendFileSync(process.argv[2], `${process.pid} ${process.cwd()} ${port}\n`);
  return [server, port];
}

/** The lines that are typed, until the end of input. */
export const typed = () => createInterface({ input: process.stdin });

/** The port that the engine gives to a client. */
export const port = () => Number(process.argv[process.argv.indexOf("--port") + 1]);

/** Stays for ever. */
export const stay = () => void setInterval(() => {}, 1000);

/** Leaves a process behind, which has left word of itself. */
export async function leave(options: SpawnOptions): Promise<void> {
  const orphan = spawn("bun", [`${import.meta.dirname}/stays.ts`, process.argv[2]], options);
  const word = new RegExp(`^${orphan.pid} .* \\d+$`, "m");
  while (!word.test(readFileSync(process.argv[2], "utf8"))) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  orphan.unref();
}
