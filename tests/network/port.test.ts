/** Lesson 1.3, against `getent services`, and ports that the test holds. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { CAN_BE_ALONE, startAlone } from "../engine/alone.ts";
import { EVERYWHERE, type Runtime, RUNTIMES, script } from "../engine/program.ts";

setDefaultTimeout(60_000); // what hangs is told by program.ts, after 30 s

type Answer = {
  port: number;
  range: string;
  services: { name: string; protocol: string; aliases: string[] }[];
  tcp: string;
  udp: string;
};

async function ask(words: string[], runtime: Runtime = "bun") {
  await using program = script("network/port", ["--json", ...words], { runtime, limit: 30_000 });
  const { code, stdout, stderr } = await program.result();
  return { code, stderr, answers: JSON.parse(stdout) as Answer[] };
}

test("the three ranges of RFC 6335, at their edges", async () => {
  const { code, stderr, answers } = await ask(["0", "1023", "1024", "49151", "49152", "65535"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(answers.map(({ port, range }) => [port, range])).toEqual([
    [0, "well-known"],
    [1023, "well-known"],
    [1024, "registered"],
    [49151, "registered"],
    [49152, "dynamic"],
    [65535, "dynamic"],
  ]);
});

/** What the system itself reads out of /etc/services: `http   80/tcp www`. */
const GETENT = (spawnSync("getent", ["services"], { encoding: "utf8" }).stdout ?? "").split("\n")
  .map((line) => line.split(/\s+|\//))
  .filter(([, , protocol]) => protocol === "tcp" || protocol === "udp")
  .map(([name, port, protocol, ...aliases]) => ({ name, port: Number(port), protocol, aliases }));

test.skipIf(GETENT.length === 0)(
  "services by port, as getent has them (needs getent and netbase)",
  async () => {
    const ports = [...new Set(GETENT.map(({ port }) => port))].slice(0, 100);
    const { code, stderr, answers } = await ask(ports.map(String));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(answers.length).toBe(ports.length);
    for (const { port, services } of answers) {
      const expected = GETENT.filter((service) => service.port === port);
      expect(services).toEqual(expected.map(({ name, protocol, aliases }) => ({ name, protocol, aliases })));
    }
  },
);

test.skipIf(GETENT.length === 0)("ports by service, and by alias (needs getent and netbase)", async () => {
  const words = [...new Set(GETENT.flatMap(({ name, aliases }) => [name, ...aliases]))].slice(0, 100);
  const { code, answers } = await ask(words);
  expect(code).toBe(0);
  const expected = words.flatMap((word) => {
    const found = GETENT.filter(({ name, aliases }) => [name, ...aliases].includes(word));
    return [...new Set(found.map(({ port }) => port))]; // dicom, say, has two
  });
  expect(answers.map(({ port }) => port)).toEqual(expected);
});

for (const runtime of EVERYWHERE) {
  test(`a port that is held is taken, on ${runtime}`, async () => {
    for (const host of ["127.0.0.1", "::"]) {
      await using server = createServer();
      server.listen({ host, port: 0 });
      await once(server, "listening");
      await using socket = createSocket(host.includes(":") ? "udp6" : "udp4");
      socket.bind(0, host);
      await once(socket, "listening");
      const tcp = (server.address() as AddressInfo).port;
      const udp = socket.address().port;
      const { code, stderr, answers } = await ask([`${tcp}`, `${udp}`], runtime);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect([host, answers[0].tcp, answers[1].udp]).toEqual([host, "taken", "taken"]);
    }
  });

  test.skipIf(!CAN_BE_ALONE)(
    `without the privilege, without IPv6, without /etc/services, on ${runtime} (needs unshare and ip)`,
    async () => {
      const command = `${RUNTIMES[runtime].join(" ")} scripts/network/port.ts --json`;
      await using program = startAlone(`
        one() { "$@" | tr -d '\\n'; echo; }
        one unshare -U ${command} 443 1023 61234
        echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6
        one ${command} 443
        mount -t tmpfs none /etc
        one ${command} https DOMAIN`);
      const { code, stdout, stderr } = await program.result();
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      const [unprivileged, withoutIPv6, withoutServices] = stdout.trim().split("\n").map((line) =>
        (JSON.parse(line) as Answer[]).map(({ port, tcp, udp }) => [port, tcp, udp])
      );
      expect(unprivileged).toEqual([
        [443, "forbidden", "forbidden"],
        [1023, "forbidden", "forbidden"],
        [61234, "free", "free"],
      ]);
      expect(withoutIPv6).toEqual([[443, "free", "free"]]);
      expect(withoutServices).toEqual([[443, "free", "free"], [53, "free", "free"]]);
    },
  );
}

test.skipIf(!CAN_BE_ALONE)(
  "each protocol has ports of its own, in IPv4 and IPv6 (needs unshare and ip)",
  async () => {
    const words = "7001 7002 7003 7004 8001 8002 8003 8004 9001";
    const look = EVERYWHERE.map((runtime) =>
      `${RUNTIMES[runtime].join(" ")} scripts/network/port.ts --json ${words} | tr -d '\\n'; echo`
    );
    await using program = startAlone('exec bun tests/network/hold.ts "$1"', [look.join("\n")]);
    const { code, stdout, stderr } = await program.result();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const found = stdout.trim().split("\n").map((line) => JSON.parse(line) as Answer[]);
    expect(found.length).toBe(EVERYWHERE.length);
    for (const answers of found) {
      const states = Object.fromEntries(answers.map(({ port, tcp, udp }) => [port, `${tcp} ${udp}`]));
      const [tcp, udp] = ["taken free", "free taken"];
      expect(states).toEqual({
        ...{ 7001: tcp, 7002: tcp, 7003: tcp, 7004: tcp },
        ...{ 8001: udp, 8002: udp, 8003: udp, 8004: udp },
        9001: "free free",
      });
    }
  },
);

test.skipIf(!CAN_BE_ALONE)(
  "without words: a port of the system's choice, twice (needs unshare and ip)",
  async () => {
    for (const runtime of EVERYWHERE) {
      const command = `${RUNTIMES[runtime].join(" ")} scripts/network/port.ts`;
      await using program = startAlone(`${command}; ${command} --json`);
      const { code, stdout, stderr } = await program.result();
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      const name = /127\.0\.0\.1:\d+/.exec(stdout)?.[0];
      const text = [
        `asked for port 0: the system gave tcp ${name}\n`,
        `bound tcp ${name} a second time: address already in use (EADDRINUSE)\n`,
        `udp ${name} is free: TCP and UDP have ports of their own\n`,
        `closed tcp ${name}: it is free\n`,
      ].join("");
      expect(stdout.slice(0, text.length)).toBe(text);
      const document = JSON.parse(stdout.slice(text.length));
      expect(document.port).toBeGreaterThan(1023);
      const rest = { address: "127.0.0.1", second: "EADDRINUSE", udp: "free", closed: "free" };
      expect(document).toEqual({ ...rest, port: document.port });
    }
  },
);

test("what a person reads", async () => {
  await using server = createServer().listen({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await using program = script("network/port", [`${port}`, "61235"]);
  const { code, stdout, stderr } = await program.result();
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const lines = stdout.split("\n");
  expect(lines[0]).toBe(`${port}`);
  expect(lines[3]).toBe("  tcp      taken (EADDRINUSE)");
  expect(lines.slice(5, 10)).toEqual([
    "61235",
    "  range    dynamic (49152-65535): for clients and private use; not registered",
    "  service  none",
    "  tcp      free",
    "  udp      free",
  ]);
});

test("wrong ports, unknown services: each is told, and the others are answered", async () => {
  const wrong = ["65536", "99999999999999999999", "1.5", "1-1024", ""];
  for (const runtime of EVERYWHERE) {
    const { code, stderr, answers } = await ask([...wrong, "61235"], runtime);
    expect(stderr).toBe(
      wrong.map((word) => `error: ${word || '""'}: a port is a whole number from 0 to 65535 (EINVAL)\n`)
        .join(""),
    );
    expect(answers.map(({ port }) => port)).toEqual([61235]);
    expect(code).toBe(2);
  }
  const unknown = await ask(["no-such-service", "http\x1b[31m"]);
  expect(unknown.code).toBe(1);
  expect(unknown.answers).toEqual([]);
  const hint = "hint: a service has a name such as http, a port a number from 0 to 65535\n";
  expect(unknown.stderr).toBe(
    `error: no-such-service: no service that this system knows (ENOENT)\n${hint}` +
      `error: http\\x1b[31m: no service that this system knows (ENOENT)\n${hint}`,
  );
  expect((await ask(["70000", "no-such-service"])).code).toBe(2);
});
