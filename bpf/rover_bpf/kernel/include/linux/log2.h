/* BCC sizes ring buffers with this; it has to be a constant expression. */
#pragma once
#define roundup_pow_of_two(n) ((n) <= 1 ? 1UL : 1UL << (64 - __builtin_clzl((n) - 1)))
