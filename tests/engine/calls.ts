/**
 * The calls that a head teaches, and the calls that stand in the code.
 *
 * What stands right of `->` in a head's Python row is code, up to a remark: `: ` outside of brackets begins one, and
 * so does `, which wraps`. Of it count
 * - each call: the names before its `(`, as they are written, and a text in quotes that comes first in it. So
 *   `socket.on("message", (data, sender) => ...)` promises `socket.on("message"`, whatever comes then;
 * - each `for await (const ... of X`: a loop over X.
 * A remark `which wraps socket.on("message")` promises that the helper before it does that, where it stands.
 * A right side in parentheses, `(none; ...)`, promises nothing.
 */

/** What a row promises; `wrapped`: of the module from which `helper` comes. */
export type Promised = { calls: string[]; wrapped: { helper: string; calls: string[] }[] };

const LOOP = /\bfor await \((?:const|let) (?:[^;]*?) of ([^()\s]+\(?)/g;
const CALL =
  /((?<![\w$.#])(?:new )?[#A-Za-z_$][\w$]*(?:\.#?[\w$]+)*|(?<=\))(?:\.#?[\w$]+)+)\((?:\s*("[^"]*"))?/g;

/** A row of a Python note: Python's side, and ours with its remark. */
export type CallRow = { python: string; ours: string };

/** Reads the Python note of a head: rows `PYTHON  ->  OURS`, where `->  OURS` may stand on a line of its own. */
export function callRows(note: string): CallRow[] {
  // Lines without an arrow are Python where an arrow begins the line after them; else they go on with our side, and
  // so does a line after an unfinished one.
  const rows = note
    .replaceAll(/->(?:.*(?:[,;]|\band|\bwhich)\n(?!.*->))+/g, (lines) => lines.replaceAll("\n", " "))
    .replaceAll(/^((?:(?!.*->).*\n)+)->/gm, (_, lines: string) => `${lines.replaceAll("\n", " ")}->`)
    .replaceAll(/\n(?!.*->)/g, " ");
  return rows.split("\n").map((row) => {
    const [python, ours = ""] = row.split(/->(.*)/s);
    return { python: python.trim(), ours: ours.trim() };
  });
}

/** The calls that a Python note promises. */
export function promisedCalls(note: string): Promised {
  const promised: Promised = { calls: [], wrapped: [] };
  for (const { ours } of callRows(note)) {
    if (ours.startsWith("(none")) continue;
    const [code, remark] = cutRemark(ours);
    const calls = callsIn(code);
    promised.calls.push(...calls);
    const wraps = /\bwhich wraps (.*)/.exec(remark)?.[1];
    const helper = calls.find((call) => /^\w+\(/.test(call))?.replace(/\(.*/, "");
    if (wraps && helper) promised.wrapped.push({ helper, calls: callsIn(cutRemark(wraps)[0]) });
  }
  return promised;
}

/** Cuts a right side into code and remark. */
export function cutRemark(text: string): [code: string, remark: string] {
  let depth = 0;
  for (const { 0: part, index } of text.matchAll(/"[^"]*"|, which wraps |: |[^]/g)) {
    if ("([{".includes(part)) depth++;
    else if (")]}".includes(part)) depth--;
    else if (depth <= 0 && /^, which|^: /.test(part)) return [text.slice(0, index), text.slice(index)];
  }
  return [text, ""];
}

function callsIn(code: string): string[] {
  const loops = Array.from(code.matchAll(LOOP), ([, over]) => `for await (... of ${over}`);
  const isCode = (index: number) => (code.slice(0, index).split('"').length - 1) % 2 === 0; // not in quotes
  const found = Array.from(code.matchAll(CALL)).filter(({ index }) => isCode(index));
  const calls = found.map(([, name, text = ""]) => `${name}(${text}`);
  return [...loops, ...calls];
}

/** Code without comments and types, and without what stands in texts: a call in a text is none. */
export function plainCode(source: string): string {
  const js = new Bun.Transpiler({ loader: "ts", target: "bun", deadCodeElimination: false }).transformSync(
    source,
  );
  let plain = "";
  /** For each template around us, how many braces are open in its `${`. */
  const braces: number[] = [];
  for (let at = 0; at < js.length; at++) {
    const rest = js.slice(at);
    const isInCode = braces.at(-1) !== 0;
    const text = isInCode
      ? /^"(?:[^"\\]|\\.)*"|^'(?:[^'\\]|\\.)*'/.exec(rest)?.[0]
      : /^(?:[^`\\$]|\\[^]|\$(?!\{))+/.exec(rest)?.[0];
    const regex = isInCode && /(?:^|[(,=:[!&|?{};]|\breturn)\s*$/.test(plain.slice(-20)) &&
      /^\/(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/\w*/.exec(rest)?.[0];
    if (text || regex) {
      if (text && isInCode) plain += text.includes("(") ? '""' : text;
      at += (text || regex || "").length - 1;
    } else if (js[at] === "`") {
      if (isInCode) braces.push(0);
      else braces.pop();
      plain += "`";
    } else {
      if (!isInCode) at++; // `${`
      if (braces.length > 0 && js[at] === "{") braces[braces.length - 1]++;
      if (braces.length > 0 && js[at] === "}") braces[braces.length - 1]--;
      plain += js[at];
    }
  }
  return plain;
}

/** Whether a call that promisedCalls has given occurs in plain code. */
export function occurs(call: string, code: string): boolean {
  const loop = /^for await \(\.\.\. of (.*)/.exec(call)?.[1];
  const end = (text: string) => (text.endsWith("(") ? "" : "(?![\\w$])");
  if (loop) {
    return RegExp(`\\bfor await \\((?:const|let|var) [^;]*? of ${RegExp.escape(loop)}${end(loop)}`).test(
      code,
    );
  }
  // `socket.send(` is also what `this.#socket.send(` says.
  const begin = call.startsWith(".")
    ? ""
    : /^\w+\./.test(call)
    ? "(?:(?<![\\w$.#])|(?<=\\bthis\\.#?))"
    : "(?<![\\w$.#])";
  return RegExp(begin + RegExp.escape(call).replaceAll("\\(", "\\(\\s*")).test(code);
}
