/* Every tick ships the registers and the stack of whom it interrupts. */
#include <rover/stackcount.h>
#include <rover/unwind.h>

static __always_inline int ship(void)
{
    int zero = 0;
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    struct rover_config *config = rover_config.lookup(&zero);
    struct rover_raw *raw = rover_raw_scratch.lookup(&zero);
    if (!config || !raw || !rover_watched(config, tgid))
        return 0;
    rover_identify(&raw->key, tgid);
    raw->value.events = 1;
    if (rover_ship(raw))
        rover_tell(ROVER_COUNTS_FULL);
    return 0;
}

int on_tick(struct bpf_perf_event_data *ctx) { return ship(); }
int on_switch(void *ctx) { return ship(); }
