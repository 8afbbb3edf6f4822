// Optimizers over a list of parameters: one launch updates a whole model.
//
// Each block takes a chunk of 2,048 elements and finds by a binary search whose it is, so
// that a bias of 96 and a table of millions are served alike. Hyperparameters and the norms
// for clipping stay on the device: nothing waits, and a captured graph can be repeated with
// other rates.
#include "grid.cuh"
#include "thinc/optimizers.hpp"

namespace thinc {

constexpr i64 CHUNK = 2048;
constexpr int TABLE_FIELDS = 7;
constexpr int FIRST_CHUNK = 6;
constexpr int RATES = 5;

template <typename T>
struct Parameter {
    T* weights;
    T* gradient;
    Compute<T>* mom1;
    Compute<T>* mom2;
    float* averages;
    i64 index, start, end;  // which it is, and the elements of this chunk
};

// The parameter that a chunk belongs to: the last whose first chunk is not beyond it.
// Empty parameters share their first chunk with the next one.
__device__ inline i64 parameter_of(const i64* table, i64 params, i64 chunk) {
    i64 low = 0, high = params;
    while (high - low > 1) {
        const i64 middle = low + (high - low) / 2;
        if (table[middle * TABLE_FIELDS + FIRST_CHUNK] <= chunk) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

template <typename T>
__device__ inline Parameter<T> find_parameter(const i64* table, i64 params, i64 chunk) {
    const i64 p = parameter_of(table, params, chunk);
    const i64* fields = table + p * TABLE_FIELDS;
    const i64 start = (chunk - fields[FIRST_CHUNK]) * CHUNK;
    return {(T*)fields[0],          (T*)fields[1],     (Compute<T>*)fields[2],
            (Compute<T>*)fields[3], (float*)fields[4], p,
            start,                  smaller(fields[5], start + CHUNK)};
}

// Each(i, Width) over the elements of a chunk, by the threads of a block.
template <typename T, typename Each>
__device__ inline void for_each_in_chunk(i64 start, i64 end, bool aligned, Each each) {
    constexpr int W = PACK<T>;
    const i64 packs = aligned ? (end - start) / W : 0;
    for (i64 k = threadIdx.x; k < packs; k += blockDim.x) each(start + k * W, Width<W>());
    for (i64 i = start + packs * W + threadIdx.x; i < end; i += blockDim.x) each(i, Width<1>());
}

template <typename C>
__device__ inline Surroundings<C> surroundings(const double* rates, double scale) {
    return {C(scale), C(rates[1] * scale), C(rates[2]), C(rates[3])};
}

// What brings a norm down to clip; 1 if it is smaller or NaN.
__device__ inline double clip_scale(const double* norms, i64 index, double clip) {
    if (norms == nullptr) return 1.0;
    const double norm = norms[index];
    return norm >= clip && norm > 0.0 ? clip / norm : 1.0;
}

// Decay, averages and the new zero gradient, after step(i, j, w, g) has made new weights.
template <typename T, typename Step>
__device__ inline void update_chunk(const Parameter<T>& p, bool aligned,
                                    const Surroundings<Compute<T>>& around, Step step) {
    using C = Compute<T>;
    for_each_in_chunk<T>(p.start, p.end, aligned, [=](i64 i, auto width) {
        constexpr int W = decltype(width)::VALUE;
        auto w = load<W>(p.weights + i);
        auto g = load<W>(p.gradient + i);
#pragma unroll
        for (int j = 0; j < W; ++j) g.at[j] = around.full_gradient(w.at[j], g.at[j]);
        step(i, w, g);
        // Rounded as stored: the averages follow the weights that there are.
#pragma unroll
        for (int j = 0; j < W; ++j) w.at[j] = widen(narrow<T>(around.decayed(w.at[j])));
        store<W>(p.weights + i, w);
        store<W>(p.gradient + i, Values<W, C>{});
        if (p.averages != nullptr) {
            auto a = load<W>(p.averages + i);
#pragma unroll
            for (int j = 0; j < W; ++j) a.at[j] = float(around.averaged(C(a.at[j]), w.at[j]));
            store<W>(p.averages + i, a);
        }
    });
}

template <typename T>
__global__ void adam(const i64* table, const double* rates, i64 params, i64 chunks,
                     const double* norms, double clip, double beta1, double beta2, double eps) {
    using C = Compute<T>;
    for (i64 chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
        const Parameter<T> p = find_parameter<T>(table, params, chunk);
        const double* own = rates + p.index * RATES;
        const Adam<C> adam{C(1.0 - beta1), C(1.0 - beta2), C(eps), C(own[0])};
        const bool use_variance = own[4] != 0.0;
        const auto around = surroundings<C>(own, clip_scale(norms, p.index, clip));
        const bool aligned = are_aligned(p.weights, p.gradient, p.mom1, p.mom2, p.averages);
        update_chunk(p, aligned, around, [=](i64 i, auto& w, const auto& g) {
            constexpr int W = sizeof(w.at) / sizeof(w.at[0]);
            auto m = load<W>(p.mom1 + i);
            auto v = load<W>(p.mom2 + i);
#pragma unroll
            for (int j = 0; j < W; ++j) {
                w.at[j] = use_variance
                              ? adam.step(w.at[j], g.at[j], m.at[j], v.at[j])
                              : adam.step_along_momentum(w.at[j], g.at[j], m.at[j], v.at[j]);
            }
            store<W>(p.mom1 + i, m);
            store<W>(p.mom2 + i, v);
        });
    }
}

template <typename T>
__global__ void sgd(const i64* table, const double* rates, i64 params, i64 chunks,
                    const double* norms, double clip) {
    using C = Compute<T>;
    for (i64 chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
        const Parameter<T> p = find_parameter<T>(table, params, chunk);
        const double* own = rates + p.index * RATES;
        const Sgd<C> sgd{C(own[0])};
        const auto around = surroundings<C>(own, clip_scale(norms, p.index, clip));
        const bool aligned = are_aligned(p.weights, p.gradient, p.averages);
        update_chunk(p, aligned, around, [=](i64, auto& w, const auto& g) {
            constexpr int W = sizeof(w.at) / sizeof(w.at[0]);
#pragma unroll
            for (int j = 0; j < W; ++j) w.at[j] = sgd.step(w.at[j], g.at[j]);
        });
    }
}

// ---- norms ---------------------------------------------------------------------------
//
// In double precision, as the host has it: a float's square overflows from 1.8e19 on. In
// two launches, because to add up atomically would give other bits each time.

template <typename T>
__global__ void gradient_squares(double* partials, const i64* table, const double* rates,
                                 i64 params, i64 chunks) {
    using C = Compute<T>;
    for (i64 chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
        const Parameter<T> p = find_parameter<T>(table, params, chunk);
        const auto around = surroundings<C>(rates + p.index * RATES, 1.0);
        double sum = 0.0;
        for_each_in_chunk<T>(p.start, p.end, are_aligned(p.weights, p.gradient),
                             [=, &sum](i64 i, auto width) {
            constexpr int W = decltype(width)::VALUE;
            auto g = load<W>(p.gradient + i);
            // Without regularization the weights need not be read.
            if (around.l2 != C(0)) {
                const auto w = load<W>(p.weights + i);
#pragma unroll
                for (int j = 0; j < W; ++j) g.at[j] = around.full_gradient(w.at[j], g.at[j]);
            }
#pragma unroll
            for (int j = 0; j < W; ++j) sum += double(g.at[j]) * double(g.at[j]);
        });
        sum = block_sum(sum);
        if (threadIdx.x == 0) partials[chunk] = sum;
    }
}

__global__ void gradient_norms(double* norms, const double* partials, const i64* table, i64 params,
                               i64 chunks) {
    for (i64 p = global_warp(); p < params; p += grid_warps()) {
        const i64 first = table[p * TABLE_FIELDS + FIRST_CHUNK];
        const i64 end = p + 1 < params ? table[(p + 1) * TABLE_FIELDS + FIRST_CHUNK] : chunks;
        double sum = 0.0;
        for (i64 chunk = first + lane_index(); chunk < end; chunk += WARP) sum += partials[chunk];
        sum = warp_sum(sum);
        if (lane_index() == 0) norms[p] = square_root(sum);
    }
}

template <typename T>
__global__ void squares(double* partials, const T* X, i64 N, i64 parts) {
    // A part is a whole number of packs, so that all of them are aligned if X is.
    const i64 share = ceil_div(ceil_div(N, parts), PACK<T>) * PACK<T>;
    for (i64 part = blockIdx.x; part < parts; part += gridDim.x) {
        const i64 start = smaller(N, part * share);
        const i64 end = smaller(N, start + share);
        double sum = 0.0;
        for_each_in_chunk<T>(start, end, is_aligned(X), [=, &sum](i64 i, auto width) {
            constexpr int W = decltype(width)::VALUE;
            const auto x = load<W>(X + i);
#pragma unroll
            for (int j = 0; j < W; ++j) sum += double(x.at[j]) * double(x.at[j]);
        });
        sum = block_sum(sum);
        if (threadIdx.x == 0) partials[part] = sum;
    }
}

__global__ void norm(double* norm, const double* partials, i64 parts) {
    if (global_warp() > 0) return;
    double sum = 0.0;
    for (i64 part = lane_index(); part < parts; part += WARP) sum += partials[part];
    sum = warp_sum(sum);
    if (lane_index() == 0) *norm = square_root(sum);
}

template <typename T>
__global__ void clip_by_norm(T* X, i64 N, const double* norm, double threshold) {
    using C = Compute<T>;
    const double scale = clip_scale(norm, 0, threshold);
    if (scale == 1.0) return;
    for_each_pack<T>(N, is_aligned(X), [=](i64 i, auto width) {
        constexpr int W = decltype(width)::VALUE;
        auto x = load<W>(X + i);
#pragma unroll
        for (int j = 0; j < W; ++j) x.at[j] *= C(scale);
        store<W>(X + i, x);
    });
}

}  // namespace thinc
