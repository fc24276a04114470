/** Lesson 2.3: the chat in its four modes, between programs and at a terminal. */
import { expect, setDefaultTimeout, test } from "bun:test";
import process from "node:process";
import { EVERYWHERE, RUNTIMES, script } from "../engine/program.ts";
import { freePort, letterbox } from "../engine/sockets.ts";
import { terminal } from "../engine/terminal.ts";

setDefaultTimeout(60_000); // what hangs is told by program.ts, after 30 s

for (const runtime of EVERYWHERE) {
  test(`full: both speak at once, exit ends both, on ${runtime}`, async () => {
    const [a, b] = [await freePort("udp"), await freePort("udp")];
    const one = script("udp/chat", ["--local-port", `${a}`, "--to", `127.0.0.1:${b}`], { runtime });
    await using _one = one;
    const two = script("udp/chat", ["--local-port", `${b}`, "--to", `localhost:${a}`]);
    await using _two = two;
    expect(await one.port()).toBe(a);
    expect(await two.port()).toBe(b);
    one.type("你好\n");
    two.type("over\n");
    expect(await one.next()).toBe(`127.0.0.1:${b} > over`);
    expect(await two.next()).toBe(`127.0.0.1:${a} > 你好`);
    one.type("\x1b[2J一\r\n");
    one.type("二\nexit()\nnever sent\n");
    for (const text of ["\\x1b[2J一", "二", "exit()"]) {
      expect(await two.next()).toBe(`127.0.0.1:${a} > ${text}`);
    }
    for (const chat of [one, two]) {
      const { code, stderr } = await chat.result();
      expect([code, stderr]).toEqual([0, ""]);
      expect(chat.seen.stdout).toHaveLength(chat === one ? 2 : 5);
    }
  });

  test(`half: nobody speaks out of turn, and no stranger passes it, on ${runtime}`, async () => {
    await using other = await letterbox();
    await using stranger = await letterbox();
    const chat = script("udp/chat", ["--port", "0", "--to", other.name, "--mode", "half"], { runtime });
    await using _ = chat;
    const port = await chat.port();
    const refusal = 'hint: not sent: it is the other\'s turn, until "over" comes';

    await stranger.send("me first", port);
    expect(await chat.next()).toBe(`${stranger.name} > me first`);
    chat.type("free\n"); // a stranger's word takes no turn
    expect(await other.text()).toBe("free");
    chat.type("over\nrefused\n");
    expect(await other.text()).toBe("over");
    expect(await chat.next("stderr")).toBe(refusal);

    for (const word of ["over", "exit"]) {
      await stranger.send(word, port);
      expect(await chat.next()).toBe(`${stranger.name} > ${word}`);
    }
    chat.type("refused\nover\n");
    for (let count = 0; count < 2; count++) expect(await chat.next("stderr")).toBe(refusal);
    await other.send("still mine", port);
    expect(await chat.next()).toBe(`${other.name} > still mine`);
    chat.type("refused\n");
    expect(await chat.next("stderr")).toBe(refusal);

    await other.send("over", port);
    expect(await chat.next()).toBe(`${other.name} > over`);
    chat.type("mine\n");
    expect(await other.text()).toBe("mine");
    await other.send("out of turn", port);
    expect(await chat.next()).toBe(`${other.name} > out of turn`);
    chat.type("still mine\nover\nexit\n"); // hanging up is possible at any time
    for (const text of ["still mine", "over", "exit"]) expect(await other.text()).toBe(text);
    expect(await chat.ended()).toBe(0);
  });
}

test("half: the first word of the other takes the turn, over as the first word gives it away", async () => {
  await using other = await letterbox();
  const words = ["--port", "0", "--to", other.name, "--mode", "half"];
  await using second = script("udp/chat", words);
  const port = await second.port();
  await other.send("first", port);
  expect(await second.next()).toBe(`${other.name} > first`);
  second.type("refused\n");
  expect(await second.next("stderr")).toStartWith("hint: not sent");
  await other.send("exit", port);
  expect(await second.ended()).toBe(0);

  await using first = script("udp/chat", words);
  await first.port();
  first.type("over\nrefused\n");
  expect(await other.text()).toBe("over");
  expect(await first.next("stderr")).toStartWith("hint: not sent");
  first.endOfInput();
  expect(await first.ended()).toBe(0);
});

test("simplex: who only sends has the port that it is given", async () => {
  await using other = await letterbox();
  for (const flag of ["--port", "--local-port"]) {
    const port = await freePort("udp");
    await using sender = script("udp/chat", ["--to", other.name, "--mode", "simplex", flag, `${port}`]);
    sender.type("hello\n");
    const [, from] = await other.next();
    expect([flag, from.port]).toEqual([flag, port]);
  }
});

test("simplex: one only sends, one only receives, and nobody's word ends it", async () => {
  await using receiver = script("udp/chat", ["--port", "0", "--mode", "simplex"]);
  const port = await receiver.port();
  await using other = await letterbox();
  const words = ["--to", `127.0.0.1:${port}`, "--mode", "simplex"];
  for (const runtime of EVERYWHERE) {
    const own = await freePort("udp");
    await using sender = script("udp/chat", [...words, "--local-port", `${own}`], { runtime });
    sender.type("你好\nexit\n");
    expect(await sender.result()).toEqual({ code: 0, stdout: "", stderr: "" });
    for (const text of ["你好", "exit"]) expect(await receiver.next()).toBe(`127.0.0.1:${own} > ${text}`);
  }
  receiver.type("exit\n");
  await other.send("still there?", port);
  expect(await receiver.next()).toBe(`${other.name} > still there?`);
  receiver.signal("SIGINT");
  const { code, stderr } = await receiver.result();
  expect([code, stderr]).toEqual([0, ""]);

  await using sender = script("udp/chat", ["--to", other.name, "--mode", "simplex"]);
  sender.type("from a port of the system's choice\n");
  const [, { port: source }] = await other.next();
  await other.send("exit", source);
  sender.type("goes on\n");
  expect(await other.text()).toBe("goes on");
  sender.endOfInput();
  expect(await sender.result()).toEqual({ code: 0, stdout: "", stderr: "" });
});

for (const runtime of EVERYWHERE) {
  test(`menu: one thing at a time, and letters wait, on ${runtime}`, async () => {
    await using other = await letterbox();
    const chat = script("udp/chat", ["--port", "0", "--to", other.name, "--mode", "menu"], { runtime });
    await using _ = chat;
    const port = await chat.port();
    const menu = "1 send, 2 receive, 0 quit";
    expect(await chat.next()).toBe(menu);
    await other.send("one", port);
    await other.send("two", port);
    chat.type("1\n2\n"); // what is sent may look like a choice
    expect(await chat.next()).toBe("your message:");
    expect(await other.text()).toBe("2");
    expect(await chat.next()).toBe(menu);
    for (const text of ["one", "two"]) {
      chat.type("2\n");
      expect(await chat.next()).toBe(`${other.name} > ${text}`);
      expect(await chat.next()).toBe(menu);
    }
    chat.type("2\n0\n"); // waits for a letter first
    await other.send("three", port);
    expect(await chat.next()).toBe(`${other.name} > three`);
    expect(await chat.next()).toBe(menu);
    expect(await chat.result()).toMatchObject({ code: 0, stderr: "" });
    expect(chat.seen.stdout).toHaveLength(10);
  });

  test(`GBK, IPv6 and bytes that are no text, on ${runtime}`, async () => {
    await using other = await letterbox(0, "::1");
    const words = ["--host", "::1", "--to", `[0:0::1]:${other.port}`, "--encoding", "gbk", "--port", "0"];
    await using chat = script("udp/chat", words, { runtime });
    const port = await chat.port();
    chat.type("你好\n");
    expect((await other.next())[0].toString("hex")).toBe("c4e3bac3");
    await other.send(Buffer.from("d4d9bcfb", "hex"), port);
    expect(await chat.next()).toBe(`[::1]:${other.port} > 再见`);
    await other.send(Buffer.from("ff", "hex"), port);
    expect(await chat.next()).toBe(`[::1]:${other.port} > \uFFFD`);
    expect(await chat.next("stderr")).toContain("bytes that are not valid gbk");
    await other.send("exit", port); // ::1 is the other, however --to has written it
    expect(await chat.ended()).toBe(0);
  });
}

test("wrong commands", async () => {
  const cases: [string[], string][] = [
    [[], "error: --to: is needed; without it, --mode simplex only receives (EINVAL)\n"],
    [["--to", "127.0.0.1"], "error: --to 127.0.0.1: it is HOST:PORT"],
    [["--to", "::1:7788"], "error: --to ::1:7788: it is HOST:PORT"],
    [["--to", "127.0.0.1:0"], "error: --to 127.0.0.1:0: it is HOST:PORT"],
    [["--to", "127.0.0.1:1", "--mode", "loud"], "error: --mode loud: it is full or half or simplex or menu"],
    [
      ["--to", "192.0.2.1:7788"],
      "error: --to 192.0.2.1:7788: cannot be reached from 127.0.0.1 (EADDRNOTAVAIL)\nhint: take --host 0.0.0.0 ",
    ],
    [
      ["--to", "[::1]:7788"],
      "error: --to [::1]:7788: cannot be reached from 127.0.0.1 (EADDRNOTAVAIL)\nhint: take --host ::1 ",
    ],
  ];
  for (const [words, message] of cases) {
    await using chat = script("udp/chat", words);
    const { code, stdout, stderr } = await chat.result();
    expect([words, code, stdout]).toEqual([words, 2, ""]);
    expect(stderr).toStartWith(message);
  }
});

const hasTerminal = process.platform !== "win32";

for (const runtime of EVERYWHERE) {
  const command = [...RUNTIMES[runtime], "scripts/udp/chat.ts"];

  test.skipIf(!hasTerminal)(`two chats in terminals, on ${runtime} (needs a pseudo-terminal)`, async () => {
    const [a, b] = [await freePort("udp"), await freePort("udp")];
    const person = (own: number, other: number) =>
      terminal([...command, "--local-port", `${own}`, "--to", `127.0.0.1:${other}`], { columns: 32 });
    await using one = person(a, b);
    await using two = person(b, a);
    await one.until("> ");
    await two.until("> ");

    // 32 columns: the second row of what is typed begins with 七, as 15 wide characters fill the first.
    one.type("一二三四五六七八九十甲乙丙丁戊七八九");
    await one.until("\n七八九");
    for (const text of ["short", "两个 very long lines of a letter that wraps", "end"]) {
      two.type(text);
      await two.until(`> ${text.slice(0, 20)}`);
      two.press("Enter");
      await one.until(`${text.slice(-3)}\n> 一`);
    }
    one.press("Left", "Backspace");
    await one.until("\n七九");
    two.type("edited");
    await two.until("> edited");
    two.press("Enter");
    await one.until("edited\n> 一");
    one.type("改");
    await one.until("\n七改九");
    expect(one.screen).toBe(
      `listening on 127.0.0.1:${a}\n` +
        `127.0.0.1:${b} > short\n` +
        wrapped(`127.0.0.1:${b} > 两个 very long lines of a letter that wraps`, 32) +
        `127.0.0.1:${b} > end\n127.0.0.1:${b} > edited\n` +
        "> 一二三四五六七八九十甲乙丙丁戊\n七改九",
    );
    one.press("Enter");
    await two.until("七改九");
    expect(two.screen.replaceAll("\n", "")).toContain(
      `127.0.0.1:${a} > 一二三四五六七八九十甲乙丙丁戊七改九`,
    );

    one.type("half a li");
    await one.until("> half a li");
    two.type("exit");
    await two.until("> exit");
    two.press("Enter");
    expect(await two.ended()).toBe(0);
    expect(await one.ended()).toBe(0);
    expect(one.screen).toEndWith(`127.0.0.1:${b} > exit\n> half a li\n`);
    expect([one.isCooked, two.isCooked]).toEqual([true, true]);
  });

  test.skipIf(!hasTerminal)(
    `menu: what is typed ahead stays whole, on ${runtime} (needs a pseudo-terminal)`,
    async () => {
      await using other = await letterbox();
      await using one = terminal([...command, "--port", "0", "--to", other.name, "--mode", "menu"]);
      await one.until("quit\n> ");
      one.press("Enter"); // not a choice
      await one.until("quit\n> \n1 send, 2 receive, 0 quit\n> ");
      const port = Number(/:(\d+)/.exec(one.screen)?.[1]);
      one.type("2");
      await one.until("> 2");
      one.press("Enter");
      one.type("12");
      await one.until("> 2\n12");
      await other.send("a letter", port);
      await one.until(`> 2\n${other.name} > a letter\n1 send, 2 receive, 0 quit\n> 12`);
      one.press("Backspace", "Enter");
      await one.until("quit\n> 1\nyour message:\n> ");
      one.type("你好");
      one.press("Enter");
      expect(await other.text()).toBe("你好");
      one.press("Ctrl-D");
      expect(await one.ended()).toBe(0);
    },
  );

  test.skipIf(!hasTerminal)(
    `Ctrl-C and Ctrl-D at a terminal, on ${runtime} (needs a pseudo-terminal)`,
    async () => {
      for (const key of ["Ctrl-C", "Ctrl-D"] as const) {
        await using one = terminal([...command, "--port", "0", "--to", "127.0.0.1:1"]);
        await one.until("> ");
        one.press(key);
        expect(await one.ended()).toBe(0);
        expect(one.screen).toMatch(/^listening on 127\.0\.0\.1:\d+\n> \n$/);
        expect(one.isCooked).toBe(true);
      }
    },
  );
}

/** A line as a terminal shows it, and its end. */
function wrapped(line: string, columns: number): string {
  let shown = "";
  let column = 0;
  for (const character of line) {
    const width = Bun.stringWidth(character);
    if (column + width > columns) {
      shown += "\n";
      column = 0;
    }
    shown += character;
    column += width;
  }
  return `${shown}\n`;
}
