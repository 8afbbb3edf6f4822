// Which kernel levels this build has and which of them the machine can run.
#include "kernel_table.hpp"

namespace thinc {

#if defined(THINC_X86_LEVELS)

const KernelTable* table_baseline();
const KernelTable* table_avx2();
const KernelTable* table_avx512();

static bool always() { return true; }

static bool has_avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512() {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static const Level LEVELS[] = {
    {"baseline", always, table_baseline},
    {"avx2", has_avx2, table_avx2},
    {"avx512", has_avx512, table_avx512},
};

#elif defined(__aarch64__)

const KernelTable* table_neon();  // every 64-bit ARM has NEON

static bool always() { return true; }

static const Level LEVELS[] = {{"neon", always, table_neon}};

#else

const KernelTable* table_baseline();

static bool always() { return true; }

static const Level LEVELS[] = {{"baseline", always, table_baseline}};

#endif

const Level* levels(int* count) {
    *count = static_cast<int>(sizeof(LEVELS) / sizeof(LEVELS[0]));
    return LEVELS;
}

}  // namespace thinc
