/* What was sent and received, as sockets tell it, or else the ends of system calls. */
#pragma once

#include <rover/each.h>

/* An empty message moves nothing, but has its number among several. */
static __always_inline int rover_empty(u64 id)
{
    u32 thread = id;
    struct rover_begun *begun = rover_begun_by(id);
    struct rover_call *call = begun && begun->kind ? rover_calls.lookup(&thread) : NULL;
    if (call && call->since_ns == begun->since_ns)
        call->next++;
    return 0;
}

/* One of several datagrams has come from anybody. Its sender's address is written behind it, so it waits, and the one that
 * waited before has its turn. Returns the length of that one, and puts its number in the other's place; 0: there is none. */
static __always_inline u64 rover_wait(struct rover_call *call, u64 length, u64 *number)
{
    u64 before = call->bytes, which = call->number;
    call->bytes = length;
    call->number = *number;
    *number = which;
    return before;
}

/* A message, or a buffer's worth of a stream, went through a socket. */
static __always_inline int rover_message(void *ctx, u64 sk, s64 result, u64 flags, int figure)
{
    int zero = 0;
    u64 id = bpf_get_current_pid_tgid();
    struct rover_key key = {};
    struct rover_call *call = NULL;
    if (flags & (MSG_PEEK | MSG_ERRQUEUE) || (result < 0 && !rover_failed(result)))
        return 0;
    if (!result)
        return rover_empty(id);
    struct rover_config *config = rover_config.lookup(&zero);
    struct rover_begun *begun = rover_begun_by(id);
    if (!config || !rover_watches(config, begun, id) || !rover_identify(&key, sk))
        return 0;
    struct rover_row *row = rover_row_of(config->epoch & 1, &key, sk);
    if (!row)
        return 0;
    if (result < 0) {
        __sync_fetch_and_add(&row->errors, 1);
        return 0;
    }
    u32 kind = begun ? begun->kind & ROVER_KIND : 0;
    int several = kind >= ROVER_READING_MANY && kind <= ROVER_SPLICING;
    int anybody = kind && row->facts.protocol == IPPROTO_UDP && !row->facts.remote_port;
    if (begun && kind && (several || anybody || config->protocols))
        call = rover_call_of(begun);
    u64 number = call ? call->next++ : 0;
    if (call && anybody) {
        if (figure == ROVER_READ_ && call->where & (ROVER_IN_ARGUMENT | ROVER_IN_HEADER)) {
            call->key = key;
            call->sk = sk;
            if (!several)
                begun->kind = ROVER_DATAGRAM | ROVER_AT_EXIT;
            result = rover_wait(call, result, &number);
            if (!result)
                return 0;
        }
        rover_address_key(&key, sk, rover_address_in(call, number), figure == ROVER_WRITE);
        row = rover_row(config->epoch & 1, &key);
        if (!row)
            return 0;
    }
    if (call && config->protocols) {
        call->sk = sk;
        rover_locate(call, kind, number);
    }
    if (call && several) {
        call->key = key;
        call->figure = figure;
        call->messages++;
        __sync_fetch_and_add(&row->sums[figure].bytes, result);
    } else {
        rover_add(row, figure, result, begun && kind ? rover_since(begun->since_ns) : 0);
        if (begun)
            begun->kind = 0;
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

/* Without sock_*_length: what a read or write came to. */
static __always_inline void rover_after_transfer(void *ctx, struct rover_config *config, struct rover_call *call, s64 result)
{
    u32 epoch = config->epoch & 1, kind = call->kind;
    u64 other = 0, sk = rover_socket(call->fd);
    int reading = call->kind == ROVER_READING || call->kind == ROVER_READING_MANY;
    int many = call->kind == ROVER_READING_MANY || call->kind == ROVER_WRITING_MANY;
    if (call->kind == ROVER_SPLICING) {
        reading = sk != 0;
        ROVER_READ(other, call->regs, ROVER_SYSCALL_ARGUMENT(2));
        if (!sk)
            sk = rover_socket(other);
    }
    if (!result || !rover_identify(&call->key, sk))
        return;
    struct rover_row *row = rover_row_of(epoch, &call->key, sk);
    int datagrams = row && row->facts.protocol == IPPROTO_UDP && result > 0;
    int anybody = datagrams && !row->facts.remote_port;
    if (datagrams && many)
        rover_go_through(ctx, call, sk, result, anybody);
    if (anybody && !many) {
        rover_address_key(&call->key, sk, rover_address_in(call, 0), !reading);
        row = rover_row(epoch, &call->key);
    }
    if (!row)
        return;
    if (result < 0) {
        if (rover_failed(result))
            __sync_fetch_and_add(&row->errors, 1);
        return;
    }
    call->sk = sk;
    rover_locate(call, kind, 0);
    if (many) {
        call->piece.address = 0; /* they are several: a gap */
        result = rover_many(rover_vector(call), 0, result);
    }
    if (reading) {
        rover_add(row, ROVER_READ_, result, rover_since(call->since_ns));
    } else {
        rover_add(row, ROVER_WRITE, result, rover_since(call->since_ns));
        rover_add_rtt(row, sk);
    }
    rover_pass_on(ctx, config, call, &call->key, kind, !reading, result);
}

/* With sock_*_length: a call of several messages is over, which have told their bytes. */
static __always_inline void rover_after_messages(struct rover_config *config, struct rover_call *call, s64 result)
{
    u32 epoch = config->epoch & 1;
    if (call->messages) {
        struct rover_row *row = rover_row(epoch, &call->key);
        if (row && call->figure == ROVER_WRITE)
            rover_add(row, ROVER_WRITE, 0, rover_since(call->since_ns));
        else if (row)
            rover_add(row, ROVER_READ_, 0, rover_since(call->since_ns));
    } else if (call->kind == ROVER_SPLICING && call->sk && result > 0) {
        /* tcp_splice_read and its like tell nobody. */
        struct rover_row *row = rover_row_of(epoch, &call->key, call->sk);
        if (row)
            rover_add(row, ROVER_READ_, result, rover_since(call->since_ns));
        rover_pass_by(config, &call->key, 0, result);
    }
}

/* What came from anybody, the last of several: by now its sender's address is where the caller wanted it. */
static __always_inline void rover_after_datagram(void *ctx, struct rover_config *config, struct rover_call *call)
{
    u32 kind = call->kind;
    call->key.peer = 0;
    rover_address_key(&call->key, call->sk, rover_address_in(call, call->number), 0);
    struct rover_row *row = rover_row(config->epoch & 1, &call->key);
    if (row)
        rover_add(row, ROVER_READ_, call->bytes, rover_since(call->since_ns));
    rover_locate(call, kind, call->number);
    rover_pass_on(ctx, config, call, &call->key, kind, 0, call->bytes);
}
