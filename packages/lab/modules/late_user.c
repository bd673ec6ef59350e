// SPDX-License-Identifier: Apache-2.0
// A module with lock and unlock sites of its own, loaded after late_switch: its sites are patched from the slots as they are
// then. late_lock is taken and released both by the core's functions and by the inlined sites.
//
// contend=1: one CPU (core_cpu=1) takes late_lock through the core; another (site_cpu=2) waits for it at the inlined site,
// with interrupts off; the first releases it through the core. When that wakes nobody, the other never comes back, and
// late_lock is free. swap=1: the other way round: site_cpu holds and releases at the site, core_cpu waits in the core.
// hold=1: not before this parameter is set to 0.
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/spinlock.h>

static int contend;
module_param(contend, int, 0444);
static int hold;
module_param(hold, int, 0644);
static int swap;
module_param(swap, int, 0444);
static int core_cpu = 1;
module_param(core_cpu, int, 0444);
static int site_cpu = 2;
module_param(site_cpu, int, 0444);
// How long the lock is held while the other waits: under Xen, long enough for it to give up spinning and sleep.
static int hold_ms = 1000;
module_param(hold_ms, int, 0444);
// 3: all is over; 4: the lock was released two seconds ago, and the other CPU still waits.
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
	mdelay(hold_ms);
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

static int site_holds(void *unused)
{
	local_irq_disable();
	late_user_lock();
	atomic_set(&step, 1);
	while (atomic_read(&step) < 2)
		cpu_relax();
	mdelay(hold_ms);
	late_user_unlock();
	local_irq_enable();
	return 0;
}

static int core_waits(void *unused)
{
	unsigned long flags;

	local_irq_disable();
	while (atomic_read(&step) < 1)
		cpu_relax();
	atomic_set(&step, 2);
	raw_spin_lock_irqsave(&late_lock, flags);
	raw_spin_unlock_irqrestore(&late_lock, flags);
	atomic_set(&step, 3);
	local_irq_enable();
	return 0;
}

static int director(void *unused)
{
	struct task_struct *core, *site;

	while (hold)
		msleep(50);
	// What loading this module has left to be done on the other CPUs is done by then: soon one answers no more.
	msleep(1500);
	core = kthread_create(swap ? core_waits : by_core, NULL, "late_core");
	site = kthread_create(swap ? site_holds : by_site, NULL, "late_site");
	if (IS_ERR(core) || IS_ERR(site)) {
		outcome = -1;
		return 0;
	}
	kthread_bind(core, core_cpu);
	kthread_bind(site, site_cpu);
	// First the one that keeps to another CPU: here the other may take over at once.
	wake_up_process(core_cpu == 0 ? site : core);
	wake_up_process(core_cpu == 0 ? core : site);
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
