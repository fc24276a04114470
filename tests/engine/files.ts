/** Files of tests: folders that go away by themselves, and hashes. */
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder that is removed at the end, with all that is in it. */
export type Folder = AsyncDisposable & {
  /** Without links in it, as programs show it. */
  path: string;
  /** The path of something in it. */
  at(...names: string[]): string;
};

/** The folders that are there now. */
const folders = new Set<string>();

/** Removes all folders at once: for a process that must end itself. */
export function removeAll(): void {
  for (const path of folders) rmSync(path, { recursive: true, force: true, maxRetries: 10 });
}

/** Makes a folder. Use it as `await using folder = await temporaryFolder()`. */
export function temporaryFolder(): Folder {
  const path = realpathSync(mkdtempSync(join(tmpdir(), "sockets-")));
  folders.add(path); // without a pause in between: a folder that is there is known
  return {
    path,
    at: (...names) => join(path, ...names),
    async [Symbol.asyncDispose]() {
      await rm(path, { recursive: true, force: true });
      folders.delete(path);
    },
  };
}

/** The SHA-256 of bytes, in hexadecimal digits. */
export const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** The same of a file. */
export const sha256OfFile = (path: string) => sha256(readFileSync(path));
