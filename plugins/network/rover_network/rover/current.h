/* What the thread that runs does to a socket, and what its calls come to. */
#pragma once

#include <rover/datagrams.h>

#define ROVER_PLACES 65536

/* A thread's present system call. Every read and write of the machine is stamped, files' too, so this has to cost
 * little: the place is the low bits of the thread's id, in an array, and whose call is watched is asked where a socket
 * tells of a message. Of two threads in one place the later call is known; the other is counted without its time.
 */
struct rover_begun {
    u64 since_ns;
    u64 id;   /* process and thread */
    u64 regs; /* the registers it was called with, which are there until it ends */
    u32 kind; /* its entry of rover_kinds; 0: counted already */
    u32 generation; /* of the processes that are watched, when this one was known to be */
};

BPF_TABLE("array", u32, struct rover_begun, rover_begun, ROVER_PLACES);
BPF_TABLE("array", int, struct rover_call, rover_blank_call, 1); /* never written */

/* include/linux/socket.h */
#define MSG_PEEK 2
#define MSG_ERRQUEUE 0x2000
/* include/uapi/asm-generic/errno.h */
#define EINTR 4
#define EAGAIN 11
#define EISCONN 106
#define EALREADY 114
#define EINPROGRESS 115
#define ERESTARTSYS 512 /* include/linux/errno.h: from here on the kernel's own */

/* Connections are met, and rows begun, where a socket is at hand. 0 if no process holds it. */
static __always_inline int rover_identify(struct rover_key *key, u64 sk)
{
    key->tgid = bpf_get_current_pid_tgid() >> 32;
    key->inode = sk ? rover_inode(sk) : 0;
    key->peer = 0;
    return key->inode != 0;
}

static __always_inline struct rover_begun *rover_stamp(u64 id, u64 regs, u32 kind)
{
    u32 place = id % ROVER_PLACES;
    struct rover_begun *begun = rover_begun.lookup(&place);
    if (!begun)
        return NULL;
    if (begun->id != id) {
        begun->id = id;
        begun->generation = 0;
    }
    begun->kind = kind;
    begun->regs = regs;
    begun->since_ns = bpf_ktime_get_ns();
    return begun;
}

/* The call that this thread was last seen to begin, counted or not; NULL if there is none. */
static __always_inline struct rover_begun *rover_begun_by(u64 id)
{
    u32 place = id % ROVER_PLACES;
    struct rover_begun *begun = rover_begun.lookup(&place);
    if (begun && begun->id != id)
        begun = NULL;
    ROVER_OPAQUE(begun); /* or the comparison is made again instead of the one with NULL, which the verifier wants */
    return begun;
}

/* Whether the current process is watched, which is remembered where its thread's calls are. */
static __always_inline int rover_watches(struct rover_config *config, struct rover_begun *begun, u64 id)
{
    if (begun && begun->generation == (u32)config->generation)
        return 1;
    if (!rover_watched(config, id >> 32))
        return 0;
    if (begun)
        begun->generation = config->generation;
    return 1;
}

/* What else is known of a call: only of those that need it. */
static __always_inline struct rover_call *rover_call_of(struct rover_begun *begun)
{
    int zero = 0;
    u32 thread = begun->id;
    struct rover_call *call = rover_calls.lookup(&thread);
    if (!call) {
        struct rover_call *blank = rover_blank_call.lookup(&zero);
        if (!blank)
            return NULL;
        rover_calls.update(&thread, blank);
        call = rover_calls.lookup(&thread);
        if (!call)
            return NULL;
    }
    if (call->since_ns != begun->since_ns) {
        call->since_ns = begun->since_ns;
        call->regs = begun->regs;
        call->kind = begun->kind & ROVER_KIND;
        call->where = begun->kind & ROVER_WHERE;
        call->sk = call->messages = call->next = call->bytes = call->number = call->count = 0;
    }
    return call;
}

static __always_inline u64 rover_since(u64 since_ns)
{
    u64 ns = bpf_ktime_get_ns() - since_ns;
    return ns ? ns : 1;
}

static __always_inline int rover_failed(s64 result)
{
    return result < 0 && result > -ERESTARTSYS && result != -EAGAIN && result != -EINTR && result != -EINPROGRESS &&
           result != -EALREADY && result != -EISCONN;
}
