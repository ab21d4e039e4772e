/* Every tick, or every switch, ships the registers and the stack of the current task. */
#define ROVER_EVERY_STACK
#include <rover/stackcount.h>

static __always_inline int ship(void)
{
    int zero = 0;
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    struct rover_config *config = rover_config.lookup(&zero);
    struct rover_scratch *scratch = rover_scratch.lookup(&zero);
    if (!config || !scratch || !rover_watched(config, tgid))
        return 0;
    rover_identify(&scratch->key, tgid);
    rover_unwind(config, scratch, &scratch->key.user);
    return 0;
}

int on_tick(struct bpf_perf_event_data *ctx) { return ship(); }
int on_switch(void *ctx) { return ship(); }
