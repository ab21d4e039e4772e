/* Every tick, or every switch, ships the registers and the stack of the current task; what was walked is shipped too. */
#define ROVER_EVERY_STACK
#include <rover/stackcount.h>

static __always_inline int ship(void)
{
    int zero = 0;
    u64 user = 0;
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    struct rover_config *config = rover_config.lookup(&zero);
    struct rover_scratch *scratch = rover_scratch.lookup(&zero);
    struct rover_raw *raw = rover_raw_scratch.lookup(&zero);
    if (!config || !scratch || !raw || !rover_watched(config, tgid))
        return 0;
    rover_identify(&scratch->key, tgid);
    if (!rover_unwind(config, scratch, &user) || !(user & 1))
        return 0;
    raw->unknown = user; /* a hash: the stack as it was walked */
    rover_ship(config, raw, &scratch->user);
    return 0;
}

int on_tick(struct bpf_perf_event_data *ctx) { return ship(); }
int on_switch(void *ctx) { return ship(); }
