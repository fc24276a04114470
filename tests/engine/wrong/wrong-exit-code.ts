/** Sin: says that it went wrong, and ends as if it had not. */
import "./witness.ts";

console.error("error: the work: is too much (E2BIG)");
