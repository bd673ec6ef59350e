// `site` on the unlock site of the bug prints what the report shows: dump rows, the object file's instructions with offset
// and relocation, the sum of each call, the symbol with its type letter.
import { expect, test } from "vitest";
import { Auditor } from "../../core/src/audit/auditor.ts";
import { dumpFacts, kernelFacts } from "../../core/src/audit/result.ts";
import { siteView } from "../../core/src/audit/site-view.ts";
import { virtualAddress } from "../../core/src/bytes/brand.ts";
import { BufferSource } from "../../core/src/bytes/source.ts";
import { openModuleImage } from "../../core/src/image/module-image.ts";
import { openKernel } from "../../core/src/kernel/open.ts";
import { openDump } from "../../core/src/memory/open.ts";
import { PLAIN } from "../../core/src/report/paint.ts";
import { siteText } from "../../core/src/report/site-text.ts";
import type { SiteResult } from "../../core/src/results/results.ts";
import { makeBugSpecimen } from "./specimen.ts";

const specimen = makeBugSpecimen({ alone: true });
const kernel = openKernel(openDump(new BufferSource("dump", specimen.dump)));
const image = openModuleImage(new BufferSource("/lib/floppy.ko", specimen.modules.get("floppy.ko")!));
const module = kernel.modules.find((each) => each.name === "floppy")!;
const object = new Auditor(kernel, { core: undefined, module: () => image }).auditOne(module).object!;

const FOUND = [
  "  ffffffffa0020e16: e8 25 83 fe e0            call 0xffffffff81009140",
  "    ffffffffa0020e1b + ffffffffe0fe8325 => ffffffff81009140 (t) xen_spin_unlock",
  "  ffffffffa0020e1b: 66 90                     xchg %ax,%ax",
];

function text(address: bigint): readonly string[] {
  const result: SiteResult = {
    schema: "palimpsest/site/1",
    dump: dumpFacts(kernel),
    kernel: kernelFacts(kernel),
    ...siteView(kernel, object, virtualAddress(address)),
    notChecked: [],
  };
  return siteText(result, PLAIN).split("\n").slice(4);
}

test("the unlock site: built through the slot, found as a call of the Xen unlock", () => {
  expect(text(0xffffffffa0020e16n)).toEqual([
    "redo_fd_request+0x186 [floppy]  ffffffffa0020e16  floppy .text",
    "",
    "  ffffffffa0020e10: ff 4c 89 e7 89 c3 e8 25 83 fe e0 66 90 fb 66 66  .L.....%...f..ff",
    "",
    "floppy.ko .text",
    "              6e16: ff 14 25 00 00 00 00      callq *0x0",
    "              6e19: R_X86_64_32S pv_lock_ops+0x28",
    "",
    "built",
    "  ffffffffa0020e16: ff 14 25 28 33 80 81      callq *0xffffffff81803328",
    "",
    "intended",
    ...FOUND,
    "",
    "found",
    ...FOUND,
    "",
    "paravirt site ffffffffa0020e16, 7 bytes",
    "  slot     pv_lock_ops.spin_unlock at ffffffff81803328 = xen_spin_unlock",
    "  state    pv_lock_ops.spin_unlock holds xen_spin_unlock",
    "  form     ff 14 25 28 33 80 81      indirect call left as built",
    "  form     66 66 66 90 66 66 90      NOPs",
    "  verdict  patched by paravirt, as its state calls for",
    "",
    "verdict: patched by paravirt, as its state calls for",
    "",
  ]);
});

test("the lock call before it, asked for by an address inside it", () => {
  const lines = text(0xffffffffa0020e09n);
  const from = (heading: string, count: number) => lines.slice(lines.indexOf(heading) + 1).slice(0, count);
  expect(lines.slice(2, 5)).toEqual([
    "  ffffffffa0020e00: 48 c7 c7 f8 5e 02 a0 e8 74 c3 5d e1 e8 cf a7 ff  H...^...t.].....",
    "  ffffffffa0020e10: ff 4c 89 e7 89 c3 e8 25 83 fe e0 66 90 fb 66 66  .L.....%...f..ff",
    "  ffffffffa0020e20: 90 66 66 90 85 db 0f 84 1c 01 00 00 48 8b 05 bd  .ff.........H...",
  ]);
  expect(from("floppy.ko .text", 7)).toEqual([
    "              6e07: e8 00 00 00 00            call 0x6e0c",
    "              6e08: R_X86_64_PLT32 _raw_spin_lock_irq-0x4",
    "              6e0c: e8 cf a7 ff ff            call 0x15e0",
    "              6e11: 4c 89 e7                  mov %r12,%rdi",
    "              6e14: 89 c3                     mov %eax,%ebx",
    "              6e16: ff 14 25 00 00 00 00      callq *0x0",
    "              6e19: R_X86_64_32S pv_lock_ops+0x28",
  ]);
  expect(from("found", 7)).toEqual([
    "  ffffffffa0020e07: e8 74 c3 5d e1            call 0xffffffff815fd180",
    "    ffffffffa0020e0c + ffffffffe15dc374 => ffffffff815fd180 (T) _raw_spin_lock_irq",
    "  ffffffffa0020e0c: e8 cf a7 ff ff            call 0xffffffffa001b5e0",
    "    ffffffffa0020e11 + ffffffffffffa7cf => ffffffffa001b5e0 (t) set_next_request [floppy]",
    "  ffffffffa0020e11: 4c 89 e7                  mov %r12,%rdi",
    "  ffffffffa0020e14: 89 c3                     mov %eax,%ebx",
    "  ffffffffa0020e16: e8 25 83 fe e0            call 0xffffffff81009140",
  ]);
});
