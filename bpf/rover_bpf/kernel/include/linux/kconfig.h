/* BCC force-includes this file before everything else. It stands in for the kernel's own header tree: our
 * programs take member offsets from BTF (ROVER_OFFSET_* constants) and helper declarations from BCC itself, so
 * what is left of the kernel's headers is this folder. */
#pragma once

#define CONFIG_BPF_SYSCALL 1 /* bcc/helpers.h stops without it */
#define CONFIG_PERF_EVENTS 1
#define CONFIG_64BIT 1

#define __user
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#ifndef LINUX_VERSION_CODE /* handed in for the running kernel */
#define LINUX_VERSION_CODE KERNEL_VERSION(5, 8, 0)
#endif

#include <linux/types.h>
