/* Makes system calls that write fail, for tests: loaded with LD_PRELOAD, armed from Python.
 *
 * Only calls on files under one folder count. The call number `at` of the armed kind fails with
 * `error`, and all later ones too unless `once` is set. An error of 0 with `write` writes only half
 * of the bytes, which is allowed and which every caller has to handle.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static char armed[32], folder[PATH_MAX];
static long at = -1, seen;
static int error_number, is_once;

void faults_arm(const char *call, long number, int error, int once, const char *under) {
  snprintf(armed, sizeof armed, "%s", call);
  snprintf(folder, sizeof folder, "%s", under);
  at = number;
  error_number = error;
  is_once = once;
  seen = 0;
}

long faults_seen(void) { return seen; }

static int is_inside(const char *path) {
  char whole[PATH_MAX];
  if (!folder[0] || !path) return 0;
  if (path[0] != '/') {
    char here[PATH_MAX / 2];
    if (!getcwd(here, sizeof here)) return 0;
    snprintf(whole, sizeof whole, "%s/%.2000s", here, path);
    path = whole;
  }
  return strncmp(path, folder, strlen(folder)) == 0;
}

static int is_inside_fd(int fd) {
  char link[64], path[PATH_MAX];
  if (!folder[0]) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return is_inside(path);
}

/* Whether this call of an armed kind must fail. */
static int fails(const char *call) {
  if (strcmp(call, armed) != 0) return 0;
  long number = __sync_fetch_and_add(&seen, 1);
  return at >= 0 && (number == at || (number > at && !is_once));
}

#define REAL(type, name, ...)                                   \
  static type (*real)(__VA_ARGS__);                             \
  if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

#define FAIL        \
  do {              \
    errno = error_number; \
    return -1;      \
  } while (0)

ssize_t write(int fd, const void *data, size_t size) {
  REAL(ssize_t, "write", int, const void *, size_t);
  if (is_inside_fd(fd) && fails("write")) {
    if (error_number) FAIL;
    return real(fd, data, size > 1 ? size / 2 : size);
  }
  return real(fd, data, size);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
  REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
  if (is_inside_fd(fd) && fails("write")) {
    if (error_number) FAIL;
    return real(fd, data, size > 1 ? size / 2 : size, offset);
  }
  return real(fd, data, size, offset);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
  return pwrite64(fd, data, size, offset);
}

int fsync(int fd) {
  REAL(int, "fsync", int);
  if (is_inside_fd(fd) && fails("fsync")) FAIL;
  return real(fd);
}

int ftruncate64(int fd, off64_t size) {
  REAL(int, "ftruncate64", int, off64_t);
  if (is_inside_fd(fd) && fails("ftruncate")) FAIL;
  return real(fd, size);
}

int rename(const char *from, const char *to) {
  REAL(int, "rename", const char *, const char *);
  if (is_inside(to) && fails("rename")) FAIL;
  return real(from, to);
}

int mkdir(const char *path, mode_t mode) {
  REAL(int, "mkdir", const char *, mode_t);
  if (is_inside(path) && fails("mkdir")) FAIL;
  return real(path, mode);
}

static int writes(int flags) { return (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT); }

#define DEFINE_OPEN(name)                                        \
  int name(const char *path, int flags, ...) {                   \
    REAL(int, #name, const char *, int, ...);                    \
    va_list rest;                                                \
    va_start(rest, flags);                                       \
    mode_t mode = va_arg(rest, mode_t);                          \
    va_end(rest);                                                \
    if (writes(flags) && is_inside(path) && fails("open")) FAIL; \
    return real(path, flags, mode);                              \
  }
DEFINE_OPEN(open)
DEFINE_OPEN(open64)

#define DEFINE_OPENAT(name)                                      \
  int name(int at_fd, const char *path, int flags, ...) {        \
    REAL(int, #name, int, const char *, int, ...);               \
    va_list rest;                                                \
    va_start(rest, flags);                                       \
    mode_t mode = va_arg(rest, mode_t);                          \
    va_end(rest);                                                \
    if (writes(flags) && is_inside(path) && fails("open")) FAIL; \
    return real(at_fd, path, flags, mode);                       \
  }
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)
