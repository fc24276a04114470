/** The names of ports, as this machine knows them: /etc/services (man 5 services). */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

/**
 * The registered service of each port, by `22/tcp`. A machine without the file knows none.
 */
export function services(): Map<string, string> {
  const names = new Map<string, string>();
  const folder = process.platform === "win32" ? join(process.env.SystemRoot ?? "", "System32/drivers") : "/";
  let text = "";
  try {
    text = readFileSync(join(folder, "etc/services"), "utf8");
  } catch {
    // then ports have numbers only
  }
  for (const [, name, port] of text.matchAll(/^([^\s#]+)[ \t]+(\d+\/\w+)/gm)) {
    if (!names.has(port)) names.set(port, name);
  }
  return names;
}
