/** Where a file of the server is saved, below the folder that the user has chosen. */
import { lstatSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { failAs, Failure } from "../../../lib/failure.ts";
import { checkName } from "../../../lib/files.ts";
import { LONGEST_PATH } from "../root.ts";

/**
 * The path below the folder that was asked for, with the last part of that folder: of `a/b`, the file `a/b/c/d` is
 * saved as `b/c/d`.
 * @throws Failure EPROTO for a file that is not below it: nobody has asked for that
 */
export function placeOf(path: string, asked: string, server: string): string {
  const parts = path.split("/");
  const folder = [/\//, /[/\\]/] // the second for a server on Windows, where a backslash separates, too
    .map((separator) => asked.split(separator).filter((part) => part !== "" && part !== "."))
    .find((folder) => folder.every((part, index) => part === parts[index]));
  if (!folder) throw new Failure(server, "sent a file that was not asked for", "EPROTO");
  return parts.slice(Math.max(0, folder.length - 1)).join("/");
}

/**
 * Makes the folders that lead to a path from the network, below `folder`, and follows no symbolic link.
 * @param path with `/`; its last part is the name of the file
 * @returns the path of the file on this machine
 * @throws Failure EINVAL, ENAMETOOLONG for a name that cannot be one here; ENOTDIR where something else is in the
 *   way of a folder; the errors of mkdir(2)
 */
export function makeWay(folder: string, path: string): string {
  if (Buffer.byteLength(path) > LONGEST_PATH) throw new Failure(path, "name too long", "ENAMETOOLONG");
  const parts = path.split("/");
  for (const part of parts) checkPart(part, path);
  let way = folder;
  for (const part of parts.slice(0, -1)) {
    way = join(way, part);
    let stat = lstatSync(way, { throwIfNoEntry: false });
    if (!stat) {
      makeFolder(way);
      stat = lstatSync(way);
    }
    if (!stat.isDirectory()) throw new Failure(way, "is in the way of a folder", "ENOTDIR");
  }
  return join(way, parts[parts.length - 1]);
}

/** Makes a folder, unless another run was faster. */
function makeFolder(path: string): void {
  try {
    mkdirSync(path);
  } catch (error) {
    if ((error as { code?: string }).code !== "EEXIST") failAs(path)(error);
  }
}

/** @throws Failure that shows the whole path, in which the name is one of many */
function checkPart(name: string, path: string): void {
  try {
    checkName(name);
  } catch (error) {
    const { why, code } = error as Failure;
    throw new Failure(path, name === path || name === "" ? why : `${name.slice(0, 60)} ${why}`, code);
  }
}
