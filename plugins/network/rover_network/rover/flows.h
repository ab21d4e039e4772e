/* Counters and histograms of every connection, in rows that user space takes away whole.
 *
 * Rows exist twice. Programs write to the set that `epoch` names; user space flips the epoch, waits until no program
 * can still be using the old set, and empties that: deltas are exact, and a connection that opens and closes between
 * two readings has its row all the same. A row says itself whose it is, so it outlives connection and process.
 *
 * Rows are not per processor: a connection is served by few of them, adding atomically costs it nothing that can be
 * measured, and a row of a kilobyte for each of 128 processors would.
 *
 * Where a set is full, connections that find no room for a row of their own are counted in one that all share which
 * their process has with the same address, as the same end: what is lost is which connection it was, not the event.
 *
 * Knobs: ROVER_ROWS (entries of a set), ROVER_HASH_FLAGS. User side: kernel.py; a test compares the sizes.
 */
#pragma once

#include <rover/call.h>
#include <rover/socket.h>

#define ROVER_BUCKETS 34
#ifndef ROVER_CONNECTIONS
#define ROVER_CONNECTIONS 65536
#endif
#define ROVER_SHARED 1024

enum rover_figure { ROVER_WRITE, ROVER_READ_, ROVER_RTT, ROVER_CONNECT, ROVER_CLOSE, ROVER_FIGURES };

/* Calls whose time is known are in the histogram, the others in `untimed`: those that began before their process was
 * watched, and io_uring's. Each is counted once, since each addition is atomic and costs the target; and what is added
 * to together, the sums and the first buckets, is in one cache line. */
struct rover_sum {
    u64 bytes;
    u64 ns;
    u32 untimed;
    u32 histogram[ROVER_BUCKETS];
    u32 unused;
};

struct rover_row {
    struct rover_facts facts;
    struct rover_sum sums[ROVER_FIGURES];
    u64 retransmits; /* segments */
    u64 drops;       /* packets, received or to be sent */
    u64 errors;      /* calls that failed, but for EAGAIN, EINPROGRESS and interruptions */
};

#define ROVER_MANY_PEERS 1 /* no peer has this number, by a chance of one in 2^63 */

/* What a connection's bytes are, for layer 7. By way: 0 received, 1 sent. */
struct rover_stream {
    u64 position[2]; /* bytes so far */
    u64 turned;      /* where the bytes began that go the present way */
    u64 only;        /* the key's `peer` that a socket without a fixed other end sends to, ROVER_MANY_PEERS if several */
    u32 calls;       /* while its protocol was not known */
    u16 tries;       /* of them shown to the classifiers */
    u8 last;         /* way */
    u8 answers;      /* the way of the server's bytes */
    u32 protocol;    /* 0: not known */
    u32 generation;  /* how often user space wanted to know anew */
};

/* What is known of a connection from its begin on; rows begin with a copy of the facts. */
struct rover_connection {
    struct rover_facts facts;
    struct rover_stream stream;
};

/* A TCP connection that a process is making. since_ns: connect(2) was called. done_ns: the handshake was over. */
struct rover_connecting {
    struct rover_key key;
    u64 since_ns;
    u64 done_ns;
    u64 later; /* 1: connect(2) has returned, EINPROGRESS */
};

struct rover_reason {
    struct rover_key key;
    u64 reason; /* enum skb_drop_reason */
};

/* Whether a watched process receives from anybody, so that ends of receiving calls have to be looked at, and are. */

struct rover_config {
    u32 epoch; /* 0 or 1: the set of rows that is written */
    u32 all;   /* 1: every process, else those in rover_targets */
    u32 lengths; /* 1: sock_send_length and sock_recv_length count calls and bytes, 0: the ends of system calls do */
    u32 renames; /* 1: there is, or was, something in rover_renamed */
    u64 generation; /* of the processes that are watched; never 0 */
    u32 protocols; /* how many are recognised; 0: nothing of layer 7 is done */
    u32 rings;
};

enum rover_tally {
    ROVER_ROWS_FULL, /* events that found no room for a row, */
    ROVER_ROWS_SHARED, /* or only in one that is shared */
    ROVER_NEW_ROWS,
    ROVER_NEW_CONNECTIONS,
    ROVER_GONE_CONNECTIONS,
    ROVER_CALLS_SEEN, /* from here on of layer 7: all calls that moved bytes, */
    ROVER_CALLS_ASKED, /* shown to the classifiers, */
    ROVER_CALLS_SHIPPED, /* of connections whose protocol is known; */
    ROVER_CLASSIFIED, /* connections; */
    ROVER_RING_FULL, /* records that found no room */
    ROVER_TLS_HOMELESS, /* calls of TLS libraries whose socket is not known */
    ROVER_PASSED_OVER, /* datagrams of calls that had too many */
    ROVER_TALLIES,
};

BPF_F_TABLE("hash", struct rover_key, struct rover_row, rover_rows_0, ROVER_ROWS, ROVER_HASH_FLAGS);
BPF_F_TABLE("hash", struct rover_key, struct rover_row, rover_rows_1, ROVER_ROWS, ROVER_HASH_FLAGS);
/* Allocated whole: they are for when there is no room. */
BPF_TABLE("hash", struct rover_key, struct rover_row, rover_shared_0, ROVER_SHARED);
BPF_TABLE("hash", struct rover_key, struct rover_row, rover_shared_1, ROVER_SHARED);
BPF_TABLE("array", int, struct rover_row, rover_blank, 1); /* never written: what a row begins as */
BPF_TABLE_PUBLIC("lru_hash", u32, struct rover_call, rover_calls, ROVER_THREADS);
BPF_TABLE("lru_hash", struct rover_key, struct rover_connection, rover_connections, ROVER_CONNECTIONS);
BPF_TABLE("lru_hash", struct rover_key, u32, rover_renamed, 1024); /* connections that go on with another protocol */
BPF_TABLE("lru_hash", u64, struct rover_key, rover_owners, ROVER_CONNECTIONS);
BPF_TABLE("lru_hash", u64, struct rover_connecting, rover_connecting, ROVER_THREADS);
BPF_TABLE("lru_hash", struct rover_reason, u64, rover_reasons, 4096);
BPF_TABLE("hash", u32, u32, rover_targets, 16384); /* 0: left out of all */
BPF_TABLE("array", int, struct rover_config, rover_config, 1);
BPF_TABLE("percpu_array", int, u64, rover_tally, ROVER_TALLIES);

static __always_inline void rover_tell_many(int tally, u64 times)
{
    u64 *count = rover_tally.lookup(&tally);
    if (count)
        *count += times;
}

static __always_inline void rover_tell(int tally)
{
    u64 *count = rover_tally.lookup(&tally);
    if (count)
        (*count)++;
}

/* Whether this process is watched. Its thread-group id is what user space calls pid. */
static __always_inline int rover_watched(struct rover_config *config, u32 tgid)
{
    u32 *said = rover_targets.lookup(&tgid);
    return tgid && (said ? *said : config->all);
}

/* The connection that a process has by this socket, made known if it was not; NULL for sockets that lead to nobody
 * (netlink, packet, ...). Only for current. */
static __always_inline struct rover_connection *rover_meet(struct rover_key *key, u64 sk)
{
    struct rover_connection *known = rover_connections.lookup(key);
    if (known)
        return known;
    struct rover_connection fresh = {};
    rover_read_ends(sk, &fresh.facts);
    if (fresh.facts.family != AF_INET && fresh.facts.family != AF_INET6 && fresh.facts.family != AF_UNIX)
        return NULL;
    rover_read_owner(&fresh.facts);
    if (rover_connections.insert(key, &fresh) == 0)
        rover_tell(ROVER_NEW_CONNECTIONS);
    rover_owners.update(&sk, key);
    return rover_connections.lookup(key);
}

static __always_inline struct rover_row *rover_find(u32 epoch, struct rover_key *key)
{
    return epoch ? rover_rows_1.lookup(key) : rover_rows_0.lookup(key);
}

/* The key of the row that connections like this one share: inode 0 is no socket's. A server's clients differ in their
 * ports, a client's connections in its own; a socket without another end (one that listens) is known by its own. */
static __always_inline int rover_by_local_port(struct rover_facts *facts)
{
    return facts->role == ROVER_SERVER || !facts->remote_port;
}

static __always_inline void rover_shared_key(struct rover_key *like, struct rover_facts *facts)
{
    u64 *halves = (u64 *)facts->remote;
    u64 kind = (u64)facts->netns << 32 | facts->family << 16 | facts->protocol << 8 | facts->role;
    u64 port = rover_by_local_port(facts) ? facts->local_port : facts->remote_port;
    u64 hash = (halves[0] * 0xff51afd7ed558ccdULL ^ halves[1]) * 0xc4ceb9fe1a85ec53ULL;
    hash = (hash ^ hash >> 33 ^ kind) * 0xff51afd7ed558ccdULL;
    like->inode = 0;
    like->peer = (hash ^ hash >> 33 ^ port) * 0xc4ceb9fe1a85ec53ULL;
}

static __always_inline struct rover_row *rover_shared_row(u32 epoch, u32 tgid, struct rover_facts *facts,
                                                          struct rover_row *blank)
{
    struct rover_key like = {.tgid = tgid};
    rover_shared_key(&like, facts);
    struct rover_row *row = epoch ? rover_shared_1.lookup(&like) : rover_shared_0.lookup(&like);
    if (!row) {
        if (epoch)
            rover_shared_1.insert(&like, blank);
        else
            rover_shared_0.insert(&like, blank);
        row = epoch ? rover_shared_1.lookup(&like) : rover_shared_0.lookup(&like);
        if (!row)
            return NULL;
        row->facts = *facts;
        row->facts.shared = 1;
        row->facts.peer = 0;
        if (rover_by_local_port(facts))
            row->facts.remote_port = 0;
        else
            row->facts.local_port = 0;
    }
    return row;
}

/* This epoch's row of a known connection. NULL if it is not known, or there is no room, which is counted. */
static __always_inline struct rover_row *rover_row(u32 epoch, struct rover_key *key)
{
    int zero = 0;
    struct rover_row *row = rover_find(epoch, key);
    if (row)
        return row;
    struct rover_connection *connection = rover_connections.lookup(key);
    struct rover_row *blank = rover_blank.lookup(&zero);
    if (!blank || !connection)
        return NULL;
    if ((epoch ? rover_rows_1.insert(key, blank) : rover_rows_0.insert(key, blank)) == 0)
        rover_tell(ROVER_NEW_ROWS);
    row = rover_find(epoch, key);
    if (row) {
        row->facts = connection->facts;
        return row;
    }
    row = rover_shared_row(epoch, key->tgid, &connection->facts, blank);
    rover_tell(row ? ROVER_ROWS_SHARED : ROVER_ROWS_FULL);
    return row;
}

/* The row of what current does to a socket, whose connection becomes known by it. */
static __always_inline struct rover_row *rover_row_of(u32 epoch, struct rover_key *key, u64 sk)
{
    struct rover_row *row = rover_find(epoch, key);
    if (row)
        return row;
    struct rover_connection *connection = rover_meet(key, sk);
    if (connection && (!connection->facts.remote_port || connection->facts.family == AF_UNIX))
        rover_read_ends(sk, &connection->facts); /* its other end may have come since */
    return rover_row(epoch, key);
}

#define ROVER_MS 1000000ULL
#define ROVER_FROM(ns) bucket += value >= (ns)

/* The bucket of a time in nanoseconds: contract section 5.2. */
static __always_inline u32 rover_bucket(u64 value)
{
    u32 bucket = 0;
    if (value < 10000)
        return 0;
    ROVER_FROM(10000); ROVER_FROM(50000); ROVER_FROM(100000); ROVER_FROM(500000); ROVER_FROM(ROVER_MS);
    if (value < 12 * ROVER_MS / 10)
        return bucket;
    ROVER_FROM(12 * ROVER_MS / 10); ROVER_FROM(15 * ROVER_MS / 10); ROVER_FROM(17 * ROVER_MS / 10);
    ROVER_FROM(2 * ROVER_MS); ROVER_FROM(25 * ROVER_MS / 10); ROVER_FROM(3 * ROVER_MS); ROVER_FROM(5 * ROVER_MS);
    ROVER_FROM(7 * ROVER_MS); ROVER_FROM(10 * ROVER_MS); ROVER_FROM(13 * ROVER_MS); ROVER_FROM(16 * ROVER_MS);
    ROVER_FROM(20 * ROVER_MS); ROVER_FROM(25 * ROVER_MS); ROVER_FROM(30 * ROVER_MS); ROVER_FROM(35 * ROVER_MS);
    ROVER_FROM(40 * ROVER_MS); ROVER_FROM(45 * ROVER_MS); ROVER_FROM(50 * ROVER_MS); ROVER_FROM(70 * ROVER_MS);
    ROVER_FROM(100 * ROVER_MS); ROVER_FROM(150 * ROVER_MS); ROVER_FROM(200 * ROVER_MS); ROVER_FROM(300 * ROVER_MS);
    ROVER_FROM(500 * ROVER_MS); ROVER_FROM(1000 * ROVER_MS); ROVER_FROM(2000 * ROVER_MS);
    ROVER_FROM(3000 * ROVER_MS); ROVER_FROM(5000 * ROVER_MS);
    return bucket;
}

static __always_inline void rover_add_time(struct rover_row *row, int figure, u64 ns)
{
    u32 bucket = rover_bucket(ns);
    ROVER_OPAQUE(bucket);
    if (bucket >= ROVER_BUCKETS)
        return;
    __sync_fetch_and_add(&row->sums[figure].ns, ns);
    __sync_fetch_and_add(&row->sums[figure].histogram[bucket], 1);
}

/* One call is counted. ns: how long it took, 0 if that is not known. */
static __always_inline void rover_add(struct rover_row *row, int figure, u64 bytes, u64 ns)
{
    if (bytes)
        __sync_fetch_and_add(&row->sums[figure].bytes, bytes);
    if (ns)
        rover_add_time(row, figure, ns);
    else
        __sync_fetch_and_add(&row->sums[figure].untimed, 1);
}

/* The smoothed round-trip time that TCP has measured, whenever something is sent. */
static __always_inline void rover_add_rtt(struct rover_row *row, u64 sk)
{
    u32 srtt = 0;
    if (row->facts.protocol != IPPROTO_TCP || row->facts.family == AF_UNIX)
        return;
    ROVER_READ(srtt, sk, ROVER_OFFSET_tcp_sock_srtt_us);
    srtt >>= 3; /* include/linux/tcp.h: << 3 in usecs */
    if (srtt)
        rover_add_time(row, ROVER_RTT, 1000ULL * srtt);
}
