/** A client of the test for lesson 4.5's server. Its packets are those of draft-ietf-secsh-filexfer-02, by hand. */
import { expect } from "bun:test";
import { once } from "node:events";
import type { Socket } from "node:net";
import ssh2, { type AuthenticationType, type Client, type ClientChannel } from "ssh2";
import { inTime } from "../../engine/sockets.ts";
import { KEY } from "./server.ts";

/** Logs in as a client of ssh2 does, and counts what it tries until the server has had enough. */
export function knock(
  port: number,
  tries: { password?: string; key?: string }[],
  username = "anna",
  localAddress?: string,
) {
  const client = new ssh2.Client();
  const started = performance.now();
  const answers: number[] = [];
  let tried = -1; // the first one asks what there is
  const done = Promise.withResolvers<
    { isIn: boolean; tried: number; answers: number[]; methods?: unknown }
  >();
  let methods: unknown;
  const end = (isIn: boolean) => done.resolve({ isIn, tried, answers, methods });
  client.on("ready", () => end(true)).on("error", () => {}).on("close", () => end(false));
  client.connect({
    host: "127.0.0.1",
    port,
    localAddress,
    username,
    readyTimeout: 60_000,
    authHandler: (left: AuthenticationType[], _: boolean, next: (method: unknown) => void) => {
      if (left) methods = left;
      if (tried >= 0) answers.push(performance.now() - started);
      const wish = tries[tried];
      tried++;
      if (tried === 0) return next({ type: "none", username });
      const { password, key } = tries[tried - 1] ?? {};
      if (password !== undefined) return next({ type: "password", username, password });
      if (key !== undefined) return next({ type: "publickey", username, key });
      next(false);
      return wish;
    },
  } as never);
  return { client, done: inTime(done.promise, "a login"), [Symbol.dispose]: () => void client.end() };
}

/** Fields of a packet: a number in 4 bytes, one in 8, a string behind its length, bytes as they are. */
export type Field = number | bigint | string | Buffer;

export const number = (value: number) =>
  Buffer.from([value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]);

export function bytesOf(field: Field): Buffer {
  if (typeof field === "number") return number(field);
  if (typeof field === "bigint") {
    return Buffer.concat([number(Number(field >> 32n)), number(Number(field & 0xffffffffn))]);
  }
  if (typeof field === "string") return Buffer.concat([number(Buffer.byteLength(field)), Buffer.from(field)]);
  return field;
}

export function packet(type: number, ...fields: Field[]): Buffer {
  const payload = Buffer.concat([Buffer.of(type), ...fields.map(bytesOf)]);
  return Buffer.concat([number(payload.length), payload]);
}

export const INIT = packet(1, 3);
export const READ = 1;
export const WRITE = 2;
export const CREATE = 8;
export const NOTHING = 0; // no attributes

/** A client that can send anything. */
export async function dial(
  port: number,
  tweak: (client: Client) => void = () => {},
  first = INIT,
  localAddress?: string,
) {
  const client = new ssh2.Client();
  client.on("error", () => {});
  client.connect({ host: "127.0.0.1", port, localAddress, username: "anna", privateKey: KEY.private });
  await inTime(once(client, "ready"), "a login");
  tweak(client);
  const channel = await new Promise<ClientChannel>((resolve, reject) => {
    client.subsys("sftp", (error, channel) => (error ? reject(error) : resolve(channel)));
  });
  let bytes: Buffer = Buffer.alloc(0);
  let wake = () => {};
  let isOpen = true;
  channel.on("data", (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    wake();
  });
  for (const end of [channel, client]) {
    end.on("close", () => {
      isOpen = false;
      wake();
    });
  }
  const missing = () => (bytes.length < 4 ? 4 : 4 + bytes.readUInt32BE()) - bytes.length;
  let id = 100;
  const self = {
    client,
    channel,
    /** The next packet, or undefined at the end. */
    async next(): Promise<{ type: number; id: number; rest: Buffer } | undefined> {
      while (missing() > 0 && isOpen) {
        await inTime(new Promise<void>((resolve) => (wake = resolve)), "a packet");
      }
      if (missing() > 0) return undefined;
      const whole = bytes.subarray(4, 4 + bytes.readUInt32BE());
      bytes = bytes.subarray(4 + whole.length);
      return { type: whole[0], id: whole.readUInt32BE(1), rest: whole.subarray(5) };
    },
    /** Sends a request, and gives its reply; of a status also its code. */
    async ask(type: number, ...fields: Field[]) {
      channel.write(packet(type, ++id, ...fields));
      const reply = await self.next();
      if (reply?.id !== id) throw new Error(`a reply to ${reply?.id}, not to ${id}`);
      return { ...reply, code: reply.type === 101 ? reply.rest.readUInt32BE() : undefined };
    },
    /** Opens a file or, with 11, a folder, and gives its handle. */
    async open(path: string, flags = READ) {
      const { rest, code } = await self.ask(3, path, flags, NOTHING);
      return code === undefined ? rest : code;
    },
    /** The text of a file from its beginning, or why it cannot be read. */
    async read(path: string): Promise<string | number> {
      const handle = await self.open(path);
      if (typeof handle === "number") return handle;
      const { code, rest } = await self.ask(5, handle, 0n, 100);
      await self.ask(4, handle);
      return code ?? `${rest.subarray(4)}`;
    },
    [Symbol.dispose]: () => void client.end(),
  };
  channel.write(first);
  return self;
}

/** As `dial`, with the greetings exchanged. */
export async function meet(port: number, localAddress?: string) {
  const client = await dial(port, undefined, INIT, localAddress);
  expect(await client.next()).toMatchObject({ type: 2, id: 3 });
  return client;
}

export const OK = 0;
export const EOF = 1;
export const NO_SUCH_FILE = 2;
export const DENIED = 3;
export const FAILED = 4;
export const BAD = 5;
export const UNSUPPORTED = 8;

/** What the test reaches into ssh2 for: a client that keeps to no rule is not made by its methods. */
export type Inside = {
  _sock: Socket;
  _protocol: {
    session: (channel: number, window: number, packet: number) => void;
    subsystem: (channel: number, name: string, wantsReply: boolean) => void;
    rekey: () => void;
    ping: () => void;
    channelData: (channel: number, bytes: Buffer) => void;
  };
};
export const inside = (client: Client) => client as unknown as Inside;

/** Lets the server send so many bytes in a session. */
const open = (window: number) => (client: Client) => {
  const protocol = inside(client)._protocol;
  const session = protocol.session.bind(protocol);
  protocol.session = (channel) => session(channel, window, 32_768);
};
/** Lets the server send 4 GiB without being asked to stop. */
export const openWide = open(0xffffffff);
/** Lets the server send nothing. */
export const openNot = open(0);
