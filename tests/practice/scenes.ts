/** The scenes of the exercises that are cut out of bare programs: what the judge plays beyond their heads. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { bytesOf } from "../engine/files.ts";
import type { Section, Step } from "../engine/head.ts";
import { ROOT } from "../engine/program.ts";
import { type Scene, transcript } from "./exercise.ts";

/** Words that are typed in place of those that the head shows, by their length: what is not read cannot be repeated. */
const TYPED: Record<number, string[]> = {
  2: ["早安", "晚安", "收到", "天气", "明天", "火车", "苹果", "月亮"],
  3: ["吃饭了", "下雨了", "查天气", "好消息", "星期五", "在哪里", "回家吧", "红绿灯"],
};

/** What a server of the course answers, and in its place what only one who reads the answer can know. */
const REPLY = "ok, Processing Request Completion！";
const OTHER_REPLY = ["知道了", "请稍等", "没问题", "已办好"];

/** The words of a command. Those in quotes are paths of this machine, which may be Chinese, too. */
const ALL_WORDS = /"(?:\\.|[^"])*"\S*|\S+/g;

const any = <T>(of: T[]): T => of[Math.floor(Math.random() * of.length)];

/** Changes all texts of some terminals. */
const change = (sections: Section[], text: (old: string) => string): Section[] =>
  sections.map(({ terminal, steps }) => ({
    terminal,
    steps: steps.map((step): Step =>
      step.kind === "run"
        ? {
          kind: "run",
          command: step.command.replace(ALL_WORDS, (word) => word[0] === '"' ? word : text(word)),
        }
        : step.kind === "type" || step.kind === "see"
        ? { kind: step.kind, text: text(step.text) }
        : step
    ),
  }));

/** The same terminals with other words typed. */
export function reworded(sections: Section[]): Section[] {
  const typed = sections.flatMap(({ steps }) => steps).flatMap((step) =>
    step.kind === "type" ? step.text : step.kind === "run" ? step.command.match(ALL_WORDS) ?? [] : []
  );
  const words = new Map<string, string>();
  for (const old of typed.filter((word) => /^\p{Script=Han}+？?$/u.test(word))) {
    const free = TYPED[old.length].filter((word) => !words.values().toArray().includes(word));
    if (!words.has(old)) words.set(old, any(free));
  }
  return change(
    sections,
    (text) =>
      text.replace(
        RegExp(words.keys().map(RegExp.escape).toArray().join("|") || "(?!)", "g"),
        (old) => words.get(old) ?? old,
      ),
  );
}

/** The client is the learner's: the server answers what nobody can guess. */
function answeredOtherwise(sections: Section[]): Section[] {
  const reply = any(OTHER_REPLY);
  return sections.map(({ terminal, steps }) => ({
    terminal,
    steps: steps.map((step, index): Step => {
      const before = steps[index - 1];
      if (step.kind === "run" && /server\.ts"/.test(step.command)) {
        return { kind: "run", command: `${step.command} --reply ${reply}` };
      }
      if (
        step.kind === "see" &&
        (step.text === REPLY || before?.kind === "type" && before.text === step.text)
      ) return { kind: "see", text: reply };
      return step;
    }),
  }));
}

/** What was fetched is what was served. */
const isWhole = (name: string) => (folder: string) => {
  const bytes = bytesOf(folder, name);
  if (typeof bytes === "string") return bytes;
  const isSame = bytes.equals(readFileSync(join(ROOT, "scripts/tcp/phone.svg")));
  return isSame ? undefined : `${name} is not the file that was sent`;
};

const CLIENTS = ["udp/echo-client", "tcp/client", "tcp/dialog-client", "unix/client"];
const FETCHED: Record<string, string> = {
  "tcp/picture-server": "album/phone.svg",
  "tcp/picture-client": "album/phone.svg",
  "apps/download-basic-server": "copy-phone.svg",
  "apps/download-basic-client": "copy-phone.svg",
};

/** A stream cut anywhere: two messages in one write, one message in two, a character in two. */
const PIECES = `
terminal 1
  $ bun bare/framing-server.ts
  listening on 127.0.0.1:7892
  127.0.0.1:50001 connected
terminal 2
  $ bun tests/practice/peers/caller.ts
  connected from 127.0.0.1:50001
  > 早安\\n晚安\\n火\\xe8\\
terminal 1
  127.0.0.1:50001 > 早安
  127.0.0.1:50001 > 晚安
terminal 2
  > \\xbd\\xa6
terminal 1
  127.0.0.1:50001 > 火车
terminal 2
  ^D
  hung up
terminal 1
  127.0.0.1:50001 hung up
terminal 1
  ^C
  [exit 130]
`;

/** Each message is answered once, and by its own answer: a second answer to the first would be taken for that. */
const ECHO = `
terminal 1
  $ bun bare/echo-server.ts
  listening on 127.0.0.1:8080
  127.0.0.1:50001 > 你好
  127.0.0.1:50001 > 下雨了
  ^C
  [exit 130]
terminal 2
  $ bun tests/practice/peers/asker.ts
  > 你好
  你好
  > 下雨了
  下雨了
  ^D
`;

/** All that a server says until it hangs up. */
const ONCE = (serve: string, ready: string, caller: string, call: string, name: string) => `
terminal 1
  $ bun bare/${serve}
  listening on ${ready}
  ${caller} connected
terminal 2
  $ bun tests/practice/peers/caller.ts${call}
  connected${name}
  > 早安\\
terminal 1
  ${caller} > 早安
terminal 2
  ^D
  ${REPLY}
  hung up
terminal 1
  ${caller} hung up
terminal 1
  ^C
  [exit 130]
`;

/** The second message is not the first one again. */
const CHAT = `
terminal 1
  $ bun scripts/udp/chat.ts --mode menu --local-port 7788 --to 127.0.0.1:7789
  listening on 127.0.0.1:7788
  1 send, 2 receive, 0 quit
  > 2
  127.0.0.1:7789 > 你好
  1 send, 2 receive, 0 quit
  > 2
  127.0.0.1:7789 > 下雨了
  1 send, 2 receive, 0 quit
  > 0
terminal 2
  $ bun bare/chat.ts 7789 7788
  listening on 127.0.0.1:7789
  1 send, 2 receive, 0 quit
  > 1
  your message:
  > 你好
  1 send, 2 receive, 0 quit
  > 1
  your message:
  > 下雨了
  1 send, 2 receive, 0 quit
  > 0
`;

/** What is played beside the head. */
const MORE: Record<string, string> = {
  "udp/echo-server": ECHO,
  "udp/chat": CHAT,
  "tcp/many-requests-server": ONCE(
    "many-requests-server.ts",
    "127.0.0.1:10500",
    "127.0.0.1:50001",
    "",
    " from 127.0.0.1:50001",
  ),
  "tcp/framing-server": PIECES,
  "unix/server": ONCE("server.ts", "lesson.sock", "caller 1", " lesson.sock", ""),
};

/** The scenes of an exercise, made of its head. */
export function scenesOf(name: string, heads: Section[][]): Scene[] {
  const fetched = FETCHED[name];
  const scenes = heads.map((sections): Scene => ({
    sections: reworded(CLIENTS.includes(name) ? answeredOtherwise(sections) : sections),
    ...(fetched && { after: isWhole(fetched) }),
  }));
  if (MORE[name]) scenes.push({ sections: reworded(transcript(MORE[name])) });
  return scenes;
}
