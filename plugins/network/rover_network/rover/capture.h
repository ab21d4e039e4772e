/* Layer 7: the bytes of connections whose protocol is known go to rings; of the others, the first of some calls are
 * shown to the classifiers.
 *
 * A record holds a contiguous piece of one call's data, and where in the stream it lies: what is between it and the
 * one before was not captured, or was lost. How much of a call is shipped says the protocol's policy. Rings take
 * reservations of constant sizes only, so there are classes of sizes.
 *
 * User side: records.py, capture.py; keep the structures in step.
 */
#pragma once

#include <rover/datagrams.h>
#include <rover/select.h>
#include <rover/fastmaps.h>
#include <rover/ktls.h>

#define ROVER_PIECES 12   /* records of one call, and segments looked at */
#define ROVER_PIECE 16384 /* bytes of one */
/* So many of a connection's calls that may begin something are shown to the classifiers, then one of as many. */
#define ROVER_TRIES 64
#define ROVER_TRIES_AT_ONCE 8 /* of them whatever they may be */
#define ROVER_CIPHERS 256 /* so many of its encrypted calls are looked at for whose session it is */

enum rover_mode { ROVER_MODE_CALLS, ROVER_MODE_MESSAGES, ROVER_MODE_ALL, ROVER_MODE_FRAMES, ROVER_MODE_NOTHING };
enum rover_event {
    ROVER_DATA,
    ROVER_END,
    ROVER_IS_DATAGRAM,
    ROVER_NOTE = 4,
    ROVER_IS_RUNS = 8,
    ROVER_OF_CALL = 16,
    ROVER_GENERATION = 32, /* and above */
};

/* A protocol's capture policy. wanted: bytes of a call or message from the client, and from the server. content: bytes
 * of each message, whatever the policy, while messages are sampled. */
struct rover_policy {
    u32 mode;
    u32 datagrams;
    u64 wanted[2];
    u64 content;
};

BPF_TABLE_PUBLIC("prog", u32, u32, rover_slots, ROVER_SLOTS);
BPF_TABLE_PUBLIC("prog", u32, u32, rover_tls_slots, ROVER_SLOTS);
BPF_TABLE("array", u32, struct rover_policy, rover_policies, ROVER_SLOTS);
BPF_RINGBUF_OUTPUT(rover_ring, 1); /* what the rings are like; user space makes them */
BPF_ARRAY_OF_MAPS(rover_rings, "rover_ring", 64);
BPF_TABLE("percpu_array", u32, u64, rover_shipped, 64); /* records of each ring */
BPF_TABLE_PUBLIC("lru_hash", struct rover_key, struct rover_framings, rover_framed, ROVER_FRAMINGS);
BPF_TABLE_PUBLIC("percpu_array", int, struct rover_runs, rover_gathered, 1);

/* Goes on with the program in a slot, and does not return if there is one. tls: a constant, 1 in the chain of uprobes. */
static __always_inline void rover_go_on(void *ctx, int tls, u32 slot)
{
    if (tls)
        rover_tls_slots.call(ctx, slot);
    else
        rover_slots.call(ctx, slot);
}

static __always_inline u32 rover_ring_of(struct rover_config *config, struct rover_key *key)
{
    u64 hash = (((u64)key->inode << 32 | key->tgid) ^ key->peer) * 0x9e3779b97f4a7c15ULL;
    u32 rings = config->rings;
    return rings ? (u32)(hash >> 32) % rings : 0;
}

#define ROVER_CLASS(bytes)                                                                             \
    ROVER_OPAQUE(size);                                                                                \
    if (size <= (bytes)) {                                                                             \
        struct {                                                                                       \
            struct rover_record head;                                                                  \
            u8 data[bytes];                                                                            \
        } *record = bpf_ringbuf_reserve(ring, sizeof(struct rover_record) + (bytes), 0);               \
        if (!record)                                                                                   \
            return 0;                                                                                  \
        record->head = *head;                                                                          \
        if (size && rover_copy(record->data, size, from, ours)) {                                      \
            record->head.length = 0;                                                                   \
            record->head.after += size;                                                                \
        }                                                                                              \
        bpf_ringbuf_submit(record, 0); /* wakes a reader that has read everything, and no other */     \
        return 1;                                                                                      \
    }

/* One record with the head's length of data. 0 if the ring is full. */
static __always_inline int rover_reserve(void *ring, struct rover_record *head, u64 from, int ours)
{
    u64 size = head->length;
    ROVER_CLASS(8)
    ROVER_CLASS(64)
    ROVER_CLASS(128)
    ROVER_CLASS(256)
    ROVER_CLASS(384)
    ROVER_CLASS(512)
    ROVER_CLASS(768)
    ROVER_CLASS(1024)
    ROVER_CLASS(2048)
    ROVER_CLASS(4096)
    ROVER_CLASS(ROVER_PIECE)
    return 0;
}

static __always_inline int rover_ship_record(struct rover_config *config, struct rover_record *head, u64 from, int ours)
{
    u32 number = rover_ring_of(config, &head->key);
    void *ring = rover_rings.lookup(&number);
    u64 *shipped = rover_shipped.lookup(&number);
    if (!ring || !shipped)
        return 0;
    if (!rover_reserve(ring, head, from, ours)) {
        rover_tell(ROVER_RING_FULL);
        return 0;
    }
    (*shipped)++;
    return 1;
}

/* Record and note in one, of a size of its own. */
struct rover_note_record {
    struct rover_record head;
    struct rover_said said;
};

/* What the fast path has to say, of what the head says. */
static __always_inline void rover_ship_said(struct rover_config *config, struct rover_note_record *record,
                                            struct rover_fast *fast, u32 note)
{
    u32 number = rover_ring_of(config, &record->head.key);
    void *ring = rover_rings.lookup(&number);
    u64 *shipped = rover_shipped.lookup(&number);
    if (!ring || !shipped)
        return;
    record->head.event |= ROVER_NOTE;
    record->head.began_ns = fast->began_ns;
    record->head.ended_ns = fast->ended_ns;
    record->head.length = sizeof(record->said);
    record->said.operation = fast->operation;
    record->said.size[0] = fast->size[0];
    record->said.size[1] = fast->size[1];
    record->said.status = fast->status;
    record->said.note = note;
    if (bpf_ringbuf_output(ring, record, sizeof(*record), 0))
        rover_tell(ROVER_RING_FULL);
    else
        (*shipped)++;
}

static __always_inline void rover_ship_note(struct rover_config *config, struct rover_call *call)
{
    struct rover_piece *piece = &call->piece;
    struct rover_fast *fast = rover_fasts.lookup(&call->key);
    struct rover_connection *connection = rover_connections.lookup(&call->key);
    struct rover_note_record record = {.head = {.key = call->key}};
    if (!fast || !connection)
        return;
    record.head.position = piece->resume[0];
    record.head.other = piece->resume[1];
    record.head.protocol = connection->stream.protocol;
    record.head.sent = !connection->stream.answers;
    record.head.event = piece->event;
    rover_ship_said(config, &record, fast, piece->note);
}

/* The connection is over: nothing of it will follow. */
static __always_inline void rover_ship_end(struct rover_config *config, struct rover_key *key,
                                           struct rover_connection *connection)
{
    struct rover_note_record record = {.head = {.key = *key, .protocol = connection->stream.protocol}};
    struct rover_record *head = &record.head;
    u32 event = connection->stream.generation * ROVER_GENERATION;
    if (!head->protocol)
        return;
    connection->stream.protocol = 0;
    struct rover_fast *fast = rover_fasts.lookup(key);
    u32 note = fast ? rover_fast_end(fast) : 0;
    if (fast && note) {
        head->position = fast->next[0] + fast->owed[0];
        head->other = fast->next[1] + fast->owed[1];
        head->sent = !connection->stream.answers;
        head->event = event;
        rover_ship_said(config, &record, fast, note);
    }
    if (fast)
        rover_fasts.delete(key);
    head->position = head->other = head->sent = head->length = 0;
    head->event = event | ROVER_END;
    head->began_ns = head->ended_ns = bpf_ktime_get_ns();
    u32 number = rover_ring_of(config, key);
    void *ring = rover_rings.lookup(&number);
    u64 *shipped = rover_shipped.lookup(&number);
    if (!ring || !shipped)
        return;
    if (bpf_ringbuf_output(ring, head, sizeof(*head), 0))
        rover_tell(ROVER_RING_FULL);
    else
        (*shipped)++;
}

#include <rover/before.h>
#include <rover/details.h>

/* The program that a call of a known protocol goes to, and what that has to know. */
static __always_inline u32 rover_next(struct rover_connection *connection, struct rover_piece *piece)
{
    struct rover_stream *stream = &connection->stream;
    piece->from_server = piece->way == stream->answers;
    piece->event = stream->generation * ROVER_GENERATION;
    if (connection->facts.protocol != IPPROTO_UDP)
        return ROVER_FAST + stream->protocol;
    piece->event |= ROVER_IS_DATAGRAM;
    return ROVER_WANT;
}

/* A message is done with; the next of several has its turn (each.h). */
static __always_inline void rover_further(void *ctx)
{
    int zero = 0;
    struct rover_config *config = rover_config.lookup(&zero);
    if (config && !config->lengths)
        rover_slots.call(ctx, ROVER_EACH);
}

/* Where a call's data are in user space, for its message of that number. */
static __always_inline void rover_locate(struct rover_call *call, u32 kind, u64 message)
{
    struct rover_piece *piece = &call->piece;
    u64 place = 0;
    piece->address = piece->segments = 0;
    if (kind == ROVER_SENDING_FILE || kind == ROVER_SPLICING || !kind)
        return;
    ROVER_READ(place, call->regs, ROVER_SYSCALL_ARGUMENT(1));
    if (call->where & ROVER_IN_HEADER) {
        place += 64 * message; /* struct mmsghdr; in struct msghdr, msg_iov and msg_iovlen follow name and length */
        rover_read_user(&piece->address, sizeof(u64), (void *)(place + 16));
        rover_read_user(&piece->segments, sizeof(u64), (void *)(place + 24));
        return;
    }
    piece->address = place;
    if (call->where & ROVER_IN_VECTOR)
        ROVER_READ(piece->segments, call->regs, ROVER_SYSCALL_ARGUMENT(2));
}

/* Whether what system calls move is not what programs say to each other. */
static __always_inline int rover_encrypted(struct rover_facts *facts, u64 way)
{
    return facts->tls && !(facts->tls & (way ? ROVER_KTLS_SENDS : ROVER_KTLS_RECEIVES));
}

/* Bytes went through a socket that nobody will see: the next ones' position tells how much is missing. Encrypted bytes
 * are none of the stream's: its positions count plain text. */
static __always_inline struct rover_connection *rover_pass_by(struct rover_config *config, struct rover_key *key, u64 way,
                                                              u64 length)
{
    struct rover_connection *connection = config->protocols ? rover_connections.lookup(key) : NULL;
    if (!connection || rover_encrypted(&connection->facts, way))
        return connection;
    connection->stream.position[way & 1] += length;
    rover_tell(ROVER_CALLS_SEEN);
    return connection;
}

/* Takes note of bytes that are on their way through a connection, from `position` on, in what its thread knows of its
 * call. Where they are was located before. */
static __always_inline void rover_take(struct rover_call *call, struct rover_key *key, struct rover_stream *stream,
                                       u64 way, u64 position, u64 length)
{
    struct rover_piece *piece = &call->piece;
    call->key = *key;
    piece->length = length;
    piece->position = position;
    piece->other = stream->position[!way];
    piece->ended_ns = bpf_ktime_get_ns();
    piece->way = way & 1;
    piece->protocol = piece->note = 0;
    piece->skip = 0;
    piece->ours = 0;
}

/* Goes on with what was taken. Does not return. */
static __always_inline void rover_judge_or_ask(void *ctx, int tls, struct rover_connection *connection,
                                               struct rover_piece *piece)
{
    if (!connection->stream.protocol) {
        rover_go_on(ctx, tls, ROVER_ASK);
        return;
    }
    rover_go_on(ctx, tls, rover_next(connection, piece)); /* fails where there is no fast path */
    rover_go_on(ctx, tls, ROVER_WANT);
}

/* Bytes of a stream among which a protocol that is known by its greeting, as MySQL's, may turn to TLS. */
#define ROVER_EARLY 256

/* Bytes went through a socket of a watched process. kind: of the call that moved them, 0 if there is none whose data
 * could be found. Does not return if they are shipped, or classified. */
static __always_inline void rover_pass_on(void *ctx, struct rover_config *config, struct rover_call *call,
                                          struct rover_key *key, u32 kind, u64 way, u64 length)
{
    struct rover_connection *connection = rover_pass_by(config, key, way, length);
    if (!connection || !call || !kind)
        return;
    struct rover_stream *stream = &connection->stream;
    int encrypted = rover_encrypted(&connection->facts, way), told = connection->facts.tls & ROVER_TLS_TOLD;
    if (encrypted && !call->tls && (told ? !rover_is_sampled(stream) : stream->calls++ > ROVER_CIPHERS))
        return;
    if (connection->facts.tls && !encrypted && rover_is_control(call)) {
        stream->position[way & 1] -= length;
        return;
    }
    rover_take(call, key, stream, way, stream->position[way & 1] - (encrypted ? 0 : length), length);
    int turns = stream->protocol && !connection->facts.tls && connection->facts.protocol != IPPROTO_UDP &&
                call->piece.position < ROVER_EARLY;
    if (encrypted || call->tls || turns)
        rover_slots.call(ctx, ROVER_CIPHER);
    else
        rover_judge_or_ask(ctx, 0, connection, &call->piece);
}

static __always_inline struct rover_call *rover_current_call(void)
{
    u32 thread = bpf_get_current_pid_tgid();
    return rover_calls.lookup(&thread);
}

/* Nobody knows what this connection speaks. */
static __always_inline int rover_ask(void *ctx, int tls)
{
    struct rover_call *call = rover_current_call();
    struct rover_connection *connection = call ? rover_connections.lookup(&call->key) : NULL;
    if (!call || !connection)
        return 0;
    struct rover_stream *stream = &connection->stream;
    struct rover_piece *piece = &call->piece;
    int turned = !stream->calls || stream->last != piece->way;
    stream->last = piece->way;
    stream->calls++;
    if (stream->tries >= ROVER_TRIES ? stream->calls % ROVER_TRIES : !turned && stream->calls > ROVER_TRIES_AT_ONCE)
        return 0;
    stream->tries += stream->tries < ROVER_TRIES;
    rover_tell(ROVER_CALLS_ASKED);
    __builtin_memset(piece->head, 0, sizeof(piece->head));
    piece->size = rover_read_first(piece, piece->head, ROVER_HEAD);
    piece->slot = ROVER_CLASSIFIERS;
    piece->behind = 0;
    int datagram = connection->facts.protocol == IPPROTO_UDP;
    if (!tls && !datagram && rover_begins_tls(piece)) {
        rover_slots.call(ctx, ROVER_CIPHER);
        return 0;
    }
    if (!datagram)
        rover_look_back(&call->key, piece, turned);
    if (piece->size)
        rover_go_on(ctx, tls, ROVER_CLASSIFIERS);
    return 0;
}

int rover_on_ask(void *ctx)
{
    rover_ask(ctx, 0);
    rover_further(ctx);
    return 0;
}

int rover_tls_on_ask(void *ctx)
{
    return rover_ask(ctx, 1);
}

#include <rover/gather.h>

/* A classifier has found out what a connection speaks, and who asks and who answers. */
static __always_inline int rover_settle(struct rover_config *config, struct rover_piece *piece,
                                        struct rover_connection *connection, struct rover_key *key)
{
    struct rover_stream *stream = &connection->stream;
    u32 protocol = piece->protocol;
    struct rover_policy *policy = rover_policies.lookup(&protocol);
    if (!policy || !protocol || (connection->facts.protocol == IPPROTO_UDP && !policy->datagrams))
        return 0;
    stream->protocol = protocol;
    stream->answers = piece->said == 1 ? !piece->way : piece->way;
    stream->last = !piece->way;
    connection->facts.speaks = protocol;
    if (!connection->facts.role)
        connection->facts.role = stream->answers ? ROVER_SERVER : ROVER_CLIENT;
    struct rover_row *row = rover_find(config->epoch & 1, key);
    if (row) {
        row->facts.speaks = protocol;
        row->facts.role = connection->facts.role;
    }
    rover_tell(ROVER_CLASSIFIED);
    return 1;
}

/* The parser may have found that a connection goes on with another protocol: the fast path of the old one has no say. */
static __always_inline void rover_rename(struct rover_connection *connection, struct rover_key *key)
{
    u32 *renamed = rover_renamed.lookup(key);
    if (!renamed)
        return;
    connection->stream.protocol = connection->facts.speaks = *renamed;
    rover_fasts.delete(key);
    rover_renamed.delete(key);
}

/* Once a call: how much of its data is wanted. */
static __always_inline int rover_want(void *ctx, int tls)
{
    int zero = 0;
    struct rover_call *call = rover_current_call();
    struct rover_config *config = rover_config.lookup(&zero);
    struct rover_connection *connection = call ? rover_connections.lookup(&call->key) : NULL;
    if (!call || !config || !connection)
        return 0;
    struct rover_stream *stream = &connection->stream;
    struct rover_piece *piece = &call->piece;
    if (!stream->protocol) {
        if (!rover_settle(config, piece, connection, &call->key))
            return 0;
        u32 next = rover_next(connection, piece);
        struct rover_record head = {.key = call->key, .other = piece->other, .protocol = stream->protocol};
        head.from_server = piece->from_server;
        head.sent = piece->way;
        head.event = piece->event;
        rover_ship_before(config, piece, &head);
        rover_go_on(ctx, tls, next);
    }
    if (piece->note)
        rover_ship_note(config, call);
    if (piece->note & ROVER_NOTE_ALONE)
        return 0;
    piece->length -= piece->skip;
    piece->position += piece->skip;
    if (config->renames)
        rover_rename(connection, &call->key);
    u32 number = stream->protocol;
    struct rover_policy *policy = rover_policies.lookup(&number);
    if (!policy || policy->mode == ROVER_MODE_NOTHING)
        return 0;
    if (!tls && policy->content)
        rover_ship_detail(config, call, connection, 0);
    if (stream->last != piece->way) {
        stream->last = piece->way;
        stream->turned = piece->position;
    }
    u64 since = piece->position - stream->turned;
    piece->protocol = number;
    u64 wanted = piece->from_server ? policy->wanted[1] : policy->wanted[0];
    if (policy->mode >= ROVER_MODE_ALL)
        wanted = piece->length;
    else if (policy->mode == ROVER_MODE_MESSAGES)
        wanted = wanted > since ? wanted - since : 0;
    if (since < policy->content && wanted < policy->content - since)
        wanted = policy->content - since;
    piece->left = wanted < piece->length ? wanted : piece->length;
    piece->room = piece->segment = piece->shipped = 0;
    rover_tell(ROVER_CALLS_SHIPPED);
    if (policy->mode == ROVER_MODE_FRAMES && !piece->skip && !piece->ours) {
        piece->slot = policy->content;
        rover_go_on(ctx, tls, ROVER_SELECT_ + number); /* fails where the selector is missing: then all is shipped */
    }
    rover_go_on(ctx, tls, ROVER_SHIP);
    return 0;
}

int rover_on_want(void *ctx)
{
    rover_want(ctx, 0);
    rover_further(ctx);
    return 0;
}

int rover_tls_on_want(void *ctx)
{
    return rover_want(ctx, 1);
}

/* Called by a selector: ships what it has gathered. */
static __always_inline int rover_ship_runs(void *ctx, int tls)
{
    int zero = 0;
    struct rover_call *call = rover_current_call();
    struct rover_config *config = rover_config.lookup(&zero);
    struct rover_runs *runs = rover_gathered.lookup(&zero);
    if (!call || !config || !runs)
        return 0;
    struct rover_piece *piece = &call->piece;
    u64 used = runs->used;
    ROVER_OPAQUE(used);
    if (used > ROVER_RUNS_BYTES + ROVER_RUN + ROVER_RUN_HEAD)
        used = 0;
    int last = !piece->left || ++piece->shipped >= ROVER_RUNS_RECORDS || piece->segment > piece->segments + 1;
    struct rover_record *head = &runs->record;
    head->key = call->key;
    head->position = runs->position;
    head->other = piece->other;
    head->ended_ns = piece->ended_ns;
    head->began_ns = rover_began(call);
    head->after = last ? runs->skipped + piece->length : 0;
    head->length = used;
    head->protocol = piece->protocol;
    head->from_server = piece->from_server;
    head->sent = piece->way;
    head->event = piece->event | ROVER_IS_RUNS;
    u32 number = rover_ring_of(config, &head->key);
    void *ring = rover_rings.lookup(&number);
    u64 *shipped = rover_shipped.lookup(&number);
    if (!ring || !shipped) {
        rover_release(&runs->users);
        return 0;
    }
    if (bpf_ringbuf_output(ring, head, sizeof(*head) + used, 0)) {
        rover_tell(ROVER_RING_FULL);
        last = 1;
    } else {
        (*shipped)++;
    }
    if (!last)
        rover_go_on(ctx, tls, ROVER_SELECT_ + piece->protocol);
    rover_release(&runs->users);
    return 0;
}

int rover_on_runs(void *ctx)
{
    return rover_ship_runs(ctx, 0);
}

int rover_tls_on_runs(void *ctx)
{
    return rover_ship_runs(ctx, 1);
}

/* For each record of a call, since a loop around it is more than the verifier looks through. */
static __always_inline int rover_ship(void *ctx, int tls)
{
    int zero = 0;
    struct rover_call *call = rover_current_call();
    struct rover_config *config = rover_config.lookup(&zero);
    if (!call || !config)
        return 0;
    struct rover_piece *piece = &call->piece;
    if (piece->left && !piece->room) {
        piece->room = rover_segment(piece, piece->segment, &piece->base);
        piece->segment++;
        u64 over = piece->skip < piece->room ? piece->skip : piece->room;
        piece->base += over;
        piece->room -= over;
        piece->skip -= over;
    }
    u64 size = piece->room < piece->left ? piece->room : piece->left;
    int last = piece->shipped++ >= ROVER_PIECES || piece->segment > piece->segments + 1;
    if (size > ROVER_PIECE)
        size = ROVER_PIECE;
    if (!size && piece->left && !last) { /* an empty segment */
        rover_go_on(ctx, tls, ROVER_SHIP);
        return 0;
    }
    struct rover_record head = {.key = call->key, .position = piece->position, .ended_ns = piece->ended_ns};
    head.began_ns = rover_began(call);
    head.protocol = piece->protocol;
    head.sent = piece->way;
    head.event = piece->event;
    head.from_server = piece->from_server;
    head.other = piece->other;
    int gathered = !tls && rover_is_scattered(piece) ? rover_gather(config, piece, &head, last) : -1;
    if (gathered >= 0) {
        if (gathered && piece->left && !last)
            rover_slots.call(ctx, ROVER_SHIP);
        return 0;
    }
    head.length = size;
    piece->left -= size;
    piece->length -= size;
    piece->position += size;
    if (!piece->left || last)
        head.after = piece->length;
    u64 from = piece->base;
    piece->base += size;
    piece->room -= size;
    if (rover_ship_record(config, &head, from, !tls && piece->ours) && piece->left && !last)
        rover_go_on(ctx, tls, ROVER_SHIP);
    return 0;
}

int rover_on_ship(void *ctx)
{
    rover_ship(ctx, 0);
    rover_further(ctx);
    return 0;
}

int rover_tls_on_ship(void *ctx)
{
    return rover_ship(ctx, 1);
}
