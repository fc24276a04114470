/**
 * Loaded before a script, it stands for a disk that is broken: of each open file, no more than so many bytes can be
 * read (BAD_DISK); then read(2) fails. Or for one that is slow: what is to be appended is fetched from memory only so
 * many milliseconds later (SLOW_DISK), or each read(2) takes so many (SLOW_READ). See `loaded` in program.ts.
 */
import { type FileHandle, open } from "node:fs/promises";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

const { BAD_DISK = "Infinity", SLOW_DISK = "0", SLOW_READ = "0" } = process.env;

const some = await open(process.execPath);
const handles = Object.getPrototypeOf(some);
const { read, appendFile } = handles;
await some.close();

const counts = new WeakMap<FileHandle, number>();

handles.read = async function (...words: unknown[]) {
  const before = counts.get(this) ?? 0;
  if (before >= Number(BAD_DISK)) {
    throw Object.assign(new Error("EIO: i/o error, read"), { code: "EIO", syscall: "read" });
  }
  if (SLOW_READ !== "0") await sleep(Number(SLOW_READ));
  const result = await read.apply(this, words);
  counts.set(this, before + result.bytesRead);
  return result;
};

if (SLOW_DISK !== "0") {
  handles.appendFile = async function (...words: unknown[]) {
    await sleep(Number(SLOW_DISK));
    return await appendFile.apply(this, words);
  };
}
