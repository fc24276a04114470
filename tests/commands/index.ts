/** `make index`: writes what the READMEs take from the scripts: the lesson table, one transcript, one bare program. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { barePrograms, find, lessonOf, lessons } from "../engine/lessons.ts";
import { ROOT } from "../engine/program.ts";

/** Each README, and the words of its language. */
export const READMES = [
  { file: "README.md", chinese: false, heading: "| lesson | script | to copy | what it shows |" },
  { file: "README.zh-CN.md", chinese: true, heading: "| 课 | 脚本 | 可复制 | 内容 |" },
];

/** The text of a README as the heads want it. */
export function render({ file, chinese, heading }: (typeof READMES)[number]): string {
  const text = readFileSync(join(ROOT, file), "utf8");
  const all = lessons();
  const bare = new Map(barePrograms().map((program) => [lessonOf(program), `[bare](${program.path})`]));
  const rows = all.map(({ path, head }, index) => {
    const number = all[index - 1]?.head.number === head.number ? "" : head.number;
    const { title, idea } = chinese ? head.chinese : head;
    const words = chinese ? `**${title}**：${idea}` : `**${title}**: ${idea}`;
    const script = `[${path.replace("scripts/", "")}](${path})`;
    return `| ${number} | ${script} | ${bare.get(path) ?? ""} | ${words.replaceAll("|", "\\|")} |`;
  });
  const table = [heading, "| --- | --- | --- | --- |", ...rows].join("\n");
  return text
    .replace(/(<!-- lessons -->\n)[^]*(<!-- \/lessons -->)/, (_, start, end) => `${start}${table}\n${end}`)
    .replace(/(<!-- transcript (\S+) -->\n)[^]*(<!-- \/transcript -->)/, (_, start, path, end) => {
      const [{ head }] = find(path);
      const terminals = head.text.split("\n\n").find((part) => part.startsWith("terminal 1"));
      return `${start}\`\`\`text\n${terminals}\n\`\`\`\n${end}`;
    })
    .replace(/(<!-- copy (\S+) -->\n)[^]*(<!-- \/copy -->)/, (_, start, path, end) => {
      return `${start}\`\`\`ts\n${readFileSync(join(ROOT, path), "utf8")}\`\`\`\n${end}`;
    });
}

if (import.meta.main) {
  for (const readme of READMES) writeFileSync(join(ROOT, readme.file), render(readme));
}
