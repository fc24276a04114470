/** Plays the guessing game 1,500 times, each time halving what is left, and says whether the answers fit together. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import process from "node:process";

/** So many that a number from 1 to 100 which never comes is none that the server thinks of: (99/100)^1500 is 3e-7. */
const GAMES = 1500;

const port = Number(process.argv[process.argv.indexOf("--port") + 1]);

/** One of those who guess. */
async function player() {
  const socket = createSocket("udp4");
  const answers: string[] = []; // also those that nobody has asked for
  let wake = () => {};
  socket.on("message", (data) => {
    answers.push(data.toString());
    wake();
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  return {
    async ask(guess: string): Promise<string> {
      socket.send(guess, port, "127.0.0.1");
      while (answers.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      return answers.shift() as string;
    },
    close: () => socket.close(),
  };
}

const players = [await player(), await player()]; // in turn: each is answered itself
let turn = 0;
const ask = (guess: string) => players[turn++ % 2].ask(guess);

async function game(): Promise<number> {
  let [low, high] = [1, 100];
  while (true) {
    const guess = Math.floor((low + high) / 2);
    const answer = await ask(`${guess}`);
    if (answer === "right") return guess;
    if (answer === "bigger") low = guess + 1;
    else if (answer === "smaller") high = guess - 1;
    else throw new Error(`${guess} was answered with: ${answer}`);
    if (low > high) throw new Error("no number from 1 to 100 fits the answers");
  }
}

console.log(`a guess that is no number: ${await ask("hello")}`);
const found = new Set<number>();
try {
  for (let games = 0; games < GAMES; games++) {
    found.add(await game());
    if (games === 29 && found.size === 1) throw new Error("30 games, always the same number");
    if (games % 500 === 499) console.log(`${games + 1} games, each found`);
  }
  const missing = [1, 100].filter((number) => !found.has(number));
  if (missing.length > 0) throw new Error(`${GAMES} games, and it was never ${missing.join(" or ")}`);
  console.log("from 1 to 100");
} catch (error) {
  console.log((error as Error).message);
}
for (const { close } of players) close();
