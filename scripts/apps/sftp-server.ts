#!/usr/bin/env bun
/**
 * 4.5 Serve files over SSH: TCP carries the bytes, SSH keeps them secret, and SFTP turns them into files.
 * 中文 用 SSH 提供文件：TCP 只管传字节，SSH 不让旁人看懂，SFTP 再把它们变成文件。
 *
 * terminal 1
 *   $ bun scripts/apps/sftp-server.ts --root scripts --user anna --password secret --read-only
 *   listening on 127.0.0.1:2022
 *   host key SHA256:mVGxRBGQD9NnoU6TjAoHmVYLWcPbTFZ4kkOl5GyC0HM (ssh-ed25519)
 *   user anna
 *   hint: all users of this machine can see a password on a command line
 *   127.0.0.1:50001 logged in
 *   127.0.0.1:50001 fetched /tcp/phone.svg, 311 bytes
 *   error: /tcp/phone.svg: this server is read-only (EROFS)
 *   ^C
 * terminal 2
 *   $ bun scripts/apps/sftp.ts anna@127.0.0.1 --known-hosts known
 *   [127.0.0.1]:2022 is unknown; its ED25519 key is SHA256:mVGxRBGQD9NnoU6TjAoHmVYLWcPbTFZ4kkOl5GyC0HM
 *   is this the right key? yes, or the fingerprint itself, goes on
 *   > yes
 *   > secret
 *   > get tcp/phone.svg
 *   tcp/phone.svg -> phone.svg  311 bytes
 *   > rm tcp/phone.svg
 *   error: tcp/phone.svg: the server says: this server is read-only (EACCES)
 *   [exit 1]
 *
 * Python     paramiko.Transport(connection)      ->  new ssh2.Server(...).injectSocket(socket)
 *            paramiko.SFTPServerInterface        ->  the packets of sftp/protocol.ts, the files of sftp/files.ts
 * Watch out  The host key is how a client knows that this is the server, and nobody between them: it is made once,
 *            beside the folder that is served, and its fingerprint is what a client should see, too.
 *            The folder that is served is / for the client. No name and no link leads out of it.
 * Try        sftp -P 2022 anna@127.0.0.1, which is OpenSSH's. Then without --read-only, and without --password.
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { realpath } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { basename, dirname, join, resolve, sep } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import ssh2, { type AuthContext, type Connection, type ServerChannel, type Session } from "ssh2";
import { readArguments } from "../../lib/arguments.ts";
import { explain, failAs, Failure } from "../../lib/failure.ts";
import { folderOf } from "../../lib/files.ts";
import { hint, print, ready, report, visible } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { explainFile, ServedFiles } from "./sftp/files.ts";
import { failureReply, requests } from "./sftp/protocol.ts";
import { isAuthorized, isSame, readAuthorizedKeys, readHostKey, WrongPasswords } from "./sftp/keys.ts";
import { hangUp, peerName, survive } from "../../lib/tcp.ts";
import { userName } from "./sftp/user.ts";

/** How many callers may be here at once, and how many sessions one of them may have. */
const MOST_CALLERS = 100;
const MOST_SESSIONS = 10;

/** How often a caller may fail to log in. */
const MOST_TRIES = 6;

/** How many bytes may wait in memory, in either direction, for one that keeps to no window. */
const MOST_WAITING = 8 * 2 ** 20;

/** How many pieces of data may wait: each costs some hundred bytes, even if it has only one. */
const MOST_PIECES = 2 ** 17;

/** The shortest packets that a client may want. For one that takes 0 bytes at a time ssh2 would never be done. */
const SHORTEST_PACKETS = 1024;

/** What there is to agree on: what is fast and not broken, and no compression, which can be a bomb. */
const ALGORITHMS = {
  kex: ["curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256", "ecdh-sha2-nistp384"],
  cipher: ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr"],
  hmac: ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512"],
  compress: ["none"],
} satisfies ssh2.Algorithms;

/** What a client is refused, rather than what it got wrong: the server tells it too. */
const REFUSED = ["EACCES", "EPERM", "EROFS"];

async function main(stop: AbortSignal) {
  const options = await readArguments(import.meta, {
    port: 2022,
    flags: {
      root: { kind: "text", required: true, help: "the folder whose files are served" },
      user: { kind: "text", default: userName(), help: "who may log in" },
      password: { kind: "text", help: "by default a random one, which is printed" },
      authorizedKeys: { kind: "text", help: "a file of public keys, as ~/.ssh/authorized_keys" },
      hostKey: {
        kind: "text",
        help: "the server's private key, made if it is missing; default ROOT.host-key",
      },
      readOnly: { kind: "switch", help: "refuse everything that writes" },
      loginTime: { kind: "number", default: 30, min: 1, max: 3600, help: "seconds to log in" },
    },
  });
  const { host, port, user, authorizedKeys } = options;
  const root = await folderOf(options.root);
  const hostKeyFile = options.hostKey ?? `${resolve(options.root)}.host-key`;
  await mustBeOutside(root, hostKeyFile, "--host-key");
  if (authorizedKeys) await mustBeOutside(root, authorizedKeys, "--authorized-keys");
  const keys = authorizedKeys ? await readAuthorizedKeys(authorizedKeys) : [];
  const isRandom = options.password === undefined && !authorizedKeys;
  const password = isRandom ? randomBytes(12).toString("base64url") : options.password;
  const hostKey = await readHostKey(hostKeyFile);
  const methods = (["publickey", "password"] as const).filter((method) =>
    method === "password" ? password !== undefined : keys.length > 0
  );
  if (methods.length === 0) {
    throw new Failure(`${authorizedKeys}`, "has no key: nobody could log in", "EINVAL");
  }
  const wrongPasswords = new WrongPasswords();

  await using server = createServer({ noDelay: true }, (socket) => {
    survive(socket, stop);
    socket.setMaxListeners(0); // each session waits for its end
    welcome(socket);
  });
  server.maxConnections = MOST_CALLERS;
  server.listen({ host, port, signal: stop });
  await once(server, "listening", { signal: stop });
  await ready(server.address());
  await print(`host key ${hostKey.fingerprint}`);
  await print(`user ${visible(user)}${isRandom ? `, password ${password}` : ""}`);
  if (options.password) await hint("all users of this machine can see a password on a command line");
  await once(server, "close");

  /** Hands a caller over to ssh2: they agree on keys, and from then on nobody between them can read or change a bit. */
  function welcome(socket: Socket) {
    const caller = peerName(socket);
    const leave = (failure: Failure) => {
      if (!stop.aborted && socket.writable) report(failure);
      hangUp(socket);
    };
    const timer = setTimeout(
      () => leave(new Failure(caller, `did not log in within ${options.loginTime} seconds`, "ETIMEDOUT")),
      options.loginTime * 1000,
    );
    socket.once("close", () => clearTimeout(timer));

    const ssh = new ssh2.Server({ hostKeys: [hostKey.text], algorithms: ALGORITHMS }, (client) => {
      const failed = (error: Error) =>
        leave(explain(error, caller) ?? new Failure(caller, error.message, "EPROTO"));
      client.on("error", failed);
      let tries = 0;
      const decide = async (context: AuthContext) => {
        const isRight = await mayEnter(context, caller, `${socket.remoteAddress}`);
        if (!socket.writable) return; // it has gone, or was told to go
        if (context.method !== "none" && !isRight) tries++; // none: that is how a client asks what there is
        if (isRight) context.accept();
        else if (tries < MOST_TRIES) context.reject(methods);
        else leave(new Failure(caller, `failed to log in ${tries} times`, "EACCES"));
      };
      client.on("authentication", (context) => decide(context).catch(failed));
      client.once("ready", () => {
        clearTimeout(timer);
        print(`${caller} logged in`);
      });
      const line: Line = { caller, socket, client, leave, channels: new Set(), sessions: 0, sent: 0 };
      client.on("session", (accept, reject) => {
        if (line.sessions >= MOST_SESSIONS) return reject();
        line.sessions++;
        offer(line, accept());
      });
      socket.on("data", () => {
        let [bytes, pieces] = [socket.writableLength, 0];
        for (const channel of line.channels) {
          bytes = Math.max(bytes, channel.readableLength);
          pieces += (channel as Inside)._readableState.buffer.length;
        }
        if (bytes < MOST_WAITING && pieces < MOST_PIECES) return;
        leave(new Failure(caller, "sends more than it may, or reads no answers", "ENOBUFS"));
        socket.destroy();
      });
    });
    ssh.injectSocket(socket);
  }

  /** Whether a login is right. The answer to a password takes its time. */
  async function mayEnter(context: AuthContext, caller: string, address: string): Promise<boolean> {
    if (context.method === "publickey") return context.username === user && isAuthorized(context, keys);
    if (context.method !== "password" || password === undefined) return false;
    const isRight = isSame(context.password, password) && isSame(context.username, user);
    if (!isRight) await report(new Failure(`${caller} as ${context.username}`, "wrong password", "EACCES"));
    await sleep(wrongPasswords.wait(address, isRight));
    return isRight;
  }

  /**
   * What one can do in a session: SFTP. A shell, a command, a terminal or a tunnel ssh2 refuses by itself. It also
   * keeps a session that was opened for something else until the end of the connection, and one that the client
   * does not close: so those still count.
   */
  function offer(line: Line, session: Session) {
    let ends = 0; // that of our work, and that of the client
    session.on("subsystem", (accept, reject, { name }) => {
      const channel = name === "sftp" ? accept() as ServerChannel | undefined : undefined;
      if (!channel) return reject?.(); // also when it is asked for twice
      channel.on("error", () => {}); // it shows where it is written to
      const { packetSize } = (channel as Inside).outgoing;
      if (packetSize < SHORTEST_PACKETS) {
        return line.leave(new Failure(line.caller, `takes only ${packetSize} bytes at a time`, "EPROTO"));
      }
      line.channels.add(channel);
      const end = () => {
        if (++ends < 2) return;
        line.channels.delete(channel);
        line.sessions--;
      };
      session.once("close", end);
      serve(line, session, channel).catch(report).finally(end);
    });
  }

  /** Serves one session: request after request, each when the reply to the last one is on its way. */
  async function serve(line: Line, session: Session, channel: ServerChannel) {
    const { caller, socket, client } = line;
    await using files = new ServedFiles(
      root,
      options.readOnly,
      (what) => print(`${caller} ${visible(what)}`),
    );
    let isGone = false;
    let giveUp = () => {};
    const gone = () => {
      isGone = true;
      giveUp();
    };
    session.once("close", gone);
    socket.once("close", gone);
    try {
      for await (const request of requests(channel.iterator({ destroyOnReturn: false }), caller)) {
        const reply = await files.answer(request).catch(async (error) => {
          const failure = explainFile(error, "path" in request ? request.path : caller);
          if (!failure) throw error;
          if (REFUSED.includes(failure.code)) await report(failure);
          return failureReply(request.id, failure);
        });
        await send(reply);
        if (isGone) break;
      }
      channel.exit(0);
    } catch (error) {
      if (!stop.aborted) await report(error, caller);
    } finally {
      socket.off("close", gone);
      channel.end();
    }

    /**
     * Sends a reply. It is on its way when the window of the channel had room for it, and the socket has taken it.
     * While keys are changed, ssh2 keeps what it sends in memory (RFC 4253, section 9): then this waits too. And
     * when the client has gone, nothing will happen any more.
     */
    function send(bytes: Buffer): Promise<void> {
      return new Promise((resolve) => {
        giveUp = resolve;
        if (isGone) return resolve();
        socket.cork(); // ssh2 writes a packet in four pieces: they go together
        channel.write(bytes, () => {
          line.sent += bytes.length;
          if (line.sent - socket.bytesWritten > MOST_WAITING) client.once("rekey", () => resolve());
          else if (socket.writableNeedDrain) socket.once("drain", () => resolve());
          else setImmediate(resolve); // the others have their turn, too, when nothing else waits
        });
        socket.uncork();
      });
    }
  }
}

/** What belongs to one caller. `sent`: how many bytes of replies ssh2 has taken. */
type Line = {
  caller: string;
  socket: Socket;
  client: Connection;
  leave: (failure: Failure) => void;
  channels: Set<ServerChannel>;
  sessions: number;
  sent: number;
};

/** What @types/ssh2 does not tell of a channel. */
type Inside = ServerChannel & {
  outgoing: { packetSize: number };
  _readableState: { buffer: { length: number } };
};

/** A key that is served could be read, or replaced, by those whom it keeps out. */
async function mustBeOutside(root: string, file: string, flag: string): Promise<void> {
  const folder = await realpath(dirname(resolve(file))).catch(failAs(file));
  const place = join(folder, basename(file));
  for (const path of [place, await realpath(place).catch(() => place)]) {
    if (!`${path}${sep}`.startsWith(root === sep ? sep : `${root}${sep}`)) continue;
    throw new Failure(`${flag} ${file}`, "is inside the served folder", "EINVAL", { exitCode: 2 });
  }
}

if (import.meta.main) run("server", main);
