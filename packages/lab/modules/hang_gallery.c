// SPDX-License-Identifier: Apache-2.0
// Hangs and dies in one way a load (kind=NAME), so that a dump of the guest shows a hang whose cause is known. CPU 0 is left
// to the shell. Facts are logged as "hang_gallery: WORD NAME VALUE": lock NAME ADDRESS, task NAME PID, cpu NAME NUMBER.
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/rtmutex.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/semaphore.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/workqueue.h>

static char *kind = "";
module_param(kind, charp, 0444);
// 0 not yet, 1 everybody stands where the hang wants them, -1 could not
static int ready;
module_param(ready, int, 0444);

DEFINE_RAW_SPINLOCK(hg_spin_a);
DEFINE_RAW_SPINLOCK(hg_spin_b);
DEFINE_RWLOCK(hg_rwlock);
DEFINE_MUTEX(hg_mutex_a);
DEFINE_MUTEX(hg_mutex_b);
DECLARE_RWSEM(hg_rwsem);
DEFINE_RT_MUTEX(hg_rt);
DECLARE_COMPLETION(hg_never);
DECLARE_COMPLETION(hg_lost);
struct semaphore hg_sem;
static struct timer_list hg_timer;
static struct task_struct *hg_stubborn;
static atomic_t step = ATOMIC_INIT(0);

#define lock_fact(lock) pr_info("hang_gallery: lock " #lock " %px\n", &lock)

static void reached(int number)
{
	atomic_set(&step, number);
}

// Waits as a task that may sleep.
static void after(int number)
{
	while (atomic_read(&step) < number)
		msleep(20);
}

// Waits on the CPU, in whatever state it is.
static void spin_until(int number)
{
	while (atomic_read(&step) < number)
		cpu_relax();
}

static void forever(void)
{
	for (;;) {
		set_current_state(TASK_IDLE);
		schedule_timeout(HZ);
	}
}

static noinline void hg_loop(void)
{
	for (;;)
		cpu_relax();
}

static struct task_struct *start(int (*body)(void *), void *argument, const char *name, int cpu)
{
	struct task_struct *task = kthread_create(body, argument, "%s", name);

	if (IS_ERR(task)) {
		ready = -1;
		return NULL;
	}
	kthread_bind(task, cpu);
	pr_info("hang_gallery: task %s %d\n", name, task->pid);
	pr_info("hang_gallery: cpu %s %d\n", name, cpu);
	get_task_struct(task);
	wake_up_process(task);
	return task;
}

// Dying.
static int dies(void *unused) { msleep(300); panic("hang_gallery: on purpose"); return 0; }
static int oopses(void *unused)
{
	mutex_lock(&hg_mutex_a);
	reached(1);
	msleep(300);
	*(volatile int *)0x18 = 1;
	return 0;
}

// CPUs that loop.
static int loops(void *unused) { preempt_disable(); reached(1); hg_loop(); return 0; }
static int loops_irqs_off(void *unused) { local_irq_disable(); reached(1); hg_loop(); return 0; }
static int holds_and_loops(void *unused)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&hg_spin_a, flags);
	reached(1);
	hg_loop();
	raw_spin_unlock_irqrestore(&hg_spin_a, flags);
	return 0;
}
static int rcu_loops(void *unused)
{
	preempt_disable();
	rcu_read_lock();
	reached(1);
	hg_loop();
	rcu_read_unlock();
	preempt_enable();
	return 0;
}
static int rcu_sleeps(void *unused) { rcu_read_lock(); reached(1); forever(); rcu_read_unlock(); return 0; }
static int synchronizes(void *unused) { synchronize_rcu(); forever(); return 0; }

// Spinlocks.
static int spins(void *unused) { raw_spin_lock(&hg_spin_a); raw_spin_unlock(&hg_spin_a); forever(); return 0; }
static int takes_twice(void *unused)
{
	raw_spin_lock(&hg_spin_a);
	reached(1);
	raw_spin_lock(&hg_spin_a);
	raw_spin_unlock(&hg_spin_a);
	raw_spin_unlock(&hg_spin_a);
	return 0;
}
static int takes_ab(void *unused)
{
	raw_spin_lock(&hg_spin_a);
	atomic_inc(&step);
	spin_until(2);
	raw_spin_lock(&hg_spin_b);
	raw_spin_unlock(&hg_spin_b);
	raw_spin_unlock(&hg_spin_a);
	return 0;
}
static int takes_ba(void *unused)
{
	raw_spin_lock(&hg_spin_b);
	atomic_inc(&step);
	spin_until(2);
	raw_spin_lock(&hg_spin_a);
	raw_spin_unlock(&hg_spin_a);
	raw_spin_unlock(&hg_spin_b);
	return 0;
}
// Goes away without unlocking.
static int forgets(void *unused)
{
	raw_spin_lock(&hg_spin_a);
	preempt_enable();
	reached(1);
	return 0;
}
static int reads_twice(void *unused)
{
	read_lock(&hg_rwlock);
	reached(1);
	spin_until(2);
	mdelay(500);
	read_lock(&hg_rwlock);
	read_unlock(&hg_rwlock);
	read_unlock(&hg_rwlock);
	return 0;
}
static int writes(void *unused)
{
	preempt_disable();
	reached(2);
	write_lock(&hg_rwlock);
	write_unlock(&hg_rwlock);
	preempt_enable();
	return 0;
}
static void timer_takes(struct timer_list *unused)
{
	reached(1);
	raw_spin_lock(&hg_spin_a);
	raw_spin_unlock(&hg_spin_a);
}
static int timer_interrupts(void *unused)
{
	timer_setup(&hg_timer, timer_takes, TIMER_PINNED);
	raw_spin_lock(&hg_spin_a);
	mod_timer(&hg_timer, jiffies + HZ / 10);
	hg_loop();
	raw_spin_unlock(&hg_spin_a);
	return 0;
}

// Sleeping locks.
static int exits_with_mutex(void *unused) { mutex_lock(&hg_mutex_a); reached(1); msleep(300); reached(2); return 0; }
static int wants_mutex(void *unused) { mutex_lock(&hg_mutex_a); mutex_unlock(&hg_mutex_a); forever(); return 0; }
static int mutex_ab(void *unused)
{
	mutex_lock(&hg_mutex_a);
	atomic_inc(&step);
	after(2);
	mutex_lock(&hg_mutex_b);
	mutex_unlock(&hg_mutex_b);
	mutex_unlock(&hg_mutex_a);
	return 0;
}
static int mutex_ba(void *unused)
{
	mutex_lock(&hg_mutex_b);
	atomic_inc(&step);
	after(2);
	mutex_lock(&hg_mutex_a);
	mutex_unlock(&hg_mutex_a);
	mutex_unlock(&hg_mutex_b);
	return 0;
}
static int three_a(void *unused)
{
	mutex_lock(&hg_mutex_a);
	atomic_inc(&step);
	after(3);
	down_write(&hg_rwsem);
	up_write(&hg_rwsem);
	mutex_unlock(&hg_mutex_a);
	return 0;
}
static int three_b(void *unused)
{
	down_write(&hg_rwsem);
	atomic_inc(&step);
	after(3);
	mutex_lock(&hg_mutex_b);
	mutex_unlock(&hg_mutex_b);
	up_write(&hg_rwsem);
	return 0;
}
static int three_c(void *unused)
{
	mutex_lock(&hg_mutex_b);
	atomic_inc(&step);
	after(3);
	mutex_lock(&hg_mutex_a);
	mutex_unlock(&hg_mutex_a);
	mutex_unlock(&hg_mutex_b);
	return 0;
}
static int owner_in_io(void *unused)
{
	mutex_lock(&hg_mutex_a);
	reached(1);
	wait_for_completion_io(&hg_never);
	mutex_unlock(&hg_mutex_a);
	return 0;
}
static int reads_and_sleeps(void *unused)
{
	down_read(&hg_rwsem);
	reached(1);
	wait_for_completion(&hg_never);
	up_read(&hg_rwsem);
	return 0;
}
static int wants_write(void *unused) { down_write(&hg_rwsem); up_write(&hg_rwsem); forever(); return 0; }
static int wants_read(void *unused) { down_read(&hg_rwsem); up_read(&hg_rwsem); forever(); return 0; }
static int completes_never(void *unused) { wait_for_completion(&hg_never); forever(); return 0; }
static int completion_lost(void *unused) { wait_for_completion(&hg_lost); forever(); return 0; }
static int writes_rwsem(void *unused) { down_write(&hg_rwsem); reached(1); forever(); return 0; }
static int wants_sem(void *unused) { down(&hg_sem); down(&hg_sem); forever(); return 0; }

static void work_takes(struct work_struct *unused)
{
	mutex_lock(&hg_mutex_a);
	mutex_unlock(&hg_mutex_a);
}
static DECLARE_WORK(hg_work, work_takes);
static int flushes(void *unused)
{
	mutex_lock(&hg_mutex_a);
	schedule_work(&hg_work);
	msleep(300);
	reached(1);
	flush_work(&hg_work);
	mutex_unlock(&hg_mutex_a);
	return 0;
}

static void ipi_body(void *unused) { }
static int sends_ipi(void *unused) { reached(2); smp_call_function_single(1, ipi_body, NULL, 1); forever(); return 0; }

static int ignores_stop(void *unused) { reached(1); forever(); return 0; }
static int stops(void *unused) { kthread_stop(hg_stubborn); forever(); return 0; }

// Low has the lock, middle keeps the CPU, high wants the lock: on PREEMPT_RT an rt_mutex would boost low, a mutex that is
// polled does not.
static int rt_low(void *unused)
{
	rt_mutex_lock(&hg_rt);
	reached(1);
	hg_loop();
	return 0;
}
static int rt_high(void *unused) { sched_set_fifo(current); rt_mutex_lock(&hg_rt); forever(); return 0; }

static int director(void *unused)
{
	msleep(1500);
	pr_info("hang_gallery: kind %s\n", kind);
#define is(name) (!strcmp(kind, name))
	if (is("panic")) {
		start(dies, NULL, "hg_dies", 1);
	} else if (is("oops-mutex")) {
		lock_fact(hg_mutex_a);
		start(oopses, NULL, "hg_oops", 1);
		after(1);
		start(wants_mutex, NULL, "hg_wants", 2);
	} else if (is("soft-lockup")) {
		start(loops, NULL, "hg_loops", 1);
	} else if (is("irqs-off")) {
		start(loops_irqs_off, NULL, "hg_loops", 1);
	} else if (is("spin-twice")) {
		lock_fact(hg_spin_a);
		start(takes_twice, NULL, "hg_twice", 1);
	} else if (is("spin-abba")) {
		lock_fact(hg_spin_a);
		lock_fact(hg_spin_b);
		start(takes_ab, NULL, "hg_ab", 1);
		start(takes_ba, NULL, "hg_ba", 2);
	} else if (is("spin-forgotten")) {
		lock_fact(hg_spin_a);
		start(forgets, NULL, "hg_forgets", 1);
		after(1);
		msleep(200);
		start(spins, NULL, "hg_spins", 2);
	} else if (is("spin-many")) {
		int cpu;

		lock_fact(hg_spin_a);
		start(holds_and_loops, NULL, "hg_holds", 1);
		after(1);
		for_each_online_cpu(cpu) {
			static const char *names[] = { "", "", "hg_spins2", "hg_spins3", "hg_spins4", "hg_spins5" };

			if (cpu >= 2 && cpu <= 5)
				start(spins, NULL, names[cpu], cpu);
		}
	} else if (is("read-again")) {
		lock_fact(hg_rwlock);
		start(reads_twice, NULL, "hg_reads", 1);
		after(1);
		start(writes, NULL, "hg_writes", 2);
	} else if (is("timer-lock")) {
		lock_fact(hg_spin_a);
		start(timer_interrupts, NULL, "hg_timer", 1);
	} else if (is("mutex-exited")) {
		lock_fact(hg_mutex_a);
		start(exits_with_mutex, NULL, "hg_exits", 1);
		after(2);
		start(wants_mutex, NULL, "hg_wants", 2);
	} else if (is("mutex-abba")) {
		lock_fact(hg_mutex_a);
		lock_fact(hg_mutex_b);
		start(mutex_ab, NULL, "hg_ab", 1);
		start(mutex_ba, NULL, "hg_ba", 2);
	} else if (is("three-tasks")) {
		lock_fact(hg_mutex_a);
		lock_fact(hg_mutex_b);
		lock_fact(hg_rwsem);
		start(three_a, NULL, "hg_three_a", 1);
		start(three_b, NULL, "hg_three_b", 2);
		start(three_c, NULL, "hg_three_c", 3);
	} else if (is("owner-in-io")) {
		lock_fact(hg_mutex_a);
		start(owner_in_io, NULL, "hg_io", 1);
		after(1);
		start(wants_mutex, NULL, "hg_wants", 2);
	} else if (is("rwsem-reader")) {
		lock_fact(hg_rwsem);
		start(reads_and_sleeps, NULL, "hg_reader", 1);
		after(1);
		start(wants_write, NULL, "hg_writer", 2);
		msleep(300);
		start(wants_read, NULL, "hg_behind1", 2);
		start(wants_read, NULL, "hg_behind2", 3);
	} else if (is("completion")) {
		lock_fact(hg_never);
		start(completes_never, NULL, "hg_waits", 1);
	} else if (is("lost-wakeup")) {
		lock_fact(hg_lost);
		start(completion_lost, NULL, "hg_waits", 1);
		msleep(500);
		WRITE_ONCE(hg_lost.done, 1);
#ifndef CONFIG_PREEMPT_RT
	} else if (is("rwsem-lost")) {
		lock_fact(hg_rwsem);
		start(writes_rwsem, NULL, "hg_holds", 1);
		after(1);
		start(wants_write, NULL, "hg_writer", 2);
		msleep(500);
		// What up_write() does, without the wake-up: RWSEM_FLAG_WAITERS is all that stays.
		atomic_long_set(&hg_rwsem.owner, 0);
		atomic_long_andnot(1, &hg_rwsem.count);
#endif
	} else if (is("semaphore")) {
		lock_fact(hg_sem);
		start(wants_sem, NULL, "hg_downs", 1);
	} else if (is("work-flush")) {
		lock_fact(hg_mutex_a);
		lock_fact(hg_work);
		start(flushes, NULL, "hg_flushes", 1);
	} else if (is("ipi")) {
		start(loops_irqs_off, NULL, "hg_loops", 1);
		after(1);
		start(sends_ipi, NULL, "hg_sends", 2);
	} else if (is("rcu-cpu")) {
		start(rcu_loops, NULL, "hg_reads", 1);
		after(1);
		start(synchronizes, NULL, "hg_syncs", 2);
	} else if (is("rcu-task")) {
		start(rcu_sleeps, NULL, "hg_reads", 1);
		after(1);
		start(synchronizes, NULL, "hg_syncs", 2);
	} else if (is("kthread-stop")) {
		hg_stubborn = start(ignores_stop, NULL, "hg_stubborn", 1);
		after(1);
		start(stops, NULL, "hg_stops", 2);
	} else if (is("rt-inversion")) {
		lock_fact(hg_rt);
		start(rt_low, NULL, "hg_low", 1);
		after(1);
		start(rt_high, NULL, "hg_high", 2);
	} else {
		pr_err("hang_gallery: no kind %s\n", kind);
		ready = -1;
		return 0;
	}
#undef is
	msleep(1500);
	ready = 1;
	forever();
	return 0;
}

static int __init hang_gallery_init(void)
{
	if (num_online_cpus() < 4) {
		pr_err("hang_gallery: needs four CPUs\n");
		return -EINVAL;
	}
	sema_init(&hg_sem, 1);
	start(director, NULL, "hg_director", 0);
	return 0;
}
module_init(hang_gallery_init);
MODULE_DESCRIPTION("One hang a load, for dumps");
MODULE_LICENSE("GPL");
