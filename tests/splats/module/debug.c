// SPDX-License-Identifier: GPL-2.0
/* What only a kernel notices that was built to look at itself: see tests/debug-kernel. */
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/vmalloc.h>

#include "misbehave.h"

static char *volatile place;
static volatile long number = 3;

static struct timer_list timer;

static void do_nothing(struct timer_list *unused)
{
}

static void in_timer(void (*what)(struct timer_list *))
{
	timer_setup(&timer, what, 0);
	mod_timer(&timer, jiffies + HZ / 10);
	mdelay(300);
	del_timer_sync(&timer);
}

#ifdef CONFIG_KASAN
static char all[20];

static noinline void kasan_read_behind(void)
{
	place = kmalloc(60, GFP_KERNEL);
	number = place[60 + number];
	kfree(place);
}

static noinline void kasan_write_behind(void)
{
	place = kmalloc(60, GFP_KERNEL);
	place[60 + number] = 1;
	kfree(place);
}

static noinline void kasan_use_after_free(void)
{
	place = kmalloc(60, GFP_KERNEL);
	kfree(place);
	number = place[8];
}

static noinline void kasan_free_twice(void)
{
	place = kmalloc(60, GFP_KERNEL);
	kfree(place);
	kfree(place);
}

static noinline void kasan_free_inside(void)
{
	place = kmalloc(60, GFP_KERNEL);
	kfree(place + 8);
}

static noinline void kasan_stack(void)
{
	char room[20] = { 0 };

	place = room;
	number = place[20 + number];
}

static noinline void kasan_global(void)
{
	place = all;
	number = place[20 + number];
}

static noinline void kasan_vmalloc(void)
{
	place = vmalloc(PAGE_SIZE - 100);
	number = place[PAGE_SIZE - 100 + 8];
	vfree(place);
}

static void timer_reads(struct timer_list *unused)
{
	number = place[60 + 1];
}

static noinline void kasan_in_timer(void)
{
	place = kmalloc(60, GFP_KERNEL);
	in_timer(timer_reads);
	kfree(place);
}

static noinline void kasan_twice(void)
{
	kasan_use_after_free();
	number = 3;
	kasan_read_behind();
}
#endif

#ifdef CONFIG_UBSAN
static int four[4];
static volatile int width = 40;

static noinline void ubsan_index(void)
{
	four[number + 1] = 1;
}

static noinline void ubsan_shift(void)
{
	number = 1 << width;
}

static noinline void ubsan_bool(void)
{
	static unsigned char byte = 7;
	volatile bool *truth = (bool *)&byte;

	number = *truth;
}
#endif

#ifdef CONFIG_DEBUG_KMEMLEAK
static noinline void lose_memory(void)
{
	place = kmalloc(200, GFP_KERNEL);
	place = kmalloc(300, GFP_KERNEL);
	place = NULL;
}
#endif

#ifdef CONFIG_PROVE_LOCKING
static DEFINE_MUTEX(first);
static DEFINE_MUTEX(second);
static DEFINE_SPINLOCK(outer);
static DEFINE_SPINLOCK(inner);
static struct mutex alike[2];

static noinline void lock_both(struct mutex *one, struct mutex *other)
{
	mutex_lock(one);
	mutex_lock(other);
	mutex_unlock(other);
	mutex_unlock(one);
}

static noinline void lock_inversion(void)
{
	lock_both(&first, &second);
	lock_both(&second, &first);
}

static noinline void lock_recursion(void)
{
	int i;

	for (i = 0; i < 2; i++)
		mutex_init(&alike[i]);
	lock_both(&alike[0], &alike[1]);
}

static void timer_locks(struct timer_list *unused)
{
	spin_lock(&outer);
	spin_unlock(&outer);
}

static noinline void lock_in_interrupt(void)
{
	in_timer(timer_locks);
	spin_lock(&outer);
	spin_unlock(&outer);
}

static noinline void lock_order_of_interrupt(void)
{
	in_timer(timer_locks);
	spin_lock(&inner);
	spin_unlock(&inner);
	spin_lock_bh(&outer);
	spin_lock(&inner);
	spin_unlock(&inner);
	spin_unlock_bh(&outer);
}

static noinline void lock_not_held(void)
{
	mutex_unlock(&first);
}

static noinline void lock_freed(void)
{
	struct mutex *mutex = kmalloc(sizeof(*mutex), GFP_KERNEL);

	mutex_init(mutex);
	mutex_lock(mutex);
	kfree(mutex);
}

static noinline void lock_kept(void)
{
	mutex_lock(&first);
}

static noinline void lock_uninitialised(void)
{
	spinlock_t *lock = kzalloc(sizeof(*lock), GFP_KERNEL);

	spin_lock(lock);
	spin_unlock(lock);
	kfree(lock);
}

static noinline void rcu_unprotected(void)
{
	static void __rcu *pointer;

	number = rcu_dereference(pointer) != NULL;
}

static noinline void sleep_under_lock(void)
{
	spin_lock(&outer);
	mutex_lock(&first);
	mutex_unlock(&first);
	spin_unlock(&outer);
}

static noinline void sleep_under_rcu(void)
{
	rcu_read_lock();
	mutex_lock(&first);
	mutex_unlock(&first);
	rcu_read_unlock();
}

static void timer_sleeps(struct timer_list *unused)
{
	might_sleep();
}

static noinline void sleep_in_interrupt(void)
{
	in_timer(timer_sleeps);
}

static noinline void sleep_when_asleep(void)
{
	set_current_state(TASK_INTERRUPTIBLE);
	mutex_lock(&first);
	mutex_unlock(&first);
	__set_current_state(TASK_RUNNING);
}
#endif

#ifdef CONFIG_DEBUG_OBJECTS_TIMERS
struct holder {
	struct timer_list timer;
};

static noinline void object_set_up_twice(void)
{
	timer_setup(&timer, do_nothing, 0);
	mod_timer(&timer, jiffies + 10 * HZ);
	timer_setup(&timer, do_nothing, 0);
	del_timer_sync(&timer);
}

static noinline void object_freed(void)
{
	struct holder *holder = kzalloc(sizeof(*holder), GFP_KERNEL);

	timer_setup(&holder->timer, do_nothing, 0);
	mod_timer(&holder->timer, jiffies + 10 * HZ);
	kfree(holder);
}

static noinline void object_on_stack(void)
{
	struct timer_list timer;

	timer_setup(&timer, do_nothing, 0);
	mod_timer(&timer, jiffies + 10 * HZ);
	del_timer_sync(&timer);
	destroy_timer_on_stack(&timer);
}
#endif

const struct behaviour debug[] = {
#ifdef CONFIG_KASAN
	{ "kasan-read-behind", kasan_read_behind },
	{ "kasan-write-behind", kasan_write_behind },
	{ "kasan-use-after-free", kasan_use_after_free },
	{ "kasan-free-twice", kasan_free_twice },
	{ "kasan-free-inside", kasan_free_inside },
	{ "kasan-stack", kasan_stack },
	{ "kasan-global", kasan_global },
	{ "kasan-vmalloc", kasan_vmalloc },
	{ "kasan-in-timer", kasan_in_timer },
	{ "kasan-twice", kasan_twice },
#endif
#ifdef CONFIG_UBSAN
	{ "ubsan-index", ubsan_index },
	{ "ubsan-shift", ubsan_shift },
	{ "ubsan-bool", ubsan_bool },
#endif
#ifdef CONFIG_DEBUG_KMEMLEAK
	{ "lose-memory", lose_memory },
#endif
#ifdef CONFIG_PROVE_LOCKING
	{ "lock-inversion", lock_inversion },
	{ "lock-recursion", lock_recursion },
	{ "lock-in-interrupt", lock_in_interrupt },
	{ "lock-order-of-interrupt", lock_order_of_interrupt },
	{ "lock-not-held", lock_not_held },
	{ "lock-freed", lock_freed },
	{ "lock-kept", lock_kept },
	{ "lock-uninitialised", lock_uninitialised },
	{ "rcu-unprotected", rcu_unprotected },
	{ "sleep-under-lock", sleep_under_lock },
	{ "sleep-under-rcu", sleep_under_rcu },
	{ "sleep-in-interrupt", sleep_in_interrupt },
	{ "sleep-when-asleep", sleep_when_asleep },
#endif
#ifdef CONFIG_DEBUG_OBJECTS_TIMERS
	{ "object-set-up-twice", object_set_up_twice },
	{ "object-freed", object_freed },
	{ "object-on-stack", object_on_stack },
#endif
	{ }
};
