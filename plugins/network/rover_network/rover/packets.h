/* What becomes of packets, for the owner of their socket, whoever was interrupted. */
#pragma once

#include <rover/capture.h>

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
