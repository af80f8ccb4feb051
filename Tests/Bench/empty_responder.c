// The least that a FastCGI responder can do in C over libfcgi: what Swift's host is measured against.
// cc -O2 -o empty_responder empty_responder.c -lfcgi -lpthread; usage: empty_responder SOCKET THREADS
#include <fcgiapp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static int listener;

static void *serve(void *unused) {
    (void)unused;
    FCGX_Request request;
    FCGX_InitRequest(&request, listener, 0);
    while (FCGX_Accept_r(&request) == 0) {
        static const char body[] = "hello, world\n";
        char head[160];
        const char *method = FCGX_GetParam("REQUEST_METHOD", request.envp);
        const char *uri = FCGX_GetParam("REQUEST_URI", request.envp);
        const char *id = FCGX_GetParam("SKYSTEAD_REQ_ID", request.envp);
        int status = method && uri && uri[0] == '/' ? 200 : 400;
        int count = snprintf(head, sizeof head,
            "Status: %d OK\r\nX-Request-Id: %.32s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n", status,
            id ? id : "", sizeof body - 1);
        FCGX_PutStr(head, count, request.out);
        FCGX_PutStr(body, sizeof body - 1, request.out);
        FCGX_Finish_r(&request);
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc < 3) return 64;
    signal(SIGPIPE, SIG_IGN);
    FCGX_Init();
    signal(SIGTERM, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    listener = FCGX_OpenSocket(argv[1], 511);
    if (listener < 0) return 71;
    int threads = atoi(argv[2]);
    for (int i = 1; i < threads; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, serve, NULL);
    }
    serve(NULL);
    return 0;
}
