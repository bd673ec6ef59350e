// The structures of the specimen's 6.1 kernel: those that a reader of its memory needs, with the members' names and
// order of that release, less what nobody asks for. Offsets are the specimen's own; readers learn them from BTF.
import { CTypes } from "../types/c-types.ts";
import { pvDeclarations } from "./paravirt.ts";

const BASICS = `
  typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;
  typedef int s32; typedef short s16; typedef unsigned long size_t; typedef u8 kprobe_opcode_t;
  typedef struct { int counter; } atomic_t;
  typedef struct { long counter; } atomic64_t;
  typedef atomic64_t atomic_long_t;
  struct list_head { struct list_head *next; struct list_head *prev; };
  struct hlist_node { struct hlist_node *next; struct hlist_node **pprev; };
  struct hlist_head { struct hlist_node *first; };
  struct cpumask { unsigned long bits[128]; };
  enum system_states { SYSTEM_BOOTING, SYSTEM_SCHEDULING, SYSTEM_FREEING_INITMEM, SYSTEM_RUNNING, SYSTEM_HALT,
    SYSTEM_POWER_OFF, SYSTEM_RESTART, SYSTEM_SUSPEND };
  struct new_utsname { char sysname[65]; char nodename[65]; char release[65]; char version[65]; char machine[65];
    char domainname[65]; };
  struct uts_namespace { struct new_utsname name; void *user_ns; void *ucounts; };
  struct desc_ptr { u16 size; unsigned long address; } @packed;
  struct pt_regs { unsigned long r15; unsigned long r14; unsigned long r13; unsigned long r12; unsigned long bp;
    unsigned long bx; unsigned long r11; unsigned long r10; unsigned long r9; unsigned long r8; unsigned long ax;
    unsigned long cx; unsigned long dx; unsigned long si; unsigned long di; unsigned long orig_ax; unsigned long ip;
    unsigned long cs; unsigned long flags; unsigned long sp; unsigned long ss; };
  struct inactive_task_frame { unsigned long r15; unsigned long r14; unsigned long r13; unsigned long r12;
    unsigned long bx; unsigned long bp; unsigned long ret_addr; };
`;

const LOCKS = `
  typedef struct qspinlock { union { atomic_t val; struct { u8 locked; u8 pending; };
    struct { u16 locked_pending; u16 tail; }; }; } arch_spinlock_t;
  struct raw_spinlock { arch_spinlock_t raw_lock; };
  typedef struct raw_spinlock raw_spinlock_t;
  struct spinlock { union { struct raw_spinlock rlock; }; };
  typedef struct spinlock spinlock_t;
  struct mcs_spinlock { struct mcs_spinlock *next; int locked; int count; };
  struct qnode { struct mcs_spinlock mcs; long reserved[2]; };
  struct qrwlock { union { atomic_t cnts; struct { u8 wlocked; u8 __lstate[3]; }; }; arch_spinlock_t wait_lock; };
  struct optimistic_spin_queue { atomic_t tail; };
  struct mutex { atomic_long_t owner; raw_spinlock_t wait_lock; struct optimistic_spin_queue osq;
    struct list_head wait_list; };
  struct rw_semaphore { atomic_long_t count; atomic_long_t owner; struct optimistic_spin_queue osq;
    raw_spinlock_t wait_lock; struct list_head wait_list; };
  struct semaphore { raw_spinlock_t lock; unsigned int count; struct list_head wait_list; };
`;

const TASKS = `
  struct thread_info { unsigned long flags; unsigned long syscall_work; u32 status; u32 cpu; };
  struct thread_struct { unsigned long sp; unsigned long fsbase; unsigned long gsbase; };
  struct task_struct { struct thread_info thread_info; unsigned int __state; void *stack; int on_cpu; int prio;
    struct list_head tasks; int pid; int tgid; struct task_struct *parent; char comm[16];
    struct thread_struct thread; };
  struct bug_entry { int bug_addr_disp; int file_disp; unsigned short line; unsigned short flags; };
  struct orc_entry { s16 sp_offset; s16 bp_offset; unsigned sp_reg:4; unsigned bp_reg:4; unsigned type:2;
    unsigned end:1; } @packed;
`;

const PATCHING = `
  struct alt_instr { s32 instr_offset; s32 repl_offset; u16 cpuid; u8 instrlen; u8 replacementlen; } @packed;
  struct jump_entry { s32 code; s32 target; long key; };
  struct static_key { atomic_t enabled; union { unsigned long type; struct jump_entry *entries;
    struct static_key_mod *next; }; };
  struct static_key_true { struct static_key key; };
  struct static_key_false { struct static_key key; };
  struct static_key_mod { struct static_key_mod *next; struct jump_entry *entries; struct module *mod; };
  struct static_call_site { s32 addr; s32 key; };
  struct static_call_mod { struct static_call_mod *next; struct module *mod; struct static_call_site *sites; };
  struct static_call_key { void *func; union { unsigned long type; struct static_call_mod *mods;
    struct static_call_site *sites; }; };
  struct static_call_tramp_key { s32 tramp; s32 key; };
  struct text_poke_loc { s32 rel_addr; s32 disp; u8 len; u8 opcode; const u8 text[5]; u8 old; };
  struct bp_patching_desc { struct text_poke_loc *vec; int nr_entries; atomic_t refs; };
  struct dyn_arch_ftrace { };
  struct dyn_ftrace { unsigned long ip; unsigned long flags; struct dyn_arch_ftrace arch; };
  struct ftrace_page { struct ftrace_page *next; struct dyn_ftrace *records; int index; int order; };
  struct ftrace_ops_hash { void *notrace_hash; void *filter_hash; struct mutex regex_lock; };
  struct ftrace_ops { void (*func)(void); struct ftrace_ops *next; unsigned long flags; void *private;
    void (*saved_func)(void); struct ftrace_ops_hash local_hash; struct ftrace_ops_hash *func_hash;
    struct ftrace_ops_hash old_hash; unsigned long trampoline; unsigned long trampoline_size; struct list_head list;
    void (*ops_func)(void); };
  struct arch_specific_insn { kprobe_opcode_t *insn; unsigned boostable:1; unsigned char size;
    unsigned char opcode; s32 rel32; void (*emulate_op)(void); int tp_len; };
  struct kprobe { struct hlist_node hlist; struct list_head list; unsigned long nmissed; kprobe_opcode_t *addr;
    const char *symbol_name; unsigned int offset; int (*pre_handler)(void); void (*post_handler)(void);
    kprobe_opcode_t opcode; struct arch_specific_insn ainsn; u32 flags; };
  struct arch_optimized_insn { kprobe_opcode_t copied_insn[4]; kprobe_opcode_t *insn; size_t size; };
  struct optimized_kprobe { struct kprobe kp; struct list_head list; struct arch_optimized_insn optinsn; };
  struct kprobe_insn_cache { struct mutex mutex; void *(*alloc)(void); void (*free)(void *); const char *sym;
    struct list_head pages; size_t insn_size; int nr_garbage; };
  struct kprobe_insn_page { struct list_head list; kprobe_opcode_t *insns; struct kprobe_insn_cache *cache; int nused;
    int ngarbage; char slot_used[]; };
  struct smp_alt_module { struct module *mod; char *name; const s32 *locks; const s32 *locks_end; u8 *text;
    u8 *text_end; struct list_head next; };
  struct cpuinfo_x86 { u8 x86; u8 x86_vendor; u8 x86_model; u8 x86_stepping; int x86_tlbsize; u32 vmx_capability[3];
    u8 x86_virt_bits; u8 x86_phys_bits; u8 x86_coreid_bits; u8 cu_id; u32 extended_cpuid_level; int cpuid_level;
    union { u32 x86_capability[24]; unsigned long x86_capability_alignment; }; char x86_vendor_id[16];
    char x86_model_id[64]; unsigned int x86_cache_size; int x86_cache_alignment; unsigned long loops_per_jiffy;
    u16 x86_max_cores; u16 apicid; u32 microcode; };
`;

const MODULES = `
  enum module_state { MODULE_STATE_LIVE, MODULE_STATE_COMING, MODULE_STATE_GOING, MODULE_STATE_UNFORMED };
  struct attribute { const char *name; u16 mode; };
  struct kobject { const char *name; struct list_head entry; struct kobject *parent; void *kset; void *ktype; void *sd;
    atomic_t kref; };
  struct attribute_group { const char *name; void *is_visible; void *is_bin_visible; struct attribute **attrs;
    struct bin_attribute **bin_attrs; };
  struct bin_attribute { struct attribute attr; size_t size; void *private; void *f_mapping; void *read; void *write;
    void *mmap; };
  struct module_sect_attr { struct bin_attribute battr; unsigned long address; };
  struct module_sect_attrs { struct attribute_group grp; unsigned int nsections; struct module_sect_attr attrs[]; };
  struct elf64_sym { u32 st_name; u8 st_info; u8 st_other; u16 st_shndx; u64 st_value; u64 st_size; };
  struct mod_kallsyms { struct elf64_sym *symtab; unsigned int num_symtab; char *strtab; char *typetab; };
  struct module_layout { void *base; unsigned int size; unsigned int text_size; unsigned int ro_size;
    unsigned int ro_after_init_size; unsigned long mtn[7]; };
  struct mod_arch_specific { unsigned int num_orcs; int *orc_unwind_ip; struct orc_entry *orc_unwind; };
  struct module_kobject { struct kobject kobj; struct module *mod; };
  struct module { enum module_state state; struct list_head list; char name[56]; u8 build_id[20];
    struct module_kobject mkobj; const char *version; const char *srcversion; unsigned int num_syms; const void *syms;
    int (*init)(void); struct module_layout core_layout; struct module_layout init_layout;
    struct mod_arch_specific arch; unsigned long taints; unsigned num_bugs; struct list_head bug_list;
    struct bug_entry *bug_table; struct mod_kallsyms *kallsyms; struct mod_kallsyms core_kallsyms;
    struct module_sect_attrs *sect_attrs; char *args; void *percpu; unsigned int percpu_size;
    struct jump_entry *jump_entries; unsigned int num_jump_entries; unsigned int num_ftrace_callsites;
    unsigned long *ftrace_callsites; int num_static_call_sites; struct static_call_site *static_call_sites;
    struct list_head source_list; struct list_head target_list; void (*exit)(void); atomic_t refcnt;
    int its_num_pages; void **its_page_array; } @align(64);
`;

const PRINTK = `
  struct dev_printk_info { char subsystem[16]; char device[48]; };
  struct printk_info { u64 seq; u64 ts_nsec; u16 text_len; u8 facility; u8 flags:5; u8 level:3; u32 caller_id;
    struct dev_printk_info dev_info; };
  struct prb_data_blk_lpos { unsigned long begin; unsigned long next; };
  struct prb_desc { atomic_long_t state_var; struct prb_data_blk_lpos text_blk_lpos; };
  struct prb_data_ring { unsigned int size_bits; char *data; atomic_long_t head_lpos; atomic_long_t tail_lpos; };
  struct prb_desc_ring { unsigned int count_bits; struct prb_desc *descs; struct printk_info *infos;
    atomic_long_t head_id; atomic_long_t tail_id; atomic_long_t last_finalized_id; };
  struct printk_ringbuffer { struct prb_desc_ring desc_ring; struct prb_data_ring text_data_ring;
    atomic_long_t fail; };
`;

/** All declarations, laid out. */
export function types6x(): CTypes {
  return new CTypes(BASICS + LOCKS + pvDeclarations() + TASKS + PATCHING + MODULES + PRINTK);
}
