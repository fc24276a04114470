/** Asks as the shell does: for a password, a word and commands, and shows each answer as JSON. */
import process from "node:process";
import { Prompter } from "../../../scripts/apps/sftp/prompt.ts";

using keyboard = new Prompter(new AbortController().signal);
console.log(JSON.stringify(await keyboard.askUnseen("password: ")));
console.log(JSON.stringify(await keyboard.ask("yes? ")));
for (let line: string | undefined = ""; line !== undefined;) {
  line = await keyboard.ask("sftp> ", () => Promise.resolve([[], ""]));
  console.log(JSON.stringify(line));
}
process.exitCode = 0;
