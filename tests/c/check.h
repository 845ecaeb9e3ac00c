// CHECK(condition, message) ends the program with the message where the condition does not hold.
#ifndef FASTNN_CHECK_H
#define FASTNN_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#ifndef _WIN32
#include <unistd.h>
#endif

#define CHECK(condition, ...)                                               \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition); \
            fprintf(stderr, __VA_ARGS__);                                   \
            fputc('\n', stderr);                                            \
            exit(1);                                                        \
        }                                                                   \
    } while (0)

// Windows has no fork, and the sanitizers' own locks do not survive that of a process with threads.
#if !defined(_WIN32) && !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
#define CAN_FORK
#endif

// Ends the program after so many seconds, where the system can do that.
static inline void limit_seconds(unsigned seconds) {
#ifdef _WIN32
    (void)seconds;
#else
    alarm(seconds);
#endif
}

#endif
