# Typed memoryviews that clients of the package spell by these names. NumpyOps itself is
# used from Python.
from libc.stdint cimport int32_t, uint32_t

ctypedef float[:, ::1] float2d_t
ctypedef float[:, :, ::1] float3d_t
ctypedef double[:, ::1] double2d_t
ctypedef double[:, :, ::1] double3d_t
ctypedef int32_t[:, ::1] int2d_t
ctypedef uint32_t[:, ::1] uint2d_t

ctypedef fused ints2d_ft:
    int2d_t
    uint2d_t

ctypedef fused reals2d_ft:
    float2d_t
    double2d_t

ctypedef fused reals3d_ft:
    float3d_t
    double3d_t
