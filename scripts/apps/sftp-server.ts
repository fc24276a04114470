#!/usr/bin/env bun
/**
 * 4.5 Serve files over SSH: TCP carries the bytes, SSH keeps them secret, and
 * SFTP turns them into files.
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
 *   [127.0.0.1]:2022 is unknown; its ED25519 key is
 *   SHA256:mVGxRBGQD9NnoU6TjAoHmVYLWcPbTFZ4kkOl5GyC0HM
 *   is this the right key? answer yes, or the fingerprint itself
 *   > yes
 *   > secret
 *   > get tcp/phone.svg
 *   tcp/phone.svg -> phone.svg  311 bytes
 *   > rm tcp/phone.svg
 *   error: tcp/phone.svg: the server says: this server is read-only (EACCES)
 *   [exit 1]
 *
 * Python     paramiko.Transport(connection)  ->  ssh.injectSocket(socket)
 *            paramiko.SFTPServerInterface    ->  client.on("session", ...)
 * Watch out  A client knows the server by its host key. It is made once, beside
 *            the folder that is served; compare its fingerprint with the one that
 *            the client shows.
 *            To a client the served folder is /. No name and no link leads out
 *            of it, and no client can make such a link.
 * Try        sftp -P 2022 anna@127.0.0.1, which is OpenSSH's. Then without
 *            --read-only, and without --password.
 * 注意       客户端靠主机密钥认出服务器。密钥只生成一次，放在对外提供的文件夹旁
 *            边；把它的指纹和客户端显示的对一对。对客户端来说，对外提供的文件夹
 *            就是 /。没有哪个名字或链接通到外面，也没有客户端造得出这样的链接。
 * 试试       sftp -P 2022 anna@127.0.0.1，这是 OpenSSH 的。再去掉 --read-only，
 *            去掉 --password 试试。
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { realpath } from "node:fs/promises";
import { createServer } from "node:net";
import { basename, dirname, join, resolve, sep } from "node:path";
import ssh2, { type AuthContext, type Connection } from "ssh2";
import { readArguments } from "../../lib/arguments.ts";
import { explain, failAs, Failure } from "../../lib/failure.ts";
import { hint, print, ready, run, visible } from "../../lib/program.ts";
import { closeOnStop } from "../../lib/tcp.ts";
import { Root } from "./root.ts";
import { Authentication, readAuthorizedKeys } from "./sftp/authentication.ts";
import { type Caller, Callers } from "./sftp/callers.ts";
import { readHostKey } from "./sftp/host-key.ts";
import { Sessions } from "./sftp/sessions.ts";
import { userName } from "./sftp/user.ts";

/** How often a caller may fail to log in. */
const MOST_TRIES = 6;

/** The algorithms to agree on: fast and unbroken ones, and no compression, which can be a bomb. */
const ALGORITHMS = {
  kex: ["curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256", "ecdh-sha2-nistp384"],
  cipher: ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr"],
  hmac: ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512"],
  compress: ["none"],
} satisfies ssh2.Algorithms;

async function main(stop: AbortSignal) {
  const options = await readArguments(import.meta, {
    port: 2022,
    flags: {
      root: { kind: "text", required: true, help: "the folder whose files are served | 对外提供的文件夹" },
      user: { kind: "text", default: userName(), help: "the user who may log in | 可以登录的用户" },
      password: {
        kind: "text",
        help: "by default a random one, which is printed | 默认随机生成，并打印出来",
      },
      authorizedKeys: {
        kind: "text",
        help: "a file of public keys, as ~/.ssh/authorized_keys | 公钥文件，如 ~/.ssh/authorized_keys",
      },
      hostKey: {
        kind: "text",
        help:
          "the server's private key (default ROOT.host-key); made if missing | 服务器的私钥（默认 ROOT.host-key），没有就生成",
      },
      readOnly: { kind: "switch", help: "refuse everything that writes | 拒绝一切写操作" },
      loginTime: {
        kind: "number",
        default: 30,
        min: 1,
        max: 3600,
        help: "seconds to log in | 登录限时的秒数",
      },
    },
  });
  const { host, port, user, authorizedKeys, readOnly } = options;
  const root = await Root.of(options.root);
  const hostKeyFile = options.hostKey ?? `${resolve(options.root)}.host-key`;
  await mustBeOutside(root.path, hostKeyFile, "--host-key");
  if (authorizedKeys) await mustBeOutside(root.path, authorizedKeys, "--authorized-keys");
  const keys = authorizedKeys ? await readAuthorizedKeys(authorizedKeys) : [];
  const isRandom = options.password === undefined && !authorizedKeys;
  const password = isRandom ? randomBytes(12).toString("base64url") : options.password;
  const hostKey = await readHostKey(hostKeyFile);
  const logins = new Authentication({ name: user, password, keys });
  if (logins.methods.length === 0) {
    throw new Failure(`${authorizedKeys}`, "has no key: nobody could log in", "EINVAL");
  }
  const callers = new Callers(options.loginTime);

  await using server = createServer({ noDelay: true }, (socket) => {
    closeOnStop(socket, stop);
    const caller = callers.admit(socket);
    if (!caller) return;
    socket.setMaxListeners(0); // each session waits for its end
    // From here on the bytes belong to ssh2: both ends agree on a secret that a listener cannot know, and the server
    // signs with its host key what was agreed. From then on nobody between them can read or change a bit.
    const ssh = new ssh2.Server({ hostKeys: [hostKey.text], algorithms: ALGORITHMS }, (client) => {
      client.on("error", (error) => caller.leave(explain(error, caller.name) ?? error.message));
      letIn(client, caller, logins);
      const sessions = new Sessions(client, caller, { root, readOnly });
      client.on("session", (accept, reject) => sessions.open(accept, reject));
    });
    ssh.injectSocket(socket);
  });
  server.listen({ host, port, signal: stop });
  await once(server, "listening", { signal: stop });
  await ready(server.address());
  await print(`host key ${hostKey.fingerprint}`);
  await print(`user ${visible(user)}${isRandom ? `, password ${password}` : ""}`);
  if (options.password) await hint("all users of this machine can see a password on a command line");
  await once(server, "close");
}

/** Lets a caller log in: it may fail a few times. */
function letIn(client: Connection, caller: Caller, logins: Authentication): void {
  let tries = 0;
  const decide = async (context: AuthContext) => {
    const isRight = await logins.isRight(context, caller);
    if (!caller.socket.writable) return; // it has gone, or was told to go
    if (context.method !== "none" && !isRight) tries++; // none: so a client asks which methods there are
    if (isRight) context.accept();
    else if (tries < MOST_TRIES) context.reject(logins.methods);
    else caller.leave(`failed to log in ${tries} times`, "EACCES");
  };
  client.on("authentication", (context) => {
    decide(context).catch((error) => caller.leave(explain(error, caller.name) ?? error.message));
  });
  client.once("ready", () => {
    caller.loggedIn();
    print(`${caller.name} logged in`);
  });
}

/** Checks that a key is not served: the clients could read or replace it. */
async function mustBeOutside(root: string, file: string, flag: string): Promise<void> {
  const folder = await realpath(dirname(resolve(file))).catch(failAs(file));
  const place = join(folder, basename(file));
  for (const path of [place, await realpath(place).catch(() => place)]) {
    if (!`${path}${sep}`.startsWith(root === sep ? sep : `${root}${sep}`)) continue;
    throw new Failure(`${flag} ${file}`, "is inside the served folder", "EINVAL", { exitCode: 2 });
  }
}

if (import.meta.main) run("server", main);
