/** What a long list shows of a file, beside its name. */

/** rwxr-x---: the rights in a mode (chmod(2)), as `ls -l` shows them. */
export function rights(mode: number): string {
  return Array.from("rwxrwxrwx", (right, bit) => (mode & (0o400 >> bit) ? right : "-")).join("");
}

/** The latest time that a Date can show, in milliseconds: the year 275,760. */
const LATEST = 8.64e15;

/** A time that a Date can show, in milliseconds: a file may claim to be much older or younger (NaN on Deno 2.9). */
export function shownTime(time: number): number {
  return Number.isNaN(time) ? LATEST : Math.max(-LATEST, Math.min(time, LATEST));
}
