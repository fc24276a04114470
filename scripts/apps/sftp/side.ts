/** The two sides of the file shell, here and there, do the same things with files. */
import { rights, shownTime } from "./long-list.ts";

/** How many bytes one read or write moves: as many as OpenSSH's server takes at once. */
export const PIECE = 261_120;

export type Kind = "file" | "folder" | "link" | "other";

/**
 * What is at a path, as stat(2) tells it; undefined: the other side has not told it. `mode` has the permissions
 * only, `time` is in seconds since 1970, `links` counts the names of a file.
 */
export type Facts = {
  kind: Kind;
  mode?: number;
  size: number;
  time: number;
  uid?: number;
  gid?: number;
  links?: number;
};

/** A name in a folder, and what it is: a symbolic link is itself, not what it leads to. */
export type Entry = Facts & { name: string };

/** An open file. */
export type File = AsyncDisposable & {
  /** How many bytes one call moves best. */
  readonly piece: number;
  /** Reads at most `length` bytes from a place in the file: fewer than asked for, if the file says so; 0 at its end. */
  read(buffer: Buffer, offset: number, length: number, place: number): Promise<number>;
  /** Writes all the bytes at a place in the file. Called in ascending order: not every file can seek. */
  write(bytes: Buffer, place: number): Promise<void>;
};

export type Flags = "r" | "wx" | "w" | "a";

/** Files here or there. Paths are meant in `folder`, unless they are absolute. */
export type Side = {
  readonly folder: string;
  /** Goes to a folder. */
  enter(path: string): Promise<void>;
  /** The path without `.`, `..` and links. */
  realpath(path: string): Promise<string>;
  /** What a path leads to. */
  stat(path: string): Promise<Facts>;
  /** The same, but a link at its end is a link. */
  lstat(path: string): Promise<Facts>;
  /** The names in a folder, in order, without `.` and `..`. */
  list(path: string): Promise<Entry[]>;
  /** Makes a folder, with a mode from which umask takes away. */
  mkdir(path: string, mode?: number): Promise<void>;
  /** Makes a folder, unless there is one. @returns whether it was made */
  needFolder(path: string, mode?: number): Promise<boolean>;
  /** Gives a folder that was made its mode, now that it is filled; as OpenSSH's sftp does, with umask here only. */
  finishFolder(path: string, mode: number): Promise<void>;
  rmdir(path: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** Renames, over a file that has the name, where this side can. */
  rename(from: string, to: string): Promise<void>;
  /** Sets the permissions and, where it is told, the owner. */
  setRights(path: string, rights: Pick<Facts, "mode" | "uid" | "gid">): Promise<void>;
  /** Whether a file whose name the other side has told may go through a link that has this name. */
  readonly followsLinks: boolean;
  /**
   * Opens a file: "r" an existing one; "wx" a new one, which must not exist yet, with a mode from which umask takes
   * away; "w" an existing one, which is emptied; "a" a device or a pipe, which cannot seek.
   */
  open(path: string, flags: Flags, mode?: number): Promise<File>;
  /** Checks that a name from the other side may be a name here. @throws Failure */
  check(name: string): void;
};

/** The kind of file in a mode of stat(2); undefined where it is not told. */
export function kindOf(mode = 0): Kind | undefined {
  const kinds: Record<number, Kind | undefined> = {
    0: undefined,
    0o04: "folder",
    0o10: "file",
    0o12: "link",
  };
  const type = (mode >>> 12) & 0o17;
  return type in kinds ? kinds[type] : "other";
}

/** -rw-r--r--  1000  1000          928  2026-11-20 17:04 */
export function longLine({ kind, mode, uid, gid, size, time }: Facts): string {
  const first = { file: "-", folder: "d", link: "l", other: "?" }[kind];
  const shown = mode === undefined ? "?????????" : rights(mode);
  const numbers = [`${uid ?? "?"}`.padStart(5), `${gid ?? "?"}`.padStart(5), `${size}`.padStart(12)];
  return `${first}${shown} ${numbers.join(" ")}  ${clock(time)}`;
}

/** 2026-11-20 17:04, local time. */
function clock(time: number): string {
  const at = new Date(shownTime(time * 1000));
  const parts = [at.getMonth() + 1, at.getDate(), at.getHours(), at.getMinutes()];
  const [month, day, hour, minute] = parts.map((number) => `${number}`.padStart(2, "0"));
  return `${at.getFullYear()}-${month}-${day} ${hour}:${minute}`;
}
