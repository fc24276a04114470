/** Sin: listens, but never says so. */
import { listen } from "./witness.ts";

await listen();
