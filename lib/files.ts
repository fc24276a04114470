/** Files that the network asks for: a name from a peer never leads out of the folder it belongs to. */
import { constants } from "node:fs";
import { type FileHandle, open, realpath } from "node:fs/promises";
import { isAbsolute, join, relative, sep, win32 } from "node:path";
import { Failure } from "./failure.ts";

/** The longest path of the usual systems, in bytes (PATH_MAX, limits.h). */
const LONGEST_NAME = 4096;

/**
 * Opens a regular file below `root` for reading. The name may lead through folders, but not out of
 * `root`: not by `..`, as an absolute path, or through a symbolic link.
 * @throws Failure EACCES, EISDIR, ENOENT, ENAMETOOLONG; the errors of open(2)
 */
export async function openInside(root: string, name: string): Promise<FileHandle> {
  if (Buffer.byteLength(name) > LONGEST_NAME) {
    throw new Failure(name, "name too long", "ENAMETOOLONG");
  }
  const outside = new Failure(name, "not inside the served folder", "EACCES");
  if (name.includes("\0")) throw outside;
  if (isAbsolute(name) || win32.isAbsolute(name) || name.split(/[/\\]/).includes("..")) throw outside;
  const folder = await realpath(root);
  const path = await realpath(join(folder, name)).catch((error) => {
    throw new Failure(name, error.code === "ENAMETOOLONG" ? "name too long" : "no such file", error.code);
  });
  const way = relative(folder, path);
  if (way === ".." || way.startsWith(`..${sep}`) || isAbsolute(way)) throw outside;
  // O_NONBLOCK: opening a named pipe would wait for its writer.
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  const stat = await file.stat();
  if (stat.isFile()) return file;
  await file.close();
  throw stat.isDirectory()
    ? new Failure(name, "is a folder", "EISDIR")
    : new Failure(name, "is not a file", "EACCES");
}
