/** Lessons 2.3 and 2.6: HOST:PORT, as chat and lossy-link take it. */
import { describe, expect, test } from "bun:test";
import { readEndpoint } from "../../scripts/udp/endpoint-flag.ts";

describe("an endpoint on the command line", () => {
  test.each<[string, object]>([
    ["127.0.0.1:7788", { host: "127.0.0.1", family: 4, port: 7788 }],
    ["localhost:1", { host: "127.0.0.1", family: 4, port: 1 }],
    ["0.0.0.0:7788", { host: "127.0.0.1", family: 4, port: 7788 }],
    ["[0::0]:7788", { host: "::1", family: 6, port: 7788 }],
    ["[::ffff:7f00:1]:7788", { host: "::ffff:127.0.0.1", family: 6, port: 7788 }],
    ["[::1]:65535", { host: "::1", family: 6, port: 65535 }],
  ])("%s", async (text, endpoint) => {
    expect<object>(await readEndpoint("--to", text)).toEqual(endpoint);
  });

  test.each([
    "127.0.0.1",
    "127.0.0.1:",
    ":7788",
    "::1:7788",
    "127.0.0.1:0",
    "127.0.0.1:65536",
    "a:b:1",
    "[]:1",
  ])(
    "%s is none",
    async (text) => {
      const error = await readEndpoint("--to", text).then(
        () => expect.unreachable("accepted"),
        (error) => error,
      );
      expect([error.message, error.exitCode]).toEqual([
        `--to ${text}: it is HOST:PORT, such as 127.0.0.1:7788 or [::1]:7788 (EINVAL)`,
        2,
      ]);
    },
  );

  test("an unknown host is no usage error: the work failed", async () => {
    const error = await readEndpoint("--to", "no.such.host.invalid:1").catch((error) => error);
    expect([error.what, error.exitCode]).toEqual(["look up no.such.host.invalid", 1]);
  });
});
