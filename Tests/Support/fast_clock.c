// A day in minutes for one program: its wall clock runs FAST_CLOCK_RATE times as fast as the machine's, from the moment
// it starts, and it waits for signals as much shorter. What it does on the network and in the database takes the time
// that it takes: the monotonic clock, and with it every deadline, is the machine's.
//
//     cc -shared -fPIC -o fast_clock.so fast_clock.c
//     LD_PRELOAD=./fast_clock.so FAST_CLOCK_RATE=120 program
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t second = 1000000000;
static int64_t rate = 1, started;

static int64_t machine_time(void) {
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
    return now.tv_sec * second + now.tv_nsec;
}

__attribute__((constructor)) static void start(void) {
    const char *given = getenv("FAST_CLOCK_RATE");
    if (given) rate = atoll(given);
    if (rate < 1) abort();
    started = machine_time();
}

// What asks before `start` is told the machine's time, which is the same.
static int64_t fast_time(void) {
    int64_t now = machine_time();
    return started ? started + (now - started) * rate : now;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) return syscall(SYS_clock_gettime, clock, time);
    int64_t now = fast_time();
    time->tv_sec = now / second;
    time->tv_nsec = now % second;
    return 0;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    int64_t now = fast_time();
    time->tv_sec = now / second;
    time->tv_usec = now % second / 1000;
    return 0;
}

time_t time(time_t *place) {
    time_t now = fast_time() / second;
    if (place) *place = now;
    return now;
}

int sigtimedwait(const sigset_t *restrict set, siginfo_t *restrict info, const struct timespec *restrict timeout) {
    static int (*real)(const sigset_t *, siginfo_t *, const struct timespec *);
    if (!real) real = (int (*)(const sigset_t *, siginfo_t *, const struct timespec *))dlsym(RTLD_NEXT, "sigtimedwait");
    if (!timeout) return real(set, info, timeout);
    int64_t wait = (timeout->tv_sec * second + timeout->tv_nsec) / rate;
    struct timespec shorter = {wait / second, wait % second};
    return real(set, info, &shorter);
}
