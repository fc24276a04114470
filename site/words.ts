/** What the pages say beside what they take from the heads, in both languages. */

export type Language = "en" | "zh";
export const LANGUAGES: Language[] = ["en", "zh"];

/** A text in both languages. */
export type Both = Record<Language, string>;

export const WORDS = {
  en: {
    name: "Sockets by Example",
    other: "中文",
    skip: "To the content",
    lessons: "Lessons",
    calls: "Calls",
    errors: "Errors",
    search: "Search",
    searchHint: "Search the course",
    nothing: "Nothing found",
    copy: "Copy",
    copyFile: "Copy the whole file",
    program: "The program",
    bareNote: "One file, to paste. It runs alone in an empty folder:",
    wholeNote: "This lesson has no shorter version: here it is whole.",
    headLines: (count: number) => `The head of the file: what it shows when you run it (${count} lines)`,
    run: "How to run it",
    runNote: "In the top folder of the project, with a terminal for each number:",
    terminal: (number: number) => `Terminal ${number}`,
    terminals: "What you see",
    terminalsNote: (isOfBun: boolean) =>
      `The tests run these terminals on ${isOfBun ? "Bun" : "Bun, Node and Deno"}, and compare each line. ` +
      "Ports above 50000 and times are examples.",
    play: "Play",
    pause: "Pause",
    step: "Step",
    all: "Show all",
    progress: "{} of {}",
    wire: "What goes over the wire",
    wireNote: "Time in seconds runs down. Each arrow is one packet; green lines are what the programs show.",
    ladder: (packets: number, left: string, right: string) =>
      `Ladder of ${packets} packets between ${left} and ${right}`,
    python: "Python and TypeScript",
    watchOut: "Watch out",
    tryIt: "Try",
    whole: "The whole lesson",
    wholeFile: (path: string, lines: number) => `${path}, ${lines}\u00a0lines`,
    parts: "Its parts",
    shared: "Shared with other chapters: ",
    comma: ", ",
    exercise: "Exercise: write the calls of this program yourself. It is judged each time you save it.",
    previous: "Previous lesson",
    next: "Next lesson",
    previousChapter: "Previous chapter",
    nextChapter: "Next chapter",
    lesson: "Lesson",
    pair: "Scripts of this lesson",
    whatLesson: "One lesson, whole: ",
    moreOf: "Read this lesson",
    allLessons: "All lessons",
    footer: "Made from the heads of the scripts, which the tests run and compare line by line.",
    provoke: "Bring it about",
    remedy: "What to do",
    shownIn: "Shown in",
    callsIdea: "Each call of Python's socket module beside its counterparts on Node, Bun and Deno.",
    callsNote:
      "The lessons use Node's modules, which run on all three. Bun and Deno also have calls of their own.",
    callsTaught: "What each lesson teaches",
    errorsIdea: "Each code that a script of the course can print: its meaning, its cause, and the remedy.",
    library: "A module that several chapters share",
    usedBy: "Used by: ",
    none: "none",
  },
  zh: {
    name: "看例子学套接字",
    other: "English",
    skip: "跳到正文",
    lessons: "课程",
    calls: "调用对照",
    errors: "错误",
    search: "搜索",
    searchHint: "搜索全部课程",
    nothing: "没有找到",
    copy: "复制",
    copyFile: "复制整个文件",
    program: "程序",
    bareNote: "一个文件，拿去就能用，单独放在空文件夹里就能运行：",
    wholeNote: "这一课没有更短的版本，下面就是完整的程序。",
    headLines: (count: number) => `文件开头的说明：运行时会看到什么（${count} 行）`,
    run: "怎样运行",
    runNote: "在项目的最上层文件夹里，每个编号开一个终端：",
    terminal: (number: number) => `终端 ${number}`,
    terminals: "运行结果",
    terminalsNote: (isOfBun: boolean) =>
      `测试会在 ${isOfBun ? "Bun" : "Bun、Node、Deno"} 上运行这些终端，逐行比对。` +
      "50000 以上的端口号和时间只是例子，每次运行都不同。",
    play: "播放",
    pause: "暂停",
    step: "下一步",
    all: "全部显示",
    progress: "第 {} 步，共 {} 步",
    wire: "网络上传输了什么",
    wireNote: "时间从上往下，以秒为单位。每个箭头是一个报文，绿色的是程序显示的内容。",
    ladder: (packets: number, left: string, right: string) =>
      `${left} 与 ${right} 之间 ${packets} 个报文的时序图`,
    python: "Python 与 TypeScript 对照",
    watchOut: "注意",
    tryIt: "试试",
    whole: "完整的程序",
    wholeFile: (path: string, lines: number) => `${path}，${lines}\u00a0行`,
    parts: "用到的其他文件",
    shared: "与其他章共用：",
    comma: "、",
    exercise: "练习：自己写出这个程序里的调用，每次保存后立即检查对错。",
    previous: "上一课",
    next: "下一课",
    previousChapter: "上一章",
    nextChapter: "下一章",
    lesson: "课",
    pair: "这一课的脚本",
    whatLesson: "完整的一课：",
    moreOf: "阅读这一课",
    allLessons: "全部课程",
    footer: "本页由脚本开头的说明生成；测试会运行这些脚本，逐行比对。",
    provoke: "怎样触发",
    remedy: "怎么办",
    shownIn: "见于",
    callsIdea: "Python 套接字的每个调用，以及它在 Node、Bun、Deno 上的对应写法。",
    callsNote: "课程使用 Node 的模块，三种运行时都支持。Bun 和 Deno 还各有自己的调用。",
    callsTaught: "每一课教的调用",
    errorsIdea: "课程里的脚本可能打印的每个错误代码：是什么意思，怎样触发，怎么办。",
    library: "几章共用的模块",
    usedBy: "用到它的课：",
    none: "没有",
  },
};

/** The chapters by number: their titles, and what they are about. */
export const CHAPTERS: Record<string, { title: Both; about: Both }> = {
  1: {
    title: { en: "The network", zh: "网络" },
    about: {
      en:
        "Before two programs can talk, each needs an address and a port. This chapter shows those of your own machine.",
      zh: "两个程序要通信，先要有地址和端口。这一章先看看自己这台机器的地址和端口。",
    },
  },
  2: {
    title: { en: "UDP, letters", zh: "UDP：寄信" },
    about: {
      en:
        "A datagram is like a letter: it carries its address, it goes off alone, and nobody confirms it. From there to chats, to one-to-many, and to what TCP adds.",
      zh:
        "数据报像一封信：自带地址，单独寄出，没有人确认收到。从这里讲到聊天、一对多，再到 TCP 多做了哪些事。",
    },
  },
  3: {
    title: { en: "TCP, phone calls", zh: "TCP：打电话" },
    about: {
      en:
        "A connection is like a phone call: one side waits, the other calls, both speak, and one hangs up. From one call to servers for many, with each call of Python's socket on the way.",
      zh:
        "连接像一通电话：一方等着，一方拨号，双方说话，最后挂断。从一通电话讲到同时服务许多人的服务器，并讲完 Python 套接字的每个调用。",
    },
  },
  4: {
    title: { en: "Applications", zh: "应用" },
    about: {
      en:
        "Programs that one would keep: downloads, a port scanner, a messenger that gets through NAT, and a file shell over SSH.",
      zh: "值得留下来用的程序：下载、端口扫描、能穿过 NAT 的即时通信，以及基于 SSH 的文件命令行。",
    },
  },
  5: {
    title: { en: "Below the transport", zh: "传输层之下" },
    about: {
      en:
        "The third kind of socket is raw. These two programs send their own ICMP packets, and watch what all the others put on the wire. They need Linux and Bun.",
      zh:
        "第三种套接字是原始套接字。这两个程序自己收发 ICMP 报文，并观察其他程序在网络上传输了什么。需要 Linux 和 Bun。",
    },
  },
};
