/** A port after an address: 127.0.0.1:50001, [::1]:50001. */
export const PORT = /(?<=(?:\.\d{1,3}|\]):)\d{1,5}\b/g;

/**
 * What differs from run to run. A line of a head shows such a value as it once was; in a run, every
 * other value of the same kind will do, but the same one wherever the head shows the same one: the
 * port that the sender prints must be the port that the receiver prints. A value that is `alone` may
 * differ each time: that two counts were the same once means nothing.
 */
const VARYING: { name: string; shape: RegExp; alone?: true }[] = [
  { name: "time", shape: /\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}/ },
  { name: "minute", shape: /\d{4}-\d\d-\d\d \d\d:\d\d(?=\) >)/, alone: true },
  { name: "port", shape: PORT },
  { name: "duration", shape: /\d+\.\d\d ms/ },
  { name: "trip", shape: /(?<=time=)\d+\.\d{3}(?= ms)/, alone: true },
  { name: "trips", shape: /(?<=mdev = )[\d./]+(?= ms)/ },
  { name: "elapsed", shape: /(?<=time )\d+(?=ms$)/ },
  { name: "moment", shape: /^ *\d+\.\d{3}(?= \|)/, alone: true },
  { name: "rate", shape: /\d+ requests\/s/ },
  { name: "process", shape: /(?<=process )\d+/ },
  { name: "host", shape: /(?<=^host name )\S+/ },
  { name: "program", shape: /\d+\/(?:bun|node|deno)\b/ },
  { name: "fingerprint", shape: /SHA256:[A-Za-z0-9+/]{43}/ },
  { name: "part", shape: /incoming-[0-9a-f]{8}\.part/ },
  { name: "count", shape: /^ +\d+(?:\.\d\d)?(?= [A-Za-z])/, alone: true },
];

const ANY = new RegExp(VARYING.map(({ name, shape }) => `(?<${name}>${shape.source})`).join("|"), "g");

/** The values of a run, by the value that the head shows. */
export type Values = Map<string, string>;

/** Whether a line that was seen is the line of the head. What it shows for the first time is noted in `values`. */
export function matches(expected: string, seen: string, values: Values): boolean {
  let pattern = "";
  let end = 0;
  const fresh: string[] = [];
  for (const match of expected.matchAll(ANY)) {
    const [shown] = match;
    const known = values.get(shown);
    const kind = VARYING.find(({ name }) => match.groups?.[name] !== undefined);
    pattern += RegExp.escape(expected.slice(end, match.index));
    if (kind?.alone) pattern += kind.shape.source;
    else if (known !== undefined) pattern += RegExp.escape(known);
    else if (fresh.includes(shown)) pattern += `\\${fresh.indexOf(shown) + 1}`;
    else {
      pattern += `(${kind?.shape.source})`;
      fresh.push(shown);
    }
    end = match.index + shown.length;
  }
  const found = new RegExp(`^${pattern}${RegExp.escape(expected.slice(end))}$`).exec(seen);
  if (!found) return false;
  for (const [index, shown] of fresh.entries()) values.set(shown, found[index + 1]);
  return true;
}
