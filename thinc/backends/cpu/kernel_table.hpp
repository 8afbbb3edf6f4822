// The contract between the CPU kernels and whoever calls them: one struct of
// function pointers, filled once per instruction-set level by kernels.cpp.
//
// Kernels trust their input: arrays are C-contiguous, shapes agree, lengths are
// not negative and sum up, indices are in range unless a kernel says that it
// checks. They hold no state, never throw, allocate at most scratch memory, and
// run without the GIL. Sizes are 64-bit; zero of anything is a normal input.
// Y may alias X in the element-wise kernels and nowhere else, unless said.
#pragma once
#include <cstdint>

namespace thinc {

// Order of the activation formulas in Kernels<T>::values and ::slopes.
// params: clipped_linear {slope, offset, min_val, max_val}; mish {threshold}.
enum Activation : int {
    SIGMOID,               // slope takes Y
    RELU,                  // slope takes Y
    CLIPPED_LINEAR,        // slope takes X, as do all below
    SWISH,
    HARD_SWISH,
    HARD_SWISH_MOBILENET,
    DISH,
    GELU,
    GELU_APPROX,
    MISH,
    TANH,                  // slope takes Y
    IDENTITY,
    ACTIVATION_COUNT
};

// Order of the other functions, in Kernels<T>::functions (include/thinc/functions.hpp).
enum Function : int {
    ERF,
    SQUARED_SECH,
    SIGMOID_SLOPE,  // of the sigmoid's value
    TANH_SLOPE,     // of the tanh's value
    FUNCTION_COUNT
};

template <typename T>
struct Kernels {
    // ---- element-wise (elementwise.hpp) ------------------------------------
    // Y = f(X)
    void (*values[ACTIVATION_COUNT])(T* Y, const T* X, int64_t N, const T* params);
    // dX = dY * f'(Z), Z being X or Y as the enum says; dX may alias dY or Z
    void (*slopes[ACTIVATION_COUNT])(T* dX, const T* dY, const T* Z, int64_t N, const T* params);
    // Y = f(X)
    void (*functions[FUNCTION_COUNT])(T* Y, const T* X, int64_t N);
    // losses = -(y_true log(y_pred + 1e-8) + (1 - y_true) log(1 - y_pred + 1e-8))
    void (*logloss)(T* losses, const T* y_true, const T* y_pred, int64_t N);

    // ---- optimizers (optimizer_loops.hpp) ----------------------------------
    // Squares are summed in double.
    double (*sum_of_squares)(const T* X, int64_t N);
    // The same to a relative error of some float epsilons, for any X: over short runs it is
    // summed in T.
    double (*quick_sum_of_squares)(const T* X, int64_t N);
    // X *= factor
    void (*scale_from_end)(T* X, int64_t N, T factor);
    // averages -= rate * (averages - weights)
    void (*update_averages)(T* averages, const T* weights, int64_t N, T rate);
    // One pass: g = gradient * gradient_scale + l2 * w; m, v, w as in Adam with
    // step size learn_rate (bias correction folded in by the caller), rest1 = 1 - beta1
    // and rest2 = 1 - beta2;
    // then w -= decay * w; then, if averages, ema -= ema_rate * (ema - w);
    // gradient is set to zero.
    void (*adam_step)(T* w, T* gradient, T* m, T* v, T* averages, int64_t N,
                      T rest1, T rest2, T eps, T learn_rate,
                      T gradient_scale, T l2, T decay, T ema_rate);
    // The same with w -= learn_rate * g.
    void (*sgd_step)(T* w, T* gradient, T* averages, int64_t N, T learn_rate,
                     T gradient_scale, T l2, T decay, T ema_rate);

    // ---- rows (rows.hpp): X is (rows, cols) --------------------------------
    // softmax(X * inverse_temperature); Y may alias X
    void (*softmax)(T* Y, const T* X, int64_t rows, int64_t cols, T inverse_temperature);
    void (*backprop_softmax)(T* dX, const T* Y, const T* dY, int64_t rows, int64_t cols,
                             T inverse_temperature);
    // Y = (X - mean) * rstd * G + b, rstd = 1/sqrt(variance + 1e-8); mean, rstd: (rows,)
    void (*layer_norm)(T* Y, T* mean, T* rstd, const T* X, const T* G, const T* b,
                       int64_t rows, int64_t cols);
    // Adds to dG and db; dX may alias dY.
    void (*backprop_layer_norm)(T* dX, T* dG, T* db, const T* dY, const T* X, const T* mean,
                                const T* rstd, const T* G, int64_t rows, int64_t cols);
    // out[c] += sum_r X[r, c]
    void (*add_column_sums)(T* out, const T* X, int64_t rows, int64_t cols);
    // Y[r] = max_p X[r, p], which[r] the first p attaining it; the first NaN wins.
    void (*maxout)(T* best, int32_t* which, const T* X, int64_t rows, int64_t pieces);
    // Writes all of dX (rows, pieces). Returns the first r whose which is
    // outside [0, pieces), or -1; then dX is not to be used.
    int64_t (*backprop_maxout)(T* dX, const T* dY, const int32_t* which, int64_t rows, int64_t pieces);

    // ---- sequences (sequences.hpp): X is (sum of lengths, width) -----------
    void (*reduce_sum)(T* Y, const T* X, const int32_t* lengths, int64_t nr_seq, int64_t width);
    void (*reduce_mean)(T* Y, const T* X, const int32_t* lengths, int64_t nr_seq, int64_t width);
    // which: offset inside the sequence of the first maximum; the first NaN wins. No zero lengths.
    void (*reduce_max)(T* Y, int32_t* which, const T* X, const int32_t* lengths, int64_t nr_seq, int64_t width);
    void (*backprop_reduce_sum)(T* dX, const T* dY, const int32_t* lengths, int64_t nr_seq, int64_t width);
    void (*backprop_reduce_mean)(T* dX, const T* dY, const int32_t* lengths, int64_t nr_seq, int64_t width);
    // Writes all of dX. Returns the flat index of the first which outside [0, length), or -1.
    int64_t (*backprop_reduce_max)(T* dX, const T* dY, const int32_t* which, const int32_t* lengths,
                                   int64_t nr_seq, int64_t width);
    // Y is (rows, (2 window + 1) * width); windows stop at sequence borders.
    void (*seq2col)(T* Y, const T* X, const int32_t* lengths, int64_t nr_seq, int64_t width, int64_t window);
    void (*backprop_seq2col)(T* dX, const T* dY, const int32_t* lengths, int64_t nr_seq, int64_t width, int64_t window);
    // Softmax over the rows of each sequence, column by column; Y may alias X.
    void (*softmax_sequences)(T* Y, const T* X, const int32_t* lengths, int64_t nr_seq, int64_t width);
    // dX = Y * (dY - the sequence's column sums of Y * dY)
    void (*backprop_softmax_sequences)(T* dX, const T* dY, const T* Y, const int32_t* lengths,
                                       int64_t nr_seq, int64_t width);

    // ---- tables (tables.hpp): table is (nr_row, width) ---------------------
    // Y[b] = sum_k table[indices[b, k]]; rows of Y are ldy apart
    void (*gather_add)(T* Y, int64_t ldy, const T* table, const uint32_t* indices, int64_t B,
                       int64_t K, int64_t width);
    // best[b] = max_p (bias[p] + sum_k table[indices[b, k], p]). table: (nr_row, pieces, O), bias:
    // (pieces, O), pieces > 0. The first NaN wins. False if there was no memory.
    bool (*gather_maxout)(T* best, const T* table, const uint32_t* indices, const T* bias, int64_t B,
                          int64_t K, int64_t O, int64_t pieces);
    // table[indices[b, k]] += dY[b]
    void (*backprop_gather_add)(T* table, const T* dY, const uint32_t* indices, int64_t B, int64_t K, int64_t width);

    // ---- sparse linear models (sparse.hpp) ---------------------------------
    // Y[r, c] = b[c] + sum over features m of row r, k < K, of W[cells[m, k] + c * stride] * values[m]
    void (*sparse_linear)(T* Y, const T* W, const T* b, const uint32_t* cells, const T* values,
                          const int32_t* lengths, int64_t rows, int64_t O, int64_t K, int64_t stride);
    // The same with W[cells[m, k] * O + c]: the weights of all classes side by side.
    void (*sparse_linear_by_feature)(T* Y, const T* W, const T* b, const uint32_t* cells,
                                     const T* values, const int32_t* lengths, int64_t rows,
                                     int64_t O, int64_t K);
    // dW[cells[m, k] + c * stride] += dY[r, c] * values[m]
    void (*backprop_sparse_linear)(T* dW, const T* dY, const uint32_t* cells, const T* values,
                                   const int32_t* lengths, int64_t rows, int64_t O, int64_t K,
                                   int64_t stride);

    // ---- matrix products (gemm.hpp) ----------------------------------------
    // C (M, N), row stride ldc, unit column stride = alpha * A (M, K) @ B (K, N) + beta * C.
    // A and B have any row and column strides (in elements); a transposed
    // operand is one with its strides swapped. C overlaps neither. With beta == 0
    // C is not read (old NaNs are harmless). K == 0 gives beta * C.
    void (*gemm)(T* C, int64_t ldc, const T* A, int64_t rsa, int64_t csa,
                 const T* B, int64_t rsb, int64_t csb,
                 int64_t M, int64_t N, int64_t K, T alpha, T beta);
    // Y (M, N) = f(P), P = X (M, K) @ W (N, K)^T + b (N,). X has row stride ldx and unit
    // column stride, W is contiguous, b may be null. If P is not null the pre-activations
    // are stored there too (M, N). f is applied to blocks that are still in cache. prepacked: W as
    // prepack lays it out (pieces 1), or null.
    void (*affine)(Activation f, const T* params, T* Y, T* P, const T* X, int64_t ldx, const T* W,
                   const T* b, const T* prepacked, int64_t M, int64_t N, int64_t K);
    // best, which (M, O) = maxout of X (M, K) @ W (O * pieces, K)^T + b (O * pieces,).
    // which may be null. Rows of X may overlap (ldx < K), as the windows of a sequence do; then
    // windows of three rows (K = 3 * ldx) share their products. prepacked, prepacked_windows: W as
    // prepack lays it out, or null.
    void (*affine_maxout)(T* best, int32_t* which, const T* X, int64_t ldx, const T* W, const T* b,
                          const T* prepacked, const T* prepacked_windows, int64_t M, int64_t O, int64_t pieces,
                          int64_t K);

    // Weights (O, pieces, K) that no longer change, laid out as products read them, or with
    // `windows` (K a multiple of 3) as those of windows of three rows do. prepacked has
    // prepacked_size numbers, on a cache line. False if there was no memory.
    int64_t (*prepacked_size)(int64_t O, int64_t pieces, int64_t K, bool windows);
    bool (*prepack)(T* prepacked, const T* W, int64_t O, int64_t pieces, int64_t K, bool windows);

    // The backward pass of affine_maxout (maxout_gradients.hpp): dX (M, K) is written, unless it
    // is null, dW (O, pieces, K) and db (O, pieces) are added to. which: (M, O), in [0, pieces).
    void (*backprop_affine_maxout)(T* dX, T* dW, T* db, const T* dY, const int32_t* which, const T* X,
                                   int64_t ldx, const T* W, int64_t M, int64_t O, int64_t pieces,
                                   int64_t K);

    // ---- vectors (vectors.hpp) ---------------------------------------------
    // Y[i * y_stride] += alpha * X[i * x_stride], 0 <= i < N; with alpha == 0 X is not read
    void (*axpy)(int64_t N, T alpha, const T* X, int64_t x_stride, T* Y, int64_t y_stride);
    // X[i * stride] *= alpha
    void (*scale)(int64_t N, T alpha, T* X, int64_t stride);

    // ---- LSTM (lstm.hpp) ---------------------------------------------------
    // One layer, one direction. Gates are stored (N, 4 * width), in the order forget,
    // input, output, candidate, group by group. size_at_t as in Padded.
    // On entry gates holds X @ Wx^T + bx + bh; on return the activated gates.
    // h0, c0: (width,). H, C: (N, width). backward: steps run from the last to the first.
    void (*lstm_forward)(T* H, T* C, T* gates, const T* Wh, const T* h0, const T* c0,
                         const int32_t* size_at_t, int64_t steps, int64_t width, bool backward);
    // d_gates (N, 4 * width): gradients at the gates' pre-activations. dY (N, width) is read only.
    // Also dh0, dc0 (width,), summed over the batch (written).
    void (*backprop_lstm)(T* d_gates, T* dh0, T* dc0, const T* dY, const T* H, const T* C,
                          const T* gates, const T* Wh, const T* h0, const T* c0,
                          const int32_t* size_at_t, int64_t steps, int64_t width, bool backward);
};

struct KernelTable {
    const char* level;  // "baseline", "avx2", "avx512", "neon"
    Kernels<float> f32;
    Kernels<double> f64;

    // ---- hashing (hashing.hpp) ---------------------------------------------
    // MurmurHash3_x64_128 of the 8 little-endian bytes of each id; out: (n, 4)
    void (*hash_ids)(uint32_t* out, const uint64_t* ids, int64_t n, uint32_t seed);
    // The same, each word reduced modulo nr_row.
    void (*hash_rows)(uint32_t* out, const uint64_t* ids, int64_t n, uint32_t seed, uint32_t nr_row);
    // MurmurHash3_x86_32 of each key with the seeds 0 and 1; out: (n, 2). Words are reduced
    // modulo length or, if masked, to the bits of length - 1. length > 0.
    void (*sparse_cells)(uint32_t* out, const uint64_t* keys, int64_t n, uint32_t length, bool masked);
    // MurmurHash64A of each run of `order` keys; out: (n - order + 1,), order >= 1
    void (*ngrams)(uint64_t* out, const uint64_t* keys, int64_t n, int64_t order);
    // The first position whose index is not below nr_row, or -1.
    int64_t (*find_out_of_range)(const uint32_t* indices, int64_t n, uint32_t nr_row);

    // ---- random numbers (random.hpp) ---------------------------------------
    // mask[i] = (u_i >= drop) ? 1 / (1 - drop) : 0, u_i the doubles that NumPy's
    // MT19937 would draw next. key (624 words) and pos are NumPy's generator state
    // and are advanced exactly as N draws of random_sample would.
    void (*dropout_mask)(float* mask, int64_t N, double drop, uint32_t* key, int* pos);
};

// One instruction-set level of this build. Its table may only be asked for
// where the machine supports the level: even filling it may use its instructions.
struct Level {
    const char* name;
    bool (*is_supported)();
    const KernelTable* (*table)();
};

// All levels that were compiled in, the most general first.
const Level* levels(int* count);

}  // namespace thinc
