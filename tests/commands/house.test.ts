/** The parts of `make check` that read code: each finds what it should. */
import { expect, test } from "bun:test";
import { find } from "../engine/lessons.ts";
import { complaint, functions, heavy, missingCalls } from "./house.ts";

test("functions and methods, and how long they are", () => {
  const source = `export async function main(): Promise<void> {
  if (true) {
    call(
      1,
    );
  }
}

function two(
  a: string,
): void {
}

export class C {
  static async *#three<T>(a: T) {
    return a;
  }

  get four(): number {
    return 4;
  }

  async [Symbol.asyncDispose]() {}
}

const later = call({
  a() {
    return 1;
  },
});
type T = {
  f(a: string): void;
};
`;
  expect(functions("x.ts", source).map(({ name, lines }) => [name, lines])).toEqual([
    ["main", 7],
    ["two", 4],
    ["#three", 3],
    ["four", 3],
    ["a", 3],
  ]);
});

test("a head that promises what its code does not do", () => {
  const [lesson] = find("udp/send");
  const withRow = (text: string) => ({
    ...lesson,
    head: { ...lesson.head, notes: [{ label: "Python", text }] },
  });
  expect(missingCalls([withRow("s.sendto(data)  ->  socket.send(data)")])).toEqual([]);
  expect(missingCalls([withRow("s.sendto(data)  ->  socket.sendAll(data)")])).toEqual([
    "scripts/udp/send.ts: no socket.sendAll( in its code",
  ]);
  expect(missingCalls([withRow("a -> readArguments(meta), which wraps socket.nothing(x)")])).toEqual([
    "scripts/udp/send.ts: readArguments() of lib/arguments.ts wraps no socket.nothing(",
  ]);
});

test("a program that checks and did not end well, also one that has said nothing or was killed", () => {
  const quiet = { exitCode: 1, signal: null, stdout: "", stderr: "" };
  expect(complaint({ ...quiet, exitCode: 0, stderr: "Checked 9 files" })).toBe("");
  expect(complaint({ ...quiet, stdout: "a.ts(1,2): error\n" })).toBe("a.ts(1,2): error");
  expect(complaint({ ...quiet, stderr: "error: oh\n" })).toBe("error: oh");
  expect(complaint(quiet)).toBe("exit code 1");
  expect(complaint({ ...quiet, exitCode: null, signal: "SIGKILL" })).toBe("killed by SIGKILL");
});

test("a first lesson that takes much along", () => {
  const [heavier] = find("apps/sftp");
  const found = heavy([{ ...heavier, head: { ...heavier.head, number: "2.1" } }]);
  expect(found).toContainEqual(
    expect.stringMatching(/^scripts\/apps\/sftp\.ts: takes \d+ modules along, 8 at most$/),
  );
  expect(found).toContainEqual(
    expect.stringMatching(/^scripts\/apps\/sftp\.ts: takes \d+ lines along, 650 at most$/),
  );
  expect(found).toContain("scripts/apps/sftp.ts: loads ssh2 when it starts");
});
