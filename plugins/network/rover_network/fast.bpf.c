/* A protocol's fast path as a program of its own (rover/fast.h), so that one that does not compile, or that the kernel
 * refuses, is missing alone: then its calls go to the parser as ever.
 *
 * Defined for each: ROVER_JUDGE (its header), ROVER_JUDGE_REQUEST and ROVER_JUDGE_RESPONSE (its functions),
 * ROVER_PROTOCOL (its number).
 */
#define ROVER_FAST_PROGRAM
#include <rover/fastmaps.h>
#include ROVER_JUDGE

/* Twice the room: the verifier cannot know that it is not filled further. */
struct rover_scratch {
    u32 users;
    u32 unused;
    u8 data[2 * ROVER_FAST_BYTES];
};

BPF_TABLE("extern", u32, struct rover_call, rover_calls, ROVER_THREADS);
BPF_TABLE("extern", u32, u32, rover_slots, ROVER_SLOTS);
BPF_TABLE("percpu_array", int, struct rover_scratch, rover_scratch, 1);

/* The bucket that a value is in: the last whose bound is not above it. Without branches, each of which would double what
 * the verifier looks through. */
#define ROVER_LOOK(half)                                              \
    below = (bounds[(at + (half)) & (room - 1)] - value - 1) >> 63;   \
    ROVER_OPAQUE(below);                                              \
    at += below * (half);

/* room: a power of two, up to 64. */
static __always_inline u32 rover_bucket(u64 *bounds, u64 value, const u32 room)
{
    u64 at = 0, below;
    if (room > 32) {
        ROVER_LOOK(32)
    }
    ROVER_LOOK(16)
    ROVER_LOOK(8)
    ROVER_LOOK(4)
    ROVER_LOOK(2)
    ROVER_LOOK(1)
    return at & (room - 1);
}

static __always_inline struct rover_fast_row *rover_fast_row(u32 epoch, struct rover_fast_key *key)
{
    int zero = 0;
    struct rover_fast_row *row = epoch ? rover_fast_rows_1.lookup(key) : rover_fast_rows_0.lookup(key);
    if (row)
        return row;
    struct rover_fast_row *blank = rover_fast_blank.lookup(&zero);
    if (!blank)
        return NULL;
    if (epoch)
        rover_fast_rows_1.insert(key, blank);
    else
        rover_fast_rows_0.insert(key, blank);
    return epoch ? rover_fast_rows_1.lookup(key) : rover_fast_rows_0.lookup(key);
}

/* 0 if there is no room. */
static __always_inline int rover_count(struct rover_fast_config *config, struct rover_fast *fast, struct rover_key *whose,
                                       u32 client)
{
    struct rover_fast_key key = {.key = *whose, .operation = fast->operation, .status = fast->status};
    key.protocol = ROVER_PROTOCOL;
    key.client = client;
    struct rover_fast_row *row = rover_fast_row(config->epoch & 1, &key);
    if (!row)
        return 0;
    u64 ns = fast->ended_ns > fast->began_ns ? fast->ended_ns - fast->began_ns : 0;
    u32 duration = rover_bucket(config->durations, ns, ROVER_FAST_DURATIONS);
    u32 asked = rover_bucket(config->sizes, fast->size[0], ROVER_FAST_SIZES);
    u32 answered = rover_bucket(config->sizes, fast->size[1], ROVER_FAST_SIZES);
    ROVER_OPAQUE(duration);
    ROVER_OPAQUE(asked);
    ROVER_OPAQUE(answered);
    if (duration >= ROVER_FAST_DURATIONS || asked >= ROVER_FAST_SIZES || answered >= ROVER_FAST_SIZES)
        return 0;
    __sync_fetch_and_add(&row->exchanges, 1);
    __sync_fetch_and_add(&row->ns, ns);
    __sync_fetch_and_add(&row->bytes[0], fast->size[0]);
    __sync_fetch_and_add(&row->bytes[1], fast->size[1]);
    __sync_fetch_and_add(&row->durations[duration], 1);
    __sync_fetch_and_add(&row->sizes[0][asked], 1);
    __sync_fetch_and_add(&row->sizes[1][answered], 1);
    return 1;
}

/* What is known of the connection; from its begin on it is the kernel's. */
static __always_inline struct rover_fast *rover_fast_of(struct rover_call *call)
{
    struct rover_piece *piece = &call->piece;
    struct rover_fast *known = rover_fasts.lookup(&call->key);
    u8 generation = piece->event;
    int begins = !piece->position && !piece->other;
    if (known && known->generation == generation && !begins)
        return known;
    struct rover_fast fresh = {.generation = generation, .phase = begins ? ROVER_IDLE : ROVER_PARSED};
    fresh.next[0] = piece->from_server ? piece->other : piece->position;
    fresh.next[1] = piece->from_server ? piece->position : piece->other;
    fresh.turn = !piece->from_server;
    rover_fasts.update(&call->key, &fresh);
    return rover_fasts.lookup(&call->key);
}

static __always_inline int rover_judge(struct rover_fast_config *config, struct rover_fast *fast, struct rover_moved *moved,
                                       struct rover_piece *piece)
{
    int zero = 0, judgement = ROVER_UNJUDGED, known = 0;
    struct rover_judged judged = {};
    struct rover_scratch *scratch = rover_scratch.lookup(&zero);
    if (scratch && rover_claim(&scratch->users)) {
        u32 size = rover_read_first(piece, scratch->data, ROVER_FAST_BYTES);
        if (moved->side)
            judgement = ROVER_JUDGE_RESPONSE(scratch->data, size, fast->kind, &judged);
        else
            judgement = ROVER_JUDGE_REQUEST(scratch->data, size, config->seed + ROVER_PROTOCOL, &judged);
        rover_release(&scratch->users);
    }
    u64 operation = moved->side ? fast->operation : judged.operation;
    u32 *retry = rover_operations.lookup(&operation);
    if (moved->side) {
        if (retry && judgement != ROVER_JUDGED)
            *retry = ROVER_FAST_RETRY;
        return rover_judge_response(fast, moved, judgement, &judged);
    }
    known = retry && !*retry;
    int verdict = rover_judge_request(fast, moved, judgement, &judged, known);
    if (retry && *retry) {
        (*retry)--;
        moved->note &= ~ROVER_NOTE_TEACH;
    }
    return verdict;
}

/* Whether the call goes on to what ships. */
static __always_inline int rover_wants_parser(void)
{
    int zero = 0;
    u32 thread = bpf_get_current_pid_tgid();
    struct rover_call *call = rover_calls.lookup(&thread);
    struct rover_fast_config *config = rover_fast_config.lookup(&zero);
    struct rover_fast *fast = call ? rover_fast_of(call) : NULL;
    if (!call || !config || !fast)
        return 0;
    struct rover_piece *piece = &call->piece;
    struct rover_moved moved = {.position = piece->position, .other = piece->other, .length = piece->length};
    u32 tgid = call->key.tgid;
    moved.began_ns = rover_began(call);
    moved.ended_ns = piece->ended_ns;
    moved.side = piece->from_server;
    moved.on = !config->off && !(config->off_some && rover_parsed.lookup(&tgid));
    u32 client = piece->way != piece->from_server, shipped = fast->shipped, fresh = 0;
    int verdict = rover_follow(fast, &moved);
    if (verdict & ROVER_FAST_JUDGE)
        verdict |= rover_judge(config, fast, &moved, piece);
    if (verdict & ROVER_FAST_COUNT && !rover_count(config, fast, &call->key, client)) {
        moved.note |= ROVER_NOTE_ASKED | ROVER_NOTE_ANSWERED;
        if (!(verdict & ROVER_FAST_SHIP))
            moved.note |= ROVER_NOTE_ALONE;
    }
    if (shipped && fast->phase == ROVER_IDLE) /* the parser has seen one that could be followed to its end: by then it */
        rover_operations.insert(&fast->operation, &fresh); /* has a name, and the next can be counted */
    if (!(verdict & ROVER_FAST_SHIP) && !moved.note)
        return 0;
    piece->note = moved.note;
    piece->skip = moved.skip;
    piece->resume[0] = moved.resume[0];
    piece->resume[1] = moved.resume[1];
    return 1;
}

int rover_on_fast(void *ctx)
{
    if (rover_wants_parser())
        rover_slots.call(ctx, ROVER_WANT);
    return 0;
}
