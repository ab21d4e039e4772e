/* many_processes COUNT: starts COUNT processes that sleep, says so by a line, and ends with them at the end of its
 * standard input. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 0;

	for (int i = 0; i < count; i++) {
		pid_t pid = fork();

		if (pid < 0)
			return 1;
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (int fd = 0; fd < 3; fd++)
				close(fd);
			execl("/bin/sleep", "sleep", "600", (char *)NULL);
			_exit(1);
		}
	}
	puts("started");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
