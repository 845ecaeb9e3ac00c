// NumPy arrays whose memory comes from the caching allocator, by NumPy's allocator hook (NEP 49): such an array owns
// its memory like any other, and gives it back when the last view of it dies.
#ifndef FASTNN_NUMPY_MEMORY_H
#define FASTNN_NUMPY_MEMORY_H

#include <numpy/arrayobject.h>
#include <string.h>

#include "fastnn.h"

static void *cache_malloc(void *context, size_t bytes) { return (void)context, fastnn_allocate(bytes); }
static void *cache_calloc(void *context, size_t count, size_t size) {
    if (size != 0 && count > SIZE_MAX / size) return NULL;
    void *memory = fastnn_allocate(count * size);
    if (memory != NULL) memset(memory, 0, count * size);
    return (void)context, memory;
}
static void *cache_realloc(void *context, void *memory, size_t bytes) {
    return (void)context, fastnn_resize(memory, bytes);
}
static void cache_free(void *context, void *memory, size_t bytes) {
    (void)context, (void)bytes, fastnn_release(memory);
}

static PyDataMem_Handler cache_handler = {
    "fastnn_cache", 1, {NULL, cache_malloc, cache_calloc, cache_realloc, cache_free}};

// The caching allocator as NumPy takes it.
static PyObject *fastnn_memory_handler(void) { return PyCapsule_New(&cache_handler, "mem_handler", NULL); }

// A new uninitialised array with memory of this handler; NULL with an exception set if there is none.
static PyObject *fastnn_new_array(PyObject *handler, int dims, npy_intp *shape, int type) {
    PyObject *before = PyDataMem_SetHandler(handler);
    if (before == NULL) return NULL;
    PyObject *array = PyArray_EMPTY(dims, shape, type, 0);
    PyObject *ours = PyDataMem_SetHandler(before);
    Py_XDECREF(ours);
    Py_DECREF(before);
    return array;
}

#endif
