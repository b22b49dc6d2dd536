// launch CORE FILE PROGRAM [ARGUMENT...]: runs a program pinned to one core and writes its exit
// status, CPU seconds and peak RSS in KiB to FILE.
//
// Python cannot: the kernel carries the peak RSS of the process that forked over into the program.
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char *argv[])
{
    if (argc < 4)
        return 2;
    pid_t pid = fork();
    if (pid == 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((unsigned)strtoul(argv[1], NULL, 10), &set);
        if (sched_setaffinity(0, sizeof set, &set) == 0)
            execvp(argv[3], argv + 3);
        _exit(127);
    }
    int status;
    struct rusage usage;
    FILE *f = fopen(argv[2], "w");
    if (pid < 0 || !f || wait4(pid, &status, 0, &usage) != pid)
        return 1;
    double cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                   (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    fprintf(f, "%d %.6f %ld\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1, cpu_s,
            usage.ru_maxrss);
    return fclose(f) == 0 ? 0 : 1;
}
