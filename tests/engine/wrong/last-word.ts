/** Sin: says one thing more when it is stopped. */
import process from "node:process";
import { listen } from "./witness.ts";

process.on("SIGINT", () => {
  console.log("goodbye");
  process.exit(0);
});
const [, port] = await listen();
console.log(`listening on 127.0.0.1:${port}`);
