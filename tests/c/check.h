// CHECK(condition, message) ends the program with the message where the condition does not hold.
#ifndef FASTNN_CHECK_H
#define FASTNN_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition, ...)                                               \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition); \
            fprintf(stderr, __VA_ARGS__);                                   \
            fputc('\n', stderr);                                            \
            exit(1);                                                        \
        }                                                                   \
    } while (0)

// The sanitizers' own locks do not survive the fork of a process with threads.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { CAN_FORK = 0 };
#else
enum { CAN_FORK = 1 };
#endif

#endif
