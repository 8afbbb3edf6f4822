// Which compiler is running: the only file that asks. Everything in
// include/thinc compiles for the host (gcc, clang) and for CUDA (nvcc, NVRTC).
//
// THINC_HD        marks a formula. On the host it is always inlined: the CPU
//                 kernels are compiled once per instruction set, and an
//                 out-of-line AVX-512 copy must never be shared with the others.
// THINC_IVDEP     before a loop: iterations do not depend on each other (arrays
//                 are the same or apart), so vectorize without run-time checks.
// float_as_int... reinterpret bits; square_root is the correctly rounded one.
#pragma once

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)

#define THINC_HD __host__ __device__ __forceinline__
#define THINC_IVDEP

#else

#define THINC_HD inline __attribute__((always_inline))
#if defined(__clang__)
#define THINC_IVDEP _Pragma("clang loop vectorize(assume_safety)")
#else
#define THINC_IVDEP _Pragma("GCC ivdep")
#endif

#endif

namespace thinc {

// The integer of the same size, and the layout of the floating-point type.
template <typename T>
struct FloatBits;

template <>
struct FloatBits<float> {
    using Int = int;
    using UInt = unsigned int;
    static constexpr int MANTISSA = 23;
    static constexpr int BIAS = 127;
};

template <>
struct FloatBits<double> {
    using Int = long long;
    using UInt = unsigned long long;
    static constexpr int MANTISSA = 52;
    static constexpr int BIAS = 1023;
};

#if defined(__CUDA_ARCH__)

THINC_HD unsigned int to_bits(float x) { return __float_as_uint(x); }
THINC_HD unsigned long long to_bits(double x) {
    return (unsigned long long)__double_as_longlong(x);
}
THINC_HD float from_bits(unsigned int x) { return __uint_as_float(x); }
THINC_HD double from_bits(unsigned long long x) { return __longlong_as_double((long long)x); }
THINC_HD float square_root(float x) { return __fsqrt_rn(x); }
THINC_HD double square_root(double x) { return __dsqrt_rn(x); }

#else

THINC_HD unsigned int to_bits(float x) {
    unsigned int bits;
    __builtin_memcpy(&bits, &x, sizeof(x));
    return bits;
}
THINC_HD unsigned long long to_bits(double x) {
    unsigned long long bits;
    __builtin_memcpy(&bits, &x, sizeof(x));
    return bits;
}
THINC_HD float from_bits(unsigned int bits) {
    float x;
    __builtin_memcpy(&x, &bits, sizeof(x));
    return x;
}
THINC_HD double from_bits(unsigned long long bits) {
    double x;
    __builtin_memcpy(&x, &bits, sizeof(x));
    return x;
}
THINC_HD float square_root(float x) { return __builtin_sqrtf(x); }
THINC_HD double square_root(double x) { return __builtin_sqrt(x); }

#endif

}  // namespace thinc
