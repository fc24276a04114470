/** The two sides of a file shell, which can do the same: files here, and files there. */
import {
  type FileHandle,
  lstat,
  mkdir,
  open,
  readdir,
  realpath,
  rename,
  rmdir,
  stat,
  unlink,
} from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { failAs, Failure } from "../../../lib/failure.ts";
import { checkName, openFile } from "../../../lib/files.ts";
import { rights } from "./rights.ts";

/** What is at a path. Its mode is that of stat(2), as far as it is known; its time counts seconds from 1970. */
export type Facts = {
  kind: "file" | "folder" | "link" | "other";
  mode: number;
  size: number;
  time: number;
  uid: number;
  gid: number;
};

/** A name in a folder, and what it is: a symbolic link is itself, not what it leads to. */
export type Entry = Facts & { name: string };

/** An open file. */
export type File = AsyncDisposable & {
  read(buffer: Buffer, offset: number, length: number, place: number): Promise<{ bytesRead: number }>;
  write(buffer: Buffer, offset: number, length: number, place: number): Promise<{ bytesWritten: number }>;
};

/** Paths are meant in `folder`, unless they are absolute. */
export type Side = {
  readonly folder: string;
  /** Goes to a folder. */
  enter(path: string): Promise<void>;
  /** The path without `.`, `..` and links. */
  realpath(path: string): Promise<string>;
  /** What a path leads to. */
  stat(path: string): Promise<Facts>;
  /** The names in a folder, in order, without `.` and `..`. */
  list(path: string): Promise<Entry[]>;
  mkdir(path: string): Promise<void>;
  /** Makes a folder, unless there is one. */
  needFolder(path: string): Promise<void>;
  rmdir(path: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** Renames, over a file that has the name, where this side can. */
  rename(from: string, to: string): Promise<void>;
  /** Opens a file: "r" an existing one, "wx" one that must not exist yet, with a mode from which umask takes away. */
  open(path: string, flags: "r" | "wx", mode?: number): Promise<File>;
  /** Whether a name that the other side has told may be one here. @throws Failure */
  check(name: string): void;
};

/** What stat(2) tells, here or there. */
export function facts(
  { mode = 0o100644, size = 0, uid = 0, gid = 0 }: {
    mode?: number;
    size?: number;
    uid?: number;
    gid?: number;
  },
  time = 0,
): Facts {
  const kinds: Record<number, Facts["kind"]> = { 0o04: "folder", 0o10: "file", 0o12: "link" };
  return { kind: kinds[mode >>> 12] ?? "other", mode, size, time, uid, gid };
}

/** -rw-r--r--  1000  1000          928  2026-11-20 17:04 */
export function longLine({ kind, mode, uid, gid, size, time }: Facts): string {
  const first = { file: "-", folder: "d", link: "l", other: "?" }[kind];
  const [uidShown, gidShown, sizeShown] = [
    `${uid}`.padStart(5),
    `${gid}`.padStart(5),
    `${size}`.padStart(12),
  ];
  const at = new Date(time * 1000);
  const parts = [at.getMonth() + 1, at.getDate(), at.getHours(), at.getMinutes()];
  const [month, day, hour, minute] = parts.map((number) => `${number}`.padStart(2, "0"));
  return `${first}${
    rights(mode)
  } ${uidShown} ${gidShown} ${sizeShown}  ${at.getFullYear()}-${month}-${day} ${hour}:${minute}`;
}

/** The files of this machine. */
export class Local implements Side {
  get folder(): string {
    return process.cwd();
  }

  async enter(path: string): Promise<void> {
    await Promise.try(process.chdir, path).catch(failAs(path));
  }

  realpath = (path: string) => realpath(path).catch(failAs(path));
  mkdir = (path: string) => mkdir(path).catch(failAs(path));
  rmdir = (path: string) => rmdir(path).catch(failAs(path));
  unlink = (path: string) => unlink(path).catch(failAs(path));
  rename = (from: string, to: string) => rename(from, to).catch(failAs(to));
  check = checkName;

  /** A link to a folder is none: what comes from the other side must not leave the way that it was sent. */
  async needFolder(path: string): Promise<void> {
    await mkdir(path).catch(failAs(path)).catch(async (error) => {
      if (error.code !== "EEXIST") throw error;
      if (!(await lstat(path)).isDirectory()) throw new Failure(path, "is in the way of a folder", "ENOTDIR");
    });
  }

  async stat(path: string): Promise<Facts> {
    const stats = await stat(path).catch(failAs(path));
    return facts(stats, stats.mtimeMs / 1000);
  }

  async list(path: string): Promise<Entry[]> {
    const names = (await readdir(path).catch(failAs(path))).sort();
    const entries = names.map(async (name) => {
      const stats = await lstat(join(path, name)).catch(() => undefined); // it may have gone meanwhile
      return stats ? [{ name, ...facts(stats, stats.mtimeMs / 1000) }] : [];
    });
    return (await Promise.all(entries)).flat();
  }

  open(path: string, flags: "r" | "wx", mode?: number): Promise<FileHandle> {
    return flags === "r" ? openFile(path) : open(path, flags, mode).catch(failAs(path));
  }
}

/** Bytes of one request, and how many are on their way at once: 2 MiB, which is all that a copy keeps in memory. */
const CHUNK = 131_072;
const WINDOW = 16;

/**
 * Copies a file, with many requests on their way at once: the way there and back takes its time, and only the
 * first one should wait for it.
 * @param size its bytes, as far as they are known: 0 copies what comes, until the end
 * @param step hears how many bytes were copied
 * @returns its bytes
 * @throws Failure EIO when it ends too early; what `from` and `to` throw
 */
export async function copy(
  from: File,
  to: File,
  size: number,
  name: string,
  step: (bytes: number) => void,
): Promise<number> {
  let end = size || Infinity;
  let next = 0;
  let copied = 0;
  const worker = async () => {
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK, end));
    while (next < end) {
      const place = next;
      next += CHUNK;
      const length = Math.min(CHUNK, end - place);
      let count = 0;
      while (count < length) {
        const { bytesRead } = await from.read(buffer, count, length - count, place + count);
        if (bytesRead === 0) break;
        count += bytesRead;
      }
      for (let done = 0; done < count;) {
        done += (await to.write(buffer, done, count - done, place + done)).bytesWritten;
      }
      copied += count;
      step(count);
      if (count < length) end = Math.min(end, place + count);
    }
  };
  const workers = Array.from(
    { length: Math.min(WINDOW, Math.ceil(end / CHUNK)) },
    () =>
      worker().catch((error) => {
        end = 0; // the others stop too
        throw error;
      }),
  );
  const failed = (await Promise.allSettled(workers)).find(({ status }) => status === "rejected");
  if (failed) throw (failed as PromiseRejectedResult).reason;
  if (copied === (size || end)) return copied;
  throw new Failure(name, `ended after ${Math.min(copied, end)} of ${size} bytes`, "EIO");
}
