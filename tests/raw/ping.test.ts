/** Lesson 5.1: ping, beside iputils' own, in networks that these tests make. (thorough) */
import { expect, setDefaultTimeout, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { CAN_BE_ALONE, startAlone } from "../engine/alone.ts";
import { temporaryFolder } from "../engine/files.ts";
import { EVERYTHING, type Result, script, start } from "../engine/program.ts";

/** What takes long is tested with EVERYTHING. */
const thorough = (canRun: boolean) =>
  EVERYTHING ? test.skipIf(!canRun) : (_name: string, _test: () => Promise<void>) => {};

setDefaultTimeout(60_000);

const HAS_PING = CAN_BE_ALONE && Boolean(Bun.which("ping")) && Bun.which("nft") !== null;
const OURS = "bun scripts/raw/ping.ts";

/** Runs a shell script in a network of its own. */
async function alone(shell: string): Promise<Result> {
  await using program = startAlone(shell);
  return await program.result();
}

/** A program without the rights of root: what CAP_NET_RAW allows, it may not. */
const POWERLESS = "setpriv --bounding-set=-all --inh-caps=-all";

/** The lines of a ping, without what differs from run to run. */
function answers(stdout: string) {
  const lines = stdout.split("\n");
  const at = (shape: RegExp) => lines.flatMap((line) => shape.exec(line)?.slice(1).join(" ") ?? []);
  return {
    answers: at(/^(\d+ bytes from \S+): (icmp_seq=\d+ ttl=\d+) time=[\d.]+ ms$/),
    errors: at(/^(From \S+)(?: \(.*?\))?:? (icmp_seq=.*)$/),
    counts: at(/^(.* packets transmitted, .*), time \d+ms$/),
    times: at(/^rtt .* = ([\d.]+\/[\d.]+\/[\d.]+)\/[\d.]+ ms$/).map((text) => text.split("/").map(Number)),
  };
}

/** The round trips of its answers, in ms, the shortest first. */
const roundTrips = (stdout: string) =>
  [...stdout.matchAll(/ time=([\d.]+) ms$/gm)].map(([, time]) => Number(time)).sort((a, b) => a - b);

test.skipIf(!HAS_PING)(
  "agrees with iputils' ping where 3 of 10 requests are lost (needs unshare, ip, nft, ping)",
  async () => {
    const count = EVERYTHING ? 50 : 20;
    const lossy = `nft "flush ruleset; table inet t { chain c { type filter hook input priority 0;
    icmp type echo-request numgen inc mod 10 < 3 drop; icmpv6 type echo-request numgen inc mod 10 < 3 drop; }; }"`;
    for (const host of EVERYTHING ? ["127.0.0.1", "::1"] : ["127.0.0.1"]) {
      const { stdout, code } = await alone(`
      ${lossy}; ${OURS} ${host} --count ${count} --interval 20 --timeout 500 --size 100
      echo ==; ${lossy}; ping -n -c ${count} -i 0.02 -W 0.5 -s 100 ${host}`);
      expect(code).toBe(0);
      const [ours, theirs] = stdout.split("==\n").map(answers);
      expect(theirs.answers.length).toBe(count * 0.7);
      expect({ ...ours, times: [] }).toEqual({ ...theirs, times: [] });
      expect([ours.times[0].length, theirs.times[0].length]).toEqual([3, 3]);
      // The least and the middle are the network; a busy machine delays some, and with them the average.
      const [one, other] = stdout.split("==\n").map(roundTrips);
      expect(one).toHaveLength(count * 0.7);
      for (const at of [0, Math.floor(count * 0.35)]) expect(Math.abs(one[at] - other[at])).toBeLessThan(2);
      const average = one.reduce((sum, time) => sum + time, 0) / one.length;
      for (const [index, time] of [one[0], average, one.at(-1) as number].entries()) {
        expect(ours.times[0][index]).toBeCloseTo(time, 2);
      }
      expect(stdout.match(/^no answer to icmp_seq=\d+ within 500 ms$/gm)).toHaveLength(count * 0.3);
    }
  },
);

test.skipIf(!HAS_PING)(
  "tells why a request was not delivered, as ping does (needs unshare, ip, nft, ping)",
  async () => {
    const reasons = EVERYTHING
      ? [
        ...["net-unreachable", "host-unreachable", "prot-unreachable", "port-unreachable", "net-prohibited"]
          .map((why) => ({ host: "127.0.0.1", why: `icmp ${why}` })),
        ...["host-prohibited", "admin-prohibited"].map((why) => ({ host: "127.0.0.1", why: `icmp ${why}` })),
        ...["no-route", "admin-prohibited", "addr-unreachable", "port-unreachable"]
          .map((why) => ({ host: "::1", why: `icmpv6 ${why}` })),
      ]
      : [{ host: "127.0.0.1", why: "icmp host-unreachable" }, {
        host: "::1",
        why: "icmpv6 addr-unreachable",
      }];
    const { stdout } = await alone(
      reasons.map(({ host, why }) => `
    nft "flush ruleset; table inet t { chain c { type filter hook input priority 0;
      ${why.split(" ")[0]} type echo-request reject with ${why.replace(" ", " type ")}; }; }"
    ${OURS} ${host} --count 2 --interval 10 || echo ended $?
    echo ==; ping -n -c 2 -i 0.01 ${host} || echo ended $?
    echo ==`).join("\n"),
    );
    const runs = stdout.split("==\n");
    for (const [index, { why }] of reasons.entries()) {
      const [ours, theirs] = runs.slice(2 * index, 2 * index + 2).map(answers);
      expect(theirs.errors, why).toHaveLength(2);
      expect(ours, why).toEqual(theirs);
      expect(runs[2 * index], why).toEndWith("ended 1\n");
    }
  },
);

thorough(HAS_PING)(
  "a host that nobody is: From X, Destination Host Unreachable (needs unshare, ip, ping)",
  async () => {
    const { stdout } = await alone(`
    ip link add v0 type veth peer name v1
    ip address add 10.9.0.1/24 dev v0
    ip link set v0 up
    ip link set v1 up
    echo 100 >/proc/sys/net/ipv4/neigh/v0/retrans_time_ms
    ${OURS} 10.9.0.7 --count 2 --interval 20 || echo ended $?
    echo ==; ping -n -c 2 -i 0.02 10.9.0.7 || echo ended $?`);
    const [ours, theirs] = stdout.split("==\n").map(answers);
    expect(theirs.errors).toEqual(
      [1, 2].map((n) => `From 10.9.0.1 icmp_seq=${n} Destination Host Unreachable`),
    );
    expect(ours).toEqual(theirs);
    expect(stdout.match(/^ended 1$/gm)).toHaveLength(2);
  },
);

test.skipIf(!HAS_PING)(
  "other programs' answers and errors are not ours (needs unshare, ip, nft, ping)",
  async () => {
    // Slower than ours: their sequence numbers are those that we have used. Theirs to 127.0.0.2 are rejected: each error reaches every raw socket, ours too.
    const { stdout } = await alone(`
    nft "table ip t { chain c { type filter hook input priority 0;
      ip daddr 127.0.0.2 icmp type echo-request reject with icmp type host-unreachable; }; }"
    ping -n -q -c 20 -i 0.03 127.0.0.1 >/dev/null &
    ping -n -q -c 20 -i 0.03 127.0.0.2 >/dev/null &
    ${OURS} 127.0.0.1 --count 20 --interval 20
    wait`);
    const { answers: seen, errors, counts } = answers(stdout);
    expect(seen).toEqual(
      Array.from({ length: 20 }, (_, n) => `64 bytes from 127.0.0.1 icmp_seq=${n + 1} ttl=64`),
    );
    expect(errors).toEqual([]);
    expect(counts).toEqual(["20 packets transmitted, 20 received, 0% packet loss"]);
  },
);

thorough(HAS_PING)("an answer that comes twice is told (needs unshare, ip, nft)", async () => {
  const { stdout } = await alone(`
    nft "table netdev t { chain c { type filter hook ingress device lo priority 0;
      icmp type echo-reply meta mark != 7 meta mark set 7 dup to lo; }; }" || echo no dup
    ${OURS} 127.0.0.1 --count 2 --interval 20`);
  if (stdout.startsWith("no dup")) return; // a kernel without it
  expect(stdout.match(/\(DUP!\)$/gm)).toHaveLength(2);
  expect(stdout).toContain("2 packets transmitted, 2 received, +2 duplicates, 0% packet loss");
});

test.skipIf(!CAN_BE_ALONE)(
  "Ctrl-C: the summary, exit 0, or 130 before --count (needs unshare, ip)",
  async () => {
    for (
      const { words, code } of [{ words: "--interval 3600000", code: 0 }, {
        words: "--interval 3600000 --count 1000",
        code: 130,
      }]
    ) {
      await using program = startAlone(`exec ${OURS} 127.0.0.1 ${words}`);
      await program.next();
      expect(await program.next()).toMatch(/^64 bytes from 127\.0\.0\.1: icmp_seq=1 ttl=64 time=/);
      program.signal("SIGINT");
      const result = await program.result();
      expect(result).toMatchObject({ code, stderr: "" });
      expect(result.stdout).toContain(
        "\n--- 127.0.0.1 ping statistics ---\n1 packets transmitted, 1 received, 0%",
      );
    }
  },
);

test.skipIf(!CAN_BE_ALONE)("without the right to a raw socket (needs unshare, ip, setpriv)", async () => {
  const { stdout, stderr } = await alone(`
    ${POWERLESS} ${OURS} 127.0.0.1 || echo ended $?
    ${POWERLESS} ${OURS} ::1 || echo ended $?
    echo 0 0 >/proc/sys/net/ipv4/ping_group_range
    ${POWERLESS} ${OURS} 127.0.0.1 --count 2 --interval 10
    ${POWERLESS} ${OURS} ::1 --count 2 --interval 10`);
  const one = "error: raw socket: needs the capability CAP_NET_RAW (EPERM)\n" +
    "hint: run it as root; or in a network of your own: unshare -Urn; ip link set lo up\n";
  expect(stderr).toBe(one + one);
  expect(stdout).toStartWith(
    "ended 1\nended 1\nPING 127.0.0.1 (127.0.0.1) 56(84) bytes of data.\n64 bytes from 127",
  );
  expect(answers(stdout).answers).toEqual(
    ["127.0.0.1", "127.0.0.1", "::1", "::1"].map((host, index) =>
      `64 bytes from ${host} icmp_seq=${index % 2 + 1} ttl=64`
    ),
  );
});

test.skipIf(!CAN_BE_ALONE)("what cannot be sent: one line (needs unshare, ip)", async () => {
  const { stdout, stderr } = await alone(`
    ${OURS} 192.0.2.1 || echo ended $?
    ${OURS} 127.255.255.255 || echo ended $?
    ${OURS} no.such.invalid || echo ended $?
    ${OURS} 127.0.0.1 --size 65508 || echo ended $?
    ${OURS} || echo ended $?`);
  expect(stdout.match(/^ended \d$/gm)).toEqual(["ended 1", "ended 1", "ended 1", "ended 2", "ended 2"]);
  const errors = stderr.match(/^error: .*$/gm);
  expect(errors).toHaveLength(5);
  expect(errors?.[0]).toBe("error: ping 192.0.2.1: network unreachable (ENETUNREACH)");
  expect(errors?.[1]).toBe("error: ping 127.255.255.255: permission denied (EACCES)");
});

thorough(CAN_BE_ALONE)(
  "a network that goes down while it is pinged ends nothing (needs unshare, ip)",
  async () => {
    const { code, stdout, stderr } = await alone(`
    ip link add v0 type veth peer name v1
    ip address add 10.9.0.1/24 dev v0
    ip link set v0 up
    ip link set v1 up
    said=$(mktemp)
    ${OURS} 10.9.0.7 --count 12 --interval 300 --timeout 100 >$said & pid=$!
    until grep -q "no answer" $said; do sleep 0.02; done
    ip link set v0 down; wait $pid || code=$?
    cat $said; rm $said; exit $code`);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^(error: ping 10\.9\.0\.7: network unreachable \(ENETUNREACH\)\n)+$/);
    const errors = stderr.split("\n").length - 1;
    expect(stdout).toContain(
      `\n12 packets transmitted, 0 received, +${errors} errors, 100% packet loss, time `,
    );
  },
);

test("on another system than Linux: one line", async () => {
  await using folder = temporaryFolder();
  const macOS = folder.at("macOS.ts");
  writeFileSync(macOS, 'Object.defineProperty(process, "platform", { value: "darwin" });');
  await using program = start(["bun", "--preload", macOS, "scripts/raw/ping.ts", "127.0.0.1"]);
  const stderr = "error: raw sockets: this lesson knows only those of Linux (ENOSYS)\n";
  expect(await program.result()).toEqual({ code: 1, stdout: "", stderr });
});

for (const runtime of EVERYTHING ? ["node", "deno"] as const : []) { // make matrix sees it, too
  test(`on ${runtime}: one line`, async () => {
    await using program = script("raw/ping", ["127.0.0.1"], { runtime });
    expect(await program.result()).toEqual({
      code: 1,
      stdout: "",
      stderr: "error: bun:ffi: only Bun has it (ENOSYS)\n",
    });
  });
}
