/** Lesson 4.5: of a folder with small files, the next ones are opened while the last ones close, and told in order. */
import { expect, spyOn, test } from "bun:test";
import process from "node:process";
import { Failure } from "../../../lib/failure.ts";
import type { Entry, File, Side } from "../../../scripts/apps/sftp/side.ts";
import { Transfer } from "../../../scripts/apps/sftp/transfer.ts";

const file = (name: string, size: number): Entry => ({ name, kind: "file", size, time: 0 });

/** Passes the files of a folder, whose bytes come only when no other file will be opened any more, or is refused. */
async function passAll(entries: Entry[], more: { stop?: AbortController; stopAt?: string } = {}) {
  const { stop = new AbortController(), stopAt } = more;
  const seen = { open: new Set<string>(), most: 0, besideLarge: 0, left: 0, parts: 0, told: [] as string[] };
  const opened = (name: string, size: number): File => {
    seen.open.add(name);
    seen.most = Math.max(seen.most, seen.open.size);
    return {
      piece: 100_000,
      read: async (_buffer, _offset, length, place) => {
        for (let turn = 0; turn < 100; turn++) await Promise.resolve();
        if (size > 100_000) seen.besideLarge = Math.max(seen.besideLarge, seen.open.size - 1);
        if (name.endsWith(stopAt ?? "-")) stop.abort();
        return Math.max(0, Math.min(length, size - place));
      },
      write: () => Promise.resolve(),
      [Symbol.asyncDispose]: () => Promise.resolve(void seen.open.delete(name)),
    };
  };
  const from = {
    list: () => Promise.resolve(entries),
    open: (path: string) =>
      path.endsWith("broken")
        ? Promise.reject(new Failure(path, "permission denied", "EACCES"))
        : Promise.resolve(opened(path, entries.find(({ name }) => path.endsWith(`/${name}`))?.size ?? 0)),
  } as unknown as Side;
  const to = {
    needFolder: () => Promise.resolve(false),
    check: () => {},
    lstat: () => Promise.reject(new Failure("x", "", "ENOENT")),
    open: (path: string) => Promise.resolve({ ...opened(path, 0), x: seen.parts++ }),
    rename: () => Promise.resolve(void seen.parts--),
    unlink: async () => {
      await Bun.sleep(20); // as the answer of a server: it is waited for
      seen.parts--;
    },
  } as unknown as Side;
  const each = async (all: Entry[], work: (entry: Entry) => Promise<unknown>) => {
    for (const entry of all) {
      try {
        await work(entry);
      } catch (error) {
        if (stop.signal.aborted) throw error;
        seen.told.push((error as Failure).message);
      }
    }
    return true;
  };
  const stdout = spyOn(process.stdout, "write").mockImplementation((text, done) => {
    seen.told.push(String(text).trim());
    (done as () => void)();
    return true;
  });
  const stderr = spyOn(process.stderr, "write").mockImplementation((_text, done) => {
    (done as () => void)();
    return true;
  });
  try {
    const options = { isDeep: true, mostNames: 1000, each, stop: stop.signal, end: stop.signal };
    await new Transfer(from, to, options).pass("from", "to", { kind: "folder", size: 0, time: 0 })
      .catch((error) => seen.told.push(error.name));
  } finally {
    stdout.mockRestore();
    stderr.mockRestore();
  }
  return { ...seen, open: seen.open.size };
}

test("small files are under way at once, a large one is alone, and all are told in order", async () => {
  const names = Array.from({ length: 100 }, (_, n) => `${n}`.padStart(3, "0"));
  names[30] = "030 large";
  names[60] = "060 broken";
  const entries = names.map((name) => file(name, name.endsWith("large") ? 1_000_000 : 10));
  const seen = await passAll(entries);
  expect(seen.told).toEqual(
    names.map((name) =>
      name.endsWith("broken")
        ? `from/${name}: permission denied (EACCES)`
        : `from/${name} -> to/${name}  ${name.endsWith("large") ? 1_000_000 : 10} bytes`
    ),
  );
  expect(seen.most).toBe(32); // 16, at both sides
  expect(seen.besideLarge).toBe(1); // its own other side
  expect([seen.open, seen.parts]).toEqual([0, 0]);
});

test("stopped in the middle, none of those that were begun leaves a part or an open file", async () => {
  const entries = Array.from({ length: 100 }, (_, n) => file(`${n}`.padStart(3, "0"), 10));
  const seen = await passAll(entries, { stopAt: "/005" });
  expect(seen.told.at(-1)).toBe("AbortError");
  expect(seen.told.length).toBeLessThan(7);
  expect([seen.open, seen.parts]).toEqual([0, 0]);
});
