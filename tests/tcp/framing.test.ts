/** Lesson 3.6: messages arrive exactly, whatever cuts the stream; and what a hostile peer may send. */
import { expect, test } from "bun:test";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { LIMIT } from "../../lib/framing.ts";
import { encode, type Encoding } from "../../lib/text.ts";
import { EVERYTHING, EVERYWHERE, type Program, type Runtime, script, start } from "../engine/program.ts";

const hasPython = Bun.which("python3") !== null;

const server = (words: string[], runtime?: Runtime) =>
  script("tcp/framing-server", [...words, "--port", "0"], { runtime });
const client = (words: string[], runtime?: Runtime) => script("tcp/framing-client", words, { runtime });

/** Connects, sends, and waits until the server has closed. */
async function call(port: number, bytes: Uint8Array): Promise<"closed" | string> {
  const socket = connect({ host: "127.0.0.1", port });
  socket.resume();
  socket.end(bytes);
  try {
    await once(socket, "close");
    return "closed";
  } catch (error) {
    return (error as { code: string }).code;
  }
}

/** The next line of a server, with its caller's port left out. */
async function next(program: Program, stream?: "stderr"): Promise<string | undefined> {
  return (await program.next(stream))?.replace(/127\.0\.0\.1:\d+/, "CALLER");
}

/** A header of the length framing. */
function header(length: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(length);
  return bytes;
}

/** 1,000 texts of 0 to 70,000 bytes. */
function thousand(encoding: Encoding): string[] {
  let state = 7;
  const random = () => (state = state * 48_271 % 0x7fffffff) / 0x7fffffff; // Park and Miller, 1993
  const sizes = [0, 1, 70_000, 69_999];
  while (sizes.length < 1000) sizes.push(Math.floor(70_001 * random() ** 8));
  const alphabet = encoding === "gbk" ? ["a", "\\", "你", "乗", "；"] : ["a", "\\", "你", "é", "😀"];
  const width = new Map(alphabet.map((letter) => [letter, encode(letter, encoding).length]));
  return sizes.map((size) => {
    let text = "";
    while (size > 0) {
      const letter = alphabet[Math.floor(random() * alphabet.length)];
      const bytes = width.get(letter) ?? 0;
      text += bytes <= size ? letter : "b".repeat(size);
      size -= bytes;
    }
    return text;
  });
}

const AMONG_OTHERS = [["utf-8", "line", "node", "deno"], ["gbk", "length", "deno", "node"]] as const;

for (
  const [encoding, framing, from, to] of [
    ["utf-8", "length", "bun", "bun"],
    ["gbk", "line", "bun", "bun"],
    ...(EVERYTHING ? AMONG_OTHERS : []),
  ] as const
) {
  test(
    `1,000 messages arrive exactly in pieces: ${encoding}, ${framing}, from ${from} to ${to}`,
    async () => {
      const texts = thousand(encoding);
      const flags = ["--framing", framing, "--encoding", encoding];
      await using receiver = server(flags, to);
      const port = String(await receiver.port());
      await using sender = client(
        [...flags, "--port", port, "--pieces", "--pause", "0", "--seed", "3"],
        from,
      );
      sender.type(texts.map((text) => `${text}\n`).join(""));
      sender.endOfInput();
      expect(await next(receiver)).toBe("CALLER connected");
      for (const text of texts) {
        const { length } = encode(text, encoding);
        if (await next(receiver) !== `CALLER > ${length} bytes${text && `: ${text}`}`) {
          throw new Error(`message of ${length} bytes did not arrive`);
        }
      }
      expect(await next(receiver)).toBe("CALLER hung up");
      const { code, stdout, stderr } = await sender.result();
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      // a message of some bytes is cut into three pieces at least
      const pieces = stdout.split("\n").find((line) => line.startsWith("sent 7000"))?.split(", ") ?? [];
      expect(pieces.length).toBeGreaterThanOrEqual(3);
    },
    60_000, // on a busy machine; a line that does not come is told after 30 s
  );
}

test("the same seed cuts at the same places, another one elsewhere", async () => {
  await using receiver = server(["--framing", "none"]);
  const port = String(await receiver.port());
  const said: string[] = [];
  for (const seed of ["1", "1", "2"]) {
    await using sender = client([
      "--framing",
      "none",
      "--port",
      port,
      "--pieces",
      "--seed",
      seed,
      "一二三四",
    ]);
    const { code, stdout } = await sender.result();
    expect(code).toBe(0);
    said.push(stdout);
  }
  expect(said[0]).toMatch(/^sent 12 bytes in pieces of \d+(, \d+){2,}\n$/);
  expect(said[1]).toBe(said[0]);
  expect(said[2]).not.toBe(said[0]);
});

const PYTHON_CLIENT = `
import socket, struct, sys
port, framing = int(sys.argv[1]), sys.argv[2]
messages = ["你好".encode(), b"", b"x" * 70000, "再见".encode()]
with socket.create_connection(("127.0.0.1", port)) as s:
    for message in messages:
        s.sendall(message + b"\\n" if framing == "line" else struct.pack("!I", len(message)) + message)
    s.shutdown(socket.SHUT_WR)
    print(s.recv(1))
`;

const PYTHON_SERVER = `
import socket, struct, sys
framing = sys.argv[1]
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen()
print("listening on 127.0.0.1:%d" % s.getsockname()[1], flush=True)
connection, _ = s.accept()
with connection, connection.makefile("rb") as stream:
    while True:
        if framing == "line":
            line = stream.readline()
            if not line: break
            message = line[:-1]
        else:
            header = stream.read(4)
            if not header: break
            message = stream.read(struct.unpack("!I", header)[0])
        print(len(message), message.decode(), flush=True)
`;

for (const framing of ["line", "length"] as const) {
  for (const runtime of EVERYWHERE) {
    test.skipIf(!hasPython)(`Python talks to us by ${framing}, ${runtime} (needs python3)`, async () => {
      await using receiver = server(["--framing", framing], runtime);
      const port = String(await receiver.port());
      await using sender = start(["python3", "-c", PYTHON_CLIENT, port, framing]);
      expect(await sender.result()).toEqual({ code: 0, stdout: "b''\n", stderr: "" });
      for (
        const line of [
          "CALLER connected",
          "CALLER > 6 bytes: 你好",
          "CALLER > 0 bytes",
          `CALLER > 70000 bytes: ${"x".repeat(70_000)}`,
          "CALLER > 6 bytes: 再见",
          "CALLER hung up",
        ]
      ) expect(await next(receiver)).toBe(line);
      receiver.signal("SIGTERM");
      expect(await receiver.ended()).toBe(0);
      expect(receiver.seen.stderr).toEqual([]);
    });

    test.skipIf(!hasPython)(`we talk to Python by ${framing}, ${runtime} (needs python3)`, async () => {
      await using receiver = start(["python3", "-c", PYTHON_SERVER, framing]);
      const port = String(await receiver.port());
      const words = ["--framing", framing, "--port", port, "--pieces", "--pause", "1", "你好", "", "再见"];
      await using sender = client(words, runtime);
      expect(await sender.result()).toMatchObject({ code: 0, stderr: "" });
      const { code, stdout } = await receiver.result();
      expect(code).toBe(0);
      expect(stdout.split("\n").slice(1)).toEqual(["6 你好", "0 ", "6 再见", ""]);
    });
  }
}

for (const runtime of EVERYWHERE) {
  test(`a hostile frame ends its own connection only, ${runtime}`, async () => {
    await using program = server([], runtime);
    const port = await program.port();
    const bystander = connect({ host: "127.0.0.1", port });
    bystander.write(Buffer.concat([header(2), Buffer.from("h")]));
    expect(await next(program)).toBe("CALLER connected");

    for (
      const [bytes, error] of [
        [header(0xffffffff), `announces a message of 4294967295 bytes; the limit is ${LIMIT} (EMSGSIZE)`],
        [header(LIMIT + 1), `announces a message of ${LIMIT + 1} bytes; the limit is ${LIMIT} (EMSGSIZE)`],
        [Buffer.from("GET / HTTP/1.1\r\n\r\n"), /announces a message of 1195725856 bytes/],
        [Buffer.alloc(3), "closed the connection inside a message (EPROTO)"],
        [header(1), "closed the connection inside a message (EPROTO)"],
        [Buffer.concat([header(1000), Buffer.alloc(999)]), "closed the connection inside a message (EPROTO)"],
      ] as const
    ) {
      expect(await call(port, bytes)).toBe("ECONNRESET");
      expect(await next(program)).toBe("CALLER connected");
      const line = await next(program, "stderr");
      if (typeof error === "string") expect(line).toBe(`error: CALLER: ${error}`);
      else expect(line).toMatch(error);
    }
    const rude = connect({ host: "127.0.0.1", port });
    rude.write(header(5));
    expect(await next(program)).toBe("CALLER connected");
    rude.resetAndDestroy();
    expect(await next(program, "stderr")).toBe("error: CALLER: connection reset by peer (ECONNRESET)");

    expect(await call(port, Buffer.concat([header(2), Buffer.of(0xff, 0x1b)]))).toBe("closed");
    expect(await next(program)).toBe("CALLER connected");
    expect(await next(program)).toBe("CALLER > 2 bytes: \ufffd\\x1b");
    expect(await next(program, "stderr")).toMatch(/not valid utf-8, shown as \ufffd \(EILSEQ\)$/);
    expect(await next(program, "stderr")).toBe("hint: if the other end speaks gbk, use --encoding gbk here");
    expect(await next(program)).toBe("CALLER hung up");

    bystander.end("i");
    expect(await next(program)).toBe("CALLER > 2 bytes: hi");
    expect(await next(program)).toBe("CALLER hung up");
    program.signal("SIGINT");
    expect(await program.ended()).toBe(0);
  });

  test(`a line without an end stops at the limit, ${runtime}`, async () => {
    await using program = server(["--framing", "line"], runtime);
    const port = await program.port();
    await call(port, Buffer.alloc(8 << 20, "x"));
    expect(await next(program)).toBe("CALLER connected");
    expect(await next(program, "stderr")).toBe(
      `error: CALLER: sends a line without an end; the limit is ${LIMIT} (EMSGSIZE)`,
    );
    expect(await call(port, Buffer.from("unfinished"))).toBe("ECONNRESET");
    expect(await next(program)).toBe("CALLER connected");
    expect(await next(program, "stderr")).toBe(
      "error: CALLER: closed the connection inside a message (EPROTO)",
    );
    expect(await call(port, Buffer.from("next\r\n"))).toBe("closed");
    expect(await next(program)).toBe("CALLER connected");
    expect(await next(program)).toBe("CALLER > 5 bytes: next\\r");
  });

  test(`a message ends its characters: half of one is not completed by the next, ${runtime}`, async () => {
    await using program = server(["--framing", "line"], runtime);
    const bytes = Buffer.concat([
      Buffer.from("你").subarray(0, 2),
      Buffer.of(10),
      Buffer.from("\xa0a\n", "latin1"),
    ]);
    expect(await call(await program.port(), bytes)).toBe("closed");
    expect(await next(program)).toBe("CALLER connected");
    expect(await next(program)).toBe("CALLER > 2 bytes: \ufffd");
    expect(await next(program)).toBe("CALLER > 2 bytes: \ufffda");
    expect(await next(program)).toBe("CALLER hung up");
    expect(await next(program, "stderr")).toMatch(/EILSEQ/);
  });

  test(`a character torn at the end of the stream is told, ${runtime}`, async () => {
    await using program = server(["--framing", "none"], runtime);
    expect(await call(await program.port(), Buffer.from("你好").subarray(0, 5))).toBe("closed");
    expect(await next(program)).toBe("CALLER connected");
    expect(await next(program)).toBe("CALLER > 5 bytes: 你");
    expect(await next(program)).toBe("CALLER > \ufffd");
    expect(await next(program)).toBe("CALLER hung up");
    expect(await next(program, "stderr")).toMatch(/EILSEQ/);
  });

  test(`a client learns that its server has gone, ${runtime}`, async () => {
    for (
      const [ending, why] of [["end", "closed the connection (EPIPE)"], [
        "resetAndDestroy",
        /ECONNRESET/,
      ]] as const
    ) {
      const accepted = Promise.withResolvers<Socket>();
      await using listener = createServer((socket) => accepted.resolve(socket.resume()));
      listener.listen(0, "127.0.0.1");
      await once(listener, "listening");
      const { port } = listener.address() as { port: number };
      await using typist = client(["--port", String(port)], runtime);
      typist.type("x\n");
      expect(await typist.next()).toBe("sent 5 bytes");
      (await accepted.promise)[ending](); // while nothing is typed
      const { code, stderr } = await typist.result();
      expect(code).toBe(1);
      expect(stderr).toMatch(/^error: [^\n]*\n$/);
      expect(stderr).toContain(`127.0.0.1:${port}: `);
      if (typeof why === "string") expect(stderr).toContain(why);
      else expect(stderr).toMatch(why);
    }
  });
}

test("fifty callers at once", async () => {
  await using program = server([]);
  const port = await program.port();
  const message = Buffer.concat([header(60_000), Buffer.alloc(60_000, "m")]);
  const waiting = Array.from({ length: 50 }, () => connect({ host: "127.0.0.1", port }));
  for (const socket of waiting) socket.write(message.subarray(0, 50_000)); // none has finished
  for (const socket of waiting) {
    if (socket.connecting) await once(socket, "connect");
    socket.end(message.subarray(50_000));
  }
  const lines: (string | undefined)[] = [];
  while (lines.length < 150) lines.push(await next(program));
  expect(lines.filter((line) => line === "CALLER connected").length).toBe(50);
  expect(lines.filter((line) => line === `CALLER > 60000 bytes: ${"m".repeat(60_000)}`).length).toBe(50);
  expect(lines.filter((line) => line === "CALLER hung up").length).toBe(50);
  expect(program.seen.stderr).toEqual([]);
});

test("the 1,001st caller is turned away", async () => {
  await using program = server([]);
  const port = await program.port();
  const waiting: Socket[] = [];
  try {
    while (waiting.length < 1000) {
      const more = Array.from({ length: 100 }, () => connect({ host: "127.0.0.1", port }));
      waiting.push(...more);
      await Promise.all(more.map((socket) => once(socket, "connect")));
    }
    for (let count = 0; count < 1000; count++) expect(await next(program)).toBe("CALLER connected");
    expect(await call(port, header(0))).toMatch(/^(closed|ECONNRESET)$/);
    waiting.pop()?.end();
    expect(await next(program)).toBe("CALLER hung up"); // and not what the last one sent
  } finally {
    for (const socket of waiting) socket.destroy();
  }
});

test("what cannot be sent is said before anything is", async () => {
  let callers = 0;
  await using listener = createServer((socket) => {
    callers++;
    socket.destroy();
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const port = String((listener.address() as { port: number }).port);
  for (
    const [words, code, error] of [
      [["--framing", "line", "ok", "a\nb"], 2, "error: the message: contains a line end"],
      [["--encoding", "gbk", "ok", "😀"], 1, "error: 😀 (U+1F600): not a character of gbk; nothing was sent"],
      [["--framing", "json", "ok"], 2, "error: --framing json: it is none or line or length"],
      [["--seed", "x", "ok"], 2, "error: --seed x: it is a whole number"],
    ] as const
  ) {
    await using program = client(["--port", port, ...words]);
    const result = await program.result();
    expect(result).toMatchObject({ code, stdout: "" });
    expect(result.stderr).toStartWith(error);
  }
  expect(callers).toBe(0);
});

test("Ctrl-C ends a client between two pieces with 130", async () => {
  await using program = server(["--framing", "none"]);
  const port = String(await program.port());
  await using sender = client([
    "--framing",
    "none",
    "--port",
    port,
    "--pieces",
    "--pause",
    "10000",
    "abcdef",
  ]);
  expect(await next(program)).toBe("CALLER connected");
  expect(await next(program)).toMatch(/^CALLER > \d bytes: a/);
  sender.signal("SIGINT");
  expect(await sender.result()).toEqual({ code: 130, stdout: "", stderr: "" });
});
