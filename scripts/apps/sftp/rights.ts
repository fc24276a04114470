/** rwxr-x---: the rights in a mode (chmod(2)), as `ls -l` shows them. */
export function rights(mode: number): string {
  return Array.from("rwxrwxrwx", (right, bit) => (mode & (0o400 >> bit) ? right : "-")).join("");
}
