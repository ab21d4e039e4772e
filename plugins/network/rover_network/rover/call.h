/* What a thread is in the middle of: shared with the classifiers, which are programs of their own. */
#pragma once

#include <rover/rover.h>

#define ROVER_THREADS 16384
#define ROVER_HEAD 64 /* CLASSIFY_BYTES of rover_core.api */
#define ROVER_HELD 2048 /* bytes that are kept of what a TLS session writes before its socket is known */

/* What kinds of system calls there are; calls.py says which is which, by number. Above the kind: ROVER_AT_EXIT, where a
 * peer's address is, and which argument holds flags (plus one). */
enum rover_kind {
    ROVER_READING = 1, /* one message, or one buffer's worth of a stream */
    ROVER_WRITING,
    ROVER_READING_MANY, /* mmsghdr[] */
    ROVER_WRITING_MANY,
    ROVER_SENDING_FILE,
    ROVER_SPLICING,
    ROVER_CONNECTING,
    ROVER_ACCEPTING,
    ROVER_CLOSING,
    ROVER_URING,
    ROVER_DATAGRAM, /* a ROVER_READING that waits for its sender's address */
    ROVER_MAPPING,  /* code may have come into the process */
    ROVER_EXECUTING,
    ROVER_SETTING, /* an option of a socket */
};
#define ROVER_KIND 0xff
#define ROVER_AT_EXIT 0x100
#define ROVER_IN_ARGUMENT 0x200 /* the address is the fifth argument */
#define ROVER_IN_HEADER 0x400   /* it is in the struct msghdr that is the second */
#define ROVER_IN_VECTOR 0x800   /* the data are in struct iovec[], the second argument */
#define ROVER_WHERE (ROVER_IN_ARGUMENT | ROVER_IN_HEADER | ROVER_IN_VECTOR)
#define ROVER_FLAGS_SHIFT 12

/* A process's use of a socket. peer: of a UDP socket without a fixed other end, a hash of this one. */
struct rover_key {
    u32 inode;
    u32 tgid;
    u64 peer;
};

/* Bytes that went through a socket, on their way to a ring. It is the thread's own, since programs that are called at
 * the ends of system calls may be interrupted by those of another thread. */
struct rover_piece {
    u64 address;  /* of the buffer, or of struct iovec[]; 0: the bytes are out of reach */
    u64 segments; /* of the latter, 0: a buffer */
    u64 length;
    u64 position; /* of the first byte, in what this socket has sent, or received */
    u64 other;    /* of the next byte that goes the other way */
    u64 ended_ns;
    u32 way;      /* 1: sent, 0: received */
    u32 slot;     /* of the classifier that is asked next */
    u32 protocol; /* what a classifier found, from 1 on; 0: nothing */
    u32 said;     /* 1: a request, 2: a response */
    u32 size;     /* of what is in the head */
    u32 from_server; /* from here on while it is shipped; the above then tell what is left */
    u32 event;
    u32 ours;        /* 1: the buffer is the kernel's, and holds no more than ROVER_HELD */
    u32 note;        /* what the parser is to be told before: enum rover_note, from here on of the fast path */
    u64 resume[2];   /* of that: where the client's and the server's bytes go on */
    u64 skip;        /* bytes at the call's begin that the parser is not to get */
    u64 left;        /* that is wanted */
    u64 base;        /* of what is left of the segment */
    u64 room;        /* and its length */
    u32 segment;     /* the next one's number */
    u32 shipped;     /* records */
    u32 behind;     /* so many bytes of the head are of the call before, */
    u64 behind_ns;  /* which ended then */
    u8 head[2 * ROVER_HEAD]; /* no more than half of it is used; the verifier cannot know */
};

/* kind 0: nothing that is counted (any more). */
struct rover_call {
    u64 since_ns;
    u64 sk;
    u64 messages; /* that have moved something, and are counted */
    u64 next;     /* number of the message that comes next */
    u64 bytes;    /* of the datagram that waits for its sender's address */
    u64 number;   /* its own */
    u64 count;    /* of messages that each.h goes through, from here on; */
    u32 followed; /* tail calls so far; */
    u16 anybody;  /* 1: each may have another peer; */
    u16 speaks;   /* 1: one of them was of a protocol that is read */
    u64 regs;       /* the registers it was called with, which are there until it ends */
    struct rover_key key;
    u32 kind;
    u32 where; /* the data and the peer's address are: ROVER_IN_ARGUMENT, ROVER_IN_HEADER, ROVER_IN_VECTOR */
    u32 fd;
    u32 figure; /* of key: what the messages were */
    u64 tls;    /* 1: within a TLS library, about a session whose socket nobody knows */
    struct rover_piece piece;
};

struct rover_record {
    struct rover_key key;
    u64 position;
    u64 other; /* position of what goes the other way */
    u64 began_ns;
    u64 ended_ns;
    u64 after; /* bytes behind these that the same call moved and that are not captured */
    u32 length;
    u8 protocol;
    u8 from_server; /* 1: these are the server's bytes */
    u8 sent;        /* 1: this process sent them */
    u8 event;       /* and the stream's generation */
};

/* Programs of one chain, by tail call: what asks the classifiers, what ships, what looks at encrypted bytes, what goes on
 * with the next of several datagrams, the classifiers, one behind the other and behind them that again, and the fast path and the selector of each protocol that has one, by its number. The
 * kernel follows 33 calls (MAX_TAIL_CALL_CNT): 16 classifiers, a fast path and ROVER_PIECES, beside the first three and
 * ROVER_WANT again. There are two chains: rover_slots for raw tracepoints, rover_tls_slots for uprobes, since a program may
 * only call programs of its own type. */
enum rover_slot {
    ROVER_ASK,
    ROVER_WANT,
    ROVER_SHIP,
    ROVER_RUNS,
    ROVER_CIPHER,
    ROVER_EACH,
    ROVER_CLASSIFIERS,
    ROVER_FAST = 22,
    ROVER_SELECT_ = 38,
    ROVER_SLOTS = 55,
};

/* A read may have waited for what it reads, a write waits for what it has begun. */
static __always_inline u64 rover_began(struct rover_call *call)
{
    return call->piece.way && call->since_ns ? call->since_ns : call->piece.ended_ns;
}

/* Takes what each processor has one of, unless whoever has it was interrupted by somebody who must not: only one of two
 * programs that interrupt each other, wherever they do, gets it. To be given back by rover_release. */
static __always_inline int rover_claim(u32 *users)
{
    __sync_fetch_and_add(users, 1);
    if (*(volatile u32 *)users == 1)
        return 1;
    __sync_fetch_and_add(users, -1);
    return 0;
}

static __always_inline void rover_release(u32 *users)
{
    __sync_fetch_and_add(users, -1);
}

static __always_inline int rover_copy(void *to, u64 size, u64 from, int ours)
{
    return ours ? bpf_probe_read_kernel(to, size, (void *)from) : rover_read_user(to, size, (void *)from);
}

/* Reads the segment of that number. Returns its length. */
static __always_inline u64 rover_segment(struct rover_piece *piece, u32 number, u64 *base)
{
    u64 parts[2] = {}; /* struct iovec */
    if (!piece->segments) {
        *base = piece->address;
        if (number || !piece->address)
            return 0;
        return piece->ours && piece->length > ROVER_HELD ? ROVER_HELD : piece->length;
    }
    if (number >= piece->segments ||
        rover_read_user(parts, sizeof(parts), (void *)(piece->address + sizeof(parts) * (u64)number)))
        return 0;
    *base = parts[0];
    return parts[1];
}

/* Reads the first bytes of a call's data. most: constant; `into` is twice as large, since the verifier cannot know that
 * it is not filled further. Returns how many there are. */
static __always_inline u32 rover_read_first(struct rover_piece *piece, u8 *into, const u32 most)
{
    u64 base = 0;
    u64 wanted = piece->length < most ? piece->length : most;
    u64 at = 0;
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < 4; i++) {
        u64 size = rover_segment(piece, i, &base);
        if (at >= wanted || at >= most)
            break;
        if (size > wanted - at)
            size = wanted - at;
        u64 from = at, bytes = size;
        ROVER_OPAQUE(from);
        ROVER_OPAQUE(bytes);
        if (from >= most || bytes > most)
            break;
        if (rover_copy(into + from, bytes, base, piece->ours))
            break;
        at += bytes;
    }
    return at;
}
