/* The echo server in C that servers.ts compares with: one epoll loop, nothing else. */
#include <arpa/inet.h>
#include <err.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

static char bytes[65536];

int main(void) {
  int listener = socket(AF_INET, SOCK_STREAM, 0), poll = epoll_create1(0);
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  socklen_t length = sizeof address;
  if (bind(listener, (struct sockaddr *) &address, length) || listen(listener, 512)) err(1, "listen");
  getsockname(listener, (struct sockaddr *) &address, &length);
  printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
  fflush(stdout);
  struct epoll_event event = { .events = EPOLLIN, .data.fd = listener }, events[256];
  if (epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event)) err(1, "epoll_ctl");
  for (;;) {
    int ready = epoll_wait(poll, events, 256, -1);
    for (int at = 0; at < ready; at++) {
      int fd = events[at].data.fd;
      if (fd == listener) {
        event.data.fd = accept(listener, NULL, NULL);
        epoll_ctl(poll, EPOLL_CTL_ADD, event.data.fd, &event);
        continue;
      }
      ssize_t received = read(fd, bytes, sizeof bytes);
      if (received <= 0 || write(fd, bytes, received) != received) close(fd);
    }
  }
}
