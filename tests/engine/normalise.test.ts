/** What may vary from run to run, and what may not. */
import { describe, expect, test } from "bun:test";
import { matches, type Values } from "./normalise.ts";

const TIME = "2026-11-20 17:04:30.293444";
const LATER = "2027-01-02 03:04:05.678901";

describe("one line", () => {
  const lines: [expected: string, seen: string, fits: boolean][] = [
    ["hello", "hello", true],
    ["hello", "hello ", false],
    ["hello", " hello", false],
    ["hello", "hello\nhello", false],
    ["hello", "Hello", false],
    ["", "", true],
    ["", "x", false],
    ["listening on 127.0.0.1:7788", "listening on 127.0.0.1:1", true],
    ["listening on 127.0.0.1:7788", "listening on 127.0.0.1:65535", true],
    ["listening on 127.0.0.1:7788", "listening on 127.0.0.1:", false],
    ["listening on 127.0.0.1:7788", "listening on 127.0.0.1:123456", false],
    ["listening on 127.0.0.1:7788", "listening on 127.0.0.1:7788x", false],
    ["listening on 127.0.0.1:7788", "listening on 127.0.0.2:7788", false],
    ["listening on [::1]:7788", "listening on [::1]:50001", true],
    ["listening on [::1]:7788", "listening on ::1:50001", false],
    ["port 7788", "port 7789", false], // no address before it
    ["sent 6 bytes", "sent 7 bytes", false],
    [`${TIME} to 127.0.0.1:50001`, `${LATER} to 127.0.0.1:50002`, true],
    [TIME, "2026-11-20 17:04:30", false],
    [TIME, "2026-11-20T17:04:30.293444", false],
    [TIME, "127.0.0.1:50001", false],
    ["127.0.0.1:50001", `127.0.0.1:${TIME}`, false],
    ["a (2026-11-20 17:04) > x", "a (2027-01-02 03:04) > x", true],
    ["a (to you, 2026-11-20 17:04) > x", "a (to you, 2027-01-02 03:04) > x", true],
    ["a (2026-11-20 17:04) > x", "a (17:04) > x", false],
    ["a > (2026-11-20 17:04)", "a > (2027-01-02 03:04)", false], // a text
    // The same value twice in a line.
    ["from 127.0.0.1:50001 to 127.0.0.1:50001", "from 127.0.0.1:9 to 127.0.0.1:9", true],
    ["from 127.0.0.1:50001 to 127.0.0.1:50001", "from 127.0.0.1:9 to 127.0.0.1:8", false],
    ["from 127.0.0.1:50001 to 127.0.0.1:50001", "from 127.0.0.1:9 to 127.0.0.1:99", false],
    ["from 127.0.0.1:50001 to 127.0.0.1:50002", "from 127.0.0.1:9 to 127.0.0.1:8", true],
    [`${TIME} ${TIME} 127.0.0.1:1`, `${LATER} ${LATER} 127.0.0.1:2`, true],
    [`${TIME} ${TIME}`, `${LATER} ${TIME}`, false],
    // What means something in a regular expression is text.
    ["a.b*c (d) [e] {f} ^$ | \\ / ?+", "a.b*c (d) [e] {f} ^$ | \\ / ?+", true],
    ["a.b", "axb", false],
    ["(x)?", "", false],
    ["127.0.0.1:50001 > \\1 5", "127.0.0.1:7 > \\1 5", true],
    ["127.0.0.1:50001 127.0.0.1:500015", "127.0.0.1:7 127.0.0.1:500015", true], // six digits are no port
    ["127.0.0.1:50001 > 你好？", "127.0.0.1:9 > 你好？", true],
    ["127.0.0.1:50001", "127x0.0.1:50001", false],
  ];
  test.each(lines)("%j, seen %j: %p", (expected, seen, fits) => {
    expect(matches(expected, seen, new Map())).toBe(fits);
  });
});

describe("many lines", () => {
  const receive = (values: Values) => matches("127.0.0.1:50001 > hello", "127.0.0.1:41234 > hello", values);

  test("a value is bound by the first line that shows it", () => {
    const values: Values = new Map();
    expect(receive(values)).toBe(true);
    expect([...values]).toEqual([["50001", "41234"]]);
    expect(matches("sent from 127.0.0.1:50001", "sent from 127.0.0.1:41235", values)).toBe(false);
    expect(matches("sent from 127.0.0.1:50001", "sent from 127.0.0.1:50001", values)).toBe(false);
    expect(matches("sent from 127.0.0.1:50001", "sent from 127.0.0.1:41234", values)).toBe(true);
  });

  test("another value of the head may be another one", () => {
    const values: Values = new Map();
    receive(values);
    expect(matches("127.0.0.1:50002 > x", "127.0.0.1:41235 > x", values)).toBe(true);
  });

  test("a line that does not fit binds nothing", () => {
    const values: Values = new Map();
    expect(matches("127.0.0.1:50001 > hello", "127.0.0.1:41234 > goodbye", values)).toBe(false);
    expect(values.size).toBe(0);
  });

  test("times are bound as ports are", () => {
    const values: Values = new Map();
    expect(matches(`${TIME} to 127.0.0.1:50001`, `${LATER} to 127.0.0.1:9`, values)).toBe(true);
    expect(matches(TIME, LATER, values)).toBe(true);
    expect(matches(TIME, TIME, values)).toBe(false);
  });
});
