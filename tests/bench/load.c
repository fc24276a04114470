/*
 * The independent client of servers.ts: CLIENTS callers in one epoll loop, each asks REQUESTS times for the
 * echo of SIZE bytes and compares it. Prints: requests per second, p50, p90, p99, max in ms.
 */
#include <arpa/inet.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

struct caller { int socket, left, received; double asked; };

static char *question, *echo;
static int size;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void ask(struct caller *caller) {
  caller->asked = now();
  caller->received = 0;
  if (write(caller->socket, question, size) != size) err(1, "write");
}

static int compare(const void *a, const void *b) {
  double x = *(const double *) a, y = *(const double *) b;
  return (x > y) - (x < y);
}

int main(int count, char **words) {
  if (count != 5) errx(2, "usage: load PORT CLIENTS REQUESTS SIZE");
  int clients = atoi(words[2]), requests = atoi(words[3]), open = clients, replies = 0;
  size = atoi(words[4]);
  question = malloc(size), echo = malloc(size);
  for (int at = 0; at < size; at++) question[at] = 'a' + at % 26;
  struct caller *callers = calloc(clients, sizeof *callers);
  double *latency = calloc((size_t) clients * requests, sizeof *latency);
  struct sockaddr_in server = { .sin_family = AF_INET, .sin_port = htons(atoi(words[1])) };
  server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int poll = epoll_create1(0);

  double begin = now();
  for (int at = 0; at < clients; at++) {
    struct caller *caller = &callers[at];
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = caller };
    caller->socket = socket(AF_INET, SOCK_STREAM, 0);
    caller->left = requests;
    if (connect(caller->socket, (struct sockaddr *) &server, sizeof server)) err(1, "connect");
    if (epoll_ctl(poll, EPOLL_CTL_ADD, caller->socket, &event)) err(1, "epoll_ctl");
    ask(caller);
  }
  while (open > 0) {
    struct epoll_event events[256];
    int ready = epoll_wait(poll, events, 256, -1);
    for (int at = 0; at < ready; at++) {
      struct caller *caller = events[at].data.ptr;
      int length = read(caller->socket, echo, size - caller->received);
      if (length <= 0) errx(1, "hung up");
      if (memcmp(echo, question + caller->received, length)) errx(1, "the reply is not the echo");
      caller->received += length;
      if (caller->received < size) continue;
      latency[replies++] = now() - caller->asked;
      if (--caller->left > 0) ask(caller);
      else close(caller->socket), open--;
    }
  }
  double seconds = (now() - begin) / 1e3;
  qsort(latency, replies, sizeof *latency, compare);
  printf("%.0f %.2f %.2f %.2f %.2f\n", replies / seconds, latency[replies / 2], latency[replies * 9L / 10],
         latency[replies * 99L / 100], latency[replies - 1]);
}
