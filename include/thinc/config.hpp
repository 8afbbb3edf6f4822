// The only header that asks which compiler is running.
#pragma once

#if defined(__CUDACC_RTC__)
typedef signed int int32_t;
typedef unsigned int uint32_t;
typedef signed long long int64_t;
typedef unsigned long long uint64_t;
typedef unsigned char uint8_t;
#else
#include <cstdint>
#endif

// Formulas are compiled into every loop that uses them, so that no copy built
// for one instruction set can be linked into another.
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define THINC_HD __host__ __device__ __forceinline__
#else
#define THINC_HD inline __attribute__((always_inline))
#endif
