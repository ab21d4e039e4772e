/* Calls of protocols made of frames, of which some are not wanted: what a selector (selector.bpf.c) has gathered.
 *
 * A record of this kind holds runs: how many bytes were left out (u32), how many follow (u32), and these. So a call of
 * a hundred small frames in as many segments is one record, and what is between two of them costs nothing.
 */
#pragma once

#include <rover/call.h>

#define ROVER_RUNS_BYTES 8192 /* of a record, beside the last run */
#define ROVER_RUN 4096        /* bytes of one */
#define ROVER_RUN_HEAD 8
#define ROVER_RUNS_RECORDS 7 /* of a call: two tail calls each, behind 16 classifiers */
#define ROVER_RUNS_STEPS 96  /* of the walk over a call, for each record */
#define ROVER_FRAMINGS 16384
#define ROVER_LOST_WANTED 4096 /* bytes that are shipped of a call in which no frame begins where one should */

/* Where in one direction of a connection frames begin. ship, skip: bytes of the present one that are still to come. */
struct rover_framing {
    u64 next; /* position of the byte that was looked at last, and one */
    u64 ship;
    u64 skip;
    u32 have; /* bytes of the head of a frame that comes in pieces */
    u32 unused;
    u8 head[64]; /* no more than a quarter of it is used; the verifier cannot know */
};

struct rover_framings {
    struct rover_framing way[2];
};

/* This processor's: rover_claim. */
struct rover_runs {
    u32 users;
    u32 used;    /* bytes of the data */
    u64 skipped; /* bytes left out since the last run */
    u64 position;
    struct rover_record record;
    u8 data[ROVER_RUNS_BYTES + 2 * ROVER_RUN + ROVER_RUN_HEAD];
};
