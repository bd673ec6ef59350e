import { describe, expect, it } from "vitest";
import { LabError } from "../errors.ts";
import { parseXenGuest } from "./arguments.ts";
import { jobScript } from "./dom0-script.ts";
import { guestConfig } from "./guest-config.ts";
import { lateSteps, xenInitScript } from "./guest-script.ts";
import { canNest, machineArguments } from "./machine.ts";
import { bzImageVersion, kernelOfFile, lacksXen, patchTable } from "./prepare.ts";
import { requirePrograms } from "./programs.ts";
import { requireSpace } from "./setup.ts";
import { repairs } from "./types.ts";
import { vcpuStates } from "./vcpus.ts";

describe("the flags of lab xen boot", () => {
  it("make a guest", () => {
    expect(parseXenGuest("g", {})).toMatchObject({ type: "hvm", vcpus: 2, append: "", late: undefined });
    const guest = parseXenGuest("g", {
      type: "hvm",
      vcpus: "4",
      pvspin: false,
      callbackVector: false,
      append: " quiet ",
    });
    expect(guest).toMatchObject({ vcpus: 4, append: "xen_nopvspin xen_no_vector_callback quiet" });
    expect(parseXenGuest("g", { late: "xen" }).late).toEqual({ to: "xen", repair: "none" });
  });

  it.each([
    [{ type: "pv" }, /--type "pv": it takes hvm, pvh/],
    [{ vcpus: "5" }, /--vcpus/],
    [{ mem: "64" }, /--mem/],
    [{ late: "kvm" }, /--late "kvm": it takes xen, native/],
    [{ late: "xen", repair: "pray" }, /--repair "pray": it takes none, slots-back/],
    [{ repair: "none" }, /nothing to repair without --late/],
    [{ set: ["rm -rf"] }, /--set "rm -rf"/],
    [{ type: "pvh", callbackVector: false }, /no other way/],
  ])("refuse %j", (flags, message) => {
    expect(() => parseXenGuest("g", flags)).toThrow(LabError);
    expect(() => parseXenGuest("g", flags)).toThrow(message);
  });
});

describe("a domain's configuration", () => {
  it("has what the guest type needs, and the caller's lines in place of its own", () => {
    const hvm = guestConfig(parseXenGuest("a", { set: ["xen_platform_pci=0", "apic=1"] }), "/out/a");
    expect(hvm).toContain('type="hvm"\n');
    expect(hvm).toContain("xen_platform_pci=0\n");
    expect(hvm).not.toContain("xen_platform_pci=1");
    expect(hvm).toContain("apic=1\n");
    expect(hvm).toContain('ramdisk="/out/a/initrd.gz"\n');
    const pvh = guestConfig(parseXenGuest("a", { type: "pvh", append: 'x="1"' }), "/out/a");
    expect(pvh).not.toContain("hap=");
    expect(pvh).toContain('x=\\"1\\""\n');
    for (const end of ["on_crash", "on_reboot", "on_poweroff"]) expect(pvh).toContain(`${end}="preserve"`);
  });

  it("tells dom0 where the guest's memory ends", () => {
    expect(jobScript([parseXenGuest("a", { mem: "256" })])).toBe("guest a 2 8 10000 f0000\n");
  });
});

describe("the guest's script", () => {
  it("beats on every vCPU in turn", () => {
    expect(xenInitScript(["loop"], 4, "")).toContain("for m in 1 2 4 8; do taskset -p $m $$");
  });

  it("does each repair at its place", () => {
    const table = { section: ".parainstructions", bytes: 96, parameter: "paravirt" } as const;
    const place = (script: string, what: string) => script.indexOf(what);
    for (const repair of repairs) {
      const script = lateSteps({ to: "xen", repair }, table);
      const back = place(script, "parameters/back");
      const load = place(script, "insmod /mod/late_user.ko");
      expect(place(script, "kind=xen")).toBeLessThan(load);
      expect(back >= 0).toBe(repair !== "none");
      if (repair === "back-before-load") expect(back).toBeLessThan(load);
      else if (repair !== "none") expect(back).toBeGreaterThan(load);
      expect(script.includes("parainstructions) 96")).toBe(repair === "patched-again");
      expect(place(script, "echo 0 > /sys/module/late_user/parameters/hold")).toBeGreaterThan(load);
    }
    expect(lateSteps({ to: "native", repair: "patched-again" }, undefined)).toContain("step patched-again 0");
    expect(lateSteps({ to: "native", repair: "none" }, undefined)).toContain(" swap=1");
  });
});

describe("what cannot be run is told before anything is", () => {
  it("a kernel without Xen", () => {
    expect(lacksXen("CONFIG_XEN=y\nCONFIG_XEN_PVHVM=y\n", "hvm")).toEqual([]);
    expect(lacksXen("CONFIG_XEN=y\n# CONFIG_XEN_PVH is not set\n", "pvh")).toEqual(["CONFIG_XEN_PVH"]);
  });

  it("a file that is no bzImage", () => {
    expect(bzImageVersion(new Uint8Array(0x400))).toBeUndefined();
    const image = Buffer.alloc(0x600);
    image.write("HdrS", 0x202, "latin1");
    image.writeUInt16LE(0x100, 0x20e);
    image.write("6.1.0-x (me) #1 SMP\0", 0x300, "latin1");
    expect(bzImageVersion(image)).toBe("6.1.0-x");
    expect(() => kernelOfFile("/nonexistent", undefined)).toThrow(/--kernel \/nonexistent: no such file/);
    expect(() => kernelOfFile("/proc/self/cmdline", undefined)).toThrow(/not a bzImage/);
  });

  it("programs that are missing, with their packages", () => {
    const none = { PATH: "/nonexistent" };
    expect(() => requirePrograms(none)).toThrow(/not installed: .*; try: apt-get install .*busybox-static/);
  });

  it("no space", () => {
    expect(() => requireSpace("/tmp", 2 ** 60)).toThrow(/MiB free, \d+ MiB needed/);
  });

  it("a module without a table of paravirt sites", () => {
    const header = Buffer.alloc(64);
    header.write("\x7fELF\x02\x01\x01", "latin1");
    header.writeUInt16LE(1, 16);
    header.writeUInt16LE(62, 18);
    header.writeUInt16LE(64, 58);
    expect(patchTable({ name: "m", bytes: header })).toBeUndefined();
  });
});

describe("the machine", () => {
  const options = {
    setup: "/s",
    disk: "/d",
    folder: "/f",
    memoryMegabytes: 1024,
    dom0Megabytes: 512,
    xenArguments: "",
  };

  it("is one emulated CPU in one thread, unless the processor can nest", () => {
    expect(machineArguments(options, false).join(" ")).toContain(
      "-accel tcg,thread=single -cpu qemu64,+svm,+npt -smp 1",
    );
    expect(machineArguments(options, true).join(" ")).toContain("-accel kvm -cpu host");
  });

  it("nests only with both: a /dev/kvm without virtualisation in the processor is slower than none", () => {
    expect(canNest("flags\t\t: fpu sse2 hypervisor\n", "/dev/null")).toBe(false);
    expect(canNest("flags\t\t: fpu svm npt\n", "/dev/null")).toBe(true);
    expect(canNest("flags\t\t: fpu vmx\n", "/nonexistent")).toBe(false);
    expect(canNest("model name: svmx\nflags : avx\n", "/dev/null")).toBe(false);
  });
});

describe("xl's words on vCPUs", () => {
  it("gives each its place and state", () => {
    const list = `Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)
a                                    2     0    0   -b-      35.6  all / all
a                                    2     1    0   r--      19.4  all / all
`;
    const context = "vcpu 0\nrip: ffffffff81a592eb\nflags: 0246\nvcpu 1\nrip: 401000 \nrsp: 1\n";
    expect(vcpuStates(context, list)).toEqual([
      { vcpu: 0, rip: "0xffffffff81a592eb", state: "-b-" },
      { vcpu: 1, rip: "0x0000000000401000", state: "r--" },
    ]);
    expect(vcpuStates("vcpu 0\nxenctx: cannot\n", "")).toEqual([]);
  });
});
