#!/usr/bin/env bun
/**
 * 4.5 Move files over SSH: one shell with two sides, the files here and the files there, on a line that nobody reads.
 * 中文 用 SSH 传文件：一个命令行管两头，一头是本机，一头是服务器，路上的人看不懂也改不了。
 *
 * terminal 1
 *   $ bun scripts/apps/sftp-server.ts --root scripts --user anna --password secret
 *   listening on 127.0.0.1:2022
 *   host key SHA256:3fecHG7Pehv5eyYXjogUQTyVGKJVXX9JjtRBb4ZTpjA (ssh-ed25519)
 *   user anna
 *   hint: all users of this machine can see a password on a command line
 *   127.0.0.1:50001 logged in
 *   127.0.0.1:50001 made the folder /backup
 *   127.0.0.1:50001 stored /backup/incoming-461a6d80.part, 928 bytes
 *   127.0.0.1:50001 renamed /backup/incoming-461a6d80.part to /backup/LICENSE
 *   127.0.0.1:50002 logged in
 *   127.0.0.1:50002 fetched /tcp/phone.svg, 311 bytes
 *   ^C
 * terminal 2
 *   $ bun scripts/apps/sftp.ts anna@127.0.0.1 --known-hosts known
 *   [127.0.0.1]:2022 is unknown; its ED25519 key is SHA256:3fecHG7Pehv5eyYXjogUQTyVGKJVXX9JjtRBb4ZTpjA
 *   is this the right key? yes, or the fingerprint itself, goes on
 *   > yes
 *   > secret
 *   > mkdir backup
 *   > cd backup
 *   > put LICENSE
 *   LICENSE -> LICENSE  928 bytes
 *   > pwd
 *   /backup
 *   > ls
 *   LICENSE
 *   > exit
 *   $ bun scripts/apps/sftp.ts anna@127.0.0.1 --known-hosts known
 *   > secret
 *   > get tcp/*.svg .
 *   tcp/phone.svg -> phone.svg  311 bytes
 *   > exit
 *
 * Python     paramiko.Transport(s)               ->  client.connect({ sock: socket })
 *            paramiko.SFTPClient.from_transport  ->  client.sftp(callback)
 * Watch out  A secret line to a stranger is no secret: the first time, compare the fingerprint with the one that the
 *            server shows. It is remembered; another key under the same name ends the program.
 *            What is piped in answers first what is asked (the key of an unknown server, then the password), then come
 *            the commands; the first one that fails ends it, unless a - stands before it.
 * Try        help. Tab. --identity KEY in place of a password. get ./* . and put -r ./* . between two folders.
 */
import { once } from "node:events";
import { homedir } from "node:os";
import { connect } from "node:net";
import { posix } from "node:path";
import process from "node:process";
import ssh2, { type SFTPWrapper } from "ssh2";
import { readArguments } from "../../lib/arguments.ts";
import { type Commands, complete, helpLines, obey } from "./sftp/commands.ts";
import { explain, Failure, original } from "../../lib/failure.ts";
import { resolve } from "../../lib/host.ts";
import { algorithms, hostName, knownKeys, readKnownHosts, remember } from "./sftp/known-hosts.ts";
import { hint, print, report, visible } from "../../lib/output.ts";
import { Progress } from "./progress.ts";
import { Prompter } from "./sftp/prompt.ts";
import { Remote } from "./sftp/remote.ts";
import { run } from "../../lib/run.ts";
import { expand, type Word } from "./sftp/shell-words.ts";
import { copy, type Entry, type Facts, Local, longLine, type Side } from "./sftp/local.ts";
import { logins, readKeys, trust } from "./sftp/login.ts";
import { limitIdle, survive } from "../../lib/tcp.ts";
import { userName } from "./sftp/user.ts";

/** How long the server may be silent while it is waited for, in milliseconds. */
const PATIENCE = 60_000;

/** How many bytes may wait for a server that does not read them. */
const MOST_WAITING = 2 ** 22;

/** How many names of a tree may wait for their turn while a folder below is on its way. */
const MOST_NAMES = 200_000;

async function main(stop: AbortSignal) {
  const { words: [target], port, ...options } = await readArguments(import.meta, {
    words: "[USER@]HOST",
    flags: {
      port: { kind: "port", default: 2022, help: "of the server" },
      identity: { kind: "text", help: "a file with the private key to log in with" },
      knownHosts: { kind: "text", help: "the keys of servers (default ~/.ssh/known_hosts)" },
    },
  });
  const [, user = userName(), host] = /^(?:(.+)@)?([^@]+)$/.exec(target) ?? [];
  if (host === undefined) throw new Failure(target, "it is HOST or USER@HOST", "EINVAL", { exitCode: 2 });
  const { address } = await resolve(host);
  const server = hostName(host, port);
  const file = options.knownHosts ?? posix.join(homedir(), ".ssh/known_hosts");
  const known = knownKeys(await readKnownHosts(file), server);
  const keys = await readKeys(options.identity);

  await using socket = survive(connect({ host: address, port, noDelay: true }), stop);
  await once(socket, "connect");
  const gone = new AbortController(); // the connection has ended, and why
  using keyboard = new Prompter(AbortSignal.any([stop, gone.signal]));
  limitIdle(socket, PATIENCE, () => keyboard.isAsking);

  // From here on the bytes belong to ssh2: both ends agree on a secret, which nobody who listens can know, and
  // the server signs what was agreed with its host key.
  const client = new ssh2.Client();
  client.on("close", () => gone.abort(new Failure(server, "hung up", "EPIPE")));
  client.on("error", (error: Error & { level?: string }) => {
    if (error.level === "agent") return; // there are other keys, and passwords
    gone.abort(explain(error) ?? new Failure(server, error.message, "EPROTO"));
  });
  let trusted: Buffer | undefined;
  let isNew = false;
  let accepted: string[] = [];
  const attempts = logins(user, server, keys, options.identity !== undefined, () => accepted, keyboard);
  const nextLogin = async () => {
    if (isNew && trusted) await remember(file, server, trusted).catch(report); // it has signed: the key is its own
    isNew = false;
    const { value } = await attempts.next();
    if (value) return value;
    throw new Failure(`${user}@${server}`, "login refused", "EACCES");
  };
  client.connect({
    sock: socket,
    username: user,
    readyTimeout: 0, // a person may take longer
    algorithms: { serverHostKey: algorithms(known) },
    hostVerifier: (key: Buffer, answer: (isRight: boolean) => void) => {
      if (trusted) return answer(key.equals(trusted)); // the secret is changed now and then, the server is not
      trust(server, key, known, file, keyboard).then((isUnknown) => {
        trusted = key;
        isNew = isUnknown;
        setImmediate(answer, true); // ssh2 wants it now or later, but not while it is at work (Deno 2.9)
      }).catch((error) => {
        gone.abort(error);
        setImmediate(answer, false);
      });
    },
    authHandler: (left, _, next) => {
      accepted = left ?? [];
      nextLogin().then(next, (error) => gone.abort(error));
    },
  });
  socket.on("data", () => { // some of it is answered by ssh2 itself
    if (socket.writableLength < MOST_WAITING) return;
    socket.destroy(new Failure(server, "asks, and reads no answers", "ENOBUFS"));
  });
  await answer<void>((done) => client.once("ready", done));
  const sftp = await answer<SFTPWrapper>((done, fail) =>
    client.sftp((error, sftp) => (error ? fail(new Failure(server, error.message, "EPROTO")) : done(sftp)))
  );
  sftp.on("close", () => gone.abort(new Failure(server, "hung up", "EPIPE")));
  sftp.on("error", (error: Error) => gone.abort(new Failure(server, error.message, "EPROTO")));

  const there = new Remote(sftp, server, gone.signal);
  const here = new Local();
  await there.enter(".");
  const home = there.folder;
  let names = 0; // that wait for their turn
  const commands: Commands = {
    pwd: { usage: "", help: "show the folder there", run: () => print(visible(there.folder)) },
    lpwd: { usage: "", help: "show the folder here", run: () => print(visible(here.folder)) },
    cd: { usage: "[PATH]", help: "go to a folder there", run: ([path]) => there.enter(path?.text ?? home) },
    lcd: {
      usage: "[LOCAL]",
      help: "go to a folder here",
      run: ([path]) => here.enter(path?.text ?? homedir()),
    },
    ls: { usage: "[-al] [PATH]", help: "list what is there; -a all, -l long", run: list(there) },
    lls: { usage: "[-al] [LOCAL]", help: "list what is here", run: list(here) },
    mkdir: { usage: "PATH", help: "make a folder there", run: ([path]) => there.mkdir(path.text) },
    lmkdir: { usage: "LOCAL", help: "make a folder here", run: ([path]) => here.mkdir(path.text) },
    get: { usage: "[-r] PATH [LOCAL]", help: "fetch files; -r folders too", run: transfer(there, here) },
    put: { usage: "[-r] LOCAL [PATH]", help: "store files; -r folders too", run: transfer(here, there) },
    rm: { usage: "PATH", help: "remove files there", run: ([path]) => remove(path) },
    rmdir: { usage: "PATH", help: "remove an empty folder there", run: ([path]) => there.rmdir(path.text) },
    rename: { usage: "FROM TO", help: "rename there", run: ([from, to]) => there.rename(from.text, to.text) },
    help: { usage: "", help: "show this list", run: () => print(helpLines(commands).join("\n")) },
    exit: { usage: "", help: "hang up; so do quit, bye and Ctrl-D", run: async () => {} },
  };

  while (true) {
    const line = await keyboard.ask("sftp> ", (line) => complete(line, commands, here, there));
    if (line === undefined || /^\s*-?\s*(exit|exit\(\)|quit|bye)(\s+#.*)?\s*$/.test(line)) break;
    const isDone = await each([line.replace(/^\s*-/, "")], (line) => obey(line, commands));
    gone.signal.throwIfAborted();
    if (isDone || keyboard.isTerminal || /^\s*-/.test(line)) continue;
    process.exitCode = 1; // nobody sees what has gone wrong: the commands that follow may build on it
    break;
  }
  gone.signal.throwIfAborted();
  client.end();

  /** Waits for an answer of the server, or for the end of the connection. */
  function answer<T>(ask: (done: (value: T) => void, fail: (error: unknown) => void) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      gone.signal.addEventListener("abort", () => reject(gone.signal.reason));
      if (gone.signal.aborted) reject(gone.signal.reason);
      else ask(resolve, reject);
    });
  }

  /** Does one thing after another. What goes wrong with one is told, and ends only that. */
  async function each<T extends string | Entry>(all: T[], work: (one: T) => unknown): Promise<boolean> {
    let isWhole = true;
    for (const one of all) {
      try {
        if (await work(one) === false) isWhole = false;
      } catch (error) {
        stop.throwIfAborted();
        gone.signal.throwIfAborted();
        await report(error);
        isWhole = false;
      }
    }
    return isWhole;
  }

  /** The paths that a word means on a side. @throws Failure ENOENT for a pattern that means none */
  async function find(side: Side, word: Word): Promise<string[]> {
    const names = async (folder: string) => {
      const entries = await side.list(folder).catch((error) => {
        if (["ENOENT", "ENOTDIR", "EACCES"].includes(error.code)) return [];
        throw error;
      });
      return entries.map(({ name }) => name);
    };
    const paths = await expand(word.pattern, names);
    if (paths.length === 0) throw new Failure(word.text, "nothing has such a name", "ENOENT");
    return paths;
  }

  /** ls and lls. */
  function list(side: Side) {
    return async ([word]: Word[], flags: string) => {
      const paths = word ? await find(side, word) : ["."];
      return await each(paths, async (path) => {
        const facts = await side.stat(path).catch(async (error) => {
          const names = await side.list(posix.dirname(path)).catch(() => []);
          const link = names.find(({ name }) => name === posix.basename(path)); // which leads nowhere
          if (!link) throw error;
          return link;
        });
        const isOpened = facts.kind === "folder" && paths.length === 1;
        for (const entry of isOpened ? await side.list(path) : [{ ...facts, name: path }]) {
          if (isOpened && entry.name.startsWith(".") && !flags.includes("a")) continue;
          await print(`${flags.includes("l") ? `${longLine(entry)}  ` : ""}${visible(entry.name)}`);
        }
      });
    };
  }

  async function remove(word: Word): Promise<boolean> {
    return await each(await find(there, word), (path) => there.unlink(path));
  }

  /** get and put: the same, in one direction or the other. */
  function transfer(from: Side, to: Side) {
    return async ([source, target]: Word[], flags: string) => {
      const place = target?.text ?? ".";
      const paths = await find(from, source);
      const isFolder = await to.stat(place).then(({ kind }) => kind === "folder", () => false);
      if (paths.length > 1 && !isFolder) throw new Failure(place, "is not a folder", "ENOTDIR");
      return await each(paths, async (path) => {
        const facts = await from.stat(path);
        const isDots = /(^|\/)\.{0,2}\/*$/.test(path);
        const name = posix.basename(isDots ? await from.realpath(path) : path);
        if (isFolder && (path !== source.text || isDots)) to.check(name); // not typed, but told
        const goal = isFolder ? posix.join(place, name) : place;
        return await pass(from, to, path, goal, facts, flags.includes("r"));
      });
    };
  }

  /** Passes a file, or a folder with all that is in it, from one side to the other. */
  async function pass(
    from: Side,
    to: Side,
    path: string,
    target: string,
    { kind, mode, size }: Facts,
    isDeep: boolean,
  ): Promise<unknown> {
    if (kind === "folder") {
      if (!isDeep) throw new Failure(path, "is a folder", "EISDIR", { hint: "-r takes folders too" });
      await to.needFolder(target);
      const entries = await from.list(path);
      names += entries.length;
      try {
        if (from === there && names > MOST_NAMES) {
          throw new Failure(server, "sent a tree without end", "EPROTO");
        }
        return await each(entries, async (entry) => {
          to.check(entry.name);
          const [source, goal] = [path, target].map((one) => `${one.replace(/\/$/, "")}/${entry.name}`);
          if (entry.kind === "file" || entry.kind === "folder") {
            return await pass(from, to, source, goal, entry, true);
          }
          await hint(`${source} is neither file nor folder, and left out`);
        });
      } finally {
        names -= entries.length;
      }
    }
    if (kind !== "file") throw new Failure(path, "is not a file", "EACCES");
    // The name appears when all bytes are there.
    const part = posix.join(posix.dirname(target), `incoming-${crypto.randomUUID().slice(0, 8)}.part`);
    let bytes = 0;
    try {
      using progress = new Progress(path, size);
      await using source = await from.open(path, "r");
      {
        await using copied = await to.open(part, "wx", mode & 0o777);
        bytes = await copy(source, copied, size, path, (more) => progress.step(more));
      }
      await to.rename(part, target).catch(async (error) => {
        if (error.code !== "EREMOTEIO") throw error;
        await to.unlink(target); // a server whose rename replaces nothing
        await to.rename(part, target);
      });
    } catch (thrown) {
      const error = original(thrown);
      await to.unlink(part).catch(() => {});
      if (!(error instanceof Failure) || error.what !== part) throw error;
      throw new Failure(target, error.why, error.code);
    }
    await print(`${visible(path)} -> ${visible(target)}  ${bytes} bytes`);
  }
}

if (import.meta.main) run("client", main);
