/* A protocol's classifier as a program of its own, so that one that the kernel refuses takes nobody along. Says yes by
 * calling what ships, no by calling the next. Those of all protocols are compiled at once, one behind the other, and one
 * by one if that does not work.
 *
 * Defined for each: ROVER_CLASSIFIER (its header), ROVER_CLASSIFY (its function), ROVER_ON_CLASSIFY (the program's name),
 * ROVER_PROTOCOL (its number).
 */
#include <rover/call.h>
#include ROVER_CLASSIFIER

#ifndef ROVER_CLASSIFIERS
#define ROVER_CLASSIFIERS
BPF_TABLE("extern", u32, struct rover_call, rover_calls, ROVER_THREADS);
BPF_TABLE("extern", u32, u32, rover_slots, ROVER_SLOTS);
#endif

int ROVER_ON_CLASSIFY(void *ctx)
{
    u32 thread = bpf_get_current_pid_tgid();
    u32 next = ROVER_SLOTS; /* none, if there is nothing to look at */
    struct rover_call *call = rover_calls.lookup(&thread);
    if (call) {
        struct rover_piece *piece = &call->piece;
        piece->said = ROVER_CLASSIFY(piece->head, piece->size);
        if (piece->said)
            piece->protocol = ROVER_PROTOCOL;
        next = piece->said ? ROVER_WANT : ++piece->slot;
    }
    rover_slots.call(ctx, next);
    return 0;
}
