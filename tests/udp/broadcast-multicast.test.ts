/** Letters to all and to groups: lessons 2.4 and 2.5. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import process from "node:process";
import { cardFor, groupFamily } from "../../scripts/udp/group.ts";
import { startAlone } from "../engine/alone.ts";
import { hasNamespaces, type Host, type Network, privateNetwork } from "../engine/network.ts";
import {
  EVERYTHING,
  EVERYWHERE,
  type Program,
  type Runtime,
  RUNTIMES,
  script,
  start,
} from "../engine/program.ts";
import { freePort } from "../engine/sockets.ts";

setDefaultTimeout(60_000); // what hangs is told by program.ts, after 30 s

const runtimes = Object.keys(RUNTIMES) as Runtime[];
const isLinux = process.platform === "linux";
const hasPython = isLinux && (await start(["python3", "-c", ""]).ended()) === 0;

/** Starts a script on a host of the private network. */
function on(host: Host, runtime: Runtime, name: string, words: string[]): Program {
  return start([...host, ...RUNTIMES[runtime], `scripts/udp/${name}.ts`, ...words]);
}

/** Waits until a program has printed a text behind its sender. */
async function hear(program: Program, text: string): Promise<void> {
  const line = await program.next();
  expect(line).toMatch(/^\S+:\d+ > /);
  expect(line?.replace(/^\S+ > /, "")).toBe(text);
}

describe.skipIf(!isLinux)("broadcast (needs Linux: 127.255.255.255)", () => {
  for (const runtime of EVERYWHERE) {
    test(`every receiver on one port hears a letter from ${runtime}`, async () => {
      await using first = script("udp/broadcast-receive", ["--port", "0"], { runtime });
      const port = `${await first.port()}`;
      await using second = script("udp/broadcast-receive", ["--port", port]);
      await second.port();
      await using sender = script("udp/broadcast-send", ["--port", port, "大家好", "exit"], { runtime });
      const { code, stdout, stderr } = await sender.result();
      const own = /from 127\.0\.0\.1:(\d+) to/.exec(stdout)?.[1];
      expect([code, stderr]).toEqual([0, ""]);
      expect(stdout).toBe(
        `sent 9 bytes from 127.0.0.1:${own} to 127.255.255.255:${port}\n` +
          `sent 4 bytes from 127.0.0.1:${own} to 127.255.255.255:${port}\n`,
      );
      for (const receiver of [first, second]) {
        const heard =
          `listening on 127.255.255.255:${port}\n127.0.0.1:${own} > 大家好\n127.0.0.1:${own} > exit\n`;
        expect(await receiver.result()).toEqual({ code: 0, stdout: heard, stderr: "" });
      }
    });

    test(`nothing goes off without SO_BROADCAST on ${runtime}`, async () => {
      await using receiver = script("udp/broadcast-receive", ["--port", "0", "--once"]);
      const port = `${await receiver.port()}`;
      const refused = script("udp/broadcast-send", ["--port", port, "--no-broadcast", "refused"], {
        runtime,
      });
      await using _ = refused;
      const { code, stdout, stderr } = await refused.result();
      expect([code, stdout]).toEqual([1, ""]);
      expect(stderr).toMatch(
        runtime === "deno"
          ? /^error: send to 127\.255\.255\.255:\d+: .* \(UNKNOWN\)\n$/ // Deno does not tell which error it was
          : /^error: send to 127\.255\.255\.255:\d+: permission denied \(EACCES\)\n$/,
      );
      await using sender = script("udp/broadcast-send", ["--port", port, "allowed"]);
      expect(await sender.ended()).toBe(0);
      await hear(receiver, "allowed");
    });
  }

  for (const runtime of EVERYWHERE) {
    for (const name of ["broadcast-receive", "multicast-receive"]) {
      test(`${name}: --once ends after one, though three wait, on ${runtime}`, async () => {
        await using receiver = script(`udp/${name}`, ["--port", "0", "--once"], { runtime });
        const port = `${await receiver.port()}`;
        receiver.signal("SIGSTOP");
        await using sender = script(`udp/${name.replace("receive", "send")}`, [
          "--port",
          port,
          "a",
          "b",
          "c",
        ]);
        expect(await sender.ended()).toBe(0);
        receiver.signal("SIGCONT");
        const { code, stdout } = await receiver.result();
        expect([code, stdout.replace(/:\d+/g, "").split("\n").slice(1)]).toEqual([0, ["127.0.0.1 > a", ""]]);
      });
    }
  }

  for (const name of ["broadcast-send", "broadcast-receive"]) {
    test(`${name}: IPv6 has none`, async () => {
      await using program = script(`udp/${name}`, ["--host", "::1"]);
      const { code, stdout, stderr } = await program.result();
      expect([code, stdout]).toEqual([2, ""]);
      expect(stderr).toMatch(
        /^error: ::1: IPv6 has no broadcast, only groups \(EAFNOSUPPORT\)\nhint: .*2\.5.*\n$/,
      );
    });
  }

  test.skipIf(!hasPython)("to and from Python's socket, in GBK (needs python3)", async () => {
    await using receiver = script("udp/broadcast-receive", [
      "--port",
      `${await freePort("udp")}`, // which nobody has at another address: Python takes it at all of them
      ...["--encoding", "gbk", "--once"],
    ]);
    const port = await receiver.port();
    await using python = start([
      "python3",
      "-uc",
      `from socket import *
s = socket(AF_INET, SOCK_DGRAM)
s.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
s.setsockopt(SOL_SOCKET, SO_BROADCAST, 1)
s.bind(("", ${port}))
s.sendto("来自Python".encode("gbk"), ("127.255.255.255", ${port}))
print(s.recv(100).hex())
print(s.recv(100).hex())`,
    ]);
    await hear(receiver, "来自Python");
    expect(await python.next()).toBe("c0b4d7d4507974686f6e");
    await using sender = script("udp/broadcast-send", ["--port", `${port}`, "--encoding", "gbk", "你好"]);
    expect(await sender.ended()).toBe(0);
    expect(await python.next()).toBe("c4e3bac3");
  });
});

/** How many sockets of this machine have joined an IPv4 group on loopback: /proc/net/igmp. */
function members(group: string): number {
  const name = group.split(".").toReversed().map((part) => Number(part).toString(16).padStart(2, "0")).join(
    "",
  );
  const loopback = readFileSync("/proc/net/igmp", "utf8").split(/^(?=\d)/m)
    .find((text) => /^\d+\tlo /.test(text));
  return Number(new RegExp(`${name} +(\\d+)`, "i").exec(loopback ?? "")?.[1] ?? 0);
}

describe.skipIf(!isLinux)("multicast on loopback (needs Linux)", () => {
  for (const [index, runtime] of EVERYWHERE.entries()) {
    test(`join, leave and join again on ${runtime}`, async () => {
      const group = `239.255.77.${index}`;
      const words = ["--group", group, "--port"];
      await using first = script("udp/multicast-receive", [...words, "0"], { runtime });
      const port = `${await first.port()}`;
      await using second = script("udp/multicast-receive", [...words, port]);
      await second.port();
      expect(members(group)).toBe(2);
      const send = async (text: string) => {
        await using sender = script("udp/multicast-send", [...words, port, text], { runtime });
        const { code, stdout, stderr } = await sender.result();
        expect([code, stderr]).toEqual([0, ""]);
        expect(stdout).toMatch(
          new RegExp(`^sent ${text.length} bytes from 127.0.0.1:\\d+ to ${group}:${port}\n$`),
        );
        await hear(second, text);
      };
      await send("both");
      await hear(first, "both");

      first.type("leave\n");
      expect(await first.next()).toBe(`left ${group}`);
      expect(members(group)).toBe(1);
      await send("second only"); // it is still a member: Linux hands this letter to the first one too
      first.type("leave\n");
      expect(await first.next("stderr")).toBe("hint: this program is not in the group: type join, or exit");

      first.type("join\n");
      expect(await first.next()).toBe(`joined ${group}`);
      expect(members(group)).toBe(2);
      await send("exit");
      await hear(first, "exit");
      for (const receiver of [first, second]) expect(await receiver.ended()).toBe(0);
      expect(members(group)).toBe(0);
    });
  }

  test("a receiver goes on when nobody types, and stops on SIGTERM", async () => {
    await using receiver = script("udp/multicast-receive", ["--port", "0", "--group", "239.255.77.9"]);
    const port = `${await receiver.port()}`;
    receiver.type("nonsense\n");
    receiver.endOfInput();
    expect(await receiver.next("stderr")).toBe("hint: this program is in the group: type leave, or exit");
    await using sender = script("udp/multicast-send", [
      "--port",
      port,
      "--group",
      "239.255.77.9",
      "still there?",
    ]);
    expect(await sender.ended()).toBe(0);
    await hear(receiver, "still there?");
    receiver.signal("SIGTERM");
    expect((await receiver.result()).code).toBe(0);
  });

  test.skipIf(!hasPython)("the TTL is the one asked for (needs python3)", async () => {
    await using python = start([
      "python3",
      "-uc",
      `from socket import *
s = socket(AF_INET, SOCK_DGRAM)
s.setsockopt(IPPROTO_IP, 12, 1)  # IP_RECVTTL, linux/in.h
s.bind(("239.255.77.10", 0))
s.setsockopt(IPPROTO_IP, IP_ADD_MEMBERSHIP, inet_aton("239.255.77.10") + inet_aton("127.0.0.1"))
print("listening on", s.getsockname()[1])
while True:
    data, [(_, _, ttl)], _, _ = s.recvmsg(100, 100)
    print(data.decode(), ttl[0])`,
    ]);
    const words = ["--group", "239.255.77.10", "--port", `${await python.port()}`];
    for (const runtime of EVERYWHERE) {
      await using far = script("udp/multicast-send", [...words, "--ttl", "7", "far"], { runtime });
      expect(await far.ended()).toBe(0);
      expect(await python.next()).toBe("far 7");
    }
    await using near = script("udp/multicast-send", [...words, "near"]);
    expect(await near.ended()).toBe(0);
    expect(await python.next()).toBe("near 1");
  });
});

test.skipIf(!hasNamespaces)(
  "with --no-loopback, members on this machine hear nothing of it (needs unshare, ip and veth)",
  async () => {
    // Over a card of its own: what the loopback card sends comes back whatever the option says.
    await using program = startAlone(`
    ip link add v0 type veth peer name v1
    ip addr add 10.9.0.1/24 dev v0
    for card in v0 v1; do ip link set $card up; done
    coproc=$(mktemp -u); mkfifo $coproc
    bun scripts/udp/multicast-receive.ts --interface v0 --once </dev/null >$coproc & receiver=$!
    exec 3<$coproc; rm $coproc
    read ready <&3
    bun scripts/udp/multicast-send.ts --interface v0 --no-loopback unheard >/dev/null
    bun scripts/udp/multicast-send.ts --interface v0 heard >/dev/null
    cat <&3
    wait $receiver`);
    const { code, stdout, stderr } = await program.result();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^10\.9\.0\.1:\d+ > heard\n$/);
  },
);

describe("groups and network cards", () => {
  test("which addresses are groups", () => {
    for (const group of ["224.0.0.1", "239.255.255.255", "230.1.2.3"]) expect(groupFamily(group)).toBe(4);
    for (const group of ["ff02::1", "FF15::8000:1"]) expect(groupFamily(group)).toBe(6);
    const others = [
      "223.255.255.255",
      "240.0.0.1",
      "22.4.0.1",
      "224.1",
      "fe80::1",
      "ff::1",
      "ff02::1%lo",
      "all",
    ];
    for (const other of others) {
      expect(() => groupFamily(other)).toThrow(`--group ${other}: not the address of a group (EINVAL)`);
    }
  });

  test("the card is loopback unless another is named, by name or by address", () => {
    expect(cardFor(undefined, 4)).toBe("127.0.0.1");
    expect(cardFor("127.0.0.1", 4)).toBe("127.0.0.1");
    if (isLinux) expect(cardFor("lo", 4)).toBe("127.0.0.1");
  });

  for (const name of ["multicast-send", "multicast-receive"]) {
    const cases: [string[], number, string][] = [
      [["--group", "10.0.0.1"], 2, "--group 10.0.0.1: not the address of a group (EINVAL)"],
      [
        ["--interface", "nosuch"],
        1,
        "--interface nosuch: no network card, or one without addresses (ENODEV)",
      ],
    ];
    for (const [words, exitCode, message] of cases) {
      test(`${name} ${words.join(" ")}`, async () => {
        await using program = script(`udp/${name}`, words);
        const { code, stdout, stderr } = await program.result();
        expect([code, stdout]).toEqual([exitCode, ""]);
        expect(stderr).toStartWith(`error: ${message}\nhint: `);
      });
    }
  }
});

if (EVERYTHING) {
  describe.skipIf(!hasNamespaces)(
    "three hosts in a private network (needs unshare and ip)",
    () => {
      let network: Network;
      beforeAll(async () => void (network = await privateNetwork(3)));
      afterAll(() => network[Symbol.asyncDispose]());

      for (const group of ["239.255.0.1", "ff12::8000:1", "ff15::8000:1"]) {
        test(`${group}: all hear, and one that has left does not`, async () => {
          const words = ["--group", group, "--interface", "eth0"];
          const receive = (index: number) =>
            on(network.hosts[index], runtimes[index], "multicast-receive", words);
          await using one = receive(0);
          await using two = receive(1);
          await using three = receive(2);
          const all = [one, two, three];
          for (const receiver of all) expect(await receiver.port()).toBe(7790);

          const send = async (index: number, text: string, ...more: string[]) => {
            const sender = on(network.hosts[index], runtimes[index], "multicast-send", [
              ...words,
              ...more,
              text,
            ]);
            await using _ = sender;
            const { code, stderr } = await sender.result();
            expect([code, stderr]).toEqual([0, ""]);
          };
          for (const [index, text] of ["from one", "from two", "from three"].entries()) {
            await send(index, text);
            for (const receiver of all) await hear(receiver, text);
          }

          const hasJoined = async () => {
            const { stdout } = await start([...network.hosts[2], "ip", "maddress", "show", "dev", "eth0"])
              .result();
            return stdout.includes(` ${group}\n`);
          };
          expect(await hasJoined()).toBe(true);
          three.type("leave\n");
          expect(await three.next()).toBe(`left ${group}`);
          expect(await hasJoined()).toBe(false);
          await send(0, "without three");
          for (const receiver of [one, two]) await hear(receiver, "without three");
          await send(1, "not to itself", "--no-loopback");
          await hear(one, "not to itself");
          three.type("join\n");
          expect(await three.next()).toBe(`joined ${group}`);

          await send(0, "exit");
          for (const receiver of all) {
            await hear(receiver, "exit");
            expect(await receiver.ended()).toBe(0);
          }
        });
      }

      test("a broadcast reaches every host", async () => {
        const words = ["--host", "0.0.0.0"];
        const receive = (index: number) =>
          on(network.hosts[index], runtimes[index], "broadcast-receive", words);
        await using one = receive(0);
        await using two = receive(1);
        await using three = receive(2);
        const all = [one, two, three];
        for (const receiver of all) expect(await receiver.port()).toBe(7789);
        for (const [index, text] of ["from one", "from two", "exit"].entries()) {
          const sender = on(network.hosts[index], runtimes[index], "broadcast-send", [
            "--host",
            "10.9.0.255",
            text,
          ]);
          await using _ = sender;
          expect(await sender.ended()).toBe(0);
          for (const receiver of all) await hear(receiver, text);
        }
        for (const receiver of all) expect(await receiver.ended()).toBe(0);
      });

      test("the letters take the card that is named", async () => {
        await using own = await privateNetwork(1);
        const [host] = own.hosts;
        const script = "ip link add near type veth peer name far; ip link set near up; ip link set far up";
        expect(await start([...host, "sh", "-ec", script]).ended()).toBe(0);
        const words = (card: string) => ["--group", "ff12::8000:1", "--interface", card];
        await using onEth0 = on(host, "bun", "multicast-receive", words("eth0"));
        await using onNear = on(host, "bun", "multicast-receive", words("near"));
        await onEth0.port();
        await onNear.port();
        for (const runtime of EVERYWHERE) {
          for (const [card, receiver] of [["near", onNear], ["eth0", onEth0]] as const) {
            await using sender = on(host, runtime, "multicast-send", [
              ...words(card),
              `by ${card} from ${runtime}`,
            ]);
            expect(await sender.ended()).toBe(0);
            await hear(receiver, `by ${card} from ${runtime}`);
          }
        }
      });

      test("a card whose only IPv4 address has a label", async () => {
        await using own = await privateNetwork(1);
        const [host] = own.hosts;
        const script = `ip address delete 10.9.0.1/24 dev eth0
          ip address add 10.9.0.7/24 dev eth0 label eth0:work`;
        expect(await start([...host, "sh", "-ec", script]).ended()).toBe(0);
        for (const runtime of EVERYWHERE) {
          for (const name of ["eth0", "eth0:work", "10.9.0.7"]) {
            const words = ["--interface", name, "--port", "7790"];
            await using receiver = on(host, runtime, "multicast-receive", words);
            expect(await receiver.port()).toBe(7790);
            await using sender = on(host, runtime, "multicast-send", [...words, `by ${name}`]);
            expect(await sender.result()).toMatchObject({ code: 0, stderr: "" });
            expect(await receiver.next()).toMatch(new RegExp(`^10\\.9\\.0\\.7:\\d+ > by ${name}$`));
          }
        }
      });

      test("a machine without any card that is up", async () => {
        const host = ["unshare", "-Urn"];
        for (const runtime of EVERYWHERE) {
          await using program = on(host, runtime, "multicast-receive", []);
          expect(await program.result()).toEqual({
            code: 1,
            stdout: "",
            stderr: "error: the loopback card: no network card, or one without addresses (ENODEV)\n",
          });
        }
      });

      test("a card without addresses, a machine without IPv6, IPv6 over loopback", async () => {
        await using own = await privateNetwork(1);
        const [host] = own.hosts;
        const bare = start([
          ...host,
          "sh",
          "-ec",
          `ip link add bare type veth peer name end
       echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6`,
        ]);
        expect(await bare.result()).toEqual({ code: 0, stdout: "", stderr: "" });
        for (const runtime of EVERYWHERE) {
          const cases: [string[], string][] = [
            [["--interface", "bare"], "--interface bare: no network card, or one without addresses (ENODEV)"],
            [
              ["--interface", "eth0", "--group", "ff12::8000:1"],
              "eth0: a network card without an IPv6 address (EADDRNOTAVAIL)",
            ],
          ];
          for (const [words, message] of cases) {
            await using program = on(host, runtime, "multicast-receive", words);
            const hint = "hint: the cards with addresses are lo, eth0\n";
            expect(await program.result()).toEqual({
              code: 1,
              stdout: "",
              stderr: `error: ${message}\n${hint}`,
            });
          }
          await using sender = on(host, runtime, "multicast-send", ["--group", "ff12::8000:1", "x"]);
          const { code, stdout, stderr } = await sender.result();
          expect([code, stdout]).toEqual([1, ""]);
          expect(stderr).toMatch(
            runtime === "deno"
              ? /^error: send to \[ff12::8000:1\]:7790: .* \(UNKNOWN\)\n$/
              : /^error: send to \[ff12::8000:1\]:7790: network unreachable \(ENETUNREACH\)\n$/,
          );
        }
      });
    },
  );
}
