/** Characters and bytes: every character whole, however the network cuts it; every garbage survived. */
import { describe, expect, spyOn, test } from "bun:test";
import process from "node:process";
import { Decoder, encode, type Encoding, ENCODINGS } from "../../lib/text.ts";

/** The encoding to try when one is wrong. */
const other = (encoding: string) => (encoding === "gbk" ? "utf-8" : "gbk");

/** Calls a function, and gives what it reports on stderr at once. */
function reports(work: () => void): string {
  let said = "";
  const write = spyOn(process.stderr, "write").mockImplementation((text, done?: unknown) => {
    said += text;
    (done as () => void)(); // it has been handed on
    return true;
  });
  try {
    work();
  } finally {
    write.mockRestore();
  }
  return said;
}

/** Numbers that look random, and are the same in every run (mulberry32). */
function random(seed: number): (below: number) => number {
  return (below) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** Cuts bytes into pieces of random length, 0 to 5. */
function cut(bytes: Buffer, next: (below: number) => number): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = next(6);
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  return pieces;
}

/** Decodes pieces as they would come from the network, and the end. */
function decodeAll(decoder: Decoder, pieces: Uint8Array[]): string {
  return pieces.map((piece) => decoder.decode(piece, "peer", { stream: true })).join("") +
    decoder.decode(Buffer.alloc(0), "peer");
}

describe("encode", () => {
  // By Python 3: "...".encode("gbk").hex()
  const bytes: [text: string, encoding: Encoding, hex: string][] = [
    ["", "utf-8", ""],
    ["你好", "utf-8", "e4bda0e5a5bd"],
    ["é€😀", "utf-8", "c3a9e282acf09f9880"],
    ["\uFFFD", "utf-8", "efbfbd"],
    ["\uFEFFx", "utf-8", "efbbbf78"],
    ["", "gbk", ""],
    ["你好", "gbk", "c4e3bac3"],
    [
      "ok, Processing Request Completion！",
      "gbk",
      `${Buffer.from("ok, Processing Request Completion").toString("hex")}a3a1`,
    ],
    ["丂龥", "gbk", "8140fd9b"],
  ];
  test.each(bytes)("%j in %s", (text, encoding, hex) => {
    expect(encode(text, encoding).toString("hex")).toBe(hex);
  });

  const lacking: [text: string, encoding: Encoding, message: string][] = [
    ["a😀b", "gbk", "😀 (U+1F600): not a character of gbk; nothing was sent (EILSEQ)"],
    ["€", "gbk", "€ (U+20AC): not a character of gbk; nothing was sent (EILSEQ)"],
    ["é好ñ", "gbk", "ñ (U+00F1): not a character of gbk; nothing was sent (EILSEQ)"],
    ["\uFFFD", "gbk", "\uFFFD (U+FFFD): not a character of gbk; nothing was sent (EILSEQ)"],
    ["a\uD83D", "utf-8", "\uFFFD (U+D83D): not a character of utf-8; nothing was sent (EILSEQ)"],
    ["\uDE00\uD83D", "utf-8", "\uFFFD (U+DE00): not a character of utf-8; nothing was sent (EILSEQ)"],
    ["\uD83D", "gbk", "\uFFFD (U+D83D): not a character of gbk; nothing was sent (EILSEQ)"],
  ];
  test.each(lacking)("%j is not in %s", (text, encoding, message) => {
    expect(() => encode(text, encoding)).toThrow(message);
  });

  test("only gbk has an encoding to advise", () => {
    const hint = (encoding: Encoding) => {
      try {
        encode("\uD83D", encoding);
      } catch (error) {
        return (error as { hint?: string }).hint;
      }
    };
    expect(hint("gbk")).toBe("utf-8 has every character: --encoding utf-8 at both ends");
    expect(hint("utf-8")).toBeUndefined();
  });
});

describe("Decoder", () => {
  const whole: Record<Encoding, string> = { "utf-8": "aé你€𠮷😀\uFEFF\uFFFDz", "gbk": "a你好！丂龥z" };
  for (const encoding of ENCODINGS) {
    test(`${encoding}: a character is whole, wherever two cuts fall`, () => {
      const bytes = encode(whole[encoding], encoding);
      const said = reports(() => {
        for (let one = 0; one <= bytes.length; one++) {
          for (let two = one; two <= bytes.length; two++) {
            const pieces = [bytes.subarray(0, one), bytes.subarray(one, two), bytes.subarray(two)];
            expect(decodeAll(new Decoder(encoding), pieces)).toBe(whole[encoding]);
          }
        }
      });
      expect(said).toBe("");
    });

    test(`${encoding}: pending tells whether a character is begun`, () => {
      for (const character of whole[encoding]) {
        const decoder = new Decoder(encoding);
        const bytes = encode(character, encoding);
        expect(decoder.pending).toBe(false);
        for (let at = 0; at < bytes.length; at++) {
          const text = decoder.decode(bytes.subarray(at, at + 1), "peer", { stream: true });
          const isLast = at === bytes.length - 1;
          expect([text, decoder.pending]).toEqual(isLast ? [character, false] : ["", true]);
        }
      }
    });

    test(`${encoding}: bytes that are no text are shown as U+FFFD, and reported once`, () => {
      const decoder = new Decoder(encoding);
      let text = "";
      const said = reports(() => {
        text += decoder.decode(Buffer.from([0x61, 0xff, 0x62]), "127.0.0.1:50001");
        text += decoder.decode(Buffer.from([0xff, 0x63]), "127.0.0.1:50001");
      });
      expect(text).toBe("a\uFFFDb\uFFFDc");
      expect(said).toBe(
        `error: 127.0.0.1:50001: bytes that are not valid ${encoding}, shown as \uFFFD (EILSEQ)\n` +
          `hint: if the other end speaks ${other(encoding)}, use --encoding ${other(encoding)} here\n`,
      );
    });

    test(`${encoding}: what is begun at the end, and never completed, is shown and reported`, () => {
      const decoder = new Decoder(encoding);
      const said = reports(() => {
        const bytes = encode("你", encoding);
        expect(decoder.decode(bytes.subarray(0, 1), "peer", { stream: true })).toBe("");
        expect(decoder.decode(Buffer.alloc(0), "peer")).toBe("\uFFFD");
      });
      expect(said).toStartWith("error: peer: bytes that are not valid");
      expect(decoder.pending).toBe(false);
    });

    test(`${encoding}: garbage means the same, however it is cut`, () => {
      reports(() => {
        for (let seed = 0; seed < 1000; seed++) {
          const next = random(seed);
          const bytes = Buffer.from(
            Array.from({ length: 40 }, () => next(3) ? 0x80 + next(0x80) : next(256)),
          );
          const uncut = new Decoder(encoding).decode(bytes, "peer");
          expect(decodeAll(new Decoder(encoding), cut(bytes, next))).toBe(uncut);
        }
      });
    });
  }

  test("utf-8: U+FFFD that was sent is no error; beside bytes that are no text it is", () => {
    const decoder = new Decoder("utf-8");
    expect(reports(() => expect(decoder.decode(Buffer.from("a\uFFFD"), "peer")).toBe("a\uFFFD"))).toBe("");
    const mixed = Buffer.concat([Buffer.from("\uFFFD"), Buffer.from([0xff])]);
    expect(reports(() => expect(decoder.decode(mixed, "peer")).toBe("\uFFFD\uFFFD"))).not.toBe("");
  });

  test("utf-8: U+FEFF at the beginning is a character too", () => {
    expect(decodeAll(new Decoder("utf-8"), [Buffer.from("\uFEFFx")])).toBe("\uFEFFx");
  });

  test("utf-8: piece by piece what TextDecoder gives, for 2000 random texts", () => {
    // Often the beginning of a character, the middle, and what looks like one.
    const likely = [0x41, 0x80, 0xa0, 0xbf, 0xc1, 0xc3, 0xe0, 0xe4, 0xed, 0xef, 0xbb, 0xf0, 0xf4, 0xf5, 0xff];
    reports(() => {
      for (let seed = 0; seed < 2000; seed++) {
        const next = random(seed);
        const bytes = Buffer.from(
          Array.from({ length: 30 }, () => (next(4) ? likely[next(likely.length)] : next(256))),
        );
        const ours = new Decoder("utf-8");
        const theirs = new TextDecoder("utf-8", { ignoreBOM: true });
        for (const piece of [...cut(bytes, next), Buffer.alloc(0)]) {
          const got = ours.decode(piece, "peer", { stream: true });
          expect([seed, piece.toString("hex"), got]).toEqual([
            seed,
            piece.toString("hex"),
            theirs.decode(piece, { stream: true }),
          ]);
        }
        expect(ours.decode(Buffer.alloc(0), "peer")).toBe(theirs.decode());
      }
    });
  });

  test("gbk: what code page 936 and iconv-lite have beyond it is not valid, as for Python", () => {
    // Python 3: bytes.fromhex("...").decode("gbk") is a UnicodeDecodeError for each of them.
    for (const hex of ["80", "a2e3", "a140", "a8bc", "a6b9"]) {
      const bytes = Buffer.from(hex, "hex");
      const told = reports(() =>
        expect([hex, new Decoder("gbk").decode(bytes, "peer")]).toEqual([hex, "\uFFFD"])
      );
      expect(told).toContain("not valid gbk");
    }
  });

  test("gbk: 100,000 random bytes, cut anywhere, do not make it throw", () => {
    const next = random(7);
    const bytes = Buffer.from(Array.from({ length: 100_000 }, () => next(256)));
    reports(() => expect(decodeAll(new Decoder("gbk"), cut(bytes, next))).toContain("\uFFFD"));
  });
});

describe("what reads bring", () => {
  /** What comes out for what is read, piece by piece. */
  function read(pieces: Uint8Array[], encoding: Encoding = "utf-8"): string[] {
    const decoder = new Decoder(encoding);
    return [...pieces.map((piece) => decoder.read(piece, "peer")), decoder.end("peer")].filter(Boolean);
  }

  test("one text for each read", () => {
    expect(read([Buffer.from("一"), Buffer.from("two")])).toEqual(["一", "two"]);
  });

  test("a read that ends inside a character waits for the rest of it", () => {
    const bytes = Buffer.from("a你b");
    expect(read([bytes.subarray(0, 2), bytes.subarray(2, 3), bytes.subarray(3)])).toEqual(["a你b"]);
    const gbk = encode("好你", "gbk");
    expect(read([gbk.subarray(0, 3), gbk.subarray(3)], "gbk")).toEqual(["好你"]);
  });

  test("nothing for an end without a word", () => {
    expect(read([])).toEqual([]);
  });

  test("a peer that never completes a character is not collected without bound", () => {
    const pieces = Array.from({ length: 20 }, (_, index) =>
      Buffer.concat([
        Buffer.from(index === 0 ? [] : [0xbd, 0xa0]),
        Buffer.from("x".repeat(10_000)),
        Buffer.from([0xe4]),
      ]));
    const got = read([...pieces, Buffer.from([0xbd, 0xa0])]);
    expect(got.length).toBeGreaterThan(2);
    expect(Math.max(...got.map((text) => text.length))).toBeLessThan(80_000);
    expect(got.join("")).toBe(`${"x".repeat(10_000)}你`.repeat(20));
  });

  test("garbage is handed on at once: it waits for no rest of what is no character", () => {
    reports(() => {
      for (const garbage of [[0xff], [0xc0], [0xe0, 0x80], [0xed, 0xa0], [0xf5]]) {
        expect(new Decoder("utf-8").read(Buffer.from(garbage), "peer")).toMatch(/^\uFFFD+$/);
      }
    });
  });
});
