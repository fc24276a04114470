/** The two ends of lesson 4.2 for its tests: ours, and peers that speak its bytes with no code of ours. */
import { readdir, stat } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { sha256, temporaryFolder as folder } from "../engine/files.ts";
import { Late, type Program, type Runtime, script } from "../engine/program.ts";
import { inTime, until } from "../engine/sockets.ts";

export { folder, sha256 };

export function serve(root: string, words: string[] = [], runtime: Runtime = "bun"): Program {
  return script("apps/download-server", ["--port", "0", "--root", root, ...words], { runtime });
}

export function fetch(port: number, out: string, words: string[], runtime: Runtime = "bun"): Program {
  return script("apps/download-client", ["--port", `${port}`, "--out", out, ...words], {
    runtime,
    limit: 50_000,
  });
}

/** The frame of the figure in download/protocol.ts, written by hand. */
export function frame(
  kind: number,
  payload: Uint8Array | string,
  length = 1 + Buffer.byteLength(payload),
): Buffer {
  const bytes = Buffer.from(payload);
  return Buffer.concat([
    Buffer.from([length >>> 24, (length >>> 16) & 255, (length >>> 8) & 255, length & 255, kind]),
    bytes,
  ]);
}
export const message = (value: unknown) => frame(0, JSON.stringify(value));

/** Reads frames off a socket. */
export function reader(socket: Socket) {
  let bytes = Buffer.alloc(0);
  const chunks = socket[Symbol.asyncIterator]();
  const take = async (count: number) => {
    while (bytes.length < count) {
      const { value } = await inTime(chunks.next(), "bytes");
      if (!value) throw new Error(`end after ${bytes.length} of ${count} bytes`);
      bytes = Buffer.concat([bytes, value]);
    }
    const taken = bytes.subarray(0, count);
    bytes = bytes.subarray(count);
    return taken;
  };
  return {
    async next() {
      const header = await take(5);
      const payload = await take(header.readUInt32BE(0) - 1);
      return header[4] === 0 ? JSON.parse(payload.toString()) : payload;
    },
    /** Resolves when the other end has hung up or reset. */
    async ended() {
      try {
        while (!(await inTime(chunks.next(), "the end")).done);
        return "end";
      } catch (error) {
        if (error instanceof Late) throw error;
        return (error as { code?: string }).code ?? "error";
      }
    },
  };
}

/** How much there is of the file that is on its way into a folder, in bytes. */
export async function partSize(path: string): Promise<number> {
  const part = (await readdir(path)).find((name) => name.endsWith(".part"));
  return part ? (await stat(join(path, part))).size : 0;
}

/** Waits until something of a file has come into a folder. */
export const partIn = (path: string) => until(async () => await partSize(path) > 0, `a part in ${path}`);

export function dial(port: number) {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  return { socket, ...reader(socket), [Symbol.dispose]: () => void socket.destroy() };
}

/** A server of the test: answers each connection with `answer`. */
export async function impostor(answer: (socket: Socket, next: () => Promise<never>) => Promise<void>) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    answer(socket, reader(socket).next as () => Promise<never>).catch(() => {});
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** What the client prints when it has saved a file. */
export const saved = (path: string, bytes: Uint8Array | string) =>
  `saved ${Buffer.byteLength(bytes)} bytes as ${path}\n  SHA-256 ${sha256(Buffer.from(bytes))}\n`;
