/** The exercises that ask for a program of one's own: a text, the terminals of its head, and more that the judge plays. */
import { bytesOf } from "../engine/files.ts";
import type { Scene, Words } from "./exercise.ts";

export type Own = {
  number: string;
  name: string;
  title: Words;
  /** What was learned, in one sentence. */
  idea: Words;
  /** Five lines. */
  text: Words;
  /** Two; the third hint is the solution. */
  hints: Words[];
  /** What the head shows, and the judge plays first. */
  terminals: string;
  /** Of the first scene. */
  after?: Scene["after"];
  tries?: Scene["tries"];
  awake?: Scene["awake"];
  /** What is played beside it. */
  scenes?: ({ terminals: string } & Omit<Scene, "sections">)[];
};

/** What a program has written, as it is told. */
const indented = (text: string) => text.trimEnd().split("\n").map((line) => `  ${line}`).join("\n");

const CHAT_LOG: Own = {
  number: "2.1",
  name: "chat-log",
  title: { en: "A chat log with times", zh: "带时间的聊天记录" },
  idea: {
    en: "a datagram carries its sender's address, but no time: the receiver's clock says when it came.",
    zh: "数据报里有发送者的地址，却没有时间：什么时候收到，要看接收方的时钟。",
  },
  text: {
    en: `Receive datagrams as in 2.1, on the port given as first argument (0: any).
Print each with the local time at which it came, to the microsecond:
YYYY-MM-DD HH:MM:SS.ffffff HOST:PORT > TEXT
Append the same line to the file chat.log in the current folder.
The text exit is logged as well, and ends the program.`,
    zh: `像 2.1 一样接收数据报，端口是第一个参数（0 表示任意端口）。
每条前面打印收到的本地时间，精确到微秒：
YYYY-MM-DD HH:MM:SS.ffffff HOST:PORT > TEXT
同一行也追加到当前目录的 chat.log 文件里。
收到 exit 也要记录，然后结束程序。`,
  },
  hints: [
    {
      en: "Temporal.Now.plainDateTimeISO() is the local time; see 3.4.",
      zh: "Temporal.Now.plainDateTimeISO() 给出本地时间，见 3.4。",
    },
    {
      en: 'appendFileSync("chat.log", `${line}\\n`) from node:fs adds a line.',
      zh: '用 node:fs 的 appendFileSync("chat.log", `${line}\\n`) 追加一行。',
    },
  ],
  terminals: `
terminal 1
  $ bun bare/chat-log.ts
  listening on 127.0.0.1:7788
  2026-11-20 17:04:30.293444 127.0.0.1:50001 > 你好
  2026-11-20 17:04:31.118203 127.0.0.1:50002 > 下雨了
  2026-11-20 17:04:32.507761 127.0.0.1:50003 > exit
terminal 2
  $ bun scripts/udp/send.ts 你好
  sent 6 bytes from 127.0.0.1:50001 to 127.0.0.1:7788
  $ bun scripts/udp/send.ts 下雨了
  sent 9 bytes from 127.0.0.1:50002 to 127.0.0.1:7788
  $ bun scripts/udp/send.ts exit
  sent 4 bytes from 127.0.0.1:50003 to 127.0.0.1:7788`,
  after: (folder, events) => {
    const printed = events.filter(({ terminal, kind }) => terminal === 1 && kind === "stdout").map((
      { text },
    ) => text);
    const bytes = bytesOf(folder, "chat.log");
    if (typeof bytes === "string") return bytes;
    const logged = bytes.toString();
    const wanted = printed.slice(1);
    if (logged !== wanted.map((line) => `${line}\n`).join("")) {
      return `chat.log holds other lines:\n${indented(logged)}`;
    }
    const times = wanted.map((line) => new Date(line.slice(0, 23).replace(" ", "T")).getTime());
    const isNow = times.every((time) => Math.abs(Date.now() - time) < 60_000);
    return isNow && times.every((time, at) => time >= (times[at - 1] ?? 0))
      ? undefined
      : `these times are not the current time:\n${indented(logged)}`;
  },
};

const GUESS: Own = {
  number: "2.2",
  name: "guess",
  title: { en: "Guess the number", zh: "猜数字" },
  idea: {
    en: "one UDP socket serves everybody: each datagram says whom to answer.",
    zh: "一个 UDP 套接字可以服务所有人：每个数据报都写着该回复谁。",
  },
  text: {
    en: `A UDP server, on the port given as first argument, thinks of a number from 1
to 100. Each datagram is a guess. Answer its sender with one word: "bigger"
if the number is bigger than the guess, "smaller", or "right"; and "what?" if
it is not a whole number. After a right guess it thinks of a new number.
It prints listening on HOST:PORT, and nothing else.`,
    zh: `UDP 服务器（端口是第一个参数）想好一个 1 到 100 的数。
每个数据报是一次猜测，用一个词回复发送者：
比猜的大回“bigger”，比猜的小回“smaller”，猜中回“right”；
不是整数就回“what?”。猜中以后换一个新的数。
只打印 listening on HOST:PORT 这一行。`,
  },
  hints: [
    {
      en: 'socket.on("message", (data, { address, port }) => ...), as in 2.2',
      zh: 'socket.on("message", (data, { address, port }) => ...)，见 2.2',
    },
    {
      en: "1 + Math.floor(Math.random() * 100) is such a number; socket.send(answer, port, address)",
      zh: "1 + Math.floor(Math.random() * 100) 就是这样的数；socket.send(answer, port, address)",
    },
  ],
  awake: 10_000, // of 500 games
  terminals: `
terminal 1
  $ bun bare/guess.ts
  listening on 127.0.0.1:8080
  ^C
  [exit 130]
terminal 2
  $ bun tests/practice/peers/guesser.ts
  a guess that is no number: what?
  500 games, each found
  1000 games, each found
  1500 games, each found
  from 1 to 100`,
};

const ROLL_CALL: Own = {
  number: "2.4",
  name: "roll-call",
  title: { en: "A roll call by broadcast", zh: "广播点名" },
  idea: {
    en: "a broadcast asks everybody without knowing anybody; each answers the sender alone.",
    zh: "广播不需要认识任何人就能问所有人；每个人只回复发送者。",
  },
  text: {
    en: `One program of many that hear a broadcast. Arguments: a port and a name.
Listen on 127.255.255.255, with others beside you at the same port.
Print HOST:PORT > TEXT for each datagram. When it is "who is there?", answer
its sender, and nobody else, with your name. Anything else gets no answer.
The text exit ends the program.`,
    zh: `许多程序一起收听广播，你写其中一个：参数是端口和名字。
监听 127.255.255.255，同一端口上还有别的程序。
每个数据报打印 HOST:PORT > TEXT。收到“who is there?”时，
只向发送者回复自己的名字；别的内容都不回复。
收到 exit 就结束。`,
  },
  hints: [
    {
      en: 'createSocket({ type: "udp4", reuseAddr: true }) shares a port, as in 2.4',
      zh: 'createSocket({ type: "udp4", reuseAddr: true }) 可以共用端口，见 2.4',
    },
    {
      en: "socket.send(NAME, port, address) answers the sender alone",
      zh: "socket.send(NAME, port, address) 只回复发送者",
    },
  ],
  terminals: `
terminal 1
  $ bun bare/roll-call.ts 7789 anna
  listening on 127.255.255.255:7789
  127.0.0.1:50001 > 你好
  127.0.0.1:50002 > who is there?
  127.0.0.1:50003 > who is there?
  127.0.0.1:50004 > exit
terminal 2
  $ bun bare/roll-call.ts 7789 bert
  listening on 127.255.255.255:7789
  127.0.0.1:50001 > 你好
  127.0.0.1:50002 > who is there?
  127.0.0.1:50003 > who is there?
  127.0.0.1:50004 > exit
terminal 3
  $ bun tests/practice/peers/roll-caller.ts
  > 你好
  > who is there?
  anna, bert
  > who is there?
  anna, bert
  > exit`,
};

const TIMEOUT: Own = {
  number: "3.1",
  name: "timeout",
  title: { en: "A client with a timeout", zh: "会超时的客户端" },
  idea: {
    en: "silence is no event: a client that must not wait for ever sets a timer of its own.",
    zh: "沉默不是事件：不想一直等下去的客户端，要自己设定时器。",
  },
  text: {
    en: `Arguments: a port and a message. Connect to 127.0.0.1, send the message,
and print the first reply as soon as it comes; then end.
When nothing comes within 1000 ms, print on stderr
error: no reply within 1000 ms
and end with exit code 1. Do not wait longer than that, and not less.`,
    zh: `参数是端口和一条消息。连接 127.0.0.1，发送消息，
收到第一个回复就打印，然后结束。
1000 毫秒内没有回复，就在 stderr 打印
error: no reply within 1000 ms
并以退出码 1 结束。不要多等，也不要少等。`,
  },
  hints: [
    {
      en: "setTimeout(...) starts with the sending; clearTimeout(...) when the reply is there",
      zh: "发送时 setTimeout(...)，收到回复时 clearTimeout(...)",
    },
    {
      en: "console.error(...) writes on stderr; process.exit(1)",
      zh: "console.error(...) 写到 stderr；process.exit(1)",
    },
  ],
  tries: 2, // the machine may stand still for a second
  terminals: `
terminal 1
  $ bun scripts/tcp/server.ts --reply 没问题
  listening on 127.0.0.1:7890
  127.0.0.1:50001 connected
  127.0.0.1:50001 > 你好
terminal 2
  $ bun bare/timeout.ts 7890 你好
  没问题`,
  scenes: [
    {
      tries: 2,
      terminals: `
terminal 1
  $ bun tests/practice/peers/silent.ts
  listening on 127.0.0.1:7890
  127.0.0.1:50001 > 你好
  ^C
  [exit 130]
terminal 2
  $ bun bare/timeout.ts 7890 你好
  error: no reply within 1000 ms
  [exit 1]`,
    },
    {
      tries: 3,
      terminals: `
terminal 1
  $ bun tests/practice/peers/silent.ts slow
  listening on 127.0.0.1:7890
  127.0.0.1:50001 > 你好
  ^C
  [exit 130]
terminal 2
  $ bun bare/timeout.ts 7890 你好
  late, but not too late`,
    },
  ],
};

const THREE_CALLERS: Own = {
  number: "3.2",
  name: "three-callers",
  title: { en: "Three callers, and no fourth", zh: "只接三个呼叫者" },
  idea: {
    en: "the system accepts connections for you: to refuse one, accept it, say why, and close.",
    zh: "系统会替你接受连接：要拒绝，就先接受，说明原因，再关闭。",
  },
  text: {
    en: `A server sends "welcome" and a line end to each caller, which stays until it
hangs up: print HOST:PORT connected and HOST:PORT hung up.
No more than three are connected at the same time. A fourth is sent "busy"
and a line end, and is closed: print HOST:PORT turned away.
When one of the three has hung up, the next caller is welcome.`,
    zh: `服务器给每个呼叫者发送一次“welcome”和换行，然后保持连接，直到对方挂断：
打印 HOST:PORT connected 和 HOST:PORT hung up。
同时最多三个。第四个收到“busy”和换行，然后被关闭：
打印 HOST:PORT turned away。
三个里有一个挂断以后，再接受下一个呼叫者。`,
  },
  hints: [
    {
      en: 'count up in the callback of createServer, and down in socket.on("close", ...)',
      zh: '在 createServer 的回调里加一，在 socket.on("close", ...) 里减一',
    },
    {
      en:
        'socket.end("busy\\n") says it and closes; socket.resume() reads what comes, so that the end is seen',
      zh: 'socket.end("busy\\n") 说完就关；socket.resume() 把收到的数据读掉，才能知道对方挂断',
    },
  ],
  terminals: `
terminal 1
  $ bun bare/three-callers.ts
  listening on 127.0.0.1:7890
  127.0.0.1:50001 connected
  127.0.0.1:50002 connected
  127.0.0.1:50003 connected
  127.0.0.1:50004 turned away
terminal 2
  $ bun tests/practice/peers/caller.ts
  connected from 127.0.0.1:50001
  welcome
terminal 3
  $ bun tests/practice/peers/caller.ts
  connected from 127.0.0.1:50002
  welcome
terminal 4
  $ bun tests/practice/peers/caller.ts
  connected from 127.0.0.1:50003
  welcome
terminal 5
  $ bun tests/practice/peers/caller.ts
  connected from 127.0.0.1:50004
  busy
  hung up
terminal 2
  ^D
  hung up
terminal 1
  127.0.0.1:50001 hung up
terminal 5
  $ bun tests/practice/peers/caller.ts
  connected from 127.0.0.1:50005
  welcome
  ^D
  hung up
terminal 1
  127.0.0.1:50005 connected
  127.0.0.1:50005 hung up
terminal 3
  ^D
  hung up
terminal 1
  127.0.0.1:50002 hung up
terminal 4
  ^D
  hung up
terminal 1
  127.0.0.1:50003 hung up
terminal 1
  ^C
  [exit 130]`,
};

const UPPER_CASE: Own = {
  number: "3.3",
  name: "upper-case",
  title: { en: "Reply in upper case", zh: "用大写回复" },
  idea: {
    en: "a server is what it does between the read and the write.",
    zh: "服务器的本事，就在读和写之间。",
  },
  text: {
    en: `A TCP server, on the port given as first argument, answers each request with
the same text in upper case: hello becomes HELLO.
Print HOST:PORT > TEXT for each request, the text as it came.
Serve each caller until it hangs up; others may come after it,
or at the same time.`,
    zh: `TCP 服务器（端口是第一个参数）把每个请求改成大写回复：
hello 变成 HELLO。
每个请求打印 HOST:PORT > TEXT，内容和收到的一样。
一直服务到对方挂断；
之后、或者同时，还会有别的呼叫者。`,
  },
  hints: [
    { en: "it is 3.3's server with another reply", zh: "就是 3.3 的服务器，换一个回复" },
    { en: "socket.write(text.toUpperCase())", zh: "socket.write(text.toUpperCase())" },
  ],
  terminals: `
terminal 1
  $ bun bare/upper-case.ts
  listening on 127.0.0.1:10500
  127.0.0.1:50001 > hello
  127.0.0.1:50001 > straße 7
  127.0.0.1:50002 > 你好
  ^C
  [exit 130]
terminal 2
  $ bun scripts/tcp/dialog-client.ts
  > hello
  HELLO
  > straße 7
  STRASSE 7
  ^D
  $ bun scripts/tcp/dialog-client.ts
  > 你好
  你好
  ^D`,
};

const BACKWARDS: Own = {
  number: "3.6",
  name: "backwards",
  title: { en: "Lines, however they arrive", zh: "不管怎么到达，都是一行一行" },
  idea: {
    en: "a read is not a message: collect until the line end, and keep what stands behind it.",
    zh: "一次读取不等于一条消息：攒到换行为止，剩下的留着。",
  },
  text: {
    en: `A server that answers each line with the same line backwards: abc is
answered with cba, both with a line end. Print HOST:PORT > LINE for each.
TCP knows no lines: two may come in one read, one in two reads,
and one character in two halves.
Each caller has its own half lines.`,
    zh: `服务器把每一行倒过来回复：abc 回 cba，两边都带换行。
每一行打印 HOST:PORT > LINE。
TCP 不认识行：两行可能一次到，一行可能分两次到，
一个汉字也可能分成两半。
每个呼叫者有自己的半行。`,
  },
  hints: [
    {
      en: 'keep the rest: (rest + text).split("\\n"), whose last piece is the new rest',
      zh: '留住剩余：(rest + text).split("\\n")，最后一块就是新的剩余',
    },
    {
      en: 'socket.setEncoding("utf8") waits for the other half of a character',
      zh: 'socket.setEncoding("utf8") 会等到另一半字符',
    },
  ],
  terminals: `
terminal 1
  $ bun bare/backwards.ts
  listening on 127.0.0.1:7892
  127.0.0.1:50001 > abc
  127.0.0.1:50001 > x你好
  ^C
  [exit 130]
terminal 2
  $ bun tests/practice/peers/caller.ts
  connected from 127.0.0.1:50001
  > abc
  cba
  > x你好
  好你x
  ^D
  hung up`,
  scenes: [{
    terminals: `
terminal 1
  $ bun bare/backwards.ts
  listening on 127.0.0.1:7892
terminal 2
  $ bun tests/practice/peers/caller.ts
  connected from 127.0.0.1:50001
  > one\\ntwo\\nthr\\
  eno
  owt
terminal 3
  $ bun tests/practice/peers/caller.ts
  connected from 127.0.0.1:50002
  > four
  ruof
  > \\xe7\\
  > \\x81\\
  > \\xab\\n\\xe8\\
  火
  > \\xbd\\xa6\\n.\\
  车
terminal 2
  > ee
  eerht
  ^D
  hung up
terminal 3
  > .
  ..
  ^D
  hung up
terminal 1
  127.0.0.1:50001 > one
  127.0.0.1:50001 > two
  127.0.0.1:50002 > four
  127.0.0.1:50002 > 火
  127.0.0.1:50002 > 车
  127.0.0.1:50001 > three
  127.0.0.1:50002 > ..
terminal 1
  ^C
  [exit 130]`,
  }],
};

const SLOW_AND_FAST: Own = {
  number: "3.8",
  name: "slow-and-fast",
  title: { en: "A slow and a fast caller at once", zh: "慢的和快的同时服务" },
  idea: {
    en:
      "one caller that is silent must not stop the others: each has its own state, and nobody waits for it.",
    zh: "一个沉默的呼叫者不能挡住别人：各有各的状态，谁也不等谁。",
  },
  text: {
    en: `A server counts the lines of each caller: the first line is answered with 1
and a line end, the second with 2, and so on; each caller begins with 1.
Print HOST:PORT connected for each.
A caller that stops in the middle of a line keeps nobody else waiting,
and is served when it goes on.`,
    zh: `服务器数每个呼叫者发来的行：第一行回 1 和换行，
第二行回 2，依此类推；每个呼叫者都从 1 开始。
每个呼叫者打印 HOST:PORT connected。
有人停在一行的中间，别人不用等；
等他继续，照样服务。`,
  },
  hints: [
    {
      en: "the callback of createServer runs for each caller: what is declared in it is its own",
      zh: "createServer 的回调为每个呼叫者运行一次：里面声明的变量各归各",
    },
    { en: "count the line ends: text.matchAll(/\\n/g)", zh: "数换行：text.matchAll(/\\n/g)" },
  ],
  terminals: `
terminal 1
  $ bun bare/slow-and-fast.ts
  listening on 127.0.0.1:7891
  127.0.0.1:50001 connected
  127.0.0.1:50002 connected
terminal 2
  $ bun tests/practice/peers/caller.ts
  connected from 127.0.0.1:50001
  > I think\\
terminal 3
  $ bun tests/practice/peers/caller.ts
  connected from 127.0.0.1:50002
  > quick
  1
  > quicker\\nquickest
  2
  3
  ^D
  hung up
terminal 2
  > , and am slow
  1
  ^D
  hung up
terminal 1
  ^C
  [exit 130]`,
};

const NO_SUCH_FILE: Own = {
  number: "4.1",
  name: "no-such-file",
  title: { en: "A downloader that says: no such file", zh: "会说“没有这个文件”的下载" },
  idea: {
    en: "an answer that may be bytes or an error says first which of both it is, and how long.",
    zh: "回答可能是内容，也可能是错误：先说是哪一种，再说多长。",
  },
  text: {
    en: `Arguments: a port and a folder. A caller sends a name and a line end.
If the folder has that file, answer "ok SIZE" and a line end, then the bytes;
otherwise "no such file" and a line end. Then close.
A name that leads out of the folder is no such file either.
Print HOST:PORT > NAME for each.`,
    zh: `参数是端口和目录。呼叫者发来文件名和换行。
目录里有这个文件，就回“ok 大小”和换行，再发内容；
没有就回“no such file”和换行。然后关闭。
想跑出目录的名字，也算没有这个文件。
每个请求打印 HOST:PORT > NAME。`,
  },
  hints: [
    {
      en: "realpathSync(join(FOLDER, name)) must begin with realpathSync(FOLDER) + sep",
      zh: "realpathSync(join(FOLDER, name)) 必须以 realpathSync(FOLDER) + sep 开头",
    },
    {
      en: "socket.write(`ok ${bytes.length}\\n`); socket.end(bytes)",
      zh: "socket.write(`ok ${bytes.length}\\n`); socket.end(bytes)",
    },
  ],
  terminals: `
terminal 1
  $ bun bare/no-such-file.ts 11500 scripts/tcp
  listening on 127.0.0.1:11500
  127.0.0.1:50001 > phone.svg
  127.0.0.1:50002 > socket-calls.ts
  127.0.0.1:50003 > nothing.txt
  127.0.0.1:50004 > ../udp/send.ts
  ^C
  [exit 130]
terminal 2
  $ bun tests/practice/peers/fetcher.ts
  > phone.svg
  phone.svg: whole
  > socket-calls.ts
  socket-calls.ts: whole
  > nothing.txt
  nothing.txt: no such file
  > ../udp/send.ts
  ../udp/send.ts: no such file
  ^D`,
};

const CLOSED_OR_FILTERED: Own = {
  number: "4.3",
  name: "closed-or-filtered",
  title: { en: "Closed, or filtered?", zh: "关闭，还是被过滤？" },
  idea: {
    en: "a refusal is an answer: somebody is there. Silence says nothing, so it needs a limit.",
    zh: "拒绝也是回答：说明对方在。沉默什么也没说，所以要设时限。",
  },
  text: {
    en: `Arguments: ports of 127.0.0.1. For each, in their order, print
127.0.0.1:PORT, two spaces, and what a connection to it meets:
open if it is accepted, closed if it is refused,
filtered if there is no answer at all within 1000 ms.
Then end, with exit code 0.`,
    zh: `参数是 127.0.0.1 的若干端口。按顺序，每个打印
127.0.0.1:PORT、两个空格，和连接的结果：
被接受是 open，被拒绝是 closed，
1000 毫秒内毫无回应是 filtered。
然后结束，退出码 0。`,
  },
  hints: [
    {
      en: 'await once(socket, "connect", { signal: AbortSignal.timeout(1000) }), as in 4.3',
      zh: 'await once(socket, "connect", { signal: AbortSignal.timeout(1000) })，见 4.3',
    },
    {
      en: "the error's name is AbortError after the timeout; any other error is a refusal",
      zh: "超时的错误名是 AbortError；别的错误就是被拒绝",
    },
  ],
  tries: 2, // the machine may stand still for a second
  terminals: `
terminal 1
  $ bun scripts/tcp/time-server.ts
  listening on 127.0.0.1:9999
  2026-11-20 17:04:30.293444 to 127.0.0.1:50001
  ^C
terminal 2
  $ node tests/practice/peers/filtered.ts
  listening on 127.0.0.1:9001
  ^C
  [exit 130]
terminal 3
  $ bun bare/closed-or-filtered.ts 9999 9001 9002
  127.0.0.1:9999  open
  127.0.0.1:9001  filtered
  127.0.0.1:9002  closed`,
};

export const OWN: Own[] = [
  CHAT_LOG,
  GUESS,
  ROLL_CALL,
  TIMEOUT,
  THREE_CALLERS,
  UPPER_CASE,
  BACKWARDS,
  SLOW_AND_FAST,
  NO_SUCH_FILE,
  CLOSED_OR_FILTERED,
];
