/** The parts of `make check` that read code: each finds what it should. */
import { expect, test } from "bun:test";
import { find } from "../engine/lessons.ts";
import { functions, heavy, missingCalls } from "./house.ts";

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
