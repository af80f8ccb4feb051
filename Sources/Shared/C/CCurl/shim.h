#pragma once
#include <curl/curl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

// curl_easy_setopt and curl_easy_getinfo are variadic, which Swift does not import: one function for each type of
// argument. The option decides which one is right (curl_easy_setopt(3)).
static inline CURLcode CCurl_setLong(CURL *handle, CURLoption option, long value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode CCurl_setSize(CURL *handle, CURLoption option, curl_off_t value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode CCurl_setString(CURL *handle, CURLoption option, const char *value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode CCurl_setPointer(CURL *handle, CURLoption option, const void *value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode CCurl_setList(CURL *handle, CURLoption option, struct curl_slist *value) {
    return curl_easy_setopt(handle, option, value);
}
// The callbacks' types differ, and a Swift function converts only to the exact one.
static inline CURLcode CCurl_setDataFunction(CURL *handle, CURLoption option, curl_write_callback value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode CCurl_setReadFunction(CURL *handle, curl_read_callback value) {
    return curl_easy_setopt(handle, CURLOPT_READFUNCTION, value);
}
static inline CURLcode CCurl_setSeekFunction(CURL *handle, curl_seek_callback value) {
    return curl_easy_setopt(handle, CURLOPT_SEEKFUNCTION, value);
}
static inline CURLcode CCurl_setOpenSocketFunction(CURL *handle, curl_opensocket_callback value) {
    return curl_easy_setopt(handle, CURLOPT_OPENSOCKETFUNCTION, value);
}
static inline CURLMcode CCurl_multiSetLong(CURLM *handle, CURLMoption option, long value) {
    return curl_multi_setopt(handle, option, value);
}
static inline long CCurl_responseCode(CURL *handle) {
    long code = 0;
    return curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &code) == CURLE_OK ? code : 0;
}
// The certificates of the peer, of a handle with CURLOPT_CERTINFO: a count and lists of `name:value` lines.
static inline struct curl_certinfo *CCurl_certificates(CURL *handle) {
    struct curl_certinfo *chain = NULL;
    return curl_easy_getinfo(handle, CURLINFO_CERTINFO, &chain) == CURLE_OK ? chain : NULL;
}
// The socket of a connection that was made with CURLOPT_CONNECT_ONLY, or -1.
static inline int CCurl_activeSocket(CURL *handle) {
    curl_socket_t found = CURL_SOCKET_BAD;
    CURLcode code = curl_easy_getinfo(handle, CURLINFO_ACTIVESOCKET, &found);
    return code == CURLE_OK && found != CURL_SOCKET_BAD ? found : -1;
}
// The structure holds a sockaddr with more bytes behind it, which Swift cannot reach safely.
// Copies the address: returns 4 or 16, the count of bytes, or 0 for any other family.
static inline int CCurl_addressBytes(const struct curl_sockaddr *address, unsigned char out[16]) {
    if (address->family == AF_INET && address->addrlen >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in v4;
        memcpy(&v4, &address->addr, sizeof v4);
        memcpy(out, &v4.sin_addr, 4);
        return 4;
    }
    if (address->family == AF_INET6 && address->addrlen >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 v6;
        memcpy(&v6, (const void *)&address->addr, sizeof v6);
        memcpy(out, &v6.sin6_addr, 16);
        return 16;
    }
    return 0;
}
// A cast macro, which Swift does not import.
static const curl_socket_t CCurl_socketBad = CURL_SOCKET_BAD;
// Takes one message off the queue: true, with the result, when it says that a transfer has ended.
static inline int CCurl_takeResult(CURLM *handle, CURLcode *result) {
    int left = 0;
    for (CURLMsg *message; (message = curl_multi_info_read(handle, &left)) != NULL;) {
        if (message->msg == CURLMSG_DONE) {
            *result = message->data.result;
            return 1;
        }
    }
    return 0;
}
// Macros with casts.
static const size_t CCurl_readAbort = CURL_READFUNC_ABORT;
static const size_t CCurl_pauseBody = CURL_WRITEFUNC_PAUSE;
