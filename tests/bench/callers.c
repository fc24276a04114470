/*
 * The callers of the row "accept" in servers.ts: ONCE at a time, COUNT in all; each connects, reads until the server
 * closes, and must have got something. Prints: callers per second.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in server = { .sin_family = AF_INET };
static int poll;
static int received[65536]; /* by file */

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void call(void) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };
  if (connect(fd, (struct sockaddr *) &server, sizeof server) && errno != EINPROGRESS) err(1, "connect");
  if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event)) err(1, "epoll_ctl");
  received[fd] = 0;
}

int main(int count, char **words) {
  if (count != 4) errx(2, "usage: callers PORT ONCE COUNT");
  int once = atoi(words[2]), all = atoi(words[3]), begun = 0, ended = 0;
  server.sin_port = htons(atoi(words[1]));
  server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  poll = epoll_create1(0);
  double begin = now();
  while (begun < once) call(), begun++;
  while (ended < all) {
    struct epoll_event events[256];
    int ready = epoll_wait(poll, events, 256, -1);
    for (int at = 0; at < ready; at++) {
      char bytes[4096];
      int fd = events[at].data.fd, length = read(fd, bytes, sizeof bytes);
      if (length < 0 && errno == EAGAIN) continue;
      if (length < 0) err(1, "read");
      received[fd] += length;
      if (length > 0) continue;
      if (received[fd] == 0) errx(1, "closed without a word");
      close(fd), ended++;
      if (begun < all) call(), begun++;
    }
  }
  printf("%.0f\n", all / (now() - begin));
}
