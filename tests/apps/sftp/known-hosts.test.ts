/** Lesson 4.5, the shell: the keys of servers, beside OpenSSH's ssh-keygen. */
import { describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { statSync } from "node:fs";
import { chmod, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { readAuthorizedKeys } from "../../../scripts/apps/sftp/authentication.ts";
import { readHostKey } from "../../../scripts/apps/sftp/host-key.ts";
import * as knownHosts from "../../../scripts/apps/sftp/known-hosts.ts";
import { Login } from "../../../scripts/apps/sftp/login.ts";
import { blob, folder, HAS_KEYGEN, keygen, keys, line, makeKeys, needsKeygen } from "./shell.ts";

makeKeys();
describe("known hosts", () => {
  const NAME = "[127.0.0.1]:2022";
  const known = (text: string, name = NAME) => knownHosts.knownKeys(text, name);

  test("names, fingerprints and types", () => {
    expect(knownHosts.hostName("Server.Example", 22)).toBe("server.example");
    expect(knownHosts.hostName("::1", 2022)).toBe("[::1]:2022");
    expect(knownHosts.keyType(blob("host"))).toBe("ssh-ed25519");
    expect(knownHosts.keyType(Buffer.from("ffffffff", "hex"))).toBe("");
    expect(knownHosts.keyType(Buffer.alloc(2))).toBe("");
    const names = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"].map(knownHosts.typeName);
    expect(names).toEqual(["ED25519", "ECDSA", "RSA"]);
  });

  const meant: [hosts: string, name: string, isMeant: boolean][] = [
    [NAME, NAME, true],
    ["127.0.0.1", NAME, false], // that is port 22
    ["server.example", "server.example", true],
    ["SERVER.Example", "server.example", true],
    ["serverxexample", "server.example", false],
    ["a,server.example,b", "server.example", true],
    ["*.example", "server.example", true],
    ["*.example", "server.example.org", false],
    ["server.e?ample", "server.example", true],
    ["*.example,!server.example", "server.example", false],
    ["!server.example,*.example", "server.example", false],
    ["!server.example", "other.example", false], // a negation alone means nobody
    ["*.example,!server.*", "other.example", true],
    ["[*]:2022", NAME, true], // no set of characters
    ["|1|broken", NAME, false],
    ["|2|c2FsdA==|aGFzaA==", NAME, false],
  ];
  test.each(meant)("%s means %s: %p", (hosts, name, isMeant) => {
    expect(known(line(hosts, "host"), name)).toHaveLength(isMeant ? 1 : 0);
  });

  test("what is not understood is passed over, and lines are counted", () => {
    const good = line(NAME, "host").trim();
    const text = [
      "# comment",
      "",
      `@cert-authority ${good}`,
      `@unknown ${good}`,
      `${NAME} ssh-ed25519`,
      `${NAME} ssh-rsa ${blob("host").toString("base64")}`, // the key says another type
      `${NAME} ssh-ed25519 !!!!`,
      `#${good}`,
      ` \t${good}\r`,
    ].join("\n");
    expect(known(text)).toEqual([{ line: 9, isRevoked: false, type: "ssh-ed25519", key: blob("host") }]);
  });

  test("known, changed, revoked, unknown", () => {
    const [host, other] = [line(NAME, "host"), line(NAME, "other")];
    const verdict = (text: string) => knownHosts.judge(known(text), blob("host"));
    expect(verdict("")).toEqual({ kind: "unknown", line: 0 });
    expect(verdict(host)).toEqual({ kind: "known", line: 1 });
    expect(verdict(other)).toEqual({ kind: "changed", line: 1 });
    expect(verdict(other + host)).toEqual({ kind: "known", line: 2 }); // a host may have several
    expect(verdict(`${host}@revoked ${host}`)).toEqual({ kind: "revoked", line: 2 });
    expect(verdict(`@revoked ${host.replace(NAME, "*")}`)).toEqual({ kind: "revoked", line: 1 });
    expect(verdict(`@revoked ${other}`)).toEqual({ kind: "unknown", line: 0 });
  });

  test("the types that are known are asked for first", () => {
    const types = (text: string) => knownHosts.algorithms(known(text));
    expect(types("").slice(0, 2)).toEqual(["ssh-ed25519", "ecdsa-sha2-nistp256"]);
    expect(types("")).not.toContain("ssh-rsa"); // RSA with SHA-1
    const long = (bytes: Uint8Array) => Buffer.concat([Buffer.of(0, 0, 0, bytes.length), bytes]);
    const key = Buffer.concat([long(Buffer.from("ssh-rsa")), long(randomBytes(3)), long(randomBytes(20))]);
    const rsa = `${NAME} ssh-rsa ${key.toString("base64")}\n`;
    expect(types(rsa).slice(0, 3)).toEqual(["rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519"]);
    expect(types(rsa)).toHaveLength(types("").length);
    expect(types(`@revoked ${rsa}`)[0]).toBe("ssh-ed25519");
  });

  test("a line that was cut, when the disk was full, is no key", () => {
    const whole = `${NAME} ssh-ed25519 ${blob("host").toString("base64")}`;
    expect(known(whole)).toHaveLength(1);
    for (let length = whole.length - 4; length > NAME.length; length -= 4) {
      expect(known(whole.slice(0, length))).toEqual([]);
    }
  });

  test("a new key is added: folder 700, file 600, and a last line without its end is ended", async () => {
    await using box = await folder();
    await knownHosts.remember(box.knownHosts, NAME, blob("host"));
    expect(await readFile(box.knownHosts, "utf8")).toBe(
      `${NAME} ssh-ed25519 ${blob("host").toString("base64")}\n`,
    );
    expect(statSync(box.at("home", ".ssh")).mode & 0o777).toBe(0o700);
    expect(statSync(box.knownHosts).mode & 0o777).toBe(0o600);
    await writeFile(box.knownHosts, "# no end");
    await knownHosts.remember(box.knownHosts, NAME, blob("host"));
    expect((await readFile(box.knownHosts, "utf8")).split("\n")[0]).toBe("# no end");
    expect(known(await readFile(box.knownHosts, "utf8"))[0].line).toBe(2);
  });

  test.skipIf(!HAS_KEYGEN)(
    `ssh-keygen finds what was added, and hashes what is read${needsKeygen}`,
    async () => {
      await using box = await folder();
      for (const name of ["host", "rsa", "ecdsa"]) {
        await knownHosts.remember(box.knownHosts, NAME, blob(name));
        expect(keygen("-lf", join(keys, `${name}.pub`)).split(" ")[1]).toBe(
          knownHosts.fingerprint(blob(name)),
        );
      }
      expect(keygen("-f", box.knownHosts, "-F", NAME).split("\n").filter((one) => one.startsWith(NAME)))
        .toHaveLength(3);
      keygen("-f", box.knownHosts, "-H");
      const text = await readFile(box.knownHosts, "utf8");
      expect(text).not.toContain("127.0.0.1");
      expect(known(text).map(({ type }) => type)).toEqual(["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256"]);
      expect(known(text, "[127.0.0.1]:2023")).toEqual([]);
    },
  );
});

test("another key, when the secret is renewed, is not the key of the server", async () => {
  await using box = await folder();
  const server = "[127.0.0.1]:2022";
  await knownHosts.remember(box.knownHosts, server, blob("host"));
  const why: unknown[] = [];
  const login = await Login.prepare({
    ...{ user: "me", server, knownHosts: box.knownHosts, identity: join(keys, "user") },
    keyboard: { ask: () => expect.unreachable("nothing is asked") } as never,
    fail: (error) => why.push(error),
  });
  const isRight = (name: string) => new Promise<boolean>((answer) => login.verify(blob(name), answer));
  expect([await isRight("host"), await isRight("host"), await isRight("other")]).toEqual([true, true, false]);
  expect(why).toEqual([]);
});

test.skipIf(process.platform === "win32")(
  "a host key that the group or others can read, write or run is not used",
  async () => {
    await using box = await folder();
    const file = box.at("key");
    const { fingerprint } = await readHostKey(file);
    for (let bit = 1; bit <= 0o40; bit *= 2) {
      await chmod(file, 0o600 | bit);
      const error = await readHostKey(file).catch((error) => error);
      expect([bit, error.message]).toEqual([
        bit,
        expect.stringContaining("others can read this private key"),
      ]);
    }
    await chmod(file, 0o400);
    expect((await readHostKey(file)).fingerprint).toBe(fingerprint);
  },
);

test.skipIf(process.platform === "win32")(
  "a list of keys that the group or others can write is not used; they may read it",
  async () => {
    await using box = await folder();
    const file = box.at("keys");
    await writeFile(file, `# mine\n\nssh-ed25519 ${blob("host").toString("base64")} anna\n`);
    for (let bit = 1; bit <= 0o40; bit *= 2) {
      await chmod(file, 0o600 | bit);
      const found = await readAuthorizedKeys(file).then(({ length }) => `${length} key`, ({ code }) => code);
      expect([bit, found]).toEqual([bit, bit & 0o22 ? "EACCES" : "1 key"]);
    }
  },
);
