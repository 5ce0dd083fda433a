/* Runs a program and makes chosen system calls of it fail: `inject RULES PROGRAM ARGS...`.
 *
 * A seccomp filter hands the calls below to a second process, which answers with an error where a rule says so and lets
 * all others go on. So it works whatever library makes the calls, or none. The program keeps the process id of `inject`;
 * the second process ends with it.
 *
 * RULES is a file, looked at anew whenever another is put in its place, with a rule on each line:
 *
 *     CALL PATH ERRNO FROM
 *
 * CALL is a name of the table below, PATH a part of the path of the file that the call is about (* for any), ERRNO a
 * number, or 0 for a call that is to stand still as long as the rule is there; of reads only those at FROM or behind it
 * fail. Calls that were failed are written to RULES.met, a line each. Exit status 77: not possible here.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Which argument is the file, by descriptor or by path, and which the position in it (-1: none). */
struct call { int number; const char *name; int file, is_path, position; };
static const struct call CALLS[] = {
    { SYS_fsync, "fsync", 0, 0, -1 },         { SYS_fdatasync, "fdatasync", 0, 0, -1 },
    { SYS_syncfs, "syncfs", 0, 0, -1 },       { SYS_write, "write", 0, 0, -1 },
    { SYS_pwrite64, "pwrite", 0, 0, -1 },     { SYS_pwritev, "pwritev", 0, 0, -1 },
    { SYS_pwritev2, "pwritev2", 0, 0, -1 },   { SYS_fallocate, "fallocate", 0, 0, -1 },
    { SYS_ftruncate, "ftruncate", 0, 0, -1 }, { SYS_pread64, "pread", 0, 0, 3 },
    { SYS_preadv, "preadv", 0, 0, 3 },        { SYS_preadv2, "preadv2", 0, 0, 3 },
    { SYS_sendfile, "sendfile", 1, 0, -1 },   { SYS_openat, "create", 1, 1, -1 },
    { SYS_renameat2, "rename", 1, 1, -1 },    { SYS_mkdirat, "mkdir", 1, 1, -1 },
#ifdef SYS_renameat
    { SYS_renameat, "rename", 1, 1, -1 },
#endif
#ifdef SYS_rename
    { SYS_rename, "rename", 0, 1, -1 },       { SYS_mkdir, "mkdir", 0, 1, -1 },
#endif
};
#define CALLS_COUNT (sizeof CALLS / sizeof CALLS[0])

struct rule { char call[32], path[256]; int error; unsigned long long from; };
static struct rule rules[32];
static int rules_count;

static void give_up(const char *what) {
    fprintf(stderr, "inject: %s: %s\n", what, strerror(errno));
    exit(77);
}

static int install_filter(void) {
    struct sock_filter filter[4 + CALLS_COUNT + 2];
    int n = 0;
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < CALLS_COUNT; i++)
        filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CALLS[i].number, CALLS_COUNT - i, 0);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    struct sock_fprog program = { .len = n, .filter = filter };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) give_up("no_new_privs");
    int listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    if (listener < 0) give_up("a seccomp filter with a listener");
    return listener;
}

/* Takes the listener out of the other process, as soon as it is there: sending it would be one of the calls. */
static int take_listener(pid_t owner, int theirs) {
    int pidfd = syscall(SYS_pidfd_open, owner, 0);
    if (pidfd < 0) give_up("the other process");
    for (int tries = 0; tries < 10000; tries++) {
        int ours = syscall(SYS_pidfd_getfd, pidfd, theirs, 0);
        if (ours >= 0) return ours;
        if (errno != EBADF) break;
        usleep(1000);
    }
    give_up("the listener of the other process");
    return -1;
}

static void read_rules(const char *path) {
    static struct stat seen;
    struct stat now;
    if (stat(path, &now) != 0) { rules_count = 0; memset(&seen, 0, sizeof seen); return; }
    if (now.st_ino == seen.st_ino && now.st_mtim.tv_nsec == seen.st_mtim.tv_nsec && now.st_size == seen.st_size) return;
    seen = now;
    rules_count = 0;
    FILE *file = fopen(path, "r");
    if (!file) return;
    while (rules_count < 32) {
        struct rule *rule = &rules[rules_count];
        if (fscanf(file, "%31s %255s %d %llu", rule->call, rule->path, &rule->error, &rule->from) != 4) break;
        rules_count++;
    }
    fclose(file);
}

static int path_of(pid_t pid, const struct call *call, const uint64_t *args, char *path, size_t size) {
    memset(path, 0, size);
    if (call->is_path) {
        struct iovec here = { path, size - 1 }, there = { (void *)(uintptr_t)args[call->file], size - 1 };
        /* Near the end of a page with nothing behind it, less is read. */
        return process_vm_readv(pid, &here, 1, &there, 1, 0) > 0 ? 0 : -1;
    }
    char link[64];
    snprintf(link, sizeof link, "/proc/%d/fd/%d", pid, (int)args[call->file]);
    return readlink(link, path, size - 1) < 0 ? -1 : 0;
}

/* What becomes of a call: an error number, 0 to let it go on, HOLD to let it stand still. */
#define HOLD -1
static int verdict(const struct seccomp_notif *told, const char *met) {
    const struct call *call = NULL;
    for (size_t i = 0; i < CALLS_COUNT; i++)
        if (CALLS[i].number == told->data.nr) call = &CALLS[i];
    if (!call || rules_count == 0) return 0;
    const uint64_t *args = (const uint64_t *)told->data.args;
    if (call->number == SYS_openat && !(args[2] & O_CREAT)) return 0;
    char path[512];
    if (path_of(told->pid, call, args, path, sizeof path) != 0) return 0;
    for (int i = 0; i < rules_count; i++) {
        if (strcmp(rules[i].call, call->name) != 0) continue;
        if (call->position >= 0 && args[call->position] < rules[i].from) continue;
        if (strcmp(rules[i].path, "*") != 0 && !strstr(path, rules[i].path)) continue;
        FILE *file = fopen(met, "a");
        if (file) { fprintf(file, "%s %s\n", call->name, path); fclose(file); }
        return rules[i].error == 0 ? HOLD : rules[i].error;
    }
    return 0;
}

/* A read that is not to wait for the disk: the kernel answers it at once that it would have to. */
static int may_not_wait(const struct seccomp_notif *told) {
    return told->data.nr == SYS_preadv2 && (told->data.args[5] & RWF_NOWAIT);
}

/* Calls that stand still. */
#define HELD_MAX 1024
static struct seccomp_notif held[HELD_MAX];
static int held_count;

static void answer(int listener, const struct seccomp_notif *told, int error) {
    struct seccomp_notif_resp answer = { .id = told->id };
    if (error) answer.error = -error; else answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

static void look_at_held(int listener) {
    int kept = 0;
    for (int i = 0; i < held_count; i++) {
        int error = verdict(&held[i], "/dev/null");
        if (error == HOLD) held[kept++] = held[i]; else answer(listener, &held[i], error);
    }
    held_count = kept;
}

static void supervise(int listener, const char *path) {
    char met[4096];
    snprintf(met, sizeof met, "%s.met", path);
    for (;;) {
        struct pollfd ready = { .fd = listener, .events = POLLIN };
        if (poll(&ready, 1, held_count ? 10 : -1) < 0 && errno != EINTR) exit(1);
        read_rules(path);
        look_at_held(listener);
        if (ready.revents & (POLLHUP | POLLERR)) exit(0);
        if (!(ready.revents & POLLIN)) continue;
        struct seccomp_notif told;
        memset(&told, 0, sizeof told);
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &told) != 0) {
            if (errno == EINTR || errno == ENOENT) continue;
            exit(1);
        }
        int error = verdict(&told, met);
        if (error == HOLD && may_not_wait(&told)) error = EAGAIN;
        if (error == HOLD && held_count < HELD_MAX) held[held_count++] = told; else answer(listener, &told, error == HOLD ? 0 : error);
    }
}

int main(int argc, char **argv) {
    if (argc < 3) { fprintf(stderr, "inject RULES PROGRAM ARGS...\n"); return 2; }
    int taken[2];
    if (pipe2(taken, O_CLOEXEC) != 0) give_up("a pipe");
    /* The listener will be the next free descriptor. */
    int listener = open("/dev/null", O_RDONLY);
    close(listener);
    pid_t program = getpid();
    /* The supervisor has to look into the program, which is not its child. */
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    pid_t supervisor = fork();
    if (supervisor < 0) give_up("fork");
    if (supervisor == 0) {
        setsid();
        /* Whoever reads the program's output waits for its end, not for ours. */
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(null, 1);
        int ours = take_listener(program, listener);
        if (write(taken[1], "", 1) != 1) exit(1);
        close(taken[0]);
        close(taken[1]);
        dup2(null, 2);
        supervise(ours, argv[1]);
    }
    if (install_filter() != listener) { kill(supervisor, SIGKILL); return 77; }
    close(taken[1]);
    char byte;
    if (read(taken[0], &byte, 1) != 1) return 77;
    fcntl(listener, F_SETFD, FD_CLOEXEC);
    execv(argv[2], argv + 2);
    return 77;
}
