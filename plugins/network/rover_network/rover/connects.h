/* Connections begin and end: connect, accept and close, and the handshakes of those who do not wait. */
#pragma once

#include <rover/capture.h>
#include <rover/current.h>

/* include/net/tcp_states.h */
#define TCP_SYN_SENT 2
#define TCP_CLOSE 7

static __always_inline void rover_begin_connect(struct rover_call *call)
{
    u64 sk = call->sk, address = 0;
    u8 state = 0;
    struct rover_connecting fresh = {.key = call->key, .since_ns = call->since_ns};
    struct rover_connection *connection = rover_meet(&call->key, sk);
    ROVER_SK(state, sk, skc_state);
    if (!connection || (state != TCP_CLOSE && connection->facts.protocol != IPPROTO_UDP))
        return; /* it asks what became of its EINPROGRESS */
    connection->facts.role = ROVER_CLIENT;
    if (connection->facts.family != AF_UNIX) { /* one that fails never has the other end in its socket */
        ROVER_READ(address, call->regs, ROVER_SYSCALL_ARGUMENT(1));
        rover_read_address(&connection->facts, address);
    }
    rover_connecting.update(&sk, &fresh);
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
    if (connection && !row->facts.shared)
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
        rover_add(row, ROVER_CLOSE, 0, rover_since(call->since_ns));
    if (rover_inode(call->sk) == call->key.inode)
        return; /* another descriptor holds it */
    struct rover_connection *connection = rover_connections.lookup(&call->key);
    if (connection)
        rover_ship_end(config, &call->key, connection);
    if (rover_connections.delete(&call->key) == 0)
        rover_tell(ROVER_GONE_CONNECTIONS);
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
