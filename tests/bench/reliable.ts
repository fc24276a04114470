/** Lesson 2.6 through its lossy link: what loss costs. README.md says which bound loss, delay and window set. */
import { rmSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { script, start } from "../engine/program.ts";
import { type Bench, type Contestant, type Row, withLittle } from "./frame.ts";
import { cost, FILES, highWater, makeFiles } from "./measure.ts";

const LIMIT = 120_000;
const SIZE = 10_000_000;

async function contestants({ folder: { at }, stack }: Bench): Promise<Contestant[]> {
  await makeFiles(at, SIZE);
  await mkdir(at("out"));
  const options = { limit: LIMIT };
  const receiver = stack.use(script("udp/reliable-receive", ["--port", "0", "--out", at("out")], options));
  const to = `127.0.0.1:${await receiver.port()}`;
  const all: Contestant[] = [];
  for (const loss of [0, 10, 30, 50]) {
    const words = ["--port", "0", "--to", to, "--loss", `${loss}`, "--seed", "1"];
    const link = stack.use(script("udp/lossy-link", words, options));
    const port = `${await link.port()}`;
    const run = async (file: string) => {
      await using client = script("udp/reliable-send", [at(file), "--port", port], options);
      const { seconds, peak } = await cost(client);
      await using same = start(["cmp", at(file), at("out", file)], options);
      if (await same.ended() !== 0) throw new Error(`at ${loss} % loss the copy differs`);
      rmSync(at("out", file));
      return { seconds, client: peak, server: highWater(receiver.pid) };
    };
    all.push(withLittle(`2.6 at ${loss} % loss`, FILES, run));
  }
  return all;
}

export const rows: Row[] = [{
  name: "reliable",
  title: "2.6, 10 MB over UDP, through a link that loses so much in each direction",
  contestants,
}];
