/* For LD_PRELOAD: while $BROKEN_DISK names a directory with a file `full`, writes to databases below it fail for want of
 * space; with a file `unreadable`, reads fail. All other files are as ever. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int is_broken(int file, const char *how) {
    const char *directory = getenv("BROKEN_DISK");
    char link[64], path[4096], flag[4096];
    if (!directory) return 0;
    snprintf(flag, sizeof flag, "%s/%s", directory, how);
    if (access(flag, F_OK)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, "latchkey.db") != NULL && strstr(path, "-shm") == NULL;
}

#define WRITE(name, offset_type)                                                              \
    ssize_t name(int file, const void *bytes, size_t count, offset_type offset) {             \
        if (is_broken(file, "full")) { errno = ENOSPC; return -1; }                           \
        return ((ssize_t (*)(int, const void *, size_t, offset_type))dlsym(RTLD_NEXT, #name))(file, bytes, count, offset); \
    }
WRITE(pwrite, off_t)
WRITE(pwrite64, off64_t)

#define READ(name, offset_type)                                                               \
    ssize_t name(int file, void *bytes, size_t count, offset_type offset) {                   \
        if (is_broken(file, "unreadable")) { errno = EIO; return -1; }                        \
        return ((ssize_t (*)(int, void *, size_t, offset_type))dlsym(RTLD_NEXT, #name))(file, bytes, count, offset); \
    }
READ(pread, off_t)
READ(pread64, off64_t)

ssize_t write(int file, const void *bytes, size_t count) {
    if (is_broken(file, "full")) { errno = ENOSPC; return -1; }
    return ((ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write"))(file, bytes, count);
}
