// Counts its own runs, for a comparison with the kernel's count.
#include <rover/rover.h>

BPF_ARRAY(runs, u64, 1);

int rover_cost_test(void *ctx)
{
	int first = 0;
	u64 *count = runs.lookup(&first);

	if (count)
		__sync_fetch_and_add(count, 1);
	return 0;
}
