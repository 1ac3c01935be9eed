/* For LD_PRELOAD: names below slow.test are looked up for five minutes, all others as ever. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

typedef int look_up(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    static const char slow[] = ".slow.test";
    size_t length = name ? strlen(name) : 0;
    if (length >= sizeof slow - 1 && !strcmp(name + length - (sizeof slow - 1), slow)) {
        sleep(300);
        return EAI_AGAIN;
    }
    return ((look_up *)dlsym(RTLD_NEXT, "getaddrinfo"))(name, service, hints, found);
}
