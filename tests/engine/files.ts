/** Files of tests: folders that go away by themselves, and hashes. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdtemp, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder that is removed at the end, with all that is in it. */
export type Folder = AsyncDisposable & {
  /** Without links in it, as programs show it. */
  path: string;
  /** The path of something in it. */
  at(...names: string[]): string;
};

/** Makes a folder. Use it as `await using folder = await temporaryFolder()`. */
export async function temporaryFolder(): Promise<Folder> {
  const path = await realpath(await mkdtemp(join(tmpdir(), "sockets-")));
  return {
    path,
    at: (...names) => join(path, ...names),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

/** The SHA-256 of bytes, in hexadecimal digits. */
export const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** The same of a file. */
export const sha256OfFile = (path: string) => sha256(readFileSync(path));
