/** Real counterparts: nc, socat, telnet and the Python originals at the other end of our lessons, byte for byte. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Decoder, encode } from "../../lib/text.ts";
import { EVERYTHING, type Program, ROOT, script, start } from "../engine/program.ts";
import { freePort, inTime, until } from "../engine/sockets.ts";
import { temporaryFolder } from "../engine/files.ts";

setDefaultTimeout(60_000); // what waits in a test says itself for what it waited too long

/** A text, and its bytes in both encodings: 丂 has an ASCII byte in GBK. */
const TEXT = "你好，丂 ok！";
const BYTES = {
  "utf-8": "e4bda0e5a5bdefbc8ce4b882206f6befbc81",
  gbk: "c4e3bac3a3ac8140206f6ba3a1",
};
const REPLY = "ok, Processing Request Completion！";
const ENCODINGS = ["utf-8", "gbk"] as const;

const TIME = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}$/;

/** Bytes of all values, more than any buffer on the way holds at once. */
const FILE = Buffer.from(Array.from({ length: 500_000 }, (_, index) => (index * index) >> 3 & 255));

const needs = (tool: string) => (Bun.which(tool) ? "" : ` (needs ${tool})`);
/** Pipes bytes through a program, as a shell does, and gives what it printed. */
async function pipe(words: string[], input: string | Uint8Array): Promise<Buffer> {
  await using folder = await temporaryFolder();
  await writeFile(join(folder.path, "in"), input);
  await using program = start(["sh", "-c", 'exec "$@" <in >out', "sh", ...words], { cwd: folder.path });
  expect(await program.result()).toMatchObject({ code: 0, stdout: "" });
  return await readFile(join(folder.path, "out"));
}

/** Waits until a program says on stderr where it listens: `nc -v`, `socat -d -d`. */
async function heard(program: Program): Promise<string> {
  while (true) {
    const line = await program.next("stderr");
    const port = /(?:Listening|Bound|listening|receiving) on .*?\b(\d+)$/.exec(line ?? "")?.[1];
    if (port !== undefined) return port;
    if (line === undefined) throw new Error("ended before it listened");
  }
}

/** Waits until a file has come to its length. */
async function contents(path: string, length: number): Promise<Buffer> {
  const read = async () => {
    while (true) {
      if ((await stat(path)).size >= length) return await readFile(path);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  return await inTime(read(), path);
}

const NC = (port: number) => ["nc", "-N", "127.0.0.1", `${port}`];
const SOCAT = (port: number) => ["socat", "-t", "5", "-", `TCP:127.0.0.1:${port}`];

describe("clients of our TCP servers", () => {
  for (const [tool, words] of EVERYTHING ? [["nc", NC], ["socat", SOCAT]] as const : [["nc", NC]] as const) {
    for (const encoding of ENCODINGS) {
      const bytes = Buffer.from(BYTES[encoding], "hex");
      for (const server of ["tcp/server", "tcp/many-clients-server", "tcp/many-requests-server"]) {
        test.skipIf(!Bun.which(tool))(`${tool} and ${server}, ${encoding}${needs(tool)}`, async () => {
          const flags = ["--port", "0", "--encoding", encoding, "--reply", TEXT];
          await using program = script(server, flags);
          const port = await program.port();
          expect((await pipe(words(port), bytes)).toString("hex")).toBe(BYTES[encoding]);
          program.signal("SIGINT");
          const { code, stdout, stderr } = await program.result();
          expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
          expect(stdout).toMatch(RegExp(`^listening .*\n\\S+ connected\n\\S+ > ${TEXT}\n(\\S+ hung up\n)?$`));
        });
      }
    }

    test.skipIf(!Bun.which(tool))(`${tool} and tcp/time-server${needs(tool)}`, async () => {
      await using program = script("tcp/time-server", ["--port", "0"]);
      const port = await program.port();
      const time = String(await pipe(words(port), ""));
      expect(time).toMatch(TIME);
      expect(await program.next()).toStartWith(`${time} to 127.0.0.1:`);
    });

    test.skipIf(!Bun.which(tool))(`${tool} and apps/download-basic-server${needs(tool)}`, async () => {
      await using folder = await temporaryFolder();
      await writeFile(join(folder.path, "图片.png"), FILE);
      await using program = script("apps/download-basic-server", ["--port", "0", "--root", folder.path]);
      const port = await program.port();
      expect(FILE.equals(await pipe(words(port), "图片.png"))).toBe(true);
      expect(FILE.equals(await pipe(words(port), "图片.png\n"))).toBe(true);
      expect(String(await pipe(words(port), "none"))).toBe("");
    });
  }

  const greeting = "Trying 127.0.0.1...\nConnected to 127.0.0.1.\nEscape character is '^]'.\n";

  for (const server of ["tcp/server", "tcp/many-clients-server"]) {
    test.skipIf(!Bun.which("telnet"))(`telnet and ${server}${needs("telnet")}`, async () => {
      await using program = script(server, ["--port", "0"]);
      await using telnet = start(["telnet", "127.0.0.1", `${await program.port()}`]);
      expect(await program.next()).toMatch(/ connected$/);
      telnet.type("你好\n");
      expect(await program.next()).toEndWith(" > 你好\\r\\n");
      expect((await telnet.result()).stdout).toBe(`${greeting}${REPLY}`);
    });
  }

  test.skipIf(!Bun.which("telnet"))(`telnet and tcp/many-requests-server${needs("telnet")}`, async () => {
    await using program = script("tcp/many-requests-server", ["--port", "0", "--reply", "好的"]);
    await using telnet = start(["telnet", "127.0.0.1", `${await program.port()}`]);
    expect(await program.next()).toMatch(/ connected$/);
    for (const line of ["你好", "再见"]) {
      telnet.type(`${line}\n`);
      expect(await program.next()).toEndWith(` > ${line}\\r\\n`);
    }
    // If it left with an answer unread, the server would rightly tell of a reset (RFC 1122, section 4.2.2.13).
    await until(() => telnet.unfinished() === "好的好的", "both answers");
    telnet.endOfInput();
    expect(await program.next()).toMatch(/ hung up$/);
    expect((await telnet.result()).stdout).toBe(`${greeting}好的好的`);
  });

  test.skipIf(!Bun.which("telnet"))(`telnet and tcp/time-server${needs("telnet")}`, async () => {
    await using program = script("tcp/time-server", ["--port", "0"]);
    await using telnet = start(["telnet", "127.0.0.1", `${await program.port()}`]);
    const { stdout } = await telnet.result();
    expect(stdout).toStartWith(greeting);
    const time = stdout.slice(greeting.length);
    expect(time).toMatch(TIME);
    expect(await program.next()).toStartWith(`${time} to 127.0.0.1:`);
  });
});

/** Servers of one call: they send the file `say`, and write what they hear to `heard`. */
const SERVERS = {
  nc: "exec nc -N -lvn 127.0.0.1 0 <say >heard",
  socat: "exec socat -d -d -t 5 TCP-LISTEN:0,bind=127.0.0.1 - <say >heard",
};

describe("servers for our TCP clients", () => {
  for (const tool of EVERYTHING ? ["nc", "socat"] as const : ["socat"] as const) {
    for (const encoding of ENCODINGS) {
      for (
        const [client, typed, seen] of [
          ["tcp/client", `${TEXT}\n`, BYTES[encoding]],
          ["tcp/dialog-client", `${TEXT}\n`, BYTES[encoding]],
          ["tcp/time-client", "", ""],
        ]
      ) {
        test.skipIf(!Bun.which(tool))(`${tool} and ${client}, ${encoding}${needs(tool)}`, async () => {
          await using folder = await temporaryFolder();
          await writeFile(join(folder.path, "say"), Buffer.from(BYTES[encoding], "hex"));
          await using server = start(["sh", "-c", SERVERS[tool]], { cwd: folder.path });
          const port = await heard(server);
          await using program = script(client, ["--port", port, "--encoding", encoding]);
          program.type(typed);
          expect(await program.next()).toBe(TEXT);
          program.endOfInput();
          expect(await program.ended()).toBeOneOf(client === "tcp/dialog-client" ? [0, 1] : [0]);
          expect(await server.ended()).toBe(0);
          expect((await readFile(join(folder.path, "heard"))).toString("hex")).toBe(seen);
        });
      }
    }

    test.skipIf(!Bun.which(tool))(`${tool} and apps/download-basic-client${needs(tool)}`, async () => {
      await using folder = await temporaryFolder();
      await writeFile(join(folder.path, "say"), FILE);
      await using server = start(["sh", "-c", SERVERS[tool]], { cwd: folder.path });
      const words = ["--port", await heard(server), "图片.png"];
      await using program = script("apps/download-basic-client", words, { cwd: folder.path });
      expect(await program.result()).toEqual({
        code: 0,
        stdout: "saved 500000 bytes as copy-图片.png\n",
        stderr: "",
      });
      expect(FILE.equals(await readFile(join(folder.path, "copy-图片.png")))).toBe(true);
      expect(await server.ended()).toBe(0);
      expect(await readFile(join(folder.path, "heard"), "utf8")).toBe("图片.png");
    });
  }
});

describe("UDP", () => {
  for (const encoding of ENCODINGS) {
    const bytes = Buffer.from(BYTES[encoding], "hex");
    for (
      const [tool, words] of [
        ["nc", (port: number) => ["nc", "-u", "-q", "0", "127.0.0.1", `${port}`]],
        ["socat", (port: number) => ["socat", "-u", "-", `UDP-SENDTO:127.0.0.1:${port}`]],
      ] as const
    ) {
      test.skipIf(!Bun.which(tool))(`${tool} to udp/receive, ${encoding}${needs(tool)}`, async () => {
        await using program = script("udp/receive", ["--port", "0", "--once", "--encoding", encoding]);
        expect(String(await pipe(words(await program.port()), bytes))).toBe("");
        const { code, stdout, stderr } = await program.result();
        expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
        expect(stdout.split("\n")[1]).toMatch(RegExp(`^127\\.0\\.0\\.1:\\d+ > ${TEXT}$`));
      });
    }

    for (
      const [tool, command] of [
        ["nc", (_: number) => "exec nc -lvnu 127.0.0.1 0 >heard"],
        ["socat", (port: number) => `exec socat -d -d -u UDP-RECV:${port},bind=127.0.0.1 OPEN:heard,creat`],
      ] as const
    ) {
      test.skipIf(!Bun.which(tool))(`udp/send to ${tool}, ${encoding}${needs(tool)}`, async () => {
        await using folder = await temporaryFolder();
        const free = await freePort("udp");
        await using receiver = start(["sh", "-c", command(free)], { cwd: folder.path });
        const port = tool === "nc" ? await heard(receiver) : `${free}`;
        if (tool === "socat") {
          while (!(await receiver.next("stderr"))?.includes("starting data transfer"));
        }
        await using program = script("udp/send", ["--port", port, "--encoding", encoding, TEXT]);
        expect((await program.result()).stdout).toStartWith(`sent ${bytes.length} bytes from 127.0.0.1:`);
        expect((await contents(join(folder.path, "heard"), bytes.length)).toString("hex")).toBe(
          BYTES[encoding],
        );
      });
    }
  }

  test.skipIf(!Bun.which("nc"))(`nc and udp/echo-server${needs("nc")}`, async () => {
    await using program = script("udp/echo-server", ["--port", "0"]);
    await using nc = start(["nc", "-u", "127.0.0.1", `${await program.port()}`]);
    for (const line of [TEXT, "再见"]) {
      nc.type(`${line}\n`);
      expect(await nc.next()).toBe(line);
      expect(await program.next()).toEndWith(` > ${line}\\n`);
    }
  });

  test.skipIf(!Bun.which("socat"))(`udp/echo-client and socat${needs("socat")}`, async () => {
    const port = await freePort("udp");
    await using socat = start(["socat", "-d", "-d", `UDP-RECVFROM:${port},bind=127.0.0.1,fork`, "PIPE"]);
    await heard(socat);
    await using program = script("udp/echo-client", ["--port", `${port}`, "--timeout", "20000"]);
    for (const line of [TEXT, "再见"]) {
      program.type(`${line}\n`);
      expect(await program.next()).toBe(line);
    }
    program.endOfInput();
    expect((await program.result()).code).toBe(0);
  });
});

/** Starts one of the Python originals. */
function python(name: string, port: number, encoding: string, cwd?: string): Program {
  const words = [join(ROOT, "tests", "python", `${name}.py`), `${port}`, encoding];
  return start(["python3", ...words], { cwd, env: { PYTHONUTF8: "1" } });
}

/** What a Python original prints of a text: its bytes, and what it reads in them. */
const shown = (encoding: keyof typeof BYTES) => `${BYTES[encoding]} = ${TEXT}`;

const REPLY_SHOWN = {
  "utf-8": `${Buffer.from(REPLY).toString("hex")} = ${REPLY}`,
  gbk: `${Buffer.from(REPLY.slice(0, -1)).toString("hex")}a3a1 = ${REPLY}`,
};

// The bare programs speak UTF-8 with them in any run: see bare.test.ts.
for (const encoding of EVERYTHING ? ENCODINGS : ["gbk"] as const) {
  describe.skipIf(!Bun.which("python3"))(`the Python originals, ${encoding}${needs("python3")}`, () => {
    const flags = (port: number) => ["--port", `${port}`, "--encoding", encoding];

    test("udp_send.py to udp/receive", async () => {
      await using ours = script("udp/receive", flags(0));
      await using theirs = python("udp_send", await ours.port(), encoding);
      theirs.type(`${TEXT}\nexit\n`);
      expect(await ours.next()).toMatch(RegExp(`^127\\.0\\.0\\.1:\\d+ > ${TEXT}$`));
      expect(await ours.next()).toEndWith(" > exit");
      expect([await ours.ended(), await theirs.ended()]).toEqual([0, 0]);
    });

    test("udp/send to udp_receive.py", async () => {
      await using theirs = python("udp_receive", 0, encoding);
      await using ours = script("udp/send", [...flags(await theirs.port()), TEXT, "exit"]);
      const from = /from (\S+) to/.exec((await ours.result()).stdout)?.[1];
      expect(await theirs.next()).toBe(`${from} > ${shown(encoding)}`);
      expect(await theirs.next()).toBe(`${from} > 65786974 = exit`);
      expect(await theirs.ended()).toBe(0);
    });

    test("udp_echo_client.py and udp/echo-server", async () => {
      await using ours = script("udp/echo-server", flags(0));
      await using theirs = python("udp_echo_client", await ours.port(), encoding);
      theirs.type(`${TEXT}\nexit\n`);
      expect(await theirs.next()).toBe(shown(encoding));
      expect(await ours.next()).toEndWith(` > ${TEXT}`);
      expect(await theirs.ended()).toBe(0);
    });

    test("udp/echo-client and udp_echo_server.py", async () => {
      await using theirs = python("udp_echo_server", 0, encoding);
      await using ours = script("udp/echo-client", [...flags(await theirs.port()), "--timeout", "20000"]);
      ours.type(`${TEXT}\nexit\n`);
      expect(await ours.result()).toEqual({ code: 0, stdout: `${TEXT}\n`, stderr: "" });
      expect(await theirs.next()).toBe(shown(encoding));
    });

    for (const server of ["tcp/server", "tcp/many-clients-server", "tcp/many-requests-server"]) {
      test(`tcp_client.py and ${server}`, async () => {
        await using ours = script(server, flags(0));
        await using theirs = python("tcp_client", await ours.port(), encoding);
        theirs.type(`${TEXT}\n`);
        expect(await theirs.next()).toBe(REPLY_SHOWN[encoding]);
        expect(await ours.next()).toMatch(/ connected$/);
        expect(await ours.next()).toEndWith(` > ${TEXT}`);
        expect(await theirs.ended()).toBe(0);
      });
    }

    test("tcp/client and tcp_server.py", async () => {
      await using theirs = python("tcp_server", 0, encoding);
      await using ours = script("tcp/client", [...flags(await theirs.port()), TEXT]);
      expect(await ours.result()).toEqual({ code: 0, stdout: `${REPLY}\n`, stderr: "" });
      expect(await theirs.next()).toBe(shown(encoding));
      expect(await theirs.ended()).toBe(0);
    });

    test("tcp_dialog_client.py and tcp/many-requests-server", async () => {
      await using ours = script("tcp/many-requests-server", flags(0));
      await using theirs = python("tcp_dialog_client", await ours.port(), encoding);
      for (const text of [TEXT, "exit"]) {
        theirs.type(`${text}\n`);
        expect(await theirs.next()).toBe(REPLY_SHOWN[encoding]);
      }
      expect(await theirs.ended()).toBe(0);
      for (const line of [/ connected$/, RegExp(` > ${TEXT}$`), / > exit$/, / hung up$/]) {
        expect(await ours.next()).toMatch(line);
      }
    });

    for (const client of ["tcp/dialog-client", "tcp/client"]) {
      test(`${client} and tcp_many_requests_server.py`, async () => {
        await using theirs = python("tcp_many_requests_server", 0, encoding);
        await using ours = script(client, flags(await theirs.port()));
        ours.type(`${TEXT}\n`);
        expect(await ours.next()).toBe(REPLY);
        ours.type("exit\n");
        expect(await ours.ended()).toBe(0);
        expect(await theirs.next()).toBe(shown(encoding));
        if (client === "tcp/dialog-client") expect(await theirs.next()).toBe("65786974 = exit");
        expect(await theirs.next()).toBe("hung up");
      });
    }

    test("date_client.py and tcp/time-server", async () => {
      await using ours = script("tcp/time-server", flags(0));
      await using theirs = python("date_client", await ours.port(), encoding);
      const { code, stdout, stderr } = await theirs.result();
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(await ours.next()).toStartWith(stdout.trimEnd());
    });

    test("tcp/time-client and date_server.py", async () => {
      await using theirs = python("date_server", 0, encoding);
      await using ours = script("tcp/time-client", flags(await theirs.port()));
      const { code, stdout, stderr } = await ours.result();
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(await theirs.next()).toBe(stdout.trimEnd());
    });

    test("download_client.py and apps/download-basic-server", async () => {
      await using folder = await temporaryFolder();
      const root = join(folder.path, "root");
      await mkdir(root);
      await writeFile(join(root, "图片.png"), FILE);
      await using ours = script("apps/download-basic-server", [...flags(0), "--root", root]);
      const port = await ours.port();
      await using theirs = python("download_client", port, encoding, folder.path);
      theirs.type("图片.png\n");
      expect(await theirs.result()).toEqual({ code: 0, stdout: "", stderr: "" });
      expect(FILE.equals(await readFile(join(folder.path, "copy-图片.png")))).toBe(true);
      await using vain = python("download_client", port, encoding, folder.path);
      vain.type("没有.png\n");
      expect(await vain.result()).toEqual({ code: 0, stdout: "nothing came\n", stderr: "" });
    });

    test("apps/download-basic-client and download_server.py", async () => {
      await using folder = await temporaryFolder();
      await writeFile(join(folder.path, "图片.png"), FILE);
      await using theirs = python("download_server", 0, encoding, folder.path);
      const port = await theirs.port();
      const cwd = folder.path;
      await using ours = script("apps/download-basic-client", [...flags(port), "图片.png"], { cwd });
      expect(await ours.result()).toEqual({
        code: 0,
        stdout: "saved 500000 bytes as copy-图片.png\n",
        stderr: "",
      });
      expect(FILE.equals(await readFile(join(folder.path, "copy-图片.png")))).toBe(true);
      await using vain = script("apps/download-basic-client", [...flags(port), "没有.png"], { cwd });
      expect(await vain.result()).toEqual({
        code: 1,
        stdout: "",
        stderr: "error: 没有.png: nothing came: no such file, or an empty one (ENODATA)\n",
      });
    });
  });
}

test.skipIf(!Bun.which("python3"))(
  `GBK is Python's GBK, for every character of the BMP, both ways${needs("python3")}`,
  async () => {
    await using program = start(["python3", join(ROOT, "tests", "python", "gbk_table.py")]);
    const { code, stdout } = await program.result();
    expect(code).toBe(0);
    const theirs = new Map(stdout.trimEnd().split("\n").map((row) => row.split(" ") as [string, string]));
    expect(theirs.size).toBe(21_919); // 128 of one byte, 21,791 of two
    const decoder = new Decoder("gbk");
    const wrong: string[] = [];
    for (let point = 0; point < 0x10000; point++) {
      const character = String.fromCharCode(point);
      const expected = theirs.get(`${point}`) ?? "refused";
      let ours: string;
      try {
        ours = encode(character, "gbk").toString("hex");
      } catch (error) {
        ours = (error as { code: string }).code === "EILSEQ" ? "refused" : `${error}`;
      }
      const back = ours === "refused" || decoder.decode(Buffer.from(ours, "hex"), "the table") === character;
      if (ours !== expected || !back) wrong.push(`U+${point.toString(16)}: ${ours}, but Python: ${expected}`);
    }
    expect(wrong).toEqual([]);
  },
);
