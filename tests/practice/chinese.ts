/** What the judge says, in Chinese. What programs have printed stands as it is, in lines that begin with spaces. */

const STREAM = "(stdout|stderr)";

/** Whole lines, or their beginnings: the rest is what was awaited. */
const SENTENCES: [RegExp, string][] = [
  [/^terminal (\d+): \$ /, "终端 $1：$ "],
  [RegExp(`^expected on ${STREAM}:$`), "$1 上应该是："],
  [/^but saw:$/, "实际是："],
  [/^but saw, without a line end:$/, "实际是（行尾没有换行）："],
  [/^the port in the head is an example; .*/, "题目里的端口只是例子，真正的端口不同"],
  [/^nothing moves any more; still missing: /, "所有程序都停住了，还缺"],
  [/^busy, without a word; still missing: /, "程序一直在忙，却没有输出，还缺"],
  [/^waited \d+ ms for /, "等了很久，还缺"],
  [/^started more than (\d+) processes, and was stopped$/, "启动了 $1 个以上的进程，已被终止"],
  [/^printed more than (\d+) bytes, and was stopped$/, "输出超过 $1 字节，已被终止"],
  [
    RegExp(`^ended with exit code (\\d+) before this line on ${STREAM}:$`),
    "没有打印 $2 上的这一行就结束了（退出码 $1）：",
  ],
  [/^ended with exit code (\d+) before "(.*)" was typed$/, "还没输入“$2”就结束了（退出码 $1）"],
  [/^ended with exit code (\d+) before (\^\w)$/, "还没按 $2 就结束了（退出码 $1）"],
  [/^ended with exit code (\d+), not (\d+)$/, "退出码是 $1，应该是 $2"],
  [/^left a process behind:$/, "留下了没有结束的进程："],
  [/^ {2}and (\d+) more$/, "  还有 $1 个"],
  [RegExp(`^printed a line too many on ${STREAM}:$`), "$1 上多打印了一行："],
  [RegExp(`^printed a last line without its end on ${STREAM}:$`), "$1 上最后一行没有换行："],
  [/^wrote outside of its folder: /, "写到了自己的目录外面："],
  [/^it said: /, "程序说："],
  [/^(\S+) is not there$/, "没有找到 $1"],
  [/^(\S+) is not the file that was sent$/, "$1 和发送的文件不一样"],
  [/^(\S+) holds other lines:$/, "$1 里的内容不同："],
  [/^these times are not the current time:$/, "这些不是现在的时间："],
];

/** What is awaited, behind such a beginning. */
const AWAITED: [RegExp, string][] = [
  [RegExp(`this line on ${STREAM}:$`), " $1 上的这一行："],
  [RegExp(`the end of its ${STREAM}$`), "它的 $1 结束"],
  [/its end$/, "它的结束"],
];

/** Says in Chinese why a program is not right. */
export function inChinese(why: string): string {
  return why.split("\n").map((line) => {
    const [from, to] = SENTENCES.find(([from]) => from.test(line)) ?? [/^/, ""];
    const said = line.replace(from, to);
    if (!/^nothing|^busy|^waited/.test(line)) return said;
    return AWAITED.reduce((text, [from, to]) => text.replace(from, to), said);
  }).join("\n");
}
