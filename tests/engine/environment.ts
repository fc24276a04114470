/**
 * The environment of the programs that tests start. It is chosen here, not inherited: colours, language and proxies
 * of the terminal in which somebody runs the tests must not change what a program prints.
 */
import { delimiter, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** The top of the project. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** The variable that tells which programs of the tests started a process: see Program.orphans. */
export const MARK = "SOCKETS_PROGRAM";

/**
 * What comes from outside: where things are, who the user is, and what the tests are told. In NODE_COMPILE_CACHE, which
 * test and matrix set, Node keeps what it has compiled, and starts a lesson in half of the time.
 */
const KEPT = [
  ...["HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "EVERYTHING", "ON", "NODE_COMPILE_CACHE", MARK],
  ...[
    "TEMP",
    "TMP",
    "USERPROFILE",
    "USERNAME",
    "APPDATA",
    "LOCALAPPDATA",
    "SystemRoot",
    "ComSpec",
    "PATHEXT",
  ], // Windows
];

/** The environment of a program, and what a test adds to it. */
export function environment(own: Record<string, string> = {}): Record<string, string> {
  const kept = KEPT.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value]];
  });
  return {
    ...Object.fromEntries(kept),
    PATH: [join(ROOT, "node_modules", ".bin"), process.env.PATH].join(delimiter),
    LANG: "C.UTF-8",
    NO_COLOR: "1",
    DENO_DIR: join(ROOT, "node_modules", ".cache", "deno"),
    DENO_NO_UPDATE_CHECK: "1",
    ...own,
  };
}
