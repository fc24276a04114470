/** The system around a program: the names of ports, and how many files it may open. */
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";

/** Where a system has no list of services: the ones that every course names. */
const FAMOUS =
  "ftp-data 20/tcp;ftp 21/tcp;ssh 22/tcp;telnet 23/tcp;smtp 25/tcp mail;domain 53/tcp;domain 53/udp;" +
  "tftp 69/udp;http 80/tcp www;pop3 110/tcp;ntp 123/udp;imap2 143/tcp imap;https 443/tcp;https 443/udp;mysql 3306/tcp";

export type Service = { name: string; port: number; protocol: string; aliases: string[] };

/** The services that the system knows (man 5 services): `http 80/tcp www # WorldWideWeb`. */
export function readServices(): Service[] {
  const windows = `${process.env.SystemRoot}\\System32\\drivers\\etc\\services`;
  let text = FAMOUS.replaceAll(";", "\n");
  try {
    text = readFileSync(process.platform === "win32" ? windows : "/etc/services", "utf8");
  } catch {
    // a system without the list (Debian: package netbase)
  }
  return text.split("\n").flatMap((line) => {
    const [name, end = "", ...aliases] = line.replace(/#.*/, "").trim().split(/\s+/);
    const [, port, protocol] = /^(\d+)\/(tcp|udp)$/.exec(end) ?? [];
    return port ? [{ name, port: Number(port), protocol, aliases }] : [];
  });
}

/** How many open files are left to the runtime; and the limit where nothing tells it, which is that of macOS. */
const SPARE = 32, LOWEST = 256;

/**
 * How many files this program may have open (RLIMIT_NOFILE, man 2 getrlimit), and how many more it can open now.
 * Each socket is one. Windows has no such limit.
 */
export function openFiles(): { limit: number; free: number } {
  if (process.platform === "win32") return { limit: Infinity, free: Infinity };
  const limit = Number(fileLimit() ?? LOWEST) || Infinity;
  return { limit, free: Math.max(0, limit - readdirSync("/dev/fd").length - SPARE) };
}

/** A number or `unlimited`: from the system or, on macOS, from the runtime, if it tells. */
function fileLimit(): string | number | undefined {
  try {
    return /^Max open files +(\w+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  } catch {
    const report = process.report?.getReport() as { userLimits?: { open_files?: { soft: string | number } } };
    return report?.userLimits?.open_files?.soft;
  }
}
