/** The server of lesson 4.5 in a test: a folder, a user with a key, and OpenSSH's clients. */
import { readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import ssh2 from "ssh2";
import { temporaryFolder } from "../../engine/files.ts";
import {
  ON,
  type Options,
  type Program,
  ROOT,
  type Runtime,
  RUNTIMES,
  script,
  start,
} from "../../engine/program.ts";

export const needs = (...tools: string[]) => {
  const missing = tools.filter((tool) => !Bun.which(tool));
  return missing.length > 0 ? ` (needs ${missing.join(", ")})` : "";
};
export const OPENSSH = needs("sftp", "ssh-keygen");
export const IS_LINUX = process.platform === "linux";

/** Makes a key. One in 300 of ssh2 1.17 cannot be read, not even by itself. */
export function makeKey(): { private: string; public: string } {
  const pair = ssh2.utils.generateKeyPairSync("ed25519", { comment: "anna" });
  return ssh2.utils.parseKey(pair.private) instanceof Error ? makeKey() : pair;
}

/** The key of the user. */
export const KEY = makeKey();

/** A folder with a root in it, and the user's keys beside it. */
export async function stage() {
  const folder = await temporaryFolder();
  const path = folder.at;
  await mkdir(path("root"));
  await writeFile(path("key"), KEY.private, { mode: 0o600 });
  await writeFile(path("key.pub"), `${KEY.public}\n`);
  return { path, root: path("root"), [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}
export type Stage = Awaited<ReturnType<typeof stage>>;

/** Starts the server, for a user with a key. */
export async function serve(
  at: Stage,
  words: string[] = [],
  options: Options & { runtime?: Runtime; openFiles?: number } = {},
) {
  const keys = words.includes("--password") ? [] : ["--authorized-keys", at.path("key.pub")];
  const all = ["--port", "0", "--root", at.root, "--user", "anna", ...keys, ...words];
  const { openFiles, runtime = ON } = options;
  const limited = ["sh", "-c", `ulimit -n ${openFiles}; exec "$@"`, "sh", ...RUNTIMES[runtime]];
  const program = openFiles
    ? start([...limited, join(ROOT, "scripts/apps/sftp-server.ts"), ...all], options)
    : script("apps/sftp-server", all, options);
  const port = await program.port();
  await program.next(); // the host key
  await program.next(); // the user
  return { program, port, [Symbol.asyncDispose]: () => program[Symbol.asyncDispose]() };
}

/** What every command of OpenSSH gets, so that nothing of this machine's user has a say. */
export const PRIVATELY = (at: Stage, key: string | undefined = at.path("key")) => [
  ...["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes"],
  ...["-o", `UserKnownHostsFile=${at.path("known")}`, ...(key ? ["-i", key] : [])],
];

/** Runs commands in OpenSSH's sftp, which ends at the first one that fails. */
export async function sftp(at: Stage, port: number, commands: string[], words: string[] = []) {
  await using program = start([
    "sftp",
    ...PRIVATELY(at),
    "-P",
    `${port}`,
    ...words,
    "-b",
    "-",
    "anna@127.0.0.1",
  ], {
    cwd: at.path(),
    env: { LC_ALL: "C.UTF-8" }, // else it shows 猫 as \347\214\253
    limit: 300_000, // 1 GiB there and back on a busy machine
  });
  program.type(commands.map((command) => `${command}\n`).join(""));
  program.endOfInput();
  return await program.result();
}

/** How much memory a program has had at most, in MiB. */
export function peak(program: Program): number {
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${program.pid}/status`, "utf8"))?.[1]) / 1024;
}
