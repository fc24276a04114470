/*
 * The callers of the row "udp" in servers.ts: PEERS one after another, each from an address of its own, since the
 * kernel may give the same port again. Each sends TRIPS datagrams of SIZE bytes, and waits for each answer before it
 * sends the next datagram. Prints: round trips per second.
 */
#include <arpa/inet.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int count, char **words) {
  if (count != 5) errx(2, "usage: letters PORT PEERS TRIPS SIZE");
  int peers = atoi(words[2]), trips = atoi(words[3]), size = atoi(words[4]);
  if (peers > 254) errx(2, "PEERS: 1 to 254");
  static char question[65507], answer[65507];
  if (size < 1 || size > (int) sizeof question) errx(2, "SIZE: 1 to 65507");
  struct sockaddr_in server = { .sin_family = AF_INET };
  server.sin_port = htons(atoi(words[1]));
  server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  struct sockaddr_in own = { .sin_family = AF_INET };
  struct timeval patience = { .tv_sec = 5 };
  memset(question, 'x', size);
  double begin = now();
  for (int peer = 0; peer < peers; peer++) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    own.sin_addr.s_addr = htonl(127u << 24 | (getpid() & 0xffff) << 8 | (peer + 1)); /* 127.0.0.0/8 is all ours */
    if (bind(fd, (struct sockaddr *) &own, sizeof own)) err(1, "bind");
    if (connect(fd, (struct sockaddr *) &server, sizeof server)) err(1, "connect");
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience)) err(1, "setsockopt");
    for (int trip = 0; trip < trips; trip++) {
      if (send(fd, question, size, 0) != size) err(1, "send");
      if (recv(fd, answer, sizeof answer, 0) != size) err(1, "no answer within 5 s");
    }
    close(fd);
  }
  printf("%.0f\n", (double) peers * trips / (now() - begin));
}
