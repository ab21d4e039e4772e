/* On-CPU sampling: on every tick of a processor's clock, count where the interrupted task is. */
#define ROVER_EVERY_STACK /* two ticks at one place may have come there by different ways */
#include <rover/stackcount.h>

int rover_on_tick(struct bpf_perf_event_data *ctx)
{
    int zero = 0;
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    rover_tell(ROVER_EVENTS);
    struct rover_config *config = rover_config.lookup(&zero);
    if (!config || !rover_watched(config, tgid))
        return 0;
    struct rover_scratch *scratch = rover_scratch.lookup(&zero);
    if (!scratch)
        return 0;
    rover_tell(ROVER_MATCHED);
    rover_identify(&scratch->key, tgid);
    scratch->value.events = 1;
    rover_capture(ctx, config, scratch);
    rover_count(config, &scratch->key, &scratch->value);
    return 0;
}
