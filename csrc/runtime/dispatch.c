// Chooses the instruction set whose kernels run: the best one, or the one asked for, that the processor has (CPUID) and
// whose registers the operating system saves (XGETBV). Here all tables of kernels come together. CMake defines
// FASTNN_HAS_AVX2 and the like for the instruction sets that there are kernels for.
#include <stdatomic.h>
#include <string.h>

#include "chain/channel_kernels.h"
#include "chain/per_channel_kernels.h"
#include "gemm/gemm_kernels.h"
#include "norm/row_kernels.h"
#include "optim/optimizer_kernels.h"
#include "preprocessing/standardize_kernels.h"
#include "random/random_kernels.h"
#include "softmax/softmax_kernels.h"
#include "window/window_kernels.h"

const char *fastnn_compiler(void) {
#ifdef __clang__
    return "clang " __clang_version__;
#else
    return "gcc " __VERSION__;
#endif
}

#if defined(FASTNN_HAS_AVX2) || defined(FASTNN_HAS_AVX512)
#include <cpuid.h>

// The bits of XCR0 that the operating system sets for the registers it saves.
enum { SAVES_AVX = 0x6, SAVES_AVX512 = 0xe6 };

static uint64_t saved_registers(void) {
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static bool has_bits(uint64_t value, uint64_t bits) { return (value & bits) == bits; }

static bool runs_avx2(void) {
    uint32_t a, b, c, d;
    const uint32_t osxsave_avx_fma_f16c = 1u << 27 | 1u << 28 | 1u << 12 | 1u << 29;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has_bits(c, osxsave_avx_fma_f16c)) return false;
    if (!has_bits(saved_registers(), SAVES_AVX)) return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && has_bits(b, 1u << 5);
}
#endif
#ifdef FASTNN_EMULATE_AVX512
static bool runs_avx512(void) { return runs_avx2(); }
#elif defined(FASTNN_HAS_AVX512)
static bool runs_avx512(void) {
    uint32_t a, b, c, d;
    const uint32_t f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
    if (!runs_avx2() || !has_bits(saved_registers(), SAVES_AVX512)) return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && has_bits(b, f_dq_bw_vl);
}
#endif
#if defined(FASTNN_HAS_SSE2) || defined(FASTNN_HAS_NEON)
static bool always(void) { return true; }
#endif

#define DECLARE(isa, bits)                                                   \
    extern const fastnn_table fastnn_elementwise_##isa##_##bits;             \
    extern const fastnn_random_table fastnn_random_##isa##_##bits;           \
    extern const fastnn_row_table fastnn_row_##isa##_##bits;                 \
    extern const fastnn_softmax_table fastnn_softmax_##isa##_##bits;         \
    extern const fastnn_channel_table fastnn_channel_##isa##_##bits;         \
    extern const fastnn_per_channel_table fastnn_per_channel_##isa##_##bits; \
    extern const fastnn_gemm_table fastnn_gemm_##isa##_##bits;               \
    extern const fastnn_window_table fastnn_window_##isa##_##bits;           \
    extern const fastnn_optimizer_table fastnn_optimizer_##isa##_##bits;     \
    extern const fastnn_standardize_table fastnn_standardize_##isa##_##bits;
#define TABLES(isa, bits)                                                                                    \
    {&fastnn_elementwise_##isa##_##bits, &fastnn_random_##isa##_##bits,  &fastnn_row_##isa##_##bits,         \
     &fastnn_softmax_##isa##_##bits,     &fastnn_channel_##isa##_##bits, &fastnn_per_channel_##isa##_##bits, \
     &fastnn_gemm_##isa##_##bits,        &fastnn_window_##isa##_##bits,  &fastnn_optimizer_##isa##_##bits,   \
     &fastnn_standardize_##isa##_##bits}
#define ROW(isa, runs) \
    #isa, runs, { TABLES(isa, 32), TABLES(isa, 64) }
#ifdef FASTNN_HAS_AVX512
DECLARE(avx512, 32)
DECLARE(avx512, 64)
#endif
#ifdef FASTNN_HAS_AVX2
DECLARE(avx2, 32)
DECLARE(avx2, 64)
#endif
#ifdef FASTNN_HAS_SSE2
DECLARE(sse2, 32)
DECLARE(sse2, 64)
#endif
#ifdef FASTNN_HAS_NEON
DECLARE(neon, 32)
DECLARE(neon, 64)
#endif
static const struct {
    const char *name;
    bool (*runs)(void);
    fastnn_tables tables[2];
} implementations[] = {
#ifdef FASTNN_HAS_AVX512
    {ROW(avx512, runs_avx512)},
#endif
#ifdef FASTNN_HAS_AVX2
    {ROW(avx2, runs_avx2)},
#endif
#ifdef FASTNN_HAS_SSE2
    {ROW(sse2, always)},
#endif
#ifdef FASTNN_HAS_NEON
    {ROW(neon, always)},
#endif
};
enum { IMPLEMENTATIONS = sizeof implementations / sizeof *implementations };

static atomic_int selected;

bool fastnn_select_isa(const char *name) {
    for (int i = 0; i < IMPLEMENTATIONS; i++) {
        if ((name == NULL || strcmp(name, implementations[i].name) == 0) && implementations[i].runs()) {
            selected = i;
            return true;
        }
    }
    return false;
}

const char *fastnn_isa(void) { return implementations[selected].name; }

const char *fastnn_available_isa(int index) {
    for (int i = 0; i < IMPLEMENTATIONS; i++)
        if (implementations[i].runs() && index-- == 0) return implementations[i].name;
    return NULL;
}

const fastnn_tables *fastnn_current(bool float64) {
    return &implementations[atomic_load_explicit(&selected, memory_order_relaxed)].tables[float64];
}
