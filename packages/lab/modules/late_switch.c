// SPDX-License-Identifier: Apache-2.0
// The mistake of bug 838026 in a kernel of today: changes the lock slots long after boot patched every site that calls
// through them, as xen_init_spinlocks() did in Linux 3.0. What is patched from then on, the sites of modules, uses other
// functions than the core does. The slots are pv_ops.lock, pv_ops_lock since 7.x, and since 7.3 the keys of static calls.
//
// kind=own (default): a lock of this module: one byte, whose waiters sleep until the unlock wakes them (as under Xen).
// kind=pv: the kernel's own paravirt queued lock.
// kind=xen: the same with Xen's own wait and kick, in a guest that booted with xen_nopvspin: what xen_init_spinlocks() does.
// kind=native: the native queued lock, in a guest that booted with Xen's.
// back, written 1 later: the slots hold again what boot left there. Sites that were patched meanwhile stay as they are.
// paravirt, written "ADDRESS BYTES": has the kernel patch the sites of that .parainstructions table again (up to 6.7).
// feature=0: leave X86_FEATURE_PVUNLOCK alone, so that alternatives inline the native unlock into new modules all the same.
#include <linux/cpumask.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <asm/cpufeature.h>
#include <asm/paravirt.h>
#include <asm/special_insns.h>

static char *kind = "own";
module_param(kind, charp, 0444);
static int feature = 1;
module_param(feature, int, 0444);

static int set_back(const char *text, const struct kernel_param *param);
static const struct kernel_param_ops back_ops = { .set = set_back, .get = param_get_int };
static int back;
module_param_cb(back, &back_ops, &back, 0644);
static int patch_again(const char *text, const struct kernel_param *param);
static const struct kernel_param_ops paravirt_ops = { .set = patch_again };
module_param_cb(paravirt, &paravirt_ops, NULL, 0200);

static DEFINE_PER_CPU(struct qspinlock *, late_waits_for);
static DEFINE_PER_CPU(int, late_kicked);

// Sleeps until somebody kicks this CPU: like SCHEDOP_poll, which no other interrupt ends.
static noinline void late_sleep(void)
{
	while (!READ_ONCE(*this_cpu_ptr(&late_kicked)))
		cpu_relax();
	WRITE_ONCE(*this_cpu_ptr(&late_kicked), 0);
}

// Called where the inlined cmpxchg of the lock word failed.
void late_spin_lock_slowpath(struct qspinlock *lock, u32 val);
void late_spin_lock_slowpath(struct qspinlock *lock, u32 val)
{
	this_cpu_write(late_waits_for, lock);
	while (xchg(&lock->locked, 1) != 0)
		late_sleep();
	this_cpu_write(late_waits_for, NULL);
}

void late_spin_unlock(struct qspinlock *lock);
__visible void late_spin_unlock(struct qspinlock *lock)
{
	int cpu;

	// Released before it is looked who waits: a waiter that is not seen here sees a free lock.
	smp_store_release(&lock->locked, 0);
	smp_mb();
	for_each_online_cpu(cpu) {
		if (per_cpu(late_waits_for, cpu) != lock)
			continue;
		WRITE_ONCE(per_cpu(late_kicked, cpu), 1);
		break;
	}
}
PV_CALLEE_SAVE_REGS_THUNK(late_spin_unlock);

static void late_wait(u8 *ptr, u8 val)
{
	if (READ_ONCE(*ptr) == val)
		late_sleep();
}

static void late_kick(int cpu)
{
	WRITE_ONCE(per_cpu(late_kicked, cpu), 1);
}

static unsigned long (*lookup)(const char *name);

// kallsyms_lookup_name() is not for modules, but a kprobe tells where it is.
static int __init find_lookup(void)
{
	struct kprobe probe = { .symbol_name = "kallsyms_lookup_name" };
	int error = register_kprobe(&probe);

	if (error)
		return error;
	lookup = (void *)probe.addr;
	unregister_kprobe(&probe);
#ifdef CONFIG_X86_KERNEL_IBT
	if (!memcmp((char *)lookup - 4, "\xf3\x0f\x1e\xfa", 4))
		lookup = (void *)lookup - 4;
#endif
	return 0;
}

// The slots are read-only after boot; native_write_cr0() pins the bit.
static unsigned long write_protection(unsigned long cr0)
{
	asm volatile("mov %0, %%cr0" : : "r"(cr0) : "memory");
	return cr0;
}

#ifdef SEPARATE_LOCK_OPS
#define LOCK_OPS pv_ops_lock
#else
#define LOCK_OPS pv_ops.lock
#endif

struct slots {
	void *slow;
	void *unlock;
	void (*wait)(u8 *ptr, u8 val);
	void (*kick)(int cpu);
};

static void **slow_slot, **unlock_slot;
static struct slots booted;

static void write_slots(const struct slots *to)
{
	unsigned long cr0, flags;

	local_irq_save(flags);
	cr0 = read_cr0();
	write_protection(cr0 & ~X86_CR0_WP);
	WRITE_ONCE(*slow_slot, to->slow);
	WRITE_ONCE(*unlock_slot, to->unlock);
	LOCK_OPS.wait = to->wait;
	LOCK_OPS.kick = to->kick;
	write_protection(cr0);
	local_irq_restore(flags);
}

// What __pv_init_lock_hash() does, which is gone with init memory: 16 bytes an entry.
static int __init make_hash(void)
{
	unsigned long *hash = (void *)lookup("pv_lock_hash");
	unsigned int *bits = (void *)lookup("pv_lock_hash_bits");

	if (!hash || !bits)
		return -ENOENT;
	if (!*hash) {
		*hash = get_zeroed_page(GFP_KERNEL);
		*bits = ilog2(PAGE_SIZE / 16);
	}
	return 0;
}

// Each CPU gets the interrupt that wakes it, which xen_nopvspin left out.
static int __init make_kickers(void)
{
	void (*init_cpu)(int cpu) = (void *)lookup("xen_init_lock_cpu");
	bool *wanted = (void *)lookup("xen_pvspin");
	int cpu;

	if (!init_cpu || !wanted)
		return -ENOENT;
	if (*wanted)
		return 0;
	*wanted = true;
	for_each_online_cpu(cpu)
		init_cpu(cpu);
	return 0;
}

static int set_back(const char *text, const struct kernel_param *param)
{
	int error = param_set_int(text, param);

	// Before the slots were changed it is too early, after the first time there is nothing to do.
	if (!error && back && unlock_slot)
		write_slots(&booted);
	return error;
}

static int patch_again(const char *text, const struct kernel_param *param)
{
	void (*patcher)(unsigned long from, unsigned long to);
	unsigned long at, bytes, cr0, flags;

	if (sscanf(text, "%lx %lu", &at, &bytes) != 2)
		return -EINVAL;
	patcher = (void *)lookup("apply_paravirt");
	if (!patcher)
		return -ENOENT;
	local_irq_save(flags);
	cr0 = read_cr0();
	write_protection(cr0 & ~X86_CR0_WP);
	patcher(at, at + bytes);
	write_protection(cr0);
	local_irq_restore(flags);
	return 0;
}

static int __init late_switch_init(void)
{
	struct slots now = {
		.slow = late_spin_lock_slowpath,
		.unlock = __raw_callee_save_late_spin_unlock,
		.wait = late_wait,
		.kick = late_kick,
	};
	int error = find_lookup();

	if (error)
		return error;
#ifdef STATIC_CALL_LOCK_OPS
	// struct static_call_key begins with its function.
	slow_slot = (void **)lookup("__SCK__queued_spin_lock_slowpath");
	unlock_slot = (void **)lookup("__SCK__queued_spin_unlock");
	if (!slow_slot || !unlock_slot)
		return -ENOENT;
#else
	slow_slot = (void **)&LOCK_OPS.queued_spin_lock_slowpath;
	unlock_slot = (void **)&LOCK_OPS.queued_spin_unlock.func;
#endif
	booted = (struct slots){ *slow_slot, *unlock_slot, LOCK_OPS.wait, LOCK_OPS.kick };
	if (!strcmp(kind, "pv") || !strcmp(kind, "xen")) {
		now.slow = (void *)lookup("__pv_queued_spin_lock_slowpath");
		now.unlock = (void *)lookup("__raw_callee_save___pv_queued_spin_unlock");
		error = make_hash();
	}
	if (!error && !strcmp(kind, "xen")) {
		now.wait = (void *)lookup("xen_qlock_wait");
		now.kick = (void *)lookup("xen_qlock_kick");
		error = make_kickers();
	}
	if (!strcmp(kind, "native")) {
		now = booted;
		now.slow = (void *)lookup("native_queued_spin_lock_slowpath");
		now.unlock = (void *)lookup("__raw_callee_save___native_queued_spin_unlock");
	}
	if (error)
		return error;
	if (!now.slow || !now.unlock || !now.wait || !now.kick)
		return -ENOENT;
	write_slots(&now);
#ifdef X86_FEATURE_PVUNLOCK
	if (feature && strcmp(kind, "native"))
		set_cpu_cap(&boot_cpu_data, X86_FEATURE_PVUNLOCK);
#endif
	pr_info("late_switch: the lock slots hold the %s functions now\n", kind);
	return 0;
}
module_init(late_switch_init);
MODULE_DESCRIPTION("Changes pv_ops.lock after boot patching");
MODULE_LICENSE("Dual MIT/GPL");
