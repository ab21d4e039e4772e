/* A protocol's selector as a program of its own: walks over the frames of a call and gathers those that are wanted.
 *
 * Defined for each: ROVER_SELECTOR (its header), ROVER_SELECT_HEAD (bytes that tell how long a frame is), ROVER_SELECT
 * (its function), ROVER_PROTOCOL (its number). Programs call each other in turns: this one fills a record, and
 * rover_on_runs of capture.h ships it.
 */
#include <rover/select.h>
#include ROVER_SELECTOR

BPF_TABLE("extern", u32, struct rover_call, rover_calls, ROVER_THREADS);
BPF_TABLE("extern", u32, u32, rover_slots, ROVER_SLOTS);
BPF_TABLE("extern", struct rover_key, struct rover_framings, rover_framed, ROVER_FRAMINGS);
BPF_TABLE("extern", int, struct rover_runs, rover_gathered, 1);

static __always_inline void rover_move(struct rover_piece *piece, struct rover_framing *framing, u64 bytes)
{
    piece->base += bytes;
    piece->room -= bytes;
    piece->left -= bytes;
    piece->length -= bytes;
    piece->position += bytes;
    framing->next = piece->position;
}

/* Whether there was room for a run of so many bytes of the call, which are consumed. */
static __always_inline int rover_gather(struct rover_runs *runs, struct rover_piece *piece, struct rover_framing *framing,
                                        u64 bytes)
{
    u64 at = runs->used;
    ROVER_OPAQUE(at);
    if (at > ROVER_RUNS_BYTES)
        return 0;
    ROVER_OPAQUE(bytes);
    if (bytes > ROVER_RUN)
        bytes = ROVER_RUN;
    u32 head[2] = {runs->skipped, bytes};
    __builtin_memcpy(runs->data + at, head, sizeof(head));
    if (rover_read_user(runs->data + at + ROVER_RUN_HEAD, bytes, (void *)piece->base))
        return 0;
    runs->skipped = 0;
    runs->used = at + ROVER_RUN_HEAD + bytes;
    rover_move(piece, framing, bytes);
    return 1;
}

static __always_inline void rover_judge(struct rover_piece *piece, struct rover_framing *framing, u64 seen)
{
    u64 ship = 0, skip = 0;
    if (!ROVER_SELECT(framing->head, &ship, &skip)) {
        ship = piece->left + seen < ROVER_LOST_WANTED ? piece->left + seen : ROVER_LOST_WANTED;
        skip = piece->left + seen - ship;
    } else if (skip && piece->slot) { /* content that is sampled */
        u64 more = skip < piece->slot ? skip : piece->slot;
        ship += more;
        skip -= more;
    }
    framing->ship = ship > seen ? ship - seen : 0;
    framing->skip = skip;
    framing->have = 0;
}

/* 1 if there is nothing more to do, or no room to do it. */
static __always_inline int rover_select_step(struct rover_runs *runs, struct rover_piece *piece,
                                             struct rover_framing *framing)
{
    if (!piece->left)
        return 1;
    if (!piece->room) {
        piece->room = rover_segment(piece, piece->segment, &piece->base);
        piece->segment++;
        return !piece->room && piece->segment > piece->segments;
    }
    u64 have = piece->room < piece->left ? piece->room : piece->left;
    if (!framing->ship && !framing->skip) {
        u32 begun = framing->have & 15;
        if (!begun && have >= ROVER_SELECT_HEAD) {
            if (rover_read_user(framing->head, ROVER_SELECT_HEAD, (void *)piece->base))
                return 1;
            rover_judge(piece, framing, 0);
            return 0;
        }
        u64 bytes = ROVER_SELECT_HEAD - begun;
        if (bytes > have)
            bytes = have;
        ROVER_OPAQUE(bytes);
        if (bytes > 15 || rover_read_user(framing->head + begun, bytes, (void *)piece->base) ||
            !rover_gather(runs, piece, framing, bytes))
            return 1;
        framing->have = begun + bytes;
        if (framing->have >= ROVER_SELECT_HEAD)
            rover_judge(piece, framing, ROVER_SELECT_HEAD);
        return 0;
    }
    if (framing->ship) {
        u64 bytes = framing->ship < have ? framing->ship : have;
        if (bytes > ROVER_RUN)
            bytes = ROVER_RUN;
        if (!rover_gather(runs, piece, framing, bytes))
            return 1;
        framing->ship -= bytes;
        return 0;
    }
    u64 bytes = framing->skip < have ? framing->skip : have;
    framing->skip -= bytes;
    runs->skipped += bytes;
    rover_move(piece, framing, bytes);
    return 0;
}

/* A call begins. What was not looked at since the last one may lie in what was to be left out. */
static __always_inline void rover_catch_up(struct rover_framing *framing, u64 position)
{
    u64 missed = position - framing->next;
    if (!missed)
        return;
    if (!framing->ship && !framing->have && position > framing->next && missed <= framing->skip) {
        framing->skip -= missed;
        return;
    }
    framing->ship = framing->skip = 0;
    framing->have = 0;
}

/* The slot of the program that goes on. */
static __always_inline u32 rover_select(void)
{
    int zero = 0;
    u32 thread = bpf_get_current_pid_tgid();
    struct rover_call *call = rover_calls.lookup(&thread);
    struct rover_runs *runs = rover_gathered.lookup(&zero);
    if (!call || !runs)
        return ROVER_SLOTS;
    struct rover_piece *piece = &call->piece;
    struct rover_framings *known = rover_framed.lookup(&call->key);
    if (!known) {
        struct rover_framings fresh = {};
        rover_framed.update(&call->key, &fresh);
        known = rover_framed.lookup(&call->key);
    }
    if (!known || (!piece->shipped && !rover_claim(&runs->users)))
        return ROVER_SHIP;
    struct rover_framing *framing = &known->way[piece->way & 1];
    if (!piece->shipped) {
        runs->skipped = 0;
        rover_catch_up(framing, piece->position);
    }
    runs->used = 0;
    runs->position = piece->position - runs->skipped;
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < ROVER_RUNS_STEPS; i++)
        if (rover_select_step(runs, piece, framing))
            break;
    return ROVER_RUNS;
}

int rover_on_select(void *ctx)
{
    rover_slots.call(ctx, rover_select());
    return 0;
}
