// SPDX-License-Identifier: Apache-2.0
// Takes locks of every type and waits, so that a dump of the guest has lock words that a real kernel wrote: free, held,
// contended, and queued on by one, two and three CPUs. Needs five CPUs; CPU 0 is left to the shell.
//
//   lk_TYPE_free       never taken
//   lk_TYPE_held       taken by the task lk_holder
//   lk_TYPE_contended  the same, and other tasks or CPUs wait
//   lk_rwsem_crowded   the task has it for reading, a writer waits, and behind that one a reader
//
// Four CPUs have eight waits between them: each waits as a task, is interrupted, and waits again in the interrupt.
//
//   CPU  as a task                              in the interrupt
//    1   lk_spin_three: the pending bit         lk_spin_two: the pending bit
//    2   lk_spin_three: its queue, node 0       lk_spin_two: its queue, node 1
//    3   writes lk_rw_contended                 lk_spin_three: its queue, node 0
//    4   reads it: the pending bit of its       lk_spin_one: the pending bit
//        wait_lock
//
// On PREEMPT_RT spinlock_t sleeps (lk_sleeping_*) and rwlock_t is no queued lock, so that CPUs 3 and 4 wait once.
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rtmutex.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/semaphore.h>
#include <linux/smp.h>
#include <linux/spinlock.h>

// 0 not yet, 1 all locks are in their states, 2 the same, but some CPU wrote nothing into its lock (a hypervisor's
// test-and-set lock has no queue), -1 could not.
static int ready;
module_param(ready, int, 0444);

DEFINE_RAW_SPINLOCK(lk_spin_free);
DEFINE_RAW_SPINLOCK(lk_spin_held);
DEFINE_RAW_SPINLOCK(lk_spin_one);
DEFINE_RAW_SPINLOCK(lk_spin_two);
DEFINE_RAW_SPINLOCK(lk_spin_three);
DEFINE_MUTEX(lk_mutex_free);
DEFINE_MUTEX(lk_mutex_held);
DEFINE_MUTEX(lk_mutex_contended);
DECLARE_RWSEM(lk_rwsem_free);
DECLARE_RWSEM(lk_rwsem_read);
DECLARE_RWSEM(lk_rwsem_written);
DECLARE_RWSEM(lk_rwsem_contended);
DECLARE_RWSEM(lk_rwsem_crowded);
// Not static: a compiler drops what is only written to.
struct semaphore lk_sem_free, lk_sem_held, lk_sem_contended;
DEFINE_RT_MUTEX(lk_rt_free);
DEFINE_RT_MUTEX(lk_rt_held);
DEFINE_RT_MUTEX(lk_rt_contended);
#ifdef CONFIG_PREEMPT_RT
DEFINE_SPINLOCK(lk_sleeping_free);
DEFINE_SPINLOCK(lk_sleeping_held);
DEFINE_SPINLOCK(lk_sleeping_contended);
#else
DEFINE_RWLOCK(lk_rw_free);
DEFINE_RWLOCK(lk_rw_read);
DEFINE_RWLOCK(lk_rw_written);
DEFINE_RWLOCK(lk_rw_contended);
#endif

static atomic_t holding = ATOMIC_INIT(0);

static void forever(void)
{
	for (;;) {
		set_current_state(TASK_IDLE);
		schedule_timeout(HZ);
	}
}

// Spinlocks are taken by a task that sleeps: by their arch_ part, without the preemption count.
static int holder(void *unused)
{
	arch_spin_lock(&lk_spin_held.raw_lock);
	arch_spin_lock(&lk_spin_one.raw_lock);
	arch_spin_lock(&lk_spin_two.raw_lock);
	arch_spin_lock(&lk_spin_three.raw_lock);
#ifndef CONFIG_PREEMPT_RT
	arch_read_lock(&lk_rw_read.raw_lock);
	arch_read_lock(&lk_rw_read.raw_lock);
	arch_write_lock(&lk_rw_written.raw_lock);
	arch_read_lock(&lk_rw_contended.raw_lock);
#endif
	mutex_lock(&lk_mutex_held);
	mutex_lock(&lk_mutex_contended);
	down_read(&lk_rwsem_read);
	down_write(&lk_rwsem_written);
	down_write(&lk_rwsem_contended);
	down_read(&lk_rwsem_crowded);
	down(&lk_sem_held);
	down(&lk_sem_contended);
	rt_mutex_lock(&lk_rt_held);
	rt_mutex_lock(&lk_rt_contended);
#ifdef CONFIG_PREEMPT_RT
	spin_lock(&lk_sleeping_held);
	spin_lock(&lk_sleeping_contended);
#endif
	atomic_inc(&holding);
	forever();
	return 0;
}

static int reader(void *unused)
{
	down_read(&lk_rwsem_read);
	atomic_inc(&holding);
	forever();
	return 0;
}

static int waits_mutex(void *unused) { mutex_lock(&lk_mutex_contended); forever(); return 0; }
static int waits_read(void *unused) { down_read(&lk_rwsem_contended); forever(); return 0; }
static int waits_write(void *unused) { down_write(&lk_rwsem_contended); forever(); return 0; }
static int crowds_write(void *unused) { down_write(&lk_rwsem_crowded); forever(); return 0; }
static int crowds_read(void *unused) { down_read(&lk_rwsem_crowded); forever(); return 0; }
static int waits_sem(void *unused) { down(&lk_sem_contended); forever(); return 0; }
static int waits_rt(void *unused) { rt_mutex_lock(&lk_rt_contended); forever(); return 0; }
static int spins(void *lock) { raw_spin_lock((raw_spinlock_t *)lock); forever(); return 0; }
static void spins_in_interrupt(void *lock) { raw_spin_lock((raw_spinlock_t *)lock); }
#ifdef CONFIG_PREEMPT_RT
static int waits_sleeping(void *unused) { spin_lock(&lk_sleeping_contended); forever(); return 0; }
#else
static int spins_write(void *unused) { write_lock(&lk_rw_contended); forever(); return 0; }
static int spins_read(void *unused) { read_lock(&lk_rw_contended); forever(); return 0; }
#endif

// Starts a task on a CPU; returns it, or NULL.
static struct task_struct *start(int (*body)(void *), void *argument, const char *name, int cpu)
{
	struct task_struct *task = kthread_create(body, argument, "%s", name);

	if (IS_ERR(task)) {
		ready = -1;
		return NULL;
	}
	kthread_bind(task, cpu);
	wake_up_process(task);
	return task;
}

// The same, and waits until it sleeps in its lock: whoever comes next queues behind it.
static void start_waiter(int (*body)(void *), const char *name, bool first)
{
	struct task_struct *task = start(body, NULL, name, 0);

	// By its priority it stands first, although it comes last.
	if (task && first)
		sched_set_fifo(task);
	msleep(200);
}

// A spinning CPU shows itself in the lock's bytes.
static void until_changed(atomic_t *word, int before)
{
	int i;

	for (i = 0; i < 500 && atomic_read(word) == before; i++)
		msleep(10);
	if (i == 500)
		ready = 2;
}

static void spin_as_task(raw_spinlock_t *lock, const char *name, int cpu)
{
	int before = atomic_read(&lock->raw_lock.val);

	start(spins, lock, name, cpu);
	until_changed(&lock->raw_lock.val, before);
}

static void spin_in_interrupt(raw_spinlock_t *lock, int cpu)
{
	int before = atomic_read(&lock->raw_lock.val);

	smp_call_function_single(cpu, spins_in_interrupt, lock, 0);
	until_changed(&lock->raw_lock.val, before);
}

static int director(void *unused)
{
	// What loading this module has left to be done on other CPUs is done by then: soon they answer no more.
	msleep(1500);
	start(holder, NULL, "lk_holder", 0);
	while (atomic_read(&holding) < 1)
		msleep(20);
	start(reader, NULL, "lk_reader", 0);
	while (atomic_read(&holding) < 2)
		msleep(20);
	start_waiter(waits_mutex, "lk_mutex_1", false);
	start_waiter(waits_mutex, "lk_mutex_2", false);
	start_waiter(waits_read, "lk_rwsem_r", false);
	start_waiter(waits_write, "lk_rwsem_w", false);
	start_waiter(crowds_write, "lk_crowd_w", false);
	start_waiter(crowds_read, "lk_crowd_r", false);
	start_waiter(waits_sem, "lk_sem_1", false);
	start_waiter(waits_sem, "lk_sem_2", false);
	start_waiter(waits_rt, "lk_rt_1", false);
	start_waiter(waits_rt, "lk_rt_2", true);
#ifdef CONFIG_PREEMPT_RT
	start_waiter(waits_sleeping, "lk_sleeping_1", false);
	start_waiter(waits_sleeping, "lk_sleeping_2", true);
#endif
	spin_as_task(&lk_spin_three, "lk_spin_1", 1);
	spin_as_task(&lk_spin_three, "lk_spin_2", 2);
#ifndef CONFIG_PREEMPT_RT
	start(spins_write, NULL, "lk_rw_w", 3);
	until_changed(&lk_rw_contended.raw_lock.cnts, 1 << 9);
	start(spins_read, NULL, "lk_rw_r", 4);
	until_changed(&lk_rw_contended.raw_lock.wait_lock.val, 1);
#endif
	spin_in_interrupt(&lk_spin_three, 3);
	spin_in_interrupt(&lk_spin_two, 1);
	spin_in_interrupt(&lk_spin_two, 2);
	spin_in_interrupt(&lk_spin_one, 4);
	if (!ready)
		ready = 1;
	forever();
	return 0;
}

static int __init lock_states_init(void)
{
	if (num_online_cpus() < 5) {
		pr_err("lock_states: needs five CPUs\n");
		return -EINVAL;
	}
	sema_init(&lk_sem_free, 2);
	sema_init(&lk_sem_held, 1);
	sema_init(&lk_sem_contended, 1);
	start(director, NULL, "lk_director", 0);
	return 0;
}
module_init(lock_states_init);
MODULE_DESCRIPTION("Lock words of every type and state, for dumps");
MODULE_LICENSE("Dual MIT/GPL");
