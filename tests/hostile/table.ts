/** Plays the cells of the table: a script against a fault. */
import { readdirSync, readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import type { Socket } from "node:net";
import ssh2 from "ssh2";
import { makeKey } from "../apps/sftp/server.ts";
import { type Folder, temporaryFolder } from "../engine/files.ts";
import type { Lesson } from "../engine/lessons.ts";
import { Late, type Program, type Runtime, script } from "../engine/program.ts";
import { freePort, inTime, letterbox, settled, until } from "../engine/sockets.ts";
import { CROWD, endless, type Fault, fault, MB, OF_TCP, OF_UDP } from "./faults.ts";
import { CAN_MEASURE, descriptors, peak, startOfPeak } from "./measure.ts";
import { breakOff, DatagramRelay, dial, type Place, put, Relay, type Seen, type Ways } from "./peer.ts";
import {
  type Client,
  FILES,
  type Pair,
  type Reason,
  type Receiver,
  type Row,
  ROWS,
  type Server,
} from "./rows.ts";

/** How a cell came out: it passed, it failed, or it is empty for a reason. */
export type Cell = { fault: Fault; mark: "+" | "F" | `${Reason}`; note?: string };

/** How much more memory a fault may take, in MiB. */
const MOST_MEMORY = 50;

/** How many descriptors a runtime opens for itself, and not at its start: Bun one with the first error, Deno a pair. */
const OWN: Partial<Record<Runtime, number>> = { bun: 1, deno: 2 };

/** A fault did not end as the contract says. */
class Broken extends Error {}

/** It took more memory than it may. */
class TooMuch extends Broken {}

function must(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Broken(what);
}

const isBare = ({ script }: { script: string }) => script.includes("/bare/");
const KEY = makeKey();

/** The program of a row that is under test. */
export const nameOf = (row: Row) => row.kind === "pair" && row.isServer ? row.server : row.script;

/** The faults that a row can meet. */
export const faultsOf = ({ kind }: Row) => (kind === "server" || kind === "client" ? OF_TCP : OF_UDP);

/** The reason why a cell is empty. */
function whyEmpty(row: Row, mark: Fault, runtime: Runtime): Reason | undefined {
  if (row.bunOnly && runtime !== "bun") return 0;
  const but = row.kind === "receiver" ? undefined : row.but?.[mark];
  return typeof but === "object" && "why" in but ? but.why : undefined;
}

/** A folder, and in it the one where a program works, and its HOME. */
class Box {
  readonly folder: Folder = temporaryFolder();
  readonly inside = this.folder.at("inside");
  readonly options = {
    cwd: this.inside,
    env: { HOME: this.folder.at("home"), SSH_AUTH_SOCK: "" },
    limit: 120_000, // a busy machine gets through a crowd slowly, and a script tells of each one
  };

  static async make(): Promise<Box> {
    const box = new Box();
    for (const path of [box.inside, box.folder.at("home"), box.folder.at("home", ".ssh")]) {
      await mkdir(path, { mode: 0o700 });
    }
    for (const [name, content] of Object.entries(FILES)) {
      await writeFile(box.folder.at("inside", name), content);
    }
    await writeFile(box.folder.at("key"), KEY.private, { mode: 0o600 });
    await writeFile(box.folder.at("key.pub"), `${KEY.public}\n`);
    return box;
  }

  /** All that is in it, but for what a runtime keeps for itself. */
  get entries(): string[] {
    const all = readdirSync(this.folder.path, { recursive: true }).map(String).sort();
    return all.filter((name) => !/^home\/\.(?:bun|cache|npm)(?:\/|$)/.test(name));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.folder[Symbol.asyncDispose]();
  }
}

/** A program that serves, with what it cost before a fault. */
class Live {
  readonly box: Box;
  readonly program: Program;
  readonly place: Place;
  readonly runtime: Runtime;
  #descriptors = 0;
  #memory = 0;
  #errors = 0;
  #entries: string[] = [];

  private constructor(box: Box, program: Program, place: Place, runtime: Runtime) {
    this.runtime = runtime;
    this.box = box;
    this.program = program;
    this.place = place;
  }

  static async start(
    row: { script: string; words?: string[]; atPath?: boolean },
    runtime: Runtime,
  ): Promise<Live> {
    const box = await Box.make();
    const { words = [], atPath } = row;
    const at = atPath ? ["--path", "s.sock"] : ["--port", "0"];
    const program = script(row.script, [...(isBare(row) ? at.slice(1) : at), ...words], {
      ...box.options,
      runtime,
    });
    try {
      if (!atPath) return new Live(box, program, { port: await program.port() }, runtime);
      await program.next(); // the ready line
      return new Live(box, program, { path: box.folder.at("inside", "s.sock") }, runtime);
    } catch (error) {
      await program[Symbol.asyncDispose]();
      await box[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Where a relay to it may be: at a port, or at a path. */
  get beside(): { path?: string } {
    return "path" in this.place ? { path: this.box.folder.at(`r${Math.random()}`.slice(0, 9)) } : {};
  }

  /** Remembers what it costs. */
  look(): void {
    this.#descriptors = descriptors(this.program.pid);
    this.#memory = startOfPeak(this.program.pid);
    this.#errors = this.program.seen.stderr.length;
    this.#entries = this.box.entries;
  }

  /** @throws Broken when a fault has cost more than it may; @param most how many errors it may tell */
  async check(most: number, memory = MOST_MEMORY): Promise<void> {
    const { program } = this;
    const told = program.seen.stderr.slice(this.#errors);
    mustBeWords(told, most);
    mustBeTame(program);
    mustBeSame(this.box.entries, this.#entries);
    if (program.code !== undefined) return;
    const open = () => descriptors(program.pid);
    await until(() => open() <= this.#descriptors + (OWN[this.runtime] ?? 0), "its descriptors").catch(() => {
      throw new Broken(`${open()} descriptors, ${this.#descriptors} before`);
    });
    const more = peak(program.pid) - this.#memory;
    if (more >= memory) throw new TooMuch(`${more.toFixed(0)} MiB more than before`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.program[Symbol.asyncDispose]();
    await this.box[Symbol.asyncDispose]();
  }
}

/** Errors are told in one line each, and perhaps a hint; no stack. */
function mustBeWords(lines: string[], most: number): void {
  const wrong = lines.find((line) => !/^(?:error|hint): \S/.test(line));
  must(wrong === undefined, `stderr: ${wrong}`);
  const errors = lines.filter((line) => line.startsWith("error: "));
  must(
    errors.length <= most,
    `${errors.length} errors are told, ${most} at most:\n${errors.slice(0, 5).join("\n")}`,
  );
}

/** Nothing that a peer said drives the terminal, and no stack is shown. */
function mustBeTame({ seen }: Program): void {
  const wild = [...seen.stdout, ...seen.stderr].find((line) => /\p{Cc}|^ +at \S/u.test(line));
  must(wild === undefined, `printed: ${JSON.stringify(wild?.slice(0, 200))}`);
}

function mustBeSame(now: string[], before: string[]): void {
  const differences = [
    ...now.filter((name) => !before.includes(name)).map((name) => `${name} appeared`),
    ...before.filter((name) => !now.includes(name)).map((name) => `${name} went`),
  ];
  must(differences.length === 0, differences.join(", "));
}

let tokens = 0;

/** Says what an honest caller says, hears what it hears, and hangs up. @throws Broken when it is not served */
async function talk(row: Server, place: Place, program: Program): Promise<void> {
  if (row.isSsh) return await listBySsh(place);
  const token = `t${++tokens}t`;
  const wanted = row.hears?.(token);
  const isHeard = () =>
    wanted === undefined || (typeof wanted === "string" ? heard.includes(wanted) : wanted.test(heard));
  const isShown = () =>
    !row.shows || program.seen.stdout.some((line) => line.includes(row.shows?.(token) as string));
  const socket = await dial(place);
  socket.setEncoding("utf8");
  let heard = "";
  let isOver = false;
  socket.on("data", (text) => (heard += text)).on("end", () => (isOver = true)).on(
    "close",
    () => (isOver = true),
  );
  try {
    if (row.says) await put(socket, Buffer.from(row.says(token)));
    if (row.closes) socket.end();
    await until(
      () =>
        isHeard() && isShown() || isOver && !isHeard() ||
        socket.destroyed && !isShown() && socket.errored !== null,
      "the reply",
    );
    must(
      isHeard() && isShown(),
      `not served, but heard ${JSON.stringify(heard.slice(0, 100))} ${socket.errored ?? ""}`,
    );
    await over(socket);
  } finally {
    socket.destroy();
  }
}

/** How long the next peer may have to wait behind a crowd, in milliseconds: a busy machine takes each caller slowly. */
const BEHIND_A_CROWD = 120_000;

/** Again and again, until it works. @throws the last error */
async function insist(work: () => Promise<void>): Promise<void> {
  for (const end = performance.now() + BEHIND_A_CROWD;;) {
    try {
      return await work();
    } catch (error) {
      if (performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** Hangs up, and waits until the other end has, too. */
async function over(socket: Socket): Promise<void> {
  if (socket.destroyed) return;
  const end = closed(socket);
  socket.end();
  socket.resume();
  await inTime(end, "its hang-up");
}

/** The end of a connection, of whatever kind. Not `once`, which throws what an error is. */
const closed = (socket: Socket) => new Promise<void>((resolve) => socket.once("close", () => resolve()));

/** An SFTP client of the library: logs in, and lists the folder. */
async function listBySsh(place: Place): Promise<void> {
  const client = new ssh2.Client();
  try {
    const names = await inTime(
      new Promise<string[]>((resolve, reject) => {
        client.on("error", reject).on("close", () => reject(new Broken("the connection is closed")));
        client.on("ready", () =>
          client.sftp((error, sftp) => {
            if (error) return reject(error);
            sftp.readdir("/", (error, list) =>
              error ? reject(error) : resolve(list.map(({ filename }) => filename)));
          }));
        client.connect({ host: "127.0.0.1", ...place, username: "anna", privateKey: KEY.private });
      }),
      "the list",
    );
    must(names.includes("file"), `not served, but heard ${names}`);
  } finally {
    client.end();
  }
}

/** That a relay did what it is for: one that does nothing would make all cells pass. */
function mustHaveHappened(mark: Fault, seen: Seen): void {
  const done = {
    b: seen.cuts > 0,
    c: seen.cuts > 0,
    s: seen.cuts > 0,
    h: seen.ends > 0,
    r: seen.resets > 0,
    w: seen.resets > 0,
    "<": seen.resets > 0,
    ">": seen.resets > 0,
  }[mark as string] ?? seen.connections > 0;
  must(done, `the fault did not happen: ${JSON.stringify(seen)}`);
}

/** The ways of a fault, as a row needs them. */
function suited(
  { up, down }: Ways,
  { middle = 1, greets = false }: { middle?: number; greets?: boolean },
): Ways {
  const change = (way: Ways["up"]) =>
    way && { ...way, ...(way.resetAfter ? { resetAfter: middle } : {}), ...(way.cut ? { greets } : {}) };
  return { up: change(up), down: change(down) };
}

/** What the table's own caller does to a server. @returns how many errors may be told */
const ATTACKS: Partial<Record<Fault, (row: Server, live: Live) => Promise<number>>> = {
  async d(row, { place, program }) {
    const socket = (await dial(place)).pause();
    if (row.says) await put(socket, Buffer.from(row.says("deaf")));
    let sent = 0;
    const flood = async () => {
      while (sent < (row.flood ?? 0) * MB && await put(socket, Buffer.alloc(MB, "x"))) sent += MB;
    };
    flood();
    if (row.flood) {
      must(
        await settled(() => sent, 2500) < row.flood * MB,
        `it took ${sent} bytes from one who reads nothing`,
      );
    }
    if (row.serves === "at once") await talk(row, place, program);
    breakOff(socket);
    return 1;
  },

  async q(row, { place, program }) {
    const socket = await dial(place);
    if (row.serves === "at once") await talk(row, place, program);
    await over(socket);
    return 1;
  },

  async r(row, { place, program }) {
    program.signal("SIGSTOP");
    if (CAN_MEASURE) {
      await until(() => / T /.test(readFileSync(`/proc/${program.pid}/stat`, "utf8")), "its stop");
    }
    const sockets = [await dial(place), await dial(place), await dial(place)];
    if (row.says) await put(sockets[1], Buffer.from(row.says("gone")));
    for (const socket of sockets) {
      const end = closed(socket);
      breakOff(socket);
      await end;
    }
    program.signal("SIGCONT");
    return sockets.length;
  },

  async w(row, { place, program }) {
    const waiting = () => program.seen.stdout.filter((line) => line.endsWith(" waits")).length;
    const before = waiting();
    const served = await dial(place);
    await until(() => program.seen.stdout.at(-1)?.endsWith(" connected") ?? false, "the first caller");
    const second = await dial(place);
    if (row.says) await put(second, Buffer.from(row.says("gone")));
    await until(() => waiting() > before, "the second caller");
    const end = closed(second);
    breakOff(second);
    await end;
    await over(served);
    return 2;
  },

  async m(_, { place }) {
    const sockets: Socket[] = [];
    try {
      for (let called = 0; called < CROWD; called += 100) { // those above a limit may be turned away
        const some = await Promise.all(Array.from({ length: 100 }, () => dial(place).catch(() => undefined)));
        for (const socket of some) sockets.push(...(socket ? [socket.resume()] : []));
      }
      must(sockets.length >= 100, `${sockets.length} got through`);
    } finally {
      for (const socket of sockets) socket.destroy();
    }
    return CROWD;
  },

  async n(_, { place }) {
    const socket = (await dial(place)).resume();
    for (const piece of endless()) if (!await put(socket, piece)) break;
    await over(socket);
    return 1;
  },

  async l(row, { place }) {
    const socket = (await dial(place)).resume();
    let isRefused = false;
    socket.on("end", () => (isRefused = true)).on("close", () => (isRefused = true));
    await put(socket, row.largest as Uint8Array);
    await until(() => isRefused, "its refusal");
    await over(socket);
    return 1;
  },
};

/** Of a caller who says nothing, no piece comes behind which the end could come. */
const CLOSES_AT_ONCE: Ways = { up: { instead: () => [] } };

/** Does a fault to a server. @returns how many errors may be told */
async function doToServer(row: Server, mark: Fault, live: Live): Promise<number> {
  const { program } = live;
  const attack = ATTACKS[mark];
  if (attack) return await attack(row, live);
  const ways = mark === "h" && !row.says ? CLOSES_AT_ONCE : suited(fault(mark).atServer ?? {}, row);
  await using relay = await Relay.to(live.place, ways, live.beside);
  const error = await talk(row, relay.place, program).then(
    () => undefined,
    (error: Error) => error,
  );
  mustHaveHappened(mark, relay.seen);
  const but = row.on?.[live.runtime]?.[mark] ?? row.but?.[mark];
  const isServed = but !== "unserved" && !ways.up?.resetAfter && !ways.down?.resetAfter;
  if (but !== "perhaps") {
    must(isServed === (error === undefined), error?.message ?? "served, all the same");
  }
  return error ? 1 : 0;
}

async function playServer(row: Server, faults: Fault[], runtime: Runtime, tell: (cell: Cell) => void) {
  let live: Live | undefined;
  try {
    // The crowd comes last: some of those who were turned away may still be on their way out.
    for (const mark of faults.toSorted((a, b) => Number(a === "m") - Number(b === "m"))) {
      await judge(mark, tell, async () => {
        if (row.serves === "one") await live?.[Symbol.asyncDispose](); // each cell needs a new one
        if (row.serves === "one" || live === undefined) {
          live = await Live.start(row, runtime);
          if (row.serves !== "one") {
            for (const _ of [1, 2, 3]) await talk(row, live.place, live.program);
          }
        }
        await playCell(row, mark, live).catch(async (error) => {
          // A heap grows in steps, and what is not collected yet counts: a crowd costs Deno 41 to 50 MiB, one that reads
          // nothing Bun.listen 7 to 13, and once 51. What is lost is lost a second time, too.
          if (!(error instanceof TooMuch) || row.serves === "one") throw error;
          await playCell(row, mark, live as Live);
        });
      }, async () => {
        await live?.[Symbol.asyncDispose](); // the next cell gets a new one
        live = undefined;
      });
    }
  } finally {
    await live?.[Symbol.asyncDispose]();
  }
}

async function playCell(row: Server, mark: Fault, live: Live): Promise<void> {
  const { program, place, runtime } = live;
  live.look();
  const most = await doToServer(row, mark, live);
  if (row.serves === "one") {
    const last = async () => void await Promise.race([program.exit, talk(row, place, program)]);
    await (mark === "m" ? insist(last) : last().catch(() => {})); // the crowd must be seen to leave
    must(await program.ended() === 0, `it ended with ${program.code}`);
  } else if (mark === "m") await insist(() => talk(row, place, program));
  else await talk(row, place, program); // the next peer
  await live.check(most, row.memory?.[runtime]);
}

/** Plays a cell, and tells how it came out. */
async function judge(
  mark: Fault,
  tell: (cell: Cell) => void,
  play: () => Promise<void>,
  failed = async () => {},
) {
  try {
    await play();
    tell({ fault: mark, mark: "+" });
  } catch (error) {
    tell({
      fault: mark,
      mark: "F",
      note: error instanceof Broken ? error.message : `${(error as Error).stack}`,
    });
    await failed();
  }
}

/** The servers that clients call, each started once. */
export class Counterparts {
  readonly #servers = new Map<string, Promise<Live>>();

  get(script: string): Promise<Live> {
    const row = ROWS.find((row) => row.kind === "server" && row.script === script) as Server;
    const server = this.#servers.get(script) ?? Live.start(row, "bun");
    this.#servers.set(script, server);
    return server;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers.values()) {
      await server.then((live) => live[Symbol.asyncDispose](), () => {});
    }
  }
}

/** The exit code of a client where its row says nothing else. */
const USUAL: Partial<Record<Fault, number | "ends" | "waits">> = {
  d: "waits",
  q: "waits",
  r: 1,
  w: 1,
  "<": 1,
  ">": 1,
  n: 1,
};

async function playClient(row: Client, mark: Fault, runtime: Runtime, server: Live): Promise<void> {
  const ways = suited(fault(mark).atClient ?? { down: { instead: () => [row.largest as Uint8Array] } }, row);
  if (row.asksAtOnce && ways.up?.cut) ways.up = {};
  const isMessenger = row.script.includes("messenger");
  const port = isMessenger ? await freePort() : 0;
  await using relay = await Relay.to(server.place, ways, { port, ...server.beside });
  await using _ = isMessenger
    ? await DatagramRelay.to(server.place as { port: number }, undefined, "both", port)
    : undefined;
  await using box = await Box.make();
  if (row.script === "apps/sftp") await trust(box, relay.place, server);
  const place = "port" in relay.place ? `${relay.place.port}` : relay.place.path;
  const at = row.at?.(place) ?? [...(isBare(row) ? [] : ["--port"]), place];
  const before = box.entries;
  await using program = script(row.script, [...at, ...row.words ?? []], { ...box.options, runtime });
  if (row.typed) program.type(row.typed);
  const wanted = row.but?.[mark] ?? USUAL[mark] ?? 0;
  const isMemory = mark === "n" || mark === "l";
  const most = isMemory ? mostMemory(program, relay) : undefined;
  const text = () => program.seen.stdout.join("\n");
  if (wanted === 0 && row.leave) {
    await until(() => row.shows.test(text()) || program.code !== undefined, "what it shows");
    program.type(row.leave);
  }
  if (wanted === "waits") {
    await until(() => relay.seen.connections > 0 || program.code !== undefined, "its call");
    await settled(() => relay.seen.bytes);
    must(
      program.code === undefined,
      `it did not wait, but ended with ${program.code}: ${program.seen.stderr}`,
    );
    program.signal("SIGINT");
  }
  const result = await program.result();
  const code = wanted === "waits" ? 130 : wanted === "ends" ? Math.min(result.code, 1) : wanted;
  mustHaveHappened(mark, relay.seen);
  must(
    result.code === code,
    `exit code ${result.code}, not ${code}\n${result.stdout.slice(0, 200)}${result.stderr}`,
  );
  mustBeWords(program.seen.stderr, code === 1 ? row.connections ?? 1 : 0);
  if (code === 1) must(program.seen.stderr.length > 0, "no error is told");
  mustBeTame(program);
  if (code === 0 && !isMemory) must(row.shows.test(text()), `printed: ${text().slice(0, 200)}`);
  const left = code === 0 ? row.leaves ?? [] : [];
  const isHalf = (name: string) => row.leavesHalf && code !== 0 && row.leaves?.includes(name);
  mustBeSame(box.entries.filter((name) => !isHalf(name)), [...before, ...left]);
  if (most) {
    const more = await most();
    must(more < MOST_MEMORY, `${more.toFixed(0)} MiB more than before`);
  }
}

/** Watches how much memory a client takes from its connection on. */
function mostMemory(program: Program, relay: Relay): () => number {
  let [before, most] = [NaN, 0];
  const timer = setInterval(() => {
    if (relay.seen.connections === 0 || !CAN_MEASURE) return;
    try {
      if (Number.isNaN(before)) before = startOfPeak(program.pid);
      else most = Math.max(most, peak(program.pid) - before || 0); // NaN: it has ended, and waits to be collected
    } catch {
      // it has ended
    }
  }, 5);
  return () => {
    clearInterval(timer);
    return most;
  };
}

/** Lets a client of SSH know the key of a server that it finds behind a relay. */
async function trust(box: Box, place: Place, server: Live): Promise<void> {
  const key = ssh2.utils.parseKey(readFileSync(server.box.folder.at("inside.host-key")));
  if (key instanceof Error || !("port" in place)) throw key;
  const line = `[127.0.0.1]:${place.port} ${key.type} ${key.getPublicSSH().toString("base64")}\n`;
  await writeFile(box.folder.at("home", ".ssh", "known_hosts"), line, { mode: 0o600 });
}

/** What is to be seen of three datagrams, when something happens to the first. */
const TROUBLED: Partial<Record<Fault, (first: string, ...rest: string[]) => (string | RegExp)[]>> = {
  L: (_, ...rest) => rest,
  D: (first, ...rest) => [first, first, ...rest],
  S: (first, second, ...rest) => [second, first, ...rest],
  C: (first, ...rest) => [first.slice(0, first.length / 2), ...rest],
  F: (...all) => [/\[2J forged [^]*\ufffd/, ...all],
};

async function playReceiver(row: Receiver, faults: Fault[], runtime: Runtime, tell: (cell: Cell) => void) {
  await using beyond = await letterbox();
  const words = [
    ...row.words ?? [],
    ...(row.then === "passes on" ? ["--to", `127.0.0.1:${beyond.port}`] : []),
  ];
  await using live = await Live.start({ ...row, words }, runtime);
  const { program } = live;
  const port = (live.place as { port: number }).port;
  await using sender = await letterbox();
  const answered: string[] = [];
  const box = row.then === "passes on" ? beyond : sender;
  (async () => {
    while (true) {
      try {
        answered.push(await box.text());
      } catch (error) {
        if (!(error instanceof Late)) return; // the letterbox is closed: the row is over
      }
    }
  })();
  const shown = () =>
    row.then === "passes on"
      ? answered
      : program.seen.stdout.flatMap((line) => / > (.*)$/.exec(line)?.[1] ?? []);
  /** Sends datagrams, and waits until the last has been seen. */
  const send = async (to: { port: number; host?: string }, texts: string[], wanted: (string | RegExp)[]) => {
    const [before, answers] = [shown().length, answered.length];
    for (const text of texts) await sender.send(text, to.port, to.host ?? "127.0.0.1");
    await until(() => shown().at(-1) === texts.at(-1), "the last datagram");
    mustFit(shown().slice(before), wanted);
    if (row.then !== "answers") return;
    const own = wanted.filter((text) => typeof text === "string"); // a stranger's answer goes to the stranger
    await until(() => answered.at(-1) === texts.at(-1), "the last answer");
    mustFit(answered.slice(answers), own);
  };
  const next = () => [1, 2, 3].map(() => `t${++tokens}t`);
  if (row.typed) program.type(row.typed);
  const honest = next();
  await using straight = await DatagramRelay.to({ port, host: row.to }, undefined);
  await send(straight, honest, honest);
  for (const mark of faults) {
    await judge(mark, tell, async () => {
      live.look();
      {
        await using relay = await DatagramRelay.to({ port, host: row.to }, fault(mark).trouble, "up");
        const texts = next() as [string, string, string];
        if (row.typed) program.type(row.typed);
        await send(relay, texts, TROUBLED[mark]?.(...texts) ?? []);
        must(relay.seen.troubled === 1, "the fault did not happen");
      }
      const after = next();
      await send(straight, after, after); // the next peer
      // A link remembers its senders for a while: each takes a socket.
      if (row.then !== "passes on") await live.check(1);
    });
  }
}

function mustFit(found: string[], wanted: (string | RegExp)[]): void {
  const fits = found.length === wanted.length &&
    found.every((text, index) =>
      typeof wanted[index] === "string" ? wanted[index] === text : wanted[index].test(text)
    );
  must(fits, `seen: ${JSON.stringify(found)}, not ${wanted.map(String)}`);
}

async function playPair(row: Pair, mark: Fault, runtime: Runtime): Promise<void> {
  const [ofServer, ofClient]: Runtime[] = row.isServer ? [runtime, "bun"] : ["bun", runtime];
  await using server = await Live.start({ script: row.server, words: row.serverWords }, ofServer);
  const to = server.place as { port: number };
  const isMessenger = row.script.includes("messenger");
  const port = isMessenger ? await freePort() : 0;
  const where = row.script.includes("echo") ? "down" : "both";
  await using relay = await DatagramRelay.to(to, fault(mark).trouble, where, port);
  await using _ = isMessenger ? await Relay.to(to, {}, { port }) : undefined;
  await using box = await Box.make();
  const at = [...(isBare(row) ? [] : ["--port"]), `${relay.port}`];
  await using client = script(row.script, [...row.words ?? [], ...at], { ...box.options, runtime: ofClient });
  if (row.typed) client.type(row.typed);
  const { code, stdout } = await client.result();
  must(code === 0, `exit code ${code}: ${stdout} ${client.seen.stderr}`);
  must(relay.seen.troubled > 0, "the fault did not happen");
  const shows = row.but?.[mark] ?? row.shows;
  must(shows.test(stdout), `printed: ${stdout}`);
  for (const program of [client, server.program]) {
    mustBeWords(program.seen.stderr, 0);
    mustBeTame(program);
  }
  if (!row.script.includes("reliable")) return;
  await until(() => server.program.seen.stdout.some((line) => line.startsWith("saved ")), "the file");
  const arrived = readFileSync(server.box.folder.at("home", "large"), "utf8");
  must(arrived === FILES.large, "another file has arrived");
}

/**
 * Plays cells of one row.
 * @param tell is called for each, in the order of the faults
 */
export async function playRow(
  row: Row,
  faults: Fault[],
  runtime: Runtime,
  counterparts: Counterparts,
): Promise<Cell[]> {
  const cells: Cell[] = [];
  const tell = (cell: Cell) => void cells.push(cell);
  const full = faults.filter((mark) => {
    const why = whyEmpty(row, mark, runtime);
    if (why !== undefined) tell({ fault: mark, mark: `${why}` });
    return why === undefined;
  });
  if (full.length === 0) return cells;
  if (row.kind === "server") await playServer(row, full, runtime, tell);
  else if (row.kind === "receiver") await playReceiver(row, full, runtime, tell);
  else {
    for (const mark of full) {
      await judge(mark, tell, async () => {
        if (row.kind === "pair") {
          await playPair(row, mark, runtime).catch(async (error) => {
            // The login of 4.4 has a second, and what is lost here takes half of it: a busy machine may stand still for
            // the rest. What is wrong is wrong a second time, too: the same datagrams are lost.
            if (!String(error).includes("but not seen by UDP")) throw error;
            await playPair(row, mark, runtime);
          });
        } else await playClient(row, mark, runtime, await counterparts.get(row.server));
      });
    }
  }
  return cells;
}

/** The rows of some lessons, and of the bare programs beside them, which can run on a runtime. */
export function rowsOf(lessons: Lesson[]): Row[] {
  const names = lessons.map(({ path }) => path.replace(/^scripts\/|\.ts$/g, ""));
  return ROWS.filter((row) => names.includes(nameOf(row).replace("/bare/", "/")));
}

/** How many rows are played at once. They wait more than they compute. */
export const AT_ONCE = 4;

/**
 * Plays rows.
 * @param done is called for each, in their order, with its cells
 * @param wanted which cells; all, unless said
 */
export async function playRows(
  rows: Row[],
  runtime: Runtime,
  done: (row: Row, cells: Cell[]) => void,
): Promise<void> {
  await using counterparts = new Counterparts();
  const results = rows.map(() => Promise.withResolvers<Cell[]>());
  const left = rows.entries();
  const work = Array.from({ length: AT_ONCE }, async () => {
    for (const [index, row] of left) {
      await playRow(row, faultsOf(row), runtime, counterparts).then(
        results[index].resolve,
        results[index].reject,
      );
    }
  });
  for (const [index, row] of rows.entries()) done(row, await results[index].promise);
  await Promise.all(work);
}
