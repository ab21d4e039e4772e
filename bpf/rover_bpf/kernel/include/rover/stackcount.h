/* Counting stacks in the kernel: (process, user stack, kernel stack) -> events and their total.
 *
 * bpf_get_stackid() keys stacks by a 32-bit hash and drops or merges those that collide; here a stack is fetched
 * with bpf_get_stack(), keyed by a 64-bit hash of its addresses, and stored once.
 *
 * Everything that is drained exists twice. Programs write to the set that `epoch` names; user space flips the
 * epoch, waits until no program can still be using the old set, and empties that at leisure: no count is lost to
 * a race between reading and deleting.
 *
 * Knobs, defined before the include: ROVER_COUNTS, ROVER_STACKS (entries), ROVER_HASH_FLAGS.
 * User side: rover_bpf/stackcount.py; keep the structures in step (a test compares the sizes).
 */
#pragma once

#include <rover/rover.h>

#define ROVER_FRAMES 127 /* kernel.perf_event_max_stack's default; a power of two minus one bounds the index */
#define ROVER_COMM 16    /* TASK_COMM_LEN */

struct rover_key {
    u64 start_ns; /* task_struct.start_boottime of the group leader: with tgid, the process's identity */
    u64 user;     /* hash of the user stack, 0: none */
    u64 kernel;   /* hash of the kernel stack, 0: none */
    u32 tgid;
    u32 tag; /* the profiler's own distinction, e.g. why a thread was switched out */
    char comm[ROVER_COMM];
};

struct rover_value {
    u64 events;
    u64 total; /* nanoseconds, where events have a length */
};

struct rover_stack {
    u64 depth;
    u64 ip[ROVER_FRAMES + 1];
};

struct rover_config {
    u32 epoch;   /* 0 or 1: the set of maps that is written */
    u32 all;     /* 1: every process, else those in rover_targets */
    u64 minimum; /* events shorter than this are not counted; nanoseconds, 0 where events have no length */
    u64 tags;    /* bit n: events with tag n are counted */
    u32 ship;    /* 1: user stacks are unwound by call frame information (rover/unwind.h); 0: by frame pointers */
    u32 generation; /* counts the epochs */
};

/* A process counted for the first time in an epoch: user space reads its mappings while it is alive. */
struct rover_news {
    u64 start_ns;
    u32 tgid;
    u32 unused;
};

enum rover_tally {
    ROVER_EVENTS,      /* the program ran, for whomever */
    ROVER_MATCHED,     /* a process we watch */
    ROVER_COUNTED,     /* in rover_counts */
    ROVER_COUNTS_FULL, /* lost: no room for the key */
    ROVER_STACKS_FULL, /* counted, but without its stack */
    ROVER_MISSED,      /* lost: the kernel never told of its end */
    ROVER_RAW_FULL,    /* counted with a stack walked by frame pointers, for want of room to ship it */
    ROVER_NEW_KEYS,    /* keys added since the start: how full the maps are getting */
    ROVER_NEW_STACKS,
    ROVER_TALLIES,
};

struct rover_scratch {
    struct rover_stack user;
    struct rover_stack kernel;
    struct rover_key key;
    struct rover_value value;
};

BPF_F_TABLE("hash", struct rover_key, struct rover_value, rover_counts_0, ROVER_COUNTS, ROVER_HASH_FLAGS);
BPF_F_TABLE("hash", struct rover_key, struct rover_value, rover_counts_1, ROVER_COUNTS, ROVER_HASH_FLAGS);
BPF_F_TABLE("hash", u64, struct rover_stack, rover_stacks_0, ROVER_STACKS, ROVER_HASH_FLAGS);
BPF_F_TABLE("hash", u64, struct rover_stack, rover_stacks_1, ROVER_STACKS, ROVER_HASH_FLAGS);
BPF_TABLE("hash", u32, u32, rover_targets, 16384);
BPF_TABLE("array", int, struct rover_config, rover_config, 1);
BPF_TABLE("percpu_array", int, u64, rover_tally, ROVER_TALLIES);
BPF_TABLE("percpu_array", int, struct rover_scratch, rover_scratch, 1);
BPF_TABLE("lru_hash", struct rover_news, u32, rover_known, 16384);
BPF_RINGBUF_OUTPUT(rover_news, 16);

static __always_inline void rover_tell(int tally)
{
    u64 *count = rover_tally.lookup(&tally);
    if (count)
        (*count)++;
}

/* 64-bit multiply-xorshift over the addresses (the finalizer of MurmurHash3); never 0, which means "no stack". */
static __always_inline u64 rover_hash(struct rover_stack *stack)
{
    u64 hash = stack->depth;
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < ROVER_FRAMES; i++) {
        if (i >= stack->depth)
            break;
        u32 index = i;
        ROVER_OPAQUE(index);
        hash = (hash ^ stack->ip[index & ROVER_FRAMES]) * 0xff51afd7ed558ccdULL;
        hash ^= hash >> 33;
    }
    return hash | 1;
}

/* Makes sure that a stack is stored. Returns its hash, 0 if there is no room. */
static __always_inline u64 rover_stored(struct rover_stack *stack, u32 epoch)
{
    u64 hash = rover_hash(stack);
    struct rover_stack *known = epoch ? rover_stacks_1.lookup(&hash) : rover_stacks_0.lookup(&hash);
    if (known)
        return hash;
    int error = epoch ? rover_stacks_1.update(&hash, stack) : rover_stacks_0.update(&hash, stack);
    if (error) {
        rover_tell(ROVER_STACKS_FULL);
        return 0;
    }
    rover_tell(ROVER_NEW_STACKS);
    return hash;
}

/* Fetches the stack of the given kind and makes sure it is stored. Returns its hash, 0 if there is none. */
static __always_inline u64 rover_stack_of(void *ctx, struct rover_stack *stack, u64 flags, u32 epoch)
{
    long bytes = bpf_get_stack(ctx, stack->ip, ROVER_FRAMES * sizeof(u64), flags);
    if (bytes <= 0)
        return 0;
    stack->depth = (u64)bytes / sizeof(u64);
    return rover_stored(stack, epoch);
}

#ifdef ROVER_RAW_PAGES
#include <rover/unwind.h>
#endif

/* The current task's user stack: by call frame information if that is wanted and possible, else by frame pointers. */
static __always_inline u64 rover_user_of(void *ctx, struct rover_config *config, struct rover_scratch *scratch)
{
#ifdef ROVER_RAW_PAGES
    u64 user = 0;
    if (config->ship && rover_unwind(config, scratch, &user))
        return user;
#endif
    return rover_stack_of(ctx, &scratch->user, BPF_F_USER_STACK, config->epoch & 1);
}

/* A process seen for the first time (or again after an epoch in which it was forgotten) is announced once. */
static __always_inline void rover_announce(struct rover_key *key)
{
    struct rover_news news = {.start_ns = key->start_ns, .tgid = key->tgid};
    u32 yes = 1;
    if (rover_known.lookup(&news))
        return;
    if (rover_news.ringbuf_output(&news, sizeof(news), BPF_RB_NO_WAKEUP) == 0)
        rover_known.update(&news, &yes);
}

/* Whether this process is watched. Its thread-group id is what user space calls pid. */
static __always_inline int rover_watched(struct rover_config *config, u32 tgid)
{
    return tgid && (config->all || rover_targets.lookup(&tgid));
}

/* Puts the current task's stacks into the key, whose process is known. */
static __always_inline void rover_capture(void *ctx, struct rover_config *config, struct rover_scratch *scratch)
{
    scratch->key.user = rover_user_of(ctx, config, scratch);
    scratch->key.kernel = rover_stack_of(ctx, &scratch->kernel, 0, config->epoch & 1);
}

/* Counts one event under a key whose stacks were captured. */
static __always_inline void rover_count(struct rover_config *config, struct rover_key *key, struct rover_value *one)
{
    u32 epoch = config->epoch & 1;
    rover_announce(key);
    struct rover_value *known = epoch ? rover_counts_1.lookup(key) : rover_counts_0.lookup(key);
    if (known) {
        __sync_fetch_and_add(&known->events, one->events);
        __sync_fetch_and_add(&known->total, one->total);
        rover_tell(ROVER_COUNTED);
        return;
    }
    /* Two processors may add the same key at once: the loser finds it there and adds to it. */
    if ((epoch ? rover_counts_1.insert(key, one) : rover_counts_0.insert(key, one)) == 0) {
        rover_tell(ROVER_NEW_KEYS);
        rover_tell(ROVER_COUNTED);
        return;
    }
    known = epoch ? rover_counts_1.lookup(key) : rover_counts_0.lookup(key);
    if (!known) {
        rover_tell(ROVER_COUNTS_FULL);
        return;
    }
    __sync_fetch_and_add(&known->events, one->events);
    __sync_fetch_and_add(&known->total, one->total);
    rover_tell(ROVER_COUNTED);
}

/* Who a task's process is: thread-group leader's start and name. */
static __always_inline void rover_identify_task(struct rover_key *key, u64 task, u32 tgid)
{
    u64 leader = 0;
    key->tgid = tgid;
    key->tag = 0;
    key->start_ns = 0;
    ROVER_READ(leader, task, ROVER_OFFSET_task_struct_group_leader);
    ROVER_READ(key->start_ns, leader, ROVER_OFFSET_task_struct_start_boottime);
    bpf_probe_read_kernel(key->comm, ROVER_COMM, (const void *)(leader + ROVER_OFFSET_task_struct_comm));
}

static __always_inline void rover_identify(struct rover_key *key, u32 tgid)
{
    rover_identify_task(key, (u64)bpf_get_current_task(), tgid);
}
