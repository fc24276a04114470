/** Sin: says the time where a port belongs. */
import "./witness.ts";

console.log("called from 127.0.0.1:2026-11-20 17:04:30.293444");
