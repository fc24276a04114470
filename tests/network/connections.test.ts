/** Lesson 1.4, against `ss -Htuan`, in a network of its own, where nothing changes in between. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { CAN_BE_ALONE, startAlone } from "../engine/alone.ts";
import { EVERYWHERE, RUNTIMES, script, start } from "../engine/program.ts";

setDefaultTimeout(60_000); // what hangs is told by program.ts, after 30 s

const HAS_SS = CAN_BE_ALONE && Bun.which("ss") !== null;
const IS_LINUX = process.platform === "linux";

type End = { address: string; port: number };
type Connection = {
  protocol: string;
  family: string;
  state: string;
  local: End;
  remote: End | null;
  programs: { pid: number; name: string }[];
};

/** `tcp ESTAB 0 0 [::1%lo]:80 *:* users:(("bun",pid=7,fd=3))` in one form, ours in the same. */
function ofSs(line: string): string {
  const [protocol, state, , , local, remote, users = ""] = line.split(/\s+/);
  const end = (text: string) => text.replace(/%\w+/, "").replace(/^\*:/, "[::]:");
  const pids = Array.from(users.matchAll(/pid=(\d+)/g), ([, pid]) => pid);
  const known = state.replace("ESTAB", "ESTABLISHED").replace("FIN-WAIT-", "FIN_WAIT").replace("-", "_");
  return [protocol, known, end(local), end(remote), [...new Set(pids)].sort()].join(" ");
}

function ofOurs({ protocol, family, state, local, remote, programs }: Connection): string {
  const end = ({ address, port }: End) =>
    `${family === "IPv6" ? `[${address}]` : address}:${port === 0 ? "*" : port}`;
  const nobody = { address: family === "IPv6" ? "::" : "0.0.0.0", port: 0 };
  return [protocol, state, end(local), end(remote ?? nobody), programs.map(({ pid }) => `${pid}`).sort()]
    .join(" ");
}

test.skipIf(!HAS_SS)(
  "every socket, its ends, its state, its program: as ss has them (needs unshare, ip, ss)",
  async () => {
    const ours = EVERYWHERE.map((runtime) =>
      `${RUNTIMES[runtime].join(" ")} scripts/network/connections.ts --json`
    );
    const look = [
      ...["ss -Htuanp", "echo", "ss -Htulnp", "echo"],
      ...ours.flatMap((command) => [command, `${command} --listening`]).map((c) =>
        `${c} | tr -d '\\n'; echo`
      ),
      "bun scripts/network/connections.ts >/dev/null", // none belongs to others: no hint, also about TIME_WAIT
    ];
    await using program = startAlone(
      // The kernel makes the way to an IPv6 address a moment after the address.
      `ip addr add fd01:203:405:607:809:a0b:c0d:e0f/128 dev lo nodad
     timeout 5 sh -c 'until ip -6 route get fd01:203:405:607:809:a0b:c0d:e0f 2>&1 | grep -q ^local; do :; done'
     # Two programs that share a socket:
     bash -c 'exec 9<>/dev/udp/127.0.0.1/9; sleep 60 & exec sleep 60' >/dev/null 2>&1 &
     timeout 20 sh -c 'until ss -Huanp | grep -q "127.0.0.1:9 .*pid=.*pid="; do :; done'
     exec bun tests/network/sockets.ts "$1"`,
      [look.join("\n")],
    );
    const { code, stdout, stderr } = await program.result();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const [all, listening, json] = stdout.split("\n\n");
    const expected = [all, listening].map((text) => text.split("\n").map(ofSs).sort());
    for (const state of ["LISTEN", "ESTABLISHED", "FIN_WAIT2", "CLOSE_WAIT", "TIME_WAIT", "UNCONN"]) {
      expect(expected[0].join("\n")).toContain(` ${state} `);
    }
    expect(expected[0].join("\n")).toMatch(/\d+,\d+$/m); // of two programs
    const found = json.trim().split("\n").map((line) =>
      (JSON.parse(line) as Connection[]).map(ofOurs).sort()
    );
    expect(found.length).toBe(2 * EVERYWHERE.length);
    for (const [at, sockets] of found.entries()) expect(sockets).toEqual(expected[at % 2]);
  },
);

test.skipIf(!CAN_BE_ALONE)(
  "the name of a program does not drive the terminal (needs unshare and ip)",
  async () => {
    await using program = startAlone(`
    folder=$(mktemp -d)
    mkfifo $folder/ready
    bash -c 'exec -a "$(printf "red\\033[31m\\302\\2332J\\342\\200\\256\\342\\200\\213")" "$0" -e "
      require(\\"net\\").createServer().listen(7890, \\"127.0.0.1\\", () => console.log(\\"ready\\"));
    "' "$(which bun)" > $folder/ready &
    trap "kill $!; rm -r $folder" EXIT
    read ready < $folder/ready
    bun scripts/network/connections.ts
    bun scripts/network/connections.ts --json`);
    const { code, stdout } = await program.result();
    expect(code).toBe(0);
    const name = String.raw`red\x1b[31m\x9b2J\u202e\u200b`;
    expect(stdout.split("\n")[1]).toMatch(/^tcp +LISTEN +127\.0\.0\.1:7890 +\* +\d+\/red/);
    expect(stdout.split("\n")[1]).toEndWith(`/${name}`);
    const [found] = JSON.parse(stdout.slice(stdout.indexOf("[" + "\n"))) as Connection[];
    expect(found.programs[0].name).toBe("red\x1b[31m\x9b2J\u202e\u200b"); // a program gets the name itself
    expect(stdout).not.toMatch(/(?!\n)[\p{Cc}\p{Bidi_Control}\u200b]/u);
  },
);

test.skipIf(!CAN_BE_ALONE)(
  "a program that writes a title over its words keeps its name (needs unshare and ip)",
  async () => {
    const titles = {
      "sshd-session: anna@pts/0": "sshd-session",
      "php-fpm: master process (/etc/php/8.4/fpm/php-fpm.conf)": "php-fpm",
      "nginx: worker process": "nginx",
      "/opt/a folder/bun": "bun",
      "/opt/b/bun --type=gpu --dir=/home/c": "bun",
      "/opt/some where/else": "else",
      "-bash": "-bash",
    };
    const program = (title: string, port: number) => `
      bash -c 'exec -a "$1" "$0" -e "
        require(\\"net\\").createServer().listen(${port}, \\"127.0.0.1\\", () => console.log(\\"ready\\"));
      "' "$(which bun)" '${title}' >> $folder/ready &
      kill="$kill $!"; read ready <&3`;
    const look = EVERYWHERE.map((runtime) =>
      `${RUNTIMES[runtime].join(" ")} scripts/network/connections.ts --json --listening | tr -d '\\n'; echo`
    );
    await using shell = startAlone(`
      folder=$(mktemp -d)
      mkfifo $folder/ready
      exec 3<> $folder/ready
      trap 'kill $kill; rm -r $folder' EXIT
      ${Object.keys(titles).map((title, at) => program(title, 7001 + at)).join("\n")}
      ${look.join("\n")}`);
    const { code, stdout, stderr } = await shell.result();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const found = stdout.trim().split("\n").map((line) =>
      (JSON.parse(line) as Connection[]).map(({ programs }) => programs[0].name)
    );
    expect(found).toEqual(EVERYWHERE.map(() => Object.values(titles)));
  },
);

test.skipIf(!CAN_BE_ALONE)(
  "programs of others are not seen, which a hint tells (needs unshare and ip)",
  async () => {
    await using server = script("tcp/server", ["--port", "0"]);
    const port = await server.port();
    for (const runtime of EVERYWHERE) {
      const words = ["unshare", "-U", ...RUNTIMES[runtime], "scripts/network/connections.ts"];
      await using program = start(words);
      const { code, stdout, stderr } = await program.result();
      expect(code).toBe(0);
      expect(stdout).toMatch(new RegExp(`^tcp +LISTEN +127\\.0\\.0\\.1:${port} +\\*$`, "m"));
      expect(stderr).toMatch(/^hint: \d+ of these belong to programs that you may not see; /);
    }
  },
);

test.skipIf(!CAN_BE_ALONE)("a machine without connections (needs unshare and ip)", async () => {
  await using program = startAlone(
    "bun scripts/network/connections.ts; bun scripts/network/connections.ts --json --listening",
  );
  const { code, stdout, stderr } = await program.result();
  expect({ code, stdout, stderr }).toEqual({
    code: 0,
    stdout: "proto  state  local  remote  program\n[]\n",
    stderr: "",
  });
});

test.skipIf(!CAN_BE_ALONE)("a system without /proc/net (needs unshare and ip)", async () => {
  for (const runtime of EVERYWHERE) {
    const command = `${RUNTIMES[runtime].join(" ")} scripts/network/connections.ts`;
    await using program = startAlone(`mount -t tmpfs none /proc/$$/net\nexec ${command}`);
    const { code, stdout, stderr } = await program.result();
    expect({ runtime, code, stdout, stderr }).toEqual({
      runtime,
      code: 1,
      stdout: "",
      stderr: "error: /proc/net/tcp: only Linux lists its sockets there (ENOENT)\n" +
        "hint: on this system, netstat -an shows them\n",
    });
  }
});

test.skipIf(!IS_LINUX)("a server of the course, with its program (needs Linux)", async () => {
  await using server = script("tcp/server", ["--port", "0", "--host", "::1"]);
  const port = await server.port();
  await using program = script("network/connections", ["--json", "--listening"]);
  const { code, stdout } = await program.result();
  expect(code).toBe(0);
  const found = (JSON.parse(stdout) as Connection[]).filter(({ protocol, local }) =>
    protocol === "tcp" && local.address === "::1" && local.port === port
  );
  expect(found).toEqual([{
    protocol: "tcp",
    family: "IPv6",
    state: "LISTEN",
    local: { address: "::1", port },
    remote: null,
    programs: [{ pid: server.pid, name: "bun" }],
  }]);
});

test("a flag that does not exist, unexpected argument", async () => {
  for (
    const [word, why] of [["--port", "unknown flag"], ["-l", "unknown flag"], ["tcp", "unexpected argument"]]
  ) {
    await using program = script("network/connections", [word]);
    const { code, stdout, stderr } = await program.result();
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toStartWith(`error: ${word}: ${why} (EINVAL)\n`);
  }
});
