// How many Argon2id hashes a second this machine can do at best: what logins per second are measured against.
// The parameters are the product's: m = 19 MiB, t = 2, p = 1.
//
//   cc -O2 -Wall -Wextra -rdynamic argon2id.c -o argon2id -lsodium -lpthread
//   ./argon2id THREADS SECONDS
//
// libsodium maps its work memory afresh for every hash, and faulting it in takes as long as half of the hashing. Here
// its calls of mmap and munmap resolve to the functions below (-rdynamic), which hand each thread the same arena again.
#define _GNU_SOURCE
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MEMORY_BYTES = 19456 * 1024, PASSES = 2, THREADS_MAX = 256, SAMPLES_MAX = 100000 };

#define HUGE_PAGE ((size_t)2 << 20)
#define ARENA_BYTES ((MEMORY_BYTES + 4096 + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE)

static __thread void *arena; // null while the thread is not hashing
static double seconds;

void *mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset) {
    if (arena && bytes >= MEMORY_BYTES && bytes <= ARENA_BYTES) return arena;
    return (void *)syscall(SYS_mmap, address, bytes, protection, flags, file, offset);
}

int munmap(void *address, size_t bytes) {
    if (arena && address == arena) return 0;
    return (int)syscall(SYS_munmap, address, bytes);
}

struct worker {
    pthread_t thread;
    double elapsed, *samples;
    long count;
};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void hash(void) {
    static const unsigned char salt[crypto_pwhash_SALTBYTES] = {1, 2, 3};
    static const char password[] = "correct horse battery";
    unsigned char out[32];
    int failed = crypto_pwhash(out, sizeof out, password, sizeof password - 1, salt, PASSES, MEMORY_BYTES,
                               crypto_pwhash_ALG_ARGON2ID13);
    if (failed) {
        perror("crypto_pwhash");
        exit(1);
    }
}

static void *work(void *argument) {
    struct worker *worker = argument;
    void *memory = aligned_alloc(HUGE_PAGE, ARENA_BYTES);
    if (!memory) exit(1);
    madvise(memory, ARENA_BYTES, MADV_HUGEPAGE);
    arena = memory;
    hash(); // faults the arena in
    double begin = now(), before = begin, after;
    do {
        hash();
        after = now();
        if (worker->count < SAMPLES_MAX) worker->samples[worker->count] = after - before;
        worker->count++;
        before = after;
    } while (after < begin + seconds);
    worker->elapsed = after - begin;
    arena = NULL;
    free(memory);
    return NULL;
}

static int ascending(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

int main(int count, char **arguments) {
    int threads = count == 3 ? atoi(arguments[1]) : 0;
    seconds = count == 3 ? atof(arguments[2]) : 0;
    if (threads < 1 || threads > THREADS_MAX || seconds <= 0) {
        fprintf(stderr, "usage: argon2id THREADS SECONDS\n");
        return 64;
    }
    if (sodium_init() < 0) return 1;

    static struct worker workers[THREADS_MAX];
    for (int i = 0; i < threads; i++) {
        workers[i].samples = calloc(SAMPLES_MAX, sizeof(double));
        if (!workers[i].samples || pthread_create(&workers[i].thread, NULL, work, &workers[i])) return 1;
    }
    double *all = calloc((size_t)threads * SAMPLES_MAX, sizeof(double)), rate = 0;
    if (!all) return 1;
    long total = 0;
    for (int i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        long kept = workers[i].count < SAMPLES_MAX ? workers[i].count : SAMPLES_MAX;
        memcpy(all + total, workers[i].samples, (size_t)kept * sizeof(double));
        total += kept;
        rate += (double)workers[i].count / workers[i].elapsed;
    }
    qsort(all, (size_t)total, sizeof(double), ascending);
    printf("{\"rate\": %.2f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"libsodium\": \"%s\"}\n", rate, all[total / 2] * 1e3,
           all[total * 99 / 100] * 1e3, sodium_version_string());
    return 0;
}
