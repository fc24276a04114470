/** The shell of lesson 4.5 in a test: keys, folders, OpenSSH's server, and servers that answer as they are told. */
import { afterAll, beforeAll } from "bun:test";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import process from "node:process";
import ssh2 from "ssh2";
import * as knownHosts from "../../../scripts/apps/sftp/known-hosts.ts";
import { sha256OfFile, temporaryFolder } from "../../engine/files.ts";
import {
  EVERYTHING,
  hurried,
  type Program,
  ROOT,
  type Runtime,
  RUNTIMES,
  script,
  start,
} from "../../engine/program.ts";
import { freePort } from "../../engine/sockets.ts";
import { type Person, terminal } from "../../engine/terminal.ts";

export const SSHD = "/usr/sbin/sshd";
export const HAS_KEYGEN = Bun.which("ssh-keygen") !== null;
export const HAS_SSHD = HAS_KEYGEN && existsSync(SSHD);
export const needsKeygen = HAS_KEYGEN ? "" : " (needs OpenSSH's client)";
export const needsSshd = HAS_SSHD ? "" : " (needs OpenSSH's sshd)";

/** The first of the rows; all of them where everything is tested. */
export const some = <T>(count: number, rows: T[]) => (EVERYTHING ? rows : rows.slice(0, count));

/** The keys of the tests, made once: of hosts (by type) and of a user. */
export let keys: string;
export const USER = process.platform === "win32" ? "user" : execFileSync("id", ["-un"]).toString().trim();

/** Makes the keys before the tests of a file, and removes them afterwards. */
export function makeKeys(): void {
  let made: Awaited<ReturnType<typeof temporaryFolder>>;
  beforeAll(async () => {
    made = await temporaryFolder();
    keys = made.path;
    for (const name of ["host", "other", "user"]) {
      let pair: { private: string; public: string };
      do pair = ssh2.utils.generateKeyPairSync("ed25519"); // now and then it makes one that nobody can read
       while (ssh2.utils.parseKey(pair.private) instanceof Error);
      writeFileSync(join(keys, name), pair.private, { mode: 0o600 });
      writeFileSync(join(keys, `${name}.pub`), `${pair.public}\n`);
    }
    if (!HAS_KEYGEN) return;
    for (const type of ["rsa", "ecdsa"]) keygen("-q", "-t", type, "-N", "", "-f", join(keys, type));
    keygen("-q", "-t", "ed25519", "-N", "open sesame", "-a", "1", "-f", join(keys, "locked"));
  });
  afterAll(() => made[Symbol.asyncDispose]());
}

export function keygen(...words: string[]): string {
  return execFileSync("ssh-keygen", words, { stdio: ["ignore", "pipe", "ignore"] }).toString();
}

/** The bytes of a public key, as a host shows them. */
export const blob = (name: string) =>
  Buffer.from(readFileSync(join(keys, `${name}.pub`), "utf8").split(" ")[1], "base64");
export const line = (hosts: string, name: string) =>
  `${hosts} ${readFileSync(join(keys, `${name}.pub`), "utf8")}`;

/** A folder of its own, with a `home`, a `here` and a `there`, that is removed at the end. */
export async function folder() {
  const { path, at, [Symbol.asyncDispose]: remove } = await temporaryFolder();
  for (const name of ["home", "here", "there"]) await mkdir(join(path, name));
  return {
    path,
    at,
    here: (...names: string[]) => join(path, "here", ...names),
    there: (...names: string[]) => join(path, "there", ...names),
    knownHosts: join(path, "home", ".ssh", "known_hosts"),
    [Symbol.asyncDispose]: remove,
  };
}
export type Folder = Awaited<ReturnType<typeof folder>>;

/** Starts OpenSSH's server, with its own configuration, on a free port. */
export async function sshd(box: Folder, hostKeys = ["host"], more: string[] = []) {
  if (process.getuid?.() === 0) mkdirSync("/run/sshd", { recursive: true }); // where it locks its own parts up
  writeFileSync(
    box.at("authorized_keys"),
    ["user", ...(HAS_KEYGEN ? ["locked"] : [])].map((name) => readFileSync(join(keys, `${name}.pub`))).join(
      "",
    ),
  );
  while (true) {
    const port = await freePort();
    writeFileSync(
      box.at("sshd_config"),
      [
        `ListenAddress 127.0.0.1:${port}`,
        ...hostKeys.map((name) => `HostKey ${join(keys, name)}`),
        `AuthorizedKeysFile ${box.at("authorized_keys")}`,
        "StrictModes no",
        "UsePAM no",
        "PidFile none",
        "PasswordAuthentication no",
        "PermitRootLogin yes",
        `Subsystem sftp internal-sftp -d ${box.there()}`,
        ...more,
        "",
      ].join("\n"),
    );
    const program = start([SSHD, "-D", "-e", "-f", box.at("sshd_config")]);
    const ready = await program.next("stderr").catch(() => "nothing");
    if (ready?.startsWith("Server listening")) {
      return { port, program, [Symbol.asyncDispose]: () => program[Symbol.asyncDispose]() };
    }
    await program[Symbol.asyncDispose]();
    if (!/Address already in use/.test(ready ?? "")) {
      throw new Error(`sshd: ${ready}\n${program.seen.stderr.join("\n")}`);
    }
  }
}

/** OpenSSH's client, whose known hosts are those of the folder. */
export function openSsh(box: Folder, port: number, settings: string[] = []) {
  const options = [`UserKnownHostsFile=${box.knownHosts}`, "GlobalKnownHostsFile=none", ...settings];
  const words = ["-F", "none", "-q", "-b", "-", "-P", `${port}`, "-i", join(keys, "user")];
  return start(["sftp", ...words, ...options.flatMap((one) => ["-o", one]), `${USER}@127.0.0.1`], {
    cwd: box.here(),
    env: { SSH_AUTH_SOCK: "" },
  });
}

/** A person at our shell. */
export const atTerminal = (box: Folder, port: number, runtime: Runtime = "bun") =>
  terminal(
    [...RUNTIMES[runtime], join(ROOT, "scripts/apps/sftp.ts"), "me@127.0.0.1", "--port", `${port}`],
    { cwd: box.here(), env: { HOME: box.at("home"), SSH_AUTH_SOCK: "" } },
  );

/** Logs in at a terminal. */
export async function logIn(person: Person) {
  await person.until("password of");
  person.type("s3cret");
  person.press("Enter");
  await person.until("sftp> ");
}

/** A line to a server that can be cut. */
export async function relay(to: number) {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (from) => {
    const onward = connect(to, "127.0.0.1");
    for (const socket of [from, onward]) sockets.add(socket.on("error", () => {}));
    from.pipe(onward, { end: false });
    onward.pipe(from, { end: false });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const cut = () => sockets.forEach((socket) => socket.resetAndDestroy());
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    /** Sends what is no SSH to all. */
    spoil: () => sockets.forEach((socket) => socket.write(randomBytes(100_000))),
    async [Symbol.asyncDispose]() {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export type Options = {
  runtime?: Runtime;
  words?: string[];
  limit?: number;
  env?: Record<string, string>;
  /** How many times as fast its timers run: less than 1 where a busy machine must be in time. */
  pace?: number;
};

/** Starts the shell in `here`, with a home of its own. */
export function shell(
  box: Folder,
  port: number,
  { runtime, words = ["--identity", join(keys, "user")], limit, env, pace }: Options = {},
): Program {
  const all = [`${USER}@127.0.0.1`, "--port", `${port}`, ...words];
  const home = { HOME: box.at("home"), SSH_AUTH_SOCK: "", ...env };
  const options = { runtime, limit, cwd: box.here(), env: home };
  return pace ? hurried(pace, "apps/sftp", all, options) : script("apps/sftp", all, options);
}

/** Types all the lines, ends the input, and gives what came of it. */
export async function session(program: Program, lines: string[]) {
  program.type(lines.map((line) => `${line}\n`).join(""));
  program.endOfInput();
  return await program.result();
}

/** Trusts a host before it is called. */
export async function trust(box: Folder, port: number, key = "host") {
  await knownHosts.remember(box.knownHosts, `[127.0.0.1]:${port}`, blob(key));
}

/** What a first contact says. */
export const contact = (port: number, key = "host", type = "ED25519") =>
  `[127.0.0.1]:${port} is unknown; its ${type} key is\n${knownHosts.fingerprint(blob(key))}\n` +
  "is this the right key? answer yes, or the fingerprint itself\n";

export const FILES = {
  "a.txt": "one\n",
  "two words.txt": "two\n",
  "it's": "",
  "[x].md": "四\n",
  ".hidden": "five\n",
};

export async function fill(path: string) {
  await mkdir(join(path, "sub", "deep", "empty"), { recursive: true });
  for (const [name, text] of Object.entries(FILES)) await writeFile(join(path, name), text);
  await writeFile(join(path, "sub", "deep", "six"), "6".repeat(300_000));
}

/** All that is in a folder: names, and hashes of files. */
export async function tree(path: string): Promise<Record<string, string>> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  const rows = entries.map((entry) => {
    const file = join(entry.parentPath, entry.name);
    return [
      file.slice(path.length + 1),
      entry.isFile() ? sha256OfFile(file) : entry.isDirectory() ? "folder" : "other",
    ];
  });
  return Object.fromEntries(rows.sort());
}

export const sha256Big = (file: string) => execFileSync("sha256sum", [file]).toString().split(" ")[0];

export type Sftp = ssh2.SFTPWrapper;
/** What a server of the test answers: by the name of the request; what is missing is refused. */
export type Answers = Record<string, (sftp: Sftp, id: number, ...fields: never[]) => void>;

export const { STATUS_CODE } = ssh2.utils.sftp;
export const FOLDER = { mode: 0o040755, uid: 0, gid: 0, size: 0, atime: 0, mtime: 0 };
export const FILE = { ...FOLDER, mode: 0o100644, size: 5 };

/**
 * A server of the test, made with ssh2: it takes a password, and answers as it is told.
 * @param questions what it asks instead of a password: the password is one of the answers
 */
export async function impostor(
  answers: Answers = {},
  password = "s3cret",
  questions?: ssh2.Prompt[],
  accepts: ssh2.AuthenticationType[] = ["password"],
) {
  const passwords: string[] = [];
  const clients = new Set<ssh2.Connection>();
  const server = new ssh2.Server({ hostKeys: [readFileSync(join(keys, "host"))] }, (client) => {
    clients.add(client);
    client.on("error", () => {});
    client.on("authentication", (context) => {
      if (questions && context.method !== "keyboard-interactive") {
        return context.reject(["keyboard-interactive"]);
      }
      const decide = (answers: string[]) => {
        passwords.push(...answers);
        if (answers.includes(password)) context.accept();
        else context.reject(questions ? ["keyboard-interactive"] : accepts);
      };
      if (context.method === "keyboard-interactive" && questions) {
        const ask = () => context.prompt(questions, "Two \x1b[2Jsteps", "Look at your phone.\n", decide);
        return ask();
      }
      if (context.method !== "password") return context.reject(accepts);
      decide([context.password]);
    });
    client.on("session", (accept) => {
      accept().on("sftp", (accept) => {
        const sftp = accept() as Sftp;
        const all: Answers = {
          REALPATH: (sftp, id) => sftp.name(id, [{ filename: "/", longname: "/", attrs: FOLDER }]),
          STAT: (sftp, id) => sftp.attrs(id, FOLDER),
          OPENDIR: (sftp, id) => sftp.handle(id, Buffer.from("0")),
          CLOSE: (sftp, id) => sftp.status(id, STATUS_CODE.OK),
          ...answers,
        };
        all.LSTAT ??= all.STAT;
        for (
          const name of [
            "REALPATH",
            "STAT",
            "LSTAT",
            "OPENDIR",
            "READDIR",
            "CLOSE",
            "OPEN",
            "READ",
            "WRITE",
            "REMOVE",
            "RENAME",
            "SETSTAT",
            "MKDIR",
          ]
        ) {
          const refuse = (sftp: Sftp, id: number) => sftp.status(id, STATUS_CODE.OP_UNSUPPORTED, "not here");
          sftp.on(
            name as "READ",
            (id: number, ...fields: unknown[]) => (all[name] ?? refuse)(sftp, id, ...fields as never[]),
          );
        }
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    passwords,
    hangUp: () => clients.forEach((client) => client.end()),
    async [Symbol.asyncDispose]() {
      clients.forEach((client) => client.end());
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** One list for each folder that is opened. */
export function listing(names: string[], attrs: typeof FOLDER): Answers {
  let isFirst = true;
  return {
    OPENDIR: (sftp, id) => {
      isFirst = true;
      sftp.handle(id, Buffer.from("0"));
    },
    READDIR: (sftp, id) => {
      if (isFirst) sftp.name(id, names.map((filename) => ({ filename, longname: filename, attrs })));
      else sftp.status(id, STATUS_CODE.EOF);
      isFirst = false;
    },
  };
}

export const PASSWORD = { words: [] };
