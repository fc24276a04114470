/** Datagrams in a loop. */
import { describe, expect, test } from "bun:test";
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { EventEmitter, once } from "node:events";
import { explain } from "../../lib/failure.ts";
import { sent } from "../../lib/socket.ts";
import { closed, datagrams } from "../../lib/udp.ts";

const SENDER: RemoteInfo = { address: "127.0.0.1", port: 50001, family: "IPv4", size: 1 };

/** A socket that is only its events. */
const fake = () => new EventEmitter() as Socket;

async function take(inbox: AsyncIterable<[Buffer, RemoteInfo]>, count: number): Promise<string[]> {
  const found: string[] = [];
  for await (const [data] of inbox) {
    found.push(`${data}`);
    if (found.length === count) break;
  }
  return found;
}

describe("datagrams", () => {
  test("come in their order, with their sender, over a real socket", async () => {
    const receiver = createSocket("udp4");
    const inbox = datagrams(receiver);
    receiver.bind(0, "127.0.0.1");
    await once(receiver, "listening");
    const sender = createSocket("udp4");
    const texts = Array.from({ length: 50 }, (_, index) => `datagram ${index}`);
    const { port: to } = receiver.address();
    for (const text of texts) await sent((done) => sender.send(text, to, "127.0.0.1", done));
    const found: string[] = [];
    for await (const [data, { address, port }] of inbox) {
      found.push(`${data}`);
      expect([address, port]).toEqual(["127.0.0.1", sender.address().port]);
      if (found.length === texts.length) break;
    }
    expect(found).toEqual(texts);
    receiver.close();
    sender.close();
  });

  test("are collected from the call on, before anybody asks for them", async () => {
    const socket = fake();
    const inbox = datagrams(socket);
    socket.emit("message", Buffer.from("early"), SENDER);
    expect(await take(inbox, 1)).toEqual(["early"]);
  });

  test("an empty one is one too", async () => {
    const socket = fake();
    const inbox = datagrams(socket);
    socket.emit("message", Buffer.alloc(0), SENDER);
    expect(await take(inbox, 1)).toEqual([""]);
  });

  test("256 wait; the next are dropped, until there is room again", async () => {
    const socket = fake();
    const inbox = datagrams(socket);
    for (let index = 0; index < 1000; index++) socket.emit("message", Buffer.from(`${index}`), SENDER);
    const first = inbox[Symbol.asyncIterator]();
    expect(`${(await first.next()).value[0]}`).toBe("0");
    socket.emit("message", Buffer.from("late"), SENDER);
    socket.emit("message", Buffer.from("too late"), SENDER);
    const rest: string[] = [];
    for (let index = 1; index <= 256; index++) rest.push(`${(await first.next()).value[0]}`);
    expect(rest).toEqual([...Array.from({ length: 255 }, (_, index) => `${index + 1}`), "late"]);
    const waiting = first.next();
    socket.emit("message", Buffer.from("after"), SENDER);
    expect(`${(await waiting).value[0]}`).toBe("after"); // and not "too late"
  });

  test("end when the socket is closed, while one waits for them", async () => {
    const socket = createSocket("udp4");
    const inbox = datagrams(socket);
    socket.bind(0, "127.0.0.1");
    await once(socket, "listening");
    const waiting = take(inbox, 1);
    socket.close();
    expect(await waiting).toEqual([]);
  });

  test("end with the error of the socket, while one waits for them and before", async () => {
    const before = fake();
    const inbox = datagrams(before);
    before.emit("error", new Error("broken"));
    await expect(take(inbox, 1)).rejects.toThrow("broken");

    const socket = fake();
    const waiting = take(datagrams(socket), 1);
    socket.emit("error", new Error("broken"));
    await expect(waiting).rejects.toThrow("broken");
  });

  test("end on a stop, over a real socket", async () => {
    const controller = new AbortController();
    const socket = createSocket({ type: "udp4", signal: controller.signal });
    const inbox = datagrams(socket);
    socket.bind(0, "127.0.0.1");
    await once(socket, "listening");
    const waiting = take(inbox, 1);
    controller.abort();
    expect(await waiting).toEqual([]);
  });
});

describe("closed", () => {
  test("waits for the close, and not for what became of an earlier datagram", async () => {
    const socket = fake();
    let isClosed = false;
    const end = closed(socket).then(() => (isClosed = true));
    socket.emit("error", Object.assign(new Error(), { code: "ECONNREFUSED" }));
    socket.emit("error", Object.assign(new Error(), { code: "EHOSTUNREACH", syscall: "recvmsg" }));
    await new Promise((resolve) => setImmediate(resolve)); // what is settled by now has been told
    expect(isClosed).toBe(false);
    socket.emit("close");
    expect(await end).toBe(true);
  });

  test("another error is thrown", async () => {
    const socket = fake();
    const end = closed(socket);
    socket.emit("error", Object.assign(new Error("in use"), { code: "EADDRINUSE", syscall: "bind" }));
    await expect(end).rejects.toThrow("in use");
  });
});

describe("sent", () => {
  test("port 0 is an error in words", async () => {
    const socket = createSocket("udp4");
    const sending = sent((done) => socket.send("x", 0, "127.0.0.1", done)).catch((error) =>
      explain(error, "me")
    );
    expect((await sending)?.message).toBe("me: port 0 is no program's port (ERR_SOCKET_BAD_PORT)");
    socket.close();
  });

  test("an error about an earlier datagram is no error of this one: it is sent again", async () => {
    const answers = [Object.assign(new Error(), { code: "ECONNREFUSED" }), null];
    let calls = 0;
    await sent((done) => done(answers[calls++]));
    expect(calls).toBe(2);
  });

  test("65,507 bytes go over IPv4, one more does not", async () => {
    const receiver = createSocket("udp4");
    const inbox = datagrams(receiver);
    receiver.bind(0, "127.0.0.1");
    await once(receiver, "listening");
    const socket = createSocket("udp4");
    const { port } = receiver.address();
    const sending = sent((done) => socket.send(Buffer.alloc(65_508), port, "127.0.0.1", done));
    expect((await sending.catch((error) => error)).code).toBe("EMSGSIZE");
    await sent((done) => socket.send(Buffer.alloc(65_507, "x"), port, "127.0.0.1", done));
    expect((await take(inbox, 1))[0]).toHaveLength(65_507);
    socket.close();
    receiver.close();
  });
});
