/* Nearly all functions keep frame pointers; those that do all the work do not if built with -DWITHOUT. No libc, which
 * would bring more of either kind. */
#ifdef WITHOUT
#define HOT __attribute__((noinline, optimize("omit-frame-pointer")))
#else
#define HOT __attribute__((noinline, optimize("O0"))) /* otherwise GCC gives leaves no frame, whatever the options */
#endif
#define COLD(name) __attribute__((noinline, used)) static long name(long n) { return hot(n + __LINE__) * 3; }

static volatile long sum;

HOT static long hot(long n)
{
    for (int i = 0; i < 1000; i++)
        sum += i * n;
    return sum;
}

HOT static long hotter(long n) { return hot(n) + hot(n + sum); }
HOT static long hottest(long n) { return hotter(n) * hotter(sum); }

#define COLDS(name) COLD(name##0) COLD(name##1) COLD(name##2) COLD(name##3) COLD(name##4) COLD(name##5) COLD(name##6)
COLDS(a) COLDS(b) COLDS(c) COLDS(d) COLDS(e) COLDS(f) COLDS(g) COLDS(h)

static void say_ready(void)
{
    long result = 1;
    __asm__ volatile("syscall" : "+a"(result) : "D"(1L), "S"("ready\n"), "d"(6L) : "rcx", "r11", "memory");
}

__attribute__((noinline, used)) static void run(void)
{
    say_ready();
    for (;;)
        hottest(sum);
}

__asm__(".globl _start\n_start: .cfi_startproc\n.cfi_undefined rip\n"
        "xor %ebp, %ebp\nand $-16, %rsp\ncall run\n.cfi_endproc\n");
