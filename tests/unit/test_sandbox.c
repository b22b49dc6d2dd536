// The sandbox: a forbidden call ends the process, in threads from before too; a sensor's calls do
// not.
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sensor/sandbox.h"

// Runs act in a child that has entered the sandbox; the child's wait status.
static int confined(int (*act)(void))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit no_core = {0};
        setrlimit(RLIMIT_CORE, &no_core);
        _exit(sandbox_enter(NULL) == 0 ? act() : 77);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static int nothing(void)
{
    return 0;
}

static int run_a_program(void)
{
    return execl("/bin/true", "true", NULL);
}

static int make_a_process(void)
{
    return fork() < 0;
}

static int listen_somewhere(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return listen(fd, 1);
}

static int trace(void)
{
    return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static int raw_socket(void)
{
    return socket(AF_PACKET, SOCK_RAW, 0) < 0 ? 3 : 0;
}

static void *thread_of_a_day(void *arg)
{
    return arg;
}

static int ordinary(void)
{
    char name[] = "/tmp/hirundo-sandbox-XXXXXX";
    int fd = mkstemp(name);
    if (fd < 0 || write(fd, "x", 1) != 1 || fsync(fd) < 0 || unlink(name) < 0)
        return 1;
    pthread_t thread;
    if (pthread_create(&thread, NULL, thread_of_a_day, NULL) != 0 ||
        pthread_join(thread, NULL) != 0)
        return 2;
    int s = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in nobody = {.sin_family = AF_INET, .sin_port = htons(1)};
    nobody.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)connect(s, (struct sockaddr *)&nobody, sizeof nobody);
    return s < 0;
}

static void assert_killed(int (*act)(void))
{
    int status = confined(act);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void test_forbidden_calls_kill(void **state)
{
    (void)state;
    if (SANDBOX_ABSENT)
        skip();
    assert_killed(run_a_program);
    assert_killed(make_a_process);
    assert_killed(listen_somewhere);
    assert_killed(trace);
}

static void test_ordinary_calls_do_not(void **state)
{
    (void)state;
    if (SANDBOX_ABSENT)
        skip();
    assert_int_equal(confined(nothing), 0);
    assert_int_equal(confined(ordinary), 0);
    int status = confined(raw_socket);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 3);
}

static int pipe_ends[2];

static void *waiting_thread(void *arg)
{
    char c;
    if (read(pipe_ends[0], &c, 1) == 1)
        (void)run_a_program();
    return arg;
}

static void test_threads_from_before_too(void **state)
{
    (void)state;
    if (SANDBOX_ABSENT)
        skip();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit no_core = {0};
        setrlimit(RLIMIT_CORE, &no_core);
        pthread_t thread;
        if (pipe(pipe_ends) < 0 || pthread_create(&thread, NULL, waiting_thread, NULL) != 0)
            _exit(78);
        if (sandbox_enter(NULL) != 0 || write(pipe_ends[1], "x", 1) != 1)
            _exit(77);
        pthread_join(thread, NULL);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forbidden_calls_kill),
        cmocka_unit_test(test_ordinary_calls_do_not),
        cmocka_unit_test(test_threads_from_before_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
