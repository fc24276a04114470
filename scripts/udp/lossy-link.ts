#!/usr/bin/env bun
/**
 * 2.6 A link that loses letters: between two ends, it does to what passes what a bad network does.
 * 中文 会丢信的线路：夹在两端之间，像糟糕的网络那样对待经过的数据报。
 *
 * terminal 1
 *   $ bun scripts/udp/echo-server.ts
 *   listening on 127.0.0.1:8080
 *   127.0.0.1:50002 > 在吗？
 *   127.0.0.1:50002 > 在吗？
 *   ^C
 * terminal 2
 *   $ bun scripts/udp/lossy-link.ts --to 127.0.0.1:8080 --loss 50 --seed 5
 *   listening on 127.0.0.1:7792
 *   127.0.0.1:50001 goes out as 127.0.0.1:50002
 *   ^C
 *          4 datagrams came, in both directions
 *          1 got lost
 *          0 went on twice
 *          0 were held back, for the next one to overtake
 *          0 went on with a wrong bit
 * terminal 3
 *   $ bun scripts/udp/echo-client.ts --port 7792 --timeout 200
 *   > 在吗？
 *   no reply within 200 ms
 *   在吗？
 *   ^D
 *
 * Python     random.Random(seed).random()        ->  no runtime can repeat its Math.random(): see mulberry32
 * Watch out  The client cannot know what got lost: here it was the reply, and the server heard the question
 *            twice. To notice that, letters need numbers: reliable-send.ts gives them some.
 * Try        Another seed, or --corrupt 100: a wrong bit makes another letter, and nobody notices.
 *            Then --loss 0 --delay 500: no reply is lost, and yet the client gives up.
 */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { readArguments } from "../../lib/arguments.ts";
import { endpoint } from "../../lib/endpoint.ts";
import { explain } from "../../lib/failure.ts";
import { print, ready, report } from "../../lib/output.ts";
import { run } from "../../lib/run.ts";
import { datagrams, sendTo, sourceName } from "../../lib/udp.ts";
import { readEndpoint } from "./endpoint-flag.ts";

/** How many senders are served; for one more, the oldest is forgotten. */
const MOST_SENDERS = 64;

/** How many delayed datagrams are kept; further ones are lost, as on a link that is full. */
const MOST_UNDER_WAY = 4096;

/** How long a datagram waits to be overtaken by the next one, in milliseconds. */
const LONGEST_HOLD = 5;

const percent = { kind: "number", min: 0, max: 100, default: 0 } as const;

async function main(stop: AbortSignal) {
  const options = await readArguments(import.meta, {
    port: 7792,
    flags: {
      to: { kind: "text", default: "127.0.0.1:7791", help: "HOST:PORT where the datagrams go on to" },
      loss: { ...percent, help: "percent that get lost" },
      duplicate: { ...percent, help: "percent that arrive twice" },
      reorder: { ...percent, help: "percent that the next one overtakes" },
      corrupt: { ...percent, help: "percent that arrive with a wrong bit" },
      delay: { kind: "number", min: 0, max: 10_000, default: 0, help: "ms under way, in each direction" },
      seed: { kind: "number", min: 0, max: 0xffff_ffff, default: 1, help: "the same seed, the same fate" },
    },
  });
  const { host, family, port } = options;
  const to = await readEndpoint("--to", options.to);
  const counts = { came: 0, lost: 0, twice: 0, heldBack: 0, damaged: 0 };
  let underWay = 0;

  await using socket = createSocket({ type: `udp${family}`, signal: stop });
  const inbox = datagrams(socket);
  socket.bind(port, host);
  await once(socket, "listening", { signal: stop });
  await ready(socket.address());

  const senders = new Map<string, { outside: Socket; forth: (datagram: Buffer) => void }>();
  for await (const [datagram, { address, port }] of inbox) {
    const name = endpoint(address, port);
    let sender = senders.get(name);
    if (!sender) {
      // Each sender gets a socket of its own, so that the answers find the way back: this is what the
      // box at home does, whose one address a whole family shares (NAT, RFC 4787).
      const outside = createSocket(`udp${to.family}`);
      const forth = direction(options.seed, (datagram) => sendTo(outside, datagram, to.port, to.host));
      const back = direction(~options.seed, (datagram) => sendTo(socket, datagram, port, address));
      outside.on("message", (datagram, from) => {
        if (endpoint(from.address, from.port) === endpoint(to.host, to.port)) back(datagram);
      });
      outside.on("error", () => {}); // nobody there (ICMP): for a link, a letter like any other that got lost
      outside.bind();
      await once(outside, "listening", { signal: stop });
      sender = { outside, forth };
      senders.set(name, sender);
      if (senders.size > MOST_SENDERS) forget([...senders.keys()][0]);
      await print(`${name} goes out as ${sourceName(outside, to.host)}`);
    }
    sender.forth(datagram);
  }
  for (const name of senders.keys()) forget(name);
  const rows: [number, string][] = [
    [counts.came, "datagrams came, in both directions"],
    [counts.lost, "got lost"],
    [counts.twice, "went on twice"],
    [counts.heldBack, "were held back, for the next one to overtake"],
    [counts.damaged, "went on with a wrong bit"],
  ];
  for (const [figure, what] of rows) await print(`${figure}`.padStart(8) + ` ${what}`);

  function forget(name: string) {
    senders.get(name)?.outside.close();
    senders.delete(name);
  }

  /** One direction. The n-th datagram has the same fate whenever the seed and the rates are the same. */
  function direction(seed: number, send: (datagram: Buffer) => Promise<void>) {
    const random = mulberry32(seed);
    const happens = (rate: number) => random() * 100 < rate;
    let held: Buffer[] = [];
    let timer: NodeJS.Timeout | undefined;

    let line = Promise.resolve(); // sent without waiting for each other, they may leave in any order

    function pass(datagrams: Buffer[]) {
      for (const datagram of datagrams) {
        if (underWay === MOST_UNDER_WAY) counts.lost++;
        else {
          underWay++;
          if (options.delay === 0) arrive(datagram);
          else setTimeout(arrive, options.delay, datagram);
        }
      }
    }
    function arrive(datagram: Buffer) {
      line = line.then(() => send(datagram)).catch(async (error) => {
        counts.lost++;
        if (explain(error)) await report(error); // and not that a socket was closed meanwhile
      });
      line.then(() => underWay--);
    }
    function release() {
      clearTimeout(timer);
      pass(held);
      held = [];
    }

    return (datagram: Buffer) => {
      const isLost = happens(options.loss); // all five are drawn for each one, or a rate would
      const isTwice = happens(options.duplicate); // shift the numbers of the others
      const isHeldBack = happens(options.reorder);
      const isDamaged = happens(options.corrupt);
      const bit = Math.floor(random() * 8 * datagram.length);
      counts.came++;
      if (isLost) return counts.lost++;
      if (isTwice) counts.twice++;
      if (isDamaged && datagram.length > 0) {
        counts.damaged++;
        datagram[bit >> 3] ^= 1 << (bit & 7);
      }
      const copies = isTwice ? [datagram, datagram] : [datagram];
      if (isHeldBack) {
        counts.heldBack++;
        if (held.length === 0) timer = setTimeout(release, LONGEST_HOLD);
        held.push(...copies);
      } else {
        pass(copies);
        release();
      }
    };
  }
}

/** Random numbers from 0 up to 1, which a seed repeats: mulberry32, by Tommy Ettinger, public domain. */
function mulberry32(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

if (import.meta.main) run("server", main);
