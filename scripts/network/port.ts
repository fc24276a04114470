#!/usr/bin/env bun
/**
 * 1.3 Ports: an address finds the machine, a port finds the program on it;
 * normally only one program holds it at a time.
 * 中文 端口：地址找到机器，端口找到机器上的程序；一个端口通常一次只归一个程序。
 *
 * terminal 1
 *   $ bun scripts/network/port.ts
 *   asked for port 0: the system gave tcp 127.0.0.1:50001
 *   bound tcp 127.0.0.1:50001 a second time: address already in use (EADDRINUSE)
 *   udp 127.0.0.1:50001 is free: TCP and UDP have ports of their own
 *   closed tcp 127.0.0.1:50001: it is free
 *   $ bun scripts/network/port.ts 61234
 *   61234
 *     range    dynamic (49152-65535): for clients and private use; not registered
 *     service  none
 *     tcp      free
 *     udp      free
 *
 * Python     socket.getservbyname("http")
 *                ->  readServices(), which reads /etc/services
 *            s.bind((host, 0)); s.getsockname()
 *                ->  first.listen({ host: address, port: 0 }); first.address()
 * Watch out  The old notes call all ports above 1023 dynamic. There are three
 *            ranges (RFC 6335): well-known 0-1023, registered 1024-49151,
 *            dynamic 49152-65535. And a system chooses as it likes: Linux gives
 *            clients 32768-60999 (/proc/sys/net/ipv4/ip_local_port_range).
 *            A port that is free now may be taken in a moment: a server binds
 *            it, and handles EADDRINUSE.
 * Try        Ask for http, ssh, 3306 and 8080, as yourself and as the
 *            administrator. Start a server of the course, and ask for its port.
 * 注意       老笔记把 1023 以上的端口都叫动态端口。其实分三段（RFC 6335）：公认
 *            端口 0-1023，注册端口 1024-49151，动态端口 49152-65535。系统还有自
 *            己的选法：Linux 给客户端用 32768-60999（
 *            /proc/sys/net/ipv4/ip_local_port_range）。现在空闲的端口，下一刻就
 *            可能被占用：服务器应当直接绑定，并处理 EADDRINUSE。
 * 试试       查 http、ssh、3306 和 8080，分别用普通用户和管理员。启动课程里的一
 *            个服务器，再查它的端口。
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import process from "node:process";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint } from "../../lib/socket.ts";
import { explain, Failure } from "../../lib/failure.ts";
import { print, report, run, visible } from "../../lib/program.ts";
import { readServices, type Service } from "../../lib/system.ts";
import { json } from "./json.ts";

/** RFC 6335, section 6. */
const RANGES = [
  { name: "well-known", first: 0, last: 1023, meaning: "for services that everybody knows" },
  { name: "registered", first: 1024, last: 49151, meaning: "anybody may register a service with IANA" },
  { name: "dynamic", first: 49152, last: 65535, meaning: "for clients and private use; not registered" },
];

async function main() {
  const { words, json: asJson } = await readArguments(import.meta, {
    words: "[PORT|SERVICE...]",
    flags: {
      json: {
        kind: "switch",
        help: "one document: [{ port, range, services: [{ name, protocol, aliases }], tcp, udp }], tcp and " +
          "udp free, taken or forbidden; without words { address, port, second, udp, closed }",
      },
    },
  });
  if (words.length === 0) return await bindTwice(asJson);
  const services = readServices();
  const answers = [];
  for (const word of words) {
    try {
      for (const port of portsOf(word, services)) {
        const range = RANGES.find(({ last }) => port <= last) ?? RANGES[2];
        const registered = services.filter((service) => service.port === port);
        const [tcp, udp] = [await state(bindTcp, port), await state(bindUdp, port)];
        answers.push({
          port,
          range: range.name,
          services: registered.map(({ name, protocol, aliases }) => ({ name, protocol, aliases })),
          tcp,
          udp,
        });
        if (asJson) continue;
        const names = registered.map(({ name, protocol, aliases }) =>
          visible([`${name}/${protocol}`, ...aliases].join(" "))
        );
        const limit = port < 1024 ? ": below 1024, for the administrator only" : "";
        const shown = (state: keyof typeof STATES) => STATES[state] + (state === "forbidden" ? limit : "");
        await print(`${port}`);
        await print(`  range    ${range.name} (${range.first}-${range.last}): ${range.meaning}`);
        await print(
          `  service  ${names.join(", ") || (port ? "none" : "none; a bind of 0 asks for any free port")}`,
        );
        await print(`  tcp      ${shown(tcp)}`);
        await print(`  udp      ${shown(udp)}`);
      }
    } catch (error) {
      process.exitCode = Math.max(Number(process.exitCode ?? 0), (error as Failure).exitCode ?? 1);
      await report(error);
    }
  }
  if (asJson) await print(json(answers));
}

/** Shows a port that is held: to the same protocol, to the other one, and afterwards. */
async function bindTwice(asJson: boolean) {
  const address = "127.0.0.1";
  await using first = createServer(); // `await using` closes it at the end of the function, whatever happens
  first.listen({ host: address, port: 0 }); // 0: any free one
  await once(first, "listening");
  const { port } = first.address() as AddressInfo;
  const name = endpoint(address, port);
  const second = await bindTcp(address, port).then(() => undefined, (error) => explain(error));
  const udp = await state(bindUdp, port, [address]);
  await first[Symbol.asyncDispose]();
  const closed = await state(bindTcp, port, [address]);
  if (asJson) {
    return await print(json({ address, port, second: second?.code ?? null, udp, closed }));
  }
  await print(`asked for port 0: the system gave tcp ${name}`);
  await print(`bound tcp ${name} a second time: ${second ? `${second.why} (${second.code})` : "no error"}`);
  await print(`udp ${name} is ${udp}: TCP and UDP have ports of their own`);
  await print(`closed tcp ${name}: it is ${closed}`);
}

/** Binds a TCP port for a moment. Node.js has no bind without listen. */
async function bindTcp(host: string, port: number) {
  await using server = createServer((socket) => socket.destroy());
  server.listen({ host, port });
  await once(server, "listening");
}

/** Binds a UDP port for a moment. */
async function bindUdp(host: string, port: number) {
  await using socket = createSocket(host.includes(":") ? "udp6" : "udp4");
  socket.bind(port, host);
  await once(socket, "listening");
}

const STATES = {
  free: "free",
  taken: "taken (EADDRINUSE)",
  forbidden: "permission denied (EACCES)",
};

/** Whether a server could have the port now: only the attempt tells. */
async function state(
  bind: typeof bindTcp,
  port: number,
  hosts = ["0.0.0.0", "::", "127.0.0.1", "::1"], // every address or this machine only, IPv4 and IPv6
): Promise<keyof typeof STATES> {
  for (const host of hosts) {
    try {
      await bind(host, port);
    } catch (error) {
      const code = explain(error)?.code;
      if (code === "EADDRINUSE") return "taken";
      if (code === "EACCES") return "forbidden";
      const isMissing = code === "EADDRNOTAVAIL" || code === "EAFNOSUPPORT"; // a machine without IPv6
      if (!isMissing) throw error;
    }
  }
  return "free";
}

/** @throws Failure for what is neither a port nor the name of a service */
function portsOf(word: string, services: Service[]): number[] {
  if (/^\d+$/.test(word) && Number(word) <= 65535) return [Number(word)];
  if (/^[\d.,+-]*$/.test(word)) {
    throw new Failure(word || '""', "a port is a whole number from 0 to 65535", "EINVAL", { exitCode: 2 });
  }
  const wanted = word.toLowerCase();
  const found = services.filter(({ name, aliases }) =>
    [name, ...aliases].some((known) => known.toLowerCase() === wanted)
  );
  if (found.length === 0) {
    throw new Failure(word, "no service that this system knows", "ENOENT", {
      hint: "a service has a name such as http, a port a number from 0 to 65535",
    });
  }
  return [...new Set(found.map(({ port }) => port))];
}

if (import.meta.main) run("client", main);
