#define _GNU_SOURCE
#include "CSystem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

const uint32_t csystem_epoll_in = EPOLLIN;
const uint32_t csystem_epoll_out = EPOLLOUT;
const uint32_t csystem_epoll_hangup = EPOLLHUP | EPOLLERR | EPOLLRDHUP;
const uint32_t csystem_epoll_oneshot = EPOLLONESHOT;

static int control(int epoll, int operation, int fd, uint32_t events) {
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    event.events = events;
    event.data.fd = fd;
    return epoll_ctl(epoll, operation, fd, &event);
}

int csystem_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }
int csystem_epoll_add(int epoll, int fd, uint32_t events) { return control(epoll, EPOLL_CTL_ADD, fd, events); }
int csystem_epoll_modify(int epoll, int fd, uint32_t events) { return control(epoll, EPOLL_CTL_MOD, fd, events); }
int csystem_epoll_remove(int epoll, int fd) { return control(epoll, EPOLL_CTL_DEL, fd, 0); }

int csystem_epoll_wait(int epoll, int *fds, uint32_t *events, int max, int timeout_ms) {
    struct epoll_event ready[256];
    if (max > 256) max = 256;
    int count = epoll_wait(epoll, ready, max, timeout_ms);
    for (int i = 0; i < count; i++) {
        fds[i] = ready[i].data.fd;
        events[i] = ready[i].events;
    }
    return count;
}

int csystem_eventfd(void) { return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }

int csystem_accept(int fd, int nonblocking) {
    return accept4(fd, NULL, NULL, SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0));
}

int csystem_is_listening(int fd) {
    int value = 0;
    socklen_t length = sizeof value;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &length) == 0 && value;
}

// Fills a sockaddr_un; a leading '@' stands for the abstract namespace's NUL. Returns its length, or 0 when too long.
static socklen_t unix_address(const char *path, struct sockaddr_un *address) {
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof address->sun_path) {
        errno = ENAMETOOLONG;
        return 0;
    }
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, length);
    if (path[0] == '@') {
        address->sun_path[0] = 0;
        return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    }
    return sizeof *address;
}

static int close_with_errno(int fd) {
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

// Removes what an earlier run left at path, but only if it is a socket.
static int remove_old_socket(const char *path) {
    struct stat status;
    if (lstat(path, &status) != 0) return errno == ENOENT ? 0 : -1;
    if (!S_ISSOCK(status.st_mode)) {
        errno = EEXIST;
        return -1;
    }
    return unlink(path);
}

int csystem_listen_unix(const char *path, int backlog, unsigned mode) {
    struct sockaddr_un address;
    socklen_t length = unix_address(path, &address);
    if (length == 0 || remove_old_socket(path) != 0) return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    mode_t old = umask(0777 & ~mode);
    int bound = bind(fd, (struct sockaddr *)&address, length);
    umask(old);
    if (bound != 0 || listen(fd, backlog) != 0) return close_with_errno(fd);
    return fd;
}

int csystem_listen_tcp(const char *host, int port, int backlog) {
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    if (port < 0 || port > 65535 || inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        errno = EINVAL;
        return -1;
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, backlog) != 0)
        return close_with_errno(fd);
    return fd;
}

int csystem_connect_unix(const char *path) {
    struct sockaddr_un address;
    socklen_t length = unix_address(path, &address);
    if (length == 0) return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (connect(fd, (struct sockaddr *)&address, length) != 0) return close_with_errno(fd);
    return fd;
}

long csystem_peer_uid(int fd) {
    struct ucred credentials;
    socklen_t length = sizeof credentials;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) return -1;
    return (long)credentials.uid;
}

static void wake(int signo) { (void)signo; }

int csystem_install_wakeup_signal(int signo) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = wake;
    sigemptyset(&action.sa_mask);
    return sigaction(signo, &action, NULL);
}

int csystem_send_datagram(const char *path, const void *bytes, size_t count) {
    struct sockaddr_un address;
    socklen_t length = unix_address(path, &address);
    if (length == 0) return -1;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    ssize_t sent = sendto(fd, bytes, count, MSG_NOSIGNAL, (struct sockaddr *)&address, length);
    if (sent < 0) return close_with_errno(fd);
    close(fd);
    return 0;
}

int csystem_bind_datagram(const char *path) {
    struct sockaddr_un address;
    socklen_t length = unix_address(path, &address);
    if (length == 0 || remove_old_socket(path) != 0) return -1;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    int one = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof one) != 0) return close_with_errno(fd);
    if (bind(fd, (struct sockaddr *)&address, length) != 0) return close_with_errno(fd);
    return fd;
}

ssize_t csystem_receive_datagram(int fd, void *bytes, size_t count, pid_t *sender) {
    union {
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
        struct cmsghdr align;
    } control;
    struct iovec part = {bytes, count};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    *sender = 0;
    ssize_t received = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (received < 0) return -1;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_CREDENTIALS) {
        struct ucred credentials;
        memcpy(&credentials, CMSG_DATA(header), sizeof credentials);
        *sender = credentials.pid;
    }
    return received;
}

int csystem_is_tmpfs(const char *path) {
    struct statfs status;
    return statfs(path, &status) == 0 && status.f_type == TMPFS_MAGIC;
}

int csystem_random(void *bytes, size_t count) {
    unsigned char *next = bytes;
    while (count > 0) {
        ssize_t got = getrandom(next, count, 0);
        if (got < 0) {
            if (errno == EINTR) continue;
            return -1;
        }
        next += got;
        count -= (size_t)got;
    }
    return 0;
}

void csystem_return_large_memory(int threshold) {
    // Setting one ends the adapting of both; at its default the second would give 128 KiB back all the time.
    mallopt(M_MMAP_THRESHOLD, threshold);
    mallopt(M_TRIM_THRESHOLD, 2 * threshold);
}

int csystem_protect_memory(void) {
    struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0) return -1;
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}


int csystem_start_writeback(int fd, int64_t offset, int64_t count) {
    return sync_file_range(fd, offset, count, SYNC_FILE_RANGE_WRITE);
}

extern char **environ;

char *const *csystem_environment(void) { return environ; }

void csystem_set_timeouts(int fd, int seconds) {
    struct timeval limit = {seconds, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

int csystem_wait_readable(int fd, int timeout_ms) {
    struct pollfd wanted = {fd, POLLIN, 0};
    return poll(&wanted, 1, timeout_ms);
}

int csystem_wait_for_end(int timeout_ms) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    struct timespec limit = {timeout_ms / 1000, (long)(timeout_ms % 1000) * 1000000};
    for (;;) {
        int signo = timeout_ms < 0 ? sigwaitinfo(&set, NULL) : sigtimedwait(&set, NULL, &limit);
        if (signo > 0) return signo;
        if (errno == EAGAIN) return 0;
    }
}

int csystem_local_port(int fd) {
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0) return -1;
    return ntohs(address.sin_port);
}
