// SPDX-License-Identifier: GPL-2.0
/* What allocators, lists and counters notice. */
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/kernel.h>
#include <linux/kfence.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/refcount.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <linux/vmalloc.h>

#include "misbehave.h"

static struct list_head first, second, third;

static noinline void list_add_twice(void)
{
	INIT_LIST_HEAD(&first);
	list_add(&second, &first);
	list_add(&second, &first);
}

static noinline void list_add_broken(void)
{
	INIT_LIST_HEAD(&first);
	INIT_LIST_HEAD(&third);
	first.next = &third;
	list_add(&second, &first);
}

static noinline void list_del_twice(void)
{
	INIT_LIST_HEAD(&first);
	list_add(&second, &first);
	list_del(&second);
	list_del(&second);
}

static noinline void list_del_broken(void)
{
	INIT_LIST_HEAD(&first);
	list_add(&second, &first);
	list_add(&third, &first);
	third.next = &first;
	list_del(&second);
}

static refcount_t count;

static noinline void refcount_underflow(void)
{
	refcount_set(&count, 1);
	if (refcount_dec_and_test(&count))
		refcount_dec(&count);
	if (refcount_sub_and_test(2, &count))
		refcount_set(&count, 1);
}

static noinline void refcount_revived(void)
{
	refcount_set(&count, 0);
	refcount_inc(&count);
}

static noinline void refcount_saturated(void)
{
	refcount_set(&count, INT_MAX);
	refcount_inc(&count);
}

static void *volatile place;
static void *volatile other;

static noinline void free_twice(void)
{
	place = kmalloc(64, GFP_KERNEL);
	kfree(place);
	kfree(place);
}

static noinline void free_of_vmalloc(void)
{
	place = vmalloc(64);
	kfree(place);
}

static noinline void vfree_of_nothing(void)
{
	place = vmalloc(PAGE_SIZE);
	vfree(place);
	vfree(place);
}

#define WATCHED (SLAB_POISON | SLAB_RED_ZONE | SLAB_STORE_USER | SLAB_CONSISTENCY_CHECKS)

static struct kmem_cache *cache_of(const char *name, slab_flags_t flags)
{
	return kmem_cache_create(name, 64, 8, flags, NULL);
}

static noinline void *allocate_in(struct kmem_cache *cache)
{
	return kmem_cache_alloc(cache, GFP_KERNEL);
}

static noinline void use_after_free(void)
{
	struct kmem_cache *cache = cache_of("misbehave", WATCHED);
	int i;

	place = allocate_in(cache);
	kmem_cache_free(cache, place);
	((char *)place)[8] = 0x11;
	for (i = 0; i < 64; i++)
		other = allocate_in(cache);
}

static noinline void write_behind(void)
{
	struct kmem_cache *cache = cache_of("misbehave", WATCHED);

	place = allocate_in(cache);
	((char *)place)[64] = 0x11;
	kmem_cache_free(cache, place);
}

static noinline void free_twice_watched(void)
{
	struct kmem_cache *cache = cache_of("misbehave", WATCHED);

	place = allocate_in(cache);
	kmem_cache_free(cache, place);
	kmem_cache_free(cache, place);
}

static noinline void free_elsewhere(void)
{
	struct kmem_cache *cache = cache_of("misbehave", WATCHED);
	struct kmem_cache *wrong = cache_of("misbehave_other", WATCHED);

	place = allocate_in(cache);
	kmem_cache_free(wrong, place);
}

static void construct(void *object)
{
}

/* A cache with a constructor is merged with no other. */
static noinline void objects_remaining(void)
{
	struct kmem_cache *cache = kmem_cache_create("misbehave", 64, 8, 0, construct);

	place = allocate_in(cache);
	kmem_cache_destroy(cache);
}

static noinline void objects_remaining_watched(void)
{
	struct kmem_cache *cache = cache_of("misbehave", WATCHED);

	place = allocate_in(cache);
	kmem_cache_destroy(cache);
}

static noinline void bad_page(void)
{
	struct page *pages = alloc_pages(GFP_KERNEL, 5);

	/* So many pages at once are looked at when they are freed. */
	pages->mapping = (void *)8;
	__free_pages(pages, 5);
}

static volatile unsigned long length = 4096;

static noinline void copy_too_much(void)
{
	place = kmalloc(64, GFP_KERNEL);
	length = copy_to_user((void __user *)(current->mm->start_stack - 8192), place, length);
}

static struct {
	char name[8];
	char rest[8];
} record;

static noinline void copy_over_member(void)
{
	char from[32] = "more than eight bytes";

	memcpy(record.name, from, length / 256);
}

static noinline void out_of_memory(void)
{
	void *page, *all = NULL;

	while (!fatal_signal_pending(current)) {
		page = (void *)__get_free_page(GFP_KERNEL);
		if (!page)
			break;
		*(void **)page = all;
		all = page;
	}
	while (all) {
		page = all;
		all = *(void **)page;
		free_page((unsigned long)page);
	}
}

#ifdef CONFIG_KFENCE
/* An object that KFENCE watches: one in a while is. */
static void *watched(void)
{
	void *object;
	int i;

	for (i = 0; i < 100000; i++) {
		object = kmalloc(32, GFP_KERNEL);
		if (is_kfence_address(object))
			return object;
		kfree(object);
		if (i % 100 == 0)
			msleep(1);
	}
	pr_err("misbehave: KFENCE is off\n");
	return NULL;
}

static noinline void kfence_read_behind(void)
{
	char *object = watched();

	/* The page behind the object's is a guard, and so is the one before it. */
	if (object)
		length = *(volatile char *)PTR_ALIGN(object + 1, PAGE_SIZE);
}

static noinline void kfence_use_after_free(void)
{
	volatile char *object = watched();

	if (object) {
		kfree((void *)object);
		length = object[1];
	}
}

static noinline void kfence_free_twice(void)
{
	char *object = watched();

	if (object) {
		kfree(object);
		place = object;
		kfree(place);
	}
}
#endif

const struct behaviour memory[] = {
	{ "list-add-twice", list_add_twice },
	{ "list-add-broken", list_add_broken },
	{ "list-del-twice", list_del_twice },
	{ "list-del-broken", list_del_broken },
	{ "refcount-underflow", refcount_underflow },
	{ "refcount-revived", refcount_revived },
	{ "refcount-saturated", refcount_saturated },
	{ "free-twice", free_twice },
	{ "free-of-vmalloc", free_of_vmalloc },
	{ "vfree-of-nothing", vfree_of_nothing },
	{ "use-after-free", use_after_free },
	{ "write-behind", write_behind },
	{ "free-twice-watched", free_twice_watched },
	{ "free-elsewhere", free_elsewhere },
	{ "objects-remaining", objects_remaining },
	{ "objects-remaining-watched", objects_remaining_watched },
	{ "bad-page", bad_page },
	{ "copy-too-much", copy_too_much },
	{ "copy-over-member", copy_over_member },
	{ "out-of-memory", out_of_memory },
#ifdef CONFIG_KFENCE
	{ "kfence-read-behind", kfence_read_behind },
	{ "kfence-use-after-free", kfence_use_after_free },
	{ "kfence-free-twice", kfence_free_twice },
#endif
	{ }
};
