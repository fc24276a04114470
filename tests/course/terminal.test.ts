/** What only a person at a real terminal meets: the prompt, editing, Ctrl-C and Ctrl-D, and the way the terminal is left. */
import { describe, expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { EVERYWHERE, ROOT, type Runtime, RUNTIMES, script } from "../engine/program.ts";
import { temporaryFolder } from "../engine/files.ts";
import { listen, until } from "../engine/sockets.ts";
import { type Person, terminal } from "../engine/terminal.ts";

/** Starts a script at a terminal. */
function person(runtime: Runtime, name: string, words: string[] = []): Person {
  return terminal([...RUNTIMES[runtime], join(ROOT, "scripts", `${name}.ts`), ...words]);
}

describe.each(EVERYWHERE)("%s", (runtime) => {
  test.concurrent("a line is edited and sent; Ctrl-C at the prompt ends with 130", async () => {
    await using receiver = script("udp/receive", ["--port", "0"]);
    const port = String(await receiver.port());
    await using sender = person(runtime, "udp/send", ["--port", port]);
    await sender.until("> ");
    expect(sender.isCooked).toBe(false);
    sender.type("你好吗");
    await sender.until("> 你好吗");
    sender.press("Backspace");
    sender.type("呀");
    await sender.until("> 你好呀");
    sender.press("Enter");
    expect(await receiver.next()).toEndWith(" > 你好呀");
    await sender.until("\n> "); // the prompt again
    expect(sender.screen).toMatch(
      new RegExp(`^> 你好呀\nsent 9 bytes from 127\\.0\\.0\\.1:\\d+ to 127\\.0\\.0\\.1:${port}\n> $`),
    );
    sender.type("not sent");
    await sender.until("> not sent");
    sender.press("Ctrl-C");
    expect(await sender.ended()).toBe(130);
    expect(sender.screen).toEndWith("\n> not sent\n");
    expect(sender.isCooked).toBe(true);
    receiver.signal("SIGTERM");
    expect(await receiver.ended()).toBe(0);
    expect(receiver.seen.stdout).toHaveLength(2); // the ready line and the message
  });

  test.concurrent("Ctrl-D at the prompt ends with 0", async () => {
    await using server = script("udp/echo-server", ["--port", "0"]);
    const words = ["--port", String(await server.port()), "--timeout", "20000"];
    await using client = person(runtime, "udp/echo-client", words);
    await client.until("> ");
    client.type("在吗");
    client.press("Enter");
    await client.until("在吗\n在吗\n> ");
    client.press("Ctrl-D");
    expect(await client.ended()).toBe(0);
    expect(client.screen).toBe("> 在吗\n在吗\n> \n");
    expect(client.isCooked).toBe(true);
  });

  test.concurrent("what is typed ahead, while 3.1 waits for the reply, does not wipe it away", async () => {
    await using server = await listen();
    await using client = person(runtime, "tcp/client", ["--port", `${server.port}`]);
    const line = await server.accept();
    await client.until("> ");
    client.type("你好");
    client.press("Enter");
    await line.expect("你好");
    await line.rest();
    client.type("ahead");
    await client.until("ahead");
    await line.send("the reply");
    line.hangUp();
    expect(await client.ended()).toBe(0);
    expect(client.screen).toBe("> 你好\naheadthe reply\n");
    expect(client.isCooked).toBe(true);
  });

  test.concurrent("exit ends with 0, and the answer is shown", async () => {
    await using server = script("tcp/many-requests-server", ["--port", "0", "--reply", "\x1b[2J好的"]);
    await using client = person(runtime, "tcp/dialog-client", ["--port", String(await server.port())]);
    await client.until("> ");
    client.type("exit");
    client.press("Enter");
    expect(await client.ended()).toBe(0);
    expect(client.screen).toBe("> exit\n\\x1b[2J好的\n"); // a peer does not drive the terminal
    expect(client.isCooked).toBe(true);
  });

  test.concurrent("a server that hangs up while the prompt waits is told at once", async () => {
    await using server = script("tcp/many-requests-server", ["--port", "0"]);
    const port = await server.port();
    await using client = person(runtime, "tcp/dialog-client", ["--port", String(port)]);
    await client.until("> ");
    expect(await server.next()).toEndWith(" connected");
    server.signal("SIGTERM");
    expect(await client.ended()).toBe(1);
    expect(client.screen).toMatch(/^> \nerror: 127\.0\.0\.1:\d+: hung up \(EPIPE\)\n$/);
    expect(client.isCooked).toBe(true);
  });

  test.concurrent("Ctrl-C ends a server with 0", async () => {
    await using server = person(runtime, "udp/receive", ["--port", "0"]);
    await server.until("\n"); // the terminal gets a line and its end in two pieces
    server.press("Ctrl-C");
    expect(await server.ended()).toBe(0);
    expect(server.screen).toMatch(/^listening on 127\.0\.0\.1:\d+\n\^C$/);
    expect(server.isCooked).toBe(true);
  });

  test.concurrent("back from Ctrl-Z it goes on", async () => {
    await using receiver = script("udp/receive", ["--port", "0"]);
    await using sender = person(runtime, "udp/send", ["--port", String(await receiver.port())]);
    await sender.until("> ");
    sender.type("he\x1a");
    await until(() => sender.isCooked, "the shell's terminal");
    process.kill(sender.pid, "SIGCONT"); // fg
    await until(() => !sender.isCooked, "our own again");
    sender.type("llo\r");
    expect(await receiver.next()).toEndWith(" > hello");
    sender.press("Ctrl-D");
    expect(await sender.ended()).toBe(0);
  });

  test.concurrent("where stdout is a file, no prompt goes into it", async () => {
    await using folder = temporaryFolder();
    await using receiver = script("udp/receive", ["--port", "0"]);
    const port = String(await receiver.port());
    const send = [...RUNTIMES[runtime], join(ROOT, "scripts/udp/send.ts"), "--port", port];
    await using sender = terminal(["sh", "-c", 'exec "$@" >"$0"', folder.at("out"), ...send]);
    sender.type("你好\n");
    expect(await receiver.next()).toEndWith(" > 你好");
    sender.press("Ctrl-D");
    expect(await sender.ended()).toBe(0);
    expect(await readFile(folder.at("out"), "utf8")).toMatch(
      /^sent 6 bytes from 127\.0\.0\.1:\d+ to 127\.0\.0\.1:\d+\n$/,
    );
    expect(sender.screen).not.toContain(">");
  });

  test.concurrent("on a pipe there is no prompt", async () => {
    await using receiver = script("udp/receive", ["--port", "0"]);
    await using sender = script("udp/send", ["--port", String(await receiver.port())], { runtime });
    sender.type("你好\n");
    sender.endOfInput();
    const { code, stdout, stderr } = await sender.result();
    expect(stdout).toMatch(/^sent 6 bytes from 127\.0\.0\.1:\d+ to 127\.0\.0\.1:\d+\n$/);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  });
});

test("the helper sees a terminal that was left raw", async () => {
  await using sender = person("bun", "udp/send");
  await sender.until("> ");
  process.kill(sender.pid, "SIGKILL");
  await sender.ended();
  expect(sender.isCooked).toBe(false);
});

test("the helper tells what the screen shows when a text does not come", async () => {
  await using program = terminal(["sh", "-c", "printf 'one\\ntwo'"]);
  await expect(program.until("three")).rejects.toThrow("the program has ended, and the screen does not show");
  await using silent = terminal(["cat"], { limit: 100 });
  await expect(silent.until("three")).rejects.toThrow("100 ms have passed, and the screen does not show");
});

describe("the screen", () => {
  const screens: [written: string, screen: string][] = [
    ["one\\ntwo", "one\ntwo"],
    ["12\\r3", "32"],
    ["12\\b3", "13"],
    ["123\\033[2Gx", "1x3"],
    ["123\\033[2D\\033[K", "1"],
    ["123\\033[1G\\033[2C\\033[0K4", "124"],
    ["1\\n2\\n3\\033[2A\\033[0J", "1"],
    ["1\\n2\\033[Ax", "1x\n2"],
    ["12\\033[2K3", "  3"],
    ["\\033[31mred\\033[0m\\033[?25l", "red"],
    ["\\033[2Jx", "␛[2Jx"], // what it does not know is seen
    ["你好\\033[3Gx", "你x"],
    ["1234567890", "12345\n67890"],
    ["1234你", "1234\n你"],
  ];
  test.each(screens)("%j", async (written, screen) => {
    await using program = terminal(["printf", written], { columns: 5 });
    expect(await program.ended()).toBe(0);
    expect(program.screen).toBe(screen);
  });
});
