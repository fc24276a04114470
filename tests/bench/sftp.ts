/**
 * Lesson 4.5 beside OpenSSH: its sftp and ours at its sshd, with a large file and with a folder of small ones, and its
 * sftp at its sshd and at our server.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import process from "node:process";
import { userName } from "../../scripts/apps/sftp/user.ts";
import { type Program, type Runtime, RUNTIMES, script, start } from "../engine/program.ts";
import { freePort } from "../engine/sockets.ts";
import { type Bench, type Contestant, type Row, type Sample, withLittle } from "./frame.ts";
import { cost, FILES, highWater, makeFiles } from "./measure.ts";

const LIMIT = 300_000;
const NUMBER = 1000;

const isRoot = process.getuid?.() === 0;
const runtimes = Object.keys(RUNTIMES) as Runtime[];
const target = `${userName()}@127.0.0.1`;

/** OpenSSH's client, so that nothing of this machine's user has a say. It knows no host: each server has its own key. */
function openSsh({ at, path }: Bench["folder"], port: number, cwd = path): Program {
  const settings = ["-F", "none", "-o", "LogLevel=ERROR", "-o", "StrictHostKeyChecking=no"];
  const files = ["-o", `UserKnownHostsFile=${at("nowhere")}`, "-o", "IdentitiesOnly=yes", "-i", at("key")];
  const words = [...settings, ...files, "-P", `${port}`, "-b", "-", target];
  return start(["sftp", ...words], { cwd, limit: LIMIT });
}

/** A server of OpenSSH's in the folder of a row. @returns its port */
async function sshd({ folder: { at }, stack }: Bench): Promise<number> {
  for (const name of ["key", "host"]) {
    spawnSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", at(name)]);
  }
  const port = await freePort();
  if (isRoot) await mkdir("/run/sshd", { recursive: true }); // sshd asks root for it
  const settings = [
    `Port ${port}`,
    "ListenAddress 127.0.0.1",
    `HostKey ${at("host")}`,
    `AuthorizedKeysFile ${at("key.pub")}`,
    "StrictModes no",
    "UsePAM no",
    "PermitRootLogin yes",
    "PidFile none",
    "Subsystem sftp internal-sftp",
  ];
  await writeFile(at("config"), `${settings.join("\n")}\n`);
  await writeFile(at("trusted"), `[127.0.0.1]:${port} ${readFileSync(at("host.pub"), "utf8")}`);
  const server = stack.use(start(["/usr/sbin/sshd", "-D", "-e", "-f", at("config")], { limit: LIMIT }));
  const ready = await server.next("stderr");
  if (!ready?.startsWith("Server listening on")) throw new Error(ready);
  return port;
}

/** Gives a client its command, compares the copy with the original, and removes it. @throws Error when they differ */
async function passed(
  client: Program,
  at: Bench["folder"]["at"],
  command: string,
  name: string,
  server?: Program,
): Promise<Sample> {
  client.type(server ? `${command}\n` : `cd ${at()}\n${command}\n`); // ours begins in its root
  client.endOfInput();
  const { seconds, peak } = await cost(client);
  await using same = start(["diff", "-rq", at("root", name), at("copy", name)], { limit: LIMIT });
  if (await same.ended() !== 0) throw new Error(`${command}: the copy differs`);
  rmSync(at("copy"), { recursive: true });
  mkdirSync(at("copy"));
  return { seconds, client: peak, server: server && highWater(server.pid) };
}

/** @param names of what is passed, and of what warms up */
async function contestants(
  bench: Bench,
  command: (name: string) => string,
  names: [string, string],
): Promise<Contestant[]> {
  const { folder } = bench;
  const port = await sshd(bench);
  mkdirSync(folder.at("copy"));
  const words = ["--port", `${port}`, "--identity", folder.at("key"), "--known-hosts", folder.at("trusted")];
  const options = { cwd: folder.path, limit: LIMIT };
  const run = (client: () => Program) => (name: string) => passed(client(), folder.at, command(name), name);
  return [
    withLittle("OpenSSH's sftp", names, run(() => openSsh(folder, port))),
    ...runtimes.map((runtime) =>
      withLittle(
        `4.5 on ${runtime}`,
        names,
        run(() => script("apps/sftp", [target, ...words], { ...options, runtime })),
      )
    ),
  ];
}

/** OpenSSH's client at its own server, and at ours. */
async function served(bench: Bench, command: (name: string) => string): Promise<Contestant[]> {
  const { folder, stack } = bench;
  const at = (...names: string[]) => folder.at("tree", ...names);
  for (const name of ["root", "copy"]) mkdirSync(at(name), { recursive: true });
  await makeFiles((name) => at("root", name), bench.size);
  const port = await sshd(bench);
  const run = (port: number, server?: Program) => (name: string) =>
    passed(openSsh(folder, port, at()), at, command(name), name, server);
  const all = [withLittle("sshd", FILES, run(port))];
  for (const runtime of runtimes) {
    const words = [
      "--port",
      "0",
      "--root",
      at(),
      "--user",
      userName(),
      "--authorized-keys",
      folder.at("key.pub"),
    ];
    const server = stack.use(script("apps/sftp-server", words, { limit: LIMIT, runtime }));
    all.push(withLittle(`sftp-server.ts on ${runtime}`, FILES, run(await server.port(), server)));
  }
  return all;
}

async function large(bench: Bench, command: (name: string) => string): Promise<Contestant[]> {
  mkdirSync(bench.folder.at("root"));
  await makeFiles((name) => bench.folder.at("root", name), bench.size);
  return await contestants(bench, command, FILES);
}

async function small(bench: Bench, command: (name: string) => string): Promise<Contestant[]> {
  mkdirSync(bench.folder.at("root/many"), { recursive: true });
  for (let n = 0; n < NUMBER; n++) {
    await writeFile(bench.folder.at(`root/many/file-${n}`), crypto.getRandomValues(new Uint8Array(1000)));
  }
  return await contestants(bench, command, ["many", "many"]);
}

const needs = ["sftp", "sshd", "ssh-keygen"];

export const rows: Row[] = (["get", "put"] as const).flatMap((verb) => [
  {
    name: `sftp-${verb}`,
    title: `4.5, ${verb} of a large file (SIZE), at OpenSSH's sshd`,
    needs,
    contestants: (bench) => large(bench, (name) => `${verb} root/${name} copy/${name}`),
  },
  {
    name: `sftp-small-${verb}`,
    title: `4.5, ${verb} -r of a folder of 1,000 files of 1 KB, at OpenSSH's sshd`,
    needs,
    contestants: (bench) => small(bench, (name) => `${verb} -r root/${name} copy`),
  },
  {
    name: `sftp-served-${verb}`,
    title: `4.5, ${verb} of a large file (SIZE) by OpenSSH's sftp, at its sshd and at our server`,
    needs,
    contestants: (bench) => served(bench, (name) => `${verb} root/${name} copy/${name}`),
  },
]);
