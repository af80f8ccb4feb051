#pragma once
// System calls that Swift's Glibc module does not import, or imports in a form that is unsafe to use.
#include <stdint.h>
#include <sys/types.h>

// epoll(7): the structure is packed and its union does not import.
int csystem_epoll_create(void);
int csystem_epoll_add(int epoll, int fd, uint32_t events);
int csystem_epoll_modify(int epoll, int fd, uint32_t events);
int csystem_epoll_remove(int epoll, int fd);
// Fills fds and events (at most max, at most 256); returns the count, or -1 with errno.
int csystem_epoll_wait(int epoll, int *fds, uint32_t *events, int max, int timeout_ms);
extern const uint32_t csystem_epoll_in, csystem_epoll_out, csystem_epoll_hangup, csystem_epoll_oneshot;

int csystem_eventfd(void);
// accept4 with SOCK_CLOEXEC, and SOCK_NONBLOCK when asked.
int csystem_accept(int fd, int nonblocking);
// 1 when fd is a listening socket.
int csystem_is_listening(int fd);
// Binds a unix socket at path (an old socket file is replaced), mode as given. Returns the fd, or -1 with errno.
int csystem_listen_unix(const char *path, int backlog, unsigned mode);
// Listens on TCP host:port (numeric host). Returns the fd, or -1 with errno.
int csystem_listen_tcp(const char *host, int port, int backlog);
// Connects to a unix socket. Returns the fd, or -1 with errno.
int csystem_connect_unix(const char *path);
// Peer credentials of a unix socket: the uid, or -1.
long csystem_peer_uid(int fd);
// A no-op handler for signo without SA_RESTART, so that blocking calls return EINTR.
int csystem_install_wakeup_signal(int signo);
// Sends one datagram to a unix datagram socket; '@' first means the abstract namespace. 0, or -1 with errno.
int csystem_send_datagram(const char *path, const void *bytes, size_t count);
// Binds a nonblocking unix datagram socket at path (an old one is replaced). Returns the fd, or -1 with errno.
int csystem_bind_datagram(const char *path);
// Takes a waiting datagram from such a socket; its count, or -1 with errno. sender is the process that sent it, as the
// kernel has it.
ssize_t csystem_receive_datagram(int fd, void *bytes, size_t count, pid_t *sender);
// getrandom(2) until count bytes are there. 0, or -1 with errno.
int csystem_random(void *bytes, size_t count);
// 1 when path is in a tmpfs, which a restart of the machine empties; 0 when not, or when it can't be looked at.
int csystem_is_tmpfs(const char *path);
// Marks this process as not dumpable and sets its core limit to 0, for processes that hold keys.
int csystem_protect_memory(void);
// sync_file_range(2) with SYNC_FILE_RANGE_WRITE: starts write-back, waits for nothing.
int csystem_start_writeback(int fd, int64_t offset, int64_t count);
// mallopt(3): allocations of threshold bytes and more are mapped by themselves and given back when they are freed.
void csystem_return_large_memory(int threshold);
// The process's environment, NULL at its end: Swift 6 refuses the global variable itself.
// Read it before any other thread runs.
char *const *csystem_environment(void);
// SO_RCVTIMEO and SO_SNDTIMEO of a socket: timeval and the options are awkward from Swift, and this is per request.
void csystem_set_timeouts(int fd, int seconds);
// Waits for fd to be readable or closed: 1, 0 after timeout_ms, -1 with errno (EINTR included).
int csystem_wait_readable(int fd, int timeout_ms);
// sigtimedwait(2) for SIGTERM and SIGINT, which must be blocked: the signal, or 0 after timeout_ms (< 0: no limit).
int csystem_wait_for_end(int timeout_ms);
// The port that a TCP socket is bound to, or -1 with errno.
int csystem_local_port(int fd);
