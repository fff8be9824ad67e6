// A disk that fails when a file says so: preloaded into a process, it stands in front of the system's calls.
//
// FAILING_DISK names a file with one word: "fsync" makes every flush fail with EIO, "full" every write of a file under
// FAILING_DISK_UNDER with ENOSPC, anything else nothing. Without the file the disk is whole.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int said(const char *word) {
    const char *path = getenv("FAILING_DISK");
    char found[16] = "";
    int kept = errno;
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        ssize_t n = read(file, found, sizeof found - 1);
        (void)n;
        close(file);
    }
    errno = kept;
    return strncmp(found, word, strlen(word)) == 0;
}

static int is_under(int file) {
    const char *folder = getenv("FAILING_DISK_UNDER");
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n < 0 ? 0 : n] = 0;
    return folder && strncmp(path, folder, strlen(folder)) == 0;
}

static int fails(int file, const char *word, int why) {
    if (!is_under(file) || !said(word)) return 0;
    errno = why;
    return 1;
}

int fsync(int file) {
    static int (*next)(int);
    if (!next) next = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return fails(file, "fsync", EIO) ? -1 : next(file);
}

int fdatasync(int file) {
    static int (*next)(int);
    if (!next) next = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return fails(file, "fsync", EIO) ? -1 : next(file);
}

ssize_t write(int file, const void *bytes, size_t n) {
    static ssize_t (*next)(int, const void *, size_t);
    if (!next) next = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    return fails(file, "full", ENOSPC) ? -1 : next(file, bytes, n);
}

ssize_t pwrite64(int file, const void *bytes, size_t n, off64_t at) {
    static ssize_t (*next)(int, const void *, size_t, off64_t);
    if (!next) next = (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    return fails(file, "full", ENOSPC) ? -1 : next(file, bytes, n, at);
}

ssize_t pwrite(int file, const void *bytes, size_t n, off_t at) { return pwrite64(file, bytes, n, at); }
