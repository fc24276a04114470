/** Sin: does not wait for what is typed. */
import "./witness.ts";

console.log("hello");
