/**
 * Loaded before a script, it stands for a disk that is broken: of each open file, no more than so many bytes can be
 * read (BAD_DISK); then read(2) fails. See `loaded` in program.ts.
 */
import { type FileHandle, open } from "node:fs/promises";
import process from "node:process";

const GOOD = Number(process.env.BAD_DISK);

const some = await open(process.execPath);
const handles = Object.getPrototypeOf(some);
const { read } = handles;
await some.close();

const counts = new WeakMap<FileHandle, number>();

handles.read = async function (...words: unknown[]) {
  const before = counts.get(this) ?? 0;
  if (before >= GOOD) {
    throw Object.assign(new Error("EIO: i/o error, read"), { code: "EIO", syscall: "read" });
  }
  const result = await read.apply(this, words);
  counts.set(this, before + result.bytesRead);
  return result;
};
