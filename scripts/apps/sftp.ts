#!/usr/bin/env bun
/**
 * 4.5 Move files over SSH: one shell with two sides, the files here and there,
 * over a connection that nobody else can read or change.
 * 中文 用 SSH 传文件：一个命令行管两头，本机和服务器，路上的人看不懂也改不了。
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
 *   [127.0.0.1]:2022 is unknown; its ED25519 key is
 *   SHA256:3fecHG7Pehv5eyYXjogUQTyVGKJVXX9JjtRBb4ZTpjA
 *   is this the right key? answer yes, or the fingerprint itself
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
 * Python     paramiko.Transport(s)               ->  client.connect({
 *            paramiko.SFTPClient.from_transport  ->  client.sftp(
 * Watch out  A secret connection to a stranger is no secret: the first time,
 *            compare the fingerprint with the one that the server shows. It is
 *            remembered; another key under the same name ends the program.
 *            Piped input first answers the questions (the key of an unknown
 *            server, then the password), then come the commands. The first one
 *            that fails ends the program, unless it has a - in front.
 * Try        help. Tab. --identity KEY in place of a password. get ./* . and
 *            put -r ./* . between two folders.
 * 注意       和陌生人的秘密连接不算秘密：第一次要把指纹和服务器显示的对一对。指
 *            纹会记住；同一个名字换了密钥，程序就结束。用管道输入时，先回答问题
 *            （未知服务器的密钥、密码），再是命令。第一条失败的命令会结束程序，
 *            除非前面有 -。
 * 试试       help。Tab。用 --identity KEY 代替密码。在两个文件夹之间 get ./* .
 *            和 put -r ./* .
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { homedir } from "node:os";
import { posix } from "node:path";
import process from "node:process";
import ssh2, { type SFTPWrapper } from "ssh2";
import { readArguments, resolve } from "../../lib/arguments.ts";
import { explain, Failure } from "../../lib/failure.ts";
import { closeOnStop, limitIdle } from "../../lib/tcp.ts";
import { run } from "../../lib/program.ts";
import { hostName } from "./sftp/known-hosts.ts";
import { Local } from "./sftp/local.ts";
import { Login } from "./sftp/login.ts";
import { Prompter } from "./sftp/prompt.ts";
import { closed, Remote } from "./sftp/remote.ts";
import { Shell } from "./sftp/shell.ts";
import { userName } from "./sftp/user.ts";

/** How long the server may be silent while it owes us an answer, in milliseconds. */
const PATIENCE = 60_000;

/** How many bytes may wait for a server that does not read them. */
const MOST_WAITING = 2 ** 22;

async function main(stop: AbortSignal) {
  const { words: [target], port, identity, ...options } = await readArguments(import.meta, {
    words: "[USER@]HOST",
    flags: {
      port: { kind: "port", default: 2022, help: "of the server | 服务器的端口" },
      identity: { kind: "text", help: "a file with the private key to log in with | 登录用的私钥文件" },
      knownHosts: {
        kind: "text",
        help: "keys of servers (default ~/.ssh/known_hosts) | 服务器密钥（默认 ~/.ssh/known_hosts）",
      },
    },
  });
  const [, user = userName(), host] = /^(?:(.+)@)?([^@]+)$/.exec(target) ?? [];
  if (host === undefined) throw new Failure(target, "it is HOST or USER@HOST", "EINVAL", { exitCode: 2 });
  const { address } = await resolve(host);
  const server = hostName(host, port);
  const knownHosts = options.knownHosts ?? posix.join(homedir(), ".ssh/known_hosts");

  const gone = new AbortController(); // the connection is of no more use, for its reason
  const fail = (error: unknown) => gone.abort(error);
  using keyboard = new Prompter(AbortSignal.any([stop, gone.signal]));
  const login = await Login.prepare({ user, server, knownHosts, identity, keyboard, fail });

  // Ctrl-C does not close the connection at once: an interrupted put still removes its part there.
  await using socket = closeOnStop(connect({ host: address, port, noDelay: true }), gone.signal);
  await once(socket, "connect", { signal: stop });
  let isOwed = () => true;
  limitIdle(socket, PATIENCE, () => keyboard.isAsking || !isOwed());
  limitWaiting(socket, server);

  // From here on the bytes belong to ssh2: both ends agree on a secret, which no listener can know, and the server
  // signs with its host key what was agreed.
  const client = new ssh2.Client();
  client.on("close", () => fail(closed(server)));
  client.on("error", (error: Error & { level?: string }) => {
    if (error.level === "agent") return; // there are other keys, and passwords
    fail(explain(error, server) ?? new Failure(server, error.message, "EPROTO"));
  });
  const ends = [stop, gone.signal];
  await unlessEnded<void>(ends, (done) => {
    client.once("ready", done);
    client.connect({
      sock: socket,
      username: user,
      readyTimeout: 0, // a person may take longer
      algorithms: { serverHostKey: login.hostKeyAlgorithms },
      hostVerifier: login.verify,
      authHandler: login.next,
    });
  });
  const sftp = await unlessEnded<SFTPWrapper>(ends, (done) => {
    client.sftp((error, sftp) => (error ? fail(new Failure(server, error.message, "EPROTO")) : done(sftp)));
  });
  sftp.on("close", () => fail(closed(server)));
  sftp.on("error", (error: Error) => fail(new Failure(server, error.message, "EPROTO")));

  const there = new Remote(sftp, socket, server, gone.signal, stop);
  isOwed = () => there.isAsking;
  await there.enter(".");
  const shell = new Shell({
    here: new Local(),
    there,
    home: there.folder,
    keyboard,
    stop,
    gone: gone.signal,
  });
  if (!await shell.run()) process.exitCode = 1;
  client.end();
}

/** Waits for an answer, or for the end. @throws the reason of the end */
function unlessEnded<T>(ends: AbortSignal[], ask: (done: (value: T) => void) => void): Promise<T> {
  const end = AbortSignal.any(ends);
  return new Promise((resolve, reject) => {
    if (end.aborted) return reject(end.reason);
    end.addEventListener("abort", () => reject(end.reason));
    ask(resolve);
  });
}

/** Ends the connection to a server that asks and reads no answers, some of which ssh2 gives by itself. */
function limitWaiting(socket: Socket, server: string): void {
  socket.on("data", () => {
    if (socket.writableLength < MOST_WAITING) return;
    socket.destroy(new Failure(server, "asks, and reads no answers", "ENOBUFS"));
  });
}

if (import.meta.main) run("client", main);
