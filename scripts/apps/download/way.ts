/** Where a file of the server is saved: in the folders of its path, made below the folder that the user has chosen. */
import { lstat, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { Failure } from "../../../lib/failure.ts";
import { checkName } from "../../../lib/files.ts";

/** The longest path of the usual systems, in bytes (PATH_MAX, limits.h). */
const LONGEST_PATH = 4096;

/**
 * Makes the folders that lead to a path from the network, below `folder`, and follows no symbolic link.
 * @param path with `/`; its last part is the name of the file
 * @returns the path of the file on this machine
 * @throws Failure as `checkName`, for each part; ENOTDIR where something else is in the way
 */
export async function makeWay(folder: string, path: string): Promise<string> {
  if (Buffer.byteLength(path) > LONGEST_PATH) throw new Failure(path, "name too long", "ENAMETOOLONG");
  const parts = path.split("/");
  for (const part of parts) checkName(part);
  let way = folder;
  for (const part of parts.slice(0, -1)) {
    way = join(way, part);
    await mkdir(way).catch((error) => {
      if (error.code !== "EEXIST") throw error;
    });
    if (!(await lstat(way)).isDirectory()) throw new Failure(way, "is in the way of a folder", "ENOTDIR");
  }
  return join(way, parts[parts.length - 1]);
}
