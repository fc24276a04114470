/** Sin: says that it listens long after it does. */
import { listen } from "./witness.ts";

const [, port] = await listen();
setTimeout(() => console.log(`listening on 127.0.0.1:${port}`), 60_000);
