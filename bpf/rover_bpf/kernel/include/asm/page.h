/* Handed in by the loader for the running kernel (64 KB pages exist on arm64). */
#pragma once
#ifndef PAGE_SHIFT
#define PAGE_SHIFT 12
#endif
#define PAGE_SIZE (1UL << PAGE_SHIFT)
