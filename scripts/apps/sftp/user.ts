/** The user who runs this program. */
import { readFileSync } from "node:fs";
import { userInfo } from "node:os";

/**
 * The name of the user who runs this program, as getpwuid(3) gives it. Bun 1.4.5 says "unknown" where $USER is not
 * set: then it is looked up in /etc/passwd (man 5 passwd).
 */
export function userName(): string {
  const { uid, username } = userInfo();
  if (username !== "unknown") return username;
  try {
    const users = readFileSync("/etc/passwd", "utf8").split("\n").map((line) => line.split(":"));
    return users.find(([, , id]) => id === `${uid}`)?.[0] ?? username;
  } catch {
    return username;
  }
}
