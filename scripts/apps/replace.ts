/** Replacing a file by a new one: only a file, and the new one is as private as the old one was. */
import type { Stats } from "node:fs";
import { type FileHandle, lstat } from "node:fs/promises";
import { failAs, Failure } from "../../lib/failure.ts";

/**
 * Looks at what a new file would replace.
 * @returns undefined where there is nothing
 * @throws Failure EISDIR for a folder, EACCES for anything else that is not a file, such as a device or a link; the
 *   errors of lstat(2)
 */
export async function replaceable(path: string): Promise<Stats | undefined> {
  const stat = await lstat(path).catch((error) => {
    if (error.code !== "ENOENT") failAs(path)(error);
  });
  if (!stat || stat.isFile()) return stat ?? undefined;
  if (stat.isDirectory()) {
    throw new Failure(path, "is a folder, which a file cannot replace", "EISDIR", {
      hint: "rename one of them, or save in another folder",
    });
  }
  throw new Failure(path, "is not a file, and is not replaced", "EACCES");
}

/**
 * Gives a new file the owner and the rights of the one that it will replace. Where the owner cannot be given, the group
 * gets no more rights than everybody has: it is another group.
 */
export async function keepRights(file: FileHandle, { mode, uid, gid }: Stats): Promise<void> {
  const isKept = await file.chown(uid, gid).then(() => true, () => false);
  const rights = isKept ? mode & 0o777 : (mode & 0o707) | ((mode & 0o007) << 3);
  await file.chmod(rights).catch(async (error) => {
    // A file system without rights gives the same ones to all files.
    if ((await file.stat()).mode & 0o777 & ~rights) throw error;
  });
}
