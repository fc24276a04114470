import { heapStats } from "bun:jsc";
import { expect, test } from "bun:test";
import { frame, type Framing, LIMIT, Unframer } from "../../lib/framing.ts";

/** What comes out of a stream that arrives in these reads. */
function unframe(reads: Iterable<Buffer>, framing: Framing): Buffer[] {
  const unframer = new Unframer(framing, "somebody");
  const found: Buffer[] = [];
  for (const read of reads) for (const message of unframer.messages(read)) found.push(Buffer.from(message));
  expect(unframer.pending).toBe(false);
  return found;
}

function* cut(bytes: Buffer, size: () => number): Generator<Buffer> {
  for (let at = 0; at < bytes.length;) {
    const end = at + size();
    yield bytes.subarray(at, end);
    at = end;
  }
}

const text = (messages: Buffer[]) => messages.map(String);
const failure = (code: string) => expect.objectContaining({ code });

test("a frame is what the figure says", () => {
  expect(frame(Buffer.from("你好"), "length").toString("hex")).toBe("00000006e4bda0e5a5bd");
  expect(frame(Buffer.alloc(0), "length").toString("hex")).toBe("00000000");
  expect(frame(Buffer.alloc(70_000), "length").subarray(0, 4).toString("hex")).toBe("00011170");
  expect(frame(Buffer.from("你好"), "line").toString("hex")).toBe("e4bda0e5a5bd0a");
  expect(frame(Buffer.alloc(0), "line").toString("hex")).toBe("0a");
  expect(frame(Buffer.from("a\n"), "none").toString("hex")).toBe("610a");
});

test("a line cannot contain a line end, and no message exceeds the limit", () => {
  expect(() => frame(Buffer.from("a\nb"), "line")).toThrow(failure("EINVAL"));
  for (const framing of ["line", "length"] as const) {
    expect(() => frame(Buffer.alloc(LIMIT + 1), framing)).toThrow(failure("EMSGSIZE"));
    expect(unframe([frame(Buffer.alloc(LIMIT), framing)], framing)).toEqual([Buffer.alloc(LIMIT)]);
  }
});

/** Runs something, and counts the bytes that buffers copy meanwhile. */
function countingCopies<T>(work: () => T): { result: T; copied: number } {
  const { copy } = Buffer.prototype, { concat } = Buffer;
  let copied = 0;
  Buffer.prototype.copy = function (...words: Parameters<Buffer["copy"]>) {
    const count = copy.apply(this, words);
    copied += count;
    return count;
  };
  Buffer.concat = (list, length) => {
    const whole = concat(list, length);
    copied += whole.length;
    return whole;
  };
  try {
    const result = work();
    return { result, copied };
  } finally {
    Buffer.prototype.copy = copy;
    Buffer.concat = concat;
  }
}

for (const framing of ["line", "length"] as const) {
  test(`${framing}: messages are found again wherever two cuts fall`, () => {
    const messages = ["", "你好", "", "x", "再见，\r\0\\"];
    const stream = Buffer.concat(messages.map((message) => frame(Buffer.from(message), framing)));
    for (let first = 0; first <= stream.length; first++) {
      for (let second = first; second <= stream.length; second++) {
        const reads = [stream.subarray(0, first), stream.subarray(first, second), stream.subarray(second)];
        expect(text(unframe(reads, framing))).toEqual(messages);
      }
    }
  });

  test(`${framing}: single bytes make large messages, each byte copied a few times`, () => {
    const messages = Array.from({ length: 12 }, (_, index) => Buffer.alloc(LIMIT, 65 + index));
    const stream = Buffer.concat(messages.map((message) => frame(message, framing)));
    const { result, copied } = countingCopies(() => unframe(cut(stream, () => 1), framing));
    expect(result).toEqual(messages);
    // One and a half million reads. Copying what is there for each of them would be 100 GB.
    expect(copied).toBeGreaterThanOrEqual(12 * LIMIT);
    expect(copied).toBeLessThan(3 * stream.length);
  });

  test(`${framing}: a stream that ends inside a message is seen to`, () => {
    const stream = Buffer.concat([frame(Buffer.from("a"), framing), frame(Buffer.from("bc"), framing)]);
    for (let end = 0; end <= stream.length; end++) {
      const unframer = new Unframer(framing, "somebody");
      Array.from(unframer.messages(stream.subarray(0, end)));
      const wholes = [0, frame(Buffer.from("a"), framing).length, stream.length];
      expect(unframer.pending).toBe(!wholes.includes(end));
    }
  });
}

test("none: what a read brings passes for a message", () => {
  const reads = [Buffer.from("glu"), Buffer.from("ed\n\0")];
  expect(unframe(reads, "none")).toEqual(reads);
});

test("a length above the limit is refused with its header, before it is promised memory", () => {
  for (const length of [LIMIT + 1, 0x7fffffff, 0x80000000, 0xffffffff]) {
    const header = Buffer.alloc(4);
    header.writeUInt32BE(length);
    const unframer = new Unframer("length", "somebody");
    expect(() => Array.from(unframer.messages(header))).toThrow(
      `somebody: announces a message of ${length} bytes; the limit is ${LIMIT} (EMSGSIZE)`,
    );
  }
});

test("a promise within the limit takes no memory", () => {
  const header = Buffer.alloc(4);
  header.writeUInt32BE(LIMIT);
  const before = heapStats().extraMemorySize;
  const callers = Array.from({ length: 500 }, () => new Unframer("length", "somebody"));
  for (const caller of callers) expect(Array.from(caller.messages(header))).toEqual([]);
  // 500 promises of LIMIT bytes; what the collector frees or takes meanwhile is some thousand.
  expect(heapStats().extraMemorySize - before).toBeLessThan(10 * LIMIT);
  expect(callers.every(({ pending }) => pending)).toBe(true);
});

test("a line above the limit is refused with the byte that exceeds it, in one read or in many", () => {
  for (const size of [1, 1000, LIMIT, LIMIT + 1]) {
    const unframer = new Unframer("line", "somebody");
    let kept = 0;
    expect(() => {
      for (const read of cut(Buffer.alloc(2 * LIMIT, "x"), () => size)) {
        Array.from(unframer.messages(read));
        kept += read.length;
      }
    }).toThrow(failure("EMSGSIZE"));
    expect(kept).toBe(Math.floor(LIMIT / size) * size);
  }
});

test("no byte of a GBK character is a line end, and some are a backslash", () => {
  const decoder = new TextDecoder("gbk", { fatal: true });
  const encoded: Buffer[] = [];
  for (let lead = 0x81; lead <= 0xfe; lead++) {
    for (let trail = 0; trail <= 0xff; trail++) {
      const bytes = Buffer.of(lead, trail);
      try {
        if (Array.from(decoder.decode(bytes)).length === 1) encoded.push(bytes);
      } catch {
        // not a character
      }
    }
  }
  expect(encoded.length).toBeGreaterThan(20_000);
  expect(encoded.filter((bytes) => bytes.includes(0x0a))).toEqual([]);
  expect(encoded.some((bytes) => bytes.equals(Buffer.of(0x81, 0x5c)))).toBe(true); // 乗
  const stream = Buffer.concat(encoded.map((bytes) => frame(bytes, "line")));
  expect(unframe(cut(stream, () => 4), "line")).toEqual(encoded);
});
