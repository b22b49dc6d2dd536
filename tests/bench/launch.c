// launch CORE SECONDS FILE PROGRAM [ARGUMENT...]: runs a program pinned to one core, with at most
// that much CPU time, and writes its exit status (or minus the signal that ended it), CPU seconds
// and peak RSS in KiB to FILE.
//
// Python cannot: the kernel carries the peak RSS of the process that forked over into the program.
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void become(char *argv[])
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)strtoul(argv[1], NULL, 10), &set);
    rlim_t seconds = strtoul(argv[2], NULL, 10);
    const struct rlimit limit = {seconds, seconds + 1};
    if (sched_setaffinity(0, sizeof set, &set) == 0 && setrlimit(RLIMIT_CPU, &limit) == 0)
        execvp(argv[4], argv + 4);
    _exit(127);
}

int main(int argc, char *argv[])
{
    if (argc < 5)
        return 2;
    pid_t pid = fork();
    if (pid == 0)
        become(argv);
    int status;
    struct rusage usage;
    FILE *f = fopen(argv[3], "w");
    if (pid < 0 || !f || wait4(pid, &status, 0, &usage) != pid)
        return 1;
    double cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                   (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    fprintf(f, "%d %.6f %ld\n", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), cpu_s,
            usage.ru_maxrss);
    return fclose(f) == 0 ? 0 : 1;
}
