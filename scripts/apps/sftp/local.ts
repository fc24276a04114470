/** The files of this machine. */
import type { Stats } from "node:fs";
import {
  chmod,
  chown,
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
import { type Entry, type Facts, type File, type Flags, kindOf, PIECE, type Side } from "./side.ts";

export class Local implements Side {
  get folder(): string {
    return process.cwd();
  }

  async enter(path: string): Promise<void> {
    await Promise.try(process.chdir, path).catch(failAs(path));
  }

  realpath = (path: string) => realpath(path).catch(failAs(path));
  mkdir = (path: string, mode?: number) => mkdir(path, { mode }).catch(failAs(path)) as Promise<void>;
  rmdir = (path: string) => rmdir(path).catch(failAs(path));
  unlink = (path: string) => unlink(path).catch(failAs(path));
  rename = (from: string, to: string) => rename(from, to).catch(failAs(to));
  stat = async (path: string) => facts(await stat(path).catch(failAs(path)));
  lstat = async (path: string) => facts(await lstat(path).catch(failAs(path)));
  check = checkName;
  readonly followsLinks = false; // what comes from the other side must stay below the folder it was sent to

  /** A link to a folder is refused, too. */
  async needFolder(path: string, mode?: number): Promise<boolean> {
    try {
      await this.mkdir(path, mode);
      return true;
    } catch (error) {
      if ((error as Failure).code !== "EEXIST") throw error;
      if ((await this.lstat(path)).kind === "folder") return false;
      throw new Failure(path, "is in the way of a folder", "ENOTDIR");
    }
  }

  finishFolder = (path: string, mode: number) => this.setRights(path, { mode: mode & ~process.umask() });

  async list(path: string): Promise<Entry[]> {
    const names = (await readdir(path).catch(failAs(path))).sort();
    const entries = names.map(async (name): Promise<Entry[]> => {
      try {
        return [{ name, ...facts(await lstat(join(path, name))) }];
      } catch (error) {
        const hasGone = (error as NodeJS.ErrnoException).code === "ENOENT" && !name.includes("\uFFFD"); // a name that is no UTF-8
        return hasGone ? [] : [{ name, kind: "file", size: 0, time: 0 }]; // who opens it is told why that fails
      }
    });
    return (await Promise.all(entries)).flat();
  }

  async setRights(path: string, { mode, uid, gid }: Pick<Facts, "mode" | "uid" | "gid">): Promise<void> {
    if (uid !== undefined && gid !== undefined) await chown(path, uid, gid).catch(failAs(path));
    if (mode !== undefined) await chmod(path, mode).catch(failAs(path)); // last: chown takes bits away
  }

  async open(path: string, flags: Flags, mode?: number): Promise<File> {
    const ours = mode === undefined ? undefined : mode | 0o200; // a copy of ours we may change, as with OpenSSH's sftp
    const file = flags === "r" ? await openFile(path) : await open(path, flags, ours).catch(failAs(path));
    return new LocalFile(file, path, (await file.stat()).isFile());
  }
}

/** What stat(2) tells. */
function facts({ mode, size, mtimeMs, uid, gid, nlink }: Stats): Facts {
  const kind = kindOf(mode) ?? "other";
  return { kind, mode: mode & 0o7777, size, time: mtimeMs / 1000, uid, gid, links: nlink };
}

class LocalFile implements File {
  readonly piece = PIECE;
  readonly #file: FileHandle;
  readonly #path: string;
  readonly #canSeek: boolean;
  #last: Promise<void> = Promise.resolve();

  constructor(file: FileHandle, path: string, canSeek: boolean) {
    this.#file = file;
    this.#path = path;
    this.#canSeek = canSeek;
  }

  async read(buffer: Buffer, offset: number, length: number, place: number): Promise<number> {
    const { bytesRead } = await this.#file.read(buffer, offset, length, place).catch(failAs(this.#path));
    return bytesRead;
  }

  write(bytes: Buffer, place: number): Promise<void> {
    if (this.#canSeek) return this.#writeAll(bytes, place);
    return this.#last = this.#last.then(() => this.#writeAll(bytes, null)); // a pipe takes one after another
  }

  async #writeAll(bytes: Buffer, place: number | null): Promise<void> {
    for (let done = 0; done < bytes.length;) { // a write(2) may take only some of them
      const at = place === null ? null : place + done;
      const write = this.#file.write(bytes, done, bytes.length - done, at);
      done += (await write.catch(failAs(this.#path))).bytesWritten;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close().catch(failAs(this.#path));
  }
}
