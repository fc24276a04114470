/** Files to send, and files that the network brings: a name from a peer never leads out of its folder. */
import { constants, linkSync, unlinkSync } from "node:fs";
import { type FileHandle, lstat, open, realpath, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { failAs, Failure } from "./failure.ts";

/** The longest name of one file, in bytes (NAME_MAX, limits.h). */
const LONGEST_NAME = 255;

/** The real path of a folder. @throws Failure ENOENT, ENOTDIR, and the errors of realpath(3) */
export async function folderOf(path: string): Promise<string> {
  const real = await realpath(path).catch(failAs(path));
  if ((await lstat(real)).isDirectory()) return real;
  throw new Failure(path, "not a folder", "ENOTDIR");
}

/**
 * Opens a regular file for reading.
 * @param name what an error calls it
 * @throws Failure EACCES, EISDIR, ENOENT; the errors of open(2)
 */
export async function openFile(path: string, name = path): Promise<FileHandle> {
  // O_NONBLOCK: opening a named pipe would wait for its writer.
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)).catch(failAs(name));
  const stat = await file.stat();
  if (stat.isFile()) return file;
  await file.close();
  throw stat.isDirectory()
    ? new Failure(name, "is a folder", "EISDIR")
    : new Failure(name, "is not a file", "EACCES");
}

/** Why a name is refused: on any system, and on Windows. */
const REFUSED: [shape: RegExp, why: string][] = [
  [/^$/, "a file needs a name"],
  [/\/|^\.\.?$/, "leads out of the folder"],
  [/[\p{Cc}\p{Bidi_Control}\u2028\u2029\p{Cs}]/u, "has control characters"],
];
const REFUSED_ON_WINDOWS: typeof REFUSED = [
  [/\\/, "leads out of the folder"],
  [/:/, "has a colon: on Windows a drive, or a stream inside a file"],
  [/[. ]$/, "ends with a dot or a space, which Windows drops"],
  [/^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(\.|$)/i, "is a device on Windows"],
];

/**
 * Checks that a name from the network is the name of a file in this very folder, and cannot drive a terminal.
 * @throws Failure EINVAL, ENAMETOOLONG
 */
export function checkName(name: string, system: string = process.platform): void {
  const refused = system === "win32" ? [...REFUSED, ...REFUSED_ON_WINDOWS] : REFUSED;
  for (const [shape, why] of refused) if (shape.test(name)) throw new Failure(name, why, "EINVAL");
  if (Buffer.byteLength(name) > LONGEST_NAME) throw new Failure(name, "name too long", "ENAMETOOLONG");
}

/**
 * Starts to save a file whose name came from the network: a plain name, in `folder` itself. The bytes go
 * to a `.part` file; the name appears when all of them are there, and never over a file that has it already.
 *
 *     await using saving = await saveInside(folder, name);
 *     for await (const chunk of socket) await saving.write(chunk);
 *     await saving.finish(); // without it, nothing is left behind
 *
 * @throws Failure EINVAL, ENAMETOOLONG (the name), EEXIST, and what the folder says: ENOENT, EACCES, ...
 */
export async function saveInside(folder: string, name: string) {
  checkName(name);
  if (await lstat(join(folder, name)).then(() => true, () => false)) throw taken(name);
  const part = join(folder, `incoming-${crypto.randomUUID().slice(0, 8)}.part`);
  const file = await open(part, "wx").catch(failAs(folder));
  return {
    /** Adds bytes at the end. @throws Failure ENOSPC and its like */
    write: (bytes: Uint8Array): Promise<void> => file.appendFile(bytes).catch(failAs(folder)),
    /** All bytes are there: the file gets its name. @throws Failure EEXIST when another file has got it meanwhile */
    async finish(): Promise<void> {
      await file.close().catch(failAs(folder));
      await renameToFree(part, join(folder, name))
        .catch((error) => failAs(folder)(error.code === "EEXIST" ? taken(name) : error));
    },
    /** Removes the part. */
    async [Symbol.asyncDispose](): Promise<void> {
      await file.close().catch(() => {});
      await rm(part, { force: true }).catch(() => {});
    },
  };
}

/** The failure of a name that is not free. */
export const taken = (name: string) => new Failure(name, "exists already, and is not overwritten", "EEXIST");

/**
 * Renames, but replaces nothing: rename(2) would. Where nothing can be linked (a folder, FAT) it looks before.
 * @throws EEXIST, and the errors of link(2) and rename(2)
 */
export async function renameToFree(from: string, to: string): Promise<void> {
  try {
    linkSync(from, to); // at once: a trip to the threads of node:fs/promises takes longer than the call
  } catch (error) {
    const { code } = error as { code?: string };
    if (!["EPERM", "EISDIR", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"].includes(`${code}`)) throw error;
    if (await lstat(to).then(() => true, () => false)) throw taken(to);
    return await rename(from, to);
  }
  try {
    unlinkSync(from);
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return; // somebody has removed it: it has only the new name
    unlinkSync(to); // the old name stays, where its folder may not be written to; so the new one must not
    throw error;
  }
}
