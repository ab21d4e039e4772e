/* What the system calls of sampled messages came to, in packets: records of their own kind, in front of the data that
 * such a call moved. Only while messages are sampled (rover_policy.content).
 *
 * A packet is what the kernel's network layers take for one: when it leaves within a call that sends, by the length
 * that IP gives it, which a device may still cut to size; when it is received, what a call copied of it.
 *
 * Included by capture.h. User side: details.py, packetprobes.py; keep the structures in step.
 */
#pragma once

#include <rover/current.h>

/* A thread's present call. */
struct rover_detail {
    u64 since_ns;
    u64 sk;
    u64 device; /* that packets left by first: below it they may pass others, as from a container */
    u64 bytes;
    u32 packets;
    u32 ifindex;
};

/* What is behind the head of a record of ROVER_OF_CALL, whose times are the call's. */
struct rover_call_detail {
    u64 bytes;
    u32 packets;
    u32 ifindex;
    u32 rtt_us;   /* 0: not known */
    u16 function; /* of rover_functions */
    u16 encrypted; /* 1: the data that it moved come apart from it, in front of a call that sends, else behind it */
};

BPF_TABLE("lru_hash", u32, struct rover_detail, rover_details, 4096);
BPF_TABLE("array", u32, u32, rover_functions, 512); /* by number of the system call; 0: none whose name is known */

static __always_inline int rover_kind_sends(u32 kind)
{
    return kind == ROVER_WRITING || kind == ROVER_WRITING_MANY || kind == ROVER_SENDING_FILE || kind == ROVER_SPLICING;
}

static __always_inline int rover_kind_receives(u32 kind)
{
    return kind == ROVER_READING || kind == ROVER_READING_MANY || kind == ROVER_DATAGRAM;
}

/* Of the call that this thread is in; NULL if it is none of that kind, or nobody watches it. */
static __always_inline struct rover_detail *rover_detail_of(struct rover_begun *begun, u64 id)
{
    int zero = 0;
    u32 thread = id;
    struct rover_config *config = rover_config.lookup(&zero);
    if (!config || !rover_watches(config, begun, id))
        return NULL;
    struct rover_detail *known = rover_details.lookup(&thread);
    if (known && known->since_ns == begun->since_ns)
        return known;
    struct rover_detail fresh = {.since_ns = begun->since_ns};
    rover_details.update(&thread, &fresh);
    return rover_details.lookup(&thread);
}

/* The socket that the current call sends to. */
static __always_inline u64 rover_sending(struct rover_begun *begun)
{
    u64 fd = 0;
    if ((begun->kind & ROVER_KIND) == ROVER_SPLICING)
        ROVER_READ(fd, begun->regs, ROVER_SYSCALL_ARGUMENT(2));
    else
        ROVER_READ(fd, begun->regs, ROVER_SYSCALL_ARGUMENT(0));
    return rover_socket(fd);
}

/* raw_tracepoint net_dev_queue(struct sk_buff *skb), also of what others' packets made this thread send meanwhile */
struct rover_leaving {
    u64 skb;
};

int rover_on_leaving(struct rover_leaving *ctx)
{
    u64 id = bpf_get_current_pid_tgid(), sk = 0, device = 0, head = 0, data = 0;
    u32 length = 0;
    u16 network = 0;
    struct rover_begun *begun = rover_begun_by(id);
    if (!begun || !rover_kind_sends(begun->kind & ROVER_KIND))
        return 0;
    ROVER_READ(sk, ctx->skb, ROVER_OFFSET_sk_buff_sk);
    struct rover_detail *detail = sk ? rover_detail_of(begun, id) : NULL;
    if (!detail)
        return 0;
    ROVER_READ(device, ctx->skb, ROVER_OFFSET_sk_buff_dev);
    if (!detail->device) {
        detail->sk = rover_sending(begun);
        if (detail->sk == sk) {
            detail->device = device;
            ROVER_READ(detail->ifindex, device, ROVER_OFFSET_net_device_ifindex);
        }
    }
    if (detail->sk != sk || detail->device != device)
        return 0;
    ROVER_READ(length, ctx->skb, ROVER_OFFSET_sk_buff_len);
    ROVER_READ(head, ctx->skb, ROVER_OFFSET_sk_buff_head);
    ROVER_READ(data, ctx->skb, ROVER_OFFSET_sk_buff_data);
    ROVER_READ(network, ctx->skb, ROVER_OFFSET_sk_buff_network_header);
    detail->packets++;
    detail->bytes += length - (head + network - data); /* less the device's own header, which IP has not */
    return 0;
}

/* raw_tracepoint skb_copy_datagram_iovec(const struct sk_buff *skb, int len): to the reader, each packet once a call */
struct rover_copied {
    u64 skb;
    u64 length;
};

int rover_on_copied(struct rover_copied *ctx)
{
    u64 id = bpf_get_current_pid_tgid();
    struct rover_begun *begun = rover_begun_by(id);
    if (!begun || !rover_kind_receives(begun->kind & ROVER_KIND))
        return 0;
    struct rover_detail *detail = rover_detail_of(begun, id);
    if (!detail)
        return 0;
    ROVER_READ(detail->ifindex, ctx->skb, ROVER_OFFSET_sk_buff_skb_iif);
    detail->packets++;
    detail->bytes += (u32)ctx->length;
    return 0;
}

static __always_inline u32 rover_round_trip(struct rover_call *call, struct rover_connection *connection)
{
    u32 srtt = 0;
    if (call->sk && connection->facts.protocol == IPPROTO_TCP && connection->facts.family != AF_UNIX)
        ROVER_READ(srtt, call->sk, ROVER_OFFSET_tcp_sock_srtt_us);
    return srtt >> 3;
}

/* Whether messages of this connection are sampled, as far as the kernel knows; of one whose protocol is not known yet, of
 * any. */
static __always_inline int rover_is_sampled(struct rover_stream *stream)
{
    u32 number = stream->protocol;
    struct rover_policy *policy = rover_policies.lookup(&number);
    return policy && policy->content;
}

/* What the call was whose data are about to be shipped; encrypted: or may be, by what encrypts or decrypts them. */
static __always_inline void rover_ship_detail(struct rover_config *config, struct rover_call *call,
                                              struct rover_connection *connection, int encrypted)
{
    struct {
        struct rover_record head;
        struct rover_call_detail call;
    } record = {};
    u32 thread = bpf_get_current_pid_tgid(), number = 0, ring_number = rover_ring_of(config, &call->key);
    struct rover_piece *piece = &call->piece;
    struct rover_begun *begun = rover_begun_by(bpf_get_current_pid_tgid());
    if (!begun || begun->since_ns != call->since_ns)
        return; /* the data are not a system call's */
    ROVER_READ(number, begun->regs, ROVER_SYSCALL_NUMBER);
    u32 *function = rover_functions.lookup(&number);
    void *ring = rover_rings.lookup(&ring_number);
    u64 *shipped = rover_shipped.lookup(&ring_number);
    if (!function || !*function || !ring || !shipped)
        return;
    struct rover_detail *detail = rover_details.lookup(&thread);
    if (detail && detail->since_ns == call->since_ns) {
        record.call.bytes = detail->bytes;
        record.call.packets = detail->packets;
        record.call.ifindex = detail->ifindex;
        detail->bytes = detail->packets = 0; /* of a call that moves its bytes in several portions, each is told */
    }
    record.call.rtt_us = rover_round_trip(call, connection);
    record.call.function = *function;
    record.call.encrypted = encrypted;
    record.head.key = call->key;
    record.head.position = piece->position;
    record.head.other = piece->other;
    record.head.began_ns = call->since_ns;
    record.head.ended_ns = piece->ended_ns;
    record.head.length = sizeof(record.call);
    record.head.protocol = connection->stream.protocol;
    record.head.from_server = piece->from_server;
    record.head.sent = piece->way;
    record.head.event = piece->event | ROVER_OF_CALL;
    if (bpf_ringbuf_output(ring, &record, sizeof(record), 0))
        rover_tell(ROVER_RING_FULL);
    else
        (*shipped)++;
}
