/** Lessons 2.2, 2.3 and 2.6: the right peer is known, however its address is written and from whichever of its addresses it answers. (thorough) */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hasNamespaces, type Host, type Network, privateNetwork } from "../engine/network.ts";
import {
  EVERYTHING,
  EVERYWHERE,
  type Program,
  ROOT,
  type Runtime,
  RUNTIMES,
  start,
} from "../engine/program.ts";
import { HAS_IPV6 } from "../engine/sockets.ts";

setDefaultTimeout(60_000); // what hangs is told by program.ts, after 30 s

/** Starts a script on a host of the private network, or, without one, here. */
function on(host: Host, runtime: Runtime, name: string, words: string[]): Program {
  return start([...host, ...RUNTIMES[runtime], join(ROOT, `scripts/udp/${name}.ts`), ...words]);
}

/** Sends LICENSE by 2.6, and expects it to be there. @returns what the sender said on stderr */
async function sendFile(there: Host, serving: string, here: Host, host: string, runtime: Runtime) {
  const out = await mkdtemp(join(tmpdir(), "addresses-"));
  try {
    const words = ["--host", serving, "--port", "0", "--out", out];
    await using receiver = on(there, runtime, "reliable-receive", words);
    const port = `${await receiver.port()}`;
    const file = join(ROOT, "LICENSE");
    await using sender = on(here, runtime, "reliable-send", [
      file,
      "--host",
      host,
      "--port",
      port,
      "--timeout",
      "20000",
    ]);
    const { code, stderr } = await sender.result();
    expect([host, code, stderr.replace(/^hint: .*\n/, "")]).toEqual([host, 0, ""]);
    expect(await readdir(out)).toEqual(["LICENSE"]);
    expect((await readFile(join(out, "LICENSE"))).equals(await readFile(file))).toBe(true);
    return stderr.replaceAll(port, "PORT");
  } finally {
    await rm(out, { recursive: true });
  }
}

/** Asks an echo server. @returns what the client said on stderr */
async function ask(there: Host, serving: string, here: Host, host: string, runtime: Runtime) {
  await using server = on(there, runtime, "echo-server", ["--host", serving, "--port", "0"]);
  const port = `${await server.port()}`;
  await using client = on(here, runtime, "echo-client", [
    "--host",
    host,
    "--port",
    port,
    "--timeout",
    "20000",
    "--tries",
    "1",
  ]);
  client.type("one\ntwo\nexit\n");
  const { code, stdout, stderr } = await client.result();
  expect([host, code, stdout]).toEqual([host, 0, "one\ntwo\n"]);
  return stderr.replaceAll(port, "PORT");
}

/** Lets two chats talk in half duplex, which needs that they know each other. @returns what the caller said on stderr */
async function talk(there: Host, serving: string, here: Host, to: string, back: string, runtime: Runtime) {
  const [a, b] = ["7788", "7789"];
  const words = ["--host", serving, "--mode", "half"];
  await using other = on(there, runtime, "chat", [...words, "--port", a, "--to", `${back}:${b}`]);
  await using caller = on(here, runtime, "chat", [...words, "--port", b, "--to", `${to}:${a}`]);
  for (const chat of [other, caller]) await chat.port();
  const hear = async (chat: Program, text: string) => expect(await chat.next()).toEndWith(` > ${text}`);
  caller.type("hello\nover\n");
  for (const text of ["hello", "over"]) await hear(other, text);
  other.type("here I am\nover\n");
  for (const text of ["here I am", "over"]) await hear(caller, text);
  caller.type("my turn again\n");
  await hear(other, "my turn again");
  other.type("exit\n");
  for (const chat of [other, caller]) expect(await chat.ended()).toBe(0);
  return (await caller.result()).stderr.replace(/^hint: \S+ is every address.*\n/, "").replaceAll(a, "PORT");
}

/** What a client says when the answer comes from another address than it asked. */
const told = (asked: string, answers: string) => `hint: ${asked}:PORT answers from ${answers}:PORT\n`;

describe("on one machine", () => {
  const cases: [serving: string, host: string, stderr: string][] = [
    ["0.0.0.0", "0.0.0.0", ""],
    ["0.0.0.0", "127.0.0.2", told("127.0.0.2", "127.0.0.1")],
    ["0.0.0.0", "127.0.1.1", told("127.0.1.1", "127.0.0.1")], // what Debian's /etc/hosts says for the own name
    ...(HAS_IPV6
      ? [
        ["0.0.0.0", "::ffff:7f00:1", ""],
        ["::", "::", ""],
        ["::", "0:0::1", ""],
      ] as [string, string, string][]
      : []),
  ];
  for (const runtime of EVERYWHERE) {
    test.each(cases)(`a server on %s is asked at %s, on ${runtime}`, async (serving, host, stderr) => {
      expect(await ask([], serving, [], host, runtime)).toBe(stderr);
      expect(await sendFile([], serving, [], host, runtime)).toBe(stderr);
    });
  }
});

if (EVERYTHING) {
  describe.skipIf(!hasNamespaces)("a second host with two addresses (needs unshare and ip)", () => {
    let network: Network;
    let linkLocal = "";
    let card = "";
    beforeAll(async () => {
      network = await privateNetwork(2);
      const shell = async (host: Host, script: string) => {
        const { code, stdout, stderr } = await start([...host, "sh", "-ec", script]).result();
        if (code !== 0) throw new Error(stderr);
        return stdout;
      };
      await shell(
        network.hosts[1],
        "ip address add 10.9.0.12/24 dev eth0; ip address add fd09::12/64 dev eth0",
      );
      linkLocal = /fe80::[\da-f:]+/.exec(await shell(network.hosts[1], "ip -6 address show dev eth0"))?.[0] ??
        "";
      card = await shell(network.hosts[0], "ip -o link show dev eth0 | cut -d: -f1 | tr -d '\\n'");
    });
    afterAll(() => network[Symbol.asyncDispose]());

    for (const runtime of EVERYWHERE) {
      for (
        const [serving, addresses] of [["0.0.0.0", ["10.9.0.2", "10.9.0.12"]], ["::", [
          "fd09::2",
          "fd09::12",
        ]]] as const
      ) {
        const name = (address: string) => (address.includes(":") ? `[${address}]` : address);
        const own = name(addresses[0].replace("2", "1"));

        for (const [what, meet] of Object.entries({ ask, sendFile })) {
          test(`${what}: each address of a server on ${serving}, on ${runtime}`, async () => {
            const [here, there] = network.hosts;
            const said: string[] = [];
            for (const host of addresses) said.push(await meet(there, serving, here, host, runtime));
            const [a, b] = addresses.map(name);
            expect([["", told(b, a)].join(), [told(a, b), ""].join()]).toContain(said.join()); // one of the two answers
          });
        }

        test(`chat: each address of one on ${serving}, on ${runtime}`, async () => {
          const [here, there] = network.hosts;
          const said: string[] = [];
          for (const host of addresses) said.push(await talk(there, serving, here, name(host), own, runtime));
          const [a, b] = addresses.map(name);
          expect([["", told(b, a)].join(), [told(a, b), ""].join()]).toContain(said.join());
        });

        test(`a link to each address of a server on ${serving}, on ${runtime}`, async () => {
          const [here, there] = network.hosts;
          await using server = on(there, runtime, "echo-server", ["--host", serving, "--port", "0"]);
          const port = await server.port();
          for (const host of addresses) {
            await using link = on(here, runtime, "lossy-link", [
              "--to",
              `${name(host)}:${port}`,
              "--port",
              "0",
            ]);
            const words = ["--port", `${await link.port()}`, "--timeout", "20000", "--tries", "1"];
            await using client = on(here, "bun", "echo-client", words);
            client.type("through the link\n");
            expect(await client.next()).toBe("through the link");
          }
        });
      }

      test(`a link-local address, however its card is written, on ${runtime}`, async () => {
        const [here, there] = network.hosts;
        expect(linkLocal).toStartWith("fe80::");
        expect(card).toMatch(/^\d+$/);
        for (const host of [`${linkLocal}%eth0`, `${linkLocal}%${card}`, `${linkLocal.toUpperCase()}%eth0`]) {
          expect(await ask(there, "::", here, host, runtime)).toBe("");
          expect(await sendFile(there, "::", here, host, runtime)).toBe("");
        }
      });
    }

    test("a third host with the same port, which is asked nothing, cannot end a chat", async () => {
      const [here, there] = network.hosts;
      const words = ["--host", "0.0.0.0", "--port", "7788", "--to", "10.9.0.99:7788"];
      await using chat = on(here, "bun", "chat", words);
      await chat.port();
      for (const text of ["exit", "still there?"]) {
        const words = ["--host", "10.9.0.1", "--local-port", "7788", text];
        await using stranger = on(there, "bun", "send", words);
        expect(await stranger.ended()).toBe(0);
        expect(await chat.next()).toBe(`10.9.0.2:7788 > ${text}`);
      }
    });
  });
}
