/* Layer 4: what processes do with sockets, and what becomes of their packets.
 *
 * Calls and bytes are counted where the kernel says how long a message was (sock_send_length, sock_recv_length, 6.3),
 * or else at the end of the system call. Their begin is stamped at its entry, for the execution time; an end is looked
 * at for accept, connect, close and those calls that send or receive several messages.
 */
#include <rover/connects.h>
#include <rover/messages.h>
#include <rover/packets.h>
#include <rover/tlscalls.h>
#include <rover/go.h>

#define ROVER_SYSCALLS 512

BPF_TABLE("array", u32, u32, rover_kinds, ROVER_SYSCALLS);
BPF_TABLE("hash", u32, u32, rover_uring, 1024); /* processes that use io_uring */

/* A system call begins: one of rover_kinds. */
static __always_inline int rover_begin(u64 id, u64 regs, u32 entry)
{
    int zero = 0;
    u64 argument = 0, flags = 0;
    struct rover_begun *begun = rover_stamp(id, regs, entry);
    if (!(entry & ROVER_AT_EXIT) || (entry & ROVER_KIND) >= ROVER_MAPPING)
        return 0; /* a read or write whose end the socket tells: nothing more for files either; or of interest at its end */
    struct rover_config *config = rover_config.lookup(&zero);
    if (!config || !begun || !rover_watches(config, begun, id))
        return 0;
    if ((entry & ROVER_KIND) == ROVER_URING) {
        u32 tgid = id >> 32, yes = 1;
        begun->kind = 0;
        if (!rover_uring.lookup(&tgid))
            rover_uring.update(&tgid, &yes);
        return 0;
    }
    struct rover_call *call = rover_call_of(begun);
    if (!call)
        return 0;
    ROVER_READ(argument, regs, ROVER_SYSCALL_ARGUMENT(0));
    call->fd = argument;
    if (entry >> ROVER_FLAGS_SHIFT) {
        if (entry >> ROVER_FLAGS_SHIFT == 3)
            ROVER_READ(flags, regs, ROVER_SYSCALL_ARGUMENT(2));
        else
            ROVER_READ(flags, regs, ROVER_SYSCALL_ARGUMENT(3));
        if (flags & (MSG_PEEK | MSG_ERRQUEUE))
            begun->kind = 0;
    }
    if (call->kind == ROVER_CLOSING || call->kind == ROVER_CONNECTING || call->kind == ROVER_SPLICING ||
        call->kind == ROVER_ACCEPTING) {
        call->sk = rover_socket(call->fd);
        if (!rover_identify(&call->key, call->sk)) {
            if (call->kind != ROVER_SPLICING)
                begun->kind = 0;
            return 0;
        }
        if (call->kind == ROVER_CONNECTING)
            rover_begin_connect(call);
        else
            rover_meet(&call->key, call->sk);
    }
    return 0;
}

/* It ends. begun: NULL if nobody saw it begin. */
static __always_inline int rover_end_call(void *ctx, u64 id, struct rover_begun *begun, u32 entry, s64 result)
{
    int zero = 0;
    u32 thread = id, kind = entry & ROVER_KIND;
    struct rover_config *config = rover_config.lookup(&zero);
    if (!config || !rover_watches(config, begun, id))
        return 0;
    u32 epoch = config->epoch & 1;
    if (kind == ROVER_ACCEPTING) {
        rover_after_accept(epoch, result, begun ? rover_since(begun->since_ns) : 0);
        return 0;
    }
    if (kind >= ROVER_MAPPING) {
        u64 regs = begun ? begun->regs : 0;
        if (kind == ROVER_SETTING)
            rover_after_setting(config, regs, result);
        else
            rover_after_mapping(id, kind, regs, result);
        return 0;
    }
    struct rover_call *call = rover_calls.lookup(&thread);
    if (!begun || !call || call->since_ns != begun->since_ns)
        return 0; /* its process was not watched when it began */
    if (call->bytes)
        rover_after_datagram(ctx, config, call);
    else if (kind == ROVER_CONNECTING)
        rover_after_connect(epoch, call, result);
    else if (kind == ROVER_CLOSING)
        rover_after_close(config, call);
    else if (config->lengths)
        rover_after_messages(config, call, result);
    else
        rover_after_transfer(ctx, config, call, result);
    return 0;
}

/* raw_tracepoint sys_enter(struct pt_regs *regs, long id) */
struct rover_enter {
    u64 regs;
    u64 id;
};

int rover_on_enter(struct rover_enter *ctx)
{
    u32 number = ctx->id;
    u32 *entry = rover_kinds.lookup(&number);
    return entry && *entry ? rover_begin(bpf_get_current_pid_tgid(), ctx->regs, *entry) : 0;
}

/* raw_tracepoint sys_exit(struct pt_regs *regs, long result) */
struct rover_exit {
    u64 regs;
    u64 result;
};

int rover_on_exit(struct rover_exit *ctx)
{
    u64 id = bpf_get_current_pid_tgid();
    u32 number = 0, entry = 0;
    struct rover_begun *begun = rover_begun_by(id);
    if (begun) {
        entry = begun->kind;
    } else {
        ROVER_READ(number, ctx->regs, ROVER_SYSCALL_NUMBER);
        u32 *known = rover_kinds.lookup(&number);
        entry = known ? *known : 0;
    }
    if (!(entry & ROVER_AT_EXIT))
        return 0;
    if (begun)
        begun->kind = 0;
    return rover_end_call(ctx, id, begun, entry, ctx->result);
}
