// SPDX-License-Identifier: Apache-2.0
// A module with lock and unlock sites of its own, loaded after late_switch: its sites are patched from the slots as they are
// then. late_lock is taken and released both by the core's functions and by the inlined sites.
//
// contend=1: CPU 1 takes late_lock through the core; CPU 2 waits for it at the inlined site, asleep and with interrupts
// off; CPU 1 releases it through the core, which wakes nobody. CPU 2 never comes back, and late_lock is free.
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/spinlock.h>

static int contend;
module_param(contend, int, 0444);
// 3: all is over; 4: CPU 1 released the lock two seconds ago, and CPU 2 still waits.
static int outcome;
module_param(outcome, int, 0444);

DEFINE_RAW_SPINLOCK(late_lock);
static atomic_t step = ATOMIC_INIT(0);

noinline void late_user_lock(void);
noinline void late_user_lock(void)
{
	arch_spin_lock(&late_lock.raw_lock);
}

noinline void late_user_unlock(void);
noinline void late_user_unlock(void)
{
	arch_spin_unlock(&late_lock.raw_lock);
}

// Without CONFIG_PREEMPTION raw_spin_unlock() is inlined too; raw_spin_unlock_irqrestore() never is.
static int by_core(void *unused)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&late_lock, flags);
	atomic_set(&step, 1);
	while (atomic_read(&step) < 2)
		cpu_relax();
	mdelay(1000);
	raw_spin_unlock_irqrestore(&late_lock, flags);
	return 0;
}

static int by_site(void *unused)
{
	local_irq_disable();
	while (atomic_read(&step) < 1)
		cpu_relax();
	atomic_set(&step, 2);
	late_user_lock();
	late_user_unlock();
	atomic_set(&step, 3);
	local_irq_enable();
	return 0;
}

static int director(void *unused)
{
	struct task_struct *core, *site;

	// What loading this module has left to be done on CPU 2 is done by then: soon it answers no more.
	msleep(1500);
	core = kthread_create(by_core, NULL, "late_core");
	site = kthread_create(by_site, NULL, "late_site");
	if (IS_ERR(core) || IS_ERR(site)) {
		outcome = -1;
		return 0;
	}
	kthread_bind(core, 1);
	kthread_bind(site, 2);
	wake_up_process(core);
	wake_up_process(site);
	while (atomic_read(&step) < 2 || arch_spin_is_locked(&late_lock.raw_lock))
		msleep(20);
	msleep(2000);
	outcome = atomic_read(&step) == 3 ? 3 : 4;
	return 0;
}

static int __init late_user_init(void)
{
	struct task_struct *task;

	late_user_lock();
	late_user_unlock();
	if (!contend) {
		outcome = 3;
		return 0;
	}
	task = kthread_create(director, NULL, "late_director");
	if (IS_ERR(task))
		return PTR_ERR(task);
	kthread_bind(task, 0);
	wake_up_process(task);
	return 0;
}
module_init(late_user_init);
MODULE_DESCRIPTION("Lock and unlock sites that are patched late");
MODULE_LICENSE("Dual MIT/GPL");
