/**
 * Lesson 4.5 with a file of 1 GiB, both ways, in one run: OpenSSH's `sftp` and our shell at OpenSSH's `sshd`,
 * and OpenSSH's `sftp` at our server. The median of five, time and peak memory of the client, with the `ssh` that
 * OpenSSH's starts. Linux, as root (as `sshd` wants it), with openssh-client and openssh-server.
 */
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, open, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { userName } from "../../scripts/apps/sftp/user.ts";
import { type Program, type Runtime, RUNTIMES, script, start } from "../engine/program.ts";
import { temporaryFolder } from "../engine/files.ts";
import { freePort } from "../engine/sockets.ts";
import { cost, highWater, medianOf } from "./measure.ts";

const MIB = 1 << 20;
const folder = (await temporaryFolder()).path;
const path = (name: string) => join(folder, name);
const options = { cwd: folder, limit: 300_000 };
const user = userName();

/** Fetches and stores the file with a client, checks the copies, and shows what it cost. */
async function measure(title: string, client: () => Program, server?: Program) {
  for (const [verb, command] of [["get", "get root/file"], ["put", "put file root/back"]]) {
    const { seconds, peak } = await medianOf(5, async () => {
      await rm(path(verb === "get" ? "file" : "root/back"), { force: true });
      await using program = client();
      program.type(`${server ? command.replace("root/", "") : `cd ${folder}\n${command}`}\n`);
      program.endOfInput();
      return await cost(program);
    });
    const copy = verb === "get" ? "file" : "root/back";
    if (await start(["cmp", "root/file", copy], options).ended() !== 0) {
      throw new Error(`${title}: it differs`);
    }
    const ends = `client ${peak} MB${server ? `, server ${highWater(server.pid)} MB` : ""}`;
    console.log(`${title.padEnd(34)} ${verb}  ${seconds.toFixed(2)} s   ${ends}   equal`);
  }
}

/** What OpenSSH's client gets, so that nothing of this machine's user has a say. */
const sftp = (port: number) => {
  const settings = ["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"];
  const files = ["-o", `UserKnownHostsFile=${path("known")}`, "-o", "IdentitiesOnly=yes", "-i", path("key")];
  return start(["sftp", ...settings, ...files, "-P", `${port}`, "-b", "-", `${user}@127.0.0.1`], options);
};

try {
  await mkdir(path("root"));
  const file = await open(path("root/file"), "w");
  for (let written = 0; written < 1024; written++) await file.write(randomBytes(MIB));
  await file.close();
  for (const name of ["key", "host"]) {
    spawnSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", path(name)]);
  }

  const port = await freePort();
  await mkdir("/run/sshd", { recursive: true }); // sshd asks for it
  await writeFile(
    path("config"),
    `Port ${port}
     ListenAddress 127.0.0.1
     HostKey ${path("host")}
     AuthorizedKeysFile ${path("key.pub")}
     StrictModes no
     UsePAM no
     PermitRootLogin yes
     PidFile none
     Subsystem sftp internal-sftp\n`,
  );
  await using sshd = start(["/usr/sbin/sshd", "-D", "-e", "-f", path("config")], options);
  const ready = await sshd.next("stderr");
  if (!ready?.startsWith("Server listening on")) throw new Error(ready);
  await measure("OpenSSH at OpenSSH's sshd", () => sftp(port));
  await writeFile(path("trusted"), `[127.0.0.1]:${port} ${await Bun.file(path("host.pub")).text()}`);
  for (const runtime of Object.keys(RUNTIMES) as Runtime[]) {
    const words = ["--port", `${port}`, "--identity", path("key"), "--known-hosts", path("trusted")];
    const client = () => script("apps/sftp", [`${user}@127.0.0.1`, ...words], { ...options, runtime });
    await measure(`sftp.ts on ${runtime} at sshd`, client);
  }
  for (const runtime of Object.keys(RUNTIMES) as Runtime[]) {
    const words = ["--port", "0", "--root", "root", "--user", user, "--authorized-keys", "key.pub"];
    await using server = script("apps/sftp-server", words, { ...options, runtime });
    const ours = await server.port();
    await rm(path("known"), { force: true }); // each server has its own key
    await measure(`OpenSSH at sftp-server.ts on ${runtime}`, () => sftp(ours), server);
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
