/**
 * The errors page: each code that the course can meet. A text may use `code` as Markdown does; a command in `provoke` is
 * one that a learner can type. tests/site/ proves that no code of the scripts is missing, and plays what can be played.
 */
import type { Both } from "./words.ts";

export type Explained = { code: string; means: Both; provoke: Both; remedy: Both };

const row = (
  code: string,
  [means, provoke, remedy]: [string, string, string],
  [meansZh, provokeZh, remedyZh]: [string, string, string],
): Explained => ({
  code,
  means: { en: means, zh: meansZh },
  provoke: { en: provoke, zh: provokeZh },
  remedy: { en: remedy, zh: remedyZh },
});

/** Codes that stand in the scripts, and that nobody is shown: what they are instead. */
export const NOT_SHOWN = ["EINTR", "ENONET", "ENXIO", "EOF", "ESTABLISHED", "ECE"];

export const ERRORS: Explained[] = [
  row("EACCES", [
    "The system or the server does not allow it.",
    "Send a broadcast without `SO_BROADCAST`, ask a download server for `../secret`, or listen on a port below 1024 as an ordinary user.",
    "Ask for what is allowed: set the socket option, stay inside the folder that is served, choose a port above 1023.",
  ], [
    "系统或服务器不允许这样做。",
    "不设 `SO_BROADCAST` 就广播；向下载服务器要 `../secret`；或者用普通用户监听 1024 以下的端口。",
    "只做允许的事：设好套接字选项，不离开服务器开放的文件夹，选 1023 以上的端口。",
  ]),
  row("EADDRINUSE", [
    "Another socket already holds this address and port.",
    "Start the same server twice: `bun scripts/tcp/server.ts` in two terminals.",
    "Stop the other program, or choose another port with `--port`; `--port 0` takes any free one. `bun scripts/network/connections.ts` shows which program holds it.",
  ], [
    "这个地址和端口已经被另一个套接字占用。",
    "同一个服务器启动两次：在两个终端里都运行 `bun scripts/tcp/server.ts`。",
    "停掉另一个程序，或者用 `--port` 换一个端口；`--port 0` 会取任意空闲端口。`bun scripts/network/connections.ts` 能看到是谁占着。",
  ]),
  row("EADDRNOTAVAIL", [
    "A program can bind only an address of its own machine. When it connects: this machine has no address, or no free port, to do that from.",
    "`bun scripts/tcp/server.ts --host 192.0.2.1`",
    "Use one of the addresses that `bun scripts/network/interfaces.ts` shows, or `0.0.0.0` for all of them.",
  ], [
    "程序只能绑定自己这台机器的地址。发起连接时：本机没有合适的地址，或者没有空闲的端口可用。",
    "`bun scripts/tcp/server.ts --host 192.0.2.1`",
    "使用 `bun scripts/network/interfaces.ts` 列出的地址，或者用 `0.0.0.0` 表示本机的全部地址。",
  ]),
  row("EAFNOSUPPORT", [
    "This family of addresses cannot do that: IPv6 has no broadcast.",
    "`bun scripts/udp/broadcast-send.ts hello --host ::1`",
    "Use an IPv4 address, or a group (2.5) with IPv6.",
  ], [
    "这一类地址做不到：IPv6 没有广播。",
    "`bun scripts/udp/broadcast-send.ts hello --host ::1`",
    "改用 IPv4 地址；用 IPv6 时改用组播（2.5）。",
  ]),
  row("EAGAIN", [
    "Not now: all places are taken, or you asked for too much in a short time.",
    "Open more connections to `bun scripts/apps/download-server.ts` than it has places for.",
    "Wait, and try again.",
  ], [
    "现在不行：位置都占满了，或者短时间内要得太多。",
    "向 `bun scripts/apps/download-server.ts` 打开的连接超过它的连接数上限。",
    "等一会儿再试。",
  ]),
  row("EAI_AGAIN", [
    "No name server answered, so it is unknown whether the name exists.",
    "Switch the network off, then `bun scripts/tcp/client.ts hello --host example.com`.",
    "Check the connection to the network. An address such as `127.0.0.1` needs no name server.",
  ], [
    "没有域名服务器回答，所以不知道这个名字是否存在。",
    "断开网络，再运行 `bun scripts/tcp/client.ts hello --host example.com`。",
    "检查网络连接。`127.0.0.1` 这样的地址不需要域名服务器。",
  ]),
  row("EBADF", [
    "The file is not open, or no longer.",
    "An SFTP client closes a file at `bun scripts/apps/sftp-server.ts`, and then reads from it.",
    "A mistake of the client: it must open the file before it uses it.",
  ], [
    "文件没有打开，或者已经关闭。",
    "SFTP 客户端在 `bun scripts/apps/sftp-server.ts` 上关闭文件后又去读它。",
    "这是客户端的错误：先打开文件，再使用。",
  ]),
  row("EBADMSG", [
    "What arrived is not what was sent: the checksum or the echo differs.",
    "Point `bun scripts/tcp/load.ts` at a server that does not echo.",
    "Nothing damaged was kept. Send it again; if it happens again, look at both ends.",
  ], [
    "收到的和发出的不一样：校验和不符，或者回显不符。",
    "让 `bun scripts/tcp/load.ts` 去连一个不回显的服务器。",
    "损坏的内容没有留下。再传一次；如果还是这样，检查两端。",
  ]),
  row("EBUSY", [
    "The other side has too much to do, or you are too fast for it.",
    "Send to a messenger server faster than it allows, or hundreds of datagrams at once to `bun scripts/udp/echo-server.ts`.",
    "Send more slowly, or try again later.",
  ], [
    "对方太忙，或者你发得太快。",
    "向即时通信服务器发得比它允许的快；或者一次向 `bun scripts/udp/echo-server.ts` 发几百个数据报。",
    "发慢一些，或者稍后再试。",
  ]),
  row("ECANCELED", [
    "The other side gave up, or the connection was closed while something was still under way.",
    "Press Ctrl-C in `bun scripts/udp/reliable-send.ts` while a file is crossing.",
    "Start it again at the other side.",
  ], [
    "对方放弃了，或者还没做完连接就关闭了。",
    "文件正在传输时，在 `bun scripts/udp/reliable-send.ts` 里按 Ctrl-C。",
    "在对方那一端重新开始。",
  ]),
  row("ECHILD", [
    "A server of several processes has lost the last one.",
    "Kill the processes of `bun scripts/tcp/servers/processes.ts` as soon as each of them has started.",
    "Read what the processes printed before they died, then start the server again.",
  ], [
    "多进程服务器的最后一个进程也没有了。",
    "`bun scripts/tcp/servers/processes.ts` 的进程一启动就杀掉。",
    "看它们结束前打印了什么，再重新启动服务器。",
  ]),
  row("ECONNREFUSED", [
    "The machine is there, but nobody listens at that port: it answered the SYN with a reset.",
    "`bun scripts/tcp/client.ts hello` while no server runs.",
    "Start the server first, and compare its ready line with `--host` and `--port` of the client.",
  ], [
    "机器在，但那个端口没有程序在监听：它用复位回答了 SYN。",
    "不启动服务器就运行 `bun scripts/tcp/client.ts hello`。",
    "先启动服务器，再核对它打印的地址端口和客户端的 `--host`、`--port`。",
  ]),
  row("ECONNRESET", [
    "The other side has ended the connection with a reset, without reading everything or saying goodbye.",
    "`bun scripts/tcp/close-order.ts` does it in its step 4. Killing a program that has unread bytes does it, too.",
    "Reckon with it at each read and write. What was still under way is lost: connect again, and send it again.",
  ], [
    "对方用复位结束了连接：没有读完，也没有正常关闭。",
    "`bun scripts/tcp/close-order.ts` 的第 4 步就是这样。杀掉还有数据没读的程序也会这样。",
    "每次读写都要想到它。还在路上的内容丢了：重新连接，再发一次。",
  ]),
  row("EEXIST", [
    "Something of that name is already there, and is not overwritten.",
    "Fetch the same picture twice into the same folder with `bun scripts/tcp/picture-client.ts --out album`.",
    "Choose another name or folder, or remove the old one. The downloader overwrites with `--force`.",
  ], [
    "同名的东西已经存在，不会覆盖。",
    "用 `bun scripts/tcp/picture-client.ts --out album` 把同一张图片取到同一个文件夹两次。",
    "换一个名字或文件夹，或者删掉旧的。下载器加 `--force` 才会覆盖。",
  ]),
  row("EFBIG", [
    "More bytes come than the receiver is willing to take.",
    "Let `bun scripts/tcp/picture-server.ts` send a picture that is larger than the client's limit.",
    "Send less. A limit protects the memory of the receiver from a stranger.",
  ], [
    "来的字节比接收方愿意收的多。",
    "让 `bun scripts/tcp/picture-server.ts` 发一张超过客户端上限的图片。",
    "发小一些。上限是为了不让陌生人耗尽接收方的内存。",
  ]),
  row("EHOSTDOWN", [
    "A machine of your own network does not answer.",
    "Send to an address of your own network that no machine has (macOS; Linux says EHOSTUNREACH).",
    "Check the address, and whether that machine is on.",
  ], [
    "同一网络里的那台机器没有应答。",
    "发给本网络里没有机器使用的地址（macOS；Linux 报 EHOSTUNREACH）。",
    "检查地址，以及那台机器有没有开机。",
  ]),
  row("EHOSTUNREACH", [
    "The network is there, but no way leads to that machine.",
    "Connect to an address of your own network that no machine has.",
    "Check the address, and whether that machine is on. A firewall can answer like this, too.",
  ], [
    "网络通，但到不了那台机器。",
    "连接本网络里没有机器使用的地址。",
    "检查地址，以及那台机器有没有开机。防火墙也可能这样回答。",
  ]),
  row("EILSEQ", [
    "A character that the encoding does not have, or bytes that are no text in it.",
    "`bun scripts/udp/send.ts 😀 --encoding gbk`",
    "Use the same `--encoding` at both ends; UTF-8 has every character.",
  ], [
    "这个编码里没有这个字符，或者收到的字节不是这个编码的文本。",
    "`bun scripts/udp/send.ts 😀 --encoding gbk`",
    "两端用同样的 `--encoding`；UTF-8 包含所有字符。",
  ]),
  row("EINVAL", [
    "The command is wrong: an unknown flag, a value that cannot be.",
    "`bun scripts/udp/send.ts --port 70000`",
    "Read the message, then `--help`. A wrong command ends with exit code 2.",
  ], [
    "命令写错了：没有这个参数，或者值不合法。",
    "`bun scripts/udp/send.ts --port 70000`",
    "先看错误信息，再看 `--help`。命令写错时退出码是 2。",
  ]),
  row("EIO", [
    "Reading or writing a file went wrong, or the file became shorter meanwhile.",
    "Cut a file while `bun scripts/tcp/picture-server.ts` sends it.",
    "Leave the file alone while it is sent, and look at the disk.",
  ], [
    "读写文件出错，或者文件在此期间变短了。",
    "`bun scripts/tcp/picture-server.ts` 正在发送时把文件截短。",
    "发送期间不要动那个文件，并检查磁盘。",
  ]),
  row("EISDIR", [
    "That is a folder, and a file was expected.",
    "Save a download under the name of a folder.",
    "Name a file. The downloader takes folders with `--recursive`.",
  ], [
    "那是文件夹，这里需要文件。",
    "下载时用文件夹的名字保存。",
    "写文件名。下载器加 `--recursive` 可以取整个文件夹。",
  ]),
  row("EKEYREJECTED", [
    "The SSH server's key is not the one that you trust.",
    "Delete the host key of `bun scripts/apps/sftp-server.ts`, start it anew, and connect again.",
    "Find out why before you go on: another machine may pretend to be the server.",
  ], [
    "SSH 服务器的密钥不是你信任的那一个。",
    "删除 `bun scripts/apps/sftp-server.ts` 的主机密钥，重新启动后再连接。",
    "先弄清原因：可能有另一台机器在冒充服务器。",
  ]),
  row("EKEYREVOKED", [
    "The SSH server's key was declared invalid.",
    "Write `@revoked` before its line in the file of known hosts.",
    "Do not connect. Ask the administrator for the new key.",
  ], [
    "SSH 服务器的密钥已被吊销。",
    "在已知主机文件中，在它那一行前面写上 `@revoked`。",
    "不要连接。向管理员要新的密钥。",
  ]),
  row("ELOOP", [
    "Symbolic links lead round in a circle.",
    "`ln -s a b; ln -s b a` in the folder of a server, then ask it for `a`.",
    "Remove one of the links.",
  ], [
    "符号链接绕成了圈。",
    "在服务器的文件夹里 `ln -s a b; ln -s b a`，再向它要 `a`。",
    "删掉其中一个链接。",
  ]),
  row("EMFILE", [
    "The program has as many files and sockets open as the system allows.",
    "`ulimit -n 64`, then `bun scripts/tcp/load.ts --clients 100`.",
    "Open fewer at once, or raise the limit with `ulimit -n`.",
  ], [
    "程序打开的文件和套接字已经到了系统允许的上限。",
    "`ulimit -n 64`，再运行 `bun scripts/tcp/load.ts --clients 100`。",
    "少开一些，或者用 `ulimit -n` 提高上限。",
  ]),
  row("EMSGSIZE", [
    "A message is larger than it may be: a datagram carries at most 65507 bytes over IPv4.",
    "Send a line of 70000 characters with `bun scripts/udp/send.ts`.",
    "Cut it into pieces, or use TCP.",
  ], [
    "消息超过了允许的大小：IPv4 上一个数据报最多 65507 字节。",
    "用 `bun scripts/udp/send.ts` 发一行 70000 个字符。",
    "切成几段发，或者改用 TCP。",
  ]),
  row("ENAMETOOLONG", [
    "A file name or a path is longer than the system can store. The path of an AF_UNIX socket is especially short.",
    "`bun scripts/unix/server.ts --path` with a path of 200 characters.",
    "Choose a shorter one.",
  ], [
    "文件名或路径超过了系统能存的长度。AF_UNIX 套接字的路径尤其短。",
    "`bun scripts/unix/server.ts --path` 后面写 200 个字符的路径。",
    "换短一些的。",
  ]),
  row("ENETDOWN", [
    "The network card is switched off.",
    "`unshare -Urn bun scripts/raw/wire.ts`: the loopback of a new network is down at first.",
    "Switch it on: `ip link set lo up`.",
  ], [
    "网卡没有启用。",
    "`unshare -Urn bun scripts/raw/wire.ts`：新建的网络里，环回网卡起初是关着的。",
    "启用它：`ip link set lo up`。",
  ]),
  row("ENETUNREACH", [
    "This machine knows no way to that network.",
    "Connect to an IPv6 address from a machine that has only IPv4.",
    "Check the connection to the network, and use an address that you can reach.",
  ], [
    "这台机器不知道怎样到达那个网络。",
    "在只有 IPv4 的机器上连接 IPv6 地址。",
    "检查网络连接，换一个到得了的地址。",
  ]),
  row("ENOBUFS", [
    "What waits to be sent is more than there is room for: somebody does not read.",
    "Connect to a messenger server, and never read what it sends.",
    "Read what you get. The limit keeps one slow peer from taking all the memory.",
  ], [
    "等着发送的内容超过了容量：有人不读。",
    "连上即时通信服务器，却从不读它发来的内容。",
    "把收到的读走。有上限，一个慢的对方才不会占光内存。",
  ]),
  row("ENODATA", [
    "The other side closed the connection without an answer.",
    "Ask `bun scripts/apps/download-basic-server.ts` for a file that it does not have: in this protocol, silence says so.",
    "Check what you asked for. A better protocol says why (4.2).",
  ], [
    "对方没有回答就关闭了连接。",
    "向 `bun scripts/apps/download-basic-server.ts` 要它没有的文件：在这个协议里，沉默就表示没有。",
    "检查你要的东西。好一些的协议会说明原因（4.2）。",
  ]),
  row("ENODEV", [
    "This machine has no network card of that name.",
    "`bun scripts/udp/multicast-send.ts hello --interface none0`",
    "`bun scripts/network/interfaces.ts` lists the cards.",
  ], [
    "这台机器没有叫这个名字的网卡。",
    "`bun scripts/udp/multicast-send.ts hello --interface none0`",
    "`bun scripts/network/interfaces.ts` 会列出网卡。",
  ]),
  row("ENOENT", [
    "No file, folder or socket has that name.",
    "`bun scripts/unix/client.ts` while no server runs: its socket file is not there yet.",
    "Check the spelling and the folder, or start the server first.",
  ], [
    "没有叫这个名字的文件、文件夹或套接字。",
    "不启动服务器就运行 `bun scripts/unix/client.ts`：套接字文件还不存在。",
    "检查拼写和所在的文件夹，或者先启动服务器。",
  ]),
  row("ENOSYS", [
    "This system or this runtime does not have the call.",
    "`node scripts/tcp/servers/bun-listen.ts`: only Bun has it.",
    "Use the runtime and the system that the lesson names.",
  ], [
    "这个系统或运行时没有这个调用。",
    "`node scripts/tcp/servers/bun-listen.ts`：只有 Bun 才有。",
    "使用课程里写明的运行时和系统。",
  ]),
  row("ENOTCONN", [
    "There is no connection now.",
    "Type a command in `bun scripts/apps/messenger-client.ts` while the server is away.",
    "Wait until it is connected again.",
  ], [
    "现在没有连接。",
    "服务器不在时，在 `bun scripts/apps/messenger-client.ts` 里键入命令。",
    "等它重新连上。",
  ]),
  row("ENOTDIR", [
    "That is a file, and a folder was expected.",
    "`bun scripts/apps/download-server.ts --root LICENSE`",
    "Name a folder.",
  ], [
    "那是文件，这里需要文件夹。",
    "`bun scripts/apps/download-server.ts --root LICENSE`",
    "写文件夹的名字。",
  ]),
  row("ENOTFOUND", [
    "No machine has this name.",
    "`bun scripts/tcp/client.ts hello --host no-such-host.invalid`",
    "Check the spelling. An address such as `127.0.0.1` needs no look-up.",
  ], [
    "没有叫这个名字的机器。",
    "`bun scripts/tcp/client.ts hello --host no-such-host.invalid`",
    "检查拼写。`127.0.0.1` 这样的地址不用查找。",
  ]),
  row("ENOTSUP", [
    "This system cannot do that: only Linux has abstract socket names.",
    "`bun scripts/unix/server.ts --path @lesson` on macOS.",
    "Use a path in the file system.",
  ], [
    "这个系统做不到：抽象套接字名只有 Linux 才有。",
    "在 macOS 上运行 `bun scripts/unix/server.ts --path @lesson`。",
    "改用文件系统里的路径。",
  ]),
  row("EOPNOTSUPP", [
    "The SFTP server does not know this request.",
    "Use a command of `bun scripts/apps/sftp.ts` that an old server does not have.",
    "Do without that command, or use another server.",
  ], [
    "SFTP 服务器不认识这个请求。",
    "在 `bun scripts/apps/sftp.ts` 里用老服务器没有的命令。",
    "不用那个命令，或者换一个服务器。",
  ]),
  row("EPERM", [
    "Only a program with a special right may do that, such as opening a raw socket.",
    "`bun scripts/raw/wire.ts` as an ordinary user.",
    "Run it as root, or in a network of your own: `make wire L=3.1` does that.",
  ], [
    "需要特别的权限，例如打开原始套接字。",
    "用普通用户运行 `bun scripts/raw/wire.ts`。",
    "用 root 运行，或者在自己建的网络里运行：`make wire L=3.1` 就是这样做的。",
  ]),
  row("EPIPE", [
    "The other side has closed the connection: what you write is heard by nobody.",
    "Stop the server while `bun scripts/tcp/dialog-client.ts` runs: the client notices at once.",
    "Connect again. A read would have told you: it comes back empty.",
  ], [
    "对方已经关闭了连接，再写也没人收。",
    "`bun scripts/tcp/dialog-client.ts` 运行时停掉服务器：客户端马上发现。",
    "重新连接。读一下就会知道：读到的是空。",
  ]),
  row("EPROTO", [
    "The other side does not speak this protocol.",
    "Point `bun scripts/apps/download-client.ts --list` at another server, with `--port`.",
    "Check the port: a different program listens there.",
  ], [
    "对方说的不是这个协议。",
    "用 `--port` 让 `bun scripts/apps/download-client.ts --list` 去连另一种服务器。",
    "检查端口：在那里监听的是别的程序。",
  ]),
  row("EREMOTEIO", [
    "The SFTP server could not do it, and does not say why.",
    "Rename a file to a name that is taken, with `bun scripts/apps/sftp.ts`.",
    "Look at the server: at its messages, its disk and its permissions.",
  ], [
    "SFTP 服务器没能做到，也没有说明原因。",
    "用 `bun scripts/apps/sftp.ts` 把文件改成已经有的名字。",
    "去看服务器：它的信息、磁盘和权限。",
  ]),
  row("EROFS", [
    "The server only lets you read.",
    "Use `put` on a server that was started with `bun scripts/apps/sftp-server.ts --read-only`.",
    "Start the server without `--read-only`, if you may.",
  ], [
    "服务器只许读，不许写。",
    "服务器用 `bun scripts/apps/sftp-server.ts --read-only` 启动，客户端用 `put`。",
    "如果可以，启动服务器时不加 `--read-only`。",
  ]),
  row("ERR_SOCKET_BAD_PORT", [
    "Port 0 means “any free port” to a server; a client cannot send there.",
    "`bun scripts/udp/send.ts hello --port 0`",
    "Use the port of the server's ready line.",
  ], [
    "端口 0 对服务器表示“任意空闲端口”；客户端不能往那里发。",
    "`bun scripts/udp/send.ts hello --port 0`",
    "使用服务器打印出来的端口。",
  ]),
  row("ESTALE", [
    "The file was changed while it was sent, so the download would be a mixture.",
    "Write into a large file while `bun scripts/apps/download-server.ts` sends it.",
    "Download it again.",
  ], [
    "发送期间文件被改动，这样下载到的会是新旧混合。",
    "`bun scripts/apps/download-server.ts` 正在发送大文件时往里写。",
    "再下载一次。",
  ]),
  row("ETIMEDOUT", [
    "No answer came in time. The other side may be off, the packets lost, or a firewall silent.",
    "Type a line in `bun scripts/udp/echo-client.ts` while no server runs.",
    "Try again, wait longer with `--timeout`, and check address, port and firewall.",
  ], [
    "规定的时间内没有回答。可能是对方没开，包丢了，或者防火墙不作声。",
    "不启动服务器就运行 `bun scripts/udp/echo-client.ts`，再键入一行。",
    "再试，用 `--timeout` 多等一会儿，并检查地址、端口和防火墙。",
  ]),
  row("UNKNOWN", [
    "The system refused, and the runtime does not say why.",
    "Some systems make Deno say so when a UDP send fails for a reason that it has no name for.",
    "Run the same file on Bun or Node: they often name the reason.",
  ], [
    "系统拒绝了，运行时没有说明原因。",
    "UDP 发送失败时，有些原因 Deno 没有名字，就会这样显示。",
    "用 Bun 或 Node 运行同一个文件：它们多半会说出原因。",
  ]),
];
