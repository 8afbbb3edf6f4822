// The kernels at one instruction-set level. Compiled once per level, with
// THINC_LEVEL and the compiler flags of that level (see setup.py).
#include "kernel_table.hpp"

#ifndef THINC_LEVEL
#error "compile with -DTHINC_LEVEL=baseline, avx2, avx512 or neon"
#endif

#include "elementwise.hpp"
#include "gemm.hpp"
#include "hashing.hpp"
#include "layer_norm.hpp"
#include "lstm.hpp"
#include "maxout.hpp"
#include "optimizer_loops.hpp"
#include "random.hpp"
#include "rows.hpp"
#include "sequences.hpp"
#include "sparse.hpp"
#include "tables.hpp"
#include "vectors.hpp"

#define THINC_STRING_OF(x) #x
#define THINC_STRING(x) THINC_STRING_OF(x)
#define THINC_JOIN_OF(a, b) a##b
#define THINC_JOIN(a, b) THINC_JOIN_OF(a, b)

namespace thinc {
namespace THINC_LEVEL {

template <typename T>
static void fill(Kernels<T>& kernels) {
    fill_elementwise(kernels);
    fill_optimizer(kernels);
    fill_rows(kernels);
    fill_layer_norm(kernels);
    fill_maxout(kernels);
    fill_sequences(kernels);
    fill_tables(kernels);
    fill_sparse(kernels);
    fill_gemm(kernels);
    fill_lstm(kernels);
    fill_vectors(kernels);
}

static KernelTable make_table() {
    KernelTable table = {};
    table.level = THINC_STRING(THINC_LEVEL);
    fill(table.f32);
    fill(table.f64);
    fill_hashing(table);
    fill_random(table);
    return table;
}

}  // namespace THINC_LEVEL

const KernelTable* THINC_JOIN(table_, THINC_LEVEL)() {
    static const KernelTable table = THINC_LEVEL::make_table();
    return &table;
}

}  // namespace thinc
