/* Layer 4: what processes do with sockets, and what becomes of their packets.
 *
 * Calls and bytes are counted where the kernel says how long a message was (sock_send_length, sock_recv_length, 6.3),
 * or else at the end of the system call. Their begin is stamped at its entry, for the execution time; an end is looked
 * at for accept, connect, close and those calls that send or receive several messages.
 */
#include <rover/connects.h>
#include <rover/messages.h>
#include <rover/packets.h>

#define ROVER_SYSCALLS 512

BPF_TABLE("array", u32, u32, rover_kinds, ROVER_SYSCALLS);
BPF_TABLE("hash", u32, u32, rover_uring, 1024); /* processes that use io_uring */

/* raw_tracepoint sys_enter(struct pt_regs *regs, long id) */
struct rover_enter {
    u64 regs;
    u64 id;
};

int rover_on_enter(struct rover_enter *ctx)
{
    int zero = 0;
    u64 id = bpf_get_current_pid_tgid(), argument = 0;
    u32 number = ctx->id, thread = id;
    u32 *kind = rover_kinds.lookup(&number);
    if (!kind || !*kind)
        return 0;
    struct rover_config *config = rover_config.lookup(&zero);
    struct rover_call *call = rover_calls.lookup(&thread);
    if (!config)
        return 0;
    if (!call || call->generation != config->generation || call->tgid != id >> 32) {
        if (!rover_watched(config, id >> 32)) {
            if (call)
                call->kind = 0;
            return 0;
        }
        if (!call) {
            struct rover_call fresh = {};
            rover_calls.update(&thread, &fresh);
            call = rover_calls.lookup(&thread);
            if (!call)
                return 0;
        }
        call->generation = config->generation;
        call->tgid = id >> 32;
    }
    call->kind = *kind & ROVER_KIND;
    call->where = *kind & ROVER_WHERE;
    call->regs = ctx->regs;
    call->messages = 0;
    call->since_ns = bpf_ktime_get_ns();
    if (!(*kind & ROVER_AT_EXIT))
        return 0; /* a read or write whose end the socket tells: nothing more for files either */
    call->bytes = call->sk = 0;
    ROVER_READ(argument, ctx->regs, ROVER_SYSCALL_ARGUMENT(0));
    call->fd = argument;
    if (call->kind == ROVER_URING) {
        u32 tgid = id >> 32, yes = 1;
        if (!rover_uring.lookup(&tgid))
            rover_uring.update(&tgid, &yes);
        call->kind = 0;
        return 0;
    }
    if (*kind >> ROVER_FLAGS_SHIFT) {
        u64 flags = 0;
        if (*kind >> ROVER_FLAGS_SHIFT == 3)
            ROVER_READ(flags, ctx->regs, ROVER_SYSCALL_ARGUMENT(2));
        else
            ROVER_READ(flags, ctx->regs, ROVER_SYSCALL_ARGUMENT(3));
        if (flags & (MSG_PEEK | MSG_ERRQUEUE))
            call->kind = 0;
    }
    if (call->kind == ROVER_CLOSING || call->kind == ROVER_CONNECTING || call->kind == ROVER_SPLICING ||
        call->kind == ROVER_ACCEPTING) {
        call->sk = rover_socket(call->fd);
        if (!rover_identify(&call->key, call->sk)) {
            if (call->kind != ROVER_SPLICING)
                call->kind = 0;
            return 0;
        }
        if (call->kind == ROVER_CONNECTING)
            rover_begin_connect(call);
        else
            rover_meet(&call->key, call->sk);
    }
    return 0;
}

/* raw_tracepoint sys_exit(struct pt_regs *regs, long result) */
struct rover_exit {
    u64 regs;
    u64 result;
};

int rover_on_exit(struct rover_exit *ctx)
{
    int zero = 0;
    s64 result = ctx->result;
    u64 id = bpf_get_current_pid_tgid();
    u32 number = 0, thread = id;
    ROVER_READ(number, ctx->regs, ROVER_SYSCALL_NUMBER);
    u32 *kind = rover_kinds.lookup(&number);
    struct rover_config *config = rover_config.lookup(&zero);
    if (!kind || !config || !(*kind & ROVER_AT_EXIT || (*kind && config->datagrams)))
        return 0;
    struct rover_call *call = rover_calls.lookup(&thread);
    u32 epoch = config->epoch & 1;
    int begun = call && call->kind && call->kind == (*kind & ROVER_KIND);
    if ((*kind & ROVER_KIND) == ROVER_ACCEPTING) {
        if (begun || rover_watched(config, id >> 32))
            rover_after_accept(epoch, result, call && begun ? rover_since(call) : 0);
        if (call)
            call->kind = 0;
        return 0;
    }
    if (call && call->kind == ROVER_DATAGRAM)
        rover_after_datagram(ctx, config, call);
    else if (!call || !begun || !(*kind & ROVER_AT_EXIT))
        return 0;
    else if (call->kind == ROVER_CONNECTING)
        rover_after_connect(epoch, call, result);
    else if (call->kind == ROVER_CLOSING)
        rover_after_close(config, call);
    else if (config->lengths)
        rover_after_messages(ctx, config, call, result);
    else
        rover_after_transfer(ctx, config, call, ctx->regs, result);
    call->kind = 0;
    return 0;
}
