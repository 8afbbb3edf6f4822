# The CPU kernels for other Cython modules; kernel_table.hpp documents each one.
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libcpp cimport bool as cbool


cdef extern from "kernel_table.hpp" namespace "thinc" nogil:
    cdef enum Activation:
        SIGMOID
        RELU
        CLIPPED_LINEAR
        SWISH
        HARD_SWISH
        HARD_SWISH_MOBILENET
        DISH
        GELU
        GELU_APPROX
        MISH
        TANH
        IDENTITY
        ACTIVATION_COUNT

    cdef enum Function:
        ERF
        SQUARED_SECH
        SIGMOID_SLOPE
        TANH_SLOPE
        FUNCTION_COUNT

    cdef cppclass Kernels[T]:
        void (*values[12])(T*, const T*, int64_t, const T*) noexcept nogil
        void (*slopes[12])(T*, const T*, const T*, int64_t, const T*) noexcept nogil
        void (*functions[4])(T*, const T*, int64_t) noexcept nogil
        void logloss(T* losses, const T* y_true, const T* y_pred, int64_t N) noexcept
        double sum_of_squares(const T*, int64_t) noexcept
        double quick_sum_of_squares(const T*, int64_t) noexcept
        void scale_from_end(T* X, int64_t N, T factor) noexcept
        void update_averages(T* averages, const T* weights, int64_t N, T rate) noexcept
        void adam_step(T* w, T* gradient, T* m, T* v, T* averages, int64_t N, T rest1, T rest2,
                       T eps, T learn_rate, T gradient_scale, T l2, T decay, T ema_rate) noexcept
        void sgd_step(T* w, T* gradient, T* averages, int64_t N, T learn_rate, T gradient_scale,
                      T l2, T decay, T ema_rate) noexcept
        void softmax(T* Y, const T* X, int64_t rows, int64_t cols, T inverse_temperature) noexcept
        void backprop_softmax(T* dX, const T* Y, const T* dY, int64_t rows, int64_t cols,
                              T inverse_temperature) noexcept
        void layer_norm(T* Y, T* mean, T* rstd, const T* X, const T* G, const T* b,
                        int64_t rows, int64_t cols) noexcept
        void backprop_layer_norm(T* dX, T* dG, T* db, const T* dY, const T* X, const T* mean,
                                 const T* rstd, const T* G, int64_t rows, int64_t cols) noexcept
        void add_column_sums(T* out, const T* X, int64_t rows, int64_t cols) noexcept
        void maxout(T* best, int32_t* which, const T* X, int64_t rows, int64_t pieces) noexcept
        int64_t backprop_maxout(T* dX, const T* dY, const int32_t* which, int64_t rows,
                                int64_t pieces) noexcept
        void reduce_sum(T* Y, const T* X, const int32_t* lengths, int64_t nr_seq,
                        int64_t width) noexcept
        void reduce_mean(T* Y, const T* X, const int32_t* lengths, int64_t nr_seq,
                         int64_t width) noexcept
        void reduce_max(T* Y, int32_t* which, const T* X, const int32_t* lengths, int64_t nr_seq,
                        int64_t width) noexcept
        void backprop_reduce_sum(T* dX, const T* dY, const int32_t* lengths, int64_t nr_seq,
                                 int64_t width) noexcept
        void backprop_reduce_mean(T* dX, const T* dY, const int32_t* lengths, int64_t nr_seq,
                                  int64_t width) noexcept
        int64_t backprop_reduce_max(T* dX, const T* dY, const int32_t* which,
                                    const int32_t* lengths, int64_t nr_seq, int64_t width) noexcept
        void seq2col(T* Y, const T* X, const int32_t* lengths, int64_t nr_seq, int64_t width,
                     int64_t window) noexcept
        void backprop_seq2col(T* dX, const T* dY, const int32_t* lengths, int64_t nr_seq,
                              int64_t width, int64_t window) noexcept
        void softmax_sequences(T* Y, const T* X, const int32_t* lengths, int64_t nr_seq,
                               int64_t width) noexcept
        void backprop_softmax_sequences(T* dX, const T* dY, const T* Y, const int32_t* lengths,
                                        int64_t nr_seq, int64_t width) noexcept
        void gather_add(T* Y, int64_t ldy, const T* table, const uint32_t* indices, int64_t B,
                        int64_t K, int64_t width) noexcept
        cbool gather_maxout(T* best, const T* table, const uint32_t* indices, const T* bias,
                            int64_t B, int64_t K, int64_t O, int64_t pieces) noexcept
        void backprop_gather_add(T* table, const T* dY, const uint32_t* indices, int64_t B,
                                 int64_t K, int64_t width) noexcept
        void sparse_linear(T* Y, const T* W, const T* b, const uint32_t* cells, const T* values,
                           const int32_t* lengths, int64_t rows, int64_t O, int64_t K,
                           int64_t stride) noexcept
        void sparse_linear_by_feature(T* Y, const T* W, const T* b, const uint32_t* cells,
                                      const T* values, const int32_t* lengths, int64_t rows,
                                      int64_t O, int64_t K) noexcept
        void backprop_sparse_linear(T* dW, const T* dY, const uint32_t* cells, const T* values,
                                    const int32_t* lengths, int64_t rows, int64_t O, int64_t K,
                                    int64_t stride) noexcept
        void gemm(T* C, int64_t ldc, const T* A, int64_t rsa, int64_t csa, const T* B, int64_t rsb,
                  int64_t csb, int64_t M, int64_t N, int64_t K, T alpha, T beta) noexcept
        void affine(Activation f, const T* params, T* Y, T* P, const T* X, int64_t ldx, const T* W,
                    const T* b, const T* prepacked, int64_t M, int64_t N, int64_t K) noexcept
        void affine_maxout(T* best, int32_t* which, const T* X, int64_t ldx, const T* W,
                           const T* b, const T* prepacked, const T* prepacked_windows, int64_t M, int64_t O,
                           int64_t pieces, int64_t K) noexcept
        int64_t prepacked_size(int64_t O, int64_t pieces, int64_t K, cbool windows) noexcept
        cbool prepack(T* prepacked, const T* W, int64_t O, int64_t pieces, int64_t K,
                           cbool windows) noexcept
        void backprop_affine_maxout(T* dX, T* dW, T* db, const T* dY, const int32_t* which,
                                    const T* X, int64_t ldx, const T* W, int64_t M, int64_t O,
                                    int64_t pieces, int64_t K) noexcept
        void axpy(int64_t N, T alpha, const T* X, int64_t x_stride, T* Y,
                  int64_t y_stride) noexcept
        void scale(int64_t N, T alpha, T* X, int64_t stride) noexcept
        void lstm_forward(T* H, T* C, T* gates, const T* Wh, const T* h0, const T* c0,
                          const int32_t* size_at_t, int64_t steps, int64_t width,
                          cbool backward) noexcept
        void backprop_lstm(T* d_gates, T* dh0, T* dc0, const T* dY, const T* H, const T* C,
                           const T* gates, const T* Wh, const T* h0, const T* c0,
                           const int32_t* size_at_t, int64_t steps, int64_t width,
                           cbool backward) noexcept

    cdef cppclass KernelTable:
        const char* level
        Kernels[float] f32
        Kernels[double] f64
        void hash_ids(uint32_t* out, const uint64_t* ids, int64_t n, uint32_t seed) noexcept
        void hash_rows(uint32_t* out, const uint64_t* ids, int64_t n, uint32_t seed,
                       uint32_t nr_row) noexcept
        void sparse_cells(uint32_t* out, const uint64_t* keys, int64_t n, uint32_t length,
                          cbool masked) noexcept
        void ngrams(uint64_t* out, const uint64_t* keys, int64_t n, int64_t order) noexcept
        int64_t find_out_of_range(const uint32_t* indices, int64_t n, uint32_t nr_row) noexcept
        void dropout_mask(float* mask, int64_t N, double drop, uint32_t* key, int* pos) noexcept

    cdef struct Level:
        const char* name
        cbool (*is_supported)() noexcept nogil
        const KernelTable* (*table)() noexcept nogil

    const Level* levels(int* count) noexcept


# The table in use: the machine's best level, or what use_level() or the
# environment variable THINC_CPU_LEVEL asks for.
cdef const KernelTable* kernels() noexcept nogil
