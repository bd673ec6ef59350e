// Lock code of the 3.0 era as machine code, with mutants: ticket lock (u8 head, u8 tail) and Xen's byte lock (u8 lock,
// u16 spinners at +2; GS:0x10 the CPU's event channel, GS:0x18 the lock it spins on). Written for these tests.
import { bytesOf, PieceMemory } from "./code.ts";

export const TEXT = 0xffffffff81000000n;

/** Offsets in TEXT. */
export const OFFSET = {
  ticket_lock: 0x0,
  ticket_unlock: 0x20,
  ticket_lock_plain: 0x30,
  ticket_unlock_two: 0x50,
  ticket_unlock_none: 0x60,
  ticket_lock_early: 0x70,
  ticket_lock_irq: 0x90,
  ticket_lock_irqsave: 0xa0,
  ticket_unlock_irqrestore: 0xc0,
  xen_lock: 0xd0,
  xen_lock_slow: 0x110,
  xen_unlock: 0x1c0,
  xen_unlock_slow: 0x1d0,
  xen_unlock_nofence: 0x210,
  xen_unlock_nokick: 0x220,
  queued_trylock_spin: 0x230,
  queued_unlock: 0x250,
  timeout: 0x260,
  nr_cpus: 0x264,
  per_cpu_offset: 0x268,
} as const;

const CODE = bytesOf(`
# ticket_lock
55 # push %rbp
48 89 e5 # mov %rsp,%rbp
b8 00 01 00 00 # mov $0x100,%eax
66 f0 0f c1 07 # lock xadd %ax,(%rdi)
38 c4 # cmp %al,%ah
74 06 # je 0018 <ticket_lock+0x18>
f3 90 # pause
8a 07 # mov (%rdi),%al
eb f6 # jmp 000e <ticket_lock+0xe>
c9 # leave
c3 # ret
66 0f 1f 44 00 00 # padding
# ticket_unlock
55 # push %rbp
48 89 e5 # mov %rsp,%rbp
fe 07 # incb (%rdi)
c9 # leave
c3 # ret
0f 1f 84 00 00 00 00 00 # padding
# ticket_lock_plain
b8 00 01 00 00 # mov $0x100,%eax
66 0f c1 07 # xadd %ax,(%rdi)
38 c4 # cmp %al,%ah
74 06 # je 0043 <ticket_lock_plain+0x13>
f3 90 # pause
8a 07 # mov (%rdi),%al
eb f6 # jmp 0039 <ticket_lock_plain+0x9>
c3 # ret
66 66 2e 0f 1f 84 00 00 00 00 00 # padding
90 # nop
# ticket_unlock_two
80 07 02 # addb $0x2,(%rdi)
c3 # ret
66 66 2e 0f 1f 84 00 00 00 00 00 # padding
90 # nop
# ticket_unlock_none
c3 # ret
66 66 2e 0f 1f 84 00 00 00 00 00 # padding
0f 1f 40 00 # nopl 0x0(%rax)
# ticket_lock_early
b8 00 01 00 00 # mov $0x100,%eax
66 f0 0f c1 07 # lock xadd %ax,(%rdi)
38 c4 # cmp %al,%ah
74 06 # je 0084 <ticket_lock_early+0x14>
f3 90 # pause
8a 07 # mov (%rdi),%al
eb f6 # jmp 007a <ticket_lock_early+0xa>
fe 07 # incb (%rdi)
c3 # ret
66 0f 1f 84 00 00 00 00 00 # padding
# ticket_lock_irq
55 # push %rbp
48 89 e5 # mov %rsp,%rbp
fa # cli
e8 66 ff ff ff # call 0000 <ticket_lock>
c9 # leave
c3 # ret
0f 1f 40 00 # padding
# ticket_lock_irqsave
55 # push %rbp
48 89 e5 # mov %rsp,%rbp
53 # push %rbx
9c # pushf
5b # pop %rbx
fa # cli
e8 53 ff ff ff # call 0000 <ticket_lock>
48 89 d8 # mov %rbx,%rax
5b # pop %rbx
c9 # leave
c3 # ret
66 66 2e 0f 1f 84 00 00 00 00 00 # padding
66 90 # xchg %ax,%ax
# ticket_unlock_irqrestore
53 # push %rbx
48 89 f3 # mov %rsi,%rbx
e8 57 ff ff ff # call 0020 <ticket_unlock>
53 # push %rbx
9d # popf
5b # pop %rbx
c3 # ret
0f 1f 00 # padding
# xen_lock
55 # push %rbp
48 89 e5 # mov %rsp,%rbp
53 # push %rbx
48 89 fb # mov %rdi,%rbx
8b 0d 82 01 00 00 # mov 0x182(%rip),%ecx
b0 01 # mov $0x1,%al
86 03 # xchg %al,(%rbx)
84 c0 # test %al,%al
74 17 # je 00fd <again+0x25>
f3 90 # pause
80 3b 00 # cmpb $0x0,(%rbx)
74 13 # je 0100 <again+0x28>
ff c9 # dec %ecx
75 f5 # jne 00e6 <again+0xe>
48 89 df # mov %rbx,%rdi
e8 17 00 00 00 # call 0110 <xen_lock_slow>
85 c0 # test %eax,%eax
74 db # je 00d8 <again>
5b # pop %rbx
c9 # leave
c3 # ret
b0 01 # mov $0x1,%al
eb dc # jmp 00e0 <again+0x8>
66 66 2e 0f 1f 84 00 00 00 00 00 # data16 cs nopw 0x0(%rax,%rax,1)
90 # nop
# xen_lock_slow
41 54 # push %r12
53 # push %rbx
48 83 ec 28 # sub $0x28,%rsp
48 89 fb # mov %rdi,%rbx
65 44 8b 04 25 10 00 00 00 # mov %gs:0x10,%r8d
65 4c 8b 24 25 18 00 00 00 # mov %gs:0x18,%r12
65 48 89 1c 25 18 00 00 00 # mov %rbx,%gs:0x18
66 f0 ff 43 02 # lock incw 0x2(%rbx)
f0 44 0f b3 04 25 00 08 02 81 # lock btr %r8d,0xffffffff81020800
b0 01 # mov $0x1,%al
86 03 # xchg %al,(%rbx)
84 c0 # test %al,%al
74 3b # je 0187 <xen_lock_slow+0x77>
48 8d 44 24 24 # lea 0x24(%rsp),%rax
44 89 00 # mov %r8d,(%rax)
48 89 04 24 # mov %rax,(%rsp)
c7 44 24 08 01 00 00 00 # movl $0x1,0x8(%rsp)
48 c7 44 24 10 00 00 00 00 # movq $0x0,0x10(%rsp)
bf 03 00 00 00 # mov $0x3,%edi
48 89 e6 # mov %rsp,%rsi
e8 2a 02 01 00 # call ffffffff810103a0 <hypercall_page+0x3a0>
44 0f a3 04 25 00 08 02 81 # bt %r8d,0xffffffff81020800
73 b9 # jae 013a <xen_lock_slow+0x2a>
31 db # xor %ebx,%ebx
31 c0 # xor %eax,%eax
eb 14 # jmp 019b <xen_lock_slow+0x8b>
4d 85 e4 # test %r12,%r12
74 0a # je 0196 <xen_lock_slow+0x86>
f0 44 0f ab 04 25 00 08 02 81 # lock bts %r8d,0xffffffff81020800
b8 01 00 00 00 # mov $0x1,%eax
65 48 8b 0c 25 18 00 00 00 # mov %gs:0x18,%rcx
66 f0 ff 49 02 # lock decw 0x2(%rcx)
65 4c 89 24 25 18 00 00 00 # mov %r12,%gs:0x18
48 83 c4 28 # add $0x28,%rsp
5b # pop %rbx
41 5c # pop %r12
c3 # ret
66 0f 1f 44 00 00 # padding
# xen_unlock
c6 07 00 # movb $0x0,(%rdi)
0f ae f0 # mfence
66 83 7f 02 00 # cmpw $0x0,0x2(%rdi)
75 03 # jne 01d0 <xen_unlock_slow>
c3 # ret
66 90 # xchg %ax,%ax
# xen_unlock_slow
53 # push %rbx
55 # push %rbp
41 54 # push %r12
48 89 fd # mov %rdi,%rbp
31 db # xor %ebx,%ebx
48 8b 04 dd 68 02 00 81 # mov -0x7efffd98(,%rbx,8),%rax
48 39 68 18 # cmp %rbp,0x18(%rax)
74 0c # je 01f3 <xen_unlock_slow+0x23>
ff c3 # inc %ebx
3b 1d 75 00 00 00 # cmp 0x75(%rip),%ebx
72 e8 # jb 01d9 <xen_unlock_slow+0x9>
eb 12 # jmp 0205 <xen_unlock_slow+0x35>
8b 40 10 # mov 0x10(%rax),%eax
50 # push %rax
bf 04 00 00 00 # mov $0x4,%edi
48 89 e6 # mov %rsp,%rsi
e8 fc 01 01 00 # call ffffffff81010400 <hypercall_page+0x400>
58 # pop %rax
41 5c # pop %r12
5d # pop %rbp
5b # pop %rbx
c3 # ret
66 0f 1f 44 00 00 # padding
# xen_unlock_nofence
c6 07 00 # movb $0x0,(%rdi)
66 83 7f 02 00 # cmpw $0x0,0x2(%rdi)
75 b6 # jne 01d0 <xen_unlock_slow>
c3 # ret
0f 1f 44 00 00 # padding
# xen_unlock_nokick
c6 07 00 # movb $0x0,(%rdi)
c3 # ret
66 66 2e 0f 1f 84 00 00 00 00 00 # padding
90 # nop
# queued_trylock_spin
31 c0 # xor %eax,%eax
ba 01 00 00 00 # mov $0x1,%edx
f0 0f b1 17 # lock cmpxchg %edx,(%rdi)
74 09 # je 0246 <queued_trylock_spin+0x16>
f3 90 # pause
83 3f 00 # cmpl $0x0,(%rdi)
75 f9 # jne 023d <queued_trylock_spin+0xd>
eb ea # jmp 0230 <queued_trylock_spin>
c3 # ret
66 0f 1f 84 00 00 00 00 00 # padding
# queued_unlock
c6 07 00 # movb $0x0,(%rdi)
c3 # ret
66 66 2e 0f 1f 84 00 00 00 00 00 # padding
90 # nop
`);
export type LockFunction = Exclude<keyof typeof OFFSET, "timeout" | "nr_cpus" | "per_cpu_offset">;

/** Address of a function. */
export function at(name: keyof typeof OFFSET): bigint {
  return TEXT + BigInt(OFFSET[name]);
}

export const HYPERCALL_PAGE = 0xffffffff81010000n;
export const SHARED_INFO = 0xffffffff81020000n;
const PER_CPU = 0xffff888000000000n;

/** Where CPU `cpu`'s per-CPU area lies. */
export function perCpu(cpu: number): bigint {
  return PER_CPU + BigInt(cpu) * 0x1000n;
}

/** The code, four per-CPU areas (event channel 10 + cpu), an empty shared_info. `timeout`: spins before the slow path. */
export function lockMemory(timeout = 4): PieceMemory {
  const text = new Uint8Array(0x1000).fill(0xcc);
  text.set(CODE);
  const view = new DataView(text.buffer);
  view.setUint32(OFFSET.timeout, timeout, true);
  view.setUint32(OFFSET.nr_cpus, 4, true);
  const areas = [0, 1, 2, 3].map((cpu) => {
    view.setBigUint64(OFFSET.per_cpu_offset + cpu * 8, perCpu(cpu), true);
    const bytes = new Uint8Array(0x1000);
    bytes[0x10] = 10 + cpu;
    return { address: perCpu(cpu), bytes };
  });
  return new PieceMemory([
    { address: TEXT, bytes: text },
    ...areas,
    { address: SHARED_INFO, bytes: new Uint8Array(0x1000) },
  ]);
}
