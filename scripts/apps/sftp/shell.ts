/** The shell of an SFTP client: its commands, and the loop that reads them. */
import { homedir } from "node:os";
import { posix } from "node:path";
import { Failure } from "../../../lib/failure.ts";
import { print, report, visible } from "../../../lib/program.ts";
import { type Commands, complete, helpLines, obey } from "./commands.ts";
import { expand } from "./glob.ts";
import type { Prompter } from "./prompt.ts";
import type { Word } from "./shell-words.ts";
import { longLine, type Side } from "./side.ts";
import { Transfer } from "./transfer.ts";

/** How many names of a tree there may wait: no tree goes on for ever. */
const MOST_NAMES = 200_000;

type Options = {
  here: Side;
  there: Side;
  /** The folder there in which the shell starts. */
  home: string;
  keyboard: Prompter;
  /** Ctrl-C. */
  stop: AbortSignal;
  /** The end of the connection. */
  gone: AbortSignal;
};

export class Shell {
  readonly #here: Side;
  readonly #there: Side;
  readonly #home: string;
  readonly #keyboard: Prompter;
  readonly #stop: AbortSignal;
  readonly #end: AbortSignal;

  constructor({ here, there, home, keyboard, stop, gone }: Options) {
    this.#here = here;
    this.#there = there;
    this.#home = home;
    this.#keyboard = keyboard;
    this.#stop = stop;
    this.#end = AbortSignal.any([stop, gone]);
  }

  readonly #commands: Commands = {
    pwd: { usage: "", help: "show the folder there", run: () => print(visible(this.#there.folder)) },
    lpwd: { usage: "", help: "show the folder here", run: () => print(visible(this.#here.folder)) },
    cd: {
      usage: "[PATH]",
      help: "go to a folder there",
      run: ([path]) => this.#there.enter(path?.text ?? this.#home),
    },
    lcd: {
      usage: "[LOCAL]",
      help: "go to a folder here",
      run: ([path]) => this.#here.enter(path?.text ?? homedir()),
    },
    ls: {
      usage: "[-al] [PATH]",
      help: "list the files there; -a all, -l long",
      run: (words, flags) => this.#list(this.#there, words, flags),
    },
    lls: {
      usage: "[-al] [LOCAL]",
      help: "list the files here",
      run: (words, flags) => this.#list(this.#here, words, flags),
    },
    mkdir: { usage: "PATH", help: "make a folder there", run: ([path]) => this.#there.mkdir(path.text) },
    lmkdir: { usage: "LOCAL", help: "make a folder here", run: ([path]) => this.#here.mkdir(path.text) },
    get: {
      usage: "[-r] PATH [LOCAL]",
      help: "fetch files; -r folders too",
      run: (words, flags) => this.#transfer(this.#there, this.#here, words, flags),
    },
    put: {
      usage: "[-r] LOCAL [PATH]",
      help: "store files; -r folders too",
      run: (words, flags) => this.#transfer(this.#here, this.#there, words, flags),
    },
    rm: { usage: "PATH", help: "remove files there", run: ([path]) => this.#remove(path) },
    rmdir: {
      usage: "PATH",
      help: "remove an empty folder there",
      run: ([path]) => this.#there.rmdir(path.text),
    },
    rename: {
      usage: "FROM TO",
      help: "rename a file there",
      run: ([from, to]) => this.#there.rename(from.text, to.text),
    },
    help: { usage: "", help: "show this list", run: () => print(helpLines(this.#commands).join("\n")) },
    exit: { usage: "", help: "end; so do quit, bye and Ctrl-D", run: async () => {} },
  };

  /**
   * Reads commands and obeys them, until `exit` or the end of input. Of piped commands the first that fails ends the
   * shell, unless it has a - in front: the next ones may build on it, and nobody would see the error.
   * @returns false when it ended so
   * @throws the reason of what ended it
   */
  async run(): Promise<boolean> {
    while (true) {
      const line = await this.#keyboard.ask(
        "sftp> ",
        (line) => complete(line, this.#commands, this.#here, this.#there),
      );
      this.#end.throwIfAborted();
      if (line === undefined || /^\s*-?\s*(exit|exit\(\)|quit|bye)(\s+#.*)?\s*$/.test(line)) return true;
      const mayFail = this.#keyboard.isTerminal || /^\s*-/.test(line);
      const isDone = await this.#each([line.replace(/^\s*-/, "")], (line) => obey(line, this.#commands));
      if (!isDone && !mayFail) return false;
    }
  }

  /** Works on one after another. What goes wrong with one is told, and ends only that. */
  async #each<T>(all: T[], work: (one: T) => unknown): Promise<boolean> {
    let isWhole = true;
    for (const one of all) {
      try {
        if (await work(one) === false) isWhole = false;
        this.#end.throwIfAborted();
      } catch (error) {
        this.#end.throwIfAborted();
        await report(error);
        isWhole = false;
      }
    }
    return isWhole;
  }

  /** The paths that a word means on a side. @throws Failure ENOENT for a pattern that means none */
  async #find(side: Side, word: Word): Promise<string[]> {
    const names = async (folder: string) => {
      const entries = await side.list(folder).catch((error) => {
        if (["ENOENT", "ENOTDIR", "EACCES"].includes(error.code)) return [];
        throw error;
      });
      return entries.map(({ name }) => name);
    };
    const paths = await expand(word.pattern, names);
    if (paths.length === 0) throw new Failure(word.text, "no file has such a name", "ENOENT");
    return paths;
  }

  /** ls and lls. */
  async #list(side: Side, [word]: Word[], flags: string): Promise<boolean> {
    const paths = word ? await this.#find(side, word) : ["."];
    return await this.#each(paths, async (path) => {
      const facts = await side.stat(path).catch(() => side.lstat(path)); // a link that leads nowhere
      const isOpened = facts.kind === "folder" && paths.length === 1;
      for (const entry of isOpened ? await side.list(path) : [{ ...facts, name: path }]) {
        if (isOpened && entry.name.startsWith(".") && !flags.includes("a")) continue;
        await print(`${flags.includes("l") ? `${longLine(entry)}  ` : ""}${visible(entry.name)}`);
      }
    });
  }

  async #remove(word: Word): Promise<boolean> {
    return await this.#each(await this.#find(this.#there, word), (path) => this.#there.unlink(path));
  }

  /** get and put: the same, in one direction or the other. */
  async #transfer(from: Side, to: Side, [source, target]: Word[], flags: string): Promise<boolean> {
    const place = target?.text ?? ".";
    const paths = await this.#find(from, source);
    const isFolder = await to.stat(place).then(({ kind }) => kind === "folder", () => false);
    if (paths.length > 1 && !isFolder) throw new Failure(place, "is not a folder", "ENOTDIR");
    const transfer = new Transfer(from, to, {
      isDeep: flags.includes("r"),
      mostNames: from === this.#there ? MOST_NAMES : Infinity,
      stop: this.#stop,
      end: this.#end,
      each: (entries, work) => this.#each(entries, work),
    });
    return await this.#each(paths, async (path) => {
      const facts = await from.stat(path);
      const isDots = /(^|\/)\.{0,2}\/*$/.test(path);
      const name = posix.basename(isDots ? await from.realpath(path) : path); // of / it is "": all goes to the place
      const isTold = isFolder && name !== "" && (path !== source.text || isDots); // by the other side, not typed
      if (isTold) to.check(name);
      return await transfer.pass(path, isFolder ? posix.join(place, name) : place, facts, isTold);
    });
  }
}
