/* Plain text of encrypted connections, from the libraries that encrypt it: uprobes at their functions' begin and return.
 *
 * Which socket a session (an SSL *) belongs to is learned once and kept until the session or the socket is gone. What is
 * believed, in this order:
 *  - a socket that is used while the thread is within the library, if what it moves begins like a TLS record;
 *  - for sessions that read and write memory (BIO_s_mem): the socket that the thread read last, if one of the records in
 *    it is as long as this plain text becomes; or the one it writes next, if one of the records that it writes is.
 * A socket that has its session is not believed to be another's. What cannot be told is counted, and told to nobody.
 *
 * Programs for other libraries include this and call rover_tls_enter and rover_tls_leave, as those of OpenSSL below do,
 * or rover_tls_tell where they know the socket themselves.
 */
#pragma once

#include <rover/capture.h>
#include <rover/current.h>

#define ROVER_SESSIONS 32768
#define ROVER_TLS_THREADS 4096
#define ROVER_RECORDS 8 /* of one call that are looked at */
/* What encryption adds to a record: a tag of 16 bytes at least; a type, a nonce, a MAC and a block's padding at most. */
#define ROVER_TLS_ADDS_LEAST 16
#define ROVER_TLS_ADDS_MOST 96
#define ROVER_TLS_FULL 16384 /* of plain text in one record */
#define ROVER_TLS_FLAGS 4096 /* no address is less */
#define ROVER_TLS_WAITS 1000000000ULL /* ns that written plain text may take to get to a socket */
#define ROVER_TLS_STALE 60000000000ULL /* ns after which a call whose return was not seen is over */

struct rover_session_key {
    u64 session;
    u64 tgid;
};

/* What a thread does with sessions, beside rover_call, which its system calls use. */
struct rover_tls_thread {
    u64 id;
    u64 session; /* it is within a function of the library; 0: it is not */
    u64 stack;   /* pointer at its begin */
    u64 buffer;
    u64 length;
    u64 moved;   /* where it says how many bytes they were; 0: it returns that */
    u64 since_ns;
    struct rover_key read;       /* the socket that was read last, of those that have no session; inode 0: none */
    u64 used;                    /* 1: and then the library was called */
    u64 read_doubt_ns;           /* when two were read, and the library was called for neither */
    u64 held;                    /* a session that has written what may be on its way to a socket */
    u64 held_first;              /* bytes of the first of these calls, */
    u64 held_length;             /* and of all */
    u64 held_ns;
    u64 doubt_ns;                /* when there were two such */
    u32 records[ROVER_RECORDS];  /* lengths of those that were read, 0: of anything but application data */
};

/* Plain text that a thread has written, until it is known to which socket. */
struct rover_tls_text {
    u8 bytes[2 * ROVER_HELD]; /* no more than half of it is used; the verifier cannot know */
};

BPF_TABLE("lru_hash", struct rover_session_key, struct rover_key, rover_sessions, ROVER_SESSIONS);
BPF_TABLE("lru_hash", u32, struct rover_tls_thread, rover_tls_threads, ROVER_TLS_THREADS);
BPF_TABLE("array", int, struct rover_tls_thread, rover_tls_nothing, 1);
BPF_TABLE("lru_hash", u32, struct rover_tls_text, rover_tls_texts, 512);
BPF_TABLE("array", int, struct rover_tls_text, rover_tls_no_text, 1);

/* What is known of the current thread, and not of one that had its number before. */
static __always_inline struct rover_tls_thread *rover_tls_thread_of(u64 id)
{
    int zero = 0;
    u32 number = id;
    struct rover_tls_thread *known = rover_tls_threads.lookup(&number);
    struct rover_tls_thread *nothing = rover_tls_nothing.lookup(&zero);
    if ((known && known->id == id) || !nothing)
        return known;
    rover_tls_threads.update(&number, nothing);
    known = rover_tls_threads.lookup(&number);
    if (known)
        known->id = id;
    return known;
}

/* What is known of the current thread's calls, if its process is watched. No system call uses it meanwhile: a uprobe is
 * hit by who is in user mode. */
static __always_inline struct rover_call *rover_tls_call(struct rover_config *config)
{
    int zero = 0;
    u64 id = bpf_get_current_pid_tgid();
    u32 thread = id;
    if (!rover_watches(config, rover_begun_by(id), id))
        return NULL;
    struct rover_call *call = rover_calls.lookup(&thread);
    struct rover_call *blank = rover_blank_call.lookup(&zero);
    if (call || !blank)
        return call;
    rover_calls.update(&thread, blank);
    return rover_calls.lookup(&thread);
}

static __always_inline void rover_tls_mark(struct rover_config *config, struct rover_connection *connection,
                                           struct rover_key *key, u32 marks)
{
    if ((connection->facts.tls & marks) == marks)
        return;
    connection->facts.tls |= marks;
    struct rover_row *row = rover_find(config->epoch & 1, key);
    if (row)
        row->facts.tls = connection->facts.tls;
}

/* From now on this session's plain text is what the connection says. */
static __always_inline void rover_tls_learn(struct rover_config *config, struct rover_connection *connection,
                                            struct rover_key *key, u64 session)
{
    struct rover_session_key name = {.session = session, .tgid = key->tgid};
    rover_sessions.update(&name, key);
    rover_tls_mark(config, connection, key, ROVER_TLS | ROVER_TLS_TOLD);
    connection->stream.calls = connection->stream.tries = 0;
}

/* Makes plain text the current call's. */
static __always_inline void rover_tls_take(struct rover_call *call, struct rover_connection *connection,
                                          struct rover_key *key, u64 way, u64 buffer, u64 length, u64 since_ns)
{
    struct rover_stream *stream = &connection->stream;
    rover_tell(ROVER_CALLS_SEEN);
    call->since_ns = since_ns;
    call->piece.address = buffer;
    call->piece.segments = 0;
    rover_take(call, key, stream, way, stream->position[way & 1], length);
    stream->position[way & 1] += length;
}

/* Plain text of a socket, by a library that knows it. way: 1: sent, 0: received. For uprobes; does not return if the
 * bytes are shipped, or classified. */
static __always_inline void rover_tls_tell(void *ctx, struct rover_config *config, u64 sk, u64 way, u64 buffer,
                                           u64 length, u64 since_ns)
{
    struct rover_key key = {};
    struct rover_call *call = rover_tls_call(config);
    if (!call || !rover_identify(&key, sk))
        return;
    struct rover_connection *connection = rover_meet(&key, sk);
    if (!connection)
        return;
    rover_tls_mark(config, connection, &key, ROVER_TLS | ROVER_TLS_TOLD);
    if (!config->protocols || !length || !rover_encrypted(&connection->facts, way))
        return;
    rover_tls_take(call, connection, &key, way, buffer, length, since_ns);
    rover_judge_or_ask(ctx, 1, connection, &call->piece);
}

/* Where a record of that length may hold so many bytes of plain text; all: nothing else. */
static __always_inline int rover_tls_fits(u32 record, u64 length, int all)
{
    if (length > ROVER_TLS_FULL)
        length = ROVER_TLS_FULL;
    return record >= length + ROVER_TLS_ADDS_LEAST && (!all || record <= length + ROVER_TLS_ADDS_MOST);
}

/* The lengths of the records of application data that a piece begins with. */
static __always_inline void rover_tls_records(struct rover_piece *piece, u32 *records)
{
    u64 base = 0, at = 0;
    u64 room = rover_segment(piece, 0, &base);
    if (room > piece->length)
        room = piece->length;
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < ROVER_RECORDS; i++) {
        u8 head[8] = {};
        records[i] = 0;
        if (at + ROVER_TLS_HEADER > room || rover_read_user(head, ROVER_TLS_HEADER, (void *)(base + at)))
            continue;
        u32 length = rover_tls_record(head);
        if (!length)
            room = 0;
        else if (head[0] == ROVER_APPLICATION)
            records[i] = length;
        at += ROVER_TLS_HEADER + length;
    }
}

static __always_inline int rover_tls_any_fits(u32 *records, u64 length, int all)
{
    int found = 0;
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < ROVER_RECORDS; i++)
        found |= records[i] && rover_tls_fits(records[i], length, all);
    return found;
}

/* A socket was read: what the library is called for next may be what came. */
static __always_inline void rover_tls_note(struct rover_tls_thread *thread, struct rover_call *call)
{
    u64 now = bpf_ktime_get_ns();
    if (thread->read.inode && thread->read.inode != call->key.inode && !thread->used)
        thread->read_doubt_ns = now;
    thread->used = 0;
    if (now - thread->read_doubt_ns < ROVER_TLS_WAITS) {
        thread->read.inode = 0;
        return;
    }
    thread->read = call->key;
    rover_tls_records(&call->piece, thread->records);
}

/* Tail-called: a socket has moved what may be encrypted, and nobody knows which session's it is, or messages are sampled. */
int rover_on_cipher(void *ctx)
{
    int zero = 0;
    u64 id = bpf_get_current_pid_tgid();
    u32 number = id;
    struct rover_call *call = rover_current_call();
    struct rover_config *config = rover_config.lookup(&zero);
    struct rover_connection *connection = call ? rover_connections.lookup(&call->key) : NULL;
    struct rover_tls_thread *thread = rover_tls_thread_of(id);
    if (!call || !config || !connection || !thread)
        return 0;
    struct rover_piece *piece = &call->piece;
    struct rover_stream *stream = &connection->stream;
    __builtin_memset(piece->head, 0, sizeof(piece->head));
    piece->size = rover_read_first(piece, piece->head, ROVER_HEAD);
    int encrypted = rover_encrypted(&connection->facts, piece->way);
    int begins = piece->size >= ROVER_TLS_HEADER && rover_tls_record(piece->head);
    if ((encrypted || begins) && rover_is_sampled(stream))
        rover_ship_detail(config, call, connection, 1);
    if (encrypted && !call->tls && connection->facts.tls & ROVER_TLS_TOLD)
        return 0;
    if (!begins) {
        if (encrypted)
            return 0;
        if (call->tls && connection->facts.tls) { /* kTLS: the system call has the plain text, the library need not tell */
            rover_tls_learn(config, connection, &call->key, thread->session);
            call->tls = 0;
        } /* else a log, a cache: nothing of TLS's */
        rover_judge_or_ask(ctx, 0, connection, piece);
        return 0;
    }
    stream->position[piece->way & 1] = piece->position;
    rover_tls_mark(config, connection, &call->key, ROVER_TLS);
    if (call->tls) {
        rover_tls_learn(config, connection, &call->key, thread->session);
        call->tls = 0;
        return 0;
    }
    if (!piece->way) {
        rover_tls_note(thread, call);
        return 0;
    }
    u32 records[ROVER_RECORDS];
    u64 held = thread->held;
    if (!held || connection->facts.tls & ROVER_TLS_TOLD)
        return 0;
    rover_tls_records(piece, records);
    if (!rover_tls_any_fits(records, thread->held_first, 1))
        return 0;
    thread->held = 0;
    rover_tls_learn(config, connection, &call->key, held);
    struct rover_tls_text *text = rover_tls_texts.lookup(&number);
    if (!text)
        return 0;
    rover_tls_take(call, connection, &call->key, 1, (u64)text->bytes, thread->held_length, thread->held_ns);
    piece->ours = 1;
    rover_judge_or_ask(ctx, 0, connection, piece);
    return 0;
}

/* The begin of a function that moves plain text. A library's function that another calls is left out. */
static __always_inline int rover_tls_enter(u64 session, u64 buffer, u64 length, u64 moved, u64 stack)
{
    int zero = 0;
    u64 id = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns();
    struct rover_config *config = rover_config.lookup(&zero);
    struct rover_call *call = config && config->protocols ? rover_tls_call(config) : NULL;
    struct rover_tls_thread *thread = call ? rover_tls_thread_of(id) : NULL;
    if (!call || !thread)
        return 0;
    if (thread->session && stack < thread->stack && now - thread->since_ns < ROVER_TLS_STALE)
        return 0;
    struct rover_session_key name = {.session = session, .tgid = id >> 32};
    struct rover_key *known = rover_sessions.lookup(&name);
    call->tls = !known || !rover_connections.lookup(known);
    thread->session = session;
    thread->stack = stack;
    thread->buffer = buffer;
    thread->length = length;
    thread->moved = moved;
    thread->since_ns = now;
    return 0;
}

/* Keeps what a session has written while it is not known to which socket. */
static __always_inline void rover_tls_keep(u32 id, u64 at, u64 buffer, u64 length)
{
    int zero = 0;
    struct rover_tls_text *none = rover_tls_no_text.lookup(&zero);
    struct rover_tls_text *text = rover_tls_texts.lookup(&id);
    if (!text && none) {
        rover_tls_texts.update(&id, none);
        text = rover_tls_texts.lookup(&id);
    }
    if (!text || at >= ROVER_HELD)
        return;
    u64 size = length < ROVER_HELD - at ? length : ROVER_HELD - at;
    ROVER_OPAQUE(at);
    ROVER_OPAQUE(size);
    if (at < ROVER_HELD && size <= ROVER_HELD)
        rover_read_user(text->bytes + at, size, (void *)buffer);
}

/* A session has written, and its thread has used no socket meanwhile: what it uses next may be the session's. */
static __always_inline void rover_tls_hold(u32 id, struct rover_tls_thread *thread, u64 session, u64 length)
{
    u64 now = bpf_ktime_get_ns();
    int fresh = thread->held && now - thread->held_ns < ROVER_TLS_WAITS;
    if (fresh && thread->held != session) { /* it may as well be the other's */
        rover_tell(ROVER_TLS_HOMELESS);
        thread->doubt_ns = now;
        thread->held = 0;
    }
    if (now - thread->doubt_ns < ROVER_TLS_WAITS) {
        rover_tell(ROVER_TLS_HOMELESS);
        return;
    }
    if (!fresh) {
        thread->held = session;
        thread->held_ns = now;
        thread->held_first = length;
        thread->held_length = 0;
    }
    rover_tls_keep(id, thread->held_length, thread->buffer, length);
    thread->held_length += length;
}

/* Its end. result: how many bytes it moved, or, where the begin said where that is written, whether there are any.
 * way: 1: sent, 0: received. */
static __always_inline int rover_tls_leave(void *ctx, u64 stack, s64 result, u64 way)
{
    int zero = 0;
    u64 id = bpf_get_current_pid_tgid(), length = result;
    u32 number = id;
    struct rover_config *config = rover_config.lookup(&zero);
    struct rover_call *call = rover_calls.lookup(&number);
    struct rover_tls_thread *thread = rover_tls_threads.lookup(&number);
    if (!config || !call || !thread || thread->id != id || !thread->session || stack < thread->stack)
        return 0;
    struct rover_session_key name = {.session = thread->session, .tgid = id >> 32};
    thread->session = 0;
    thread->used = 1;
    call->tls = 0;
    if (result <= 0 || !config->protocols)
        return 0;
    if (thread->moved &&
        (rover_read_user(&length, sizeof(length), (void *)thread->moved) || length > thread->length))
        return 0;
    if (!length)
        return 0;
    struct rover_key key = {};
    struct rover_key *known = rover_sessions.lookup(&name);
    if (known)
        key = *known;
    struct rover_connection *connection = known ? rover_connections.lookup(&key) : NULL;
    if (!connection && way) {
        rover_tls_hold(number, thread, name.session, length);
        return 0;
    }
    if (!connection && thread->read.inode && thread->read.tgid == id >> 32 &&
        rover_tls_any_fits(thread->records, length, length != thread->length)) {
        key = thread->read;
        connection = rover_connections.lookup(&key);
        if (connection && connection->facts.tls & ROVER_TLS_TOLD)
            connection = NULL;
        if (connection)
            rover_tls_learn(config, connection, &key, name.session);
    }
    thread->read.inode = 0;
    if (!connection) {
        rover_tell(ROVER_TLS_HOMELESS);
        return 0;
    }
    rover_tls_mark(config, connection, &key, ROVER_TLS | ROVER_TLS_TOLD);
    if (!rover_encrypted(&connection->facts, way))
        return 0;
    rover_tls_take(call, connection, &key, way, thread->buffer, length, thread->since_ns);
    rover_judge_or_ask(ctx, 1, connection, &call->piece);
    return 0;
}

/* The session is over; its address may be another's from now on. */
static __always_inline int rover_tls_forget(u64 session)
{
    struct rover_session_key name = {.session = session, .tgid = bpf_get_current_pid_tgid() >> 32};
    struct rover_key *known = rover_sessions.lookup(&name);
    if (!known)
        return 0;
    struct rover_connection *connection = rover_connections.lookup(known);
    if (connection)
        connection->facts.tls &= ~ROVER_TLS_TOLD;
    rover_sessions.delete(&name);
    return 0;
}

/* int read(session, buffer, int length), which returns how many bytes it has read; write the same */
int rover_tls_on_transfer(struct pt_regs *ctx)
{
    return rover_tls_enter(ROVER_ARGUMENT(ctx, 0), ROVER_ARGUMENT(ctx, 1), (u32)ROVER_ARGUMENT(ctx, 2), 0, ROVER_STACK(ctx));
}

/* int read_ex(session, buffer, size_t length, size_t *moved), which returns 1 if it has; write_ex the same. And OpenSSL's
 * ssl_write_internal, which has flags in front of `moved` from 3.3 on. */
int rover_tls_on_transfer_ex(struct pt_regs *ctx)
{
    u64 moved = ROVER_ARGUMENT(ctx, 3);
    if (moved < ROVER_TLS_FLAGS)
        moved = ROVER_ARGUMENT(ctx, 4);
    return rover_tls_enter(ROVER_ARGUMENT(ctx, 0), ROVER_ARGUMENT(ctx, 1), ROVER_ARGUMENT(ctx, 2), moved,
                           ROVER_STACK(ctx));
}

int rover_tls_on_read(struct pt_regs *ctx)
{
    return rover_tls_leave(ctx, ROVER_STACK(ctx) - ROVER_RETURN_SIZE, (s32)ROVER_RESULT(ctx), 0);
}

int rover_tls_on_written(struct pt_regs *ctx)
{
    return rover_tls_leave(ctx, ROVER_STACK(ctx) - ROVER_RETURN_SIZE, (s32)ROVER_RESULT(ctx), 1);
}

/* int handshake(session): whose bytes they are is not asked, but somebody's they are */
int rover_tls_on_handshake(struct pt_regs *ctx)
{
    u32 id = bpf_get_current_pid_tgid();
    struct rover_tls_thread *thread = rover_tls_threads.lookup(&id);
    if (thread)
        thread->used = 1;
    return 0;
}

/* void free(session) */
int rover_tls_on_free(struct pt_regs *ctx)
{
    return rover_tls_forget(ROVER_ARGUMENT(ctx, 0));
}
