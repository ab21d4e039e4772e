/* The maps of the fast path (rover/fast.h): what is known of connections, which operations have names, and the rows that
 * exchanges are counted in. Two sets of rows, as of connections (rover/flows.h), with an epoch of their own.
 *
 * User side: fastpath.py; keep the structures in step.
 */
#pragma once

#include <rover/call.h>
#include <rover/fast.h>

/* Beyond it those that have been quiet for longest are forgotten. */
#ifndef ROVER_FAST_CONNECTIONS
#define ROVER_FAST_CONNECTIONS 32768
#endif
#define ROVER_FAST_OPERATIONS 4096
#define ROVER_FAST_ROWS 4096
#define ROVER_FAST_DURATIONS 64 /* bounds of buckets, what is not needed is 2^62 */
#define ROVER_FAST_SIZES 32
#define ROVER_FAST_RETRY 64 /* requests of an operation that are shipped after one could not be counted */

#define ROVER_NOTE_ALONE 0x100 /* beside enum rover_note: nothing else is shipped */

struct rover_fast_config {
    u64 durations[ROVER_FAST_DURATIONS]; /* lower bounds, in ns */
    u64 sizes[ROVER_FAST_SIZES];
    u64 seed;
    u32 epoch;
    u32 off;      /* 1: the parser gets everything, */
    u32 off_some; /* that the processes in rover_parsed move */
    u32 unused;
};

/* What is behind the head of a note's record: struct NOTE of records.py. */
struct rover_said {
    u64 operation;
    u64 size[2];
    u32 status;
    u32 note;
};

struct rover_fast_key {
    struct rover_key key;
    u64 operation;
    u32 status;
    u16 protocol;
    u16 client; /* 1: the process asked */
};

struct rover_fast_row {
    u64 exchanges;
    u64 ns;
    u64 bytes[2]; /* of requests, of responses */
    u32 durations[ROVER_FAST_DURATIONS];
    u32 sizes[2][ROVER_FAST_SIZES];
};

#ifndef ROVER_FAST_PROGRAM
#define ROVER_FAST_EXPORT(name) __attribute__((section("maps/export"))) struct name##_table_t __##name;
BPF_TABLE_PUBLIC("lru_hash", struct rover_key, struct rover_fast, rover_fasts, ROVER_FAST_CONNECTIONS);
BPF_TABLE_PUBLIC("hash", u64, u32, rover_operations, ROVER_FAST_OPERATIONS); /* -> requests still to be shipped */
BPF_TABLE_PUBLIC("hash", u32, u32, rover_parsed, 16384);
BPF_TABLE_PUBLIC("array", int, struct rover_fast_config, rover_fast_config, 1);
BPF_F_TABLE("hash", struct rover_fast_key, struct rover_fast_row, rover_fast_rows_0, ROVER_FAST_ROWS, ROVER_HASH_FLAGS);
ROVER_FAST_EXPORT(rover_fast_rows_0)
BPF_F_TABLE("hash", struct rover_fast_key, struct rover_fast_row, rover_fast_rows_1, ROVER_FAST_ROWS, ROVER_HASH_FLAGS);
ROVER_FAST_EXPORT(rover_fast_rows_1)
BPF_TABLE_PUBLIC("array", int, struct rover_fast_row, rover_fast_blank, 1); /* never written: what a row begins as */
#else
BPF_TABLE("extern", struct rover_key, struct rover_fast, rover_fasts, ROVER_FAST_CONNECTIONS);
BPF_TABLE("extern", u64, u32, rover_operations, ROVER_FAST_OPERATIONS);
BPF_TABLE("extern", u32, u32, rover_parsed, 16384);
BPF_TABLE("extern", int, struct rover_fast_config, rover_fast_config, 1);
BPF_TABLE("extern", struct rover_fast_key, struct rover_fast_row, rover_fast_rows_0, ROVER_FAST_ROWS);
BPF_TABLE("extern", struct rover_fast_key, struct rover_fast_row, rover_fast_rows_1, ROVER_FAST_ROWS);
BPF_TABLE("extern", int, struct rover_fast_row, rover_fast_blank, 1);
#endif
