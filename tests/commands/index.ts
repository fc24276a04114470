/** `make index`: writes what the READMEs take from the heads, the lesson table and one transcript. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { find, lessons } from "../engine/lessons.ts";
import { ROOT } from "../engine/program.ts";

/** Each README, and the words of its language. */
export const READMES = [
  { file: "README.md", chinese: false, heading: "| lesson | script | what it shows |" },
  { file: "README.zh-CN.md", chinese: true, heading: "| 课 | 脚本 | 内容 |" },
];

/** The text of a README as the heads want it. */
export function render({ file, chinese, heading }: (typeof READMES)[number]): string {
  const text = readFileSync(join(ROOT, file), "utf8");
  const all = lessons();
  const rows = all.map(({ path, head }, index) => {
    const number = all[index - 1]?.head.number === head.number ? "" : head.number;
    const { title, idea } = chinese ? head.chinese : head;
    const words = chinese ? `**${title}**：${idea}` : `**${title}**: ${idea}`;
    return `| ${number} | [${path.replace("scripts/", "")}](${path}) | ${words.replaceAll("|", "\\|")} |`;
  });
  const table = [heading, "| --- | --- | --- |", ...rows].join("\n");
  return text
    .replace(/(<!-- lessons -->\n)[^]*(<!-- \/lessons -->)/, (_, start, end) => `${start}${table}\n${end}`)
    .replace(/(<!-- transcript (\S+) -->\n)[^]*(<!-- \/transcript -->)/, (_, start, path, end) => {
      const [{ head }] = find(path);
      const terminals = head.text.split("\n\n").find((part) => part.startsWith("terminal 1"));
      return `${start}\`\`\`text\n${terminals}\n\`\`\`\n${end}`;
    });
}

if (import.meta.main) {
  for (const readme of READMES) writeFileSync(join(ROOT, readme.file), render(readme));
}
