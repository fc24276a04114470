/** What is said, and how text from a peer is shown. */
import { describe, expect, test } from "bun:test";
import process from "node:process";
import { visible } from "../../lib/program.ts";
import { EVERYWHERE, RUNTIMES, start } from "../engine/program.ts";
import { json } from "../../scripts/network/json.ts";

for (const runtime of EVERYWHERE.filter((runtime) => runtime !== "deno")) { // Deno stands in write(2) meanwhile
  test(`what many say at once is bounded where nobody reads, on ${runtime}`, async () => {
    await using program = start([...RUNTIMES[runtime], "tests/engine/fixtures/many-at-once.ts"]);
    program.stopReading();
    await program.next("stderr"); // all is said
    program.startReading();
    const { code, stdout } = await program.result();
    expect(code).toBe(0);
    const lines = stdout.split("\n");
    expect(lines.pop()).toBe("");
    expect(lines.length).toBeWithin(2000, 5000); // and what the pipe has taken
    expect(lines).toEqual(Array.from({ length: lines.length }, (_, at) => `${at} ${"x".repeat(100)}`));
  });
}

/** A server whose stdout is a full pipe, which nobody reads: it answers a caller, and ends when it is told to. */
const FULL_PIPE = `
import fcntl, os, re, signal, socket, subprocess, sys, time
reader, writer = os.pipe()
fcntl.fcntl(writer, fcntl.F_SETFL, os.O_NONBLOCK)
for size in 65536, 1:
    try:
        while True: os.write(writer, b"x" * size)
    except BlockingIOError: pass
fcntl.fcntl(writer, fcntl.F_SETFL, 0)
server = subprocess.Popen(sys.argv[1:], stdout=writer)
def listening():
    folder = f"/proc/{server.pid}/fd"
    own = []
    for name in os.listdir(folder):
        try: own.append(os.readlink(f"{folder}/{name}"))
        except FileNotFoundError: pass # it was open for a moment
    rows = [row.split() for row in open("/proc/net/tcp")][1:]
    return next((int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own), 0)
try:
    while not (port := listening()): time.sleep(0.02)
    with socket.create_connection(("127.0.0.1", port), 20) as caller: print(caller.recv(100).decode()[:2])
    server.send_signal(signal.SIGTERM)
    print(server.wait(20))
finally: server.kill()
`;

for (const runtime of EVERYWHERE.filter((runtime) => runtime !== "deno")) { // Deno stands in write(2) meanwhile
  test.skipIf(process.platform !== "linux")(
    `a server whose ready line finds a full pipe serves, and hears signals, on ${runtime} (needs Linux)`,
    async () => {
      const server = [...RUNTIMES[runtime], "scripts/tcp/time-server.ts", "--port", "0"];
      await using program = start(["python3", "-c", FULL_PIPE, ...server]);
      expect(await program.result()).toEqual({ code: 0, stdout: "20\n0\n", stderr: "" });
    },
    60_000,
  );
}

describe("visible", () => {
  test("every C0 and C1 control, and DEL, is shown by its code", () => {
    const controls = [...Array(0x20).keys(), ...Array.from({ length: 0x21 }, (_, index) => 0x7f + index)];
    expect(controls).toHaveLength(65);
    for (const code of controls) {
      const short: Record<number, string> = { 9: "\\t", 10: "\\n", 13: "\\r" };
      expect(visible(String.fromCharCode(code))).toBe(
        short[code] ?? `\\x${code.toString(16).padStart(2, "0")}`,
      );
    }
  });

  const shown: [text: string, seen: string][] = [
    ["\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"],
    ["one\r\ntwo\tthree", "one\\r\\ntwo\\tthree"],
    ["line\u2028paragraph\u2029", "line\\u2028paragraph\\u2029"],
    // Bidi_Control of Unicode: PropList.txt
    ["\u061C\u200E\u200F", "\\u061c\\u200e\\u200f"],
    ["\u202A\u202B\u202C\u202D\u202E", "\\u202a\\u202b\\u202c\\u202d\\u202e"],
    ["\u2066\u2067\u2068\u2069", "\\u2066\\u2067\\u2068\\u2069"],
    ["gpj\u202E.exe", "gpj\\u202e.exe"],
  ];
  // Default_Ignorable_Code_Point of Unicode: DerivedCoreProperties.txt
  shown.push(
    ["anna\u200B\u200C\u200D\u2060\uFEFF", "anna\\u200b\\u200c\\u200d\\u2060\\ufeff"],
    [
      "soft\u00ADhyphen, \u034F\u115F\u1160\u17B4\u180E\u3164\uFFA0",
      "soft\\xadhyphen, " +
      "\\u034f\\u115f\\u1160\\u17b4\\u180e\\u3164\\uffa0",
    ],
    ["a\uFE0F1\uFE0F葛\u{E0100}\u{E0041}", "a\\ufe0f1\\ufe0f葛\\u{e0100}\\u{e0041}"],
    ["\u2800\uFFF9\uFFFB", "\\u2800\\ufff9\\ufffb"],
    ["\uFFFE\uFFFF\u{1FFFE}", "\\ufffe\\uffff\\u{1fffe}"],
    ["👍\u200Da", "👍\\u200da"],
  );
  test.each(shown)("%j", (text, seen) => expect(visible(text)).toBe(seen));

  const kept = [
    "",
    "plain ASCII ~!@#$%^&*()_+",
    "你好，世界！「」、。　",
    "𠮷野家",
    "👨‍👩‍👧‍👦 👍🏽 🇨🇳 ❤️ 1️⃣ 🏳️‍🌈 👩🏽‍🚀 ❤️‍🔥",
    "é e\u0301 שלום مرحبا",
    "\uFFFD",
    "a\\nb", // a backslash that was there
  ];
  test.each(kept)("%j stays", (text) => expect(visible(text)).toBe(text));
});

test("json gives the same value, and shows a terminal nothing that it obeys or hides", () => {
  const value = {
    "k\u202E": ["\x1b\u009B2J\x7f", "a\u2028b\u2029c", "anna\u200B\u2800\u{E0041}", "你好 👨‍👩‍👧 ❤️", "\n"],
    number: 1,
  };
  expect(JSON.parse(json(value))).toEqual(value);
  expect(json(value)).toBe(`{
  "k\\u202e": [
    "\\u001b\\u009b2J\\u007f",
    "a\\u2028b\\u2029c",
    "anna\\u200b\\u2800\\udb40\\udc41",
    "你好 👨‍👩‍👧 ❤️",
    "\\n"
  ],
  "number": 1
}`);
});
