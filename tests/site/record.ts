/** Records one lesson, in the network in which it runs, and prints what `make ladders` would keep of it. */
import process from "node:process";
import { record } from "../commands/wire.ts";
import { find } from "../engine/lessons.ts";
import { keep } from "../../site/ladders.ts";

const [{ head }] = find(process.argv[2]);
console.log(JSON.stringify(keep(head, await record({ head }))));
