// What arrays of floats hold, and how it is read and written: one element or 16 bytes at
// a time, widened to the type of arithmetic.
//
// Our own 16-bit types, because cuda_fp16.h and cuda_bf16.h do not come with NVRTC.
#pragma once
#include "thinc/config.hpp"

namespace thinc {

using i64 = long long;

struct Half {
    unsigned short bits;
};

struct BFloat16 {
    unsigned short bits;
};

// The unit of the widest loads and stores.
struct alignas(16) Bytes16 {
    unsigned int words[4];
};

// The type of arithmetic, sums and moments.
template <typename T>
struct ComputeType {
    using Type = float;
};
template <>
struct ComputeType<double> {
    using Type = double;
};
template <typename T>
using Compute = typename ComputeType<T>::Type;

// ---- conversions ----------------------------------------------------------------

THINC_HD float widen(float x) { return x; }
THINC_HD double widen(double x) { return x; }
THINC_HD float widen(BFloat16 x) { return from_bits((unsigned int)(x.bits) << 16); }

template <typename T>
THINC_HD T narrow(Compute<T> x) {
    return x;
}

#if defined(__CUDA_ARCH__)

THINC_HD float widen(Half h) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(h.bits));
    return x;
}

template <>
THINC_HD Half narrow<Half>(float x) {
    Half h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h.bits) : "f"(x));
    return h;
}

#else

// The host has no such instruction that every compiler knows.
THINC_HD float widen(Half h) {
    const unsigned int sign = (unsigned int)(h.bits & 0x8000u) << 16;
    const unsigned int magnitude = h.bits & 0x7fffu;
    if (magnitude >= 0x7c00u) {  // infinity, NaN
        return from_bits(sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13));
    }
    if (magnitude < 0x400u) {  // subnormal: a multiple of 2^-24
        const float x = (float)magnitude * from_bits(0x33800000u);
        return from_bits(sign | to_bits(x));
    }
    return from_bits(sign | ((magnitude + 0x1c000u) << 13));
}

// To the nearest, ties to even.
template <>
THINC_HD Half narrow<Half>(float x) {
    const unsigned int bits = to_bits(x);
    const unsigned int sign = (bits >> 16) & 0x8000u;
    const unsigned int magnitude = bits & 0x7fffffffu;
    unsigned int result;
    if (magnitude > 0x7f800000u) {
        result = 0x7fffu;  // NaN, as the device writes it
    } else if (magnitude >= 0x47800000u) {
        result = 0x7c00u;  // 65536 and more
    } else if (magnitude < 0x38800000u) {
        // Below 2^-14: adding 2^-1 leaves multiples of 2^-24, rounded, in the low bits.
        result = to_bits(from_bits(magnitude) + 0.5f) - 0x3f000000u;
    } else {
        result = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    }
    return {(unsigned short)(sign | result)};
}

#endif

template <>
THINC_HD BFloat16 narrow<BFloat16>(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    BFloat16 h;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h.bits) : "f"(x));
    return h;
#else
    const unsigned int bits = to_bits(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return {0x7fff};
    return {(unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
#endif
}

// ---- reading and writing -------------------------------------------------------------

// W numbers in registers.
template <int W, typename C>
struct Values {
    C at[W];
};

// How many T a load of 16 bytes brings.
template <typename T>
constexpr int PACK = 16 / (int)sizeof(T);

template <typename T>
union Pack {
    Bytes16 bytes;
    T at[PACK<T>];
};

THINC_HD bool is_aligned(const void* p) { return ((unsigned long long)p & 15) == 0; }

template <typename... Pointers>
THINC_HD bool are_aligned(const Pointers*... p) {
    return (... && is_aligned(p));
}

// One transaction each. Written as an instruction, because the compiler splits a store of
// 16 bytes into four where it does not know that the address is one of global memory, as
// in tables of pointers.
__device__ inline Bytes16 load_16_bytes(const void* p) {
    const uint4 v = *static_cast<const uint4*>(p);
    return {{v.x, v.y, v.z, v.w}};
}

__device__ inline void store_16_bytes(void* p, const Bytes16& x) {
#if defined(__CUDA_ARCH__)
    asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(p)),
                 "r"(x.words[0]), "r"(x.words[1]), "r"(x.words[2]), "r"(x.words[3])
                 : "memory");
#else
    uint4 v;
    v.x = x.words[0];
    v.y = x.words[1];
    v.z = x.words[2];
    v.w = x.words[3];
    *static_cast<uint4*>(p) = v;
#endif
}

// The numbers at p. W > 1: p is aligned to 16 bytes.
template <int W, typename T>
__device__ inline Values<W, Compute<T>> load(const T* p) {
    Values<W, Compute<T>> x;
    if constexpr (W % PACK<T> == 0) {
#pragma unroll
        for (int k = 0; k < W; k += PACK<T>) {
            Pack<T> pack;
            pack.bytes = load_16_bytes(p + k);
#pragma unroll
            for (int j = 0; j < PACK<T>; ++j) x.at[k + j] = widen(pack.at[j]);
        }
    } else {
#pragma unroll
        for (int j = 0; j < W; ++j) x.at[j] = widen(p[j]);
    }
    return x;
}

template <int W, typename T>
__device__ inline void store(T* p, const Values<W, Compute<T>>& x) {
    if constexpr (W % PACK<T> == 0) {
#pragma unroll
        for (int k = 0; k < W; k += PACK<T>) {
            Pack<T> pack;
#pragma unroll
            for (int j = 0; j < PACK<T>; ++j) pack.at[j] = narrow<T>(x.at[k + j]);
            store_16_bytes(p + k, pack.bytes);
        }
    } else {
#pragma unroll
        for (int j = 0; j < W; ++j) p[j] = narrow<T>(x.at[j]);
    }
}

}  // namespace thinc
