/* thread_leak N: begins a thread every 20 ms that waits for ever in `leaked`, until there are N of them. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((noinline)) static void *leaked(void *unused)
{
    for (;;)
        usleep(100000);
    return unused;
}

int main(int count, char **words)
{
    pthread_t thread;
    for (int left = count > 1 ? atoi(words[1]) : 0; left > 0; left--) {
        pthread_create(&thread, NULL, leaked, NULL);
        usleep(20000);
    }
    pause();
    return 0;
}
