// Keeps, of every file below $BRAIN_SHADOW_FROM, what a power loss would leave: its content at the latest fsync or fdatasync.
// Preloaded into the process under test. Whatever was only written, or flushed by other means, is not copied.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void keep(int fd) {
  const char *from = getenv("BRAIN_SHADOW_FROM"), *to = getenv("BRAIN_SHADOW_TO");
  char link[64], path[PATH_MAX], target[2 * PATH_MAX], partial[2 * PATH_MAX + 8];
  if (!from || !to) return;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return;
  path[length] = 0;
  size_t prefix = strlen(from);
  struct stat status;
  if (strncmp(path, from, prefix) != 0 || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return;
  snprintf(target, sizeof target, "%s%s", to, path + prefix);
  snprintf(partial, sizeof partial, "%s.part", target);
  for (char *slash = strchr(target + strlen(to) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = 0;
    mkdir(target, 0755);
    *slash = '/';
  }
  // The copy takes its place in one step, as a disk's would: the process may be killed in the middle.
  int in = open(path, O_RDONLY), out = open(partial, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  char buffer[1 << 16];
  ssize_t count;
  while (in >= 0 && out >= 0 && (count = read(in, buffer, sizeof buffer)) > 0)
    if (write(out, buffer, count) != count) abort();
  close(in);
  close(out);
  rename(partial, target);
}

int fdatasync(int fd) {
  int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
  int result = real(fd);
  if (result == 0) keep(fd);
  return result;
}

int fsync(int fd) {
  int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
  int result = real(fd);
  if (result == 0) keep(fd);
  return result;
}
