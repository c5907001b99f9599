/* Loaded into the program under test with LD_PRELOAD: counts the calls of one kind that access files below a folder,
 * and makes the Nth of them fail, or kills the process at it, as a power failure would.
 *
 *   FAULT_CALL   write, fsync, rename, open or read
 *   FAULT_UNDER  the folder
 *   FAULT_AT     N, from 1; with 0 no call fails
 *   FAULT_ERROR  errno of the failure; 0 kills the process
 *   FAULT_LASTS  1: all later calls fail as well, as on a disk that stays full
 *   FAULT_COUNT  a file for the number of calls, written at the end
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *call, *under, *count_file;
static long at;
static int error, lasts;
static atomic_long calls;

static const char *text(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

__attribute__((constructor)) static void begin(void) {
    call = text("FAULT_CALL");
    under = text("FAULT_UNDER");
    count_file = text("FAULT_COUNT");
    at = atol(text("FAULT_AT"));
    error = atoi(text("FAULT_ERROR"));
    lasts = atoi(text("FAULT_LASTS"));
}

__attribute__((destructor)) static void end(void) {
    FILE *file = *count_file ? fopen(count_file, "w") : NULL;
    if (file) {
        fprintf(file, "%ld\n", atomic_load(&calls));
        fclose(file);
    }
}

static int below(const char *path) {
    return *under && strncmp(path, under, strlen(under)) == 0;
}

static int fd_below(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        return 0;
    path[n] = 0;
    return below(path);
}

/* Whether this call must fail; errno is set then. */
static int fails(void) {
    long n = atomic_fetch_add(&calls, 1) + 1;
    if (at == 0 || (lasts ? n < at : n != at))
        return 0;
    if (error == 0)
        kill(getpid(), SIGKILL);
    errno = error;
    return 1;
}

static int is(const char *name) {
    return call && strcmp(call, name) == 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *bytes, size_t n) {
    if (is("write") && fd > 2 && fd_below(fd) && fails())
        return -1;
    return REAL(write)(fd, bytes, n);
}

ssize_t writev(int fd, const struct iovec *parts, int n) {
    if (is("write") && fd > 2 && fd_below(fd) && fails())
        return -1;
    return REAL(writev)(fd, parts, n);
}

ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t n, unsigned flags) {
    if (is("write") && fd_below(to) && fails())
        return -1;
    return REAL(copy_file_range)(from, from_at, to, to_at, n, flags);
}

ssize_t read(int fd, void *bytes, size_t n) {
    if (is("read") && fd > 2 && fd_below(fd) && fails())
        return -1;
    return REAL(read)(fd, bytes, n);
}

int fsync(int fd) {
    if (is("fsync") && fd_below(fd) && fails())
        return -1;
    return REAL(fsync)(fd);
}

int fdatasync(int fd) {
    if (is("fsync") && fd_below(fd) && fails())
        return -1;
    return REAL(fdatasync)(fd);
}

int rename(const char *from, const char *to) {
    if (is("rename") && below(to) && fails())
        return -1;
    return REAL(rename)(from, to);
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
    if (is("rename") && below(to) && fails())
        return -1;
    return REAL(renameat2)(from_folder, from, to_folder, to, flags);
}

static int opened(const char *path) {
    return is("open") && below(path) && fails();
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return opened(path) ? -1 : REAL(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return opened(path) ? -1 : REAL(open64)(path, flags, mode);
}
