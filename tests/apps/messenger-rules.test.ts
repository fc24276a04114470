/** Lesson 4.4: the rules of the server and of the client, which need no network: limits, names, routes. */
import { afterEach, beforeEach, expect, type Mock, spyOn, test } from "bun:test";
import type { Socket } from "node:net";
import process from "node:process";
import type { Failure } from "../../lib/failure.ts";
import { Conversation } from "../../scripts/apps/messenger/conversation.ts";
import { isPrivate } from "../../scripts/apps/private-address.ts";
import type { Message } from "../../scripts/apps/messenger/mailbox.ts";
import { type Kept, Outbox } from "../../scripts/apps/messenger/outbox.ts";
import { BURST, MOST_NAMES, type ToClient, type ToServer } from "../../scripts/apps/messenger/protocol.ts";
import { Registrar } from "../../scripts/apps/messenger/registrar.ts";
import {
  decodeRegistration,
  decodeSeen,
  encodeRegistration,
  encodeSeen,
  NO_COOKIE,
} from "../../scripts/apps/messenger/registration.ts";
import { Registry } from "../../scripts/apps/messenger/registry.ts";
import { Requests } from "../../scripts/apps/messenger/requests.ts";
import { type Client, Roster } from "../../scripts/apps/messenger/roster.ts";
import { Places } from "../../scripts/apps/messenger/shares.ts";
import { fc, holds } from "../engine/property.ts";

/** What is printed, and what is reported. */
let printed: string[] = [];
/** The clock, in milliseconds: it stands still unless a test moves it. */
let clock = 0;
let spies: Mock<() => unknown>[] = [];

beforeEach(() => {
  [printed, clock] = [[], 0];
  const write = (text: unknown, done: unknown) => {
    printed.push(String(text).trim());
    (done as () => void)();
    return true;
  };
  spies = [
    spyOn(process.stdout, "write").mockImplementation(write),
    spyOn(process.stderr, "write").mockImplementation(write),
    spyOn(performance, "now").mockImplementation(() => clock),
  ] as unknown as Mock<() => unknown>[];
});
afterEach(() => spies.forEach((spy) => spy.mockRestore()));

/** A client that is logged in, and what the server has sent it. */
type Peer = {
  name: string;
  client: Client;
  heard: ToClient[];
  ends: unknown[];
  say(message: ToServer): Promise<void>;
};

/** The server of 4.4, without its sockets. */
class Server {
  readonly #heard = new Map<Client, ToClient[]>();
  readonly #post = (client: Client, message: ToClient) => {
    if (!this.#heard.has(client)) this.#heard.set(client, []);
    this.#heard.get(client)?.push(message);
  };
  readonly roster = new Roster(this.#post);
  readonly registry = new Registry(this.roster, this.#post);
  readonly #requests = new Requests(this.roster, this.#post);

  async logIn(name: string, secret = name, address = "192.0.2.1"): Promise<Peer> {
    const ends: unknown[] = [];
    const socket = { remoteAddress: address, destroy: (why: unknown) => ends.push(why) } as unknown as Socket;
    const login = { type: "login", version: 1, name, secret } as const;
    const [person, client] = await this.#requests.logIn(login, socket, `${address}:1`);
    const heard = this.#heard.get(client) ?? [];
    this.#heard.set(client, heard);
    return { name, client, heard, ends, say: (message) => this.#requests.handle(message, person, client) };
  }

  leave({ name }: Peer): void {
    this.roster.leave(this.roster.get(name) as NonNullable<ReturnType<Roster["get"]>>);
  }
}

const code = (error: unknown) => (error as Failure).code;
const send = (id: number, to: string | null, also: string[] = []): ToServer => ({
  type: "send",
  id,
  to,
  text: "x",
  also,
});
const kinds = ({ heard }: Peer) =>
  Object.fromEntries(
    Map.groupBy(heard, ({ type }) => type).entries().map(([type, all]) => [type, all.length]),
  );
const only = <T extends ToClient["type"]>({ heard }: Peer, type: T) =>
  heard.filter((message): message is Extract<ToClient, { type: T }> => message.type === type);

test("who is too fast is told so 50 times, and then has to go; a second later 50 more are taken", async () => {
  const server = new Server();
  const one = await server.logIn("one");
  for (let count = 0; count < BURST; count++) await one.say({ type: "who" });
  expect(kinds(one)).toEqual({ welcome: 1, people: 50 });
  for (let count = 0; count < 50; count++) await one.say(send(count, null));
  expect(kinds(one)).toEqual({ welcome: 1, people: 50, sorry: 50 });
  expect(only(one, "sorry").at(-1)).toMatchObject({ id: 49, name: "", code: "EBUSY" });
  expect(await one.say({ type: "who" }).catch(code)).toBe("EBUSY");
  clock += 1000;
  for (let count = 0; count < 50; count++) await one.say({ type: "who" });
  expect(kinds(one)).toEqual({ welcome: 1, people: 100, sorry: 50 });
});

test("all clients of one address together may send 2,000, another address as many", async () => {
  const server = new Server();
  for (let count = 0; count < 40; count++) {
    const one = await server.logIn(`n${count}x`);
    for (let said = 0; said < BURST; said++) await one.say({ type: "ping" });
    expect(only(one, "pong")).toHaveLength(50);
  }
  const next = await server.logIn("next");
  const other = await server.logIn("other", "other", "192.0.2.2");
  for (const { say } of [next, other]) await say({ type: "ping" });
  expect([kinds(next), kinds(other)]).toMatchObject([{ sorry: 1 }, { pong: 1 }]);
  expect(kinds(next).pong).toBeUndefined();
});

test("a name is taken, or looks like one that is; the same client again takes the place of its dead self", async () => {
  const server = new Server();
  const one = await server.logIn("lisa");
  expect(await server.logIn("lisa", "another").catch(code)).toBe("EEXIST");
  expect(await server.logIn("1isa").catch(code)).toBe("EEXIST");
  expect(await server.logIn("a b").catch(code)).toBe("EINVAL");
  expect(one.ends).toEqual([]);
  const again = await server.logIn("lisa");
  expect(one.ends).toHaveLength(1);
  expect(server.roster.get("lisa")?.client).toBe(again.client);
  expect(await again.say({ type: "login", version: 1, name: "lisa", secret: "lisa" }).catch(code)).toBe(
    "EPROTO",
  );
});

test("a message waits until it is confirmed, comes once, and its sender is told", async () => {
  const server = new Server();
  const one = await server.logIn("one");
  const two = await server.logIn("two");
  await one.say(send(1, "two"));
  await one.say(send(1, "two")); // again, as after a broken connection
  expect(only(two, "message")).toEqual([
    {
      ...{ type: "message", id: 1, from: "one", instance: one.client.instance, all: false },
      text: "x",
      time: expect.any(Number),
      late: false,
    },
  ]);
  expect(only(one, "taken")[0]).toMatchObject({ here: ["two"], away: [] });
  server.leave(two);
  await one.say(send(2, "two"));
  expect(only(one, "taken")[2]).toMatchObject({ here: [], away: ["two"] });
  const back = await server.logIn("two");
  expect(only(back, "message").map(({ id, late }) => [id, late])).toEqual([[1, true], [2, true]]);
  for (const instance of ["0".repeat(16), one.client.instance]) {
    await back.say({ type: "have", id: 1, from: "one", instance });
  }
  expect(only(one, "had")).toEqual([{ type: "had", id: 1, name: "two" }]);
  server.leave(back);
  expect(only(await server.logIn("two"), "message").map(({ id }) => id)).toEqual([2]);
  for (const [to, why] of [["one", "that is you"], ["nobody", "nobody of this name was here"]]) {
    await one.say(send(3, to));
    expect(only(one, "sorry").at(-1)).toMatchObject({ id: 3, name: to, why, code: "ENOENT" });
  }
});

test("1,000 may be unconfirmed, and 100 wait for one who has left: the oldest of the busiest sender go", () => {
  const server = new Server();
  return Promise.all(["one", "two", "mute"].map((name) => server.logIn(name))).then(([one, two, mute]) => {
    const message = (peer: Peer, id: number): Message => ({
      ...{
        type: "message",
        id,
        from: peer.name,
        instance: peer.client.instance,
        all: false,
        text: "x",
        time: 0,
      },
      late: false,
    });
    const deliver = (peer: Peer, id: number) =>
      server.roster.deliver(message(peer, id), "192.0.2.1", new Set(["mute"]));
    for (let id = 0; id < 60; id++) deliver(two, id);
    for (let id = 0; id < 940; id++) deliver(one, id);
    expect([only(mute, "message").length, mute.ends]).toEqual([1000, []]);
    deliver(one, 940);
    expect([only(mute, "message").length, mute.ends.map(code)]).toEqual([1000, ["ENOBUFS"]]);
    server.leave(mute);
    const lost = only(one, "sorry");
    expect(lost.map(({ id }) => id).slice(0, 880)).toEqual(Array.from({ length: 880 }, (_, id) => id));
    expect(lost[0]).toMatchObject({ name: "mute", code: "ENOBUFS" });
    expect(lost.length + only(two, "sorry").length).toBe(901);
    expect(server.roster.get("mute")?.waiting.size).toBe(100);
    deliver(one, 941);
    expect(server.roster.get("mute")?.waiting.size).toBe(100);
  });
});

test("100 names that were never here are expected, 200 are known: one without messages goes first", async () => {
  const server = new Server();
  const one = await server.logIn("one");
  const also = Array.from({ length: 101 }, (_, count) => `n${count}x`);
  await one.say(send(1, null, also));
  expect(server.roster.away()).toHaveLength(100);
  expect(only(one, "sorry").map(({ id, code }) => [id, code])).toEqual([[1, "ENOENT"]]);
  for (let count = 0; count < MOST_NAMES; count++) {
    server.leave(await server.logIn(`m${count}x`, "s", `192.0.2.${count}`));
  }
  expect(server.roster.names).toHaveLength(MOST_NAMES);
  expect(server.roster.get("one")?.client).toBe(one.client); // who is on line stays
  expect(server.roster.names.filter((name) => name.startsWith("n"))).toEqual([]);
});

test("of those who have left, the first is forgotten first; where all are on line, nobody is expected", async () => {
  const server = new Server();
  const peers: Peer[] = [];
  for (let count = 0; count < MOST_NAMES; count++) peers.push(await server.logIn(`n${count}x`));
  await peers[0].say(send(1, null, ["newcomer"]));
  expect(only(peers[0], "sorry")).toMatchObject([
    { name: "newcomer", why: expect.stringContaining("never here, and too many"), code: "ENOENT" },
  ]);
  for (const count of [5, 3]) server.leave(peers[count]);
  await server.logIn("newcomer");
  expect([5, 3].map((count) => server.roster.get(`n${count}x`)?.name)).toEqual([undefined, "n3x"]);
});

test("a message to 200 counts four times for its address, and once for its client", async () => {
  const server = new Server();
  const crowd: Peer[] = [];
  for (let count = 0; count < 11; count++) crowd.push(await server.logIn(`n${count}x`));
  for (let count = 11; count < MOST_NAMES; count++) {
    await server.logIn(`n${count}x`, "s", `198.51.100.${count}`);
  }
  for (const { say } of crowd.slice(0, 10)) {
    for (let id = 0; id < BURST; id++) await say(send(id, null));
  }
  expect(crowd.map(({ heard }) => heard.filter(({ type }) => type === "taken").length)).toEqual([
    ...Array(10).fill(50),
    0,
  ]);
  await crowd[10].say({ type: "ping" });
  expect(kinds(crowd[10])).toMatchObject({ sorry: 1 });
  clock += 1000; // 100 more: 25 such messages
  for (let id = 0; id < 30; id++) await crowd[10].say(send(id, null));
  expect(kinds(crowd[10])).toMatchObject({ taken: 25, sorry: 1 + 5 });
});

test("a message to all that expects more names than there can be is taken, in a list that its sender can read", async () => {
  const server = new Server();
  const one = await server.logIn("one");
  const peers: Peer[] = [];
  for (let count = 1; count < MOST_NAMES; count++) peers.push(await server.logIn(`n${count}x`));
  await one.say(send(1, null, ["gone", "lost"]));
  const [{ here, away }] = only(one, "taken");
  expect([here.length, away]).toEqual([MOST_NAMES, []]);
  expect(here.slice(0, 199)).toEqual(peers.map(({ name }) => name));
  expect(only(one, "sorry").map(({ name, code }) => [name, code])).toEqual([["gone", "ENOENT"], [
    "lost",
    "ENOENT",
  ]]);
});

test("a name that the server has forgotten is asked for once, not with every message", async () => {
  const posted: ToServer[] = [];
  const conversation = new Conversation({
    ...{ server: "127.0.0.1:8000", host: "127.0.0.1", encoding: "utf-8" },
    post: (message) => void posted.push(message),
    canPost: () => true,
    sendDatagram: () => Promise.resolve(),
  });
  const also = () => posted.splice(0).map((message) => message.type === "send" ? message.also : message.type);
  const settle = async () => {
    for (let turn = 0; turn < 50; turn++) await Promise.resolve();
  };
  await conversation.begin(["two", "three"]);
  await conversation.broken();
  conversation.send(null, "x");
  await settle();
  expect(also()).toEqual([["two", "three"]]);
  const sorry = { type: "sorry", id: 1, name: "two", why: "was never here", code: "ENOENT" } as const;
  await conversation.handle(sorry);
  await conversation.handle({ ...sorry, name: "three", code: "ENOBUFS" }); // known, and too busy
  conversation.send(null, "y");
  await settle();
  expect(also()).toEqual([["three"]]);
  process.exitCode = 0;
  await conversation.close();
});

test("Ctrl-C while acknowledgements are waited for: nothing is told of them, and the exit code stays", async () => {
  const { exitCode } = process;
  const conversation = new Conversation({
    ...{ server: "127.0.0.1:8000", host: "127.0.0.1", encoding: "utf-8" },
    post: () => {},
    canPost: () => true,
    sendDatagram: () => Promise.resolve(),
  });
  conversation.send("two", "x");
  await conversation.finish(() => true, AbortSignal.abort());
  expect([printed, process.exitCode]).toEqual([[], exitCode]);
  await conversation.finish(() => true, new AbortController().signal);
  expect([printed.length, process.exitCode]).toEqual([1, 1]);
  process.exitCode = 0;
  await conversation.close();
});

test("names that a message expects push out none that the same message goes to", async () => {
  const server = new Server();
  const one = await server.logIn("one");
  const also = Array.from({ length: 150 }, (_, count) => `n${count}x`);
  using searches = spyOn(Map, "groupBy");
  for (const id of [1, 2]) await one.say(send(id, null, also));
  expect(searches.mock.calls.length).toBeLessThan(10); // it is not searched again for a place that is not there
  const lost = also.slice(100).map((name) => ({ name, code: "ENOENT" }));
  expect(only(one, "sorry")).toMatchObject([1, 2].flatMap((id) => lost.map((one) => ({ id, ...one }))));
  for (const name of ["n0x", "n99x"]) {
    expect(only(await server.logIn(name), "message").map(({ id }) => id)).toEqual([1, 2]);
  }
});

test("100 names of one address push out nothing of another address: no message, and no expected name", async () => {
  const server = new Server();
  server.leave(await server.logIn("gone"));
  const honest = await server.logIn("honest", "h", "198.51.100.1");
  for (let id = 1; id <= 5; id++) await honest.say(send(id, "gone"));
  await honest.say(send(6, "gone", ["friend1", "friend2", "friend3"]));
  for (let count = 0; count < 120; count++) {
    const attacker = await server.logIn(`n${count}x`);
    await attacker.say(send(1, "gone", [`invented${count}`]));
    server.leave(attacker);
  }
  expect(only(honest, "sorry")).toEqual([]);
  const back = await server.logIn("gone");
  expect(only(back, "message")).toHaveLength(100);
  expect(only(back, "message").filter(({ from }) => from === "honest").map(({ id }) => id))
    .toEqual([1, 2, 3, 4, 5, 6]);
  expect(server.roster.names).toEqual(expect.arrayContaining(["friend1", "friend2", "friend3"]));
});

test("at one address the name with the most messages gives up its oldest", async () => {
  const server = new Server();
  server.leave(await server.logIn("gone"));
  const flood = await server.logIn("flood");
  const near = await server.logIn("near");
  const far = await server.logIn("far", "far", "198.51.100.1");
  for (const peer of [near, far]) for (let id = 1; id <= 2; id++) await peer.say(send(id, "gone"));
  for (let id = 1; id <= 120; id++) {
    clock += 1000;
    await flood.say(send(id, "gone"));
  }
  expect([near, far].flatMap((peer) => only(peer, "sorry"))).toEqual([]);
  expect(only(flood, "sorry").map(({ id }) => id)).toEqual(Array.from({ length: 24 }, (_, at) => at + 1));
});

test("a client was heard when it last said something", async () => {
  const server = new Server();
  const one = await server.logIn("one");
  clock += 20_000;
  await one.say({ type: "ping" });
  expect(one.client.heard).toBe(clock);
});

test("those who come and go are told at once 50 times, then 5 a second, and who came and went is no news", async () => {
  const server = new Server();
  const one = await server.logIn("one");
  for (let count = 0; count < 60; count++) await server.logIn(`n${count}x`);
  expect(only(one, "back")).toHaveLength(50);
  server.leave(await server.logIn("passing"));
  for (const [seconds, told] of [[1, 55], [1, 60], [60, 60]]) {
    clock += 1000 * seconds;
    server.roster.tellNews();
    expect(only(one, "back")).toHaveLength(told);
  }
  expect(only(one, "away")).toEqual([]);
  server.leave({ name: "n1x" } as Peer);
  await server.logIn("n1x");
  expect([only(one, "away").at(-1), only(one, "back").at(-1)]).toEqual([
    { type: "away", name: "n1x" },
    { type: "back", name: "n1x", again: true },
  ]);
});

test("who logs in while news waits knows from the welcome who is here, and hears what changes then", async () => {
  const server = new Server();
  const before = await server.logIn("before");
  const gone = await server.logIn("gone");
  for (let count = 0; count < 60; count++) await server.logIn(`n${count}x`); // there is no news left to tell
  server.leave(gone); // untold
  const here = await server.logIn("here"); // untold
  const late = await server.logIn("late");
  const known = new Set(only(late, "welcome").flatMap(({ here }) => here));
  expect([known.has("before"), known.has("gone"), known.has("here")]).toEqual([true, false, true]);
  server.leave(here); // for those who were there before, no news; and "gone" is back
  await server.logIn("gone");
  clock += 60_000;
  server.roster.tellNews();
  const heard = (peer: Peer, name: string) =>
    [...only(peer, "away"), ...only(peer, "back")].filter((news) => news.name === name).map(({ type }) =>
      type
    );
  expect([heard(before, "here"), heard(late, "here")]).toEqual([[], ["away"]]);
  expect([heard(before, "gone").at(-1), heard(late, "gone")]).toEqual(["back", ["back"]]);
  expect(heard(before, "gone")).toHaveLength(1); // that of its first login
  for (const { name } of only(late, "back")) known.add(name);
  for (const { name } of only(late, "away")) known.delete(name);
  known.add("late");
  expect([...known].sort()).toEqual(server.roster.here().sort());
  expect(heard(late, "n59x")).toEqual([]); // it knew that
});

test("600 who came and went hold up nobody's news, whoever logged in between", async () => {
  const server = new Server();
  const one = await server.logIn("one");
  for (let count = 0; count < 600; count++) {
    const passing = await server.logIn(`n${count}x`);
    if (count % 100 === 99) clock += 1000; // sometimes there is news to tell
    server.leave(passing);
    if (count % 10 === 9) server.roster.tellNews(); // as every half second
  }
  await server.logIn("late");
  clock += 1000;
  server.roster.tellNews();
  expect(only(one, "back").at(-1)?.name).toBe("late");
  expect(only(one, "back").length + only(one, "away").length).toBeLessThanOrEqual(50 + 7 * 5);
});

holds(
  "whoever comes and goes, and when: in the end all know who is here, and no news is told to who knows it",
  [fc.array(
    fc.record({
      name: fc.constantFrom("n0x", "n1x", "n2x", "n3x"),
      comes: fc.boolean(),
      wait: fc.constantFrom(0, 0, 0, 200, 400),
    }),
    { maxLength: 30 },
  )],
  async (steps) => {
    const server = new Server();
    const here = new Map([["stays", await server.logIn("stays")]]);
    for (let count = 0; count < 25; count++) server.leave(await server.logIn("passing")); // 50 news: none is left
    for (const { name, comes, wait } of steps) {
      const before = here.get(name);
      if (comes) here.set(name, await server.logIn(name)); // perhaps once more, before its old connection ends
      else if (before && here.delete(name)) server.leave(before);
      clock += wait;
      server.roster.tellNews();
    }
    clock += 60_000;
    server.roster.tellNews();
    for (const { name, heard } of here.values()) {
      const known = new Set([name]);
      for (const message of heard) {
        if (message.type === "welcome") { for (const name of message.here) known.add(name); }
        if (message.type !== "back" && message.type !== "away") continue;
        expect(known.has(message.name)).toBe(message.type === "away"); // it is news
        if (message.type === "away") known.delete(message.name);
        else known.add(message.name);
      }
      expect([...known].sort()).toEqual([...here.keys()].sort());
    }
  },
);

/** Registers a client of the server, as its datagrams do. */
async function register(server: Server, { name, client }: Peer, address: string, own = "10.0.0.5") {
  const sender = { address, port: 4660 };
  const ask = (cookie: Buffer) =>
    server.registry.take(
      encodeRegistration({ token: client.token, cookie, own: { address: own, port: 7 }, name }),
      sender,
    );
  const answer = decodeSeen(await ask(NO_COOKIE) as Buffer, client.token);
  expect(client.seen?.address).not.toBe(address); // not before it has shown that it gets the answer
  await ask(answer?.cookie as Buffer);
  expect(client.seen).toEqual({ address: address.replace("::ffff:", ""), port: 4660 });
  return answer?.cookie as Buffer;
}

test("an endpoint counts with the token and its own cookie; a forgery is told once, and reported three times", async () => {
  const server = new Server();
  const one = await server.logIn("one");
  const cookie = await register(server, one, "::ffff:198.51.100.1");
  const own = { address: "10.0.0.5", port: 7 };
  const stranger = { address: "203.0.113.9", port: 9 };
  const { token } = one.client;
  await server.registry.take(encodeRegistration({ token, cookie, own, name: "one" }), stranger);
  expect(one.client.seen).toEqual({ address: "198.51.100.1", port: 4660 }); // that cookie was another endpoint's
  expect(await server.registry.take(encodeRegistration({ token, cookie, own, name: "two" }), stranger))
    .toBeUndefined();
  const forged = encodeRegistration({ token: Buffer.alloc(16), cookie, own, name: "one" });
  for (let count = 0; count < 9; count++) {
    expect(await server.registry.take(forged, stranger)).toBeUndefined();
  }
  expect(only(one, "warning")).toHaveLength(1);
  expect(printed.filter((line) => line.includes("203.0.113.9:9: registers as one, with a wrong token")))
    .toHaveLength(3);
  for (let count = 0; count < 20; count++) await register(server, one, `198.51.100.${10 + count}`);
  expect(printed.filter((line) => line.includes("by UDP"))).toHaveLength(5); // it moves 20 times: five are told
});

test("a forged registration is turned away before its addresses become text, which is slow", async () => {
  const server = new Server();
  await server.logIn("one");
  const own = { address: "2001:db8::1", port: 7 };
  const forged = encodeRegistration({ token: Buffer.alloc(16), cookie: NO_COOKIE, own, name: "one" });
  const unknown = encodeRegistration({ token: Buffer.alloc(16), cookie: NO_COOKIE, own, name: "nobody" });
  const stranger = { address: "2001:db8::2", port: 9 };
  const RealUrl = URL; // which writes IPv6 addresses
  using texts = spyOn(globalThis, "URL").mockImplementation(((text: string) => new RealUrl(text)) as never);
  for (let count = 0; count < 100; count++) {
    for (const datagram of [forged, unknown]) await server.registry.take(datagram, stranger);
  }
  expect(texts.mock.calls).toHaveLength(3); // for the three that are reported
  expect(printed.filter((line) => line.includes("[2001:db8::2]:9: registers as one"))).toHaveLength(3);
});

test("a direct way: who may ask, how often, and which endpoints are told", async () => {
  const server = new Server();
  const [one, two, far, six] = await Promise.all(
    ["one", "two", "far", "six"].map((name) => server.logIn(name)),
  );
  const ask = async (peer: Peer, name: string) => {
    await peer.say({ type: "direct", name });
    return peer.heard.at(-1) as Extract<ToClient, { type: "sorry" | "direct" }>;
  };
  expect(await ask(one, "one")).toMatchObject({ why: "that is you" });
  expect(await ask(one, "nobody")).toMatchObject({ why: "not on line" });
  expect(await ask(one, "two")).toMatchObject({ code: "ENOTCONN" });
  await register(server, one, "198.51.100.1");
  await register(server, two, "198.51.100.1", "10.0.0.6");
  await register(server, far, "198.51.100.2", "10.0.0.6");
  await register(server, six, "2001:db8::6", "10.0.0.6");
  expect(await ask(one, "six")).toMatchObject({ code: "ENOTCONN", why: expect.stringContaining("IPv6") });
  // Behind the same NAT its own card is told, too, but only to the client that asked.
  expect(await ask(one, "two")).toMatchObject({ side: 0, endpoints: ["198.51.100.1:4660", "10.0.0.6:7"] });
  expect(only(two, "direct")).toMatchObject([{ side: 1, name: "one", endpoints: ["198.51.100.1:4660"] }]);
  expect(await ask(one, "far")).toMatchObject({ endpoints: ["198.51.100.2:4660"] });
  expect(only(one, "direct")[0].key).toBe(only(two, "direct")[0].key);
  expect(await ask(one, "far")).toMatchObject({ type: "direct" });
  expect(await ask(one, "far")).toMatchObject({ code: "EBUSY" }); // the fourth at once
  for (let count = 0; count < 4; count++) {
    const asker = await server.logIn(`n${count}x`);
    await register(server, asker, "198.51.100.3");
    for (let asked = 0; asked < 3; asked++) await ask(asker, "two");
  }
  expect(only(two, "direct")).toHaveLength(10); // it is asked ten times at once, and no more
});

test("100 places: an address with two fewer gets one of the largest share, the newest; 100 callers at once", () => {
  const gone: string[] = [];
  const places = new Places<string>(10, (caller) => gone.push(caller));
  for (let count = 0; count < 9; count++) expect(places.take(`a${count}`, "A")).toBe(true);
  expect(places.take("b0", "B")).toBe(true);
  expect(places.take("a9", "A")).toBe(false);
  expect([places.take("c0", "C"), gone]).toEqual([true, ["a8"]]);
  for (const caller of ["b1", "b2", "b3"]) expect(places.take(caller, "B")).toBe(true);
  expect([places.take("b4", "B"), gone]).toEqual([false, ["a8", "a7", "a6", "a5"]]); // five and four: that is fair
  places.leave("a0");
  expect([places.take("d0", "D"), gone.length]).toEqual([true, 4]); // a place was free
  const fresh = new Places<number>(1000, () => {});
  const taken = Array.from({ length: 120 }, (_, count) => fresh.take(count, "A"));
  expect(taken.filter(Boolean)).toHaveLength(100);
  clock += 1000;
  expect(Array.from({ length: 120 }, (_, count) => fresh.take(count, "A")).filter(Boolean)).toHaveLength(5);
});

test("100 places: where no IPv6 address has more than others, their networks of 56 and then 48 bits are compared", () => {
  const one56 = (count: number) => `2001:db8:1:${count.toString(16)}::`;
  const one48 = (count: number) => `2001:db8:1:${count.toString(16)}00::`;
  for (const address of [one56, one48]) {
    const gone: string[] = [];
    const places = new Places<string>(10, (caller) => gone.push(caller));
    for (let count = 0; count < 10; count++) expect(places.take(`a${count}`, address(count))).toBe(true);
    expect(places.take("a10", address(10))).toBe(false);
    for (const [count, caller] of ["b", "c", "d", "e"].entries()) {
      expect([caller, places.take(caller, `198.51.100.${count}`)]).toEqual([caller, true]);
    }
    expect(gone).toEqual(["a9", "a8", "a7", "a6"]);
    expect(places.take("f", "2001:db8:2::")).toBe(true);
    expect(places.take("a11", address(11))).toBe(false);
    expect(places.take("g", "198.51.100.0")).toBe(true); // the second of that address: the network still has four more
    expect(gone).toEqual(["a9", "a8", "a7", "a6", "a5", "a4"]);
  }
  const gone: string[] = [];
  const places = new Places<string>(3, (caller) => gone.push(caller));
  for (const count of [0, 1, 2]) places.take(`${count}`, `198.51.100.${count}`);
  expect([places.take("3", "198.51.100.3"), gone]).toEqual([false, []]); // IPv4 addresses stand for themselves
});

test("a server that changes its cookie without end gets four answers at once, and one in five seconds", async () => {
  const token = Buffer.alloc(16, 7);
  let sent = 0;
  const registrar = new Registrar("one", () => Promise.resolve(void sent++));
  const own = { address: "127.0.0.1", port: 1 };
  const stop = new AbortController();
  stop.abort();
  await registrar.begin(token, own, stop.signal); // four in vain: nobody answers
  expect([sent, registrar.seen]).toEqual([4, undefined]);
  const answer = (cookie: number, of = token) =>
    registrar.receive(encodeSeen(of, { cookie: Buffer.alloc(8, cookie), seen: own }));
  await answer(1, Buffer.alloc(16)); // of another login
  expect(sent).toBe(4);
  for (let cookie = 1; cookie < 20; cookie++) await answer(cookie);
  expect([sent, registrar.seen]).toEqual([8, undefined]);
  clock += 5000;
  for (let cookie = 30; cookie < 40; cookie++) await answer(cookie);
  expect(sent).toBe(9);
  await answer(30);
  expect(registrar.seen).toBe("127.0.0.1:1");
  registrar.end();
  await registrar.register();
  await answer(50);
  expect(sent).toBe(9);
});

test("with the next login a client is not seen, has no cookie, and may answer four times again", async () => {
  const [token, next] = [Buffer.alloc(16, 7), Buffer.alloc(16, 8)];
  const cookies: (Buffer | undefined)[] = [];
  const own = { address: "127.0.0.1", port: 1 };
  const registrar = new Registrar("one", (datagram) => {
    cookies.push(decodeRegistration(datagram)?.cookie);
    return Promise.resolve();
  });
  const stop = AbortSignal.abort();
  const answer = (cookie: number, of: Buffer) =>
    registrar.receive(encodeSeen(of, { cookie: Buffer.alloc(8, cookie), seen: own }));
  await registrar.begin(token, own, stop);
  for (const cookie of [1, 2, 3, 4, 4]) await answer(cookie, token);
  expect([registrar.seen, cookies.at(-1)]).toEqual(["127.0.0.1:1", Buffer.alloc(8, 4)]);
  cookies.length = 0;
  await registrar.begin(next, own, stop);
  expect([registrar.seen, cookies]).toEqual([undefined, Array(4).fill(NO_COOKIE)]);
  for (const cookie of [1, 2, 3, 4]) await answer(cookie, next);
  expect(cookies).toHaveLength(8);
});

test("while an answer may be to a registration without a cookie, the one with it is sent again", async () => {
  const token = Buffer.alloc(16, 7);
  const cookies: (Buffer | undefined)[] = [];
  const own = { address: "127.0.0.1", port: 1 };
  const registrar = new Registrar("one", (datagram) => {
    cookies.push(decodeRegistration(datagram)?.cookie);
    return Promise.resolve();
  });
  const answer = () => registrar.receive(encodeSeen(token, { cookie: Buffer.alloc(8, 1), seen: own }));
  await registrar.begin(token, own, AbortSignal.abort()); // four, not answered in time
  await answer(); // brings the cookie
  expect(registrar.seen).toBeUndefined();
  for (let count = 0; count < 5; count++) await answer(); // the first three may be to one of the four
  expect(registrar.seen).toBe("127.0.0.1:1");
  expect(cookies).toEqual([...Array(4).fill(NO_COOKIE), ...Array(4).fill(Buffer.alloc(8, 1))]);
});

test("a registration waits 250 ms for its answer, and no longer once it has come", async () => {
  const token = Buffer.alloc(16, 7);
  const own = { address: "127.0.0.1", port: 1 };
  const waits: number[] = [];
  using _timeout = spyOn(AbortSignal, "timeout").mockImplementation((ms) => {
    waits.push(ms);
    return new AbortController().signal; // it never comes
  });
  const registrar: Registrar = new Registrar("one", () => {
    setTimeout(async () => {
      for (let count = 0; count < 2; count++) {
        await registrar.receive(encodeSeen(token, { cookie: Buffer.alloc(8, 1), seen: own }));
      }
    });
    return Promise.resolve();
  });
  await registrar.begin(token, own, new AbortController().signal);
  expect([waits, registrar.seen]).toEqual([[250], "127.0.0.1:1"]);
});

test("private addresses begin and end where their blocks do", () => {
  const inside =
    "10.0.0.0 100.64.0.0 100.127.255.255 172.16.0.1 172.31.255.255 192.168.0.1 169.254.1.1 fe80::1 febf::1 fd00::1";
  const outside =
    "9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 172.15.0.1 172.32.0.1 192.167.0.1 110.0.0.1 fec0::1 2001:db8::1";
  for (const address of inside.split(" ")) expect([address, isPrivate(address)]).toEqual([address, true]);
  for (const address of outside.split(" ")) expect([address, isPrivate(address)]).toEqual([address, false]);
  expect(isPrivate("::ffff:100.64.0.1")).toBe(true);
});

test("a server elsewhere makes no client probe its own network unless the user has asked for that", async () => {
  const sent: string[] = [];
  const conversation = new Conversation({
    ...{ server: "203.0.113.9:8000", host: "203.0.113.9", encoding: "utf-8" },
    post: () => {},
    canPost: () => true,
    sendDatagram(_, { address, port }) {
      sent.push(`${address}:${port}`);
      return Promise.resolve();
    },
  });
  const direct = {
    type: "direct",
    name: "x",
    instance: "0".repeat(16),
    side: 0,
    key: "0".repeat(64),
  } as const;
  const shared = ["100.64.0.1:1", "100.127.255.254:1"]; // a carrier's network, behind its NAT
  const inside = [
    ...["192.168.1.1:53", "10.0.0.1:1", "127.0.0.1:22", "0.0.0.0:22", "[fe80::1]:1", "[fd00::1]:1"],
    ...shared,
  ];
  const nowhere = ["224.0.0.1:5", "255.255.255.255:9", "[ff02::1]:5", "[::1]:22", "[::]:22"];
  // The same in other spellings, and of IPv4 over IPv6.
  const spelled = [
    "[0::1]:22",
    "[::0001]:22",
    "[::ffff:7f00:1]:22",
    "[::ffff:c0a8:101]:53",
    "[::ffff:e000:1]:5",
  ];
  nowhere.push(...spelled, "[::FFFF:10.0.0.1]:1", "[FF02::1]:5");
  await conversation.handle({ ...direct, way: 1, endpoints: [...inside, ...nowhere] });
  expect(sent).toEqual([]);
  await conversation.askForDirectWay("x");
  await conversation.handle({ ...direct, way: 2, endpoints: [...nowhere, "192.168.1.1:53"] });
  expect(sent).toEqual(["192.168.1.1:53"]);
  await conversation.close();
});

test("an outbox keeps order: by the relay while an earlier one is there, and again what broke off", () => {
  const sent: string[] = [];
  let [way, canRelay] = [false, false];
  const routes = {
    direct: () => way ? { send: (id: number) => sent.push(`direct ${id}`) } : undefined,
    canRelay: () => canRelay,
    relay: ({ id, isAgain }: Kept) => sent.push(`relay ${id}${isAgain ? " again" : ""}`),
  };
  const outbox = new Outbox(routes);
  const settle = async () => {
    for (let turn = 0; turn < 50; turn++) await Promise.resolve();
    return sent.splice(0);
  };
  const add = (to: string | null) => outbox.add(to, "x", Buffer.from("x"), ["two"]);
  return (async () => {
    add("two");
    expect(await settle()).toEqual([]);
    canRelay = true;
    outbox.pump();
    expect(await settle()).toEqual(["relay 1"]);
    way = true;
    add("two");
    expect(await settle()).toEqual(["relay 2"]); // the first is not confirmed yet: it would overtake it
    for (const id of [1, 2]) outbox.confirmed(id, "two");
    add("two");
    add(null);
    expect(await settle()).toEqual(["direct 3", "relay 4"]);
    outbox.again(({ state }) => state === "direct");
    way = false;
    expect(await settle()).toEqual(["direct 3"]); // at once, while the way is there
    outbox.again(({ state }) => state === "direct");
    expect(await settle()).toEqual(["relay 3 again"]);
    expect(outbox.taken(4, [])?.id).toBe(4); // to nobody: done
    expect(outbox.taken(4, [])).toBeUndefined();
    expect(outbox.unconfirmed("server")).toEqual(new Map([["server", 1]]));
    for (let count = 0; count < 40; count++) add("two");
    expect(await settle()).toHaveLength(20 - 4); // twenty at once, of which four have gone: fewer than the server allows
    outbox.drop(3);
    expect([...outbox.unconfirmed("server").values()]).toEqual([40]);
    canRelay = false; // what still waits ends its wait
    for (let id = 5; id <= 44; id++) outbox.drop(id);
  })();
});

test("who leaves waits for a message until it is acknowledged, 10 s at most, and not for one who is away", async () => {
  let canRelay = true;
  const outbox = new Outbox({ direct: () => undefined, canRelay: () => canRelay, relay: () => {} });
  const online = new Set(["two"]);
  let asked = 0;
  /** Whether somebody would still wait: the first look finds that there is something to wait for. */
  const isAwaited = async () => !await outbox.below(1, online, () => ++asked > 0);
  const add = async () => {
    outbox.add("two", "x", Buffer.from("x"), ["two"]);
    for (let turn = 0; turn < 50; turn++) await Promise.resolve();
  };
  expect(await isAwaited()).toBe(false);
  await add();
  clock += 9999;
  expect(await isAwaited()).toBe(true); // sent, and not taken
  clock += 1;
  expect(await isAwaited()).toBe(false);
  expect(outbox.taken(1, ["two"])?.state).toBe("taken");
  expect(outbox.unconfirmed("server")).toEqual(new Map([["two", 1]]));
  await add();
  outbox.taken(2, ["two"]);
  expect(await isAwaited()).toBe(true);
  online.clear();
  expect(await isAwaited()).toBe(false); // taken, and kept there until two is back
  canRelay = false;
  await add();
  clock += 60_000;
  expect(await isAwaited()).toBe(true); // it waits for the connection
  expect(await outbox.below(2, online, () => false)).toBe(true);
  let looks = 0;
  setTimeout(() => outbox.drop(3), 50);
  expect(await outbox.below(1, online, () => ++looks > 1000)).toBe(true); // it looks again, and not all the time
  expect(looks).toBeGreaterThan(0);
  expect(asked).toBe(3);
});

test("messages to all that nobody was there for are acknowledged when the server has taken them", async () => {
  const outbox = new Outbox({ direct: () => undefined, canRelay: () => true, relay: () => {} });
  for (let id = 1; id <= 501; id++) { // one more than are kept
    clock += 100;
    outbox.add(null, "x", Buffer.from("x"), ["two"]);
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
    expect(outbox.taken(id, [])?.id).toBe(id);
  }
  expect(outbox.unconfirmed("server")).toEqual(new Map());
});

test("a message that waits for its turn stays when the connection breaks meanwhile", async () => {
  const sent: number[] = [];
  let [canRelay, asked] = [true, 0];
  const outbox = new Outbox({
    direct: () => undefined,
    canRelay: () => ++asked > 0 && canRelay,
    relay: ({ id }) => sent.push(id),
  });
  const settle = async () => {
    for (let turn = 0; turn < 200; turn++) await Promise.resolve();
  };
  for (let id = 1; id <= 21; id++) outbox.add("two", "x", Buffer.from("x"), ["two"]);
  await settle();
  expect(sent).toHaveLength(20); // as many as may be under way
  canRelay = false;
  const before = asked;
  clock += 1000;
  outbox.confirmed(1, "two"); // now it is its turn
  while (asked === before && sent.length === 20) await new Promise((resolve) => setTimeout(resolve, 1));
  await settle();
  expect(sent).toHaveLength(20);
  canRelay = true;
  outbox.pump();
  await settle();
  expect(sent.at(-1)).toBe(21);
});
