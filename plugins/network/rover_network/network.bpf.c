/* Layer 4: what processes do with sockets, and what becomes of their packets.
 *
 * Calls and bytes are counted where the kernel says how long a message was (sock_send_length, sock_recv_length, 6.3),
 * or else at the end of the system call. Their begin is stamped at its entry, for the execution time; an end is looked
 * at for accept, connect, close and those calls that send or receive several messages.
 */
#include <rover/datagrams.h>
#include <rover/capture.h>

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
/* include/net/tcp_states.h */
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_CLOSE 7

#define ROVER_SYSCALLS 512

BPF_TABLE("array", u32, u32, rover_kinds, ROVER_SYSCALLS);
BPF_TABLE("hash", u32, u32, rover_uring, 1024); /* processes that use io_uring */

/* Connections are met, and rows begun, where a socket is at hand. 0 if no process holds it. */
static __always_inline int rover_identify(struct rover_key *key, u64 sk)
{
    key->tgid = bpf_get_current_pid_tgid() >> 32;
    key->inode = sk ? rover_inode(sk) : 0;
    key->peer = 0;
    return key->inode != 0;
}

static __always_inline u64 rover_since(struct rover_call *call)
{
    u64 ns = bpf_ktime_get_ns() - call->since_ns;
    return ns ? ns : 1;
}

static __always_inline int rover_failed(s64 result)
{
    return result < 0 && result > -ERESTARTSYS && result != -EAGAIN && result != -EINTR && result != -EINPROGRESS &&
           result != -EALREADY && result != -EISCONN;
}

static __always_inline void rover_begin_connect(struct rover_call *call)
{
    u64 sk = call->sk;
    u8 state = 0;
    struct rover_connecting fresh = {.key = call->key, .since_ns = call->since_ns};
    struct rover_connection *connection = rover_meet(&call->key, sk);
    ROVER_SK(state, sk, skc_state);
    if (!connection || (state != TCP_CLOSE && connection->facts.protocol != IPPROTO_UDP))
        return; /* it asks what became of its EINPROGRESS */
    connection->facts.role = ROVER_CLIENT;
    rover_connecting.update(&sk, &fresh);
}

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

/* Where in user space the current call has its peer's address; 0 if it has none. message: which of several. */
static __always_inline u64 rover_address_in(struct rover_call *call, u64 message)
{
    u64 header = 0, address = 0;
    if (call->where & ROVER_IN_ARGUMENT) {
        ROVER_READ(address, call->regs, ROVER_SYSCALL_ARGUMENT(4));
    } else if (call->where & ROVER_IN_HEADER) {
        ROVER_READ(header, call->regs, ROVER_SYSCALL_ARGUMENT(1));
        bpf_probe_read_user(&address, sizeof(address), (void *)(header + 64 * message)); /* msg_name comes first */
    }
    return address;
}

/* A message, or a buffer's worth of a stream, went through a socket. */
static __always_inline int rover_message(void *ctx, u64 sk, s64 result, u64 flags, int figure)
{
    int zero = 0;
    u64 id = bpf_get_current_pid_tgid();
    u32 thread = id;
    struct rover_key key = {};
    if (!result || flags & (MSG_PEEK | MSG_ERRQUEUE) || (result < 0 && !rover_failed(result)))
        return 0;
    struct rover_config *config = rover_config.lookup(&zero);
    struct rover_call *call = rover_calls.lookup(&thread);
    int begun = call && call->kind; /* only calls of watched processes are stamped */
    if (!config || !(begun || rover_watched(config, id >> 32)) || !rover_identify(&key, sk))
        return 0;
    struct rover_row *row = rover_row_of(config->epoch & 1, &key, sk);
    if (!row)
        return 0;
    if (result < 0) {
        __sync_fetch_and_add(&row->errors, 1);
        return 0;
    }
    if (call && begun && row->facts.protocol == IPPROTO_UDP && !row->facts.remote_port) {
        if (figure == ROVER_WRITE) {
            rover_address_key(&key, sk, rover_address_in(call, call->messages), 1);
        } else if (call->kind == ROVER_READING) {
            config->datagrams = 1;
            call->kind = ROVER_DATAGRAM;
            call->key = key;
            call->sk = sk;
            call->bytes = result;
            return 0;
        }
        row = rover_row(config->epoch & 1, &key);
        if (!row)
            return 0;
    }
    u32 kind = begun ? call->kind : 0;
    if (call && begun && config->protocols)
        rover_locate(call, kind, call->messages);
    if (call && call->kind >= ROVER_READING_MANY && call->kind <= ROVER_SPLICING) {
        call->key = key;
        call->figure = figure;
        call->messages++;
        __sync_fetch_and_add(&row->sums[figure].bytes, result);
    } else {
        rover_add(row, figure, result, call && begun ? rover_since(call) : 0);
        if (call)
            call->kind = 0;
    }
    if (figure == ROVER_WRITE)
        rover_add_rtt(row, sk);
    rover_pass_on(ctx, config, call, &key, kind, figure == ROVER_WRITE, result);
    return 0;
}

/* raw_tracepoint sock_send_length(struct sock *sk, int result, int flags), sock_recv_length the same */
struct rover_length {
    u64 sk;
    u64 result;
    u64 flags;
};

int rover_on_sent(struct rover_length *ctx)
{
    return rover_message(ctx, ctx->sk, (s32)ctx->result, (u32)ctx->flags, ROVER_WRITE);
}

int rover_on_received(struct rover_length *ctx)
{
    return rover_message(ctx, ctx->sk, (s32)ctx->result, (u32)ctx->flags, ROVER_READ_);
}

/* A connection is made, by whoever can take the entry away. */
static __always_inline void rover_end_connect(u32 epoch, u64 sk, struct rover_key *key, u64 ns)
{
    struct rover_key whose = *key;
    if (rover_connecting.delete(&sk))
        return;
    struct rover_connection *connection = rover_connections.lookup(&whose);
    if (connection)
        rover_read_ends(sk, &connection->facts);
    struct rover_row *row = rover_row(epoch, &whose);
    if (!row)
        return;
    if (connection)
        row->facts = connection->facts;
    rover_add(row, ROVER_CONNECT, 0, ns ? ns : 1);
}

static __always_inline void rover_fail_connect(u32 epoch, u64 sk, struct rover_key *key)
{
    struct rover_key whose = *key;
    if (rover_connecting.delete(&sk))
        return;
    struct rover_row *row = rover_row(epoch, &whose);
    if (row)
        __sync_fetch_and_add(&row->errors, 1);
}

static __always_inline void rover_after_connect(u32 epoch, struct rover_call *call, s64 result)
{
    u64 sk = call->sk;
    struct rover_connecting *known = rover_connecting.lookup(&sk);
    if (!known)
        return;
    if (result == 0) {
        rover_end_connect(epoch, sk, &call->key, bpf_ktime_get_ns() - known->since_ns);
    } else if (result == -EINPROGRESS) {
        known->later = 1;
        /* The handshake may have ended while this was set: then nobody else will count it. */
        if (known->done_ns)
            rover_end_connect(epoch, sk, &call->key, known->done_ns - known->since_ns);
    } else if (rover_failed(result)) {
        rover_fail_connect(epoch, sk, &call->key);
    }
}

/* ns: how long it waited, 0 if it did already when its process began to be watched. */
static __always_inline void rover_after_accept(u32 epoch, s64 result, u64 ns)
{
    struct rover_key key = {};
    u64 sk = result >= 0 ? rover_socket(result) : 0;
    if (!rover_identify(&key, sk))
        return;
    struct rover_connection *connection = rover_meet(&key, sk);
    if (connection)
        connection->facts.role = ROVER_SERVER;
    struct rover_row *row = rover_row(epoch, &key);
    if (!row)
        return;
    row->facts.role = ROVER_SERVER;
    rover_add(row, ROVER_CONNECT, 0, ns);
}

static __always_inline void rover_after_close(struct rover_config *config, struct rover_call *call)
{
    struct rover_row *row = rover_row(config->epoch & 1, &call->key);
    if (row)
        rover_add(row, ROVER_CLOSE, 0, rover_since(call));
    if (rover_inode(call->sk) == call->key.inode)
        return; /* another descriptor holds it */
    struct rover_connection *connection = rover_connections.lookup(&call->key);
    if (connection)
        rover_ship_end(config, &call->key, connection);
    if (rover_connections.delete(&call->key) == 0)
        rover_tell(ROVER_GONE_CONNECTIONS);
}

/* The bytes of the first `count` messages of struct mmsghdr[]: 64 bytes each, msg_len behind a 56-byte msghdr. */
static __always_inline u64 rover_many(u64 vector, s64 count)
{
    u64 bytes = 0;
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < 256; i++) {
        u32 length = 0;
        if (i >= count)
            break;
        bpf_probe_read_user(&length, sizeof(length), (void *)(vector + 64ULL * i + 56));
        bytes += length;
    }
    return bytes;
}

/* Without sock_*_length: what a read or write came to. */
static __always_inline void rover_after_transfer(void *ctx, struct rover_config *config, struct rover_call *call, u64 regs,
                                                 s64 result)
{
    u32 epoch = config->epoch & 1, kind = call->kind;
    struct rover_key key = {};
    u64 vector = 0, other = 0, sk = rover_socket(call->fd);
    int reading = call->kind == ROVER_READING || call->kind == ROVER_READING_MANY;
    if (call->kind == ROVER_SPLICING) {
        reading = sk != 0;
        ROVER_READ(other, regs, ROVER_SYSCALL_ARGUMENT(2));
        if (!sk)
            sk = rover_socket(other);
    }
    if (!result || !rover_identify(&key, sk))
        return;
    struct rover_row *row = rover_row_of(epoch, &key, sk);
    if (row && row->facts.protocol == IPPROTO_UDP && !row->facts.remote_port && result > 0) {
        rover_address_key(&key, sk, rover_address_in(call, 0), !reading);
        row = rover_row(epoch, &key);
    }
    if (!row)
        return;
    if (result < 0) {
        if (rover_failed(result))
            __sync_fetch_and_add(&row->errors, 1);
        return;
    }
    rover_locate(call, kind, 0);
    if (call->kind == ROVER_READING_MANY || call->kind == ROVER_WRITING_MANY) {
        call->piece.address = 0; /* they are several: a gap */
        ROVER_READ(vector, regs, ROVER_SYSCALL_ARGUMENT(1));
        result = rover_many(vector, result);
    }
    if (reading) {
        rover_add(row, ROVER_READ_, result, rover_since(call));
    } else {
        rover_add(row, ROVER_WRITE, result, rover_since(call));
        rover_add_rtt(row, sk);
    }
    call->kind = 0;
    rover_pass_on(ctx, config, call, &key, kind, !reading, result);
}

/* With sock_*_length: a call of several messages is over, which have told their bytes. */
static __always_inline void rover_after_messages(void *ctx, struct rover_config *config, struct rover_call *call, s64 result)
{
    u32 epoch = config->epoch & 1, kind = call->kind;
    if (call->messages) {
        struct rover_row *row = rover_row(epoch, &call->key);
        if (row && call->figure == ROVER_WRITE)
            rover_add(row, ROVER_WRITE, 0, rover_since(call));
        else if (row)
            rover_add(row, ROVER_READ_, 0, rover_since(call));
    } else if (call->kind == ROVER_SPLICING && call->sk && result > 0) {
        /* tcp_splice_read and its like tell nobody. */
        struct rover_row *row = rover_row_of(epoch, &call->key, call->sk);
        if (row)
            rover_add(row, ROVER_READ_, result, rover_since(call));
        rover_locate(call, kind, 0);
        call->kind = 0;
        rover_pass_on(ctx, config, call, &call->key, kind, 0, result);
    }
}

/* What came from anybody: by now its sender's address is where the caller wanted it. */
static __always_inline void rover_after_datagram(void *ctx, struct rover_config *config, struct rover_call *call)
{
    u32 kind = call->kind;
    rover_address_key(&call->key, call->sk, rover_address_in(call, 0), 0);
    struct rover_row *row = rover_row(config->epoch & 1, &call->key);
    if (row)
        rover_add(row, ROVER_READ_, call->bytes, rover_since(call));
    rover_locate(call, kind, 0);
    call->kind = 0;
    rover_pass_on(ctx, config, call, &call->key, kind, 0, call->bytes);
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

/* raw_tracepoint inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate) */
struct rover_state {
    u64 sk;
    u64 before;
    u64 after;
};

int rover_on_state(struct rover_state *ctx)
{
    int zero = 0;
    u64 sk = ctx->sk;
    u32 before = ctx->before, after = ctx->after;
    if (before != TCP_SYN_SENT)
        return 0;
    struct rover_connecting *known = rover_connecting.lookup(&sk);
    struct rover_config *config = rover_config.lookup(&zero);
    if (!known || !config)
        return 0;
    if (after == TCP_CLOSE) {
        if (known->later)
            rover_fail_connect(config->epoch & 1, sk, &known->key);
        return 0;
    }
    known->done_ns = bpf_ktime_get_ns();
    if (known->later)
        rover_end_connect(config->epoch & 1, sk, &known->key, known->done_ns - known->since_ns);
    return 0;
}

/* raw_tracepoint tcp_destroy_sock(struct sock *sk): its address may be another's from now on. */
struct rover_destroyed {
    u64 sk;
};

int rover_on_destroyed(struct rover_destroyed *ctx)
{
    int zero = 0;
    u64 sk = ctx->sk;
    struct rover_key *owner = rover_owners.lookup(&sk);
    struct rover_config *config = rover_config.lookup(&zero);
    if (owner && config && config->protocols) {
        struct rover_key key = *owner;
        struct rover_connection *connection = rover_connections.lookup(&key);
        if (connection)
            rover_ship_end(config, &key, connection);
    }
    rover_owners.delete(&sk);
    return 0;
}

/* The row of a socket's owner, whoever was interrupted. */
static __always_inline struct rover_row *rover_owned(u64 sk, struct rover_key *key)
{
    int zero = 0;
    struct rover_config *config = rover_config.lookup(&zero);
    struct rover_key *owner = sk ? rover_owners.lookup(&sk) : NULL;
    if (!owner || !config)
        return NULL;
    *key = *owner;
    u32 inode = rover_inode(sk);
    if (inode && inode != key->inode) {
        rover_owners.delete(&sk); /* a UDP or Unix socket at the address of one that is gone */
        return NULL;
    }
    return rover_row(config->epoch & 1, key);
}

/* raw_tracepoint tcp_retransmit_skb(const struct sock *sk, const struct sk_buff *skb, ...) */
struct rover_retransmitted {
    u64 sk;
    u64 skb;
};

int rover_on_retransmitted(struct rover_retransmitted *ctx)
{
    struct rover_key key = {};
    u16 segments = 0;
    struct rover_row *row = rover_owned(ctx->sk, &key);
    if (!row)
        return 0;
    /* tcp_skb_pcount(), by which the kernel counts RetransSegs itself. */
    ROVER_READ(segments, ctx->skb, ROVER_OFFSET_sk_buff_cb + ROVER_OFFSET_tcp_skb_cb_tcp_gso_segs);
    __sync_fetch_and_add(&row->retransmits, segments ? segments : 1);
    return 0;
}

/* raw_tracepoint tcp_retransmit_synack(const struct sock *sk, const struct request_sock *req): sk listens. */
int rover_on_synack(struct rover_retransmitted *ctx)
{
    struct rover_key key = {};
    struct rover_row *row = rover_owned(ctx->sk, &key);
    if (row)
        __sync_fetch_and_add(&row->retransmits, 1);
    return 0;
}

static __always_inline int rover_drop(u64 sk, u64 reason)
{
    u64 one = 1;
    struct rover_reason why = {.reason = reason};
    struct rover_row *row = rover_owned(sk, &why.key);
    if (!row)
        return 0;
    __sync_fetch_and_add(&row->drops, 1);
    u64 *known = rover_reasons.lookup(&why);
    if (known)
        __sync_fetch_and_add(known, 1);
    else
        rover_reasons.update(&why, &one);
    return 0;
}

/* raw_tracepoint kfree_skb(struct sk_buff *skb, void *location, enum skb_drop_reason reason, struct sock *rx_sk);
 * the reason since 5.17, rx_sk since 6.11. */
struct rover_freed {
    u64 skb;
    u64 location;
    u64 reason;
    u64 rx_sk;
};

static __always_inline int rover_dropped(u64 skb, u64 sk, u32 reason)
{
    if (reason <= ROVER_REASON_NOT_SPECIFIED)
        return 0;
    if (!sk)
        ROVER_READ(sk, skb, ROVER_OFFSET_sk_buff_sk);
    return rover_drop(sk, reason);
}

int rover_on_freed(struct rover_freed *ctx)
{
    return rover_dropped(ctx->skb, ctx->rx_sk, ctx->reason);
}

/* Where there is no rx_sk: a tracepoint is refused to a program that reads more arguments than it has. */
int rover_on_freed_skb(struct rover_freed *ctx)
{
    return rover_dropped(ctx->skb, 0, ctx->reason);
}

/* raw_tracepoint sock_rcvqueue_full(struct sock *sk, struct sk_buff *skb) */
int rover_on_queue_full(struct rover_retransmitted *ctx)
{
    return rover_drop(ctx->sk, 0);
}
