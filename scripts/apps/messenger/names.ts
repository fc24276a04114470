/**
 * The names of lesson 4.4: two people must not look like the same one. The rules are those of Unicode Technical
 * Standard 39 (Unicode Security Mechanisms), cut down to what a name in a chat needs.
 */
import { Failure } from "../../../lib/failure.ts";
import { LONGEST_NAME } from "./protocol.ts";

/** Latin letters without the phonetic ones and the clicks, which look like the usual ones: ɑ ɡ ı ǃ. */
const LATIN = String
  .raw`A-Za-z\xAA\xBA\xC0-\xD6\xD8-\xF6\xF8-\u0130\u0132-\u017F\u018F-\u01BF\u01CD-\u024F\u1E00-\u1EFF`;

/** The other scripts of living languages (UAX 31, table 5), apart from those of East Asia. */
const SCRIPTS =
  "Arab Armn Beng Cyrl Deva Ethi Geor Grek Gujr Guru Hebr Khmr Knda Laoo Mlym Mymr Orya Sinh Taml " +
  "Telu Thaa Thai Tibt";

/** The scripts that one name may mix (UTS 39, section 5.2, "highly restrictive"). */
const MIXES = [
  String.raw`${LATIN}\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}ー`,
  String.raw`${LATIN}\p{Script=Han}\p{Script=Bopomofo}`,
  String.raw`${LATIN}\p{Script=Han}\uAC00-\uD7A3`,
  ...SCRIPTS.split(" ").map((script) => String.raw`\p{Script_Extensions=${script}}`),
];
const MARKS = String.raw`\p{Script=Inherited}`;
const SIGNS = String.raw`0-9._'·\-\p{Emoji_Presentation}`; // of emoji, those that are always shown as such
const ONE_KIND = RegExp(MIXES.map((mix) => `^[${mix}${MARKS}${SIGNS}]+$`).join("|"), "u");
const IN_NAMES = RegExp(String.raw`^[\p{L}\p{M}\p{Nd}${SIGNS}]+$`, "u");
const UNSEEN = /\p{Default_Ignorable_Code_Point}|\p{Me}|^\p{M}|\p{M}{3}/u;

/**
 * A name in the form in which all compare it (NFKC): é is é, and Ａ is A, however they were typed.
 * @throws Failure EINVAL, exit code 2, for one that may look like nothing, or like another name
 */
export function checkName(text: string): string {
  const name = text.normalize("NFKC");
  const wrong = (why: string) => new Failure(name || '""', why, "EINVAL", { exitCode: 2 });
  if (name === "" || [...name].length > LONGEST_NAME) {
    throw wrong(`a name has 1 to ${LONGEST_NAME} characters`);
  }
  if (!IN_NAMES.test(name) || UNSEEN.test(name)) throw wrong("a name has letters, digits and . _ ' - only");
  if (!ONE_KIND.test(name)) throw wrong("a name has letters of one script only, such as Latin or Chinese");
  return name;
}

/** Characters that look alike: the first of each word stands for all (from the table of UTS 39, section 4). */
const ALIKE = "aаα cс dԁ eе hһհ iіι jј kкκ lIІӀӏΙוןו1 nո oоοօס pрρ qԛ rг sѕ uυս vνѵ wԝ xхχ yуγ " +
  "AАΑ BВΒ CС EЕΕ HНΗ JЈ KКΚ LԼ MМΜ NΝ OОΟՕ0 PРΡ SЅՏ TТΤ VѴ XХΧ YУΥ ZΖ 3З 6б " +
  "一ーㄧ 口ロ 二ニ 力カ 工エ 卜ト 夕タ 八ハ へヘ 才オ 千チ 匕ヒ";
const LOOKS = new Map(
  ALIKE.split(" ").flatMap(([first, ...others]) => others.map((other) => [other, first])),
);

/** What a name looks like: two names that give the same look like one to a reader. */
export function looks(name: string): string {
  return Array.from(name.normalize("NFD"), (character) => LOOKS.get(character) ?? character).join("")
    .replaceAll("rn", "m");
}
