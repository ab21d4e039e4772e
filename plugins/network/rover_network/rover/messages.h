/* What was sent and received, as sockets tell it, or else the ends of system calls. */
#pragma once

#include <rover/capture.h>
#include <rover/current.h>

/* Where in user space the current call has its peer's address; 0 if it has none. message: which of several. */
static __always_inline u64 rover_address_in(struct rover_call *call, u64 message)
{
    u64 header = 0, address = 0;
    if (call->where & ROVER_IN_ARGUMENT) {
        ROVER_READ(address, call->regs, ROVER_SYSCALL_ARGUMENT(4));
    } else if (call->where & ROVER_IN_HEADER) {
        ROVER_READ(header, call->regs, ROVER_SYSCALL_ARGUMENT(1));
        rover_read_user(&address, sizeof(address), (void *)(header + 64 * message)); /* msg_name comes first */
    }
    return address;
}

/* A message, or a buffer's worth of a stream, went through a socket. */
static __always_inline int rover_message(void *ctx, u64 sk, s64 result, u64 flags, int figure)
{
    int zero = 0;
    u64 id = bpf_get_current_pid_tgid();
    struct rover_key key = {};
    struct rover_call *call = NULL;
    if (!result || flags & (MSG_PEEK | MSG_ERRQUEUE) || (result < 0 && !rover_failed(result)))
        return 0;
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
    if (call && anybody) {
        if (figure == ROVER_WRITE) {
            rover_address_key(&key, sk, rover_address_in(call, call->messages), 1);
        } else if (kind == ROVER_READING && call->where & (ROVER_IN_ARGUMENT | ROVER_IN_HEADER)) {
            begun->kind = ROVER_DATAGRAM | ROVER_AT_EXIT;
            call->key = key;
            call->sk = sk;
            call->bytes = result;
            return 0;
        }
        row = rover_row(config->epoch & 1, &key);
        if (!row)
            return 0;
    }
    if (call && config->protocols) {
        call->sk = sk;
        rover_locate(call, kind, call->messages);
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

/* The bytes of the first `count` messages of struct mmsghdr[]: 64 bytes each, msg_len behind a 56-byte msghdr. */
static __always_inline u64 rover_many(u64 vector, s64 count)
{
    u64 bytes = 0;
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < 256; i++) {
        u32 length = 0;
        if (i >= count)
            break;
        rover_read_user(&length, sizeof(length), (void *)(vector + 64ULL * i + 56));
        bytes += length;
    }
    return bytes;
}

/* Without sock_*_length: what a read or write came to. */
static __always_inline void rover_after_transfer(void *ctx, struct rover_config *config, struct rover_call *call, s64 result)
{
    u32 epoch = config->epoch & 1, kind = call->kind;
    struct rover_key key = {};
    u64 vector = 0, other = 0, sk = rover_socket(call->fd);
    int reading = call->kind == ROVER_READING || call->kind == ROVER_READING_MANY;
    if (call->kind == ROVER_SPLICING) {
        reading = sk != 0;
        ROVER_READ(other, call->regs, ROVER_SYSCALL_ARGUMENT(2));
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
    call->sk = sk;
    rover_locate(call, kind, 0);
    if (call->kind == ROVER_READING_MANY || call->kind == ROVER_WRITING_MANY) {
        call->piece.address = 0; /* they are several: a gap */
        ROVER_READ(vector, call->regs, ROVER_SYSCALL_ARGUMENT(1));
        result = rover_many(vector, result);
    }
    if (reading) {
        rover_add(row, ROVER_READ_, result, rover_since(call->since_ns));
    } else {
        rover_add(row, ROVER_WRITE, result, rover_since(call->since_ns));
        rover_add_rtt(row, sk);
    }
    rover_pass_on(ctx, config, call, &key, kind, !reading, result);
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

/* What came from anybody: by now its sender's address is where the caller wanted it. */
static __always_inline void rover_after_datagram(void *ctx, struct rover_config *config, struct rover_call *call)
{
    u32 kind = call->kind;
    rover_address_key(&call->key, call->sk, rover_address_in(call, 0), 0);
    struct rover_row *row = rover_row(config->epoch & 1, &call->key);
    if (row)
        rover_add(row, ROVER_READ_, call->bytes, rover_since(call->since_ns));
    rover_locate(call, kind, 0);
    rover_pass_on(ctx, config, call, &call->key, kind, 0, call->bytes);
}
