/** The networks of tests: what is beside their hosts sees the files of the machine. */
import { expect, test } from "bun:test";
import { hasNamespaces } from "./network.ts";
import { ROOT, start } from "./program.ts";

// A /run of our own stands for the machine's: a removable disk is in it, and what others keep where we do.
const RUN = `mount -t tmpfs tmpfs /run
mkdir -p "/run/media/a disk" /run/netns /run/lab
echo 你好 >"/run/media/a disk/file"
echo theirs >/run/netns/theirs
echo theirs >/run/lab/map`;

test.skipIf(!hasNamespaces)("a project below /run is not hidden (needs unshare, ip)", async () => {
  const source = `import { privateNetwork } from ${JSON.stringify(`${ROOT}tests/engine/network.ts`)};
  import { start } from ${JSON.stringify(`${ROOT}tests/engine/program.ts`)};
  await using network = await privateNetwork(1);
  const look = 'cat "/run/media/a disk/file"; ls /run/netns; [ -e /run/lab ] || echo no lab; ls /sys/class/net';
  const { code, stdout, stderr } = await start([...network.inside, "sh", "-c", look]).result();
  console.log(code, stdout, stderr);`;
  const words = ["unshare", "-Urm", "sh", "-ec", `${RUN}\nexec "$@"`, "sh", process.execPath, "-e", source];
  await using program = start(words);
  const { code, stdout, stderr } = await program.result();
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toBe("0 你好\n1\nno lab\nlo\nport1\nswitch\n \n");
});
