/** Every parser of bytes and words, with inputs of any kind: round trips, any cut into pieces, no surprise, linear work. */
import { describe, expect, test } from "bun:test";
import { basename, join } from "node:path";
import { isIP } from "node:net";
import { checkName } from "../../lib/files.ts";
import { frame, LIMIT, Unframer } from "../../lib/framing.ts";
import { formatIp, parseIp } from "../../lib/ip.ts";
import { visible } from "../../lib/program.ts";
import { endpoint } from "../../lib/socket.ts";
import { decode, Decoder, encode } from "../../lib/text.ts";
import { FrameStream } from "../../scripts/apps/download/protocol.ts";
import { decodeDirect, encodeDirect, wayOf } from "../../scripts/apps/messenger/direct-datagram.ts";
import { checkName as checkPerson, looks } from "../../scripts/apps/messenger/names.ts";
import { messageFrame, readMessage, TO_CLIENT, TO_SERVER } from "../../scripts/apps/messenger/protocol.ts";
import {
  decodeRegistration,
  decodeSeen,
  encodeRegistration,
  encodeSeen,
  readEndpoint,
} from "../../scripts/apps/messenger/registration.ts";
import { expand, matches } from "../../scripts/apps/sftp/glob.ts";
import { fingerprint, judge, keyType, knownKeys } from "../../scripts/apps/sftp/known-hosts.ts";
import { requests } from "../../scripts/apps/sftp/protocol.ts";
import { quoteLike, splitWords, unfinishedWords } from "../../scripts/apps/sftp/shell-words.ts";
import { sourceOf } from "../../scripts/apps/source-of.ts";
import { echoRequest, parseEcho } from "../../scripts/raw/icmp.ts";
import { isSameAddress } from "../../scripts/udp/same-address.ts";
import {
  decodeCounts,
  decodeFile,
  decodeNumber,
  decodePacket,
  decodeReason,
  encodeArrived,
  encodeCounts,
  encodeFile,
  encodeNumber,
  encodePacket,
  encodeReason,
  hasArrived,
  LARGEST_WINDOW,
} from "../../scripts/udp/reliable-packet.ts";
import { parseHead, parseSections } from "../engine/head.ts";
import {
  bytes,
  copied,
  cuts,
  fc,
  holds,
  orFailure,
  orFailureLater,
  pieces,
  stream,
  text,
  turned,
} from "../engine/property.ts";

const share = fc.double({ min: 0, max: 1, noNaN: true });
const uint32 = fc.integer({ min: 0, max: 0xffff_ffff });
const port = fc.integer({ min: 1, max: 65_535 });
const address = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }).map((number) => formatIp({ version: 4, number })),
  fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }).map((number) => formatIp({ version: 6, number })),
);
const encodings = fc.constantFrom("utf-8" as const, "gbk" as const);
const known = fc.string({
  unit: fc.constantFrom("a", "\\", "\n", "é", "你", "乗", "；", "~", " "),
  maxLength: 60,
});

describe("lib/framing", () => {
  for (const framing of ["line", "length"] as const) {
    const message = bytes().map((one) => framing === "line" ? one.filter((byte) => byte !== 10) : one);
    const all = (parts: Buffer[]) => {
      const unframer = new Unframer(framing, "it");
      const found = parts.flatMap((part) => Array.from(unframer.messages(part), (one) => Buffer.from(one)));
      return { found, pending: unframer.pending };
    };

    holds(
      `${framing}: messages are found again, however they are cut`,
      [fc.array(message), cuts],
      (sent, at) => {
        const whole = Buffer.concat(sent.map((one) => frame(one, framing)));
        expect(all(pieces(whole, at))).toEqual({
          found: sent.map((one) => Buffer.from(one)),
          pending: false,
        });
      },
    );

    /** The same, as simple as it can be said. */
    const simply = (whole: Buffer): ReturnType<typeof all> => {
      const [start, after] = framing === "length" ? [4, 0] : [0, 1];
      const isThere = framing === "line" ? whole.includes(10) : whole.length >= 4;
      const size = !isThere ? Infinity : framing === "line" ? whole.indexOf(10) : whole.readUInt32BE();
      const end = start + size + after;
      if (end > whole.length) return { found: [], pending: whole.length > 0 };
      const { found, pending } = simply(whole.subarray(end));
      return { found: [Buffer.from(whole.subarray(start, start + size)), ...found], pending };
    };
    const begun = fc.tuple(fc.nat(20), bytes(3)).map(([size, some]) =>
      Buffer.concat([encodeNumber(size), some])
    );
    const broken = fc.tuple(fc.array(message, { maxLength: 4 }), fc.oneof(bytes(9), begun)).map((
      [whole, rest],
    ) => Buffer.concat([...whole.map((one) => frame(one, framing)), rest]));
    holds(`${framing}: what is whole is given, and what is not is pending`, [broken, cuts], (whole, at) => {
      const found = orFailure(["EMSGSIZE"], () => all(pieces(whole, at)));
      if (typeof found !== "string") expect(found).toEqual(simply(whole));
    });

    holds(`${framing}: any bytes mean the same, however they are cut`, [bytes(), cuts], (whole, at) => {
      const read = (parts: Buffer[]) => orFailure(["EMSGSIZE"], () => all(parts));
      expect(read(pieces(whole, at))).toEqual(read([whole]));
    });

    test(`${framing}: twice as many single bytes are twice as much work`, async () => {
      const work = (size: number) => {
        const whole = frame(Buffer.alloc(size, "x"), framing);
        return copied(() => all(Array.from(whole, (_, at) => whole.subarray(at, at + 1))));
      };
      const [once, twice] = [await work(LIMIT / 4), await work(LIMIT / 2)];
      expect(once).toBeGreaterThan(LIMIT / 4);
      expect(twice).toBeLessThan(2.1 * once);
    });
  }
});

describe("lib/text", () => {
  const decoded = (parts: Buffer[], encoding: "utf-8" | "gbk") => {
    const decoder = new Decoder(encoding);
    return parts.map((part) => decoder.decode(part, "it", { stream: true })).join("") + decoder.end("it");
  };

  holds(
    "what has been encoded is decoded, however it is cut",
    [known, encodings, cuts],
    (sent, encoding, at) => {
      const whole = encode(sent, encoding);
      expect(decoded(pieces(whole, at), encoding)).toBe(sent);
      expect(decode(whole, encoding, "it")).toBe(sent);
    },
  );

  holds("a text is encoded whole, or not at all", [text(), encodings], (sent, encoding) => {
    const whole = orFailure(["EILSEQ"], () => encode(sent, encoding));
    if (typeof whole !== "string") expect(decode(whole, encoding, "it")).toBe(sent);
    else if (encoding === "utf-8") expect(sent.isWellFormed()).toBe(false);
  });

  // A report on stderr for each input that is no text would be thousands of lines.
  const quiet = (work: () => void) => {
    const { write } = process.stderr;
    process.stderr.write = (_: unknown, done?: unknown) => {
      if (typeof done === "function") done();
      return true;
    };
    try {
      work();
    } finally {
      process.stderr.write = write;
    }
  };
  holds(
    "any bytes mean the same, however they are cut",
    [bytes(60), encodings, cuts],
    (whole, encoding, at) => {
      quiet(() => expect(decoded(pieces(whole, at), encoding)).toBe(decoded([whole], encoding)));
    },
  );

  holds("what is shown moves no cursor, and hides nothing", [text()], (any) => {
    const shown = visible(any);
    expect(shown).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\u2800\u200b\u2060\ufeff]/u);
    expect(visible(shown)).toBe(shown);
  });
});

describe("lib/ip, lib/socket and lib/files", () => {
  holds("an address is read as it was written", [address], (one) => {
    expect(isIP(one)).toBe(parseIp(one).version);
    expect(formatIp(parseIp(one))).toBe(one);
    expect(isSameAddress(one, formatIp(parseIp(one)))).toBe(true);
    const { version, number } = parseIp(sourceOf(one));
    if (version === 6) expect(number & (2n ** 64n - 1n)).toBe(0n); // a whole network: one machine has all of it
    expect(sourceOf(`${one}%eth0`)).toBe(sourceOf(one));
  });

  const octet = fc.oneof(
    fc.integer({ min: 0, max: 300 }).map(String),
    fc.constantFrom("00", "01", "256", ""),
  );
  const dotted = fc.array(octet, { minLength: 3, maxLength: 5 }).map((all) => all.join("."));
  const hex = fc.integer({ min: 0, max: 0x1_0010 }).map((one) => one.toString(16));
  const group = fc.oneof(hex, fc.constantFrom("", "0", "g"));
  const grouped = fc.tuple(fc.array(group, { minLength: 1, maxLength: 9 }), fc.option(dotted, { nil: "" }))
    .map(([all, end]) => [...all, ...(end === "" ? [] : [end])].join(":"));
  const written = fc.tuple(
    fc.oneof(dotted, grouped.map((one) => `[${one}]`), fc.constantFrom("[::0]", "127.0.0.1")),
    fc.constantFrom("1", "01", "65536", "0", "80"),
  ).map(([host, end]) => `${host}:${end}`);
  const soup = fc.string({ unit: fc.constantFrom(..."0123456789abf:.%/[] "), maxLength: 45 });
  const almost = fc.oneof(soup, dotted, grouped, written);
  holds("what is no address is told, and the system agrees", [fc.oneof(text(), almost)], (any) => {
    const found = orFailure(["EINVAL"], () => parseIp(any));
    const isOne = typeof found !== "string";
    if (!any.includes("%")) expect([any, isOne ? found.version : 0]).toEqual([any, isIP(any)]);
    else expect(isOne).toBe(false);
  });

  holds("an endpoint is read as it was written", [address, port], (one, number) => {
    const plain = one.replace(/^::ffff:(?=\d+\.)/, "");
    const isGroup = /^(22[4-9]|2[3-5]\d)\.|^ff/.test(plain);
    const wanted = isGroup ? undefined : { address: plain, port: number };
    expect(readEndpoint(endpoint(one, number))).toEqual(wanted);
  });

  holds("any other text is no endpoint, or is written as it was read", [fc.oneof(text(), almost)], (any) => {
    const found = readEndpoint(any);
    if (found) expect(endpoint(found.address, found.port)).toBe(any);
  });

  holds("a name that is accepted stays in its folder", [text()], (any) => {
    if (orFailure(["EINVAL", "ENAMETOOLONG"], () => checkName(any, "linux")) !== undefined) return;
    const path = join("/folder", any);
    expect([path, basename(path)]).toEqual([`/folder/${any}`, any]);
    expect(Buffer.from(any).toString()).toBe(any);
  });
});

describe("udp/reliable-packet", () => {
  const packet = fc.record({
    type: fc.constantFrom("SYN", "DATA", "FIN", "ACK", "SAVED", "RST", "SYNACK"),
    connection: uint32,
    number: uint32,
    window: fc.integer({ min: 0, max: 0xffff }),
    timestamp: uint32,
    payload: bytes(1200),
  });

  holds("a packet is read as it was written; with one wrong bit it is none", [packet, share], (sent, at) => {
    expect(decodePacket(encodePacket(sent))).toEqual(sent);
    expect(decodePacket(turned(encodePacket(sent), at))).toBeUndefined();
  });

  holds("any bytes are a packet or none", [bytes(1300)], (any) => {
    const found = decodePacket(any);
    if (found) expect(encodePacket(found)).toEqual(any);
  });

  holds("what packets carry is read as it was written", [
    fc.record({ name: text().filter((name) => name.isWellFormed()), size: fc.maxSafeNat() }),
    fc.record({ damaged: uint32, duplicate: uint32, early: uint32 }),
    uint32,
  ], (file, counts, number) => {
    expect(decodeFile(encodeFile(file))).toEqual(file);
    expect(decodeCounts(encodeCounts(counts))).toEqual(counts);
    expect(decodeNumber(encodeNumber(number))).toBe(number);
  });

  const sized = fc.tuple(fc.nat(), bytes(20))
    .map(([size, name]) => Buffer.concat([Buffer.alloc(4), encodeNumber(size), name]));
  holds("any bytes can be carried", [fc.oneof(bytes(), sized)], (any) => {
    const file = decodeFile(any);
    if (file && Number.isSafeInteger(file.size)) expect(encodeFile(file)).toEqual(any);
    decodeNumber(any);
    expect(Object.values(decodeCounts(any)).every(Number.isInteger)).toBe(true);
    const { code, why } = decodeReason(any);
    expect(code).toMatch(/^E[A-Z0-9_]{1,30}$/);
    expect(why.length).toBeWithin(1, 201);
    expect(encodeReason({ code, why: "x".repeat(5000) }, any.length).length).toBeLessThanOrEqual(any.length);
  });

  const window = fc.uniqueArray(fc.integer({ min: 1, max: LARGEST_WINDOW - 1 }));
  holds("an ACK tells which packets have come, and no others", [fc.nat(2 ** 31), window], (number, later) => {
    const payload = Buffer.from(encodeArrived(number, later.map((one) => number + one)));
    const ack = { type: "ACK" as const, connection: 0, number, window: 0, timestamp: 0, payload };
    for (let one = -2; one <= LARGEST_WINDOW + 9; one++) {
      expect(hasArrived(ack, number + one)).toBe(one < 0 || later.includes(one));
    }
  });
});

describe("apps/messenger", () => {
  const key = Buffer.alloc(32, 7);
  const place = fc.record({ address: address.map((one) => one.replace(/^::ffff:(?=\d+\.)/, "")), port });
  const token = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((array) => Buffer.from(array));
  const cookie = fc.uint8Array({ minLength: 8, maxLength: 8 }).map((array) => Buffer.from(array));
  const datagram = fc.oneof(
    fc.record({ type: fc.constantFrom("PROBE", "ANSWER", "ACK"), payload: uint32.map(encodeNumber) }),
    fc.record({ type: fc.constant("BYE"), payload: fc.constantFrom(Buffer.of(0), Buffer.of(1)) }),
    fc.record({
      type: fc.constant("MESSAGE"),
      payload: bytes(1024).map((one) => Buffer.concat([Buffer.alloc(4), one])),
    }),
  );

  holds(
    "a direct datagram is read as it was written; with one wrong bit it is none",
    [datagram, fc.constantFrom(0 as const, 1 as const), uint32, uint32, share],
    (one, side, way, number, at) => {
      const sent = { ...one, side, way, number } as Parameters<typeof encodeDirect>[0];
      const whole = encodeDirect(sent, key);
      expect(decodeDirect(whole, key)).toEqual(sent);
      expect(wayOf(whole)).toBe(way);
      expect(decodeDirect(turned(whole, at), key)).toBeUndefined();
    },
  );

  const name = fc.string({
    unit: fc.constantFrom("a", "张", "三", "é", "😀", "1"),
    minLength: 1,
    maxLength: 32,
  });
  holds("a registration, and its answer", [token, cookie, place, name], (token, cookie, own, name) => {
    const registration = { token, cookie, own, name };
    expect(decodeRegistration(encodeRegistration(registration))).toEqual(registration);
    expect(decodeSeen(encodeSeen(token, { cookie, seen: own }), token)).toEqual({ cookie, seen: own });
  });

  const head = fc.oneof(
    fc.constant(Buffer.alloc(0)),
    fc.constant(Buffer.from("SbE\x01\x01")),
    fc.constant(Buffer.from("SbE\x01\x03")),
  );
  holds("any datagram is one of ours or none", [head, bytes()], (head, rest) => {
    const any = Buffer.concat([head, rest]);
    expect(decodeDirect(any, key)).toBeUndefined();
    const registration = decodeRegistration(any);
    if (registration) expect(registration.token.length + registration.cookie.length).toBe(24);
    const seen = Buffer.concat([Buffer.from("SbE\x01\x02"), any]);
    const answer = decodeSeen(seen, seen.subarray(5, 21));
    if (answer) expect(isIP(answer.seen.address)).toBeGreaterThan(0);
  });

  holds("a message is read as it was written", [uint32, known, encodings], (id, words, encoding) => {
    const message = { type: "send" as const, id, to: null, text: words, also: ["a"] };
    const whole = messageFrame(message, encoding);
    expect(readMessage(whole.subarray(4), encoding, TO_SERVER, "it")).toEqual(message);
  });

  const digits = (length: number) =>
    fc.string({ unit: fc.constantFrom(..."0123456789abcdef"), minLength: length, maxLength: length });
  const flag = fc.boolean();
  const names = fc.array(text(8), { maxLength: 3 });
  const right: Record<string, fc.Arbitrary<unknown>> = {
    ...{ version: fc.constant(1), id: uint32, way: uint32, side: fc.constantFrom(0, 1), time: fc.nat() },
    ...{ secret: digits(32), token: digits(32), instance: digits(16), key: digits(64) },
    ...{ name: text(8), from: text(8), to: fc.option(text(8)), text: text(), why: text() },
    ...{ code: fc.constantFrom("EPERM", "no"), late: flag, all: flag, again: flag },
    ...{ also: names, here: names, away: names, endpoints: names },
  };
  const shapes: [string, readonly string[]][] = [...Object.entries(TO_SERVER), ...Object.entries(TO_CLIENT)];
  const object = fc.constantFrom(...shapes, ["toString", []] as [string, string[]]).chain(
    ([type, fields]) => {
      const wrong = { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 1 }) };
      const all = fields.map((name) => [name, fc.oneof({ weight: 20, arbitrary: right[name] }, wrong)]);
      return fc.record(Object.fromEntries(all)).map((rest) => JSON.stringify({ ...rest, type }));
    },
  );
  // JSON can name, in ASCII, a character that the encoding lacks.
  const escape = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  const escaped = object.map((json) => json.replace(/[^ -~]/g, escape));
  holds("any JSON is a message or an error, and a message can be passed on", [
    fc.oneof(fc.json(), object, escaped),
    encodings,
  ], (json, encoding) => {
    const payload = orFailure(["EILSEQ"], () => encode(json, encoding));
    if (typeof payload === "string") return;
    for (const shapes of [TO_SERVER, TO_CLIENT]) {
      const found = orFailure(
        ["EPROTO", "EMSGSIZE", "EILSEQ"],
        () => readMessage(payload, encoding, shapes, "it"),
      );
      if (typeof found !== "string") messageFrame(found, encoding);
    }
  });

  holds("a name is composed, one word, and looks like itself", [text(33)], (any) => {
    const found = orFailure(["EINVAL", "ENAMETOOLONG"], () => checkPerson(any));
    if (found === "EINVAL" || found === "ENAMETOOLONG") return;
    expect(checkPerson(found)).toBe(found);
    expect(found).not.toMatch(/[\s\p{Cc}\p{Cf}]/u);
    expect(looks(found).length).toBeGreaterThan(0);
  });
});

describe("apps/download", () => {
  const socketOf = (parts: Buffer[]) => ({ iterator: () => stream(parts), destroy() {} }) as never;
  const read = (parts: Buffer[]) =>
    orFailureLater(["EPROTO", "EMSGSIZE"], async () => {
      const frames = new FrameStream(socketOf(parts), "it");
      const found = [];
      for (let one = await frames.receive(); one; one = await frames.receive()) {
        found.push(one.kind === "piece" ? Buffer.from(one.bytes) : one.message);
      }
      return joined(found);
    });
  /** Where pieces follow each other, their bytes: how the reads have cut them means nothing. */
  const joined = (all: unknown[]) =>
    all.reduce<unknown[]>((before, one) => {
      const last = before.at(-1);
      return Buffer.isBuffer(one) && Buffer.isBuffer(last)
        ? [...before.slice(0, -1), Buffer.concat([last, one])]
        : [...before, one];
    }, []);
  const framed = (kind: number, payload: Uint8Array) =>
    frame(Buffer.concat([Buffer.of(kind), payload]), "length");
  const one = fc.oneof(
    bytes(),
    fc.dictionary(
      text(8).filter((name) => name !== "__proto__" && name !== "wait" && name.isWellFormed()),
      fc.nat(),
    ),
  );

  holds(
    "frames are found again, however they are cut",
    [fc.array(one, { maxLength: 6 }), cuts],
    async (sent, at) => {
      const whole = sent.map((one) =>
        Buffer.isBuffer(one) ? framed(1, one) : framed(0, Buffer.from(JSON.stringify(one)))
      );
      const wanted = sent.map((one) => Buffer.isBuffer(one) ? one : JSON.parse(JSON.stringify(one)));
      expect(await read(pieces(Buffer.concat(whole), at))).toEqual(joined(wanted));
    },
  );

  const kind = fc.constantFrom(0, 1, 2);
  holds(
    "any bytes are frames or an error, however they are cut",
    [kind, fc.oneof(bytes(), fc.json({ maxDepth: 1 }).map((json) => Buffer.from(json))), bytes(20), cuts],
    async (kind, payload, rest, at) => {
      const whole = Buffer.concat([framed(kind, payload), rest]);
      const found = await read(pieces(whole, at));
      expect(found).toEqual(await read([whole]));
      for (const one of typeof found === "string" ? [] : found) expect(Object(one)).toBe(one);
    },
  );
});

describe("apps/sftp", () => {
  const read = (parts: Buffer[]) =>
    orFailureLater(["EPROTO"], () => Array.fromAsync(requests(stream(parts), "it")));
  const counted = (one: Uint8Array) => Buffer.concat([encodeNumber(one.length), one]);
  const packet = fc.tuple(
    fc.oneof(fc.integer({ min: 0, max: 20 }), fc.constantFrom(200, 255)),
    uint32,
    fc.array(fc.oneof(bytes(40).map(counted), uint32.map(encodeNumber), bytes(9)), { maxLength: 5 }),
  ).map(([type, id, fields]) => counted(Buffer.concat([Buffer.of(type), encodeNumber(id), ...fields])));
  const init = counted(Buffer.of(1, 0, 0, 0, 3));

  holds("any packets are requests or an error, however they are cut", [
    fc.array(packet, { maxLength: 6 }),
    cuts,
  ], async (packets, at) => {
    const whole = Buffer.concat([init, ...packets]);
    const found = await read(pieces(whole, at));
    expect(found).toEqual(await read([whole]));
    if (packets.some((one) => one[4] === 1)) expect(found).toBe("EPROTO"); // init once more
    if (packets.length > 0 && packets[0][4] !== 1) expect(await read(packets)).toBe("EPROTO"); // no init
  });

  holds(
    "a request is read as it was written",
    [uint32, fc.array(bytes(40), { maxLength: 6 }), cuts],
    async (id, written, at) => {
      const place = Buffer.alloc(8);
      const writes = written.map((one) =>
        counted(
          Buffer.concat([Buffer.of(6), encodeNumber(id), counted(encodeNumber(7)), place, counted(one)]),
        )
      );
      const found = await read(pieces(Buffer.concat([init, ...writes]), at));
      expect(found.slice(1)).toEqual(
        written.map((bytes) => ({ kind: "write", handle: 7, place: 0, bytes, id }) as never),
      );
    },
  );

  test("twice as many single bytes are twice as much work", async () => {
    const work = (size: number) => {
      const whole = Buffer.concat([
        init,
        counted(Buffer.concat([Buffer.of(17), encodeNumber(1), counted(Buffer.alloc(size, "x"))])),
      ]);
      return copied(() => read(Array.from(whole, (_, at) => whole.subarray(at, at + 1))));
    };
    const [once, twice] = [await work(20_000), await work(40_000)];
    expect(once).toBeGreaterThan(20_000);
    expect(twice).toBeLessThan(2.1 * once);
  });

  const words = fc.string({
    unit: fc.constantFrom(..."ab *?[]!-\\'\"#~/.\t", "猫", "😀"),
    minLength: 1,
    maxLength: 20,
  });
  holds("a name is one word, however it is quoted", [
    fc.oneof(words, text(20)),
    fc.constantFrom("", "'", '"'),
  ], (name, typed) => {
    if (name === "" || /[\r\n]/.test(name)) return;
    const line = `get ${quoteLike(typed, name)}${typed}`;
    expect(splitWords(line).map((word) => word.text)).toEqual(["get", name]);
    expect(matches(splitWords(line)[1].pattern, name)).toBe(true);
  });

  holds("any line is words or an error, and can be completed", [fc.oneof(words, text())], (line) => {
    const found = orFailure(["EINVAL"], () => splitWords(line));
    if (typeof found !== "string") {
      for (const { typed, start } of found) expect(line.slice(start)).toStartWith(typed);
    }
    expect(unfinishedWords(line).length).toBeGreaterThan(0);
  });

  holds("a pattern without magic means itself alone", [words, words], (one, other) => {
    const plain = one.replace(/[*?[\]\\]/g, "\\$&");
    expect(matches(plain, one)).toBe(true);
    expect(matches(plain, other)).toBe(one === other);
  });

  const letters = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 12 });
  const pattern = fc.string({ unit: fc.constantFrom("a", "b", "*", "?", "[ab]", "[!a]"), maxLength: 8 });
  holds("a pattern means what the regular expression means", [pattern, letters], (pattern, name) => {
    const expression = pattern.replaceAll("[!a]", "b").replaceAll("*", ".*").replaceAll("?", ".");
    expect(matches(pattern, name)).toBe(RegExp(`^${expression}$`).test(name));
  });

  holds("any pattern is one or an error", [words, words], async (pattern, name) => {
    const found = orFailure(["EINVAL"], () => matches(pattern, name));
    const names = await orFailureLater(
      ["EINVAL", "EPROTO"],
      () => expand(pattern, () => Promise.resolve([name.replaceAll("/", "_")])),
    );
    if (typeof found === "boolean" && typeof names !== "string") expect(Array.isArray(names)).toBe(true);
  });

  test("a match takes no more steps than pattern and name have characters, multiplied", () => {
    const name = "a".repeat(2000);
    let steps = 0;
    const counting = new Proxy(Array.from(name), { get: (array, at) => (steps++, Reflect.get(array, at)) });
    const { from } = Array;
    Array.from =
      ((...words: Parameters<typeof from>) => words[0] === name ? counting : from(...words)) as typeof from;
    try {
      expect(matches("*a*a*a*a*a*b", name)).toBe(false);
    } finally {
      Array.from = from;
    }
    expect(steps).toBeWithin(2000, 12 * 2000 * 3);
  });

  const type = Buffer.from("ssh-ed25519");
  const publicKey = bytes(40).map((rest) =>
    Buffer.concat([encodeNumber(type.length), type, encodeNumber(rest.length), rest])
  );
  const host = fc.string({ unit: fc.constantFrom("a", "b", ".", "-", "1"), minLength: 1, maxLength: 12 });
  holds(
    "a key is known by its line, and no other",
    [publicKey, publicKey, host, text(20)],
    (key, other, name, noise) => {
      const lines = `${noise.replaceAll("\n", " ").replace(/^/, "# ")}\n${name} ssh-ed25519 ${
        key.toString("base64")
      }\n`;
      const known = knownKeys(lines, name);
      expect(judge(known, key)).toEqual({ kind: "known", line: 2 });
      if (!key.equals(other)) expect(judge(known, other)).toEqual({ kind: "changed", line: 2 });
      expect(knownKeys(lines, `${name}x`)).toEqual([]);
      expect(fingerprint(key)).toMatch(/^SHA256:[\w+/]{43}$/);
    },
  );

  const line = fc.array(
    fc.oneof(
      fc.constantFrom(
        "@revoked",
        "@cert-authority",
        "|1|AA==|AA==",
        "*",
        "!a",
        "a",
        "ssh-ed25519",
        "ssh-rsa",
        "AAAAC3NzaC1lZDI1NTE5",
        "AAAAC3NzaC1lZDI1NTE5AA==",
      ),
      text(12),
    ),
    { maxLength: 5 },
  );
  holds("any file of known hosts can be read", [fc.array(line, { maxLength: 4 })], (lines) => {
    const file = lines.map((words) => words.join(" ")).join("\n");
    for (const { line, type, key } of knownKeys(file, "a")) {
      expect(line).toBeWithin(1, file.split("\n").length + 1);
      expect(keyType(key)).toBe(type);
    }
  });
});

describe("raw/icmp", () => {
  const uint16 = fc.integer({ min: 0, max: 0xffff });
  const family = fc.constantFrom(4 as const, 6 as const);

  holds(
    "an echo is read as it was written",
    [family, uint16, uint16, fc.nat(100)],
    (family, identifier, sequence, size) => {
      const found = parseEcho(family, echoRequest(family, identifier, sequence, size));
      expect(found).toEqual({ isReply: false, identifier, sequence, isIntact: true });
    },
  );

  holds(
    "over IPv4, one wrong bit is seen",
    [uint16, uint16, fc.nat(100), share],
    (identifier, sequence, size, at) => {
      const damaged = turned(echoRequest(4, identifier, sequence, size), at);
      expect(parseEcho(4, damaged)?.isIntact ?? false).toBe(false);
    },
  );
});

describe("the head of a lesson", () => {
  const row = fc.oneof(
    text(30),
    fc.constantFrom(
      "1.1 A title: an idea.",
      "terminal 1",
      "  $ bun x",
      "  > typed",
      "  [exit 2]",
      "Python  s.send()  ->  send()",
      "中文 标题：想法。",
      "",
    ),
  );
  holds("any comment is a head, or an error with its line", [fc.array(row, { maxLength: 8 })], (rows) => {
    const source = `/**\n${rows.map((row) => ` * ${row.replaceAll("\n", " ")}\n`).join("")} */\n`;
    for (const parse of [() => parseHead(source), () => parseSections(rows)]) {
      try {
        parse();
      } catch (error) {
        expect((error as Error).message).toMatch(/^(no )?head[,: ]/);
      }
    }
  });
});
