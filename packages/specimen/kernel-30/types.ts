// The structures of Linux 3.0, for a configuration with kallsyms, SMP, tracepoints, jump labels, ftrace and module
// unloading. The kernel itself carries no description of them: readers have to find them out.
import { CTypes } from "../types/c-types.ts";
import { pvDeclarations } from "./paravirt.ts";

const BASICS = `
  typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;
  typedef struct { int counter; } atomic_t;
  struct list_head { struct list_head *next; struct list_head *prev; };
  struct new_utsname { char sysname[65]; char nodename[65]; char release[65]; char version[65]; char machine[65];
    char domainname[65]; };
  struct uts_namespace { atomic_t kref; struct new_utsname name; void *user_ns; };
  struct raw_spinlock { unsigned int slock; };
  struct mutex { atomic_t count; struct raw_spinlock wait_lock; struct list_head wait_list; void *owner; };
  struct smp_ops { void (*smp_prepare_boot_cpu)(void); void (*smp_prepare_cpus)(unsigned max_cpus);
    void (*smp_cpus_done)(unsigned max_cpus); void (*stop_other_cpus)(int wait);
    void (*smp_send_reschedule)(int cpu); int (*cpu_up)(unsigned cpu); int (*cpu_disable)(void);
    void (*cpu_die)(unsigned int cpu); void (*play_dead)(void); void (*send_call_func_ipi)(const void *mask);
    void (*send_call_func_single_ipi)(int cpu); };
  struct hypervisor_x86 { const char *name; int (*detect)(void); void (*set_cpu_features)(void *c);
    void (*init_platform)(void); };
  struct cpuinfo_x86 { u8 x86; u8 x86_vendor; u8 x86_model; u8 x86_mask; int x86_tlbsize; u8 x86_virt_bits;
    u8 x86_phys_bits; u8 x86_coreid_bits; u32 extended_cpuid_level; int cpuid_level; u32 x86_capability[10];
    char x86_vendor_id[16]; char x86_model_id[64]; int x86_cache_size; int x86_cache_alignment; int x86_power;
    unsigned long loops_per_jiffy; u16 x86_max_cores; u16 apicid; u16 initial_apicid; u16 x86_clflush_size;
    u16 booted_cores; u16 phys_proc_id; u16 cpu_core_id; u8 compute_unit_id; u16 cpu_index; } @align(64);
`;

const TASKS = `
  struct thread_info { void *task; void *exec_domain; u32 flags; u32 status; u32 cpu; int preempt_count; };
  struct thread_struct { u64 tls_array[3]; unsigned long sp0; unsigned long sp; unsigned long usersp; };
  struct task_struct { volatile_long state; void *stack; atomic_t usage; unsigned int flags; unsigned int ptrace;
    void *wake_entry; int on_cpu; int on_rq; int prio; int static_prio; int normal_prio; unsigned int rt_priority;
    void *sched_class; char se[360]; char rt[40]; unsigned char fpu_counter; unsigned int policy;
    unsigned long cpus_allowed[4]; char sched_info[32]; struct list_head tasks; char pushable_tasks[40]; void *mm;
    void *active_mm; int exit_state; int exit_code; int exit_signal; int pdeath_signal; unsigned int group_stop;
    unsigned int personality; unsigned did_exec:1; int pid; int tgid; unsigned long stack_canary; void *real_parent;
    void *parent; struct list_head children; struct list_head sibling; void *group_leader; char links[240];
    void *real_cred; void *cred; char comm[16]; int link_count; int total_link_count;
    struct thread_struct thread; };
`;

const PATCHING = `
  struct alt_instr { u8 *instr; u8 *replacement; u16 cpuid; u8 instrlen; u8 replacementlen; u32 pad2; };
  struct jump_entry { u64 code; u64 target; u64 key; };
  struct jump_label_mod { struct jump_label_mod *next; struct jump_entry *entries; struct module *mod; };
  struct jump_label_key { atomic_t enabled; struct jump_entry *entries; struct jump_label_mod *next; };
  struct dyn_ftrace { unsigned long ip; unsigned long flags; };
  struct ftrace_page { struct ftrace_page *next; int index; struct dyn_ftrace records[]; };
  struct ftrace_ops { void (*func)(void); struct ftrace_ops *next; unsigned long flags; void *notrace_hash;
    void *filter_hash; };
  struct bug_entry { int bug_addr_disp; int file_disp; unsigned short line; unsigned short flags; };
  struct smp_alt_module { struct module *mod; char *name; const int *locks; const int *locks_end; u8 *text;
    u8 *text_end; struct list_head next; };
`;

const MODULES = `
  enum module_state { MODULE_STATE_LIVE, MODULE_STATE_COMING, MODULE_STATE_GOING };
  struct kref { atomic_t refcount; };
  struct kobject { const char *name; struct list_head entry; struct kobject *parent; void *kset; void *ktype; void *sd;
    struct kref kref; unsigned int state_initialized:1; unsigned int state_in_sysfs:1;
    unsigned int state_add_uevent_sent:1; unsigned int state_remove_uevent_sent:1; unsigned int uevent_suppress:1; };
  struct attribute { const char *name; unsigned int mode; };
  struct attribute_group { const char *name; void *is_visible; struct attribute **attrs; };
  struct module_attribute { struct attribute attr; void *show; void *store; void *setup; void *test; void *free; };
  struct module_sect_attr { struct module_attribute mattr; char *name; unsigned long address; };
  struct module_sect_attrs { struct attribute_group grp; unsigned int nsections; struct module_sect_attr attrs[]; };
  struct elf64_sym { u32 st_name; u8 st_info; u8 st_other; u16 st_shndx; u64 st_value; u64 st_size; };
  struct module_kobject { struct kobject kobj; struct module *mod; struct kobject *drivers_dir; void *mp; };
  struct module_ref { unsigned int incs; unsigned int decs; };
  struct module { enum module_state state; struct list_head list; char name[56]; struct module_kobject mkobj;
    struct module_attribute *modinfo_attrs; const char *version; const char *srcversion; struct kobject *holders_dir;
    const void *syms; const unsigned long *crcs; unsigned int num_syms; void *kp; unsigned int num_kp;
    unsigned int num_gpl_syms; const void *gpl_syms; const unsigned long *gpl_crcs; const void *gpl_future_syms;
    const unsigned long *gpl_future_crcs; unsigned int num_gpl_future_syms; unsigned int num_exentries; void *extable;
    int (*init)(void); void *module_init; void *module_core; unsigned int init_size; unsigned int core_size;
    unsigned int init_text_size; unsigned int core_text_size; unsigned int init_ro_size; unsigned int core_ro_size;
    unsigned int taints; unsigned num_bugs; struct list_head bug_list; struct bug_entry *bug_table;
    struct elf64_sym *symtab; struct elf64_sym *core_symtab; unsigned int num_symtab; unsigned int core_num_syms;
    char *strtab; char *core_strtab; struct module_sect_attrs *sect_attrs; void *notes_attrs; char *args; void *percpu;
    unsigned int percpu_size; unsigned int num_tracepoints; void *tracepoints_ptrs; struct jump_entry *jump_entries;
    unsigned int num_jump_entries; unsigned int num_trace_bprintk_fmt; const char **trace_bprintk_fmt_start;
    void **trace_events; unsigned int num_trace_events; unsigned int num_ftrace_callsites;
    unsigned long *ftrace_callsites; struct list_head source_list; struct list_head target_list; void *waiter;
    void (*exit)(void); struct module_ref *refptr; };
`;

export function types30(): CTypes {
  const tasks = TASKS.replace("volatile_long", "long");
  return new CTypes(BASICS + pvDeclarations() + tasks + PATCHING + MODULES);
}
