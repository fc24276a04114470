/** Sin: says two ports where there is one. */
import "./witness.ts";

console.log("called from 127.0.0.1:50011");
console.log("called from 127.0.0.1:50012");
