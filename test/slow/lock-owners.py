# Run by the system's python3 with drgn: what drgn reads in mutexes and rw_semaphores, as JSON. The types come out of the
# DWARF of the lab's own module, which was built against this kernel's headers.
#
# usage: lock-owners.py CORE MODULE (mutex|rwsem):ADDRESS…
import json
import re
import sys

import drgn

FLAGS = ((1, "waiters"), (2, "handoff"), (4, "pickup"))
KERNEL_HALF = 0xFF00000000000000

prog = drgn.Program()
prog.set_core_dump(sys.argv[1])
try:
    prog.load_debug_info([sys.argv[2]])
except drgn.MissingDebugInfoError:
    pass  # it wants the kernel's own too, but has this one's now

# drgn 0.0.22 cannot begin a page walk in a dump without virtual PT_LOADs: it is told how by what VMCOREINFO says.
with open(sys.argv[1], "rb") as core:
    info = core.read(1 << 16).decode("latin1")  # its notes come first
phys_base = int(re.search(r"^NUMBER\(phys_base\)=(-?\d+)$", info, re.M)[1])
table = int(re.search(r"^SYMBOL\(init_top_pgt\)=([0-9a-f]+)$", info, re.M)[1], 16) - 0xFFFFFFFF80000000 + phys_base
levels = 4 + int(re.search(r"^NUMBER\(pgtable_l5_enabled\)=(\d)$", info, re.M)[1])


def physical(address):
    entry = table
    for level in range(levels, 0, -1):
        shift = 12 + 9 * (level - 1)
        place = (entry & 0xFFFFFFFFFF000) + 8 * (address >> shift & 511)
        entry = int.from_bytes(prog.read(place, 8, physical=True), "little")
        if not entry & 1:
            raise drgn.FaultError("not mapped", address)
        if level == 1 or entry & 0x80:
            break
    return (entry & 0xFFFFFFFFFF000 & ~((1 << shift) - 1)) + (address & ((1 << shift) - 1))


def read(address, count, offset, is_physical):
    out = b""
    while len(out) < count:
        at = address + len(out)
        size = min(count - len(out), 4096 - at % 4096)
        out += prog.read(physical(at), size, physical=True)
    return out


prog.add_memory_segment(KERNEL_HALF, 2**64 - 1 - KERNEL_HALF, read, False)


def owner_of(word, mask):
    task = word & ~mask
    if task == 0:
        return {}
    struct = drgn.Object(prog, "struct task_struct", address=task)
    return {"pid": struct.pid.value_(), "comm": struct.comm.string_().decode()}


def mutex(address):
    word = drgn.Object(prog, "struct mutex", address=address).owner.counter.value_() % 2**64
    names = [name for bit, name in FLAGS if word & bit]
    return {"task": hex(word & ~7), "flags": ", ".join(names) or "none", **owner_of(word, 7)}


def rwsem(address):
    lock = drgn.Object(prog, "struct rw_semaphore", address=address)
    word = lock.owner.counter.value_() % 2**64
    count = lock.count.counter.value_() % 2**64
    return {"count": hex(count), "readerOwned": bool(word & 1), **owner_of(word, 7)}


kinds = {"mutex": mutex, "rwsem": rwsem}
answers = []
for place in sys.argv[3:]:
    kind, address = place.split(":")
    answers.append(kinds[kind](int(address, 16)))
print(json.dumps(answers))
