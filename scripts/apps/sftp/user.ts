/** The user who runs this program. */
import { readFileSync } from "node:fs";
import { userInfo } from "node:os";
import process from "node:process";

/**
 * The name of the user who runs this program, as getpwuid(3) gives it. Bun 1.4.5 says "unknown" where $USER is not
 * set: then it is looked up in /etc/passwd (man 5 passwd). A user who has no name there (in a container, say) is $USER.
 */
export function userName(): string {
  try {
    const { uid, username } = userInfo(); // throws on Node for a user without a name
    if (username !== "unknown") return username;
    const users = readFileSync("/etc/passwd", "utf8").split("\n").map((line) => line.split(":"));
    return users.find(([, , id]) => id === `${uid}`)?.[0] ?? username;
  } catch {
    return process.env.USER || "unknown";
  }
}
