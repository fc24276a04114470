/** Sin: a server that ends after one call, before anybody has stopped it. */
import process from "node:process";
import { listen } from "./witness.ts";

const [, port] = await listen((socket) => socket.end("hello", () => process.exit(0)));
console.log(`listening on 127.0.0.1:${port}`);
