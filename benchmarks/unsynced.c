/* Keeps a journal of what a process does to the files of one folder, so that a power cut can be played afterwards.

   Preloaded (LD_PRELOAD) into the process; UNSYNCED_FOLDER is the folder, UNSYNCED_JOURNAL the file of the journal, which
   has to lie elsewhere. A record is a head of five little-endian 64-bit numbers - kind, inode, offset, length of a first
   and of a second part - and these parts. Order in the journal is order of effect: each call is made and noted under one
   lock, except that a sync is noted when it begins and again when it has ended. Linux on a 64-bit machine. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATED = 1, WRITTEN, CUT, SYNC_BEGINS, SYNC_ENDED, RENAMED, REMOVED };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int inside(const char *path) {
    const char *folder = getenv("UNSYNCED_FOLDER");
    return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

static int journal(void) {
    static int file = -1;
    if (file < 0) {
        int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
        file = real(getenv("UNSYNCED_JOURNAL"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    return file;
}

static void note(uint64_t kind, uint64_t inode, uint64_t offset, const void *a, size_t na, const void *b, size_t nb) {
    uint64_t head[5] = {kind, inode, offset, na, nb};
    struct iovec parts[3] = {{head, sizeof head}, {(void *)a, na}, {(void *)b, nb}};
    if (writev(journal(), parts, 3) != (ssize_t)(sizeof head + na + nb)) abort();
}

/* The inode of a regular file of the folder that is open as `fd`, 0 for anything else. */
static uint64_t inode_of(int fd, int folders_too) {
    struct stat found;
    char link[64], path[4096];
    ssize_t n;
    if (!getenv("UNSYNCED_FOLDER") || fstat(fd, &found)) return 0;
    if (!S_ISREG(found.st_mode) && !(folders_too && S_ISDIR(found.st_mode))) return 0;
    strcpy(link, "/proc/self/fd/");
    char digits[16]; int k = 0, rest = fd;
    do digits[k++] = '0' + rest % 10; while (rest /= 10);
    size_t end = strlen(link);
    while (k) link[end++] = digits[--k];
    link[end] = 0;
    if ((n = readlink(link, path, sizeof path - 1)) < 0) return 0;
    path[n] = 0;
    return inside(path) ? found.st_ino : 0;
}

static int opened(const char *name, const char *path, int flags, mode_t mode) {
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, name);
    if (!inside(path) || !(flags & (O_CREAT | O_TRUNC))) return real(path, flags, mode);
    pthread_mutex_lock(&lock);
    int existed = access(path, F_OK) == 0, fd = real(path, flags, mode);
    struct stat found;
    if (fd >= 0 && !fstat(fd, &found)) {
        if (!existed) note(CREATED, found.st_ino, 0, path, strlen(path), 0, 0);
        else if (flags & O_TRUNC) note(CUT, found.st_ino, 0, 0, 0, 0, 0);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

#define OPEN(name) int name(const char *path, int flags, ...) { \
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
    return opened(#name, path, flags, mode); }
OPEN(open)
OPEN(open64)

static ssize_t written(int fd, const void *data, off_t offset, ssize_t done) {
    uint64_t inode = done > 0 ? inode_of(fd, 0) : 0;
    if (inode) note(WRITTEN, inode, offset, data, done, 0, 0);
    return done;
}

#define PWRITE(name) ssize_t name(int fd, const void *data, size_t n, off_t offset) { \
    ssize_t (*real)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, #name); \
    pthread_mutex_lock(&lock); \
    ssize_t done = written(fd, data, offset, real(fd, data, n, offset)); \
    pthread_mutex_unlock(&lock); return done; }
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t write(int fd, const void *data, size_t n) {
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    pthread_mutex_lock(&lock);
    ssize_t done = real(fd, data, n);
    if (done > 0 && inode_of(fd, 0)) written(fd, data, lseek(fd, 0, SEEK_CUR) - done, done);
    pthread_mutex_unlock(&lock);
    return done;
}

#define FTRUNCATE(name) int name(int fd, off_t length) { \
    int (*real)(int, off_t) = dlsym(RTLD_NEXT, #name); \
    pthread_mutex_lock(&lock); \
    int failed = real(fd, length); uint64_t inode = failed ? 0 : inode_of(fd, 0); \
    if (inode) note(CUT, inode, length, 0, 0, 0, 0); \
    pthread_mutex_unlock(&lock); return failed; }
FTRUNCATE(ftruncate)
FTRUNCATE(ftruncate64)

static void noted(uint64_t kind, uint64_t inode) {
    pthread_mutex_lock(&lock);
    note(kind, inode, 0, 0, 0, 0, 0);
    pthread_mutex_unlock(&lock);
}

#define SYNC(name) int name(int fd) { \
    int (*real)(int) = dlsym(RTLD_NEXT, #name); \
    uint64_t inode = inode_of(fd, 1); \
    if (inode) noted(SYNC_BEGINS, inode); \
    int failed = real(fd); \
    if (inode && !failed) noted(SYNC_ENDED, inode); \
    return failed; }
SYNC(fsync)
SYNC(fdatasync)

int rename(const char *from, const char *to) {
    int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
    pthread_mutex_lock(&lock);
    int failed = real(from, to);
    if (!failed && inside(from)) note(RENAMED, 0, 0, from, strlen(from), to, strlen(to));
    pthread_mutex_unlock(&lock);
    return failed;
}

int unlink(const char *path) {
    int (*real)(const char *) = dlsym(RTLD_NEXT, "unlink");
    pthread_mutex_lock(&lock);
    int failed = real(path);
    if (!failed && inside(path)) note(REMOVED, 0, 0, path, strlen(path), 0, 0);
    pthread_mutex_unlock(&lock);
    return failed;
}
