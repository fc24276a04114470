/** The SFTP sessions of a caller who has logged in: each is a channel of the one SSH connection. */
import type { Connection, ServerChannel, Session } from "ssh2";
import { print, report, visible } from "../../../lib/program.ts";
import type { Root } from "../root.ts";
import { type Caller, MOST_AT_WORK } from "./callers.ts";
import { failureReply, type Request, requests } from "./protocol.ts";
import { explainFile, ServedFiles } from "./served-files.ts";

/** How many sessions one caller may have. */
const MOST_SESSIONS = 10;

/** How many bytes may wait in memory, in either direction, for a client that respects no window. */
const MOST_WAITING = 8 * 2 ** 20;

/** How many pieces of data may wait: each costs some hundred bytes, even if it holds only one. */
const MOST_PIECES = 2 ** 17;

/** The shortest packets that a client may ask for. With one that takes 0 bytes at a time ssh2 would never finish. */
const SHORTEST_PACKETS = 1024;

/** Refusals: these the server tells too. All other failures are the client's own affair. */
const REFUSED = ["EACCES", "EPERM", "EROFS"];

type Served = { root: Root; readOnly: boolean };

/** What @types/ssh2 does not tell of a channel. */
type Inside = ServerChannel & {
  outgoing: { packetSize: number };
  _readableState: { buffer: { length: number } };
};

export class Sessions {
  readonly #caller: Caller;
  readonly #client: Connection;
  readonly #served: Served;
  readonly #channels = new Set<ServerChannel>();
  /** Sessions that are open. */
  #count = 0;
  /** How many bytes of replies ssh2 has taken. */
  #sent = 0;

  constructor(client: Connection, caller: Caller, served: Served) {
    this.#caller = caller;
    this.#client = client;
    this.#served = served;
    caller.socket.on("data", () => {
      this.#checkMemory();
      if (caller.socket.writableNeedDrain) this.#pause();
    });
  }

  /** The client asks for a session. */
  open(accept: () => Session, reject: () => void): void {
    if (this.#count >= MOST_SESSIONS) return reject();
    this.#count += 1;
    this.#offer(accept());
  }

  /** Ends the connection when more waits in memory than the window of a channel allows. */
  #checkMemory(): void {
    const { socket } = this.#caller;
    let [bytes, pieces] = [socket.writableLength, 0];
    for (const channel of this.#channels) {
      bytes = Math.max(bytes, channel.readableLength);
      pieces += (channel as Inside)._readableState.buffer.length;
    }
    if (bytes >= MOST_WAITING || pieces >= MOST_PIECES) this.#sendAway();
  }

  #sendAway(): void {
    this.#caller.leave("sends more than it may, or reads no answers", "ENOBUFS");
    this.#caller.socket.destroy();
  }

  /**
   * Reads no more from a client while 64 KiB wait for it. ssh2 answers at once what is no request of SFTP, in pieces of
   * a few bytes that cost some hundred each. Before the login all replies together are far shorter.
   */
  #pause(): void {
    const { socket, isLoggedIn } = this.#caller;
    if (!isLoggedIn) return this.#sendAway();
    if (socket.isPaused()) return;
    socket.pause();
    socket.once("drain", () => socket.resume());
  }

  /**
   * Offers SFTP in a session. A shell, a command, a terminal or a tunnel ssh2 refuses by itself. It keeps a session
   * that was opened for one of these until the end of the connection, and one that the client does not close: so
   * those still count.
   */
  #offer(session: Session): void {
    let ends = 0; // that of our work, and that of the client
    session.on("subsystem", (accept, reject, { name }) => {
      const channel = name === "sftp" ? accept() as ServerChannel | undefined : undefined;
      if (!channel) return reject?.(); // also when it is asked for twice
      channel.on("error", () => {}); // it shows where it is written to
      const { packetSize } = (channel as Inside).outgoing;
      if (packetSize < SHORTEST_PACKETS) {
        return this.#caller.leave(`takes only ${packetSize} bytes at a time`);
      }
      this.#channels.add(channel);
      const end = () => {
        if (++ends < 2) return;
        this.#channels.delete(channel);
        this.#count -= 1;
      };
      session.once("close", end);
      this.#serve(session, channel).catch(report).finally(end);
    });
  }

  /** Serves one session: request after request, each when the reply to the last one is on its way. */
  async #serve(session: Session, channel: ServerChannel): Promise<void> {
    const { name, socket } = this.#caller;
    const say = (what: string) => void print(`${name} ${visible(what)}`); // a stdout that nobody reads stops no work
    await using files = new ServedFiles({ ...this.#served, descriptors: this.#caller, say });
    const gone = new AbortController();
    const leave = () => gone.abort();
    session.once("close", leave);
    socket.once("close", leave);
    try {
      for await (const request of requests(channel.iterator({ destroyOnReturn: false }), name)) {
        this.#caller.moved();
        await this.#send(channel, await answer(files, request, name), gone.signal);
        if (gone.signal.aborted) break;
      }
      channel.exit(0);
    } catch (error) {
      await report(error, name);
    } finally {
      socket.off("close", leave);
      channel.end();
    }
  }

  /**
   * Sends a reply. It is on its way when the window of the channel had room for it, and the socket has taken it.
   * While keys are changed, ssh2 keeps what it sends in memory (RFC 4253, section 9): then this waits too. After the
   * end of the client no more events come: `gone` ends the wait.
   */
  #send(channel: ServerChannel, bytes: Buffer, gone: AbortSignal): Promise<void> {
    const { socket } = this.#caller;
    return new Promise((resolve) => {
      const done = () => {
        gone.removeEventListener("abort", done);
        resolve();
      };
      if (gone.aborted) return resolve();
      gone.addEventListener("abort", done);
      socket.cork(); // ssh2 writes a packet in three pieces: they go together
      channel.write(bytes, () => {
        this.#sent += bytes.length;
        if (this.#sent - socket.bytesWritten > MOST_WAITING) this.#client.once("rekey", done);
        else if (socket.writableNeedDrain) socket.once("drain", done);
        else setImmediate(done); // the others have their turn, too, when nothing else waits
      });
      socket.uncork();
    });
  }
}

/** The reply to a request, also when it fails. */
async function answer(files: ServedFiles, request: Request, name: string): Promise<Buffer> {
  try {
    // A rename may search a whole tree for links. They wait for each other already, and need not keep all others out.
    const waitsAnyway = request.kind === "rename" || request.kind === "symlink";
    return await (waitsAnyway ? files.answer(request) : atWork(() => files.answer(request)));
  } catch (error) {
    const failure = explainFile(error, "path" in request ? request.path : name);
    if (!failure) throw error;
    if (REFUSED.includes(failure.code)) await report(failure);
    return failureReply(request.id, failure);
  }
}

let working = 0;
const waiting: (() => void)[] = [];

/** Limits how many requests are worked on at once, over all callers: each needs some descriptors for a moment. */
async function atWork<T>(work: () => Promise<T>): Promise<T> {
  if (working === MOST_AT_WORK) await new Promise<void>((resolve) => waiting.push(resolve));
  else working += 1;
  try {
    return await work();
  } finally {
    const next = waiting.shift();
    if (next) next(); // takes the place over
    else working -= 1;
  }
}
