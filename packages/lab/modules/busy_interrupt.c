// SPDX-License-Identifier: Apache-2.0
// CPU 1 spins inside a hard interrupt (an hrtimer) and CPU 2 inside a softirq (a timer), for good: what a crash's NMI then
// interrupts is an interrupt, on a stack of its own.
#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/timer.h>

// How many CPUs spin.
static int spinning;
module_param(spinning, int, 0444);
static atomic_t count = ATOMIC_INIT(0);
static struct hrtimer hard;
static struct timer_list soft;

noinline void busy_spin(void);
noinline void busy_spin(void)
{
	spinning = atomic_inc_return(&count);
	for (;;)
		cpu_relax();
}

static enum hrtimer_restart busy_hard(struct hrtimer *timer)
{
	busy_spin();
	return HRTIMER_NORESTART;
}

static void busy_soft(struct timer_list *timer)
{
	busy_spin();
}

static int start_hard(void *unused)
{
#ifdef HAVE_HRTIMER_SETUP
	hrtimer_setup(&hard, busy_hard, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
#else
	hrtimer_init(&hard, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
	hard.function = busy_hard;
#endif
	hrtimer_start(&hard, ms_to_ktime(1500), HRTIMER_MODE_REL_PINNED_HARD);
	return 0;
}

static int __init busy_interrupt_init(void)
{
	struct task_struct *task = kthread_create(start_hard, NULL, "busy_hard");

	if (IS_ERR(task))
		return PTR_ERR(task);
	kthread_bind(task, 1);
	wake_up_process(task);
	timer_setup(&soft, busy_soft, TIMER_PINNED);
	soft.expires = jiffies + 2 * HZ;
	add_timer_on(&soft, 2);
	return 0;
}
module_init(busy_interrupt_init);
MODULE_DESCRIPTION("CPUs that spin inside interrupts");
MODULE_LICENSE("Dual MIT/GPL");
