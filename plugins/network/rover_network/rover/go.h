/* Plain text of Go's crypto/tls: uprobes in (*Conn).Read and (*Conn).Write, at begin and at each return instruction.
 * A uretprobe would replace a return address, which Go's runtime finds when it moves a stack, and ends the program.
 *
 * A call may end on another thread than it began on, so what is known of it is kept by its goroutine: the pointer to
 * its runtime.g, which is in a register of its own since Go 1.17. Where Read keeps its arguments on its stack (go.py
 * knows), they are read there when it returns: calls that wait when they begin to be watched, as on every idle
 * connection of a server, are not missed, and nothing needs to be known of their begin.
 *
 * What a server writes is told when Write returns, since an answer lasts until then. What a client writes is told when
 * it begins: another goroutine may have read the answer, and closed the connection, before Write returns. What was
 * moved before an error was moved.
 *
 * Offsets are Go's from 1.17 to 1.26, on processors of 64 bits: tests/support/golayouts.py compares them with what each
 * of these releases says itself. What is found by them is believed if it is a socket of the kind that Go says it is.
 */
#pragma once

#include <rover/tls.h>

#define ROVER_GO_CALLS 16384
#define ROVER_GO_WRAPPERS 4

/* src/cmd/compile/abi-internal.md: where arguments and results are, and the current goroutine; and how far above the
 * stack pointer, at the first and the last instruction, the caller has left room for the arguments. Whether the jump
 * that is probed at the begin is taken, since the stack is too small or the goroutine is to give way (runtime.newstack):
 * then the function is called again, with the same arguments. */
#if defined(__aarch64__) || defined(__TARGET_ARCH_arm64)
#define ROVER_GO_REGISTER(ctx, n) ((ctx)->user_regs.regs[n])
#define ROVER_GO_CURRENT(ctx) ((ctx)->user_regs.regs[28])
#define ROVER_GO_BEGINS_ANEW(ctx) (((ctx)->user_regs.pstate & PSR_C_Z) != PSR_C)
#define PSR_C 0x20000000 /* arch/arm64/include/uapi/asm/ptrace.h */
#define PSR_C_Z 0x60000000
#else
#define ROVER_GO_REGISTER(ctx, n) ((n) == 0 ? (ctx)->ax : (n) == 1 ? (ctx)->bx : (ctx)->cx)
#define ROVER_GO_CURRENT(ctx) ((ctx)->r14)
#define ROVER_GO_BEGINS_ANEW(ctx) ((ctx)->flags & EFLAGS_CF_ZF)
#define EFLAGS_CF_ZF 0x41 /* arch/x86/include/uapi/asm/processor-flags.h */
#endif
#define ROVER_GO_SPILLED 8

/* crypto/tls.Conn.conn is the first member: a type and a pointer to a net.TCPConn or net.UnixConn. These are a pointer
 * to a net.netFD, which begins with an internal/poll.FD. */
#define ROVER_GO_CONN_DATA 8
#define ROVER_GO_IS_CLIENT 16 /* of Conn */
#define ROVER_GO_SYSFD 16 /* of netFD.pfd */
#define ROVER_GO_FAMILY 56 /* of netFD; and sotype */
#define SOCK_STREAM 1

struct rover_go_key {
    u64 goroutine;
    u32 tgid;
    u32 way;
};

struct rover_go_call {
    u64 conn;
    u64 buffer;
    u64 on_stack; /* 1: the buffer is, counted from its end, since stacks are moved */
    u64 since_ns;
};

BPF_TABLE("lru_hash", struct rover_go_key, struct rover_go_call, rover_go_calls, ROVER_GO_CALLS);

/* The struct sock of a net.netFD; 0 if it is none. */
static __always_inline u64 rover_go_netfd(u64 netfd)
{
    s64 fd = -1, kind[2] = {}; /* Go's int */
    u16 family = 0;
    if (!netfd || rover_read_user(kind, sizeof(kind), (void *)(netfd + ROVER_GO_FAMILY)))
        return 0;
    if (rover_read_user(&fd, sizeof(fd), (void *)(netfd + ROVER_GO_SYSFD)) || fd < 0 || fd > 0x7fffffff)
        return 0;
    if (kind[1] != SOCK_STREAM)
        return 0;
    u64 sk = rover_socket(fd);
    if (sk)
        ROVER_SK(family, sk, skc_family);
    return family && family == kind[0] ? sk : 0;
}

/* The struct sock of a crypto/tls.Conn, also where its connection is in the first member of a program's own type, as of
 * those that count or limit connections; 0 if it is not found. */
static __always_inline u64 rover_go_socket(u64 conn)
{
    u64 data = 0, first = 0, sk = 0;
    rover_read_user(&data, sizeof(data), (void *)(conn + ROVER_GO_CONN_DATA));
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < ROVER_GO_WRAPPERS && data; i++) {
        first = 0;
        rover_read_user(&first, sizeof(first), (void *)data);
        sk = rover_go_netfd(first);
        if (sk)
            return sk;
        u64 inner = 0;
        rover_read_user(&inner, sizeof(inner), (void *)(data + ROVER_GO_CONN_DATA));
        data = inner;
    }
    return 0;
}

static __always_inline struct rover_config *rover_go_config(void)
{
    int zero = 0;
    struct rover_config *config = rover_config.lookup(&zero);
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    return config && config->protocols && rover_watched(config, tgid) ? config : NULL;
}

/* runtime.g begins with the lowest address of its stack, and its end. */
static __always_inline u64 rover_go_stack_end(u64 goroutine, u64 address)
{
    u64 stack[2] = {};
    rover_read_user(stack, sizeof(stack), (void *)goroutine);
    return !address || (address >= stack[0] && address < stack[1]) ? stack[1] : 0;
}

static __always_inline struct rover_go_key rover_go_key_of(struct pt_regs *ctx, u32 way)
{
    struct rover_go_key key = {.goroutine = ROVER_GO_CURRENT(ctx), .way = way};
    key.tgid = bpf_get_current_pid_tgid() >> 32;
    return key;
}

static __always_inline int rover_go_tell(struct pt_regs *ctx, u32 way, struct rover_go_call *call, s64 moved)
{
    struct rover_config *config = rover_go_config();
    if (!config || moved <= 0)
        return 0;
    u64 sk = rover_go_socket(call->conn);
    if (sk)
        rover_tls_tell(ctx, config, sk, way, call->buffer, moved, call->since_ns);
    else
        rover_tell(ROVER_TLS_HOMELESS);
    return 0;
}

static __always_inline int rover_go_enter(struct pt_regs *ctx, u32 way)
{
    struct rover_go_key key = rover_go_key_of(ctx, way);
    struct rover_go_call call = {.conn = ROVER_GO_REGISTER(ctx, 0), .buffer = ROVER_GO_REGISTER(ctx, 1)};
    if (ROVER_GO_BEGINS_ANEW(ctx) || !rover_go_config())
        return 0;
    call.since_ns = bpf_ktime_get_ns();
    u8 is_client = 0;
    if (way)
        rover_read_user(&is_client, 1, (void *)(call.conn + ROVER_GO_IS_CLIENT));
    if (is_client)
        return rover_go_tell(ctx, way, &call, ROVER_GO_REGISTER(ctx, 2));
    u64 end = rover_go_stack_end(key.goroutine, call.buffer);
    call.on_stack = end != 0;
    call.buffer -= end;
    rover_go_calls.update(&key, &call);
    return 0;
}

static __always_inline int rover_go_leave(struct pt_regs *ctx, u32 way)
{
    struct rover_go_key key = rover_go_key_of(ctx, way);
    struct rover_go_call *known = rover_go_calls.lookup(&key);
    if (!known)
        return 0;
    struct rover_go_call call = *known;
    rover_go_calls.delete(&key);
    if (call.on_stack)
        call.buffer += rover_go_stack_end(key.goroutine, 0);
    return rover_go_tell(ctx, way, &call, ROVER_GO_REGISTER(ctx, 0));
}

/* func (c *Conn) Write(b []byte) (int, error), and Read, where nothing but the registers tells its arguments */
int rover_go_on_write(struct pt_regs *ctx)
{
    return rover_go_enter(ctx, 1);
}

int rover_go_on_written(struct pt_regs *ctx)
{
    return rover_go_leave(ctx, 1);
}

int rover_go_on_read(struct pt_regs *ctx)
{
    return rover_go_enter(ctx, 0);
}

int rover_go_on_has_read(struct pt_regs *ctx)
{
    return rover_go_leave(ctx, 0);
}

/* Read, where it returns and its arguments are still on its stack. */
int rover_go_on_has_read_kept(struct pt_regs *ctx)
{
    struct rover_go_call call = {};
    u64 arguments[2] = {};
    s64 moved = ROVER_GO_REGISTER(ctx, 0);
    if (moved <= 0 ||
        rover_read_user(arguments, sizeof(arguments), (void *)(ROVER_STACK(ctx) + ROVER_GO_SPILLED)))
        return 0;
    call.conn = arguments[0];
    call.buffer = arguments[1];
    return rover_go_tell(ctx, 0, &call, moved);
}
