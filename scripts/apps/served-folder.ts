/** The folder that a server of files serves: a name from a caller never leads out of it. */
import { type FileHandle, lstat, readdir, realpath } from "node:fs/promises";
import { isAbsolute, join, relative, sep, win32 } from "node:path";
import { Failure } from "../../lib/failure.ts";
import { openFile } from "../../lib/files.ts";

/** The longest path of the usual systems, in bytes (PATH_MAX, limits.h). */
const LONGEST_PATH = 4096;

/**
 * Finds what a name means below `root`. It may lead through folders, but not out of `root`: not by `..`,
 * as an absolute path, or through a symbolic link.
 * @returns the real path
 * @throws Failure EACCES, ENOENT, ENAMETOOLONG
 */
async function pathInside(root: string, name: string): Promise<string> {
  if (Buffer.byteLength(name) > LONGEST_PATH) {
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
  return path;
}

/**
 * Opens a regular file below `root` for reading, where `pathInside` finds it.
 * @throws Failure EACCES, EISDIR, ENOENT, ENAMETOOLONG; the errors of open(2)
 */
export async function openInside(root: string, name: string): Promise<FileHandle> {
  return openFile(await pathInside(root, name), name);
}

/**
 * Lists what is at `path` below `root`: a file itself, or what a folder holds, by name; folders end in `/`.
 * With `recursive`, all the files below it instead. What leads out of `root`, and what is neither file nor
 * folder, is left out; symbolic links to folders are not followed.
 * @throws Failure EACCES, ENOENT; the errors of readdir(3)
 */
export async function* listInside(
  root: string,
  path: string,
  recursive: boolean,
): AsyncGenerator<{ name: string; size: number }> {
  const top = await pathInside(root, path);
  const name = path.split(/[/\\]/).filter((part) => part !== "" && part !== ".").join("/");
  const stat = await lstat(top);
  if (stat.isFile()) yield { name, size: stat.size };
  if (!stat.isDirectory()) return;
  for (const child of (await readdir(top)).sort()) {
    const childName = name ? `${name}/${child}` : child;
    const found = await pathInside(root, childName).then(async (real) => ({
      isLink: (await lstat(join(top, child))).isSymbolicLink(),
      stat: await lstat(real),
    })).catch(() => undefined);
    if (found?.stat.isFile()) yield { name: childName, size: found.stat.size };
    else if (found?.stat.isDirectory() && !recursive) yield { name: `${childName}/`, size: 0 };
    else if (found?.stat.isDirectory() && !found.isLink) yield* listInside(root, childName, true);
  }
}
