/** Files of tests: folders that go away by themselves, and hashes. */
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
} from "node:fs";
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
  for (const path of folders) remove(path);
}

/** Removes a folder, also one that a program has made read-only. If that fails, it says so, and the others go on. */
function remove(path: string): void {
  try {
    if (existsSync(path)) openBelow(path);
    rmSync(path, { recursive: true, force: true, maxRetries: 10 });
  } catch (error) {
    console.error(`warning: ${path} is left behind: ${(error as Error).message}`);
  }
}

/** Gives us the right to remove what is in a folder: only root has it without that. */
function openBelow(folder: string): void {
  chmodSync(folder, 0o700);
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) openBelow(join(folder, entry.name));
  }
}

/** Makes a folder. Use it as `await using folder = await temporaryFolder()`. */
export function temporaryFolder(): Folder {
  const path = realpathSync(mkdtempSync(join(tmpdir(), "sockets-")));
  folders.add(path); // without a pause in between: a folder that is there is known
  return {
    path,
    at: (...names) => join(path, ...names),
    async [Symbol.asyncDispose]() {
      await rm(path, { recursive: true, force: true }).catch(() => remove(path));
      folders.delete(path);
    },
  };
}

/**
 * The bytes of a file in a folder that any program may have filled; if there are none, why not. Only a regular file is
 * opened: the read of a FIFO never ends, and a link leads elsewhere.
 */
export function bytesOf(folder: string, name: string): Buffer | string {
  const path = join(folder, name);
  try {
    return lstatSync(path).isFile()
      ? readFileSync(path)
      : `${name} is not there\n  (what has its name is no regular file)`;
  } catch (error) {
    const { code } = error as { code?: string };
    const why = code === "ENOENT" ? "" : `\n  (it cannot be read: ${code})`;
    return `${name} is not there${why}`;
  }
}

/** The SHA-256 of bytes, in hexadecimal digits. */
export const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** The same of a file. */
export const sha256OfFile = (path: string) => sha256(readFileSync(path));
