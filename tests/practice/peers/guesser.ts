/** Plays the guessing game 30 times, each time halving what is left, and says whether the answers fit together. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import process from "node:process";

const port = Number(process.argv[process.argv.indexOf("--port") + 1]);
const socket = createSocket("udp4");
const answers: string[] = []; // also those that nobody has asked for
let wake = () => {};
socket.on("message", (data) => {
  answers.push(data.toString());
  wake();
});
socket.bind(0, "127.0.0.1");
await once(socket, "listening");

async function ask(guess: string): Promise<string> {
  socket.send(guess, port, "127.0.0.1");
  while (answers.length === 0) await new Promise<void>((resolve) => (wake = resolve));
  return answers.shift() as string;
}

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
  for (let games = 0; games < 30; games++) found.add(await game());
  console.log(found.size > 1 ? "30 games, each found" : "30 games, always the same number");
} catch (error) {
  console.log((error as Error).message);
}
socket.close();
