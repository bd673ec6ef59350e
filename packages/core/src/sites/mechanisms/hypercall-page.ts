// hypercall_page: a page of the core's text (arch/x86/xen/xen-head.S, 2.6.23 to 6.12) that the hypervisor fills with a
// stub for each hypercall when the guest asks for it at boot. No table tells what it wrote, but nearly all of the 128
// stubs of a page are alike but for their number: the form that most of them have is what all must have.
import type { KernelOffset } from "../../bytes/brand.ts";
import { fromKernelOffset } from "../../bytes/brand.ts";
import { putI32 } from "../../x86/encode.ts";
import type { Mechanism } from "../base/context.ts";
import { mechanismId } from "../base/mechanisms.ts";
import { type LegalForm, SiteArrays } from "../base/site.ts";

const PAGE = 4096;
const STUB = 32;
const STUBS = PAGE / STUB;
/** __HYPERVISOR_iret: an HVM guest has no use for it, a PV guest jumps to it with a frame of its own. */
const IRET = 23;

interface Entry {
  /** "VMCALL" */
  readonly name: string;
  readonly before: readonly number[];
  readonly after: readonly number[];
  /** The stub of __HYPERVISOR_iret, where it may be another one. */
  iret(number: number): readonly (readonly number[])[];
}

const MOV_EAX = 0xb8;
const UD2 = [0x0f, 0x0b];
const SYSCALL = [0x0f, 0x05];
const PUSH_RCX_R11 = [0x51, 0x41, 0x53];

const movEax = (number: number): number[] => {
  const code = Uint8Array.of(MOV_EAX, 0, 0, 0, 0);
  putI32(code, 1, number);
  return [...code];
};

/** Behind UD2 the rest of the stub it was put over (Xen up to 4.11), or nothing (since 4.12). */
const hvm = (name: string, call: readonly number[]): Entry => ({
  name,
  before: [],
  after: [...call, 0xc3],
  iret: (number) => [UD2, [...UD2, ...movEax(number).slice(2), ...call, 0xc3]],
});

/** xen/arch/x86/hvm/{vmx/vmx,svm/svm}.c, xen/arch/x86/pv/hypercall.c; KVM's emulation of Xen writes as VMX and SVM do. */
const ENTRIES: readonly Entry[] = [
  hvm("VMCALL", [0x0f, 0x01, 0xc1]),
  hvm("VMMCALL", [0x0f, 0x01, 0xd9]),
  {
    name: "SYSCALL",
    before: PUSH_RCX_R11,
    after: [...SYSCALL, 0x41, 0x5b, 0x59, 0xc3],
    iret: (number) => [[...PUSH_RCX_R11, 0x50, ...movEax(number), ...SYSCALL]],
  },
];

/** What stands behind the code of a stub: the page was filled with it before, or left as built. */
const FILLS: readonly (number | undefined)[] = [0xcc, 0x00, 0x90, undefined];

interface Form {
  readonly entry: Entry;
  readonly fill: number | undefined;
}

/** The 32 bytes of a stub. */
function stub(code: readonly number[], fill: number | undefined, built: Uint8Array): Uint8Array {
  const out = fill === undefined ? built.slice() : new Uint8Array(STUB).fill(fill);
  out.set(code);
  return out;
}

const codeOf = (entry: Entry, number: number): readonly number[] => [
  ...entry.before,
  ...movEax(number),
  ...entry.after,
];

const differences = (a: Uint8Array, b: Uint8Array): number => a.reduce((n, byte, i) => (byte === b[i] ? n : n + 1), 0);

/** The form that more than half of the stubs have; undefined for a page that no hypervisor filled. */
function formOf(found: Uint8Array, built: Uint8Array): Form | undefined {
  for (const entry of ENTRIES) {
    for (const fill of FILLS) {
      let alike = 0;
      for (let number = 0; number < STUBS; number++) {
        const at = number * STUB;
        const expected = stub(codeOf(entry, number), fill, built.subarray(at, at + STUB));
        if (differences(expected, found.subarray(at, at + STUB)) === 0) alike++;
      }
      if (alike > STUBS / 2) return { entry, fill };
    }
  }
  return undefined;
}

/** Of the forms that a stub may have, the one that what is there resembles most. */
function nearest(forms: readonly Uint8Array[], held: Uint8Array): Uint8Array {
  let best = forms[0];
  for (const form of forms) if (differences(form, held) < differences(best, held)) best = form;
  return best;
}

export const applyHypercallPage: Mechanism = (context) => {
  const { space, kernel } = context;
  const start = context.state.symbol("hypercall_page");
  if (start === undefined) return undefined;
  const page = space.readBuilt(start, PAGE);
  const found = kernel.memory.tryRead(fromKernelOffset(start), PAGE);
  if (page === undefined || found === undefined) return undefined;
  const form = formOf(found, page);
  if (form === undefined) return undefined;
  const { entry, fill } = form;
  const built = (number: number): Uint8Array => page.subarray(number * STUB, (number + 1) * STUB);
  const id = mechanismId("hypercall-page");
  const sites = new SiteArrays(STUBS);
  for (let number = 0; number < STUBS; number++) {
    const at = (start + number * STUB) as KernelOffset;
    sites.add(at, STUB);
    const held = found.subarray(number * STUB, (number + 1) * STUB);
    const codes = [codeOf(entry, number), ...(number === IRET ? entry.iret(number) : [])];
    const forms = codes.map((code) => stub(code, fill, built(number)));
    space.write(at, nearest(forms, held), id);
  }
  return {
    mechanism: "hypercall-page",
    object: context.object.name,
    entries: STUBS,
    table: "hypercall_page (32-byte stubs)",
    offsets: sites.offsets,
    lengths: sites.lengths,
    describe: (index) => {
      const forms: LegalForm[] = [{ name: "as built, not filled by the hypervisor", bytes: built(index) }];
      return { reason: `the hypervisor's stub for hypercall ${index}, by ${entry.name} as in most others`, forms };
    },
  };
};
